# SPDX-License-Identifier: Apache-2.0
"""PROXY headers to backends (send_proxy): the first bytes, in one piece, and true."""

import ipaddress
import socket

import pytest

import proxy_protocol as pp
from backend import FakeBackend
from client import Client
from servers import short_folder, wait_until

SOURCE = "127.0.0.77"
BALANCED = {"proxy_protocol": True, "trusted": ["127.0.0.0/8"]}


def through(gatepost, tls=True, **options):
    """Who connects, and to where."""
    client = gatepost.connect(tls=tls, source=SOURCE, **options)
    return client, client.socket.getsockname(), client.socket.getpeername()


@pytest.fixture(scope="module")
def wants_header():
    """A scripted backend that reads a PROXY header first."""
    backend = FakeBackend("HB", proxy_protocol=True)
    yield backend
    backend.close()


@pytest.fixture(autouse=True)
def fresh(wants_header):
    wants_header.reset()
    yield
    wants_header.assert_no_faults()


@pytest.fixture(scope="module")
def telling(start_shared_gatepost, wants_header):
    return start_shared_gatepost(
        {"HB": {"address": wants_header.address, "send_proxy": True}}, {"u1": "HB"},
        listeners={"balanced": {"tls": "none", "allow_plaintext": True, **BALANCED}})


def test_header_of_a_client_with_tls(telling, wants_header):
    client, source, destination = through(telling)
    with client:
        client.login()
        assert b"HB" in client.command("n", "NOOP")[-1]
        version, cipher = client.tls.version, client.tls.cipher
    header = wants_header.connections[0].proxy_header
    assert (header.version, header.local) == (2, False)
    assert (header.source, header.destination) == (source, destination)
    assert header.authority == b"localhost"
    assert header.tls and header.tls_parts == {pp.SSL_VERSION: version.encode(),
                                               pp.SSL_CIPHER: cipher.encode()}


def test_header_of_a_client_without_tls(telling, wants_header):
    client, source, destination = through(telling, tls=False)
    with client:
        client.login()
    header = wants_header.connections[0].proxy_header
    assert (header.source, header.destination) == (source, destination)
    assert header.authority is None and not header.tls and pp.SSL not in header.tlvs


def test_header_of_a_client_that_began_tls_by_starttls(telling, wants_header):
    with telling.connect_starttls(server_name=None) as client:
        client.login()
        source = client.socket.getsockname()
    header = wants_header.connections[0].proxy_header
    assert header.source == source and header.tls and header.authority is None


def test_unique_id_is_the_sessions(telling, wants_header):
    """One name for the session in the header, in ID and in the log; another for another session."""
    names = []
    for _ in range(2):
        client, _, _ = through(telling)
        with client:
            client.login()
        connection = wants_header.connections[-1]
        names.append(connection.proxy_header.unique_id.decode())
        assert connection.ids[0]["x-session-id"] == names[-1]
        assert telling.end_of(client)["session"] == names[-1]
    assert len(set(names)) == 2


@pytest.mark.parametrize("family", [4, 6])
def test_chain_of_headers(telling, wants_header, family):
    """What the balancer in front said is what the backend is told."""
    source, destination = ((("192.0.2.7", 4007), ("198.51.100.2", 993)) if family == 4 else
                           (("2001:db8::7", 4007), ("2001:db8::2", 993)))
    first = pp.version1(source, destination)
    with telling.connect_to("balanced", tls=False, first=first) as client:
        client.login()
    header = wants_header.connections[0].proxy_header
    assert (header.source, header.destination) == (source, destination)


def test_tls_in_front_is_told(telling, wants_header):
    """TLS that ended at the balancer is the client's: a backend that wants TLS sees it."""
    header = pp.version2(tlvs=pp.ssl_tlv() + pp.tlv(pp.AUTHORITY, b"mail.example"))
    with telling.connect_to("balanced", tls=False, first=header) as client:
        client.login()
    header = wants_header.connections[0].proxy_header
    assert header.tls and header.tls_parts == {}
    assert header.authority == b"mail.example"


def test_chain_of_mixed_families(start_gatepost, wants_header):
    """What a trusted webmail says of its client may be IPv6 where it connects by IPv4: then both
    are written as IPv6."""
    gatepost = start_gatepost({"HB": {"address": wants_header.address, "send_proxy": True}},
                              {"u1": "HB"}, listeners={
        "webmail": {"tls": "none", "allow_plaintext": True, "trusted": ["127.0.0.1"]}})
    with gatepost.connect_to("webmail", tls=False) as client:
        client.exchange(b'i ID ("x-originating-ip" "2001:db8::7" "x-originating-port" "4007")\r\n')
        client.login()
        where = client.socket.getpeername()
    header = wants_header.connections[0].proxy_header
    assert header.source == ("2001:db8::7", 4007)
    mapped = ipaddress.ip_address(header.destination[0]).ipv4_mapped
    assert (str(mapped), header.destination[1]) == where


def test_every_login_gets_a_header(telling, wants_header):
    """Also those behind a refused one, on a connection of their own."""
    client, source, _ = through(telling)
    with client:
        assert client.status("a", "LOGIN u1 wrong") == "NO"
        assert client.status("b", "LOGIN u1 pw") == "OK"
    told = [connection.proxy_header.source for connection in wants_header.connections]
    assert told == [source] * 2


def test_header_for_a_client_of_a_unix_socket(start_gatepost, wants_header):
    """There is nobody to name: LOCAL."""
    folder = short_folder("unix")
    folder.chmod(0o777)
    start_gatepost({"HB": {"address": wants_header.address, "send_proxy": True}}, {"u1": "HB"},
                   extra_listeners=[{"address": f"unix:{folder}/imap", "tls": "none",
                                     "allow_plaintext": True}])
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(f"{folder}/imap")
        sock.sendall(b"a LOGIN u1 pw\r\n")
        wait_until(lambda: b"a OK" in sock.recv(4096))
    assert wants_header.connections[0].proxy_header.local


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
def test_header_comes_first_and_in_one_segment(start_gatepost, certificates, fb1, tls):
    """Before the greeting is read, and before TLS."""
    def script(connection):
        first = connection.receive()
        assert first.startswith(pp.SIGNATURE), first
        rest = [first]

        def read_exactly(count):
            data, rest[0] = rest[0][:count], rest[0][count:]
            assert len(data) == count, first
            return data

        connection.proxy_header = pp.read_header(read_exactly)
        connection.behind = rest[0] if tls == "implicit" or rest[0] else b""
        if tls == "implicit" and not connection.behind:
            connection.behind = connection.receive()
        connection.close()

    fb1.script = script
    verified = {} if tls == "none" else {"ca": str(certificates.ca)}
    gatepost = start_gatepost({"FB1": {"address": fb1.address, "send_proxy": True, "tls": tls,
                                       **verified}}, {"u1": "FB1"})
    client, source, _ = through(gatepost)
    with client:
        assert client.status("a", "LOGIN u1 pw") == "NO"
    connection = fb1.connections[0]
    wait_until(lambda: hasattr(connection, "behind") or connection.fault, what="the header")
    assert connection.proxy_header.source == source
    assert connection.behind[:1] == (b"\x16" if tls == "implicit" else b"")


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_login_behind_header_and_tls(start_gatepost, certificates, wants_header, tls):
    wants_header.tls, wants_header.certificate = tls, certificates.backend
    gatepost = start_gatepost(
        {"HB": {"address": wants_header.address, "send_proxy": True, "tls": tls,
                "ca": str(certificates.ca)}}, {"u1": "HB"})
    client, source, _ = through(gatepost)
    with client:
        client.login()
        assert b"HB" in client.command("n", "NOOP")[-1]
    connection = wants_header.connections[0]
    assert connection.proxy_header.source == source and connection.tls


def test_no_header_where_none_is_configured(proxy, fb1):
    with proxy.connect() as client:
        client.login()
    assert fb1.connections[0].received.startswith(fb1.connections[0].segments[0][1])
    assert pp.SIGNATURE not in fb1.connections[0].received


# --- A real server ---


@pytest.fixture(scope="module")
def before_dovecot(start_shared_gatepost, full1):
    return start_shared_gatepost(
        {"full1": {"address": f"127.0.0.1:{full1.proxy_port}", "send_proxy": True,
                   "send_id": False}}, {"somebody": "full1"},
        listeners={"balanced": {"tls": "none", "allow_plaintext": True, **BALANCED}})


def test_dovecot_believes_the_header(before_dovecot, full1):
    client, _, _ = through(before_dovecot)
    with client:
        client.login("somebody")
        assert client.status("n", "NOOP") == "OK"
    wait_until(lambda: f"rip={SOURCE}," in full1.log(), what="the address in Dovecot's log")


@pytest.mark.parametrize("address", ["192.0.2.123", "2001:db8::123"])
def test_dovecot_behind_a_chain(before_dovecot, full1, address):
    other = "2001:db8::1" if ":" in address else "198.51.100.1"
    with Client(before_dovecot.ports["balanced"],
                first=pp.version2((address, 1234), (other, 993))) as client:
        client.greet().login("somebody")
    wait_until(lambda: f"rip={address}," in full1.log(), what="the address in Dovecot's log")
    assert f"lip={other}," in full1.log()
