# SPDX-License-Identifier: Apache-2.0
"""Who backends are told the client is, and what it says of itself (ID, C78): what is the client's
own is passed on, what only a proxy may say is believed of those we trust."""

import re
import socket

import pytest

import proxy_protocol as pp
from client import Client, statuses
from servers import short_folder, wait_until

OURS = ["x-originating-ip", "x-originating-port", "x-connected-ip", "x-connected-port",
        "x-session-id", "x-proxy-ttl"]
PLAIN = {"tls": "none", "allow_plaintext": True}


@pytest.fixture(scope="module")
def trusting(start_shared_gatepost, fb1, fb2):
    """`webmail` trusts 127.0.0.1 and 192.0.2.0/24; `balanced` trusts them and wants a header."""
    trusted = ["127.0.0.1", "192.0.2.0/24", "2001:db8::/32"]
    return start_shared_gatepost(
        {"FB1": fb1.address, "FB2": {"address": fb2.address, "send_id": False}},
        {"u1": "FB1", "u2": "FB2"}, listeners={
            "webmail": {**PLAIN, "trusted": trusted},
            "balanced": {**PLAIN, "trusted": trusted, "proxy_protocol": True},
            "implicit": {"trusted": trusted}})


def id_line(connection):
    """The one ID of the connection, as it was said."""
    lines = [line for line in bytes(connection.received).split(b"\r\n") if b" ID " in line]
    assert len(lines) == 1, lines
    return lines[0].partition(b" ID ")[2]


def own_pairs(connection):
    """What stands behind our own pairs."""
    line = id_line(connection)
    match = re.match(b"\\(" + b" ".join(b'"%s" "[^"]*"' % key.encode() for key in OURS)
                     + b"(?: (.*))?\\)$", line)
    assert match, line
    return match[1] or b""


def forwarded(client, fb1, said, user="u1"):
    """What FB1 is told of an ID, behind our own pairs."""
    lines = client.exchange(b"i ID " + said + b"\r\n")
    assert statuses(lines) == ["* ID", "i OK"], lines
    client.login(user)
    return own_pairs(fb1.connections[0])


# --- The client's own words ---


def test_c78_ours_alone_where_the_client_says_nothing(client, fb1):
    client.login()
    assert own_pairs(fb1.connections[0]) == b""
    assert fb1.connections[0].commands[:2] == [b"ID", b"AUTHENTICATE"]


@pytest.mark.parametrize("said", [b"NIL", b"()", b"nil"])
def test_c78_ours_alone_where_it_says_nil(client, fb1, said):
    assert forwarded(client, fb1, said) == b""


def test_c78_clients_identity_is_passed_on(client, fb1):
    said = b'("name" "Mail Program" "version" "1.2" "os" "Some OS")'
    assert forwarded(client, fb1, said) == said[1:-1]


X_KEYS = ["x-originating-ip", "X-ORIGINATING-IP", "X-Originating-Port", "x-connected-ip",
          "x-session-id", "x-forward-user", "x-multiplex", "X-anything", "x-"]


@pytest.mark.parametrize("key", X_KEYS)
def test_c78_x_keys_are_not(client, fb1, key):
    """IMAP.md, rule 19."""
    said = f'("name" "n" "{key}" "192.0.2.66" "os" "o")'.encode()
    assert forwarded(client, fb1, said) == b'"name" "n" "os" "o"'
    assert b"192.0.2.66" not in fb1.connections[0].received
    assert fb1.connections[0].ids[0]["x-originating-ip"] == "127.0.0.1"


ODD = {
    "quote": (b'"a\\"b"', b'"a\\"b"'),
    "backslash": (b'"a\\\\b"', b'"a\\\\b"'),
    "ends in a backslash": (b'"a\\\\"', b'"a\\\\"'),
    "empty": (b'""', b'""'),
    "NIL": (b"NIL", b"NIL"),
    "text NIL": (b'"NIL"', b'"NIL"'),
    "parentheses": (b'")("', b'")("'),
    "literal": (b"{3+}\r\na\"b", b'"a\\"b"'),
    "empty literal": (b"{0+}\r\n", b'""'),
    "8 bits": (b'"\xc3\xa9"', None),
    "literal of 8 bits": (b"{2+}\r\n\xc3\xa9", None),
    "literal of two lines": (b"{9+}\r\na\r\nb NOOP", None),
    "control": (b'"\x07"', None),
}


@pytest.mark.parametrize("form", ODD)
def test_c78_odd_values(client, fb1, form):
    """Quoted as they were, or left out; never more than one line."""
    value, expected = ODD[form]
    told = forwarded(client, fb1, b'("a" "1" "odd" ' + value + b' "z" "2")')
    middle = b' "odd" ' + expected if expected is not None else b""
    assert told == b'"a" "1"' + middle + b' "z" "2"'


def test_c78_literal_that_is_asked_for(client, fb1):
    client.send(b'i ID ("name" {4}\r\n')
    assert client.read_line().startswith(b"+ ")
    assert statuses(client.exchange(b'x) y)\r\n')) == ["* ID", "i OK"]
    client.login()
    assert own_pairs(fb1.connections[0]) == b'"name" "x) y"'


@pytest.mark.parametrize("count", [23, 24, 25, 30])
def test_c78_as_many_pairs_as_there_is_room_for(client, fb1, count):
    """30 in all (RFC 2971 section 3.3), of which six are ours."""
    pairs = [b'"k%d" "v%d"' % (number, number) for number in range(count)]
    told = forwarded(client, fb1, b"(" + b" ".join(pairs) + b")")
    assert told == b" ".join(pairs[:24])


def test_c78_long_pairs_are_left_out(client, fb1):
    """2 KiB are kept: the first that fit."""
    long = b'"long%d" "' + b"v" * 900 + b'"'
    pairs = [b'"a" "1"', long % 1, long % 2, long % 3, b'"z" "2"']
    told = forwarded(client, fb1, b"(" + b" ".join(pairs) + b")")
    assert told == b" ".join(pairs[:3] + pairs[4:])


def test_c78_second_identity_replaces_the_first(client, fb1):
    client.exchange(b'i ID ("name" "first" "os" "o")\r\n')
    assert forwarded(client, fb1, b'("name" "second")') == b'"name" "second"'


def test_c78_identity_that_is_no_id_replaces_nothing(client, fb1):
    client.exchange(b'i ID ("name" "first")\r\n')
    assert statuses(client.exchange(b'j ID ("name" "second" "odd")\r\n')) == ["j BAD"]
    client.login()
    assert own_pairs(fb1.connections[0]) == b'"name" "first"'


def test_c78_nothing_to_backends_that_want_none(trusting, fb2):
    for listener, tls in (("webmail", False), ("implicit", True)):
        with trusting.connect_to(listener, tls=tls) as client:
            client.exchange(b'i ID ("name" "n" "x-originating-ip" "192.0.2.9")\r\n')
            client.login("u2")
        assert not fb2.connections[-1].ids and b"ID" not in fb2.connections[-1].commands


def test_c78_nothing_to_backends_that_do_not_know_it(client, fb1):
    fb1.capability = b"IMAP4rev1 SASL-IR AUTH=PLAIN"
    client.exchange(b'i ID ("name" "n")\r\n')
    client.login()
    assert not fb1.connections[0].ids


# --- Whom we trust ---

CLAIM = (b'("x-originating-ip" "198.51.100.9" "x-originating-port" "4009" "x-connected-ip" '
         b'"203.0.113.5" "x-connected-port" "1993" "x-session-id" "webmail-7" "x-proxy-ttl" "3" '
         b'"name" "Webmail")')


def claimed(gatepost, fb1, said, listener="webmail", **options):
    """What FB1 is told, as a dictionary, and the line of the log; `said` may be several IDs."""
    with Client(gatepost.ports[listener], **options) as client:
        client.greet()
        for one in said if isinstance(said, list) else [said]:
            assert statuses(client.exchange(b"i ID " + one + b"\r\n")) == ["* ID", "i OK"]
        client.login()
    return fb1.connections[0].ids[0], client


def test_c78_trusted_claims_are_believed(trusting, fb1):
    told, _ = claimed(trusting, fb1, CLAIM)
    assert told == {"x-originating-ip": "198.51.100.9", "x-originating-port": "4009",
                    "x-connected-ip": "203.0.113.5", "x-connected-port": "1993",
                    "x-session-id": "webmail-7", "x-proxy-ttl": "2", "name": "Webmail"}
    assert trusting.end_of("198.51.100.9:4009")["user"] == "u1"


def test_c78_claims_of_ipv6_clients(trusting, fb1):
    told, _ = claimed(trusting, fb1, b'("X-Originating-IP" "2001:DB8::9" "x-originating-port" "9")')
    assert (told["x-originating-ip"], told["x-originating-port"]) == ("2001:db8::9", "9")


def test_c78_the_same_claims_of_others_are_not(trusting, fb1):
    """127.0.0.9 is nobody; all may lower x-proxy-ttl, for it stops nobody's login but theirs."""
    told, client = claimed(trusting, fb1, CLAIM, source="127.0.0.9")
    own = client.address.split(":")
    assert (told["x-originating-ip"], told["x-originating-port"]) == (own[0], own[1])
    assert (told["x-connected-ip"], told["x-connected-port"]) == \
        ("127.0.0.1", str(trusting.ports["webmail"]))
    assert told["x-session-id"] == trusting.end_of(client)["session"]
    assert told["x-proxy-ttl"] == "2" and told["name"] == "Webmail"


MALFORMED = {
    "x-originating-ip": ["", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.4:25", "::g", "[::1]",
                         "1.2.3.4 ", "01.2.3.4", "unix", "fe80::1%eth0", "1" * 65, NotImplemented],
    "x-connected-ip": ["", "x", "1.2.3.256"],
    "x-session-id": ["", "a" * 65, 'q\\"uote', "back\\\\slash"],
}


@pytest.mark.parametrize("key,value", [(key, value) for key, values in MALFORMED.items()
                                       for value in values])
def test_c78_malformed_claims_are_ignored(trusting, fb1, key, value):
    literal = b"NIL" if value is NotImplemented else b'"' + value.encode() + b'"'
    told, client = claimed(trusting, fb1, b'("' + key.encode() + b'" ' + literal + b")")
    own = {"x-originating-ip": "127.0.0.1", "x-connected-ip": "127.0.0.1",
           "x-session-id": trusting.end_of(client)["session"]}
    assert {name: told[name] for name in own} == own


@pytest.mark.parametrize("port", ["", "65536", "-1", "1x", "x", " 1", "99999999999999999999", "0"])
def test_c78_malformed_ports_are_none(trusting, fb1, port):
    """The address still holds."""
    told, _ = claimed(trusting, fb1, f'("x-originating-ip" "198.51.100.9" "x-originating-port" '
                      f'"{port}")'.encode())
    assert (told["x-originating-ip"], told["x-originating-port"]) == ("198.51.100.9", "0")


@pytest.mark.parametrize("value,expected", [("1", "0"), ("5", "4"), ("9999", "4"), ("10000", "4"),
                                            ("x", "4"), ("", "4")])
def test_c78_proxy_ttl(trusting, fb1, value, expected):
    told, _ = claimed(trusting, fb1, f'("x-proxy-ttl" "{value}")'.encode(), source="127.0.0.9")
    assert told["x-proxy-ttl"] == expected


def test_c78_proxy_ttl_that_is_used_up(trusting, fb1):
    """C98."""
    with trusting.connect_to("webmail", tls=False) as client:
        client.exchange(b'i ID ("x-proxy-ttl" "0")\r\n')
        assert client.command("a", "LOGIN u1 pw")[0].startswith(b"a NO [SERVERBUG]")
    assert not fb1.connections


@pytest.mark.parametrize("second", [b'("name" "n")', b"NIL",
                                    b'("x-originating-ip" "203.0.113.1")'])
def test_c78_second_claim_replaces_the_first(trusting, fb1, second):
    told, client = claimed(trusting, fb1, [CLAIM, second])
    assert told["x-session-id"] != "webmail-7"
    assert told["x-originating-ip"] == ("203.0.113.1" if b"203" in second else "127.0.0.1")


def test_c78_second_claim_also_between_logins(trusting, fb1):
    """Whom a refused login spoke for says nothing about the next one."""
    with trusting.connect_to("webmail", tls=False) as client:
        for tag, said in (("a", CLAIM), ("b", b"NIL")):
            client.exchange(b"i ID " + said + b"\r\n")
            client.command(tag, "LOGIN u1 " + ("wrong" if tag == "a" else "pw"))
    first, second = (connection.ids[0] for connection in fb1.connections)
    assert first["x-originating-ip"] == "198.51.100.9"
    assert second["x-originating-ip"] == "127.0.0.1"
    assert second["x-connected-port"] == str(trusting.ports["webmail"])
    assert "4009" not in second.values()


@pytest.mark.parametrize("claimed_client,believed", [("192.0.2.7", True), ("198.51.100.7", False),
                                                     ("2001:db8::1", True), ("127.0.0.9", False)])
def test_c78_behind_a_balancer_the_claimed_client_must_be_trusted(trusting, fb1, claimed_client,
                                                                  believed):
    """That the balancer is trusted makes its clients no webmails."""
    to = "2001:db8::2" if ":" in claimed_client else "203.0.113.77"
    header = pp.version2((claimed_client, 7007), (to, 993))
    told, _ = claimed(trusting, fb1, CLAIM, listener="balanced", first=header)
    expected = ("198.51.100.9", "203.0.113.5", "webmail-7") if believed else \
        (claimed_client, to, told["x-session-id"])
    assert (told["x-originating-ip"], told["x-connected-ip"], told["x-session-id"]) == expected
    assert believed or told["x-session-id"] != "webmail-7"


def test_c78_over_tls_claims_are_believed_too(trusting, fb1):
    with trusting.connect_to("implicit") as client:
        client.exchange(b"i ID " + CLAIM + b"\r\n")
        client.login()
    assert fb1.connections[0].ids[0]["x-originating-ip"] == "198.51.100.9"


def test_c78_webmail_on_a_unix_socket(start_gatepost, fb1):
    """Where it connected to is no address, and is not told."""
    folder = short_folder("unix")
    folder.chmod(0o777)
    start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, extra_listeners=[
        {"address": f"unix:{folder}/imap", "trusted": ["unix"], **PLAIN}])
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(f"{folder}/imap")
        sock.sendall(b'i ID ("x-originating-ip" "198.51.100.9" "x-originating-port" "9")\r\n'
                     b"a LOGIN u1 pw\r\n")
        wait_until(lambda: b"a OK" in sock.recv(4096))
    told = fb1.connections[0].ids[0]
    assert (told["x-originating-ip"], told["x-originating-port"]) == ("198.51.100.9", "9")
    assert set(told) == {"x-originating-ip", "x-originating-port", "x-session-id", "x-proxy-ttl"}
