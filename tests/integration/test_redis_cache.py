# SPDX-License-Identifier: Apache-2.0
"""What is remembered of Redis, as clients see it: who is asked for again and who is not, and where
logins lead while Redis is away (CASES.md, C101, C103)."""

import contextlib
import signal
import threading
import time

import pytest

from fake_redis import is_lookup
from servers import RedisServer, wait_until

WRONG = b"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"
TIMEOUT_MS = 300


@pytest.fixture
def start(start_gatepost, fake_redis, fb1, fb2):
    """Starts a gatepost with several workers on a scripted Redis that knows u1 and u2."""
    fake_redis.values = {"gatepost:route:u1": "FB1", "gatepost:route:u2": "FB2"}

    def begin(settled=True, timeout=f"{TIMEOUT_MS}ms", **routing):
        gatepost = start_gatepost({"FB1": fb1.address, "FB2": fb2.address},
                                  redis={"url": fake_redis.url, "timeout": timeout},
                                  routing=routing, process={"workers": 3})
        if settled:
            fake_redis.settle()
        return gatepost

    return begin


def login(gatepost, user="u1"):
    """Where a login leads: the name of the backend, "unknown" or "unavailable"."""
    with gatepost.connect(tls=False) as client:
        lines = client.command("a", f"LOGIN {user} pw")
        if lines == [WRONG]:
            return "unknown"
        if lines[-1].startswith(b"a NO [UNAVAILABLE]"):
            return "unavailable"
        assert lines[-1].startswith(b"a OK"), lines
        return client.command("b", "NOOP")[-1].split()[-1].decode()


def totals(gatepost):
    """Its counters, once it has ended."""
    gatepost.signal()
    assert gatepost.wait() == 0
    return {name: int(value) for name, value in gatepost.events("stopped")[0].items()
            if name.endswith("_total")}


# --- While Redis answers ---


def test_who_was_asked_for_is_not_asked_for_again(start, fake_redis):
    """By no worker, whoever asked; but for a session that was there when the listening began."""
    gatepost = start()
    assert [login(gatepost) for _ in range(30)] == ["FB1"] * 30
    assert 1 <= len(fake_redis.lookups()) <= 2
    assert totals(gatepost)["route_lookups_cache_total"] == 29


def test_c103_a_change_is_seen_by_the_next_login(start, fake_redis):
    gatepost = start(cache_ttl="1h", unknown_ttl="1h")
    for backend in ("FB2", "FB1", "FB2"):
        fake_redis.values["gatepost:route:u1"] = backend
        assert [login(gatepost) for _ in range(5)] == [backend] * 5
    del fake_redis.values["gatepost:route:u1"]
    assert [login(gatepost) for _ in range(5)] == ["unknown"] * 5
    fake_redis.values["gatepost:route:u1"] = "FB1"
    assert login(gatepost) == "FB1"
    # A session that has not quite ended when its user's route changes is asked for too.
    assert len(fake_redis.lookups()) <= 2 * 5


def test_c103_users_share_no_entry(start, fake_redis):
    """Names that begin with one another, or differ by case alone, which is no difference."""
    gatepost = start(cache_ttl="1h", unknown_ttl="1h")
    fake_redis.values["gatepost:route:u10"] = "FB2"
    for _ in range(2):
        assert [login(gatepost, user) for user in ("u1", "U1", "u10", '"u1 "', "u")] == [
            "FB1", "FB1", "FB2", "unknown", "unknown"]
    assert {words[1] for words in fake_redis.lookups()} == {
        b"gatepost:route:u", b"gatepost:route:u1", b"gatepost:route:u1 ", b"gatepost:route:u10"}


def test_everything_may_have_changed(start, fake_redis):
    """FLUSHALL: nothing that was known counts any more."""
    gatepost = start(cache_ttl="1h")
    assert login(gatepost) == "FB1"
    before = len(fake_redis.lookups())
    fake_redis.flush()
    fake_redis.settle()
    assert login(gatepost) == "FB1"
    assert len(fake_redis.lookups()) > before


def test_cache_ttl(start, fake_redis):
    gatepost = start(cache_ttl="300ms")
    assert login(gatepost) == "FB1"
    time.sleep(0.35)
    before = len(fake_redis.lookups())
    assert login(gatepost) == "FB1"
    assert len(fake_redis.lookups()) == before + 1


def test_unknown_users_are_remembered_briefly(start, fake_redis):
    gatepost = start(cache_ttl="1h", unknown_ttl="2s")
    assert [login(gatepost, "nobody") for _ in range(3)] == ["unknown"] * 3
    assert fake_redis.lookups() == [[b"GET", b"gatepost:route:nobody"]]
    time.sleep(2.1)
    assert login(gatepost, "nobody") == "unknown"
    assert len(fake_redis.lookups()) == 2


# --- While Redis does not tell what changes ---


def refuse_tracking(words):
    if words[:2] == [b"CLIENT", b"TRACKING"]:
        return b"-ERR unknown subcommand\r\n"
    return None


def test_without_tracking_every_login_asks(start, fake_redis):
    """What nobody tells the end of is not used while Redis can be asked."""
    fake_redis.handler = refuse_tracking
    gatepost = start(settled=False, cache_ttl="1h")
    gatepost.wait_for_log("Redis does not tell which keys change")
    for count, backend in enumerate(("FB1", "FB1", "FB2"), 1):
        fake_redis.values["gatepost:route:u1"] = backend
        assert login(gatepost) == backend
        assert len(fake_redis.lookups()) == count
    # It is told once, not at every attempt.
    attempts = fake_redis.connection_count
    wait_until(lambda: fake_redis.connection_count >= attempts + 2, what="attempts")
    assert gatepost.log().count("Redis does not tell which keys change") == 1
    # And it is used when there is nothing else.
    fake_redis.stop()
    assert [login(gatepost), login(gatepost, "u2")] == ["FB2", "unavailable"]


def test_tracking_that_comes_late(start, fake_redis):
    fake_redis.handler = refuse_tracking
    gatepost = start(settled=False, cache_ttl="1h")
    gatepost.wait_for_log("Redis does not tell which keys change")
    assert login(gatepost) == "FB1"
    fake_redis.handler = None
    gatepost.wait_for_log("Redis tells which keys change again")
    fake_redis.settle()
    fake_redis.commands = []
    assert [login(gatepost) for _ in range(9)] == ["FB1"] * 9
    assert 1 <= len(fake_redis.lookups()) <= 2


# --- While Redis is away ---


@pytest.fixture
def own_redis():
    server = RedisServer()
    server.route("u1", "FB1")
    server.route("u2", "FB2")
    yield server
    with contextlib.suppress(OSError):
        server.process.send_signal(signal.SIGCONT)
    server.remove()


@pytest.fixture
def beside(start_gatepost, own_redis, fb1, fb2):
    """A gatepost on a real Redis that knew u1 before, and has registered."""
    def begin(**routing):
        gatepost = start_gatepost({"FB1": fb1.address, "FB2": fb2.address},
                                  redis={"url": own_redis.url, "timeout": f"{TIMEOUT_MS}ms"},
                                  routing=routing)
        gatepost.wait_for_log("registered in Redis")
        assert login(gatepost) == "FB1"
        return gatepost

    return begin


def kill(server):
    server.process.kill()
    server.process.wait()


def hang(server):
    server.process.send_signal(signal.SIGSTOP)


both = pytest.mark.parametrize("end", [kill, hang])


@both
def test_c101_known_users_log_in_while_redis_is_away(beside, own_redis, end):
    """By the last route that was known; who was never asked for is told to try again later, and
    sessions go on."""
    gatepost = beside(stale_ttl="1h", cache_ttl="1s")
    with gatepost.connect() as spliced:
        spliced.login()
        end(own_redis)
        time.sleep(1.1)
        for _ in range(3):
            started = time.monotonic()
            assert login(gatepost) == "FB1"
            assert login(gatepost, "u2") == "unavailable"
            assert time.monotonic() - started < 2
        gatepost.wait_for_log("logins go by the last route that was known")
        spliced.assert_usable()
    counted = totals(gatepost)
    assert counted["route_lookups_stale_total"] >= 3
    assert counted["route_lookups_failed_total"] == counted["logins_failed_total"] == 3
    assert counted["redis_failures_total"] >= 1


@both
def test_c101_known_users_are_known_for_stale_ttl(beside, own_redis, end):
    gatepost = beside(stale_ttl="2s", cache_ttl="500ms")
    started = time.monotonic()
    end(own_redis)
    assert login(gatepost) == "FB1"
    wait_until(lambda: login(gatepost) == "unavailable", what="end of what was known")
    assert time.monotonic() - started > 1.8
    assert login(gatepost) == "unavailable"


def test_stale_ttl_of_nothing(beside, own_redis):
    gatepost = beside(stale_ttl="0s", cache_ttl="300ms")
    kill(own_redis)
    time.sleep(0.4)
    assert login(gatepost) == "unavailable"


def test_c101_a_hung_redis_goes_on(beside, own_redis):
    """What it says late is said to nobody; then all is as before."""
    gatepost = beside(stale_ttl="1h", cache_ttl="1s")
    hang(own_redis)
    assert login(gatepost, "u2") == "unavailable"
    own_redis.process.send_signal(signal.SIGCONT)
    wait_until(lambda: login(gatepost, "u2") == "FB2", what="login of u2")
    own_redis.route("u1", "FB2")
    wait_until(lambda: login(gatepost) == "FB2", what="the change")


def test_who_waits_when_redis_dies_goes_on_at_once(start, fake_redis):
    """The question is on its way and its connection breaks: who is known does not wait for the
    timeout."""
    silent = threading.Event()
    fake_redis.handler = lambda words: b"" if silent.is_set() and is_lookup(words) else None
    gatepost = start(timeout="60s", cache_ttl="500ms", stale_ttl="1h")
    assert login(gatepost) == "FB1"
    time.sleep(0.6)
    asked = len(fake_redis.lookups())
    with gatepost.connect(tls=False) as client:
        silent.set()
        client.send(b"a LOGIN u1 pw\r\n")
        wait_until(lambda: len(fake_redis.lookups()) > asked, what="question")
        fake_redis.stop()
        assert client.read_line().startswith(b"a OK")


def test_who_waits_when_redis_flaps_is_answered(start, fake_redis):
    """Who is not known may hope for Redis to come back in time, and asks again then."""
    silent = threading.Event()
    fake_redis.handler = lambda words: b"" if silent.is_set() and is_lookup(words) else None
    gatepost = start(timeout="60s")
    with gatepost.connect(tls=False) as client:
        silent.set()
        client.send(b"a LOGIN u1 pw\r\n")
        wait_until(fake_redis.lookups, what="question")
        silent.clear()
        fake_redis.drop_connections()
        assert client.read_line().startswith(b"a OK")
