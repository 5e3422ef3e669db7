# SPDX-License-Identifier: Apache-2.0
"""Routes that name a server by its URL: which hosts they may name (routing.url_hosts), and those
that lead back to the proxy (C98)."""

import time

import pytest

from backend_tls import totals
from scripted_pool import home_of
from servers import free_port, wait_until


@pytest.fixture(autouse=True)
def clean(redis_server):
    redis_server.command("FLUSHALL")


def start(start_gatepost, redis_server, hosts, **routing):
    return start_gatepost({"nobody": "127.0.0.1:1"}, redis=redis_server.url,
                          routing={"url_hosts": hosts, **routing})


@pytest.mark.parametrize("hosts,host,allowed", [
    ([], "127.0.0.1", True), ([], "localhost", True),
    (["127.0.0.1"], "127.0.0.1", True), (["127.0.0.0/8"], "127.0.0.1", True),
    (["::1"], "127.0.0.1", False), (["10.0.0.0/8"], "127.0.0.1", False),
    (["127.0.0.0/8"], "[::ffff:127.0.0.1]", True),
    (["localhost"], "localhost", True), (["localhost"], "LocalHost", True),
    # Names are not resolved for this, nor are addresses named.
    (["127.0.0.0/8"], "localhost", False), (["localhost"], "127.0.0.1", False),
    (["*.localhost"], "localhost", False), (["*.example.org", "localhost"], "localhost", True)])
def test_hosts_that_are_allowed(start_gatepost, redis_server, fb1, hosts, host, allowed):
    """Nothing is connected to otherwise; the log says why, and others are not concerned."""
    gatepost = start(start_gatepost, redis_server, hosts)
    redis_server.route("u1", f"imap://{host}:{fb1.port}")
    redis_server.route("u2", f"imap://{host}:{fb1.port}?user=box")
    for user in ("u1", "u2"):
        assert home_of(gatepost, user) == ("FB1" if allowed else "UNAVAILABLE")
    assert len(fb1.connections) == 2 * allowed
    if not allowed:
        gatepost.wait_for_log("none of routing.url_hosts")
        gatepost.wait_for_log("a route cannot be used")
    assert totals(gatepost)["route_lookups_failed_total"] == 2 * (not allowed)


def test_a_route_that_becomes_one_that_is_not_allowed(start_gatepost, redis_server, fb1):
    """Who is logged in stays; who comes is refused; and a good one is used again at once."""
    gatepost = start(start_gatepost, redis_server, ["localhost"])
    redis_server.route("u1", f"imap://localhost:{fb1.port}")
    with gatepost.connect() as client:
        client.login("u1")
        redis_server.route("u1", f"imap://127.0.0.1:{fb1.port}")
        wait_until(lambda: home_of(gatepost, "u1") == "UNAVAILABLE", what="refusal")
        client.assert_usable()
        redis_server.route("u1", f"imap://localhost:{fb1.port}")
        wait_until(lambda: home_of(gatepost, "u1") == "FB1", what="service")
        client.assert_usable()


def test_c98_to_ourselves(start_gatepost, redis_server):
    """By URL; also where the allow-list has the host."""
    gatepost = start(start_gatepost, redis_server, ["localhost", "127.0.0.0/8"])
    descriptors = gatepost.resting_descriptors()
    for host in ("127.0.0.1", "localhost"):
        redis_server.route(host, f"imap://{host}:{gatepost.port}")
        assert home_of(gatepost, host) == "SERVERBUG"
    wait_until(lambda: gatepost.descriptors() <= descriptors, what="descriptors back")


@pytest.mark.parametrize("by", ["URL", "name", "hash", "referral"])
def test_c98_two_proxies_in_a_circle(start_gatepost, redis_server, fb1, by):
    """However they came to send the user to each other, it ends within ten hops and five seconds,
    and nothing is left of it."""
    port, other = free_port(), free_port()
    url = {"first": f"imap://127.0.0.1:{other}", "second": f"imap://127.0.0.1:{port}"}
    routing = {"unknown": "hash"} if by == "hash" else {}
    if by == "URL":
        redis_server.command("SET", "first:u1", url["first"])
        redis_server.command("SET", "second:u1", url["second"])
    elif by == "name":
        redis_server.command("MSET", "first:u1", "there", "second:u1", "there")
    elif by == "referral":
        redis_server.command("SET", "first:u1", f"imap://{fb1.address}")
        redis_server.command("SET", "second:u1", url["second"])
        fb1.accept = f"$ NO [REFERRAL {url['first']}/] gone\r\n".encode()
        routing = {"referrals": ["127.0.0.0/8"]}
    proxies = [start_gatepost({"there": f"127.0.0.1:{there}"}, redis=redis_server.url, port=here,
                              process={"node": name},
                              routing={"lookup": f"GET {name}:{{user}}", **routing})
               for name, here, there in (("first", port, other), ("second", other, port))]
    descriptors = [proxy.resting_descriptors() for proxy in proxies]
    started = time.monotonic()
    assert home_of(proxies[0], "u1") in ("SERVERBUG", "UNAVAILABLE")
    assert time.monotonic() - started < 5
    for proxy, before in zip(proxies, descriptors):
        wait_until(lambda: proxy.descriptors() <= before, what="descriptors back")
        assert len(proxy.events("session")) <= 3 + 12
