# SPDX-License-Identifier: Apache-2.0
"""The servers of Redis that other tests use do what they are for."""

import pytest

import redis_servers
from redis_servers import RedisCluster, RedisSentinels, RedisStandalone


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


def test_password_and_user(made):
    server = made(RedisStandalone)
    assert server.command("SET", "gatepost:route:u", "mail1") == "OK"
    user = (redis_servers.USER, redis_servers.USER_PASSWORD)
    assert server.command("GET", "gatepost:route:u", user=user) == "mail1"
    assert "NOPERM" in server.command("GET", "other", user=user)
    assert "NOPERM" in server.command("FLUSHALL", user=user)
    server.password = None
    assert "NOAUTH" in server.command("GET", "gatepost:route:u")


@pytest.mark.skipif(not redis_servers.has_tls(), reason="Redis was built without TLS")
def test_tls(made, certificates):
    server = made(RedisStandalone, tls=certificates)
    assert server.command("PING") == "PONG"
    server.tls = None
    assert "PONG" not in server.command("PING", check=False)


def test_start_and_stop(made):
    server = made(RedisStandalone)
    server.stop()
    server.start()
    server.kill()
    server.start()
    assert server.command("PING") == "PONG"


def test_sentinels(made):
    trio = made(RedisSentinels, password="secret")
    before = trio.master
    assert trio.named() is before
    trio.command("SET", "k", "v")
    assert trio.command("WAIT", "1", "5000") == "1"
    before.kill()
    after = trio.wait_for_switch(before)
    assert after is trio.replicas[0]
    assert after.command("GET", "k") == "v"


def test_switch_that_is_wanted(made):
    trio = made(RedisSentinels)
    assert trio.switch() is trio.replicas[0]


def test_cluster(made):
    cluster = made(RedisCluster, password="secret")
    key = "gatepost:route:{u}"
    slot = cluster.slot_of(key)
    owner = cluster.owner(slot)
    other = next(node for node in cluster.masters if node is not owner)
    assert cluster.command("SET", key, "mail1") == "OK"
    assert f"MOVED {slot} {owner.address}" in other.command("GET", key)
    cluster.begin_move(slot, other)
    assert owner.command("GET", key) == "mail1"
    cluster.move_keys(slot, other)
    assert f"ASK {slot} {other.address}" in owner.command("GET", key)
    cluster.end_move(slot, other)
    assert other.command("GET", key) == "mail1"
    assert all(cluster.owner(slot, node) is other for node in (owner, other))
    assert f"MOVED {slot} {other.address}" in owner.command("GET", key)


def test_cluster_with_replicas(made):
    cluster = made(RedisCluster, replicas=1)
    victim = cluster.masters[0]
    slot = next(slot for slot in range(100) if cluster.owner(slot) is victim)
    victim.kill()
    witness = cluster.masters[1]
    redis_servers.wait_until(lambda: cluster.owner(slot, witness) not in (None, victim),
                             seconds=30, what="a replica that was promoted")
