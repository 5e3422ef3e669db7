# SPDX-License-Identifier: Apache-2.0
"""A plain write to Redis moves a user: every proxy of the fleet ends her sessions on the old
backend at a quiet moment, and nobody else's."""

import contextlib
import select
import time

import pytest

from backend import serve_commands
from client import CLOSE_NOTIFY, FIN, statuses
from fleet import Account, Fleet, Regulars, make_backends
from servers import wait_until

USERS = [f"user{number}" for number in range(50)]
NODES = ("a", "b")


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
    made = Fleet(certificates, backends)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def clean(account, backends):
    for backend in backends.values():
        backend.session = serve_commands
    account.forget()
    yield
    for backend in backends.values():
        backend.assert_no_faults()


def test_set_while_200_sessions_are_live(fleet, account):
    """Four sessions of each of 50 users; half of the users move."""
    for user in USERS:
        fleet.route(user, "FB1")
    movers, stayers = USERS[:25], USERS[25:]
    with contextlib.ExitStack() as stack:
        live = {user: [stack.enter_context(fleet.session(node, user, tls=tls))
                       for node in NODES for tls in (True, False)] for user in USERS}
        assert account.on("FB1") == 200
        started = {}
        for user in movers:
            started[user] = time.monotonic()
            fleet.route(user, "FB2")
        for user in movers:
            for client in live[user]:
                data, how = client.read_to_end()
                assert data == b"" and how == (CLOSE_NOTIFY if client.tls else FIN)
        assert account.on("FB1") == 100
        took = [account.last_end(user, "FB1") - started[user] for user in movers]
        print(f"SET of {len(movers)} users with 100 of 200 sessions: the last session of a user "
              f"ended after {max(took):.3f} s at most")
        assert max(took) < 5
        for user in stayers:
            for client in live[user]:
                client.assert_usable()
        for user in movers:
            for node in NODES:
                stack.enter_context(fleet.session(node, user, backend="FB2"))
    for node in NODES:
        wait_until(lambda: len(reasons_of(fleet, node, movers)) == 75, what="lines about sessions")
        assert sorted(set(reasons_of(fleet, node, movers))) == ["client_ended", "moved"]
        assert reasons_of(fleet, node, movers).count("moved") == 50
        assert "moved" not in reasons_of(fleet, node, stayers)


def reasons_of(fleet, node, users):
    """Why their sessions have ended."""
    return [line["reason"] for line in fleet[node].events("session") if line.get("user") in users]


def glance(imap, _):
    imap.noop()


def test_how_long_two_proxies_disagree(fleet, account):
    """Clients come all the time: from the first login on the new backend by one proxy to the last
    one on the old by the other, and to the end of the last session there."""
    fleet.route("often", "FB1")
    disagreed, overlapped = [], []
    gateposts = [fleet[node] for node in NODES]
    with Regulars(gateposts, ["often"], each=2, work=glance) as regulars:
        for old, new in (("FB1", "FB2"), ("FB2", "FB1")) * 3:
            regulars.wait_for_logins(3)
            account.forget()
            fleet.route("often", new)
            wait_until(lambda: account.on(new) and not account.on(old), what="move")
            regulars.wait_for_logins(3)
            begins = account.begins["often"]
            first = min(when for when, name in begins if name == new)
            last = max([when for when, name in begins if name == old], default=first)
            disagreed.append(max(0.0, last - first))
            overlapped.append(max(0.0, account.last_end("often", old) - first))
    assert not regulars.failures
    print(f"{regulars}; two proxies disagreed for {max(disagreed):.3f} s at most, sessions on both "
          f"backends for {max(overlapped):.3f} s at most")
    assert max(disagreed) < 3 and max(overlapped) < 5


def test_same_value_kicks_nobody(fleet):
    fleet.route("same", "FB1")
    with fleet.session("a", "same") as first, fleet.session("b", "same") as second:
        for _ in range(3):
            fleet.route("same", "FB1")
        fleet.client.command("SET", "gatepost:route:same", "FB1", "PX", "60000")
        for client in (first, second):
            client.expect_silence(0.7)
            client.assert_usable()


def test_deleted_route_keeps_sessions(fleet):
    """Nobody has said where else the user would be; the next login is refused."""
    fleet.route("gone", "FB1")
    with fleet.session("a", "gone") as first, fleet.session("b", "gone") as second:
        fleet.client.command("DEL", "gatepost:route:gone")
        for node in NODES:
            wait_until(lambda: fleet.login_status(node, "gone") == "[AUTHENTICATIONFAILED]",
                       what="refusal")
        fleet.route("gone", "FB1")
        for client in (first, second):
            client.expect_silence(0.7)
            client.assert_usable()
        fleet.client.command("DEL", "gatepost:route:gone")
        fleet.route("gone", "FB2")
        for client in (first, second):
            assert client.read_to_end() == (b"", FIN)


def test_value_that_cannot_be_used_keeps_sessions(fleet):
    fleet.route("odd", "FB1")
    with fleet.session("a", "odd") as client:
        fleet.route("odd", "no such backend")
        wait_until(lambda: fleet.login_status("b", "odd") == "[UNAVAILABLE]", what="refusal")
        client.expect_silence(0.7)
        client.assert_usable()
        fleet.route("odd", "FB2")
        assert client.read_to_end() == (b"", FIN)


# --- Quiet moments ---

SIZE = 20000


def fetch_slowly(connection):
    """A literal that comes in pieces, for three quarters of a second, and an answer behind it."""
    tag, _, _ = connection.read_command()
    connection.send(b"* 1 FETCH (BODY[] {%d}\r\n" % SIZE)
    for _ in range(10):
        connection.send(b"x" * (SIZE // 10))
        time.sleep(0.075)
    connection.send(b")\r\n" + tag + b" OK fetched\r\n")
    connection.read_to_end()


def take_literal(connection):
    """APPEND of a literal."""
    tag, _, rest = connection.read_command()
    connection.send(b"+ go on\r\n")
    literal = connection.read_exactly(int(rest.rpartition(b"{")[2][:-1]))
    assert connection.read_line() == b"\r\n"
    connection.send(tag + b" OK appended %d\r\n" % len(literal))
    connection.read_to_end()


@pytest.fixture(scope="module")
def patient(certificates, backends):
    """A fleet that waits long for a quiet moment."""
    made = Fleet(certificates, backends, moves={"kick_grace": "20s"})
    yield made
    made.stop()


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_fetch_is_not_cut(patient, backends, tls):
    patient.route("reads", "FB1")
    backends["FB1"].session = fetch_slowly
    with patient.session("a", "reads", tls=tls) as client:
        client.send(b"f FETCH 1 BODY[]\r\n")
        client.read_line()
        patient.route("reads", "FB2")
        assert client.read_exactly(SIZE) == b"x" * SIZE
        assert statuses(client.read_until("f")) == [")", "f OK"]
        data, how = client.read_to_end()
        assert data == b"" and how == (CLOSE_NOTIFY if tls else FIN)


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_append_is_not_cut(patient, backends, tls):
    patient.route("writes", "FB1")
    backends["FB1"].session = take_literal
    with patient.session("b", "writes", tls=tls) as client:
        client.send(b"p APPEND INBOX {%d}\r\n" % SIZE)
        assert client.read_line().startswith(b"+")
        patient.route("writes", "FB2")
        for _ in range(10):
            client.send(b"y" * (SIZE // 10))
            time.sleep(0.075)
        client.send(b"\r\n")
        assert client.read_line() == b"p OK appended %d\r\n" % SIZE
        assert client.read_to_end() == (b"", CLOSE_NOTIFY if tls else FIN)


def talk_without_end(connection):
    """A line every 20 ms, until the proxy ends its side."""
    connection.read_command()
    while not select.select([connection.socket], [], [], 0.02)[0]:
        connection.send(b"* 1 EXISTS\r\n")
    connection.read_to_end()


def test_who_is_never_quiet_ends_at_last(fleet, backends):
    """moves.kick_grace is over; what the backend had said by then arrives."""
    backends["FB1"].session = talk_without_end
    fleet.route("loud", "FB1")
    with fleet.session("a", "loud") as client:
        client.send(b"i IDLE\r\n")
        client.read_line()
        fleet.route("loud", "FB2")
        data, how = client.read_to_end()
        assert how == FIN and data.endswith(b"* 1 EXISTS\r\n")
    wait_until(lambda: [line for line in fleet["a"].events("session")
                        if line.get("user") == "loud" and line["reason"] == "moved"])
