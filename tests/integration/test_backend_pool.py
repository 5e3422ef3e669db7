# SPDX-License-Identifier: Apache-2.0
"""Backends by name: pods of a service that come and go with its SRV record, and names whose
addresses change, or of which one is dead."""

import contextlib
import threading

import pytest

import fake_dns
from backend import FakeBackend
from scripted_pool import answer_to, backend_of, backends_named, home_of, homes_of
from servers import black_hole, free_port, wait_until

pytestmark = pytest.mark.skipif(not fake_dns.can_serve(),
                                reason="no file can be put in the place of /etc/resolv.conf here")

STATIC = {"source": "static"}
SERVICE = "_imap._tcp.mail.test"
PODS = {"pods": {"address": f"srv:{SERVICE}"}}


@pytest.fixture
def dns():
    server = fake_dns.FakeDns()
    yield server
    server.close()


@pytest.fixture(scope="module")
def pods():
    """Four, called as DNS does."""
    with backends_named(*[f"pod-{number}.mail.test" for number in range(4)]) as backends:
        yield backends


@pytest.fixture(autouse=True)
def clean_pods(pods):
    for pod in pods.values():
        pod.reset()


def name_of(number):
    return f"pod-{number}.mail.test"


def publish(dns, pods, *numbers, weights=None):
    """These pods are the service."""
    dns.records[SERVICE] = [(name_of(number), pods[name_of(number)].port,
                             (weights or {}).get(number, 1)) for number in numbers]
    for number in numbers:
        dns.records[name_of(number)] = ["127.0.0.1"]


def users_named(prefix, count):
    return [f"{prefix}{number}" for number in range(count)]


def wait_for_next_answer(dns):
    """Two questions: the first may have been on its way."""
    asked = dns.count(SERVICE)
    wait_until(lambda: dns.count(SERVICE) >= asked + 2, what="questions")


# --- Services ---


def test_pods_come_and_go(start_gatepost, dns, pods):
    """By the record's TTL, and only their share moves. Who is logged in to one that has left stays
    there."""
    publish(dns, pods, 0, 1)
    gatepost = start_gatepost(PODS, mounts=dns.mounts, routing={**STATIC, "unknown": "hash"})
    users = users_named("u", 60)
    before = homes_of(gatepost, users)
    assert set(before.values()) == {name_of(0), name_of(1)}
    publish(dns, pods, 0, 1, 2)
    wait_until(lambda: name_of(2) in homes_of(gatepost, users[:20]).values(), what="pod-2")
    joined = homes_of(gatepost, users)
    moved = [user for user in users if joined[user] != before[user]]
    assert {joined[user] for user in moved} == {name_of(2)} and 5 < len(moved) < 36
    stays = next(user for user in users if joined[user] == name_of(0))
    with gatepost.connect() as client:
        client.login(stays)
        publish(dns, pods, 1, 2)
        wait_until(lambda: home_of(gatepost, stays) != name_of(0), what="leave of pod-0")
        left = homes_of(gatepost, users)
        assert all(left[user] == joined[user] for user in users if joined[user] != name_of(0))
        assert set(left.values()) == {name_of(1), name_of(2)}
        assert backend_of(client) == name_of(0)


@pytest.mark.parametrize("weight", [100, 0])
def test_routes_to_a_service_and_to_a_pod(start_gatepost, redis_server, dns, pods, weight):
    """Its name is all of its members, by hash, even where no stranger is placed there; the host of
    one is that one."""
    redis_server.command("FLUSHALL")
    publish(dns, pods, 0, 1, 2)
    users = users_named("u", 40)
    for user in users:
        redis_server.route(user, "pods")
    redis_server.route("one", name_of(2))
    gatepost = start_gatepost({"pods": {**PODS["pods"], "weight": weight}}, {"static": "pods"},
                              mounts=dns.mounts, redis=redis_server.url,
                              routing={"unknown": "hash" if weight else "reject"})
    homes = homes_of(gatepost, users)
    assert set(homes.values()) == {name_of(number) for number in range(3)}
    assert homes_of(gatepost, users) == homes
    assert home_of(gatepost, "one") == name_of(2)
    assert home_of(gatepost, "static") in pods
    assert (home_of(gatepost, "stranger") in pods) == (weight > 0)
    pods[name_of(2)].die()
    assert home_of(gatepost, "one") == "UNAVAILABLE"


def test_weights_of_the_record(start_gatepost, dns, pods, fb1):
    """In percent of the backend's own, beside one with an address."""
    publish(dns, pods, 0, 1, weights={0: 10, 1: 30})
    gatepost = start_gatepost({"FB1": {"address": fb1.address, "weight": 20},
                               "pods": {**PODS["pods"], "weight": 200}},
                              mounts=dns.mounts, routing={**STATIC, "unknown": "hash"})
    homes = list(homes_of(gatepost, users_named("u", 250)).values())
    shares = [homes.count(name) for name in (name_of(0), name_of(1), "FB1")]
    # 20 to 60 to 20, within five standard deviations.
    assert abs(shares[0] - 50) < 32 and abs(shares[1] - 150) < 39 and abs(shares[2] - 50) < 32


def test_the_first_logins_find_the_pods(start_gatepost, dns, pods):
    """DNS takes its time when the proxy starts; who connects meanwhile waits."""
    publish(dns, pods, 0)
    dns.gate.clear()
    opener = threading.Timer(0.7, dns.gate.set)
    opener.start()
    gatepost = start_gatepost(PODS, {"u1": "pods"}, mounts=dns.mounts, routing=STATIC)
    assert dns.gate.is_set() and home_of(gatepost, "u1") == name_of(0)
    opener.join()


@pytest.mark.parametrize("fault", ["failure", "nothing"])
def test_a_start_without_dns(start_gatepost, dns, pods, fault):
    """It starts all the same, says why logins fail, and serves as soon as the record is there."""
    publish(dns, pods, 0)
    if fault == "failure":
        dns.failing.add(SERVICE)
    else:
        dns.records[SERVICE] = []
    gatepost = start_gatepost(PODS, {"u1": "pods"}, mounts=dns.mounts,
                              routing={**STATIC, "unknown": "hash"})
    assert home_of(gatepost, "u1") == home_of(gatepost, "stranger") == "UNAVAILABLE"
    gatepost.wait_for_log("service not found")
    gatepost.wait_for_log("no backend takes users")
    dns.failing.clear()
    publish(dns, pods, 0)
    wait_until(lambda: home_of(gatepost, "u1") == name_of(0), what="service")
    assert home_of(gatepost, "stranger") == name_of(0)


def test_a_failure_of_dns_takes_nobody_away(start_gatepost, dns, pods):
    """Only an answer does, and an empty one ends all new logins."""
    publish(dns, pods, 0, 1)
    gatepost = start_gatepost(PODS, mounts=dns.mounts, routing={**STATIC, "unknown": "hash"})
    users = users_named("u", 20)
    homes = homes_of(gatepost, users)
    dns.failing.add(SERVICE)
    wait_for_next_answer(dns)
    assert homes_of(gatepost, users) == homes
    dns.failing.clear()
    dns.records[SERVICE] = [(".", 0)]
    wait_until(lambda: home_of(gatepost, "u1") == "UNAVAILABLE", what="no pods")
    gatepost.wait_for_log("service has no members")


def test_pods_are_checked(start_gatepost, dns, pods):
    """Each for itself: who is placed on one that is down goes to the next where failover is on."""
    publish(dns, pods, 0, 1)
    gatepost = start_gatepost(PODS, {"named": "pods"}, mounts=dns.mounts,
                              routing={**STATIC, "unknown": "hash", "failover": True},
                              health={"check": "greeting", "interval": "20ms", "fall": 1})
    users = users_named("u", 20)
    assert set(homes_of(gatepost, users).values()) == {name_of(0), name_of(1)}
    pods[name_of(1)].die()
    wait_until(lambda: [line["backend"] for line in gatepost.events("backend is down")] ==
               [name_of(1)], what="down")
    assert set(homes_of(gatepost, users).values()) == {name_of(0)}
    # One that joins is checked, too.
    pods[name_of(2)].die()
    publish(dns, pods, 0, 1, 2)
    wait_until(lambda: len(gatepost.events("backend is down")) == 2, what="down")
    assert set(homes_of(gatepost, users).values()) == {name_of(0)}


def test_hosts_that_are_refused(start_gatepost, dns, pods, fb1):
    """One that is called like another backend gets none of its users."""
    publish(dns, pods, 0)
    dns.records[SERVICE] += [("fb1", pods[name_of(1)].port)]
    dns.records["fb1"] = ["127.0.0.1"]
    gatepost = start_gatepost({"fb1": fb1.address, **PODS}, {"u1": "fb1", "u2": "pods"},
                              mounts=dns.mounts, routing=STATIC)
    assert home_of(gatepost, "u1") == "FB1" and home_of(gatepost, "u2") == name_of(0)
    gatepost.wait_for_log("a target of a service is refused")


# --- Addresses ---


def test_an_address_that_changes(start_gatepost, dns, fb1):
    """It is asked for again when its TTL is over; who is there stays. An outage of DNS is none of
    mail; that there is no such name is an answer."""
    second = FakeBackend("SECOND", host="127.0.0.2", port=fb1.port)
    try:
        dns.records["mail.test"] = ["127.0.0.1"]
        gatepost = start_gatepost({"mail": f"mail.test:{fb1.port}"}, {"u1": "mail"},
                                  mounts=dns.mounts, routing=STATIC)
        with gatepost.connect() as client:
            assert answer_to(client, "u1") == "FB1"
            dns.records["mail.test"] = ["127.0.0.2"]
            wait_until(lambda: home_of(gatepost, "u1") == "SECOND", what="the new address")
            assert backend_of(client) == "FB1"
        dns.failing.add("mail.test")
        wait_until(lambda: home_of(gatepost, "u1") == "SECOND" and
                   "known addresses serve on" in gatepost.log(), what="the last known address")
        del dns.records["mail.test"]
        dns.failing.clear()
        wait_until(lambda: home_of(gatepost, "u1") == "UNAVAILABLE", what="no address")
        dns.records["mail.test"] = ["127.0.0.2"]
        wait_until(lambda: home_of(gatepost, "u1") == "SECOND", what="the address again")
    finally:
        second.close()


@pytest.mark.parametrize("dead", ["black hole", "refused", "silent TLS"])
def test_one_of_several_addresses_is_dead(start_gatepost, certificates, dns, dead):
    """IPv6 is tried first, and the other soon beside it: nobody waits for connect_timeout, which
    is longer than these clients have patience."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        tls = {"tls": "implicit", "certificate": certificates.backend} if "TLS" in dead else {}
        four = FakeBackend("FOUR", port=port, **tls)
        stack.callback(four.close)
        if dead == "black hole":
            stack.enter_context(black_hole("::1", port))
        elif dead == "silent TLS":
            six = FakeBackend("SIX", host="::1", port=port)
            six.greeting = None
            stack.callback(six.close)
        dns.records["mail.test"] = ["127.0.0.1", "::1"]
        options = {"tls": "implicit", "ca": str(certificates.ca), "server_name": "localhost",
                   "connect_timeout": "1s"} if tls else {"connect_timeout": "60s"}
        gatepost = start_gatepost({"mail": {"address": f"mail.test:{port}", **options}},
                                  {"u1": "mail"}, mounts=dns.mounts, routing=STATIC,
                                  process={"workers": 1})
        for _ in range(3):
            assert home_of(gatepost, "u1") == "FOUR"
        assert dead != "silent TLS" or len(six.connections) == 3
