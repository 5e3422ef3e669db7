# SPDX-License-Identifier: Apache-2.0
"""What may go wrong in the middle of an exchange, or take its time: on the client's side, on the
backend's, and on ours. Whatever it is, the client is answered, and may try again."""

import time

import pytest

import sasl
from client import CLOSE_NOTIFY, statuses
from mechanisms import EVERYTHING, read_to_authenticate, start_taught, teach

MANNERS = {"capability": EVERYTHING}


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, fb1, fb2, directory):
    return start_taught(start_shared_gatepost, fb1, fb2, directory)


def begin(client, user="u1", tag="a"):
    """An exchange up to the first challenge; the SCRAM and the challenge."""
    scram = sasl.ScramClient("SCRAM-SHA-256", user, "pw")
    client.send(f"{tag} AUTHENTICATE SCRAM-SHA-256 ".encode() + sasl.encode(scram.first()) +
                b"\r\n")
    line = client.read_line()
    assert line.startswith(b"+ "), line
    return scram, sasl.decode(line[2:-2])


@pytest.mark.parametrize("line", [b"!!!!", b"AAA", b"AAAA\t", b" ", b"* ", b"=", b"AA=A"])
def test_c53_bad_base64_in_the_middle(client, fb1, fb2, line):
    begin(client)
    connection = fb1.wait_for_connection()
    assert statuses(client.exchange(line + b"\r\n")) == ["a BAD"]
    fb1.wait_for_end(connection)
    assert line not in bytes(connection.received).splitlines()
    client.login("u2")


@pytest.mark.parametrize("step", [1, 2])
def test_c52_cancelled_in_the_middle(client, fb1, fb2, step):
    """At either challenge; the backend hears no more, and nobody is logged in."""
    scram, challenge = begin(client)
    if step == 2:
        client.send(sasl.encode(scram.final(challenge)) + b"\r\n")
        assert client.read_line().startswith(b"+ ")
    client.send(b"*\r\n")
    assert statuses(client.read_until("a")) == ["a BAD"]
    fb1.wait_for_end(fb1.wait_for_connection())
    assert b"SELECT" not in fb1.connections[0].received
    client.assert_usable()
    client.login("u2")


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("last", [b"", b"* BYE not now\r\n", b"* OK still here\r\n"])
def test_backend_ends_in_the_middle(client, fb1, fb2, how, last):
    """Whoever answers the challenge then has not logged in, and is told so."""
    fb1.script = lambda connection: end_after_challenge(connection, how, last)
    begin(client)
    assert client.read_line().startswith(b"a NO [UNAVAILABLE] ")
    # The client's answer may be on its way: it is no command, and nobody waits for it.
    assert client.exchange(b"Yz1iaXdzLHI9eA==\r\n") == []
    client.login("u2")


def end_after_challenge(connection, how, last):
    read_to_authenticate(connection)
    connection.send(b"+ " + sasl.encode(b"r=abc,s=AAAA,i=4096") + b"\r\n")
    time.sleep(0.05)  # a reset takes what is not read yet with it
    if last:
        connection.send(last)
    getattr(connection, how)()


def test_backend_refuses_while_the_client_thinks(client, fb1, fb2):
    fb1.script = refuse_unasked
    begin(client)
    assert client.read_line().startswith(b"a NO [AUTHENTICATIONFAILED] ")
    # The answer may have been on its way.
    assert client.exchange(b"YW5zd2Vy\r\n") == []
    client.login("u2")
    assert len(fb2.logins) == 1


def refuse_unasked(connection):
    tag, _ = read_to_authenticate(connection)
    connection.send(b"+ AAAA\r\n")
    time.sleep(0.05)
    connection.send(tag + b" NO [AUTHENTICATIONFAILED] we know you\r\n")
    connection.read_to_end()


@pytest.mark.parametrize("line", [b"+ !!!!\r\n", b"+ AAA\r\n", b"+ hello\r\n"])
def test_challenge_that_is_no_base64(client, fb1, fb2, line):
    fb1.script = lambda connection: say_after_login(connection, line)
    scram = sasl.ScramClient("SCRAM-SHA-256", "u1", "pw")
    challenges, lines = client.authenticate("SCRAM-SHA-256", initial=scram.first())
    assert not challenges and len(lines) == 1 and lines[0].startswith(b"a NO [SERVERBUG]")
    client.login("u2")


@pytest.mark.parametrize("reply", [b"$ OK in already\r\n", b"+ AAAA\r\n$ OK in already\r\n"])
def test_ok_before_any_proof(client, fb1, fb2, reply):
    """The mailbox of a user who has proven nothing is not opened, whatever a backend thinks."""
    fb1.script = lambda connection: say_after_login(connection, reply)
    scram = sasl.ScramClient("SCRAM-SHA-256", "u1", "pw")
    client.send(b"a AUTHENTICATE SCRAM-SHA-256 " + sasl.encode(scram.first()) + b"\r\n")
    lines = client.read_until("a")
    assert lines[-1].startswith(b"a NO [SERVERBUG]"), lines
    client.login("u2")


def say_after_login(connection, reply):
    tag, _ = read_to_authenticate(connection)
    connection.send(reply.replace(b"$", tag))
    connection.read_to_end()


def test_endless_challenges(client, fb1, fb2):
    fb1.script = challenge_for_ever
    scram = sasl.ScramClient("SCRAM-SHA-256", "u1", "pw")
    challenges, lines = client.authenticate("SCRAM-SHA-256", *[b"x"] * 20, initial=scram.first())
    assert len(challenges) == 10 and lines[0].startswith(b"a NO [UNAVAILABLE]")
    client.login("u2")


def challenge_for_ever(connection):
    read_to_authenticate(connection)
    while True:
        connection.send(b"+ AAAA\r\n")
        connection.read_line()


def test_client_leaves_in_the_middle(proxy, fb1):
    with proxy.connect() as client:
        begin(client)
    fb1.wait_for_end(fb1.wait_for_connection())
    assert not fb1.logins


def test_c76_what_is_pipelined_behind_the_last_answer(client, fb1):
    """It is the backend's, octet for octet and once."""
    scram, challenge = begin(client)
    client.send(sasl.encode(scram.final(challenge)) + b"\r\n")
    assert client.read_line().startswith(b"+ ")
    client.send(b"\r\nb NOOP\r\nc SELECT INBOX\r\n")
    assert statuses(client.read_until("c")) == ["a OK", "b OK", "c OK"]
    assert bytes(fb1.connections[0].received).endswith(b"\r\n\r\nb NOOP\r\nc SELECT INBOX\r\n")


@pytest.fixture(scope="module")
def impatient(start_shared_gatepost, fb1):
    """A backend that must answer at once; clients may take longer, but not for ever."""
    fb1.reset()
    gatepost = start_shared_gatepost(
        {"FB1": {"address": fb1.address, "login_timeout": "200ms"}}, {"u1": "FB1"},
        process={"workers": 1}, limits={"login_timeout": "1s"})
    teach(gatepost, "u1")
    return gatepost


def test_client_may_think(impatient, fb1):
    """The time that a person takes is not the backend's."""
    with impatient.connect() as client:
        scram, challenge = begin(client)
        client.expect_silence(0.4)
        client.send(sasl.encode(scram.final(challenge)) + b"\r\n")
        assert client.read_line().startswith(b"+ ")
        client.send(b"\r\n")
        assert statuses(client.read_until("a")) == ["a OK"]


def test_c108_client_that_thinks_too_long(impatient, fb1):
    with impatient.connect() as client:
        begin(client)
        data, how = client.read_to_end()
        assert data.startswith(b"* BYE [UNAVAILABLE] ") and how == CLOSE_NOTIFY
    fb1.wait_for_end(fb1.wait_for_connection())


def test_c86_backend_that_thinks_too_long(impatient, fb1):
    """It has the answer, and is silent."""
    fb1.script = fall_silent
    with impatient.connect() as client:
        begin(client)
        client.send(b"YW5zd2Vy\r\n")
        assert client.read_line().startswith(b"a NO [UNAVAILABLE] ")
        client.assert_usable()


def fall_silent(connection):
    read_to_authenticate(connection)
    connection.send(b"+ AAAA\r\n")
    connection.read_to_end()


def test_shutdown_in_the_middle(start_gatepost, fb1):
    """Who is about to log in may."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1})
    teach(gatepost, "u1")
    with gatepost.connect() as client:
        scram, challenge = begin(client)
        gatepost.signal()
        gatepost.wait_for_log('"draining"')
        client.send(sasl.encode(scram.final(challenge)) + b"\r\n")
        assert client.read_line().startswith(b"+ ")
        client.send(b"\r\nb NOOP\r\n")
        assert statuses(client.read_until("b")) == ["a OK", "b OK"]
    assert gatepost.wait() == 0
