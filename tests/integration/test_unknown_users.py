# SPDX-License-Identifier: Apache-2.0
"""Users whom no source knows: refused like a wrong password, placed by hash, assigned, or all of
them on one backend (docs/routing.md)."""

import concurrent.futures
import time

import pytest

import sasl
from backend_tls import totals
from scripted_pool import addresses_of, answer_to, backends_named, home_of, homes_of
from servers import RedisServer, wait_until

WRONG = b"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"
STATIC = {"source": "static"}
NAMES = ("mail1", "mail2", "mail3")


@pytest.fixture(scope="module")
def redis():
    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def mails():
    """Three backends, and one that comes later."""
    with backends_named(*NAMES, "mail4") as backends:
        yield backends


@pytest.fixture(autouse=True)
def nothing_was_said(redis, mails):
    redis.command("FLUSHALL")
    for backend in mails.values():
        backend.reset()


def users_named(prefix, count):
    return [f"{prefix}{number}@example.org" for number in range(count)]


def pool_of(mails, names, **weights):
    return {name: {"address": mails[name].address, "weight": weights.get(name, 100)}
            for name in names}


# --- reject ---


def test_reject_cannot_be_told_from_a_wrong_password(start_gatepost, redis, mails):
    """The same words after the same time, by LOGIN and by AUTHENTICATE, and the backend is not
    asked. What differs stands in the log alone."""
    redis.route("known", "mail1")
    gatepost = start_gatepost(addresses_of(mails), redis=redis.url,
                              limits={"failure_delay": "300ms"})
    for user in ("known", "stranger"):
        for command in (f"LOGIN {user} wrong",
                        "AUTHENTICATE PLAIN " + sasl.encode(f"\0{user}\0wrong".encode()).decode()):
            with gatepost.connect() as client:
                started = time.monotonic()
                assert client.command("a", command) == [WRONG]
                assert 0.29 < time.monotonic() - started
                client.assert_usable()
    assert {login.user for login in mails["mail1"].logins} == {b"known"}
    details = [line["detail"] for line in wait_until(
        lambda: len(gatepost.events("login refused")) >= 4 and gatepost.events("login refused"))]
    assert details[2:] == ["unknown user"] * 2 and "unknown user" not in details[:2]


def test_reject_counts_as_a_failure_of_the_client(start_gatepost, redis, mails):
    gatepost = start_gatepost(addresses_of(mails), redis=redis.url, limits={"login_failures": 2})
    with gatepost.connect() as client:
        assert client.command("a", "LOGIN stranger pw") == [WRONG]
        assert client.command("a", "LOGIN stranger pw") == [WRONG]
        assert client.read_to_end()[0].startswith(b"* BYE [LIMIT]")


# --- hash ---


def test_hash_is_the_same_on_every_proxy(start_gatepost, mails):
    """Two processes that list their backends in another order; shares by weight; and a user's own
    backend, however the name is written."""
    weights = {"mail3": 200}
    first, second = (
        start_gatepost(pool_of(mails, names, **weights), routing={**STATIC, "unknown": "hash"})
        for names in (NAMES, tuple(reversed(NAMES))))
    users = users_named("user", 240)
    homes = homes_of(first, users)
    assert homes_of(second, users) == homes
    counts = [list(homes.values()).count(name) for name in NAMES]
    # Within five standard deviations.
    assert abs(counts[0] - 60) < 34 and abs(counts[1] - 60) < 34 and abs(counts[2] - 120) < 39
    for user in users[:10]:
        assert home_of(second, user.upper()) == homes[user]


def test_hash_moves_only_the_share_of_who_joins_or_leaves(start_gatepost, mails):
    users = users_named("user", 200)
    before, joined, left = (
        homes_of(start_gatepost(pool_of(mails, names), routing={**STATIC, "unknown": "hash"}),
                 users)
        for names in (NAMES, (*NAMES, "mail4"), NAMES[:2]))
    moved = [user for user in users if joined[user] != before[user]]
    assert {joined[user] for user in moved} == {"mail4"} and abs(len(moved) - 50) < 31
    for user in users:
        assert left[user] == before[user] or before[user] == "mail3"
    freed = [left[user] for user in users if before[user] == "mail3"]
    assert abs(len(freed) - 67) < 34 and set(freed) == {"mail1", "mail2"}


def test_hash_writes_nothing_and_asks_before(start_gatepost, redis, mails):
    """A route in Redis comes first, as does one of the configuration; and a backend without a
    weight has only these."""
    users = users_named("user", 30)
    redis.route(users[0], "mail3")
    gatepost = start_gatepost(pool_of(mails, NAMES, mail3=0), {users[1]: "mail3"}, redis=redis.url,
                              routing={"unknown": "hash"})
    homes = homes_of(gatepost, users)
    assert homes[users[0]] == homes[users[1]] == "mail3"
    assert {homes[user] for user in users[2:]} == {"mail1", "mail2"}
    assert redis.command("KEYS", "gatepost:route:*") == f"gatepost:route:{users[0]}"


def test_nobody_becomes_unknown_while_redis_is_away(start_gatepost, mails):
    server = RedisServer()
    try:
        for unknown in ("hash", "assign", "mail1"):
            gatepost = start_gatepost(pool_of(mails, NAMES), redis=server.url,
                                      routing={"unknown": unknown, "unknown_ttl": "0s"})
            assert home_of(gatepost, "stranger") in NAMES
            server.stop()
            assert home_of(gatepost, "another") == "UNAVAILABLE"
            server.start()
    finally:
        server.remove()


# --- assign ---


def route_of(redis, user):
    return redis.command("GET", f"gatepost:route:{user}")


def test_assign_is_one_home_for_the_fleet(start_gatepost, redis, mails):
    """All users come to both proxies at once, which have not even the same weights: both have read
    that there is no route before either may write one. Who is first has his way, and both say
    so."""
    pools = (pool_of(mails, NAMES), pool_of(mails, NAMES, mail1=300, mail2=1))
    proxies = [start_gatepost(pool, redis=redis.url, routing={"unknown": "assign"})
               for pool in pools]
    users = users_named("new", 20)
    redis.command("CLIENT", "PAUSE", "250", "WRITE")
    with concurrent.futures.ThreadPoolExecutor(40) as executor:
        homes = list(executor.map(lambda pair: home_of(*pair),
                                  [(proxy, user) for user in users for proxy in proxies]))
    assert homes[::2] == homes[1::2] and len(set(homes)) > 1
    assert [route_of(redis, user) for user in users] == [f"{home}?assigned" for home in homes[::2]]
    assert sum(totals(proxy)["routes_assigned_total"] for proxy in proxies) == len(users)


def test_assign_keeps_whom_it_has_assigned(start_gatepost, redis, mails):
    """Another backend, other weights, a drain: only who is new goes by them."""
    users = users_named("old", 40)
    first = start_gatepost(pool_of(mails, NAMES), redis=redis.url, routing={"unknown": "assign"})
    homes = homes_of(first, users)
    second = start_gatepost(pool_of(mails, (*NAMES, "mail4"), mail1=0), redis=redis.url,
                            routing={"unknown": "assign"})
    redis.command("SET", "gatepost:drain:mail2", "yes")
    second.wait_for_log("backend drains")
    assert homes_of(second, users) == homes and set(homes.values()) == set(NAMES)
    assert set(homes_of(second, users_named("new", 40)).values()) == {"mail3", "mail4"}


def test_assign_anew_where_the_backend_is_gone(start_gatepost, redis, mails):
    users = users_named("old", 40)
    first = start_gatepost(pool_of(mails, NAMES), redis=redis.url, routing={"unknown": "assign"})
    homes = homes_of(first, users)
    redis.route("pinned", "mail1")
    # That is no hold, whose end is spread.
    second = start_gatepost(pool_of(mails, NAMES[1:]), redis=redis.url,
                            routing={"unknown": "assign"}, moves={"release_spread": "60s"})
    after = homes_of(second, users)
    for user in users:
        assert after[user] == homes[user] or (homes[user] == "mail1" and after[user] in NAMES[1:])
        assert route_of(redis, user) == f"{after[user]}?assigned"
    # Who was not assigned has a route that nobody may change.
    assert home_of(second, "pinned") == "UNAVAILABLE" and route_of(redis, "pinned") == "mail1"


def test_assign_leaves_a_route_that_comes_first(start_gatepost, redis, mails):
    """What an operator writes at the same time is the route."""
    gatepost = start_gatepost(pool_of(mails, NAMES), redis=redis.url,
                              routing={"unknown": "assign", "unknown_ttl": "60s"})
    assert home_of(gatepost, "u1") in NAMES
    for name in NAMES:
        redis.route("u1", name)
        wait_until(lambda: home_of(gatepost, "u1") == name, what=f"u1 at {name}")
    redis.command("DEL", "gatepost:route:u1")
    wait_until(lambda: home_of(gatepost, "u1") in NAMES and
               route_of(redis, "u1").endswith("?assigned"), what="u1 assigned again")


# --- One for all ---


def test_a_backend_for_all_of_them(start_gatepost, redis, mails):
    """It is a home by name: when it is down nobody goes elsewhere."""
    redis.route("known", "mail1")
    gatepost = start_gatepost(pool_of(mails, NAMES, mail2=0), redis=redis.url,
                              routing={"unknown": "mail2"})
    users = users_named("stranger", 10)
    assert set(homes_of(gatepost, users).values()) == {"mail2"}
    assert home_of(gatepost, "known") == "mail1"
    mails["mail2"].die()
    with gatepost.connect() as client:
        assert answer_to(client, users[0]) == "UNAVAILABLE"
        assert answer_to(client, "known") == "mail1"
    mails["mail2"].revive()
    assert home_of(gatepost, users[0]) == "mail2"
