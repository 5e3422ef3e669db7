# SPDX-License-Identifier: Apache-2.0
"""Backends that are not there, silent, wrong or gone (CASES.md, G without TLS). After each failure
the client has its tagged reply, its connection is usable, and u2's login works."""

import contextlib
import time

import pytest

from client import statuses
from proxy import is_sanitized
from servers import black_hole, free_port, wait_until

CONNECT_TIMEOUT = 0.5
LOGIN_TIMEOUT = 0.6


@pytest.fixture(scope="module")
def hole():
    with black_hole() as address:
        yield address


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, fb1, fb2, hole):
    timeouts = {"connect_timeout": f"{int(CONNECT_TIMEOUT * 1000)}ms",
                "login_timeout": f"{int(LOGIN_TIMEOUT * 1000)}ms"}
    return start_shared_gatepost(
        {"FB1": {"address": fb1.address, **timeouts}, "FB2": fb2.address,
         "dead": f"127.0.0.1:{free_port()}", "hole": {"address": hole, **timeouts},
         "nameless": "no-such-host.invalid:143"},
        {"u1": "FB1", "u2": "FB2", "dead": "dead", "hole": "hole", "nameless": "nameless"})


def assert_recovers(client):
    client.assert_usable()
    client.login("u2", tag="r")
    assert b"FB2" in client.command("s", "NOOP")[-1]


def refused(client, user="u1", codes=("UNAVAILABLE",), timeout=None):
    """A login that must fail with one of the codes; returns the line."""
    lines = client.command("a", f"LOGIN {user} pw", timeout)
    assert len(lines) == 1, lines
    assert lines[0].startswith(tuple(b"a NO [" + code.encode() + b"] " for code in codes)), lines
    return lines[0]


def test_c84_refused(client):
    started = time.monotonic()
    refused(client, "dead")
    assert time.monotonic() - started < 1
    assert_recovers(client)


def test_c84_name_that_does_not_resolve(client):
    refused(client, "nameless", timeout=15)
    assert_recovers(client)


def test_c84_thousand_logins_to_a_dead_backend(proxy):
    """50 clients with 20 logins each: none is forgotten, and no descriptor stays behind."""
    descriptors = proxy.resting_descriptors()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.connect()) for _ in range(50)]
        for client in clients:
            client.send(b"".join(b"a%d LOGIN dead pw\r\n" % number for number in range(20)))
        for client in clients:
            lines = client.read_until("a19")
            assert statuses(lines) == [f"a{number} NO" for number in range(20)]
            assert all(b" NO [UNAVAILABLE] " in line for line in lines)
            # One for each client, and one for the backend that each may be trying.
            assert proxy.descriptors() <= descriptors + 2 * len(clients)
        wait_until(lambda: proxy.descriptors() <= descriptors + len(clients), what="only clients")
        for client in clients[::10]:
            assert_recovers(client)
    wait_until(lambda: proxy.descriptors() <= descriptors, what="descriptors back")


AT_ONCE, PAUSE = 5, 0.05


def test_one_client_cannot_hammer_a_dead_backend(proxy, fb1):
    """Logins that fail for no fault of the user are paced: a few at once, then one per pause."""
    fb1.script = before_greeting
    started = time.monotonic()
    with proxy.connect() as client:
        client.send(b"".join(b"a%d LOGIN u1 pw\r\n" % number for number in range(30)))
        for number in range(30):
            assert client.read_line().startswith(b"a%d NO [UNAVAILABLE] " % number)
            attempts = len(fb1.connections)
            elapsed = time.monotonic() - started
            assert attempts <= AT_ONCE + elapsed / PAUSE + 1, (number, elapsed)
        assert_recovers(client)
    assert len(fb1.connections) >= 30


def test_c85_black_hole(client):
    started = time.monotonic()
    client.send(b"a LOGIN hole pw\r\nb NOOP\r\n")
    lines = client.read_until("b")
    elapsed = time.monotonic() - started
    assert lines[0].startswith(b"a NO [UNAVAILABLE]") and statuses(lines) == ["a NO", "b OK"]
    assert CONNECT_TIMEOUT - 0.1 < elapsed < CONNECT_TIMEOUT + 1
    assert_recovers(client)


def silent_from_the_start(connection):
    connection.read_to_end()


def silent_after_greeting(connection):
    connection.send(connection.backend.greeting)
    connection.read_to_end()


def silent_after_login(connection):
    connection.backend.accept = b""
    connection.serve_until_login()


@pytest.mark.parametrize("script", [silent_from_the_start, silent_after_greeting,
                                    silent_after_login])
def test_c86_silent(client, fb1, script):
    fb1.script = script
    started = time.monotonic()
    refused(client)
    assert time.monotonic() - started < 2 * LOGIN_TIMEOUT + 1
    assert fb1.wait_for_end(fb1.connections[0])
    assert_recovers(client)


def before_greeting(connection):
    del connection


def after_greeting(connection):
    connection.send(connection.backend.greeting)


def in_the_greeting(connection):
    connection.send(connection.backend.greeting[:20])


def after_id(connection):
    connection.send(connection.backend.greeting)
    assert connection.read_command()[1] == b"ID"


PLACES = [before_greeting, in_the_greeting, after_greeting, after_id]


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("place", PLACES)
def test_c87_gone(client, fb1, place, how):
    def script(connection):
        place(connection)
        getattr(connection, how)()

    fb1.script = script
    refused(client)
    assert_recovers(client)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_c87_gone_in_the_middle_of_the_tagged_line(client, fb1, how):
    def script(connection):
        connection.send(connection.backend.greeting)
        tag, command, _ = connection.read_command()
        if command == b"ID":
            connection.answer(connection.backend.id_answer, tag)
            tag, command, _ = connection.read_command()
        connection.send(tag + b" OK [CAPABILITY IMAP4r")
        getattr(connection, how)()

    fb1.script = script
    refused(client)
    assert_recovers(client)


GREETINGS = [b"220 smtp.example ESMTP\r\n", b"+OK pop ready\r\n", b"* BAD x\r\n", b"\r\n",
             b"* OK [CAPABILITY IMAP4] hi\r\n", bytes(range(256)) * 2,
             b"\x15\x03\x01\x00\x02\x02\x46", b"HTTP/1.1 400 Bad Request\r\n\r\n",
             b"* PREAUTH [CAPABILITY IMAP4rev1] welcome\r\n", b"* BYE go away\r\n",
             b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n"]


@pytest.mark.parametrize("greeting", GREETINGS)
def test_c88_greetings_of_something_else(client, fb1, greeting):
    fb1.greeting = greeting
    fb1.capability = b"IMAP4rev1 LOGINDISABLED"
    refused(client, codes=("SERVERBUG", "UNAVAILABLE", "CONTACTADMIN"))
    received = bytes(fb1.connections[0].received)
    assert b"pw" not in received and b"AHUxAHB3" not in received
    assert_recovers(client)


@pytest.mark.parametrize("code", ["AUTHENTICATIONFAILED", "UNAVAILABLE", "EXPIRED", "LIMIT",
                                  "CONTACTADMIN", "AUTHORIZATIONFAILED", "INUSE"])
def test_c89_codes_are_passed_on(client, fb1, code):
    fb1.refuse = f"$ NO [{code}] some text\r\n".encode()
    lines = client.command("a", "LOGIN u1 wrong")
    assert lines[0].startswith(f"a NO [{code}] ".encode()) and len(lines) == 1
    assert_recovers(client)


@pytest.mark.parametrize("refusal", [b"$ NO go away, u1\r\n", b"$ NO [X-SECRET 10.1.2.3] no\r\n",
                                     b"$ NO\r\n", b"$ NO [AUTHENTICATIONFAILED] u1 is gone\r\n",
                                     b"* NO hint\r\n$ no hm\r\n"])
def test_refusals_without_a_code_are_all_the_same(client, fb1, refusal):
    """IMAP.md, rule 11: nothing tells an unknown user from a wrong password."""
    fb1.refuse = refusal
    lines = client.command("a", "LOGIN u1 wrong")
    assert lines == [b"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"]
    lines = client.command("a", "LOGIN nobody pw")
    assert lines == [b"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"]
    assert_recovers(client)


def test_c90_bad(client, fb1):
    fb1.refuse = b"$ BAD what\r\n"
    lines = client.command("a", "LOGIN u1 wrong")
    assert len(lines) == 1
    assert lines[0].startswith((b"a NO [SERVERBUG] ", b"a NO [UNAVAILABLE] "))
    assert_recovers(client)


def test_c91_referral_in_no(client, fb1):
    fb1.refuse = b"$ NO [REFERRAL imap://u1@10.1.2.3/] moved\r\n"
    lines = client.command("a", "LOGIN u1 wrong")
    assert len(lines) == 1 and lines[0].startswith(b"a NO [UNAVAILABLE] ")
    assert b"10.1.2.3" not in lines[0]
    assert_recovers(client)


def test_c91_referral_in_ok(client, fb1):
    fb1.accept = b"$ OK [REFERRAL imap://u1@10.1.2.3/] hi\r\n"
    lines = client.command("a", "LOGIN u1 pw")
    assert statuses(lines)[-1] == "a OK" and b"10.1.2.3" not in b"".join(lines)
    client.assert_usable()


def test_c92_untagged_noise_before_the_ok(client, fb1):
    fb1.accept = (b'* OK [ALERT] hello\r\n* LIST () "/" x\r\n* 5 EXISTS\r\n* BYE soon\r\n'
                  b"$ OK [CAPABILITY IMAP4rev1] hi\r\n")
    lines = client.command("a", "LOGIN u1 pw")
    assert statuses(lines) in (["* OK", "a OK"], ["a OK"])
    assert not [line for line in lines if b"LIST" in line or b"EXISTS" in line or b"BYE" in line]
    client.assert_usable()


def test_c92_untagged_noise_before_the_no_is_not_shown(client, fb1):
    """IMAP.md 1.7: lines of one backend must not be shown after its NO."""
    fb1.refuse = b'* LIST () "/" x\r\n* 5 EXISTS\r\n$ NO [LIMIT] enough\r\n'
    lines = client.command("a", "LOGIN u1 wrong")
    assert statuses(lines) == ["a NO"]
    assert_recovers(client)


def flood_of_one_line(connection):
    connection.send(b"* OK " + b"x" * 1_000_000)
    connection.read_to_end()


def flood_of_lines(connection):
    connection.send(connection.backend.greeting)
    for _ in range(100):
        connection.send(b"* OK nothing\r\n" * 1000)
    connection.read_to_end()


def continuations_for_ever(connection):
    connection.send(connection.backend.greeting)
    while True:
        connection.send(b"+ x\r\n" * 1000)


@pytest.mark.parametrize("script", [flood_of_one_line, flood_of_lines, continuations_for_ever])
def test_c97_floods(proxy, client, fb1, script):
    resident = proxy.resident_kib()
    fb1.script = script
    refused(client, codes=("UNAVAILABLE", "SERVERBUG"))
    assert fb1.wait_for_end(fb1.connections[0])
    assert proxy.resident_kib() - resident < (100_000 if is_sanitized() else 512)
    assert_recovers(client)


def test_failure_is_logged_with_its_reason(client, proxy):
    refused(client, "dead")
    proxy.wait_for_log("refused")


def test_client_that_leaves_while_the_backend_is_silent(proxy, fb1):
    """IMAP.md 1.7: everything is cancelled, and the backend's socket closed."""
    fb1.script = silent_from_the_start
    descriptors = proxy.resting_descriptors()
    for tls in (True, False):
        client = proxy.connect(tls=tls)
        client.send(b"a LOGIN u1 pw\r\n")
        connection = fb1.wait_for_connection(2 - tls)
        client.reset()
        assert fb1.wait_for_end(connection)
    wait_until(lambda: proxy.descriptors() <= descriptors, what="descriptors back")
