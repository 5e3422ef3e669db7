# SPDX-License-Identifier: Apache-2.0
"""Where commands begin and end, and what is none (CASES.md, B)."""

import contextlib
import os
import random
import socket
import time

import pytest

import proxy_protocol as pp
from client import Client, Ended, statuses
from proxy import is_sanitized

# What a connection may cost while it sends too much (the table: 64 KiB). AddressSanitizer keeps
# freed memory for a while, so that little can be said there.
GROWTH_KIB = 64
SENDERS = 20


@contextlib.contextmanager
def bounded_memory(proxy, connections=SENDERS):
    """The body may cost so many connections' worth of memory; yields what to call while it does."""
    before = proxy.resident_kib()

    def check():
        allowed = GROWTH_KIB * connections + (100_000 if is_sanitized() else 0)
        assert proxy.resident_kib() - before < allowed

    yield check
    check()


def test_c11_case_is_folded(client, fb1):
    lines = client.exchange(b"A cApAbIlItY\r\nb noop\r\n")
    assert statuses(lines) == ["* CAPABILITY", "A OK", "b OK"]
    assert statuses(client.command("c", "login u1 pw"))[-1] == "c OK"
    assert fb1.logins[0].user == b"u1"


@pytest.mark.parametrize("line", [b"a  NOOP", b"a\tNOOP", b" a NOOP"])
def test_c12_one_space_only(client, line):
    lines = client.exchange(line + b"\r\n")
    assert statuses(lines) in (["a BAD"], ["* BAD"])


def test_c13_trailing_space_is_the_same_everywhere(client):
    noop = client.exchange(b"a NOOP \r\n")
    capability = client.exchange(b"a CAPABILITY \r\n")
    assert statuses(noop)[-1:] == statuses(capability)[-1:]
    assert statuses(noop) in (["a OK"], ["a BAD"])
    if statuses(noop) == ["a BAD"]:
        assert statuses(client.exchange(b"a LOGOUT \r\n")) == ["a BAD"]


def test_c14_bare_lf_is_the_same_everywhere(client):
    client.send(b"a NOOP\n")
    try:
        accepted = client.read_line(timeout=0.5).startswith(b"a OK")
    except TimeoutError:
        accepted = False
    if accepted:
        client.send(b"b LOGIN {2}\n")
        assert client.read_line().startswith(b"+ ")
        client.send(b"u1 {2}\n")
        assert client.read_line().startswith(b"+ ")
        client.send(b"pw\n")
        assert client.read_until("b")[-1].startswith(b"b OK")
        return
    # Not a line end anywhere: the CRLF behind it ends one bad command.
    assert statuses(client.exchange(b"\r\n")) in (["a BAD"], ["* BAD"])
    assert statuses(client.exchange(b"b LOGIN {2}\nu1 {2}\npw\n\r\n")) in (["b BAD"], ["* BAD"])


def test_c15_cr_and_lf_apart(client):
    client.send(b"a NOOP\r")
    time.sleep(0.3)
    client.send(b"\n")
    assert statuses(client.read_until("a")) == ["a OK"]
    client.expect_silence(0.1)


def test_c15_cr_ends_nothing(client):
    assert statuses(client.exchange(b"a NO\rOP\r\n")) in (["a BAD"], ["* BAD"])
    assert statuses(client.exchange(b"a NOOP\rb NOOP\r\n")) in (["a BAD"], ["* BAD"])


def test_c16_empty_line(client):
    assert statuses(client.exchange(b"\r\n")) == ["* BAD"]


@pytest.mark.parametrize("line", [b"a\r\n", b"a \r\n"])
def test_c17_tag_alone(client, line):
    assert statuses(client.exchange(line)) in (["a BAD"], ["* BAD"])


@pytest.mark.parametrize("line", [b"a+ NOOP", b"+ NOOP", b"* NOOP"])
def test_c18_plus_and_star_are_no_tags(client, line):
    lines = client.exchange(line + b"\r\n")
    assert statuses(lines) == ["* BAD"]
    assert b"a+" not in lines[0]


@pytest.mark.parametrize("tag", [b"\xe9", b"a\x01", b"a{", b'a"', b"a%n%s", b"a(", b"a)", b"a\\"])
def test_c19_bad_tags_are_not_echoed(client, tag):
    lines = client.exchange(tag + b" NOOP\r\n")
    assert statuses(lines) == ["* BAD"]
    assert tag not in lines[0]


def test_c19_nul_in_a_tag(client):
    client.send(b"a\x00 NOOP\r\nz NOOP\r\n")
    line = client.read_line()
    assert line.startswith((b"* BAD", b"* BYE")) and b"\x00" not in line
    if line.startswith(b"* BAD"):
        assert client.read_line().startswith(b"z OK")


def test_c20_tag_of_100_octets(client):
    tag = "T" * 100
    assert client.status(tag, "NOOP") == "OK"


def test_c20_tag_of_100000_octets(proxy):
    with bounded_memory(proxy) as check, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.connect()) for _ in range(SENDERS)]
        for client in clients:
            client.send(b"T" * 100_000)
        time.sleep(0.1)
        check()
        for client in clients:
            client.send(b" NOOP\r\n")
            line = client.read_line()
            assert line.startswith((b"* BAD", b"* BYE")) and b"TT" not in line
            if line.startswith(b"* BAD"):
                client.assert_usable()


def test_c21_line_of_8000_octets(client):
    start, end = b'a ID ("name" "', b'")'
    line = start + b"x" * 900 + b'"' + b"".join(
        b' "k%d" "%s"' % (number, b"y" * 980) for number in range(7))
    line += b' "k" "'
    line += b"v" * (8000 - len(line) - len(end)) + end
    assert len(line) == 8000
    lines = client.exchange(line + b"\r\n")
    assert statuses(lines) == ["* ID", "a OK"]


def test_c22_endless_line(proxy):
    with bounded_memory(proxy) as check, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.connect()) for _ in range(SENDERS)]
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(b"a LOGIN ")
                for _ in range(16):
                    client.send(b"x LOGOUT " * 7282)
        time.sleep(0.1)
        check()
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(b"\r\nz NOOP\r\n")
            try:
                lines = client.read_until("z")
            except Ended as end:
                assert statuses(end.received.splitlines()) == ["* BYE"]
            else:
                assert statuses(lines) in (["a BAD", "z OK"], ["* BAD", "z OK"])


def test_c23_unknown_command(client):
    assert client.status("a", "XFOO bar") == "BAD"
    client.assert_usable()


@pytest.mark.parametrize("command", ["SELECT INBOX", "IDLE", "COMPRESS DEFLATE", "UNAUTHENTICATE",
                                     "APPEND INBOX {5}", "GETQUOTAROOT INBOX"])
def test_c24_commands_of_later_states(client, directory, fb1, command):
    assert client.status("a", command) in ("BAD", "NO")
    client.assert_usable()
    assert not directory.lookups() and not fb1.connections


@pytest.fixture(params=["993", "143", "143, STARTTLS", "no TLS"])
def anywhere(proxy, request):
    """A client that has read the greeting, on every kind of port and in every state."""
    connect = {"993": proxy.connect, "143": lambda: Client(proxy.starttls_port).greet(),
               "143, STARTTLS": proxy.connect_starttls, "no TLS": lambda: proxy.connect(tls=False)}
    with connect[request.param]() as connected:
        yield connected


@pytest.mark.parametrize("line", [b"POST / HTTP/1.1", b"GET / HTTP/1.1", b"PUT /x HTTP/1.1",
                                  b"EHLO localhost"])
def test_c25_other_protocols(proxy, anywhere, line):
    anywhere.send(line + b"\r\nHost: x\r\nCookie: s=SECRET\r\n\r\n")
    data, _ = anywhere.read_to_end()
    assert data.startswith(b"* BYE") and data.count(b"\r\n") == 1, data
    assert b"SECRET" not in data
    anywhere.close()
    assert proxy.end_of(anywhere)["reason"] == "not_imap"
    assert "SECRET" not in proxy.log()


def test_c25_tls_where_none_begins(proxy, anywhere):
    anywhere.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03SECRET\r\nCookie: SECRET\r\n\r\n")
    data, _ = anywhere.read_to_end()
    assert data.startswith(b"* BYE") and data.count(b"\r\n") == 1 and b"SECRET" not in data, data
    anywhere.close()
    assert proxy.end_of(anywhere)["reason"] == "not_imap"


def test_c25_only_as_the_first_line(anywhere):
    """Who has spoken IMAP may send what it likes: it is a bad command."""
    anywhere.assert_usable()
    assert statuses(anywhere.exchange(b"GET / HTTP/1.1\r\n")) == ["GET BAD"]


def test_c26_bad_commands_in_a_row(client):
    client.send(b"a XFOO\r\n" * 20)
    data, _ = client.read_to_end()
    lines = data.splitlines(True)
    assert lines[-1].startswith(b"* BYE")
    assert len(lines) - 1 <= 10 and set(statuses(lines[:-1])) == {"a BAD"}


def test_c26_noop_between_does_not_forgive_for_ever(client):
    client.send(b"a XFOO\r\nb NOOP\r\n" * 40)
    data, _ = client.read_to_end()
    lines = data.splitlines(True)
    assert lines[-1].startswith(b"* BYE")
    assert 10 < statuses(lines).count("a BAD") <= 30


def assert_never_plaintext(data):
    """Nothing, or a TLS alert (record type 21)."""
    assert data == b"" or data[0] == 21 and len(data) <= 7, data


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.0\r\n\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 993\r\na NOOP\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
    random.Random(27).randbytes(65536),
    b"a LOGIN u1 pw\r\n",
], ids=["HTTP", "PROXY v1", "PROXY v2", "random", "IMAP"])
def test_c27_not_tls_at_all(proxy, data):
    with socket.create_connection(("127.0.0.1", proxy.tls_port), timeout=5) as raw:
        try:
            raw.sendall(data)
            received = b""
            while piece := raw.recv(65536):
                received += piece
        except ConnectionError:
            pass
        assert_never_plaintext(received)
    with proxy.connect() as client:
        client.assert_usable()


@pytest.mark.parametrize("header", [pp.version1(), pp.version2(), pp.local()],
                         ids=["version 1", "version 2", "LOCAL"])
def test_c27_proxy_header_before_plaintext_imap(proxy, header):
    """Nobody is believed, and nobody behind it goes on under the balancer's address."""
    with proxy.connect(tls=False) as client:
        client.send(header + b"a NOOP\r\n")
        said, _ = client.read_to_end()
        assert said.endswith(b"* BYE This is an IMAP server.\r\n") and b"a OK" not in said
    assert "192.0.2.1" not in proxy.log()


def test_c27_random_bytes_anywhere(proxy, anywhere):
    """Answers in the language of the port, and an end; nothing comes back of what was sent."""
    data = random.Random(27).randbytes(65536)
    with contextlib.suppress(OSError):
        anywhere.send(data)
    received = b""
    with contextlib.suppress(Ended, OSError):
        while True:
            received += anywhere.receive()
    assert all(line.startswith((b"* BAD ", b"* BYE ")) for line in received.splitlines()), received
    with proxy.connect() as client:
        client.assert_usable()


def test_random_commands_keep_in_step(proxy):
    """Rubbish lines never make the parser lose its step: a NOOP behind each batch is answered."""
    seed = int(os.environ.get("SEED", "1"))
    randomness = random.Random(seed)
    words = [b"NOOP", b"LOGIN", b'"x', b"{3+}", b"ID", b"(", b")", b"NIL", b"a", b"*", b"\xff",
             b"AUTHENTICATE", b"PLAIN", b"CAPABILITY", b'"q"', b"=", b"~{2}"]
    for _ in range(40):
        line = b" ".join(randomness.choices(words, k=randomness.randint(1, 6)))
        with proxy.connect() as client:
            client.send(b"t " + line + b"\r\n")
            # What may be asked for is given: the rest of a literal, a SASL response.
            client.send(b"xyz\r\n\r\n")
            try:
                client.send(b"z NOOP\r\n")
                lines = client.read_until("z")
            except (Ended, OSError) as fault:
                received = getattr(fault, "received", b"* BYE")
                assert b"* BYE" in received, (seed, line, received)
                continue
            assert lines[-1].startswith(b"z OK"), (seed, line, lines)
