# SPDX-License-Identifier: Apache-2.0
"""Users on hold: their logins wait, with the connection open, until the hold ends in whatever way;
nobody else notices."""

import base64
import contextlib
import threading
import time

import pytest

from client import FIN, statuses
from fleet import Account, Fleet, make_backends
from servers import wait_until

STILL = b"* OK Still waiting for your mailbox, it is being moved.\r\n"
MAX_PARKED = 20


@pytest.fixture(scope="module")
def account():
    return Account()


@pytest.fixture(scope="module")
def backends(account):
    made = make_backends(account, "FB1", "FB2")
    yield made
    for backend in made.values():
        backend.close()


@pytest.fixture(scope="module")
def fleet(certificates, backends):
    made = Fleet(certificates, backends, moves={"hold_line": "100ms", "max_parked": MAX_PARKED})
    yield made
    made.stop()


@pytest.fixture(scope="module")
def impatient(certificates, backends):
    """A fleet that lets nobody wait for long."""
    made = Fleet(certificates, backends, moves={"hold_line": "100ms", "hold_timeout": "1s"})
    yield made
    made.stop()


@pytest.fixture
def user(fleet, request):
    """Of each test its own, on FB1."""
    name = request.node.name.replace("[", "-").replace("]", "").lower()
    fleet.route(name, "FB1")
    yield name
    fleet.release(name)


def wait_for_line(client):
    """It is parked, and told so."""
    assert client.read_line() == STILL


def finish(client, tag="l"):
    """The answer to a login that waited, and how often it was told to wait."""
    lines = client.read_until(tag)
    assert set(lines[:-1]) <= {STILL}
    return lines[-1]


def plain(user):
    return base64.b64encode(f"\0{user}\0pw".encode())


LOGINS = {
    "LOGIN": lambda user: b"l LOGIN %s pw\r\n" % user.encode(),
    "literals": lambda user: b"l LOGIN {%d+}\r\n%s {2+}\r\npw\r\n" % (len(user), user.encode()),
    "PLAIN": lambda user: b"l AUTHENTICATE PLAIN %s\r\n" % plain(user),
}
WAYS = {
    "tls": lambda gatepost: gatepost.connect(),
    "plain": lambda gatepost: gatepost.connect(tls=False),
    "starttls": lambda gatepost: gatepost.connect_starttls(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("login", LOGINS)
def test_login_waits_for_the_release(fleet, account, user, login, way):
    """What the client says meanwhile is answered by the backend, afterwards."""
    fleet.hold(user)
    fleet.wait_for_confirmations(user, "a", "b")
    with WAYS[way](fleet["a"]) as client:
        client.send(LOGINS[login](user) + b"n NOOP\r\n")
        for _ in range(3):
            wait_for_line(client)
        assert account.on("FB1", user) == 0
        fleet.route(user, "FB2")
        fleet.release(user)
        assert finish(client).startswith(b"l OK")
        assert client.read_line() == b"n OK NOOP by FB2\r\n"


def test_ttl_frees_the_user(fleet, user):
    """Whoever held has died."""
    fleet.hold(user, ttl_ms=600)
    with fleet["a"].connect() as first, fleet["b"].connect(tls=False) as second:
        for client in (first, second):
            client.send(LOGINS["LOGIN"](user))
        for client in (first, second):
            wait_for_line(client)
            assert finish(client).startswith(b"l OK")


def test_sessions_end_before_the_hold_is_confirmed(fleet, account, user):
    with fleet.session("a", user) as first, fleet.session("b", user, tls=True) as second:
        fleet.hold(user)
        assert first.read_to_end() == (b"", FIN)
        assert second.read_to_end()[0] == b""
        fleet.wait_for_confirmations(user, "a", "b")
        assert account.on("FB1", user) == 0


def test_session_that_the_backend_keeps_is_waited_for(fleet, account, backends, user):
    """The backend is slow to end it, so the hold is not confirmed by that proxy."""
    def keep(connection):
        connection.read_to_end()
        time.sleep(1)

    backends["FB1"].session = keep
    try:
        with fleet["a"].connect(tls=False) as client:
            client.login(user)
            fleet.hold(user)
            fleet.wait_for_confirmations(user, "b")
            wait_until(lambda: fleet.confirmations(user), what="confirmation")
            while fleet.confirmations(user) == {"b": "e1"}:
                time.sleep(0.01)
            assert account.on("FB1", user) == 0
            client.read_to_end()
    finally:
        backends["FB1"].reset()
        backends["FB1"].account = account


def test_hold_of_nobody_is_confirmed(fleet):
    """Of a user who never came, and has no route."""
    fleet.hold("stranger")
    fleet.wait_for_confirmations("stranger", "a", "b")
    assert fleet.client.command("PTTL", "gatepost:move:stranger") > 0
    fleet.release("stranger")
    assert fleet.login_status("a", "stranger") == "[AUTHENTICATIONFAILED]"


def test_next_hold_is_confirmed_anew(fleet, user):
    """The word for one hold does not count for the next."""
    for epoch in ("first", "second", "third"):
        fleet.hold(user, epoch)
        fleet.wait_for_confirmations(user, "a", "b", epoch=epoch)
        fleet.release(user)


def test_hold_that_is_overwritten(fleet, user):
    """By another one, with nothing between: who waits goes on waiting."""
    fleet.hold(user)
    with fleet["a"].connect(tls=False) as client:
        client.send(LOGINS["LOGIN"](user))
        wait_for_line(client)
        fleet.client.command("SET", f"gatepost:hold:{user}", "e2", "PX", 30000)
        fleet.wait_for_confirmations(user, "a", "b", epoch="e2")
        wait_for_line(client)
        fleet.release(user)
        assert finish(client).startswith(b"l OK")


def test_who_waited_does_not_come_all_at_once(certificates, backends, account):
    """Those of one user neither: each has its own moment within release_spread."""
    fleet = Fleet(certificates, backends, count=1,
                  moves={"hold_line": "100ms", "release_spread": "2s"})
    try:
        fleet.route("many", "FB1")
        fleet.hold("many")
        with contextlib.ExitStack() as stack:
            waiting = [stack.enter_context(fleet["a"].connect(tls=False)) for _ in range(20)]
            for client in waiting:
                client.send(b"l LOGIN many pw\r\n")
            for client in waiting:
                wait_for_line(client)
            account.forget()
            fleet.release("many")
            for client in waiting:
                assert finish(client).startswith(b"l OK")
            moments = sorted(when for when, _ in account.begins["many"])
        assert len(moments) == 20 and moments[-1] - moments[0] > 1
    finally:
        fleet.stop()


def test_others_do_not_notice(fleet, user):
    fleet.route("other", "FB1")
    with fleet.session("a", "other") as session:
        fleet.hold(user)
        fleet.wait_for_confirmations(user, "a", "b")
        with contextlib.ExitStack() as stack:
            waiting = [stack.enter_context(fleet[node].connect(tls=False)) for node in "ab"]
            for client in waiting:
                client.send(LOGINS["LOGIN"](user))
                wait_for_line(client)
            for node in "ab":
                assert fleet.login_status(node, "other") == "OK"
            session.expect_silence(0.7)
            session.assert_usable()


def test_client_that_leaves_while_it_waits(fleet, account, user):
    """Nothing is left of it, and the hold does not bring it back."""
    fleet.hold(user)
    with fleet["a"].connect(tls=False) as client:
        client.send(LOGINS["LOGIN"](user))
        wait_for_line(client)
    line = fleet["a"].end_of(client)
    assert line["reason"] == "client_left"
    fleet.release(user)
    assert fleet.login_status("a", user) == "OK"
    assert len(account.begins[user]) == 1


def test_wrong_password_waits_as_well(fleet, user):
    """Only the backend knows whether it is wrong."""
    fleet.hold(user)
    with fleet["a"].connect(tls=False) as client:
        client.send(b"l LOGIN %s wrong\r\n" % user.encode())
        wait_for_line(client)
        fleet.release(user)
        assert finish(client).startswith(b"l NO [AUTHENTICATIONFAILED]")
        client.login(user, tag="m")


# --- Bounds ---


def test_hold_timeout(impatient):
    """The client may log in again, on the same connection."""
    impatient.route("late", "FB1")
    impatient.hold("late")
    with impatient["a"].connect() as client:
        client.send(b"l LOGIN late pw\r\n")
        wait_for_line(client)
        assert finish(client).startswith(b"l NO [UNAVAILABLE] ")
        client.send(b"m LOGIN late pw\r\n")
        wait_for_line(client)
        impatient.release("late")
        assert finish(client, "m").startswith(b"m OK")
    assert [line for line in impatient["a"].events("login failed")
            if line["detail"] == "on hold for too long"]


def test_max_parked(fleet):
    """One past it is refused at once, and comes in when there is room; users who are not on hold
    come in all the time."""
    for user in ("full1", "full2", "free"):
        fleet.route(user, "FB1")
    for user in ("full1", "full2"):
        fleet.hold(user)
        fleet.wait_for_confirmations(user, "a", "b")
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(fleet["a"].connect(tls=False)) for _ in range(MAX_PARKED)]
        for number, client in enumerate(waiting):
            client.send(b"l LOGIN full%d pw\r\n" % (number % 2 + 1))
        for client in waiting:
            wait_for_line(client)
        one_more = stack.enter_context(fleet["a"].connect(tls=False))
        assert statuses(one_more.command("l", "LOGIN full1 pw")) == ["l NO"]
        assert fleet.login_status("a", "free") == "OK"
        leaving = waiting.pop()
        leaving.close()
        fleet["a"].end_of(leaving)
        one_more.send(b"m LOGIN full1 pw\r\n")
        wait_for_line(one_more)
        for user in ("full1", "full2"):
            fleet.release(user)
        for client in waiting:
            assert finish(client).startswith(b"l OK")
        assert finish(one_more, "m").startswith(b"m OK")


# --- Logins under way ---


@pytest.fixture
def scripted(backends, account):
    """FB1, whose manners the test may change."""
    yield backends["FB1"]
    backends["FB1"].reset()
    backends["FB1"].account = account


def before_greeting(event):
    """A backend that is slow to greet."""
    def script(connection):
        event.wait(10)
        if connection.serve_until_login():
            connection.backend.session(connection)
    return script


def test_login_that_waits_for_the_greeting(fleet, account, scripted, user):
    """Nothing was said of the user yet: it is on hold like all others."""
    event = threading.Event()
    scripted.script = before_greeting(event)
    with fleet["a"].connect(tls=False) as client:
        client.send(LOGINS["LOGIN"](user))
        scripted.wait_for_connection()
        fleet.hold(user)
        fleet.wait_for_confirmations(user, "a", "b")
        wait_for_line(client)
        event.set()
        fleet.route(user, "FB2")
        fleet.release(user)
        assert finish(client).startswith(b"l OK")
        assert fleet.home(client) == "FB2"
    assert {name for _, name in account.begins[user]} == {"FB2"}


class SlowAccount:
    """In front of an account: a login takes until the event before the backend accepts it."""

    def __init__(self, account):
        self.account, self.event, self.asked = account, threading.Event(), threading.Event()

    def begin(self, connection, user, backend):
        self.asked.set()
        self.event.wait(20)
        self.account.begin(connection, user, backend)

    def end(self, connection):
        self.account.end(connection)


@pytest.fixture
def slow(scripted, account):
    scripted.account = SlowAccount(account)
    yield scripted.account
    scripted.account.event.set()


def test_login_under_way_is_waited_for(fleet, slow, user):
    """The backend knows of it already: it gets its OK, and ends before the hold is confirmed."""
    with fleet["a"].connect(tls=False) as client:
        client.send(LOGINS["LOGIN"](user))
        assert slow.asked.wait(5)
        fleet.hold(user)
        fleet.wait_for_confirmations(user, "b")
        time.sleep(1)
        assert fleet.confirmations(user) == {"b": "e1"}
        slow.event.set()
        assert finish(client).startswith(b"l OK")
        assert client.read_to_end() == (b"", FIN)
    fleet.wait_for_confirmations(user, "a", "b")


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_that_leaves_a_login_under_way(fleet, account, slow, user, how):
    """The backend may still accept it, much later; until it has ended it is somebody's session."""
    with fleet["a"].connect(tls=False) as client:
        client.send(LOGINS["LOGIN"](user))
        assert slow.asked.wait(5)
        getattr(client, how)()
    fleet.hold(user)
    fleet.wait_for_confirmations(user, "b")
    time.sleep(1)
    assert fleet.confirmations(user) == {"b": "e1"}
    slow.event.set()
    fleet.wait_for_confirmations(user, "a", "b")
    wait_until(lambda: account.ends[user], what="end of the session")
    assert account.on("FB1", user) == 0


def keep_until(event):
    """A backend that has still something to do when the proxy has ended its side."""
    def session(connection):
        connection.read_to_end()
        event.wait(20)
    return session


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_that_leaves_a_backend_at_work(fleet, account, scripted, user, how):
    """As a copy of many messages, which goes on when the client is gone."""
    event = threading.Event()
    scripted.session = keep_until(event)
    with fleet["a"].connect(tls=False) as client:
        client.login(user)
        getattr(client, how)()
    fleet.hold(user)
    fleet.wait_for_confirmations(user, "b")
    time.sleep(1)
    assert fleet.confirmations(user) == {"b": "e1"} and account.on("FB1", user) == 1
    event.set()
    fleet.wait_for_confirmations(user, "a", "b")
    assert account.on("FB1", user) == 0
