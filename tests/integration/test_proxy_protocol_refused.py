# SPDX-License-Identifier: Apache-2.0
"""PROXY headers that must not be believed, those that are missing, and those that nobody asked for:
no answer, no backend, one reason (C27)."""

import contextlib
import socket
import struct
import time

import pytest

import proxy_protocol as pp
from client import FIN, RESET, Client, make_context
from tls_pipe import client_hello

CLIENT, FRONT = ("192.0.2.7", 4007), ("198.51.100.2", 993)
STRANGER = "127.0.0.9"
V2 = pp.version2(CLIENT, FRONT)

KINDS = {"plain": {"tls": "none", "allow_plaintext": True}, "starttls": {"tls": "starttls"},
         "implicit": {"tls": "implicit"}}


@pytest.fixture(scope="module")
def balanced(start_shared_gatepost, fb1):
    listeners = {name: {**options, "proxy_protocol": True, "trusted": ["127.0.0.1"]}
                 for name, options in KINDS.items()}
    return start_shared_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, listeners=listeners,
                                 limits={"handshake_timeout": "700ms"})


def assert_closed_without_a_word(client):
    """Not even an alert: this is no port of IMAP for strangers."""
    data, how = client.read_to_end()
    assert data == b"" and how in (FIN, RESET)


def assert_refused(gatepost, listener, data, **options):
    with Client(gatepost.ports[listener], **options) as client:
        with contextlib.suppress(OSError):
            client.send(data)
        started = time.monotonic()
        assert_closed_without_a_word(client)
        assert time.monotonic() - started < 0.5
    line = gatepost.end_of(client)
    assert (line["reason"], line["level"]) == ("proxy_header", "info")


# --- Required ---


@pytest.mark.parametrize("listener", KINDS)
@pytest.mark.parametrize("data", [b"a LOGIN u1 pw\r\n", b"GET / HTTP/1.1\r\n\r\n",
                                  b"\r\n\r\n\0\r\nQUIX", b"PROXX", b" PROXY TCP4", None],
                         ids=["IMAP", "HTTP", "nearly v2", "nearly v1", "space", "hello"])
def test_connection_without_a_header(balanced, fb1, listener, data):
    assert_refused(balanced, listener, data or client_hello(make_context(False), None))
    assert not fb1.connections


ADDRESSES = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.2") + bytes([1, 2, 3, 4])
WRONG_CHECKSUM = bytearray(pp.version2(CLIENT, FRONT, checksum=True))
WRONG_CHECKSUM[-1] ^= 1


def v1(line):
    return line.encode() + b"\r\n"


BAD_HEADERS = {
    "v1: too long": b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
    "v1: bare LF": b"PROXY TCP4 192.0.2.7 198.51.100.2 1 2\n",
    "v1: CR alone": b"PROXY TCP4 192.0.2.7 198.51.100.2 1 2\rx",
    "v1: UDP4": v1("PROXY UDP4 192.0.2.7 198.51.100.2 1 2"),
    "v1: lower case": v1("PROXY tcp4 192.0.2.7 198.51.100.2 1 2"),
    "v1: family": v1("PROXY TCP4 2001:db8::7 2001:db8::2 1 2"),
    "v1: three words": v1("PROXY TCP4 192.0.2.7 198.51.100.2 1"),
    "v1: six words": v1("PROXY TCP4 192.0.2.7 198.51.100.2 1 2 3"),
    "v1: two spaces": v1("PROXY TCP4  192.0.2.7 198.51.100.2 1 2"),
    "v1: port": v1("PROXY TCP4 192.0.2.7 198.51.100.2 65536 2"),
    "v1: octal port": v1("PROXY TCP4 192.0.2.7 198.51.100.2 01 2"),
    "v1: octal address": v1("PROXY TCP4 192.0.02.7 198.51.100.2 1 2"),
    "v1: name": v1("PROXY TCP4 localhost 198.51.100.2 1 2"),
    "v2: version 1": pp.raw_version2(ADDRESSES, command=0x11, family=pp.TCP4),
    "v2: version 3": pp.raw_version2(ADDRESSES, command=0x31, family=pp.TCP4),
    "v2: command 2": pp.raw_version2(ADDRESSES, command=0x22, family=pp.TCP4),
    "v2: datagrams": pp.raw_version2(ADDRESSES, family=0x12),
    "v2: family 4": pp.raw_version2(ADDRESSES, family=0x41),
    "v2: short block": pp.raw_version2(ADDRESSES[:-1], family=pp.TCP4),
    "v2: IPv6 in 12": pp.raw_version2(ADDRESSES, family=pp.TCP6),
    "v2: TLV past the end": pp.version2(CLIENT, FRONT, tlvs=b"\x04\x00\x09abc"),
    "v2: half a TLV": pp.version2(CLIENT, FRONT, tlvs=b"\x04\x00"),
    "v2: checksum": bytes(WRONG_CHECKSUM),
    "v2: two authorities": pp.version2(CLIENT, FRONT, tlvs=pp.tlv(pp.AUTHORITY, b"a.test") * 2),
    "v2: announces 65535": pp.SIGNATURE + bytes([pp.PROXY, pp.TCP4]) + struct.pack(">H", 65535),
}


@pytest.mark.parametrize("header", BAD_HEADERS)
def test_header_that_is_none(balanced, fb1, header):
    """What follows is not heard."""
    assert_refused(balanced, "plain", BAD_HEADERS[header] + b"a LOGIN u1 pw\r\n")
    assert not fb1.connections


@pytest.mark.parametrize("listener", KINDS)
@pytest.mark.parametrize("data", [V2, pp.local(), b"", b"a NOOP\r\n"],
                         ids=["v2", "LOCAL", "nothing", "IMAP"])
def test_header_from_a_stranger(balanced, fb1, listener, data):
    assert_refused(balanced, listener, data, source=STRANGER)
    assert not fb1.connections


def test_second_header_ends_the_connection(balanced, fb1):
    """The second ends the connection."""
    with Client(balanced.ports["plain"], first=pp.version1(CLIENT, FRONT)) as client:
        client.greet().send(pp.version1(("192.0.2.66", 1), FRONT) + b"l LOGIN u1 pw\r\n")
        assert client.read_to_end()[0] == b"* BYE This is an IMAP server.\r\n"
    assert not fb1.connections


def test_header_timeout(balanced):
    """Nothing, and headers that were begun, on every kind of listener."""
    started = time.monotonic()
    clients = [Client(balanced.ports[listener], first=begun) for listener in KINDS
               for begun in (b"", V2[:5], V2[:-1], b"PROXY TCP4 192.0.2")]
    for client in clients:
        with client:
            assert_closed_without_a_word(client)
        assert time.monotonic() - started > 0.4
        assert balanced.end_of(client)["reason"] == "proxy_header"
    assert time.monotonic() - started < 3


def test_time_for_the_header_does_not_grow_with_bytes(balanced):
    with Client(balanced.ports["plain"]) as client:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            client.send_bytewise(V2[:-1], pause=0.06)
        assert_closed_without_a_word(client)
        assert time.monotonic() - started < 3


# --- What the operator is told ---


def test_refusals_are_counted_and_told_once_a_second(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1},
                              limits={"handshake_timeout": "300ms"},
                              listeners={"plain": {**KINDS["plain"], "proxy_protocol": True,
                                                   "trusted": ["127.0.0.1"]}})
    why = {"not from an address in listener.trusted": {"data": V2, "source": STRANGER},
           "the connection does not begin with a PROXY header": {"data": b"a NOOP\r\n"},
           "no whole PROXY header came in time": {"data": b"PROXY "}}
    for number, (detail, attempt) in enumerate(why.items()):
        for _ in range(2 if number == 0 else 1):
            with Client(gatepost.ports["plain"], source=attempt.get("source")) as client:
                client.send(attempt["data"])
                assert_closed_without_a_word(client)
        time.sleep(1.1)
        line = gatepost.events("client refused")[-1]
        assert (line["level"], line["detail"]) == ("warn", detail)
        assert line["client"].startswith(attempt.get("source", "127.0.0.1") + ":")
    assert [line["held_back"] for line in gatepost.events("client refused")] == ["0", "1", "0"]
    gatepost.signal()
    gatepost.wait()
    assert gatepost.events("stopped")[0]["proxy_headers_refused_total"] == "4"
    assert gatepost.events("sessions by reason")[0]["proxy_header"] == "4"


# --- Where nobody asked for one (C27) ---


@pytest.mark.parametrize("listener", ["port", "starttls_port"])
@pytest.mark.parametrize("header", [pp.version1(CLIENT, FRONT), V2, pp.local()],
                         ids=["v1", "v2", "LOCAL"])
def test_c27_header_where_none_is_wanted(proxy, fb1, listener, header):
    """It ends the connection: behind it nobody goes on under the balancer's address."""
    with Client(getattr(proxy, listener)) as client:
        client.greet().send(header + b"\r\nz NOOP\r\nl LOGIN u1 pw\r\n")
        said, _ = client.read_to_end()
        assert said.endswith(b"* BYE This is an IMAP server.\r\n"), said
        assert b"z OK" not in said
    assert not fb1.connections
    assert proxy.end_of(client)["reason"] == "not_imap"


@pytest.mark.parametrize("header", [pp.version1(CLIENT, FRONT), V2])
def test_c27_header_before_tls(proxy, fb1, header):
    with Client(proxy.tls_port, first=header) as client:
        with contextlib.suppress(OSError):
            client.send_raw(client_hello(make_context(False), None))
        data, how = client.read_to_end()
        assert data == b"" or data[0] == 21 and len(data) <= 7, data
        assert how in (FIN, RESET)
    assert proxy.end_of(client)["reason"] == "handshake_failed"


def test_trusted_without_proxy_protocol_believes_no_header(start_gatepost, fb1):
    """`trusted` alone is about ID."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, listeners={
        "webmail": {**KINDS["plain"], "trusted": ["127.0.0.0/8"]}})
    with Client(gatepost.ports["webmail"]) as client:
        client.greet().send(pp.version1(CLIENT, FRONT))
        assert client.read_to_end()[0].startswith(b"* BYE ")
    assert CLIENT[0] not in gatepost.log()
