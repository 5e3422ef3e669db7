# SPDX-License-Identifier: Apache-2.0
"""The addresses from which backends are connected to: used evenly, each as far as it has ports."""

import collections
import contextlib

import pytest

from backend import FakeBackend
from backend_tls import totals
from proxy import can_mount
from scripted_pool import answer_to, backends_named, home_of
from servers import AS_ROOT, wait_until
from test_addresses import has_ipv6

STATIC = {"source": "static"}
RANGE = "/proc/sys/net/ipv4/ip_local_port_range"

few_ports = pytest.mark.skipif(not (AS_ROOT and can_mount()),
                               reason="no other range of ports can be shown to it here")


def start(start_gatepost, fb1, sources, **options):
    return start_gatepost({"FB1": {"address": fb1.address, "sources": sources}}, {"u1": "FB1"},
                          routing=STATIC, **options)


def sources_of(fb):
    return collections.Counter(connection.source[0] for connection in fb.connections)


@contextlib.contextmanager
def sessions_of(gatepost, count):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gatepost.connect(tls=False)) for _ in range(count)]
        for client in clients:
            client.login()
        yield clients


def test_used_evenly(start_gatepost, fb1):
    """By all workers together; who leaves makes room at the address that was theirs."""
    gatepost = start(start_gatepost, fb1, ["127.0.0.2", "127.0.0.3"])
    with sessions_of(gatepost, 20) as clients:
        assert sources_of(fb1) == {"127.0.0.2": 10, "127.0.0.3": 10}
        for client, connection in zip(clients, list(fb1.connections)):
            if connection.source[0] == "127.0.0.3":
                client.close()
                fb1.wait_for_end(connection)
        wait_until(lambda: len(gatepost.events("session")) >= 10, what="ends")
        before = len(fb1.connections)
        with sessions_of(gatepost, 10):
            assert {connection.source[0] for connection in fb1.connections[before:]} == \
                {"127.0.0.3"}


def test_without_sources_the_system_chooses(start_gatepost, fb1):
    gatepost = start(start_gatepost, fb1, [])
    assert home_of(gatepost, "u1") == "FB1" and set(sources_of(fb1)) == {"127.0.0.1"}


def test_checks_come_from_there_too(start_gatepost, fb1):
    """A backend may let in nobody else."""
    start(start_gatepost, fb1, ["127.0.0.2"], health={"check": "greeting", "interval": "20ms"})
    fb1.wait_for_connection(3)
    assert set(sources_of(fb1)) == {"127.0.0.2"}


def test_an_address_that_is_not_ours(start_gatepost, fb1):
    """It is passed over; where there is no other, nobody is sent from an address that the backend
    does not know."""
    gatepost = start(start_gatepost, fb1, ["192.0.2.1", "127.0.0.2"])
    with sessions_of(gatepost, 6):
        assert sources_of(fb1) == {"127.0.0.2": 6}
    fb1.reset()
    gatepost = start(start_gatepost, fb1, ["192.0.2.1"])
    assert home_of(gatepost, "u1") == "UNAVAILABLE" and not fb1.connections
    assert totals(gatepost)["source_ports_exhausted_total"] == 1


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv6(start_gatepost, fb1):
    """The family of the backend's address decides, of those in the pool."""
    six = FakeBackend("SIX", host="::1")
    try:
        gatepost = start_gatepost(
            {"SIX": {"address": six.address, "sources": ["127.0.0.2", "::1"]},
             "FB1": {"address": fb1.address, "sources": ["127.0.0.2", "::1"]}},
            {"u1": "FB1", "u6": "SIX"}, routing=STATIC)
        assert home_of(gatepost, "u1") == "FB1" and home_of(gatepost, "u6") == "SIX"
        assert set(sources_of(fb1)) == {"127.0.0.2"} and set(sources_of(six)) == {"::1"}
    finally:
        six.close()


@few_ports
def test_a_pool_without_ports_left(start_gatepost, tmp_path, fb1, fb2):
    """The next login is refused, and that is counted; one that leaves makes room. Backends without
    sources are not concerned."""
    (tmp_path / "range").write_text("40000\t40003\n")
    gatepost = start_gatepost(
        {"FB1": {"address": fb1.address, "sources": ["127.0.0.2", "127.0.0.3"]},
         "FB2": fb2.address}, {"u1": "FB1", "u2": "FB2"}, routing=STATIC,
        mounts={RANGE: tmp_path / "range"})
    with sessions_of(gatepost, 8) as clients:
        assert sources_of(fb1) == {"127.0.0.2": 4, "127.0.0.3": 4}
        with gatepost.connect(tls=False) as late:
            assert answer_to(late, "u1") == "UNAVAILABLE"
            assert home_of(gatepost, "u2") == "FB2"
            clients[0].close()
            assert gatepost.end_of(clients[0])
            assert answer_to(late, "u1") == "FB1"
    gatepost.wait_for_log("no port is left")
    assert totals(gatepost)["source_ports_exhausted_total"] == 1


@few_ports
def test_failover_where_no_port_is_left(start_gatepost, tmp_path):
    """Who was placed there goes to the next."""
    (tmp_path / "range").write_text("40000\t40000\n")
    with backends_named("mail1", "mail2") as backends:
        gatepost = start_gatepost({name: {"address": backend.address, "sources": ["127.0.0.2"]}
                                   for name, backend in backends.items()},
                                  routing={**STATIC, "unknown": "hash", "failover": True},
                                  mounts={RANGE: tmp_path / "range"})
        with sessions_of(gatepost, 2):
            assert [len(backend.connections) for backend in backends.values()] == [1, 1]
            assert home_of(gatepost, "u1") == "UNAVAILABLE"
