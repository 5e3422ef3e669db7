# SPDX-License-Identifier: Apache-2.0
"""Where gatepost listens and connects: IPv6, Unix sockets, names, itself, and peers that vanish."""

import shutil
import socket
import time

import pytest

from backend import FakeBackend
from client import statuses
from servers import AS_ROOT, free_port, short_folder, wait_until


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


@pytest.fixture
def folder():
    made = short_folder("sockets")
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


def read_reply(sock, ending):
    data = b""
    while ending not in data:
        piece = sock.recv(4096)
        assert piece, data
        data += piece
    return data


def log_in_on(sock):
    """A login over a socket that is connected to a listener without TLS."""
    sock.settimeout(5)
    read_reply(sock, b"* OK")
    sock.sendall(b"a LOGIN u1 pw\r\nb NOOP\r\n")
    return read_reply(sock, b"b OK")


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv6_listener(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              extra_listeners=[{"address": "[::1]:{port}", "tls": "none",
                                                "allow_plaintext": True}])
    with socket.create_connection(("::1", gatepost.extra_port), timeout=5) as sock:
        log_in_on(sock)
    assert fb1.connections[0].ids[0]["x-originating-ip"] == "::1"


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv6_backend(start_gatepost):
    backend = FakeBackend("SIX", host="::1")
    try:
        gatepost = start_gatepost({"six": backend.address}, {"u1": "six"})
        with gatepost.connect() as client:
            client.login()
            assert b"SIX" in client.command("b", "NOOP")[-1]
    finally:
        backend.close()


def test_unix_listener(start_gatepost, fb1, folder):
    path = folder / "imap"
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              extra_listeners=[{"address": f"unix:{path}", "tls": "none",
                                                "allow_plaintext": True}])
    for _ in range(4):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            log_in_on(sock)
    assert set(fb1.connections[0].ids[0]) == {"x-session-id", "x-proxy-ttl"}
    gatepost.wait_for_log("client=unix")


def test_unix_backend_and_backend_by_name(start_gatepost, fb1, folder):
    unix = FakeBackend("UNIX", unix_path=folder / "backend")
    try:
        gatepost = start_gatepost({"unix": unix.address, "named": f"localhost:{fb1.port}"},
                                  {"u1": "unix", "u2": "named"})
        for user, name in (("u1", b"UNIX"), ("u2", b"FB1")):
            with gatepost.connect() as client:
                client.login(user)
                assert name in client.command("b", "NOOP")[-1]
    finally:
        unix.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_c98_route_back_to_ourselves(start_gatepost, fake_redis, fb1, host):
    gatepost = start_gatepost({"FB1": fb1.address}, redis=fake_redis.url)
    fake_redis.values = {"gatepost:route:u1": f"imap://{host}:{gatepost.port}",
                         "gatepost:route:u2": "FB1"}
    descriptors = gatepost.resting_descriptors()
    with gatepost.connect() as client:
        lines = client.command("a", "LOGIN u1 pw")
        assert statuses(lines) == ["a NO"]
        assert lines[0].startswith((b"a NO [SERVERBUG]", b"a NO [UNAVAILABLE]"))
        assert len(fake_redis.lookups()) == 1
        client.login("u2")
    wait_until(lambda: gatepost.descriptors() <= descriptors, what="descriptors back")


@pytest.mark.parametrize("by", ["name", "URL"])
def test_c98_two_proxies_in_a_circle(start_gatepost, fake_redis, by):
    """Each takes the user to the other: refused within ten hops, and nothing is left of it."""
    port = free_port()
    second_address = {"name": "second", "URL": f"imap://127.0.0.1:{port}"}[by]
    fake_redis.values = {"gatepost:route:u1": second_address}
    first = start_gatepost({"second": f"127.0.0.1:{port}"}, redis=fake_redis.url)
    second = start_gatepost({"first": f"127.0.0.1:{first.port}"}, {"u1": "first"}, port=port)
    descriptors = first.resting_descriptors(), second.resting_descriptors()
    with first.connect() as client:
        started = time.monotonic()
        client.send(b"a LOGIN u1 pw\r\n")
        assert client.read_line(timeout=10).startswith(b"a NO ")
        assert time.monotonic() - started < 5
    for gatepost, before in zip((first, second), descriptors):
        wait_until(lambda: gatepost.descriptors() <= before, what="descriptors back")
        assert len(gatepost.events("session")) <= 12


TCP_REPAIR = 19


@pytest.mark.skipif(not AS_ROOT, reason="only root can make a connection vanish")
def test_c125_client_vanishes_without_a_word(start_gatepost, fb1):
    """The socket is gone and sent nothing: keepalive finds out."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, limits={"peer_timeout": "10s"})
    client = gatepost.connect()
    client.login()
    time.sleep(0.3)  # until nothing is left to be acknowledged
    try:
        client.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except OSError:
        pytest.skip("not allowed here")
    client.close()
    time.sleep(1)
    assert not fb1.connections[0].ended
    assert fb1.wait_for_end(fb1.connections[0], seconds=20)
