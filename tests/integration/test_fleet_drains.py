# SPDX-License-Identifier: Apache-2.0
"""Users without a route of their own, over a fleet: all proxies come to the same backend, and an
operator drains one on all of them at once."""

import contextlib
import time

import pytest

from client import FIN
from fleet import Account, Fleet, make_backends
from servers import wait_until

NAMES = ("FB1", "FB2", "FB3")
NODES = ("a", "b")
USERS = [f"placed{number}" for number in range(30)]


@pytest.fixture(scope="module")
def account():
    return Account()


@pytest.fixture(scope="module")
def backends(account):
    made = make_backends(account, *NAMES)
    yield made
    for backend in made.values():
        backend.close()


@pytest.fixture(scope="module")
def hashing(certificates, backends):
    made = Fleet(certificates, backends, routing={"unknown": "hash"})
    yield made
    made.stop()


@pytest.fixture(scope="module")
def assigning(certificates, backends):
    made = Fleet(certificates, backends, routing={"unknown": "assign"})
    yield made
    made.stop()


@pytest.fixture(params=["hash", "assign"])
def fleet(request, account):
    """One after the other, without drains, and without users."""
    name = {"hash": "hashing", "assign": "assigning"}[request.param]
    found = request.getfixturevalue(name)
    account.forget()
    yield found
    undrain(found)
    for key in found.client.command("KEYS", "gatepost:route:*"):
        found.client.command("DEL", key)


def drain(fleet, backend, how="yes"):
    fleet.client.command("SET", f"gatepost:drain:{backend}", how)


def undrain(fleet):
    for name in NAMES:
        fleet.client.command("DEL", f"gatepost:drain:{name}")


def home_of(fleet, node, user):
    with fleet.session(node, user) as client:
        return fleet.home(client)


def homes(fleet, node, users=USERS):
    return {user: home_of(fleet, node, user) for user in users}


def enter_all(fleet, stack, users):
    """A session of each user, by both proxies in turn; clients by user."""
    return {user: stack.enter_context(fleet.session(NODES[number % 2], user))
            for number, user in enumerate(users)}


def test_both_proxies_come_to_the_same(fleet):
    found = homes(fleet, "a")
    assert homes(fleet, "b") == found
    assert set(found.values()) == set(NAMES)


def test_drained_backend_gets_nobody_new(fleet):
    """Its sessions stay; who is routed there by name still comes in; and nobody else moves."""
    before = homes(fleet, "a", USERS[:15])
    fleet.route("pinned", "FB2")
    with contextlib.ExitStack() as stack:
        live = enter_all(fleet, stack, USERS[:15])
        drain(fleet, "FB2")
        newcomers = [f"new{number}" for number in range(10)]
        for node in NODES:
            wait_until(lambda: "FB2" not in homes(fleet, node, newcomers).values(),
                       what="drain")
            assert home_of(fleet, node, "pinned") == "FB2"
        for user, client in live.items():
            assert fleet.home(client) == before[user]
    undrain(fleet)


def test_undrain(fleet):
    """Who has no route yet is as before."""
    drain(fleet, "FB1")
    for node in NODES:
        wait_until(lambda: "FB1" not in homes(fleet, node, [f"x{n}{time.monotonic()}"
                                                             for n in range(8)]).values())
    undrain(fleet)
    for node in NODES:
        wait_until(lambda: "FB1" in homes(fleet, node, [f"y{n}{time.monotonic()}"
                                                         for n in range(8)]).values())


def test_kick_moves_users_away(fleet, account):
    """At the rate that is said, on each proxy; pinned users stay."""
    fleet.route("pinned", "FB3")
    with contextlib.ExitStack() as stack:
        users = [f"kicked{number}" for number in range(60)]
        live = enter_all(fleet, stack, users)
        pinned = [stack.enter_context(fleet.session(node, "pinned", backend="FB3"))
                  for node in NODES]
        there = [user for user, client in live.items() if fleet.home(client) == "FB3"]
        assert len(there) > 5
        started = time.monotonic()
        drain(fleet, "FB3", "kick:10")
        for user in there:
            assert live[user].read_to_end(timeout=20) == (b"", FIN)
        took = time.monotonic() - started
        print(f"{len(there)} sessions were moved away in {took:.1f} s, at 10 a second on each of "
              "2 proxies")
        assert account.on("FB3") == len(pinned)
        for user in set(users) - set(there):
            live[user].assert_usable()
        for client in pinned:
            client.assert_usable()
        for user in there:
            found = {home_of(fleet, node, user) for node in NODES}
            assert len(found) == 1 and "FB3" not in found
    for node in NODES:
        lines = [line for line in fleet[node].events("session")
                 if line.get("user") in users and line["reason"] == "backend_drained"]
        assert all(line["backend"] == "FB3" for line in lines)


def test_rate_of_kicks(hashing, account):
    """Slow enough that most are still there when the drain is taken back, and those stay."""
    users = [f"slow{number}" for number in range(40)]
    with contextlib.ExitStack() as stack:
        live = enter_all(hashing, stack, users)
        there = [user for user, client in live.items() if hashing.home(client) == "FB1"]
        before = account.on("FB1")
        assert before >= 8
        drain(hashing, "FB1", "kick:1")
        wait_until(lambda: account.on("FB1") < before, what="first kick")
        undrain(hashing)
        time.sleep(1.5)
        left = account.on("FB1")
        assert before - left <= 6, "too fast"
        time.sleep(0.7)
        assert account.on("FB1") == left
        assert sum(live[user].ended is None for user in there) == len(there)


# --- Assigned ---


@pytest.fixture
def unlike(certificates, backends):
    """Two proxies that would place users differently, as while weights are changed on one after the
    other."""
    made = Fleet(certificates, backends, count=1, routing={"unknown": "assign"})
    weights = zip(NAMES, (1, 100, 1000))
    made.start("b", backends={name: {"address": backends[name].address, "weight": weight}
                              for name, weight in weights})
    made.wait_for_nodes(*NODES)
    yield made
    made.stop()


def test_race_of_assignments(unlike):
    """100 new users come to both proxies, and both have read that they have no route when the first
    write is done: all agree in the end, and Redis has it."""
    users = [f"racer{number}" for number in range(100)]
    with contextlib.ExitStack() as stack:
        clients = {(user, node): stack.enter_context(unlike[node].connect(tls=False))
                   for user in users for node in NODES}
        unlike.client.command("CLIENT", "PAUSE", 250, "WRITE")
        for (user, _), client in clients.items():
            client.send(b"l LOGIN %s pw\r\n" % user.encode())
        for client in clients.values():
            assert client.read_until("l")[-1].startswith(b"l OK")
        found = {key: unlike.home(client) for key, client in clients.items()}
        for user in users:
            assert {f"{found[user, node]}?assigned" for node in NODES} == {unlike.routed(user)}
        for client in clients.values():
            client.expect_silence(0)
    for node in NODES:
        unlike[node].signal()
        assert unlike[node].wait() == 0
    assert sum(int(unlike[node].events("stopped")[0]["routes_assigned_total"])
               for node in NODES) == len(users)


def test_assignments_survive_drains(assigning):
    """A drain without kick moves nobody who is assigned."""
    before = homes(assigning, "a")
    for name in NAMES[:2]:
        drain(assigning, name)
    assert homes(assigning, "b") == before
    undrain(assigning)


def test_reassigned_when_their_backend_is_kicked_away(assigning):
    """In Redis too, and both proxies agree; those of other backends keep what they have, and nobody
    comes back by himself."""
    before = homes(assigning, "a")
    drain(assigning, "FB2", "kick")
    for user, home in before.items():
        wait_until(lambda: home_of(assigning, "a", user) != "FB2", what="another backend")
        now = home_of(assigning, "a", user)
        assert home_of(assigning, "b", user) == now
        assert assigning.routed(user) == f"{now}?assigned"
        assert now == home or home == "FB2"
    undrain(assigning)
    after = homes(assigning, "b")
    assert "FB2" not in after.values() and homes(assigning, "a") == after


def test_route_by_the_operator_goes_before_assignments(assigning):
    """What somebody writes meanwhile stands."""
    home = home_of(assigning, "a", "mine")
    other = next(name for name in NAMES if name != home)
    assigning.route("mine", other)
    for node in NODES:
        wait_until(lambda: home_of(assigning, node, "mine") == other, what="the operator's word")
    drain(assigning, other, "kick")
    for node in NODES:
        assert home_of(assigning, node, "mine") == other
    undrain(assigning)
    assert assigning.routed("mine") == other
