# SPDX-License-Identifier: Apache-2.0
"""routing.canary: a share of those whom hash places, to a new backend; taken back by itself, on
every proxy, when logins fail there (docs/routing.md)."""

import contextlib

import pytest

from backend_tls import totals
from scripted_pool import backend_of, backends_named, clients_from, home_of, homes_of
from servers import RedisServer, wait_until

KEY = "gatepost:canary:new"
# So many clients are needed until anything is decided.
CLIENTS = 20


@pytest.fixture(scope="module")
def redis():
    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def mails():
    with backends_named("mail1", "mail2", "new") as backends:
        yield backends


@pytest.fixture(autouse=True)
def clean(redis, mails):
    redis.command("FLUSHALL")
    for backend in mails.values():
        backend.reset()


def users_named(count):
    return [f"u{number}@example.org" for number in range(count)]


def start(start_gatepost, mails, redis, canary="new:50%", **changes):
    backends = {name: {"address": backend.address, "weight": 0 if name == "new" else 100}
                for name, backend in mails.items()}
    routing = {"unknown": "hash", "canary": canary, **changes.pop("routing", {})}
    return start_gatepost(backends, redis=redis.url if redis else None, routing=routing, **changes)


def users_of_new(gatepost, count):
    """Who has the canary, so many of them; and as many who have not."""
    homes = homes_of(gatepost, users_named(3 * count + 10))
    theirs = [user for user, home in homes.items() if home == "new"]
    others = [user for user, home in homes.items() if home != "new"]
    assert len(theirs) >= count and len(others) >= count
    return theirs[:count], others[:count]


def refuse_at_new(gatepost, users, sources, code="AUTHENTICATIONFAILED"):
    for user, source in zip(users, sources):
        assert home_of(gatepost, user, source=source) in (code, "mail1", "mail2")


def test_the_share(start_gatepost, mails, redis):
    """The same users on every proxy, out of all other backends alike; a larger share keeps whom the
    smaller had; who has a route is in none."""
    users = users_named(200)
    redis.route(users[0], "mail1")
    small, large, again, without = (
        homes_of(start(start_gatepost, mails, redis, canary), users)
        for canary in ("new:10%", "new:40%", "new:40%", "new:0.01%"))
    assert large == again
    counts = [list(homes.values()).count("new") for homes in (small, large)]
    assert abs(counts[0] - 20) < 22 and counts[0] > 0 and abs(counts[1] - 80) < 36
    assert all(large[user] == "new" for user in users if small[user] == "new")
    for user in users:
        assert small[user] in ("new", without[user]) and large[user] in ("new", without[user])
    left = [without[user] for user in users if large[user] == "new"]
    assert left.count("mail1") > 15 and left.count("mail2") > 15
    assert large[users[0]] == "mail1"


def test_taken_back_by_itself(start_gatepost, mails, redis):
    """Passwords are refused there, as by a server that does not know its users: the share goes
    home, in Redis stands why, the other proxy follows, and sessions follow, too."""
    first, second = (start(start_gatepost, mails, redis, moves={"drain_rate": 50,
                                                                "kick_grace": "100ms"})
                     for _ in range(2))
    theirs, others = users_of_new(first, 30)
    with contextlib.ExitStack() as stack:
        sessions = []
        for proxy in (first, second):
            for user in theirs[-3:]:
                sessions.append(stack.enter_context(proxy.connect(tls=False)))
                sessions[-1].login(user)
                assert backend_of(sessions[-1]) == "new"
        stays = stack.enter_context(first.connect(tls=False))
        stays.login(others[0])
        mails["new"].password = b"nobody's"
        refuse_at_new(first, theirs, clients_from(30))
        for proxy in (first, second):
            proxy.wait_for_log("canary is over")
            wait_until(lambda: home_of(proxy, theirs[0]) != "new", what="home")
            assert "new" not in homes_of(proxy, theirs).values()
        for session in sessions:
            session.read_to_end()
        stays.assert_usable()
    assert redis.command("EXISTS", KEY) == "1"
    assert first.end_of(sessions[0])["reason"] == "backend_drained"
    counters = [totals(proxy) for proxy in (first, second)]
    assert all(each["kicks_drained_total"] == 3 for each in counters)


def test_a_single_client_cannot_end_it(start_gatepost, mails, redis):
    """However many users it tries: as a failing client it counts once."""
    gatepost = start(start_gatepost, mails, redis)
    theirs, _ = users_of_new(gatepost, 30)
    mails["new"].password = b"nobody's"
    for _ in range(3):
        for user in theirs:
            assert home_of(gatepost, user, source="127.0.0.9") == "AUTHENTICATIONFAILED"
    mails["new"].password = b"pw"
    assert set(homes_of(gatepost, theirs).values()) == {"new"}
    assert redis.command("EXISTS", KEY) == "0"


def test_one_fewer_than_it_takes(start_gatepost, mails, redis):
    """19 clients say nothing, the twentieth does."""
    gatepost = start(start_gatepost, mails, redis)
    theirs, _ = users_of_new(gatepost, CLIENTS + 1)
    mails["new"].password = b"nobody's"
    # 127.0.0.1, who looked for them, has been there as one who did not fail.
    refuse_at_new(gatepost, theirs, clients_from(CLIENTS - 2))
    assert home_of(gatepost, theirs[0], source="127.0.0.1") == "AUTHENTICATIONFAILED"
    assert redis.command("EXISTS", KEY) == "0"
    assert home_of(gatepost, theirs[0], source="127.0.0.200") == "AUTHENTICATIONFAILED"
    gatepost.wait_for_log("canary is over")


def test_failures_everywhere_are_not_its_own(start_gatepost, mails, redis):
    """As many elsewhere: many users mistype, and that says nothing of the canary."""
    gatepost = start(start_gatepost, mails, redis)
    theirs, others = users_of_new(gatepost, 40)
    for backend in mails.values():
        backend.password = b"nobody's"
    for user, other, source in zip(theirs, others, clients_from(40)):
        assert home_of(gatepost, other, source=source) == "AUTHENTICATIONFAILED"
        assert home_of(gatepost, user, source=source) == "AUTHENTICATIONFAILED"
    assert redis.command("EXISTS", KEY) == "0"


@pytest.mark.parametrize("ailment", ["dead", "BYE"])
def test_failures_of_any_kind(start_gatepost, mails, redis, ailment):
    """It cannot be reached, or leaves: also before it is known to be down."""
    gatepost = start(start_gatepost, mails, redis, health={"check": "none", "witnesses": 0})
    theirs, _ = users_of_new(gatepost, 30)
    if ailment == "dead":
        mails["new"].die()
    else:
        mails["new"].greeting = b"* BYE not yet\r\n"
    refuse_at_new(gatepost, theirs, clients_from(30), "UNAVAILABLE")
    gatepost.wait_for_log("canary is over")
    wait_until(lambda: "new" not in homes_of(gatepost, theirs).values() and
               "UNAVAILABLE" not in homes_of(gatepost, theirs).values(), what="home")


def test_an_operator_ends_it_and_tries_again(start_gatepost, mails, redis):
    """The key is all that counts, also where nobody failed."""
    gatepost = start(start_gatepost, mails, redis)
    theirs, _ = users_of_new(gatepost, 5)
    for _ in range(2):
        redis.command("SET", KEY, "by hand")
        wait_until(lambda: home_of(gatepost, theirs[0]) != "new", what="home")
        redis.command("DEL", KEY)
        wait_until(lambda: home_of(gatepost, theirs[0]) == "new", what="canary")
    gatepost.wait_for_log("canary is tried again")
    # One that starts later reads it.
    redis.command("SET", KEY, "by hand")
    second = start(start_gatepost, mails, redis)
    wait_until(lambda: home_of(second, theirs[0]) != "new", what="home")


def test_tried_again_it_is_judged_anew(start_gatepost, mails, redis):
    """Old failures are forgotten, and new ones end it again."""
    gatepost = start(start_gatepost, mails, redis, routing={"canary_threshold": 50})
    theirs, _ = users_of_new(gatepost, 60)
    mails["new"].password = b"nobody's"
    refuse_at_new(gatepost, theirs, clients_from(60))
    gatepost.wait_for_log("canary is over")
    mails["new"].password = b"pw"
    wait_until(lambda: redis.command("DEL", KEY) == "1", what="key")
    wait_until(lambda: home_of(gatepost, theirs[0]) == "new", what="canary")
    for user, source in zip(theirs, clients_from(30)):
        assert home_of(gatepost, user, source=source) == "new"
    assert redis.command("EXISTS", KEY) == "0"
    mails["new"].password = b"nobody's"
    refuse_at_new(gatepost, theirs, clients_from(60, first=100))
    wait_until(lambda: redis.command("EXISTS", KEY) == "1", what="key")


def test_without_redis(start_gatepost, mails):
    """A proxy of its own ends it for itself, and sessions follow there, too."""
    gatepost = start(start_gatepost, mails, None, moves={"kick_grace": "100ms"})
    theirs, _ = users_of_new(gatepost, 30)
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(gatepost.connect(tls=False)) for _ in theirs[:3]]
        for session, user in zip(sessions, theirs):
            session.login(user)
            assert backend_of(session) == "new"
        mails["new"].password = b"nobody's"
        refuse_at_new(gatepost, theirs, clients_from(30))
        gatepost.wait_for_log("canary is over")
        mails["new"].password = b"pw"
        assert "new" not in homes_of(gatepost, theirs).values()
        for session in sessions:
            session.read_to_end()


def test_a_drain_ends_the_share_for_as_long(start_gatepost, mails, redis):
    gatepost = start(start_gatepost, mails, redis)
    theirs, _ = users_of_new(gatepost, 5)
    redis.command("SET", "gatepost:drain:new", "yes")
    wait_until(lambda: home_of(gatepost, theirs[0]) != "new", what="home")
    assert "new" not in homes_of(gatepost, theirs).values()
    redis.command("DEL", "gatepost:drain:new")
    wait_until(lambda: home_of(gatepost, theirs[0]) == "new", what="canary")
