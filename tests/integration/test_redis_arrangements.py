# SPDX-License-Identifier: Apache-2.0
"""The directory on real servers of Redis in every arrangement: found, and followed when they fail
over or hand slots on, in the middle of logins (CASES.md, H)."""

import threading
import time

import pytest

import redis_servers
from redis_servers import RedisCluster, RedisSentinels, RedisStandalone
from servers import wait_until

@pytest.fixture
def made():
    """Makes servers, and removes them."""
    servers = []

    def make(kind, *arguments, **options):
        servers.append(kind(*arguments, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.remove()


@pytest.fixture
def start(start_gatepost, fb1, fb2):
    """Starts a gatepost whose cached routes last longer than any test."""
    def begin(url, **options):
        return start_gatepost({"FB1": fb1.address, "FB2": fb2.address},
                              redis={"url": url, "timeout": "500ms", **options},
                              routing={"cache_ttl": "1h", "stale_ttl": "1h"})

    return begin


def set_route(server, user, backend):
    server.command("SET", f"gatepost:route:{user}", backend)


def place(proxy, user):
    """Where a login of the user leads; None where it is told to try again later."""
    with proxy.connect() as client:
        lines = client.command("a", f'LOGIN "{user}" pw')
        if lines[-1].startswith(b"a NO [UNAVAILABLE]"):
            return None
        assert lines[-1].startswith(b"a OK"), lines
        return client.command("b", "NOOP")[-1].split()[-1].decode()


def wait_for_place(proxy, user, backend, seconds=10):
    """Until logins lead there; how long that took."""
    began = time.monotonic()
    wait_until(lambda: place(proxy, user) == backend, seconds, f"{user} at {backend}")
    return time.monotonic() - began


def check_routes_and_changes(proxy, server, users=("u1",)):
    """Routes are found, and changes are heard although the cache would last."""
    for user in users:
        set_route(server, user, "FB1")
    for user in users:
        wait_for_place(proxy, user, "FB1")
        set_route(server, user, "FB2")
    for user in users:
        assert wait_for_place(proxy, user, "FB2") < 2


class Logins:
    """One user after the other logs in, until it is stopped: who, when, and where that led."""

    def __init__(self, proxy, users):
        self.proxy, self.users = proxy, users
        self.results = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        turn = 0
        while not self._over.wait(0.02):
            user = self.users[turn % len(self.users)]
            turn += 1
            began = time.monotonic()
            self.results.append((user, place(self.proxy, user), time.monotonic() - began))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def failures(self):
        return [result for result in self.results if result[1] is None]

    def slowest(self):
        return max(seconds for _, _, seconds in self.results)


# --- one server ------------------------------------------------------------------------------

def test_password(made, start):
    server = made(RedisStandalone)
    check_routes_and_changes(start(server.url), server)


def test_acl_user(made, start):
    """Who may do what the document says can look up, hear of changes, be registered and confirm."""
    server = made(RedisStandalone)
    proxy = start(server.url_of_user)
    check_routes_and_changes(proxy, server)
    server.command("SET", "gatepost:hold:u1", "e1", "EX", "60")
    wait_until(lambda: "e1" in server.command("HVALS", "gatepost:move:u1"), what="confirmation")
    assert server.command("ACL", "LOG") == "" and "NOPERM" not in proxy.log()


def test_acl_user_who_assigns(made, start_gatepost, fb1, fb2):
    """And write routes, also in the place of others."""
    server = made(RedisStandalone)
    proxy = start_gatepost({"FB1": fb1.address, "FB2": fb2.address},
                           redis={"url": server.url_of_user}, routing={"unknown": "assign"})
    home = place(proxy, "u1")
    assert server.command("GET", "gatepost:route:u1") == f"{home}?assigned"
    server.command("SET", f"gatepost:drain:{home}", "kick")
    other = {"FB1": "FB2", "FB2": "FB1"}[home]
    wait_for_place(proxy, "u1", other)
    assert server.command("GET", "gatepost:route:u1") == f"{other}?assigned"
    assert server.command("ACL", "LOG") == ""


def test_wrong_password(made, start):
    server = made(RedisStandalone)
    set_route(server, "u1", "FB1")
    proxy = start(server.url.replace(redis_servers.PASSWORD, "no-such-word"))
    assert place(proxy, "u1") is None
    assert "WRONGPASS" in proxy.log() and "no-such-word" not in proxy.log()


needs_tls = pytest.mark.skipif(not redis_servers.has_tls(), reason="Redis was built without TLS")


@needs_tls
def test_tls(made, start, certificates):
    server = made(RedisStandalone, tls=certificates)
    check_routes_and_changes(start(server.url_of_user, ca=str(certificates.ca)), server)


@needs_tls
def test_tls_of_a_stranger(made, start, certificates):
    server = made(RedisStandalone, tls=certificates)
    set_route(server, "u1", "FB1")
    proxy = start(server.url, ca=str(certificates.other_ca))
    assert place(proxy, "u1") is None
    assert "certificate" in proxy.log()


# --- sentinels -------------------------------------------------------------------------------

def test_sentinels(made, start):
    trio = made(RedisSentinels, password="secret")
    check_routes_and_changes(start(trio.url), trio)


@needs_tls
def test_sentinels_with_tls(made, start, certificates):
    trio = made(RedisSentinels, tls=certificates)
    check_routes_and_changes(start(trio.url, ca=str(certificates.ca)), trio)


def test_c102_failover_amid_logins(made, start):
    """The master dies. Whoever was known logs in all the time; whoever was not waits for the new
    master, or is told to try again; no login is told anything else."""
    trio = made(RedisSentinels)
    proxy = start(trio.url)
    users = [f"u{number}" for number in range(20)]
    for user in users:
        set_route(trio, user, "FB1")
        wait_for_place(proxy, user, "FB1")
    set_route(trio, "unknown", "FB2")
    assert trio.command("WAIT", "1", "5000") == "1"
    with Logins(proxy, users) as known, Logins(proxy, ["unknown"]) as unknown:
        before = trio.named()
        before.kill()
        trio.wait_for_switch(before)
        assert wait_for_place(proxy, "unknown", "FB2") < 3
        set_route(trio, "u0", "FB2")
        assert wait_for_place(proxy, "u0", "FB2") < 3
    assert known.failures() == []
    assert known.slowest() < 3
    assert unknown.results[-1][1] == "FB2"


def test_switch_that_an_operator_wants(made, start):
    trio = made(RedisSentinels)
    proxy = start(trio.url)
    set_route(trio, "u1", "FB1")
    wait_for_place(proxy, "u1", "FB1")
    with Logins(proxy, ["u1"]) as logins:
        trio.switch()
        set_route(trio, "new", "FB2")
        assert wait_for_place(proxy, "new", "FB2") < 2
        set_route(trio, "u1", "FB2")
        assert wait_for_place(proxy, "u1", "FB2") < 2
    assert logins.failures() == []


def test_one_sentinel_left(made, start):
    trio = made(RedisSentinels)
    for sentinel in trio.sentinels[:2]:
        sentinel.kill()
    proxy = start(trio.url)
    check_routes_and_changes(proxy, trio)


# --- a cluster -------------------------------------------------------------------------------

def users_of_all(cluster):
    """Three users for each master."""
    found = {node.port: [] for node in cluster.masters}
    for number in range(1000):
        user = f"u{number}"
        owner = cluster.owner(cluster.slot_of(f"gatepost:route:{user}"))
        if len(found[owner.port]) < 3:
            found[owner.port].append(user)
        if all(len(users) == 3 for users in found.values()):
            break
    return [user for users in found.values() for user in users]


def test_cluster(made, start):
    cluster = made(RedisCluster)
    check_routes_and_changes(start(cluster.url), cluster, users_of_all(cluster))


@needs_tls
def test_cluster_with_tls(made, start, certificates):
    cluster = made(RedisCluster, tls=certificates)
    check_routes_and_changes(start(cluster.url, ca=str(certificates.ca)), cluster)


@pytest.mark.parametrize("stranger", [False, True], ids=["to a master", "to a new one"])
def test_slot_that_moves(made, start, stranger):
    """Step by step, with logins of somebody new at each; and changes are heard at the new place."""
    cluster = made(RedisCluster)
    proxy = start(cluster.url)
    key = "gatepost:route:{slot}"
    slot = cluster.slot_of(key)
    owner = cluster.owner(slot)
    users = [f"{{slot}}{number}" for number in range(6)]
    for user in users:
        set_route(cluster, user, "FB1")
    with Logins(proxy, users[:1]) as logins:
        wait_for_place(proxy, users[0], "FB1")
        to = cluster.add_master() if stranger else next(
            node for node in cluster.masters if node is not owner)
        cluster.begin_move(slot, to)
        assert place(proxy, users[1]) == "FB1"
        cluster.move_keys(slot, to)
        assert place(proxy, users[2]) == "FB1"
        cluster.end_move(slot, to)
        assert place(proxy, users[3]) == "FB1"
        for user in users[:5]:
            to.command("SET", f"gatepost:route:{user}", "FB2")
        for user in users[:5]:
            assert wait_for_place(proxy, user, "FB2") < 3
    assert logins.failures() == []


def test_failover_of_a_cluster(made, start):
    """One master of three dies, and its replica is promoted; users of the others notice nothing."""
    cluster = made(RedisCluster, replicas=1)
    proxy = start(cluster.url)
    users = users_of_all(cluster)
    for user in users:
        set_route(cluster, user, "FB1")
        wait_for_place(proxy, user, "FB1")
    victim = cluster.masters[0]
    slot = cluster.slot_of(f"gatepost:route:{users[0]}")
    assert cluster.owner(slot) is victim
    with Logins(proxy, users) as logins:
        victim.kill()
        wait_until(lambda: cluster.owner(slot, cluster.masters[1]) not in (None, victim), 30,
                   "a replica that was promoted")
        wait_until(lambda: "OK" in cluster.owner(slot, cluster.masters[1]).command(
            "SET", f"gatepost:route:{users[0]}", "FB2", check=False), 10, "a cluster that writes")
        assert wait_for_place(proxy, users[0], "FB2") < 5
    assert logins.failures() == []
