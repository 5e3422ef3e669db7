# SPDX-License-Identifier: Apache-2.0
"""SCRAM is between the client and its backend: the proxy passes it on, and reads no more of it than
whose mailbox it is (RFC 5802, IMAP.md 1.4). The client of these tests computes and verifies."""

import pytest

import sasl
from client import CLOSE_NOTIFY, statuses
from mechanisms import (EVERYTHING, SCRAM, assert_refused, offer, read_to_authenticate,
                        start_taught, status_of, teach)

MANNERS = {"capability": EVERYTHING}

each = pytest.mark.parametrize("mechanism", SCRAM)


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, fb1, fb2, directory):
    return start_taught(start_shared_gatepost, fb1, fb2, directory)


def only_login(fb):
    assert len(fb.logins) == 1, fb.logins
    return fb.logins[0]


# --- whole exchanges ---

@each
@pytest.mark.parametrize("initial", [True, False])
def test_right_password(client, fb1, mechanism, initial):
    lines = client.scram(mechanism, "u1", "pw", initial=initial)
    assert statuses(lines) == ["a OK"]
    login = only_login(fb1)
    assert (login.form, login.owner, login.user) == (f"{mechanism}-IR", b"", b"u1")
    lines = client.command("b", "NOOP")
    assert statuses(lines) == ["b OK"] and b"FB1" in lines[0]


@each
def test_wrong_password(client, fb1, fb2, mechanism):
    assert_refused(client.scram(mechanism, "u1", "wrong"))
    assert len(only_login(fb1).responses) == 1
    client.assert_usable()
    assert status_of(client.scram(mechanism, "u2", "pw", tag="b")) == "OK"
    assert only_login(fb2).user == b"u2"


@each
def test_backend_without_initial_responses(client, fb1, mechanism):
    fb1.capability = offer(*SCRAM, other="IMAP4rev1")
    assert status_of(client.scram(mechanism, "u1", "pw")) == "OK"
    assert only_login(fb1).form == mechanism


def test_unknown_user(client, fb1, fb2):
    assert_refused(client.scram("SCRAM-SHA-256", "nobody", "pw"))
    assert not fb1.logins and not fb2.logins
    client.login()


def test_every_message_arrives_as_it_was_sent(client, fb1):
    """The messages are signed: not an octet may change, nor in what comes back."""
    scram = sasl.ScramClient("SCRAM-SHA-256", "u1", "pw")
    challenges, lines = client.authenticate("SCRAM-SHA-256", scram.final, b"",
                                            initial=scram.first())
    assert status_of(lines) == "OK"
    command, final, empty = only_login(fb1).raw.splitlines(keepends=True)
    assert command.endswith(b" AUTHENTICATE SCRAM-SHA-256 " + sasl.encode(scram.first()) + b"\r\n")
    assert sasl.decode(final[:-2]) == scram.final(challenges[0]) and empty == b"\r\n"
    assert scram.verify(challenges[1])


def test_extensions_of_the_first_message_are_passed_on(client, fb1):
    scram = sasl.ScramClient("SCRAM-SHA-256", "u1", "pw")
    scram.bare += b",x=what is to come"
    _, lines = client.authenticate("SCRAM-SHA-256", scram.final, b"", initial=scram.first())
    assert status_of(lines) == "OK"
    assert sasl.encode(scram.first()) in only_login(fb1).raw


def test_wrong_signature_of_the_server_is_the_clients_affair(client, fb1):
    """Only the client can know; what it does then is to cancel."""
    fb1.script = lambda connection: challenge_with(connection, b"v=" + sasl.encode(b"no" * 16))
    scram = sasl.ScramClient("SCRAM-SHA-256", "u1", "pw")
    proofs = []

    def cancel(challenge):
        proofs.append(scram.verify(challenge))

    _, lines = client.authenticate("SCRAM-SHA-256", scram.final, cancel, initial=scram.first())
    assert proofs == [False] and statuses(lines) == ["a BAD"]
    client.login("u2")


def challenge_with(connection, last):
    """A SCRAM that ends in another last message of the server, whoever the client is."""
    tag, rest = read_to_authenticate(connection)
    server = sasl.ScramServer("SCRAM-SHA-256", b"pw")
    first = sasl.decode(rest.partition(b" ")[2])
    connection.send(b"+ " + sasl.encode(server.challenge(first)) + b"\r\n")
    connection.read_line()
    connection.send(b"+ " + sasl.encode(last) + b"\r\n")
    connection.read_line()
    connection.send(tag + b" OK you are in\r\n")
    connection.read_to_end()


def test_c60_answer_before_it_is_asked_for(client, fb1):
    """What stands in the same segment is the answer to the challenge, and then a command."""
    fb1.script = refuse_the_answer
    scram = sasl.ScramClient("SCRAM-SHA-256", "u1", "pw")
    client.send(b"a AUTHENTICATE SCRAM-SHA-256 " + sasl.encode(scram.first()) + b"\r\n" +
                b"YW5zd2Vy\r\nb LOGIN u2 pw\r\n")
    lines = client.read_until("b")
    assert statuses(lines) == ["+ AAAA", "a NO", "b OK"]
    assert bytes(fb1.connections[0].received).endswith(b"\r\nYW5zd2Vy\r\n")


def refuse_the_answer(connection):
    tag, _ = read_to_authenticate(connection)
    connection.send(b"+ AAAA\r\n")
    connection.read_line()
    connection.send(tag + b" NO [AUTHENTICATIONFAILED] wrong\r\n")
    connection.read_to_end()


# --- the header of the first message ---

def test_owner_decides(client, directory, fb1, fb2):
    """n,a=...: whose mailbox it is (RFC 5802 section 5.1)."""
    key = b"gatepost:route:o,2"
    directory.handler = lambda words: b"$3\r\nFB2\r\n" if words[1] == key else None
    assert status_of(client.scram("SCRAM-SHA-256", "u1", "pw", owner="o,2")) == "OK"
    assert directory.lookups() == [[b"GET", key]]
    login = only_login(fb2)
    assert (login.owner, login.user) == (b"o=2C2", b"u1") and not fb1.logins


@pytest.mark.parametrize("user", ["a,b", "a=b", "é@x"])
def test_escaped_names(client, directory, fb1, user):
    key = f"gatepost:route:{user}".encode()
    directory.handler = lambda words: b"$3\r\nFB1\r\n" if words[1] == key else None
    assert status_of(client.scram("SCRAM-SHA-1", user, "pw")) == "OK"
    assert only_login(fb1).user == user.encode()


def test_flag_y_passes(client, fb1):
    """The client could bind channels, and has seen that nobody here can."""
    scram = sasl.ScramClient("SCRAM-SHA-256", "u1", "pw")
    scram.header = b"y,,"
    _, lines = client.authenticate("SCRAM-SHA-256", scram.final, b"", initial=scram.first())
    assert status_of(lines) == "OK"
    assert sasl.encode(scram.first()) in only_login(fb1).raw


@pytest.mark.parametrize("first", [
    b"p=tls-exporter,,n=u1,r=abc", b"p=tls-server-end-point,a=u2,n=u1,r=abc",
    b"n,,m=must,n=u1,r=abc", b"n,,n=u1,r=abc,m=must", b"n,,n=,r=abc", b"n,,n=u1,r=",
    b"n,,n=u1", b"n,,r=abc", b"n,a=,n=u1,r=abc", b"n,a=u2=1,n=u1,r=abc", b"n,,n=u=1,r=abc",
    b"n,,n=u1,r=a b", b"n,,n=u\n,r=abc", b"x,,n=u1,r=abc", b"n=u1,r=abc", b"u1\0pw", b""])
def test_first_messages_that_are_refused(client, directory, fb1, first):
    """p= among them: a channel that ends at the proxy cannot be bound to the backend."""
    for number, initial in enumerate((True, False)):
        tag = f"t{number}"
        given = [] if initial else [first]
        _, lines = client.authenticate("SCRAM-SHA-256", *given, tag=tag,
                                       initial=first if initial else None)
        assert_refused(lines, tag)
    assert not directory.lookups() and not fb1.logins
    client.login()


@pytest.mark.parametrize("mechanism", [f"{name}-PLUS" for name in SCRAM])
@pytest.mark.parametrize("initial", [b"", b" =", b" bixhPXUxLG49dTEscj1hYmM="])
def test_c62_plus_is_refused(client, directory, mechanism, initial):
    lines = client.exchange(f"a AUTHENTICATE {mechanism}".encode() + initial + b"\r\n")
    assert statuses(lines) == ["a NO"]
    assert not directory.lookups()


# --- what may go wrong on the way ---

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
def test_backend_ends_in_the_middle(client, fb1, fb2, how):
    """Whoever answers the challenge then has not logged in, and is told so."""
    fb1.script = lambda connection: end_after_challenge(connection, how)
    begin(client)
    assert client.read_line().startswith(b"a NO [UNAVAILABLE] ")
    # The client's answer may be on its way: it is no command, and nobody waits for it.
    assert client.exchange(b"Yz1iaXdzLHI9eA==\r\n") == []
    client.login("u2")


def end_after_challenge(connection, how):
    read_to_authenticate(connection)
    connection.send(b"+ " + sasl.encode(b"r=abc,s=AAAA,i=4096") + b"\r\n")
    getattr(connection, how)()


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
