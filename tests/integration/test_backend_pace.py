# SPDX-License-Identifier: Apache-2.0
"""connect_rate: not more connections a second than a backend bears; who comes first is first, and
nobody waits longer than connect_queue. slow_start: less of it for a backend that has come back."""

import contextlib

from backend_tls import totals
from client import statuses
from scripted_pool import home_of
from servers import wait_until

STATIC = {"source": "static"}
USERS = {f"u{number}": "FB1" for number in range(60)}
RATE = 25
# So many may come at once: a tenth of a second's worth.
BURST = RATE // 10


@contextlib.contextmanager
def clients_of(gatepost, count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(gatepost.connect(tls=False)) for _ in range(count)]


def log_in_all(gatepost, count):
    """So many at once; returns how many were let in, and the codes of the others."""
    with clients_of(gatepost, count) as clients:
        for number, client in enumerate(clients):
            client.send(b"a LOGIN u%d pw\r\n" % number)
        lines = [client.read_until("a", timeout=20)[-1] for client in clients]
    refused = [line for line in lines if not line.startswith(b"a OK")]
    return count - len(refused), [line.split(b"[")[1].split(b"]")[0] for line in refused]


def assert_never_faster(fb, rate, burst):
    """In no stretch of time more than the rate allows. The backend's clock is a little late now and
    then, so that a stretch may look shorter than it was."""
    times = sorted(connection.began for connection in fb.connections)
    for first, began in enumerate(times):
        for last, ended in enumerate(times[first:], first):
            assert last - first + 1 <= (ended - began + 0.25) * rate + burst + 1, (first, last)


def pass_turns(client):
    """What the worker had to read before, it has read: once may be in the same turn."""
    client.assert_usable()
    client.assert_usable()


def test_fifty_logins_in_the_order_of_their_coming(start_gatepost, fb1):
    """All succeed, and not one sooner than the rate allows."""
    gatepost = start_gatepost({"FB1": {"address": fb1.address, "connect_rate": RATE}}, USERS,
                              routing=STATIC, process={"workers": 1})
    with clients_of(gatepost, 51) as (other, *clients):
        for number, client in enumerate(clients):
            client.send(b"a LOGIN u%d pw\r\n" % number)
            pass_turns(other)
        for client in clients:
            assert statuses(client.read_until("a", timeout=20)) == ["a OK"]
            client.assert_usable()
    users = [connection.logins[0].user for connection in fb1.connections]
    assert users == [b"u%d" % number for number in range(50)]
    assert_never_faster(fb1, RATE, BURST)
    counters = totals(gatepost)
    assert counters["logins_queued_total"] >= 50 - BURST - RATE
    assert counters["logins_ok_total"] == 50


def test_all_workers_together(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": {"address": fb1.address, "connect_rate": 2 * RATE}}, USERS,
                              routing=STATIC, process={"workers": 4})
    assert log_in_all(gatepost, 50) == (50, [])
    assert_never_faster(fb1, 2 * RATE, 2 * BURST)


def test_the_queue_is_bounded_by_time(start_gatepost, fb1):
    """Whose turn would come later is told so at once; the counter says how many; and there is room
    again when the queue is gone. An own queue for each backend."""
    gatepost = start_gatepost({"FB1": {"address": fb1.address, "connect_rate": 10,
                                       "connect_queue": "500ms"}}, USERS, routing=STATIC)
    let_in, codes = log_in_all(gatepost, 40)
    # One at once, and five turns within half a second.
    assert 6 <= let_in < 20 and set(codes) == {b"UNAVAILABLE"}
    assert len(fb1.connections) == let_in
    wait_until(lambda: home_of(gatepost, "u1") == "FB1", what="room")
    gatepost.wait_for_log("(connect_queue)")
    counters = totals(gatepost)
    assert counters["limit_refusals_connect_queue_total"] >= len(codes)
    assert counters["logins_failed_total"] == counters["limit_refusals_connect_queue_total"]


def test_no_queue(start_gatepost, fb1):
    """connect_queue = "0s": who cannot go at once does not wait."""
    gatepost = start_gatepost({"FB1": {"address": fb1.address, "connect_rate": 1,
                                       "connect_queue": "0s"}}, USERS, routing=STATIC)
    assert home_of(gatepost, "u1") == "FB1"
    assert home_of(gatepost, "u1") == "UNAVAILABLE"
    assert totals(gatepost)["logins_queued_total"] == 0


def test_who_leaves_the_queue_is_not_connected(start_gatepost, fb1):
    """Clients that give up leave nothing behind, and do not hold up others for ever."""
    gatepost = start_gatepost({"FB1": {"address": fb1.address, "connect_rate": 10}}, USERS,
                              routing=STATIC, process={"workers": 1})
    descriptors = gatepost.resting_descriptors()
    with clients_of(gatepost, 20) as clients:
        for number, client in enumerate(clients[1:]):
            client.send(b"a LOGIN u%d pw\r\n" % number)
        pass_turns(clients[0])
    wait_until(lambda: gatepost.descriptors() <= descriptors, what="descriptors back")
    assert len(fb1.connections) < 15
    assert home_of(gatepost, "u1") == "FB1"


def test_slow_start(start_gatepost, fb1):
    """When it has come up again its rate begins at a tenth, but not when gatepost starts."""
    gatepost = start_gatepost({"FB1": {"address": fb1.address, "connect_rate": 100,
                                       "slow_start": "3s"}}, USERS, routing=STATIC,
                              health={"check": "connect", "interval": "20ms", "fall": 1,
                                      "rise": 1})

    def spread():
        """The time from the first to the last connection of 12 logins at once."""
        before = len(fb1.logins)
        assert log_in_all(gatepost, 12) == (12, [])
        assert len(fb1.logins) == before + 12
        times = [connection.began for connection in fb1.connections if connection.logins]
        return max(times[-12:]) - min(times[-12:])

    # At the whole rate it takes 20 ms, at the tenth and what it grows by 650.
    usual = spread()
    fb1.die()
    gatepost.wait_for_log("backend is down")
    fb1.revive()
    gatepost.wait_for_log("backend is up")
    assert spread() > max(0.4, usual)
