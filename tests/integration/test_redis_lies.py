# SPDX-License-Identifier: Apache-2.0
"""A Redis that lies, flaps, hangs or fills up, where more is said than routes: holds,
registrations, what has changed (CASES.md, C99 to C103). Whoever asks is told to try again later;
who is there notices nothing; the log has a few lines of it, and the counters all."""

import contextlib
import threading
import time

import pytest

from fake_redis import CLOSE, is_hold, is_lookup
from proxy import is_sanitized
from redis_tables import bulk, integer, message
from servers import RedisServer, wait_until

# What the log may say of all that in a second: a line of each kind, and of each worker.
LINES_PER_SECOND = 8

TIMEOUT = "300ms"
MEGABYTE = bulk("x" * 1_000_000)
TOO_LARGE = bulk("x" * 2_000_000)


@pytest.fixture(scope="module")
def suspicious(start_shared_gatepost, fb1, fb2, directory):
    """A gatepost with two workers, and a Redis that may lie."""
    gatepost = start_shared_gatepost({"FB1": fb1.address, "FB2": fb2.address},
                                     redis={"url": directory.url, "timeout": TIMEOUT},
                                     moves={"hold_timeout": "300ms", "hold_line": "100ms",
                                            "release_spread": "0s"})
    gatepost.wait_for_log("registered in Redis")
    return gatepost


@pytest.fixture
def spliced(suspicious):
    """A session of u2, which goes on whatever Redis says of others."""
    with suspicious.connect() as client:
        client.login("u2")
        yield client
        client.assert_usable()


def warnings(gatepost):
    return [line for line in gatepost.events() if line["level"] in ("warn", "error")]


@contextlib.contextmanager
def few_lines(gatepost, at_least=1):
    """What happens within is worth some lines of the log, but no more with every login; none, where
    the same was said less than a second before."""
    before, started = len(warnings(gatepost)), time.monotonic()
    yield
    said = warnings(gatepost)[before:]
    assert at_least <= len(said) <= LINES_PER_SECOND * (time.monotonic() - started + 1), said


def is_unavailable(lines):
    return len(lines) == 1 and b" NO [UNAVAILABLE] " in lines[0]


def refuse_all(gatepost, count=40, user="u1"):
    """So many logins, all of them told to try again later."""
    with gatepost.connect(tls=False) as client:
        for _ in range(count):
            lines = client.command("a", f"LOGIN {user} pw")
            assert is_unavailable(lines), lines


def log_in(gatepost, user="u1", seconds=10):
    """Until it works."""
    def accepted():
        with gatepost.connect(tls=False) as client:
            lines = client.command("a", f"LOGIN {user} pw")
            assert is_unavailable(lines) or lines[-1].startswith(b"a OK"), lines
            return lines[-1].startswith(b"a OK")

    wait_until(accepted, seconds, f"login of {user}")


def ended(gatepost):
    """Its counters, once it has ended."""
    gatepost.signal()
    assert gatepost.wait() == 0
    return {name: int(value) for name, value in gatepost.events("stopped")[0].items()
            if name.endswith("_total")}


# --- Of holds ---

LIES = {
    "array": b"*1\r\n$1\r\ne\r\n",
    "nested array": b"*1\r\n*1\r\n$1\r\ne\r\n",
    "integer": integer(1),
    "status": b"+OK\r\n",
    "error": b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    "two megabytes": TOO_LARGE,
    "huge string announced": b"$2147483647\r\nx",
    "huge array announced": b"*1073741824\r\n",
    "array of 100,000": b"*100000\r\n" + integer(1) * 100_000,
    "negative length": b"$-5\r\n",
    "not RESP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "the end": CLOSE,
}


# What does not end the connection is answered at once, and so many times.
HARMLESS = ("array", "nested array", "integer", "status", "error")


@pytest.mark.parametrize("lie", LIES)
def test_c100_lies_about_a_hold(suspicious, spliced, directory, fb1, lie):
    with few_lines(suspicious, at_least=lie in HARMLESS):
        directory.handler = lambda words: LIES[lie] if words[-1].endswith(b"hold:u1") else None
        refuse_all(suspicious, count=40 if lie in HARMLESS else 2)
        assert not fb1.connections
    directory.handler = None
    log_in(suspicious)


@pytest.mark.parametrize("value", ["x" * 1_000_000, "", "two\r\nlines", b"\0\xff"],
                         ids=["megabyte", "empty", "lines", "bytes"])
def test_a_hold_of_any_value_holds(suspicious, spliced, directory, fb1, value):
    """It cannot be read as a route by mistake; who waited in vain is told to try again later."""
    directory.values["gatepost:hold:u1"] = value
    with suspicious.connect() as client:
        lines = client.command("a", "LOGIN u1 pw")
        assert lines[0].startswith(b"* OK") and is_unavailable(lines[-1:]), lines
        assert not fb1.connections
        del directory.values["gatepost:hold:u1"]
        client.login()


def test_c100_lies_about_many_users_take_no_memory(suspicious, spliced, directory):
    """A hundred users with routes of a megabyte each."""
    directory.handler = lambda words: MEGABYTE if is_lookup(words) else None
    refuse_all(suspicious, count=20, user="nobody")
    before = suspicious.resident_kib()
    with few_lines(suspicious), suspicious.connect(tls=False) as client:
        for number in range(100):
            lines = client.command("a", f"LOGIN n{number} pw")
            assert is_unavailable(lines), lines
    assert suspicious.resident_kib() - before < (300_000 if is_sanitized() else 20_000)
    directory.handler = None
    log_in(suspicious)


def test_known_users_go_by_what_was_known(start_gatepost, fake_redis, fb1):
    """An answer that cannot be used does not undo the last one that could."""
    lying = threading.Event()
    fake_redis.values = {"gatepost:route:u1": "FB1"}
    fake_redis.handler = lambda words: LIES["array"] if lying.is_set() and is_hold(words) else None
    gatepost = start_gatepost({"FB1": fb1.address}, redis={"url": fake_redis.url},
                              routing={"cache_ttl": "300ms"})
    fake_redis.settle()
    log_in(gatepost)
    lying.set()
    time.sleep(0.4)
    with few_lines(gatepost), gatepost.connect(tls=False) as client:
        client.login()
        refuse_all(gatepost, user="u2")
    counted = ended(gatepost)
    assert counted["route_lookups_stale_total"] == 1
    assert counted["route_lookups_failed_total"] == counted["logins_failed_total"] == 40


# --- Of backends ---


def test_c100_lies_about_drains(suspicious, spliced, directory):
    """A drain that cannot be read is none, or what it was."""
    directory.handler = lambda words: LIES["array"] if b":drain:" in words[-1] else None
    with few_lines(suspicious, at_least=0):
        directory.values["gatepost:drain:FB1"] = "kick"
        wait_until(lambda: "what Redis says of a backend cannot be used" in suspicious.log())
        log_in(suspicious)
    directory.handler = None
    del directory.values["gatepost:drain:FB1"]


# --- Of registrations ---

NO_REGISTRATIONS = {
    "array": LIES["array"],
    "text": bulk("1"),
    "nothing": bulk(None),
    "two megabytes": TOO_LARGE,
    "wrong type": LIES["error"],
    "full": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "no disk": b"-MISCONF Redis is configured to save RDB snapshots\r\n",
    "replica": b"-READONLY You can't write against a read only replica.\r\n",
    "not allowed": b"-NOPERM this user has no permissions to run the 'eval' command\r\n",
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "silence": b"",
    "the end": CLOSE,
    "nonsense": b"\xff\xfe\r\n",
}


def refuse_registrations(answer):
    return lambda words: answer if words[0] == b"EVAL" else None


@pytest.fixture
def start(start_gatepost, fake_redis, fb1):
    def begin(**routing):
        fake_redis.values = {"gatepost:route:u1": "FB1"}
        return start_gatepost({"FB1": fb1.address}, {"fixed": "FB1"}, routing=routing,
                              redis={"url": fake_redis.url, "timeout": TIMEOUT})

    return begin


@pytest.mark.parametrize("answer", NO_REGISTRATIONS)
def test_who_cannot_register_asks_for_nobody(start, fake_redis, fb1, answer):
    """Since moves would not wait for this proxy. When it can, it does, by itself."""
    fake_redis.handler = refuse_registrations(NO_REGISTRATIONS[answer])
    gatepost = start()
    with few_lines(gatepost), gatepost.connect() as client:
        client.login("fixed")
        attempts, started = fake_redis.connection_count, time.monotonic()
        refuse_all(gatepost, count=3)
        assert not fake_redis.lookups() and len(fb1.connections) == 1
        client.assert_usable()
    seconds = time.monotonic() - started
    assert fake_redis.connection_count - attempts <= 40 * (seconds + 1)
    fake_redis.handler = None
    log_in(gatepost)
    counted = ended(gatepost)
    assert counted["route_lookups_failed_total"] >= 3 and counted["logins_failed_total"] >= 3


@pytest.mark.parametrize("answer", ["full", "array"])
def test_who_is_registered_goes_on(start, fake_redis, answer):
    """Though its registration cannot be renewed; users who are new are found too."""
    gatepost = start()
    fake_redis.settle()
    fake_redis.handler = refuse_registrations(NO_REGISTRATIONS[answer])
    fake_redis.commands = []
    wait_until(lambda: any(words[0] == b"EVAL" for words in fake_redis.commands), what="renewal")
    gatepost.wait_for_log("cannot be renewed")
    log_in(gatepost)
    assert "asks for nobody" not in gatepost.log()


def test_redis_that_hangs_after_the_registration(start, fake_redis):
    """On every connection: greeted, registered, and then silent."""
    silent = threading.Event()
    past = (b"EVAL", b"PING", b"CLIENT", b"SUBSCRIBE")
    fake_redis.handler = lambda words: b"" if silent.is_set() and words[0] not in past else None
    gatepost = start(cache_ttl="300ms")
    fake_redis.settle()
    with few_lines(gatepost), gatepost.connect() as spliced:
        spliced.login()
        silent.set()
        time.sleep(0.4)
        attempts, started = fake_redis.connection_count, time.monotonic()
        log_in(gatepost)
        refuse_all(gatepost, count=5, user="u2")
        assert fake_redis.connection_count - attempts <= 10 * (time.monotonic() - started + 1)
        spliced.assert_usable()
        silent.clear()
        wait_until(lambda: fake_redis.lookups()[-1][1] == b"gatepost:route:u1", what="lookup")
    assert ended(gatepost)["route_lookups_stale_total"] >= 1


# --- Of what has changed ---

NEWS = {
    "integer": integer(1),
    "error": b"-ERR\r\n",
    "text": bulk("gatepost:route:u1"),
    "pong that nobody asked for": b"*2\r\n$4\r\npong\r\n$0\r\n\r\n",
    "message of another channel": b"*3\r\n" + bulk("message") + bulk("other") + bulk("x"),
    "a change of no key": b"*3\r\n" + bulk("message") + bulk("__redis__:invalidate")
                          + b"*1\r\n:1\r\n",
    "nine megabytes": bulk("x" * 9_000_000),
    "100,000 keys": message(b"__redis__:invalidate", ["gatepost:route:u1"] * 100_000),
    "huge array announced": b"*1073741824\r\n",
    "not RESP": b"\0\0\0\0\r\n",
}


@pytest.mark.parametrize("news", NEWS)
def test_news_that_are_none(suspicious, spliced, directory, news):
    """The connection is of no use any more, and what was known neither until there is another."""
    directory.settle()
    with few_lines(suspicious, at_least=0):
        attempts = directory.connection_count
        with contextlib.suppress(OSError):
            directory.say(NEWS[news])
        wait_until(lambda: directory.connection_count > attempts, what="another connection")
        directory.settle()
    directory.values["gatepost:route:u3"] = "FB1"
    log_in(suspicious, "u3")


@pytest.mark.parametrize("keys", [["gatepost:route:"], ["gatepost:hold:"], ["gatepost:node:"], [""],
                                  ["gatepost:route:" + "n" * 100_000], ["gatepost:hold:\x01\r\n"],
                                  ["gatepost:hold:" + "n" * 300], ["gatepost:drain:\udcff"], []])
def test_changes_of_keys_that_are_nobodys(suspicious, spliced, directory, keys):
    directory.settle()
    before, attempts = len(warnings(suspicious)), directory.connection_count
    directory.say(message(b"__redis__:invalidate", keys))
    directory.settle()
    assert len(warnings(suspicious)) == before and directory.connection_count == attempts
    log_in(suspicious)


@pytest.mark.parametrize("command,answer", [
    (b"CLIENT", bulk("7")), (b"CLIENT", b"-ERR\r\n"), (b"CLIENT", b""), (b"CLIENT", CLOSE),
    (b"SUBSCRIBE", b"+OK\r\n"), (b"SUBSCRIBE", b"-NOPERM\r\n"), (b"SUBSCRIBE", b"")])
def test_listening_that_is_refused(start, fake_redis, command, answer):
    """Users log in; what has changed is found by asking."""
    fake_redis.handler = lambda words: answer if words[0] == command else None
    gatepost = start()
    with few_lines(gatepost, at_least=0):
        gatepost.wait_for_log("Redis does not tell which keys change")
        for count in (1, 2):
            log_in(gatepost)
            assert len(fake_redis.lookups()) == count
    fake_redis.handler = None
    gatepost.wait_for_log("Redis tells which keys change again")


# --- Flapping ---


@contextlib.contextmanager
def repeated(action, seconds=0.01):
    """Does so again and again, meanwhile."""
    over = threading.Event()

    def run():
        while not over.wait(seconds):
            action()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def flap(gatepost, fake_redis):
    """Three seconds of it, with logins of a known and an unknown user; how many connections were
    made."""
    with few_lines(gatepost), gatepost.connect() as spliced, gatepost.connect() as client:
        spliced.login()
        fake_redis.drop_connections()
        before, until = fake_redis.connection_count, time.monotonic() + 3
        while time.monotonic() < until:
            with gatepost.connect(tls=False) as known:
                known.login()
            lines = client.command("a", "LOGIN nobody pw")
            assert is_unavailable(lines) or b"[AUTHENTICATIONFAILED]" in lines[0], lines
        spliced.assert_usable()
        return fake_redis.connection_count - before


def test_redis_that_accepts_and_closes(start, fake_redis):
    """Two connections are wanted; each attempt waits longer than the one before."""
    gatepost = start()
    fake_redis.settle()
    log_in(gatepost)
    fake_redis.flaps = True
    assert flap(gatepost, fake_redis) < 30
    fake_redis.flaps = False
    fake_redis.values["gatepost:route:u3"] = "FB1"
    log_in(gatepost, "u3")
    assert ended(gatepost)["redis_failures_total"] >= 4


def test_redis_that_answers_and_closes(start, fake_redis):
    """A hundred times a second: no more than twenty attempts are made for each connection."""
    gatepost = start()
    fake_redis.settle()
    log_in(gatepost)
    with repeated(fake_redis.drop_connections):
        assert flap(gatepost, fake_redis) < 2 * 20 * 4
    log_in(gatepost)
    fake_redis.values["gatepost:route:u3"] = "FB1"
    log_in(gatepost, "u3")


# --- A real one that is full, or has something else there ---


@pytest.fixture
def own_redis():
    server = RedisServer()
    server.route("u1", "FB1")
    yield server
    server.remove()


def test_a_redis_that_may_not_write_registers_nobody(start_gatepost, own_redis, fb1):
    own_redis.command("CONFIG", "SET", "min-replicas-to-write", "1")
    gatepost = start_gatepost({"FB1": fb1.address}, redis=own_redis.url)
    with few_lines(gatepost):
        refuse_all(gatepost, count=3)
        gatepost.wait_for_log("cannot be registered")
    own_redis.command("CONFIG", "SET", "min-replicas-to-write", "0")
    log_in(gatepost)


def test_a_full_redis(start_gatepost, own_redis, fb1):
    """Proxies register all the same, and users are found; but nobody is assigned a route."""
    own_redis.command("CONFIG", "SET", "maxmemory", "1")
    gatepost = start_gatepost({"FB1": fb1.address}, redis=own_redis.url,
                              routing={"unknown": "assign"})
    log_in(gatepost)
    with few_lines(gatepost):
        refuse_all(gatepost, count=40, user="new")
    own_redis.command("CONFIG", "SET", "maxmemory", "0")
    log_in(gatepost, "new")


def test_a_redis_that_fills_up_goes_on(start_gatepost, own_redis, fb1):
    """What is registered and what is read need no memory."""
    gatepost = start_gatepost({"FB1": fb1.address}, redis=own_redis.url)
    log_in(gatepost)
    own_redis.route("u2", "FB1")
    own_redis.command("CONFIG", "SET", "maxmemory", "1")
    time.sleep(5.5)
    log_in(gatepost, "u2")
    assert not warnings(gatepost)


@pytest.mark.parametrize("kind", ["hold", "route", "node"])
def test_keys_of_another_type(start_gatepost, own_redis, fb1, kind):
    """Of a user: nobody else notices. Of the registration: it is nobody's, and is made again."""
    own_redis.route("u2", "FB1")
    name = "proxy" if kind == "node" else "u1"
    own_redis.command("DEL", f"gatepost:{kind}:{name}")
    own_redis.command("LPUSH", f"gatepost:{kind}:{name}", "x")
    gatepost = start_gatepost({"FB1": fb1.address}, redis=own_redis.url,
                              process={"node": "proxy"})
    if kind == "node":
        gatepost.wait_for_log("cannot be registered")
    else:
        log_in(gatepost, "u2")
    with few_lines(gatepost):
        refuse_all(gatepost, count=3)
    own_redis.command("DEL", f"gatepost:{kind}:{name}")
    own_redis.route("u1", "FB1")
    log_in(gatepost)


# --- Time that passes unnoticed ---


def test_a_process_that_slept(start, fake_redis):
    """As when its machine was asleep: what came meanwhile is read before anything is given up."""
    gatepost = start(cache_ttl="1s")
    fake_redis.settle()
    log_in(gatepost)
    with gatepost.connect() as spliced:
        spliced.login()
        connections = fake_redis.connection_count
        gatepost.signal(19)
        time.sleep(2)
        gatepost.signal(18)
        log_in(gatepost)
        spliced.assert_usable()
        assert fake_redis.connection_count == connections
    assert not warnings(gatepost)
