# SPDX-License-Identifier: Apache-2.0
"""PROXY headers from a load balancer: who is believed, and what becomes of what it says. Headers
that nobody should believe are in test_proxy_protocol_refused.py, those to backends in
test_proxy_protocol_out.py."""

import socket
import time

import pytest

import proxy_protocol as pp
from client import Client, capabilities_of, statuses
from servers import short_folder, wait_until

CLIENT, FRONT = ("192.0.2.7", 4007), ("198.51.100.2", 993)
CLIENT6, FRONT6 = ("2001:db8::7", 4007), ("2001:db8::2", 993)

LISTENERS = {
    "plain": {"tls": "none", "allow_plaintext": True},
    "starttls": {"tls": "starttls"},
    "implicit": {"tls": "implicit"},
    "none": {"tls": "none"},
}
BALANCED = {"proxy_protocol": True, "trusted": ["127.0.0.0/30"]}


@pytest.fixture(scope="module")
def balanced(start_shared_gatepost, fb1, fb2):
    """A gatepost behind a load balancer at 127.0.0.1."""
    listeners = {name: {**options, **BALANCED} for name, options in LISTENERS.items()}
    return start_shared_gatepost({"FB1": fb1.address, "FB2": {"address": fb2.address}},
                                 {"u1": "FB1", "u2": "FB2"}, listeners=listeners)


def connect(gatepost, listener, header, **options):
    """A client behind the header that may log in, by TLS where the listener has it."""
    client = gatepost.connect_to(listener, tls=listener == "implicit", first=header, **options)
    if listener == "starttls":
        client.starttls(gatepost.ca)
    return client


HEADERS = {
    "v1": pp.version1(CLIENT, FRONT),
    "v1, IPv6": pp.version1(CLIENT6, FRONT6),
    "v2": pp.version2(CLIENT, FRONT),
    "v2, IPv6": pp.version2(CLIENT6, FRONT6),
    "v2, checksum": pp.version2(CLIENT, FRONT, checksum=True),
    "v2, TLVs": pp.version2(CLIENT, FRONT, tlvs=pp.tlv(pp.ALPN, b"imap") + pp.tlv(pp.NOOP, b"xyz")
                            + pp.tlv(pp.AUTHORITY, b"mail.test") + pp.tlv(pp.UNIQUE_ID, b"u-1")
                            + pp.tlv(0xEE, bytes(500)) + pp.ssl_tlv(), checksum=True),
}


def expected(header):
    return (CLIENT6, FRONT6) if "IPv6" in header else (CLIENT, FRONT)


def text_of(address):
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def lines_about(gatepost, source, listener):
    return [line for line in gatepost.events("session")
            if (line["client"], line["listener"]) == (text_of(source), listener)]


@pytest.mark.parametrize("listener", ["plain", "starttls", "implicit"])
@pytest.mark.parametrize("header", HEADERS)
def test_claimed_client_is_believed(balanced, fb1, listener, header):
    """By the backend's ID, and by the log."""
    source, destination = expected(header)
    where = f"127.0.0.1:{balanced.ports[listener]}"
    seen = len(lines_about(balanced, source, where))
    with connect(balanced, listener, HEADERS[header]) as client:
        client.login()
        assert b"FB1" in client.command("n", "NOOP")[-1]
        client.command("o", "LOGOUT")
        client.read_to_end()
    told = fb1.connections[0].ids[0]
    assert (told["x-originating-ip"], told["x-originating-port"]) == (source[0], str(source[1]))
    assert (told["x-connected-ip"], told["x-connected-port"]) == (destination[0],
                                                                  str(destination[1]))
    wait_until(lambda: len(lines_about(balanced, source, where)) == seen + 1, what="its line")


@pytest.mark.parametrize("header", [pp.local(), pp.raw_version2(bytes(40), command=pp.LOCAL),
                                    b"PROXY UNKNOWN\r\n", pp.raw_version2(family=0),
                                    b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"],
                         ids=["LOCAL", "LOCAL with a block", "UNKNOWN", "UNSPEC", "UNKNOWN with"])
@pytest.mark.parametrize("listener", ["plain", "implicit"])
def test_balancer_that_speaks_for_itself(balanced, fb1, listener, header):
    with connect(balanced, listener, header) as client:
        client.login()
        own = client.socket.getsockname()
    told = fb1.connections[0].ids[0]
    assert (told["x-originating-ip"], told["x-originating-port"]) == (own[0], str(own[1]))
    assert told["x-connected-port"] == str(balanced.ports[listener])


@pytest.mark.parametrize("header, believed", [
    (pp.local(), True), (b"PROXY UNKNOWN\r\n", False), (pp.raw_version2(family=0), False),
    (pp.raw_version2(bytes(216), family=0x31), False)], ids=["LOCAL", "UNKNOWN", "UNSPEC", "unix"])
def test_claims_of_whom_no_header_names(balanced, fb1, header, believed):
    """The balancer is in `trusted`, but who knows whose connection it passes on."""
    with connect(balanced, "plain", header) as client:
        client.exchange(b'i ID ("x-originating-ip" "192.0.2.66")\r\n')
        client.login()
    told = fb1.connections[0].ids[0]["x-originating-ip"]
    assert told == ("192.0.2.66" if believed else "127.0.0.1")


def test_health_check_that_leaves_at_once(balanced):
    """LOCAL and the end: the balancer looks whether somebody listens."""
    with Client(balanced.ports["plain"], first=pp.local()) as client:
        client.greet().shutdown()
    assert balanced.end_of(client)["reason"] == "client_left"


# --- In pieces ---


def hello_behind(header, gatepost, client, cut):
    """Header and ClientHello as one run of bytes, in segments that meet at `cut`."""
    sent = []

    def send(data):
        if sent:
            client.socket.sendall(data)
            return
        sent.append(header + data)
        client.socket.sendall(sent[0][:cut])
        if cut is not None:
            time.sleep(0.001)
            client.socket.sendall(sent[0][cut:])

    client.start_tls(gatepost.ca, send=send)


@pytest.mark.parametrize("header", ["v1", "v2", "v2, TLVs"])
def test_header_and_hello_in_one_segment(balanced, header):
    with Client(balanced.ports["implicit"]) as client:
        hello_behind(HEADERS[header], balanced, client, None)
        client.greet().login()


@pytest.mark.parametrize("header", ["v1", "v2"])
def test_header_and_hello_cut_everywhere(balanced, header):
    """At every byte of the header and of the first bytes behind it."""
    for at in range(1, len(HEADERS[header]) + 12):
        with Client(balanced.ports["implicit"]) as client:
            hello_behind(HEADERS[header], balanced, client, at)
            client.greet().assert_usable()


@pytest.mark.parametrize("header", ["v1", "v2", "v2, TLVs"])
@pytest.mark.parametrize("listener", ["plain", "starttls"])
def test_header_and_commands_cut_everywhere(balanced, header, listener):
    data = HEADERS[header] + b"a NOOP\r\nb NOOP\r\n"
    for at in range(1, len(HEADERS[header]) + 3, 1 if len(data) < 100 else 7):
        with Client(balanced.ports[listener], first=data[:at]) as client:
            time.sleep(0.001)
            client.send(data[at:])
            assert statuses(client.read_until("b")) == ["* OK", "a OK", "b OK"]


def test_header_bytewise_and_a_whole_login_behind_it(balanced, fb1):
    with Client(balanced.ports["plain"]) as client:
        client.send_bytewise(HEADERS["v2, TLVs"][:60], pause=0.001)
        client.send(HEADERS["v2, TLVs"][60:] + b"a LOGIN u1 pw\r\nb NOOP\r\n")
        assert statuses(client.read_until("b")) == ["* OK", "a OK", "b OK"]
    assert fb1.connections[0].ids[0]["x-originating-ip"] == CLIENT[0]


def test_header_and_starttls_in_one_segment(balanced, fb1):
    with Client(balanced.ports["starttls"], first=HEADERS["v2"] + b"s STARTTLS\r\n") as client:
        client.greet()
        assert statuses(client.read_until("s")) == ["s OK"]
        client.start_tls(balanced.ca)
        client.login()
    assert fb1.connections[0].ids[0]["x-originating-ip"] == CLIENT[0]


@pytest.mark.parametrize("size,good", [(4096, True), (4097, False)])
def test_longest_header(balanced, size, good):
    """PROXY_HEADER_MAX."""
    header = pp.version2(CLIENT, FRONT, tlvs=pp.tlv(0xEE, bytes(size - 16 - 12 - 3)))
    assert len(header) == size
    with Client(balanced.ports["plain"], first=header) as client:
        if good:
            client.greet().assert_usable()
        else:
            assert client.read_to_end()[0] == b""


# --- TLS that ended in front of us ---


@pytest.mark.parametrize("header,secured", [(pp.version2(CLIENT, FRONT, tlvs=pp.ssl_tlv()), True),
                                            (pp.version2(CLIENT, FRONT,
                                                         tlvs=pp.ssl_tlv(client=0)), False),
                                            (HEADERS["v2"], False), (HEADERS["v1"], False)],
                         ids=["TLS", "a TLV that says no TLS", "none", "v1"])
def test_login_without_tls_where_the_client_has_tls(balanced, fb1, header, secured):
    """On tls = "none" without allow_plaintext."""
    with Client(balanced.ports["none"], first=header) as client:
        atoms = capabilities_of(client.greet().greeting)
        assert ("LOGINDISABLED" not in atoms, "AUTH=PLAIN" in atoms) == (secured, secured)
        answer = client.command("a", "LOGIN u1 pw")[-1]
        assert answer.startswith(b"a OK" if secured else b"a NO [PRIVACYREQUIRED]")
    assert len(fb1.logins) == secured


def test_tls_in_front_and_starttls_here(balanced):
    """Secrets may be said either way, and STARTTLS is still there."""
    header = pp.version2(CLIENT, FRONT, tlvs=pp.ssl_tlv())
    with Client(balanced.ports["starttls"], first=header) as client:
        atoms = capabilities_of(client.greet().greeting)
        assert {"STARTTLS", "AUTH=PLAIN"} <= atoms and "LOGINDISABLED" not in atoms
        client.login()


# --- Unix sockets ---


@pytest.mark.parametrize("trusted", [["unix"], ["127.0.0.0/8"]])
def test_unix_listener(start_gatepost, fb1, trusted):
    folder = short_folder("unix")
    folder.chmod(0o777)
    start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, extra_listeners=[
        {"address": f"unix:{folder}/imap", "tls": "none", "allow_plaintext": True,
         "proxy_protocol": True, "trusted": trusted}])
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(f"{folder}/imap")
        try:
            sock.sendall(HEADERS["v1, IPv6"] + b"a LOGIN u1 pw\r\n")
            data = b""
            while b"a OK" not in data and (piece := sock.recv(4096)):
                data += piece
        except ConnectionError:
            data = b""
    if trusted == ["unix"]:
        assert data.startswith(b"* OK ") and b"a OK" in data
        assert fb1.connections[0].ids[0]["x-originating-ip"] == CLIENT6[0]
    else:
        assert data == b"" and not fb1.connections
