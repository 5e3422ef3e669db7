# SPDX-License-Identifier: Apache-2.0
"""A backend that dies takes many sessions with it: their clients are told one after the other, lest
all of them log in again at once."""

import collections
import contextlib
import select
import time

import pytest

from backend import echo
from backend_tls import totals
from client import CLOSE_NOTIFY, FIN, Ended
from servers import wait_until

STATIC = {"source": "static"}
SESSIONS = 300


@contextlib.contextmanager
def sessions_of(gatepost, count, tls=False):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gatepost.connect(tls=tls)) for _ in range(count)]
        for client in clients:
            client.login()
        yield clients


def ends_of(clients, seconds):
    """When the connection of each ended, in seconds from now; those that did not are missing. A
    client may get bytes before."""
    started = time.monotonic()
    ends = {}
    waiting = {client.socket: client for client in clients}
    while waiting and time.monotonic() - started < seconds:
        for sock in select.select(list(waiting), [], [], 0.05)[0]:
            try:
                waiting[sock].receive(0)
            except Ended:
                ends[waiting.pop(sock)] = time.monotonic() - started
            except TimeoutError:
                pass
    return ends


def start(start_gatepost, fb1, drain_timeout="5s", **moves):
    return start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, routing=STATIC, moves=moves,
                          process={"drain_timeout": drain_timeout})


@pytest.mark.parametrize("reset", [False, True])
def test_ends_are_spread(start_gatepost, fb1, reset):
    """A tenth of a second's worth at once, and the others at the rate: 300 take more than a second
    at 200 a second. One line and one reason each."""
    gatepost = start(start_gatepost, fb1, disconnect_rate=200)
    with sessions_of(gatepost, SESSIONS) as clients:
        fb1.die(reset)
        ends = ends_of(clients, 10)
        assert len(ends) == SESSIONS
        times = sorted(ends.values())
        assert times[-1] >= (SESSIONS - 20) / 200 / 2
        for second in (0.25, 0.5, 0.75, 1.0):
            assert sum(end <= second for end in times) <= second * 200 + 20 + 40
    lines = wait_until(lambda: len(gatepost.events("session")) >= SESSIONS and
                       gatepost.events("session"), what="lines")
    reasons = collections.Counter(line["reason"] for line in lines if line.get("backend"))
    assert sum(reasons.values()) == SESSIONS and set(reasons) <= {"backend_lost", "backend_ended",
                                                                  "backend_cut"}
    assert totals(gatepost)["ends_spread_total"] >= SESSIONS - 20 - 40


def test_nobody_waits_longer_than_the_spread(start_gatepost, fb1):
    """Where the rate would take half a minute, they lie evenly within a second."""
    gatepost = start(start_gatepost, fb1, disconnect_rate=10, disconnect_spread="1s")
    with sessions_of(gatepost, SESSIONS) as clients:
        fb1.die()
        ends = ends_of(clients, 10)
        assert len(ends) == SESSIONS
        times = sorted(ends.values())
        assert times[-1] > 0.8
        assert sum(end < 0.5 for end in times) < SESSIONS * 0.6


def test_who_speaks_is_told_at_once(start_gatepost, fb1):
    """Whoever sends something, or leaves, finds out; the others wait on, and are not disturbed."""
    gatepost = start(start_gatepost, fb1, disconnect_rate=10, disconnect_spread="60s")
    with sessions_of(gatepost, 40) as clients:
        fb1.die()
        quiet = set(clients) - set(ends_of(clients, 0.5))
        assert len(quiet) > 25
        for client in list(quiet)[:10]:
            client.send(b"a NOOP\r\n")
            data, _ = client.read_to_end()
            assert data == b""
            quiet.remove(client)
        leaving = quiet.pop()
        leaving.close()
        assert gatepost.end_of(leaving)["reason"].startswith("backend_")
        assert len(ends_of(quiet, 0.2)) < 10


def test_a_single_loss_is_told_at_once(start_gatepost, fb1):
    """So is one after the other, as long as they are not many."""
    gatepost = start(start_gatepost, fb1, disconnect_rate=20, disconnect_spread="60s")
    with sessions_of(gatepost, 6) as clients:
        for client, connection in zip(clients, fb1.connections):
            connection.end_from_outside()
            client.read_to_end(1)
            time.sleep(0.1)
    assert totals(gatepost)["ends_spread_total"] == 0


@pytest.mark.parametrize("rate,spread", [(0, "10s"), (10, "0s")])
def test_all_at_once_where_that_is_wished(start_gatepost, fb1, rate, spread):
    gatepost = start(start_gatepost, fb1, disconnect_rate=rate, disconnect_spread=spread)
    with sessions_of(gatepost, 100) as clients:
        fb1.die()
        assert len(ends_of(clients, 5)) == 100
    assert totals(gatepost)["ends_spread_total"] == 0


def test_what_the_backend_said_last_is_said_at_once(start_gatepost, fb1):
    """A BYE reaches all clients before their ends do; under TLS too, and that ends in order."""
    gatepost = start(start_gatepost, fb1, disconnect_rate=10, disconnect_spread="1s")

    def session(connection):
        connection.receive()
        connection.send(b"* BYE going down\r\n")
        connection.close()

    fb1.session = session
    with sessions_of(gatepost, 30, tls=True) as clients:
        for client in clients:
            client.send(b"a IDLE\r\n")
        for client in clients:
            assert client.read_line(0.7) == b"* BYE going down\r\n"
        assert {client.read_to_end() for client in clients} == {(b"", CLOSE_NOTIFY)}


def test_the_end_is_as_it_was(start_gatepost, fb1):
    """Also of one that waited: in order after FIN."""
    gatepost = start(start_gatepost, fb1, disconnect_rate=10, disconnect_spread="500ms")
    with sessions_of(gatepost, 20) as clients:
        fb1.die()
        assert {client.read_to_end() for client in clients} == {(b"", FIN)}


def test_backends_do_not_wait_for_each_other(start_gatepost, fb1, fb2):
    gatepost = start_gatepost({"FB1": fb1.address, "FB2": fb2.address}, {"u1": "FB1", "u2": "FB2"},
                              routing=STATIC,
                              moves={"disconnect_rate": 10, "disconnect_spread": "60s"})
    with sessions_of(gatepost, 30) as clients, gatepost.connect() as other:
        other.login("u2")
        fb1.die()
        assert 0 < len(ends_of(clients, 0.5)) < 15
        fb2.die()
        other.read_to_end(1)


def test_the_dead_are_no_load(start_gatepost, fb1):
    """Their descriptors towards the backend are closed at once, and they end with the process."""
    gatepost = start(start_gatepost, fb1, "300ms", disconnect_rate=1, disconnect_spread="60s")
    descriptors = gatepost.resting_descriptors()
    with sessions_of(gatepost, 50) as clients:
        fb1.session = echo
        fb1.die()
        wait_until(lambda: gatepost.descriptors() <= descriptors + 50, what="closed")
        cpu = gatepost.cpu_seconds()
        time.sleep(0.5)
        assert gatepost.cpu_seconds() - cpu < 0.3
        gatepost.signal()
        assert len(ends_of(clients, 10)) >= 49
        gatepost.wait()
