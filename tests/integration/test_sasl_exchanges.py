# SPDX-License-Identifier: Apache-2.0
"""SCRAM is between the client and its backend: the proxy passes it on, and reads no more of it than
whose mailbox it is (RFC 5802, IMAP.md 1.4). The client of these tests computes and verifies."""

import pytest

import sasl
from client import statuses
from mechanisms import (EVERYTHING, SCRAM, assert_refused, offer, read_to_authenticate,
                        start_taught, status_of)

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
