# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens, XOAUTH2 and OAUTHBEARER: the client's to its backend, with the backend's error and
the client's answer to it between them (IMAP.md 1.4, RFC 7628)."""

import pytest

import sasl
from client import statuses
from mechanisms import (EVERYTHING, TOKENS, UNDERSTOOD, assert_refused, offer,
                        read_to_authenticate, start_taught, status_of, teach)
from servers import wait_until

MANNERS = {"capability": EVERYTHING}
TOKEN_MAX = 16384
LINE_MAX = 32768

each = pytest.mark.parametrize("mechanism", TOKENS)


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, fb1, fb2, directory):
    return start_taught(start_shared_gatepost, fb1, fb2, directory)


def message(mechanism, user="u1", token="token"):
    return TOKENS[mechanism](user, token)


def only_login(fb, form):
    assert len(fb.logins) == 1, fb.logins
    assert fb.logins[0].form == form
    return fb.logins[0]


# --- right tokens ---

@each
def test_right_token(client, fb1, mechanism):
    challenges, lines = client.authenticate(mechanism, initial=message(mechanism))
    assert not challenges and status_of(lines) == "OK"
    login = only_login(fb1, f"{mechanism}-IR")
    assert (login.user, login.token) == (b"u1", b"token")
    client.assert_usable()


@each
def test_without_initial_response(client, fb1, mechanism):
    challenges, lines = client.authenticate(mechanism, message(mechanism))
    assert challenges == [b""] and status_of(lines) == "OK"
    # To the backend it is one all the same: that saves a round trip.
    assert only_login(fb1, f"{mechanism}-IR").token == b"token"


@each
@pytest.mark.parametrize("initial", [True, False])
def test_backend_without_initial_responses(client, fb1, mechanism, initial):
    fb1.capability = offer(*TOKENS, other="IMAP4rev1")
    first, given = message(mechanism), []
    if not initial:
        first, given = None, [first]
    challenges, lines = client.authenticate(mechanism, *given, initial=first)
    assert len(challenges) == len(given) and status_of(lines) == "OK"
    login = only_login(fb1, mechanism)
    assert (login.user, login.token) == (b"u1", b"token")


@each
def test_c60_response_before_it_is_asked_for(client, fb1, mechanism):
    client.send(f"a AUTHENTICATE {mechanism}\r\n".encode() + sasl.encode(message(mechanism)) +
                b"\r\nb NOOP\r\n")
    lines = client.read_until("b")
    assert lines[0] == b"+ \r\n" and statuses(lines[1:]) == ["a OK", "b OK"]
    assert b"FB1" in lines[-1] and fb1.logins[0].token == b"token"


@each
def test_bytewise(client, fb1, mechanism):
    client.send_bytewise(f"a AUTHENTICATE {mechanism} ".encode() +
                         sasl.encode(message(mechanism)) + b"\r\n")
    assert statuses(client.read_until("a")) == ["a OK"]
    assert fb1.logins[0].token == b"token"


# --- wrong tokens ---

@each
@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("cancels", [False, True])
def test_wrong_token_gets_the_backends_error(client, fb1, fb2, mechanism, initial, cancels):
    """The error goes to the client as it is, its answer to the backend; only then comes NO."""
    first = message(mechanism, token="stale")
    given, initial = ([], first) if initial else ([first], None)
    answer = None if cancels else UNDERSTOOD[mechanism]
    challenges, lines = client.authenticate(mechanism, *given, answer, initial=initial)
    assert challenges[-1] == fb1.token_error and len(challenges) == len(given) + 1
    if cancels:
        # IMAP's rule goes before RFC 7628's example (RFC 9051 section 6.2.2).
        assert statuses(lines) == ["a BAD"]
        assert_heard_no_answer(fb1)
    else:
        assert_refused(lines)
        assert only_login(fb1, f"{mechanism}-IR").responses == [answer]
    client.assert_usable()
    _, lines = client.authenticate(mechanism, initial=message(mechanism, user="u2"), tag="b")
    assert status_of(lines) == "OK" and len(fb2.logins) == 1


def assert_heard_no_answer(fb):
    """The connection ended behind the command itself."""
    connection = fb.wait_for_connection()
    fb.wait_for_end(connection)
    assert bytes(connection.received).splitlines()[-1].split(b" ")[1:2] == [b"AUTHENTICATE"]
    assert not connection.logins


@each
def test_answer_to_the_error_is_sent_as_it_came(client, fb1, mechanism):
    """An empty answer is an empty line, and AQ== stays that."""
    client.authenticate(mechanism, UNDERSTOOD[mechanism],
                        initial=message(mechanism, token="stale"))
    command, answer = only_login(fb1, f"{mechanism}-IR").raw.splitlines(keepends=True)
    assert command.split(b" ")[1:3] == [b"AUTHENTICATE", mechanism.encode()]
    assert answer == (b"\r\n" if mechanism == "XOAUTH2" else b"AQ==\r\n")


@each
def test_c60_answer_before_the_error_has_come(client, fb1, mechanism):
    """A client may know that its token is stale, and its backend what to say."""
    client.send(f"a AUTHENTICATE {mechanism} ".encode() +
                sasl.encode(message(mechanism, token="stale")) + b"\r\n" +
                sasl.encode(UNDERSTOOD[mechanism]) + b"\r\nb LOGIN u2 pw\r\n")
    lines = client.read_until("b")
    assert statuses(lines)[1:] == ["a NO", "b OK"]
    assert lines[0] == b"+ " + sasl.encode(fb1.token_error) + b"\r\n"


@each
def test_c76_much_is_pipelined_behind_the_answer(client, fb1, fb2, mechanism):
    """More than is kept while a login is under way: refused, logged in, and every NOOP answered."""
    client.send(f"a AUTHENTICATE {mechanism} ".encode() +
                sasl.encode(message(mechanism, token="stale")) + b"\r\n" +
                sasl.encode(UNDERSTOOD[mechanism]) + b"\r\nb LOGIN u2 pw\r\n" +
                b"".join(b"n%d NOOP\r\n" % number for number in range(10000)))
    lines = client.read_until("n9999")
    assert statuses(lines[1:]) == ["a NO", "b OK"] + [f"n{number} OK" for number in range(10000)]


@each
@pytest.mark.parametrize("line", [b"!!!!", b"AQ=", b"AQ==\t", b" ", b"* "])
def test_c53_bad_base64_as_the_answer(client, fb1, fb2, mechanism, line):
    client.send(f"a AUTHENTICATE {mechanism} ".encode() +
                sasl.encode(message(mechanism, token="stale")) + b"\r\n")
    assert client.read_line().startswith(b"+ ")
    assert statuses(client.exchange(line + b"\r\n")) == ["a BAD"]
    assert_heard_no_answer(fb1)
    client.login("u2")


@each
def test_no_without_an_error(client, fb1, mechanism):
    """A backend may say NO at once."""
    fb1.script = refuse_at_once
    assert_refused(client.authenticate(mechanism, initial=message(mechanism))[1])
    client.assert_usable()


def refuse_at_once(connection):
    tag, _ = read_to_authenticate(connection)
    connection.send(tag + b" NO [AUTHENTICATIONFAILED] we know this token\r\n")
    connection.read_to_end()


@each
def test_unknown_user(client, fb1, fb2, mechanism):
    assert_refused(client.authenticate(mechanism, initial=message(mechanism, user="nobody"))[1])
    assert not fb1.logins and not fb2.logins
    client.login()


# --- lengths ---

@each
def test_c59_longest_token(client, fb1, mechanism):
    """It does not fit a backend's command line any more: it is sent when it is asked for."""
    fb1.token = b"t" * TOKEN_MAX
    first = message(mechanism, token="t" * TOKEN_MAX)
    _, lines = client.authenticate(mechanism, initial=first)
    assert status_of(lines) == "OK"
    assert only_login(fb1, mechanism).token == fb1.token


@each
def test_c59_token_past_the_longest(client, directory, fb1, mechanism):
    first = message(mechanism, token="t" * (TOKEN_MAX + 1))
    assert_refused(client.authenticate(mechanism, initial=first)[1])
    assert not directory.lookups() and not fb1.logins
    client.login()


def padded(length):
    """A message of exactly so many octets of base64."""
    assert length % 4 == 0
    head = b"n,a=u1,\1host="
    tail = b"\1auth=Bearer token\1\1"
    return head + b"h" * (length // 4 * 3 - len(head) - len(tail)) + tail


def test_c59_longest_line_as_a_response(client, fb1):
    first = padded(LINE_MAX)
    assert len(sasl.encode(first)) == LINE_MAX
    assert status_of(client.authenticate("OAUTHBEARER", first)[1]) == "OK"
    assert fb1.logins[0].token == b"token"


def test_c59_response_past_the_longest_line(client, directory, fb1):
    client.send(b"a AUTHENTICATE OAUTHBEARER\r\n")
    assert client.read_line() == b"+ \r\n"
    lines = client.exchange(sasl.encode(padded(LINE_MAX + 4)) + b"\r\n")
    assert len(lines) == 1 and lines[0].startswith(b"a BAD [TOOBIG]"), lines
    assert not directory.lookups() and not fb1.logins
    client.login()


@pytest.mark.parametrize("past,status", [(0, "OK"), (1, "BAD")])
def test_c59_longest_line_with_an_initial_response(client, fb1, past, status):
    command = b" AUTHENTICATE OAUTHBEARER "
    tag = b"t" * ((LINE_MAX - len(command)) % 4 + 4 + past)
    line = tag + command + sasl.encode(padded((LINE_MAX - len(command)) // 4 * 4 - 4))
    assert len(line) == LINE_MAX + past
    client.send(line + b"\r\n")
    assert status_of(client.read_until(tag.decode())) == status
    assert len(fb1.logins) == (1 if status == "OK" else 0)
    client.assert_usable()


def test_sasl_line_is_an_option(start_gatepost, fb1):
    fb1.token = b"t" * 600
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1},
                              limits={"sasl_line": "1024"})
    with gatepost.connect() as client:
        client.login()
    for token, status in ((600, "OK"), (800, "BAD")):
        with gatepost.connect() as client:
            first = sasl.xoauth2("u1", "t" * token)
            assert status_of(client.authenticate("XOAUTH2", initial=first)[1]) == status


def test_sasl_lines_are_counted(start_gatepost, fb1):
    """As many long lines at a time as a worker has room for; the place is free again when the login
    is over."""
    fb1.token = b"t" * TOKEN_MAX
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1},
                              limits={"sasl_lines": 1})
    teach(gatepost, "u1")
    command = b"a AUTHENTICATE XOAUTH2 " + sasl.encode(sasl.xoauth2("u1", "t" * TOKEN_MAX))
    with gatepost.connect() as first, gatepost.connect() as second:
        first.send(command)
        # It is read in order, so that the place is taken when this is answered.
        wait_until(lambda: b"[LIMIT]" in second.command("a", command[2:])[-1], what="no place")
        second.assert_usable()
        first.send(b"\r\n")
        assert status_of(first.read_until("a")) == "OK"
        assert status_of(second.command("b", command[2:])) == "OK"


# --- names ---

@pytest.mark.parametrize("mechanism,user", [
    ("XOAUTH2", "a,b"), ("XOAUTH2", "a=b"), ("XOAUTH2", "a=2Cb"), ("XOAUTH2", "é@x"),
    ("OAUTHBEARER", "a=2Cb"), ("OAUTHBEARER", "a=3Db"), ("OAUTHBEARER", "é@x"),
    ("OAUTHBEARER", "a=3D2Cb")])
def test_names_of_owners(client, directory, fb1, mechanism, user):
    """OAUTHBEARER escapes a comma and an equals sign; the directory is asked for the name itself,
    and the backend gets it escaped again."""
    name = user
    if mechanism == "OAUTHBEARER":
        name = user.replace("=2C", ",").replace("=3D", "=")
    key = f"gatepost:route:{name.lower()}".encode()
    directory.handler = lambda words: b"$3\r\nFB1\r\n" if words[1:2] == [key] else None
    assert status_of(client.authenticate(mechanism, initial=message(mechanism, user))[1]) == "OK"
    assert directory.lookups() == [[b"GET", key]]
    assert only_login(fb1, f"{mechanism}-IR").user == user.encode()


@pytest.mark.parametrize("first", [
    b"n,,\1auth=Bearer token\1\1",  # whose mailbox is it?
    b"n,a=,\1auth=Bearer token\1\1",
    b"n,a=u=1,\1auth=Bearer token\1\1",
    b"n,a=u1,\1auth=Bearer token\1",
    b"n,a=u1,\1host=x\1\1",
    b"n,a=u1,\1auth=Basic token\1\1",
    b"n,a=u1,\1auth=Bearer token\1auth=Bearer other\1\1",
    b"n,a=u1,\1auth=Bearer \1\1",
    b"n,a=u1,\1auth=Bearer tok en\1\1",
    b"p=tls-exporter,a=u1,\1auth=Bearer token\1\1",
    b"user=u1\1auth=Bearer token\1\1", b""])
def test_malformed_oauthbearer(client, directory, fb1, first):
    assert_refused(client.authenticate("OAUTHBEARER", initial=first)[1])
    assert not directory.lookups() and not fb1.logins
    client.login()


@pytest.mark.parametrize("first", [
    b"user=\1auth=Bearer token\1\1", b"auth=Bearer token\1\1", b"user=u1\1auth=Bearer token\1",
    b"user=u1\1auth=token\1\1", b"user=u1\1auth=Bearer \1\1", b"user=u1\1\1",
    b"user=u1\1auth=Bearer token\1\1x", b"n,a=u1,\1auth=Bearer token\1\1", b""])
def test_malformed_xoauth2(client, directory, fb1, first):
    assert_refused(client.authenticate("XOAUTH2", initial=first)[1])
    assert not directory.lookups() and not fb1.logins
    client.login()
