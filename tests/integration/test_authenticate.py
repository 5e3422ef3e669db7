# SPDX-License-Identifier: Apache-2.0
"""AUTHENTICATE PLAIN, the mechanisms that are refused, and ID (CASES.md, D); test_sasl_*.py has the
other mechanisms."""

import base64
import threading

import pytest

from client import Ended, statuses
from proxy import is_sanitized
from servers import wait_until

GOOD = b"AHUxAHB3"


def plain(message):
    return base64.b64encode(message).decode()


def assert_untouched(directory, fb1):
    assert not directory.lookups() and not fb1.connections


def test_c46_initial_response(client, fb1):
    assert client.status("a", b"AUTHENTICATE PLAIN " + GOOD) == "OK"
    login, = fb1.logins
    assert (login.owner, login.user, login.password) == (b"", b"u1", b"pw")


def test_c47_without_initial_response(client, fb1):
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    assert client.read_line() == b"+ \r\n"
    client.send(GOOD + b"\r\n")
    assert statuses(client.read_until("a")) == ["a OK"]
    assert fb1.logins[0].user == b"u1"


def test_c47_bytewise(client, fb1):
    client.send_bytewise(b"a AUTHENTICATE PLAIN\r\n")
    assert client.read_line() == b"+ \r\n"
    client.send_bytewise(GOOD + b"\r\n")
    assert statuses(client.read_until("a")) == ["a OK"]
    assert fb1.logins[0].password == b"pw"


def test_c48_empty_initial_response(client, directory, fb1):
    assert statuses(client.exchange(b"a AUTHENTICATE PLAIN =\r\n")) in (["a NO"], ["a BAD"])
    assert_untouched(directory, fb1)


def test_c49_mechanism_names_fold_base64_does_not(client, fb1):
    lines = client.exchange(b"a AUTHENTICATE PLAIN ahuxahb3\r\n")
    assert statuses(lines) in (["a NO"], ["a BAD"])
    assert client.status("b", b"authenticate pLaIn " + GOOD) == "OK"
    assert [login.user for login in fb1.logins][-1] == b"u1"


@pytest.mark.parametrize("arguments", [b"FOO", b"FOO AAAA"])
def test_c50_unknown_mechanism(client, arguments):
    assert statuses(client.exchange(b"a AUTHENTICATE " + arguments + b"\r\n")) == ["a NO"]


@pytest.mark.parametrize("arguments", [b"", b' "PLAIN"', b" {5}"])
def test_c51_mechanism_is_an_atom(client, arguments):
    lines = client.exchange(b"a AUTHENTICATE" + arguments + b"\r\n")
    assert statuses(lines) in (["a BAD"], ["a NO"])


def test_c52_cancelled(client, fb1):
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    assert client.read_line() == b"+ \r\n"
    client.send(b"*\r\n")
    assert statuses(client.read_until("a")) == ["a BAD"]
    assert client.status("b", "LOGIN u1 pw") == "OK"
    assert len(fb1.logins) == 1


@pytest.mark.parametrize("response", [b"!!!!", b"AAA=BBBB", b"AHUxAHB3\t", b"AHUxAHB3 ",
                                      b"AHUx AHB3", b"A", b"====", b"* ", b"AHUxAHB3=",
                                      b"AHUxAHB3\x00"])
def test_c53_bad_base64_as_continuation(client, directory, fb1, response):
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    assert client.read_line() == b"+ \r\n"
    assert statuses(client.exchange(response + b"\r\n")) == ["a BAD"]
    assert_untouched(directory, fb1)


@pytest.mark.parametrize("initial", [b"AAA=BBBB", b"AHUxAHB3 x", b"!!!!", b"A"])
def test_c53_bad_base64_as_initial_response(client, directory, fb1, initial):
    lines = client.exchange(b"a AUTHENTICATE PLAIN " + initial + b"\r\n")
    assert statuses(lines) == ["a BAD"]
    assert_untouched(directory, fb1)


def run_threads(count, work):
    """Runs work(index) in so many threads; the first fault is raised here."""
    faults = []

    def guarded(index):
        try:
            work(index)
        except BaseException as fault:  # pytest's own failures too
            faults.append(fault)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def cancel_many(proxy, cycles):
    """So many exchanges that are cancelled, each with a good command between, so that no limit of
    bad commands ends the connection before its time; a new connection when one does."""
    client = proxy.connect(tls=False)
    for _ in range(cycles):
        try:
            client.send(b"a AUTHENTICATE PLAIN\r\n")
            assert client.read_line() == b"+ \r\n"
            client.send(b"*\r\n")
            assert client.read_line().startswith(b"a BAD")
        except (Ended, OSError):
            client.close()
            client = proxy.connect(tls=False)
    client.close()


def drop_many(proxy, rounds):
    for _ in range(rounds):
        with proxy.connect(tls=False, greet=False) as client:
            client.send(b"a AUTHENTICATE PLAIN\r\n")


def test_c54_nothing_is_kept_of_exchanges_that_end_early(proxy):
    """1,000 cycles on 20 connections and 1,000 connections dropped inside the exchange, twice: the
    second time costs no memory and no descriptor."""
    def round_of_all():
        run_threads(20, lambda _: cancel_many(proxy, 50))
        run_threads(20, lambda _: drop_many(proxy, 50))

    descriptors = proxy.resting_descriptors()
    round_of_all()
    wait_until(lambda: proxy.descriptors() <= descriptors, what="descriptors back")
    resident = proxy.resident_kib()
    round_of_all()
    wait_until(lambda: proxy.descriptors() <= descriptors, what="descriptors back")
    assert proxy.resident_kib() - resident < (100_000 if is_sanitized() else 1024)


def test_c55_no_state_is_carried_over(client, fb1, fb2):
    assert client.status("a", "AUTHENTICATE PLAIN " + plain(b"\0u2\0wrong")) == "NO"
    challenges, lines = client.authenticate("LOGIN", b"u2", b"worse", tag="b")
    assert challenges == [b"Username:", b"Password:"] and statuses(lines) == ["b NO"]
    assert client.status("c", "LOGIN u1 pw") == "OK"
    assert [(login.owner, login.user, login.password) for login in fb2.logins] == [
        (b"", b"u2", b"wrong"), (b"", b"u2", b"worse")]
    assert [(login.owner, login.user, login.password) for login in fb1.logins] == [
        (b"", b"u1", b"pw")]


@pytest.mark.parametrize("message", [b"u1\0pw", b"\0u1\0pw\0x", b"\0\0pw", b"\0u1\0", b"",
                                     b"u1", b"\0u1\0p\nw", b"\0u1\x01\0pw", b"\0\xff\0pw"])
def test_c56_messages_that_are_no_credentials(client, directory, fb1, message):
    lines = client.exchange(f"a AUTHENTICATE PLAIN {plain(message) or '='}\r\n".encode())
    assert statuses(lines) in (["a NO"], ["a BAD"])
    assert_untouched(directory, fb1)


def test_c56_empty_message_as_continuation(client, directory, fb1):
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    assert client.read_line() == b"+ \r\n"
    assert statuses(client.exchange(b"\r\n")) in (["a NO"], ["a BAD"])
    assert_untouched(directory, fb1)


def test_c59_long_message_is_a_message(client, directory, fb1):
    """12,000 octets of base64 are read as a message, whose credentials are then too long."""
    message = plain(b"\0u1\0" + b"t" * 8996)
    assert len(message) == 12000
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    assert client.read_line() == b"+ \r\n"
    assert statuses(client.exchange(message.encode() + b"\r\n")) == ["a NO"]
    assert_untouched(directory, fb1)


@pytest.mark.parametrize("command", [b"a AUTHENTICATE PLAIN\r\n", b"a AUTHENTICATE PLAIN "])
def test_c59_endless_message_is_refused(proxy, client, directory, fb1, command):
    before = proxy.resident_kib()
    client.send(command)
    try:
        for _ in range(16):
            client.send(b"AAAA" * 16384)
        client.send(b"\r\nz NOOP\r\n")
    except OSError:
        pass
    try:
        lines = client.read_until("z")
    except Ended as end:
        assert statuses([line for line in end.received.splitlines() if line[:1] != b"+"]) in (
            ["* BYE"], ["a BAD", "* BYE"])
    else:
        assert statuses([line for line in lines if line[:1] != b"+"]) == ["a BAD", "z OK"]
    assert proxy.resident_kib() - before < (100_000 if is_sanitized() else 256)
    assert_untouched(directory, fb1)


def test_c60_response_before_it_is_asked_for(client, fb1):
    client.send(b"a AUTHENTICATE PLAIN\r\n" + GOOD + b"\r\nb NOOP\r\n")
    lines = client.read_until("b")
    assert lines[0] == b"+ \r\n" and statuses(lines[1:]) == ["a OK", "b OK"]
    assert b"FB1" in lines[2]


def test_c61_id(client):
    lines = client.exchange(b'a ID NIL\r\nb ID ("name" "x")\r\n')
    assert statuses(lines) == ["* ID", "a OK", "* ID", "b OK"]
    client.send(b'c ID ("name" {1}\r\n')
    assert client.read_line().startswith(b"+ ")
    assert statuses(client.exchange(b"x)\r\n")) == ["* ID", "c OK"]


@pytest.mark.parametrize("arguments", [b' ("x")', b" (x y", b" ", b"", b" NIL x", b" x",
                                       b' (("a" "b"))'])
def test_c61_malformed_id(client, arguments):
    lines = client.exchange(b"a ID" + arguments + b"\r\n")
    assert statuses(lines) in (["a BAD"], ["* BAD"])


@pytest.mark.parametrize("line", [
    b"(" + b" ".join(b'"k%d" "v"' % number for number in range(31)) + b")",
    b'("' + b"k" * 31 + b'" "v")',
    b'("k" "' + b"v" * 1025 + b'")'])
def test_c61_id_past_its_limits(client, line):
    assert statuses(client.exchange(b"a ID " + line + b"\r\n")) in (["* ID", "a OK"], ["a BAD"])


@pytest.mark.parametrize("piece", [b"(", b'"k" "v" '])
def test_c61_endless_id(proxy, client, piece):
    before = proxy.resident_kib()
    client.send(b"a ID (")
    block = piece * (65536 // len(piece))
    try:
        for _ in range(10 * 1024 * 1024 // len(block)):
            client.send(block)
        client.send(b")\r\nz NOOP\r\n")
    except OSError:
        pass
    try:
        lines = client.read_until("z")
    except Ended as end:
        assert statuses(end.received.splitlines()) in (["* BYE"], ["a BAD", "* BYE"])
    else:
        assert statuses(lines) in (["a BAD", "z OK"], ["* BAD", "z OK"])
    assert proxy.resident_kib() - before < (100_000 if is_sanitized() else 256)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "EXTERNAL",
                                       "CRAM-MD5", "GSSAPI", "ANONYMOUS"])
@pytest.mark.parametrize("initial", ["", " =", " AAAA"])
def test_c62_mechanisms_that_are_not_offered(client, directory, fb1, mechanism, initial):
    lines = client.exchange(f"a AUTHENTICATE {mechanism}{initial}\r\n".encode())
    assert statuses(lines) == ["a NO"]
    assert_untouched(directory, fb1)
