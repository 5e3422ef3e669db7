# SPDX-License-Identifier: Apache-2.0
"""gatepost as an operator meets it: signals, limits, privileges."""

import contextlib
import os
import pathlib
import pwd
import re
import resource
import signal
import socket
import time

import pytest

from backend import echo
from client import CLOSE_NOTIFY, FIN, RESET, Ended, statuses
from proxy import is_sanitized
from servers import AS_ROOT, accepts, wait_until

# --- Ending ---


def assert_gone(gatepost):
    """No listener is left, once every worker has heard of the end."""
    for port in (gatepost.tls_port, gatepost.port):
        wait_until(lambda port=port: not accepts(port), what="end of the listener")


def test_sigterm_drains(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              process={"drain_timeout": "20s"})
    spliced, waiting, plain = gatepost.connect(), gatepost.connect(), gatepost.connect(tls=False)
    with spliced, waiting, plain:
        spliced.login()
        gatepost.signal()
        for client, end in ((waiting, CLOSE_NOTIFY), (plain, FIN)):
            data, how = client.read_to_end()
            assert data.startswith(b"* BYE [UNAVAILABLE]") and how == end
        wait_until(lambda: "draining" in gatepost.log())
        assert_gone(gatepost)
        spliced.assert_usable()
        assert gatepost.process.poll() is None
        assert statuses(spliced.command("o", "LOGOUT")) == ["* BYE", "o OK"]
        spliced.read_to_end()
    assert gatepost.wait() == 0


def test_sigterm_lets_a_login_that_is_under_way_finish(start_gatepost, fb1):
    def script(connection):
        connection.backend.entered = True
        time.sleep(0.5)
        if connection.serve_until_login():
            connection.backend.session(connection)

    fb1.script, fb1.entered = script, False
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              process={"drain_timeout": "20s"})
    with gatepost.connect() as client:
        client.send(b"a LOGIN u1 pw\r\n")
        wait_until(lambda: fb1.entered)
        gatepost.signal()
        assert client.read_line().startswith(b"a OK")
        client.command("o", "LOGOUT")
    assert gatepost.wait() == 0


@pytest.mark.parametrize("tls", [True, False])
def test_drain_timeout_ends_sessions_in_order(start_gatepost, fb1, tls):
    """What the backend sent is flushed, and nothing of ours follows."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              process={"drain_timeout": "500ms"})
    fb1.session = echo
    with gatepost.connect(tls=tls) as client:
        client.login()
        client.send(b"half a li")
        started = time.monotonic()
        gatepost.signal()
        data, how = client.read_to_end()
        assert data == b"half a li" and how == (CLOSE_NOTIFY if tls else FIN)
        assert time.monotonic() - started > 0.4
        client.close()
    assert gatepost.wait() == 0
    assert fb1.wait_for_end(fb1.connections[0])


MIB = 1 << 20


def pour(connection):
    """4 MiB for the client, as fast as they go; then nothing, until the proxy ends its side."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * MIB)
    connection.read_command()
    connection.send(b"x" * (4 * MIB))
    connection.read_to_end()


def pour_without_end(connection):
    """The same, but the proxy's end is not answered."""
    pour(connection)
    time.sleep(4)


def drain_while_pouring(start_gatepost, fb1, session):
    """A gatepost that drains during a download, and its client, which has TLS and has not read."""
    fb1.session = session
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              process={"drain_timeout": "500ms"})
    client = gatepost.connect(receive_buffer=65536)
    client.login()
    client.send(b"f FETCH\r\n")
    time.sleep(0.3)
    gatepost.signal()
    return gatepost, client


def test_drain_timeout_loses_nothing_of_a_download(start_gatepost, fb1):
    """Who reads steadily gets all that the backend has sent, and then an end in order."""
    gatepost, client = drain_while_pouring(start_gatepost, fb1, pour)
    with client:
        time.sleep(0.7)
        received, how = 0, None
        while how is None:
            try:
                received += len(client.receive())
                time.sleep(0.001)
            except Ended as end:
                how = end.how
        assert (received, how) == (4 * MIB, CLOSE_NOTIFY)
    assert gatepost.wait() == 0
    assert fb1.connections[0].ended == FIN


@pytest.mark.parametrize("reads", [False, True], ids=["unread", "without end"])
def test_drain_does_not_call_a_cut_download_whole(start_gatepost, fb1, reads):
    """A client that does not read, or a backend that does not end, is cut off at last; the client
    can tell that from an end in order."""
    gatepost, client = drain_while_pouring(start_gatepost, fb1,
                                           pour_without_end if reads else pour)
    with client:
        if not reads:
            assert gatepost.wait() == 0
        data, how = client.read_to_end()
        assert len(data) == 4 * MIB if reads else len(data) < 4 * MIB
        assert how in (FIN, RESET)
    assert gatepost.wait() == 0


def ends_at_once(gatepost, fb1, signals):
    with gatepost.connect() as client:
        client.login()
        started = time.monotonic()
        for number in signals:
            gatepost.signal(number)
            time.sleep(0.1)
        assert gatepost.wait(5) == 0
        assert time.monotonic() - started < 3
        client.read_to_end()
    assert fb1.wait_for_end(fb1.connections[0])


@pytest.mark.parametrize("signals", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT],
                                     [signal.SIGTERM, signal.SIGINT]],
                         ids=["TERM TERM", "INT", "TERM INT"])
def test_second_sigterm_or_sigint_ends_at_once(start_gatepost, fb1, signals):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              process={"drain_timeout": "60s"})
    ends_at_once(gatepost, fb1, signals)


def test_sigterm_while_backends_and_redis_are_silent(start_gatepost, fb1, fake_redis):
    """Logins that wait for somebody are ended at the latest after drain_timeout, and the process
    with them, although Redis does not take the registration back."""
    fb1.script = lambda connection: connection.read_to_end()
    fake_redis.values["gatepost:route:u1"] = "FB1"
    fake_redis.handler = lambda words: b"" if words[-1].endswith(b":u2") else None
    gatepost = start_gatepost({"FB1": fb1.address},
                              redis={"url": fake_redis.url, "timeout": "60s"},
                              process={"drain_timeout": "300ms"})
    fake_redis.settle()
    with gatepost.connect() as one, gatepost.connect() as two:
        one.send(b"a LOGIN u1 pw\r\n")
        fb1.wait_for_connection()
        two.send(b"a LOGIN u2 pw\r\n")
        wait_until(lambda: any(words[-1].endswith(b":u2") for words in fake_redis.commands))
        gatepost.signal()
        for client in (one, two):
            data, _ = client.read_to_end()
            assert b"* BYE" in data, data
    assert gatepost.wait(5) == 0
    assert "could not be taken back" in gatepost.log()


def test_sigterm_takes_the_registration_back(start_gatepost, fb1, fake_redis):
    fake_redis.values["gatepost:route:u1"] = "FB1"
    gatepost = start_gatepost({"FB1": fb1.address}, redis=fake_redis.url)
    wait_until(lambda: len(fake_redis.nodes) == 1, what="registration")
    with gatepost.connect() as client:
        client.login()
    gatepost.signal()
    assert gatepost.wait() == 0
    assert len(fake_redis.nodes) == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_other_signals_do_no_harm(start_gatepost, fb1, number):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"})
    with gatepost.connect() as client:
        client.login()
        gatepost.signal(number)
        gatepost.wait_for_log(f"signal={number.name.removeprefix('SIG')} ")
        client.assert_usable()


# --- Limits ---


def test_login_timeout_closes_silent_clients(start_gatepost, fb1):
    """C108, and C109: a byte now and then does not put it off."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              limits={"login_timeout": "1s"})
    with gatepost.connect() as silent, gatepost.connect(tls=False) as slow:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"a LOGIN u1 ":
                slow.send(bytes([byte]))
                time.sleep(0.15)
        for client, end in ((silent, CLOSE_NOTIFY), (slow, FIN)):
            data, how = client.read_to_end()
            assert data.startswith(b"* BYE") and how == end
        assert 0.8 < time.monotonic() - started < 3
    wait_until(lambda: len([line for line in gatepost.events("session")
                            if line["reason"] == "login_timeout"]) == 2)


def test_handshake_timeout(start_gatepost, fb1):
    """C108: nothing, and half a ClientHello."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              limits={"handshake_timeout": "500ms"})
    for data in (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
        with socket.create_connection(("127.0.0.1", gatepost.tls_port), timeout=5) as raw:
            started = time.monotonic()
            raw.sendall(data)
            with contextlib.suppress(ConnectionResetError):
                assert raw.recv(100) == b""
            assert 0.3 < time.monotonic() - started < 3
    wait_until(lambda: gatepost.log().count("reason=handshake_timeout") == 2)


@pytest.mark.parametrize("failures", [1, 3])
def test_c106_login_failures_end_the_connection(start_gatepost, fb1, failures):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              limits={"login_failures": failures, "failure_delay": "200ms"})
    with gatepost.connect() as client:
        for number in range(failures):
            started = time.monotonic()
            lines = client.command("a", "LOGIN u1 wrong" if number % 2 else "LOGIN nobody pw")
            assert statuses(lines) == ["a NO"]
            assert time.monotonic() - started >= 0.19
        data, how = client.read_to_end()
        assert data.startswith(b"* BYE") and how == CLOSE_NOTIFY
    gatepost.wait_for_log("reason=login_failures")


def test_good_login_is_not_delayed(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              limits={"failure_delay": "10s"})
    with gatepost.connect() as client:
        client.login()


def test_c111_few_descriptors(start_gatepost, fb1):
    """400 clients where 256 descriptors are allowed: who is let in can log in."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              limits_of_process={resource.RLIMIT_NOFILE: 256})
    cpu = gatepost.cpu_seconds()
    admitted = []
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            client = stack.enter_context(gatepost.connect(tls=False, greet=False))
            with contextlib.suppress(Ended, OSError, AssertionError):
                admitted.append(client.greet())
        assert 20 < len(admitted) < 128
        for client in admitted:
            client.login()
        for client in admitted:
            client.assert_usable()
        assert gatepost.descriptors() < 256
        time.sleep(0.5)
        assert gatepost.cpu_seconds() - cpu < (10 if is_sanitized() else 1)
    wait_until(lambda: "session" in str(gatepost.events("session")) and gatepost.descriptors() < 60)
    with gatepost.connect() as client:
        client.login()


@pytest.mark.parametrize("health,reserved", [("none", 0), ("greeting", 2 * 64)])
def test_c111_descriptors_of_checks_are_not_those_of_sessions(start_gatepost, fb1, health,
                                                              reserved):
    """64 checks at a time, each with two addresses, where there are so many backends."""
    backends = {f"mail{number}": fb1.address for number in range(70)}
    gatepost = start_gatepost(backends, {"u1": "mail1"}, health={"check": health},
                              limits_of_process={resource.RLIMIT_NOFILE: 300})
    (line,) = gatepost.events("listening")
    assert int(line["max_sessions"]) <= (300 - 64 - 2 * 16 - reserved) // 2


def set_descriptors(gatepost, count):
    _, hard = resource.prlimit(gatepost.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(gatepost.pid, resource.RLIMIT_NOFILE, (count, hard))


def test_c111_no_descriptor_left_to_accept_with(start_gatepost, fb1):
    """accept() fails for ever with EMFILE: no spinning, and service resumes when clients leave."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1})
    set_descriptors(gatepost, max(descriptors_in_use(gatepost)) + 5)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gatepost.connect(tls=False, greet=False))
                   for _ in range(20)]
        gatepost.wait_for_log("cannot accept")
        cpu = gatepost.cpu_seconds()
        time.sleep(1)
        assert gatepost.cpu_seconds() - cpu < 0.3
        assert gatepost.log().count("cannot accept") < 5
        clients[0].greet().assert_usable()
    wait_until(lambda: log_in_somehow(gatepost), what="service again")


def descriptors_in_use(gatepost):
    return {int(name) for name in os.listdir(f"/proc/{gatepost.pid}/fd")}


def log_in_somehow(gatepost):
    try:
        with gatepost.connect(tls=False) as client:
            client.timeout = 1
            client.login()
            return True
    except (AssertionError, OSError):
        return False


def test_c111_no_descriptor_left_for_the_backend(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1})
    with gatepost.connect() as client:
        used = descriptors_in_use(gatepost)
        set_descriptors(gatepost, min(set(range(max(used) + 2)) - used))
        lines = client.command("a", "LOGIN u1 pw")
        assert lines[0].startswith(b"a NO [UNAVAILABLE]")
        client.assert_usable()
        set_descriptors(gatepost, 1000)
        client.login()


def test_idle_sessions_cost_no_time(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"})
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(gatepost.connect()).login()
        stack.enter_context(gatepost.connect())
        cpu = gatepost.cpu_seconds()
        time.sleep(1)
        assert gatepost.cpu_seconds() - cpu <= 0.02


# --- Privileges ---


@pytest.mark.skipif(not AS_ROOT, reason="only root has privileges to drop")
def test_privileges_are_dropped(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"user": "nobody"})
    nobody = pwd.getpwnam("nobody")
    status = pathlib.Path(f"/proc/{gatepost.pid}/status").read_text()
    assert re.search(r"Uid:\s+(.*)", status)[1].split() == [str(nobody.pw_uid)] * 4
    assert re.search(r"Gid:\s+(.*)", status)[1].split() == [str(nobody.pw_gid)] * 4
    assert "0" not in re.search(r"Groups:\s*(.*)", status)[1].split()
    assert int(re.search(r"CapEff:\s+(\w+)", status)[1], 16) == 0
    with gatepost.connect() as client:
        client.login()


def test_no_core_dumps_and_all_descriptors(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"})
    limits = pathlib.Path(f"/proc/{gatepost.pid}/limits").read_text()
    assert re.search(r"Max core file size\s+0\s+0", limits)
    soft, hard = re.search(r"Max open files\s+(\d+)\s+(\d+)", limits).groups()
    assert soft == hard
