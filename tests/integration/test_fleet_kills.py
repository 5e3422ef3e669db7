# SPDX-License-Identifier: Apache-2.0
"""A fleet whose parts die in the middle of moves: Redis, proxies, and the network between them.
Moves stop or wait then, nobody is on two backends, and afterwards all is well without a restart."""

import contextlib
import signal
import threading
import time

import pytest

import mover
from backend import serve_commands
from client import FIN
from fleet import DURABLE, Account, Cable, Fleet, Regulars, make_backends
from mover import Mover
from servers import wait_until

MOVES = {"kick_grace": "300ms", "hold_line": "100ms"}


@pytest.fixture(scope="module")
def account():
    return Account()


@pytest.fixture(scope="module")
def backends(account):
    made = make_backends(account, "FB1", "FB2")
    yield made
    for backend in made.values():
        backend.close()


@pytest.fixture
def start_fleet(certificates, backends, account):
    """Starts fleets, and ends them; whatever was done to them, nobody was on two backends."""
    account.forget()
    with contextlib.ExitStack() as stack:
        def start(**options):
            made = Fleet(certificates, backends, moves=MOVES, **options)
            stack.callback(made.stop)
            return made

        yield start
    for backend in backends.values():
        backend.assert_no_faults()


@pytest.fixture
def fleet(start_fleet):
    made = start_fleet()
    made.route("u", "FB1")
    return made


@pytest.fixture
def slow_end(backends):
    """FB1 ends sessions only once this event is there."""
    event = threading.Event()

    def keep(connection):
        connection.read_to_end()
        event.wait(20)

    backends["FB1"].session = keep
    yield event
    event.set()
    backends["FB1"].session = serve_commands


def gateposts(fleet):
    return list(fleet.proxies.values())


def begin(fleet, user="u", target="FB2", **options):
    return Mover(fleet.redis.port, user, target, **options).start()


def wait_for_step(strict, step):
    wait_until(lambda: step in strict.times, what=f"{step} of the move")


def assert_moves(fleet, account, user="u"):
    """A move succeeds, and clients are where it brings them."""
    target = "FB2" if fleet.routed(user) == "FB1" else "FB1"
    strict = Mover(fleet.redis.port, user, target)
    assert strict.run() == mover.MOVED, strict.missing
    for node in fleet.proxies:
        with fleet.session(node, user, backend=target):
            pass
    assert not account.overlaps


def accepted(fleet, node, user="u"):
    return fleet.login_status(node, user) == "OK"


# --- Redis ---


@pytest.mark.parametrize("data", ["kept", "lost"])
def test_redis_dies_in_the_middle_of_a_move(start_fleet, account, data):
    """All have confirmed, and the mover is about to write the route. It learns that Redis is gone,
    and stops; those who waited go on waiting, and come in where they lived."""
    fleet = start_fleet(redis_options=DURABLE if data == "kept" else None)
    fleet.route("u", "FB1")

    def lose_redis(_):
        fleet.redis.kill()

    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(fleet.session(node, "u")) for node in "ab"]
        strict = begin(fleet, ttl_ms=1500, at={"confirmed": lose_redis})
        wait_for_step(strict, "confirmed")
        for client in sessions:
            assert client.read_to_end() == (b"", FIN)
        waiting = [stack.enter_context(fleet[node].connect(tls=False)) for node in "ab"]
        for client in waiting:
            client.send(b"l LOGIN u pw\r\n")
        assert strict.join() == mover.LOST
        for client in waiting:
            for _ in range(3):
                assert client.read_line().startswith(b"* OK Still waiting")
        fleet.begin_redis()
        if data == "lost":
            fleet.route("u", "FB1")
        for client in waiting:
            assert client.read_until("l", timeout=20)[-1].startswith(b"l OK")
            assert fleet.home(client) == "FB1"
    fleet.wait_for_nodes("a", "b")
    assert_moves(fleet, account)


def test_redis_restarts_under_movers(start_fleet, account):
    """Again and again, while users move and clients come: moves succeed or stop."""
    fleet = start_fleet(redis_options=DURABLE)
    users = [f"r{number}" for number in range(5)]
    for user in users:
        fleet.route(user, "FB1")
    stopped = threading.Event()
    outcomes = []

    def move_on(user):
        target = "FB2"
        while not stopped.is_set():
            with contextlib.suppress(OSError):
                outcomes.append(Mover(fleet.redis.port, user, target, ttl_ms=600).run())
                target = "FB1" if target == "FB2" else "FB2"
            time.sleep(0.05)

    movers = [threading.Thread(target=move_on, args=(user,)) for user in users]
    with Regulars(gateposts(fleet), users, tls=False, rest=0.05) as regulars:
        regulars.wait_for_logins()
        for thread in movers:
            thread.start()
        for _ in range(3):
            time.sleep(0.7)
            fleet.restart_redis()
        stopped.set()
        for thread in movers:
            thread.join()
        fleet.wait_for_nodes("a", "b")
        regulars.wait_for_logins()
    print(f"{regulars}; moves came to "
          f"{ {outcome: outcomes.count(outcome) for outcome in set(outcomes)} }")
    assert outcomes.count(mover.MOVED) > 0 and not account.overlaps
    for user in users:
        wait_until(lambda: not fleet.client.command("EXISTS", f"gatepost:hold:{user}"))
        assert_moves(fleet, account, user)


def test_outage_of_redis(start_fleet, account):
    """Sessions live on, and who is known comes in by the last route that was known. What has
    changed meanwhile ends the sessions that are at the wrong place, as soon as Redis is back."""
    fleet = start_fleet()
    for user in ("stays", "moves", "late"):
        fleet.route(user, "FB1")
    with contextlib.ExitStack() as stack:
        live = {(node, user): stack.enter_context(fleet.session(node, user))
                for node in "ab" for user in ("stays", "moves")}
        fleet.redis.kill()
        for node in "ab":
            wait_until(lambda: "Redis is not usable" in fleet[node].log(), what="outage")
            live[node, "again"] = stack.enter_context(fleet.session(node, "moves", backend="FB1"))
            assert fleet.login_status(node, "late") == "[UNAVAILABLE]"
        for client in live.values():
            client.assert_usable()
        fleet.begin_redis()
        for user, backend in (("stays", "FB1"), ("moves", "FB2"), ("late", "FB2")):
            fleet.route(user, backend)
        started = time.monotonic()
        for (_, user), client in live.items():
            if user != "stays":
                assert client.read_to_end(timeout=20) == (b"", FIN)
        print(f"sessions at the wrong place ended {time.monotonic() - started:.3f} s after the "
              "restart")
        for node in "ab":
            live[node, "stays"].expect_silence(0.5)
            live[node, "stays"].assert_usable()
            wait_until(lambda: accepted(fleet, node, "late"), what="login")
            for user in ("moves", "late"):
                stack.enter_context(fleet.session(node, user, backend="FB2"))
    fleet.wait_for_nodes("a", "b")
    assert_moves(fleet, account, "late")


def test_redis_hangs_in_the_middle_of_a_move(fleet, account):
    """It answers nobody for longer than the hold lasts; then the mover, which had heard from
    everybody, must not write the route."""
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(fleet.session(node, "u")) for node in "ab"]
        strict = begin(fleet, ttl_ms=500, renews=False,
                       at={"confirmed": lambda _: fleet.redis.process.send_signal(signal.SIGSTOP)})
        try:
            wait_for_step(strict, "confirmed")
            waiting = [stack.enter_context(fleet[node].connect(tls=False)) for node in "ab"]
            for client in waiting:
                client.send(b"l LOGIN u pw\r\n")
                assert client.read_line().startswith(b"* OK Still waiting")
            time.sleep(1.2)
        finally:
            fleet.redis.process.send_signal(signal.SIGCONT)
        assert strict.join() == mover.LOST and fleet.routed("u") == "FB1"
        for client in waiting:
            assert client.read_until("l", timeout=20)[-1].startswith(b"l OK")
            assert fleet.home(client) == "FB1"
        for client in sessions:
            client.read_to_end()
    fleet.wait_for_nodes("a", "b")
    assert_moves(fleet, account)


# --- The network ---


@pytest.fixture
def cabled(start_fleet):
    """Proxy b reaches Redis by a cable of its own."""
    made = start_fleet(count=1)
    for user in ("u", "other"):
        made.route(user, "FB1")
    with Cable(made.redis.port) as cable:
        made.cable = cable
        made.start("b", redis_port=cable.port)
        made.wait_for_nodes("a", "b")
        yield made
        cable.mend()


@pytest.mark.parametrize("how", ["cut", "clog"])
def test_proxy_that_is_cut_off(cabled, account, how):
    """Its sessions go on, and who is known comes in by the last known route; a move waits for it.
    When it hears of the hold its sessions end, and all goes on."""
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(cabled.session("b", "u"))
        stack.enter_context(cabled.session("b", "other"))
        getattr(cabled.cable, how)()
        strict = begin(cabled)
        wait_until(lambda: strict.missing == ["b"], what="the word of a alone")
        if how == "cut":
            cabled["b"].wait_for_log("Redis is not usable")
        late = stack.enter_context(cabled.session("b", "u", backend="FB1"))
        waiting = stack.enter_context(cabled["a"].connect(tls=False))
        waiting.send(b"l LOGIN u pw\r\n")
        for _ in range(3):
            assert waiting.read_line().startswith(b"* OK Still waiting")
        session.assert_usable()
        stack.enter_context(cabled.session("b", "other", backend="FB1"))
        assert strict.outcome is None and set(cabled.nodes) == {"a", "b"}
        cabled.cable.mend()
        for client in (session, late):
            assert client.read_to_end(timeout=20) == (b"", FIN)
        assert strict.join() == mover.MOVED
        assert waiting.read_until("l")[-1].startswith(b"l OK")
        assert cabled.home(waiting) == "FB2"
    assert_moves(cabled, account)


def test_proxy_that_was_cut_off_during_a_plain_set(cabled):
    """What changed meanwhile ends the sessions at the wrong place."""
    with cabled.session("b", "u") as moved, cabled.session("b", "other") as stays:
        cabled.cable.cut()
        cabled["b"].wait_for_log("Redis is not usable")
        cabled.route("u", "FB2")
        moved.expect_silence(0.7)
        moved.assert_usable()
        cabled.cable.mend()
        assert moved.read_to_end(timeout=20) == (b"", FIN)
        stays.assert_usable()


def test_flapping_cable(cabled, account):
    """It is cut and mended all the time, while users move and clients come; nobody is on both."""
    users = [f"f{number}" for number in range(5)]
    for user in users:
        cabled.route(user, "FB1")
    stopped = threading.Event()

    def flap():
        while not stopped.wait(0.1):
            cabled.cable.cut()
            stopped.wait(0.05)
            cabled.cable.mend()

    flapper = threading.Thread(target=flap)
    with Regulars(gateposts(cabled), users, tls=False, rest=0.02) as regulars:
        regulars.wait_for_logins()
        flapper.start()
        for target in ("FB2", "FB1", "FB2", "FB1"):
            movers = [begin(cabled, user, target, ttl_ms=1000) for user in users]
            assert {strict.join() for strict in movers} == {mover.MOVED}
        stopped.set()
        flapper.join()
        regulars.wait_for_logins()
    print(f"20 moves with a flapping cable: {regulars}")
    assert not account.overlaps


def test_flushed_redis(fleet, account):
    """FLUSHALL takes registrations and holds with it: both come back, or end."""
    fleet.hold("u")
    fleet.wait_for_confirmations("u", "a", "b")
    with fleet["a"].connect(tls=False) as waiting:
        waiting.send(b"l LOGIN u pw\r\n")
        assert waiting.read_line().startswith(b"* OK")
        fleet.client.command("MULTI")
        fleet.client.command("FLUSHALL")
        fleet.client.command("SET", "gatepost:route:u", "FB2")
        fleet.client.command("EXEC")
        assert waiting.read_until("l")[-1].startswith(b"l OK")
        assert fleet.home(waiting) == "FB2"
    fleet.wait_for_nodes("a", "b")
    assert_moves(fleet, account)


# --- Proxies ---


def test_proxy_is_killed_during_a_hold(fleet, account):
    """Its word is waited for, since nobody knows what it does. Who deletes its registration says
    that it is gone."""
    with fleet.session("b", "u") as client:
        fleet["a"].signal(signal.SIGSTOP)
        strict = begin(fleet)
        wait_until(lambda: strict.missing == ["a"], what="the word of b alone")
        fleet["a"].signal(signal.SIGKILL)
        fleet["a"].process.wait()
        assert client.read_to_end() == (b"", FIN)
        time.sleep(0.5)
        assert strict.outcome is None and strict.missing == ["a"]
        assert set(fleet.nodes) == {"a", "b"}
        fleet.client.command("DEL", "gatepost:node:a")
        assert strict.join() == mover.MOVED
    fleet.forget("a")
    with fleet.session("b", "u", backend="FB2"):
        pass
    assert_moves(fleet, account)


def test_killed_proxy_takes_its_place_again(fleet, account):
    """Restarted with the same name it speaks for itself: the move that waits for it goes on."""
    old = fleet.nodes["a"]["incarnation"]
    with fleet.session("a", "u") as client:
        fleet["a"].signal(signal.SIGKILL)
        assert client.read_to_end()[0] == b""
    fleet["a"].process.wait()
    strict = begin(fleet)
    wait_until(lambda: strict.missing == ["a"], what="the word of b alone")
    fleet.forget("a")
    fleet.start("a")
    assert strict.join() == mover.MOVED
    assert set(fleet.nodes) == {"a", "b"} and fleet.nodes["a"]["incarnation"] != old
    assert_moves(fleet, account)


def test_stopped_proxy_is_waited_for(fleet, account):
    """It still has a session, of which it could not tell."""
    with fleet.session("a", "u") as client:
        fleet["a"].signal(signal.SIGSTOP)
        try:
            strict = begin(fleet)
            wait_until(lambda: strict.missing == ["a"], what="the word of b alone")
            with fleet["b"].connect(tls=False) as waiting:
                waiting.send(b"l LOGIN u pw\r\n")
                for _ in range(5):
                    assert waiting.read_line().startswith(b"* OK Still waiting")
                assert account.on("FB1", "u") == 1 and strict.outcome is None
                fleet["a"].signal(signal.SIGCONT)
                assert client.read_to_end() == (b"", FIN)
                assert strict.join() == mover.MOVED
                assert waiting.read_until("l")[-1].startswith(b"l OK")
                assert fleet.home(waiting) == "FB2"
        finally:
            fleet["a"].signal(signal.SIGCONT)
    assert_moves(fleet, account)


def test_stopped_proxy_wakes_after_the_move(fleet, account):
    """The operator was wrong to forget it: at least it does no harm to who comes after. Its session
    ends, and it registers again."""
    with fleet.session("a", "u") as client:
        fleet["a"].signal(signal.SIGSTOP)
        try:
            strict = begin(fleet)
            wait_until(lambda: strict.missing == ["a"], what="the word of b alone")
            fleet.client.command("DEL", "gatepost:node:a")
            assert strict.join() == mover.MOVED
        finally:
            fleet["a"].signal(signal.SIGCONT)
        assert client.read_to_end(timeout=10) == (b"", FIN)
    fleet.wait_for_nodes("a", "b")
    wait_until(lambda: account.on("FB1", "u") == 0)
    account.forget()
    assert_moves(fleet, account)


def test_clean_end_takes_the_registration_back(fleet, account):
    """After the last session, and not before."""
    with fleet.session("a", "u") as client:
        fleet["a"].signal(signal.SIGTERM)
        fleet["a"].wait_for_log("draining")
        time.sleep(0.3)
        assert set(fleet.nodes) == {"a", "b"}
        client.assert_usable()
        strict = begin(fleet)
        assert client.read_to_end() == (b"", FIN)
    assert strict.join() == mover.MOVED
    assert fleet["a"].wait() == 0
    assert set(fleet.nodes) == {"b"}
    fleet.forget("a")
    assert_moves(fleet, account)


def test_registration(fleet):
    """What people see of a proxy."""
    for node in "ab":
        fields = fleet.nodes[node]
        assert int(fields["pid"]) == fleet[node].pid
        assert abs(int(fields["last_seen"]) - time.time()) < 60
        assert {"incarnation", "address", "version", "started", "sessions"} <= set(fields)
        assert fleet.client.command("PTTL", f"gatepost:node:{node}") == -1


def test_two_processes_of_one_name(fleet, account):
    """The one that came later has it; the first one finds out, and goes by another name, so that
    the word of one is not taken for that of the other."""
    first = fleet.nodes["a"]["incarnation"]
    with fleet.session("a", "u") as client:
        fleet.start("a", name="second")
        fleet.wait_for_nodes("a", "b", f"a~{first}")
        assert fleet.nodes["a"]["incarnation"] != first
        assert fleet.nodes[f"a~{first}"]["incarnation"] == first
        client.assert_usable()
        with Regulars(gateposts(fleet), ["u"]) as regulars:
            regulars.wait_for_logins()
            assert_moves(fleet, account)
            regulars.wait_for_logins()
        assert client.read_to_end()[0] == b"" and not regulars.failures
    fleet["second"].stop()
    wait_until(lambda: set(fleet.nodes) == {"b", f"a~{first}"}, what="registrations")
    fleet.forget("second")


def test_word_of_a_namesake_does_not_count(fleet, account, slow_end):
    """The first one wakes, and hears of the hold and of its name at the same time; the other, which
    has the name now, has still a session."""
    first = fleet.nodes["a"]["incarnation"]
    fleet["a"].signal(signal.SIGSTOP)
    try:
        fleet.start("a", name="second")
        wait_until(lambda: fleet.nodes["a"]["incarnation"] != first, what="second a")
        with fleet.session("second", "u"):
            fleet.hold("u")
            fleet.wait_for_confirmations("u", "b")
    finally:
        fleet["a"].signal(signal.SIGCONT)
    fleet.wait_for_confirmations("u", "b", f"a~{first}")
    assert account.on("FB1", "u") == 1
    slow_end.set()
    fleet.wait_for_confirmations("u", "a", "b", f"a~{first}")
    fleet.release("u")
    assert_moves(fleet, account)


def test_registration_that_somebody_deleted(fleet, account):
    """While the process is alive it is there again, before anything is built on its absence."""
    with fleet.session("a", "u"):
        fleet.client.command("DEL", "gatepost:node:a")
        fleet.wait_for_nodes("a", "b")
    assert_moves(fleet, account)
