# SPDX-License-Identifier: Apache-2.0
"""Strict moves over a fleet: by a small mover, with clients that log in all the time. No login
fails, and no user is on two backends at once, as the backends have it."""

import contextlib
import re
import shutil
import threading
import time

import pytest

import mover
from backend import serve_commands
from dovecot import Dovecot
from fleet import Account, Fleet, Regulars, make_backends
from mover import Mover
from servers import short_folder, wait_until

GRACE = {"kick_grace": "200ms", "hold_line": "100ms"}


@pytest.fixture(scope="module")
def account():
    return Account()


@pytest.fixture(scope="module")
def backends(account):
    made = make_backends(account, "FB1", "FB2")
    yield made
    for backend in made.values():
        backend.close()


@pytest.fixture(scope="module")
def fleet(certificates, backends):
    made = Fleet(certificates, backends, moves=GRACE)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def strict(account, backends):
    """Whatever a test does, nobody was on two backends."""
    for backend in backends.values():
        backend.session = serve_commands
    account.forget()
    yield
    for backend in backends.values():
        backend.assert_no_faults()
    assert not account.overlaps


def gateposts(fleet):
    return list(fleet.proxies.values())


def move(fleet, user, target, **options):
    return Mover(fleet.redis.port, user, target, **options).run()


def middle(numbers):
    return sorted(numbers)[len(numbers) // 2]


def stay(imap, stopped):
    """A client that does little, and does not leave by itself."""
    while not stopped.wait(0.4):
        imap.noop()


def linger(connection):
    """As servers do that write their indexes: the end takes a while after the proxy's."""
    try:
        serve_commands(connection)
    finally:
        time.sleep(0.05)


def test_the_account_would_see_it(fleet, account):
    """A plain SET, with a session that is not quiet: it is on both for a moment."""
    fleet.route("both", "FB1")
    with fleet.session("a", "both") as busy:
        fleet.route("both", "FB2")
        busy.send(b"n NOOP\r\n")
        with fleet.session("b", "both", backend="FB2"):
            assert account.overlaps == [("both", "FB1", "FB2")]
    account.forget()


def test_back_and_forth(fleet, account, backends):
    """One user, 20 times."""
    for backend in backends.values():
        backend.session = linger
    fleet.route("mover", "FB1")
    took = []
    with Regulars(gateposts(fleet), ["mover"], each=2) as visitors, \
            Regulars(gateposts(fleet), ["mover"], work=stay) as stayers:
        stayers.wait_for_logins(since=[0, 0])
        for number in range(20):
            before = stayers.count_logins()
            strict = Mover(fleet.redis.port, "mover", ("FB2", "FB1")[number % 2])
            assert strict.run() == mover.MOVED
            took.append(strict.seconds)
            visitors.wait_for_logins()
            stayers.wait_for_logins(since=before)
    assert not visitors.failures and not stayers.failures and not account.overlaps
    print(f"20 moves: {visitors}; those who stay: {stayers}; a move took {middle(took):.3f} s "
          f"(median), {max(took):.3f} s at most")


def test_fifty_users_at_once(fleet, account):
    users = [f"many{number}" for number in range(50)]
    for user in users:
        fleet.route(user, "FB1")
    with Regulars(gateposts(fleet), users, tls=False, rest=0.1) as regulars:
        regulars.wait_for_logins()
        for target in ("FB2", "FB1"):
            movers = [Mover(fleet.redis.port, user, target).start() for user in users]
            assert {strict.join() for strict in movers} == {mover.MOVED}
            regulars.wait_for_logins()
    assert not regulars.failures and not account.overlaps
    took = [strict.seconds for strict in movers]
    print(f"50 users, twice: {regulars}; a move took {middle(took):.3f} s (median), "
          f"{max(took):.3f} s at most")


def test_three_proxies(certificates, backends, account):
    """One more registers in the middle of a move, and is waited for."""
    fleet = Fleet(certificates, backends, moves=GRACE)
    try:
        fleet.route("u", "FB1")
        with Regulars(gateposts(fleet), ["u"]) as regulars:
            regulars.wait_for_logins()
            fleet.hold("u")
            fleet.wait_for_confirmations("u", "a", "b")
            fleet.start("c")
            with fleet["c"].connect(tls=False) as client:
                client.send(b"l LOGIN u pw\r\n")
                assert client.read_line().startswith(b"* OK")
                fleet.wait_for_confirmations("u", "a", "b", "c")
                assert not account.on("FB1") and not account.on("FB2")
                fleet.release("u")
                assert client.read_until("l")[-1].startswith(b"l OK")
        with Regulars(gateposts(fleet), ["u"]) as three:
            for target in ("FB2", "FB1"):
                three.wait_for_logins()
                strict = Mover(fleet.redis.port, "u", target)
                assert strict.run() == mover.MOVED
        assert not regulars.failures and not three.failures and not account.overlaps
    finally:
        fleet.stop()


# --- Movers that fail ---


@pytest.mark.parametrize("step", ["hold", "nodes", "confirmed", "flipped"])
def test_mover_dies(fleet, account, step):
    """The TTL frees the user, who lives where the route says; and the next move succeeds."""
    user = f"orphan-{step}"
    fleet.route(user, "FB1")
    with Regulars(gateposts(fleet), [user]) as regulars:
        regulars.wait_for_logins()
        assert move(fleet, user, "FB2", ttl_ms=800, at={step: Mover.die}) == mover.DIED
        regulars.wait_for_logins()
        assert fleet.routed(user) == ("FB2" if step == "flipped" else "FB1")
        assert account.on("FB1" if step == "flipped" else "FB2", user) == 0
        assert move(fleet, user, "FB2") == mover.MOVED
        regulars.wait_for_logins()
    assert not regulars.failures and not account.overlaps


def test_mover_falls_asleep(fleet, account):
    """Everybody had confirmed, but its hold runs out meanwhile, and clients are in again: it must
    not write the route."""
    user = "sleeper"
    fleet.route(user, "FB1")
    with Regulars(gateposts(fleet), [user]) as regulars:
        regulars.wait_for_logins()
        strict = Mover(fleet.redis.port, user, "FB2", ttl_ms=500, renews=False,
                       at={"confirmed": lambda strict: strict.sleep(1.5)})
        assert strict.run() == mover.LOST
        assert fleet.routed(user) == "FB1"
        regulars.wait_for_logins()
    assert not regulars.failures and not account.overlaps


def test_slow_mover_keeps_its_lease(fleet, account):
    user = "slow"
    fleet.route(user, "FB1")
    with Regulars(gateposts(fleet), [user]) as regulars:
        regulars.wait_for_logins()
        strict = Mover(fleet.redis.port, user, "FB2", ttl_ms=500,
                       at={step: lambda _: time.sleep(0.6) for step in ("nodes", "confirmed")})
        assert strict.run() == mover.MOVED
        regulars.wait_for_logins()
    assert not regulars.failures and not account.overlaps


def test_two_movers(fleet, account):
    """To different backends, at the same time, again and again: one of them is told to wait, and
    the route is that of the last one who moved."""
    user = "wanted"
    fleet.route(user, "FB1")
    outcomes = []
    with Regulars(gateposts(fleet), [user]) as regulars:
        for _ in range(5):
            regulars.wait_for_logins()
            pair = [Mover(fleet.redis.port, user, target).start() for target in ("FB1", "FB2")]
            outcomes += [strict.join() for strict in pair]
            moved = [strict for strict in pair if strict.outcome == mover.MOVED]
            last = max(moved, key=lambda strict: strict.times["flipped"])
            assert fleet.routed(user) == last.target
    assert set(outcomes) <= {mover.MOVED, mover.BUSY} and mover.MOVED in outcomes
    assert not regulars.failures and not account.overlaps


def test_second_mover_after_a_sleeper(fleet, account):
    """One falls asleep after all have confirmed, another one moves the user meanwhile; what the
    first one knows is worth nothing then."""
    user = "twice"
    fleet.route(user, "FB1")
    with Regulars(gateposts(fleet), [user]) as regulars:
        regulars.wait_for_logins()
        asleep, moved = threading.Event(), threading.Event()

        def doze(strict):
            asleep.set()
            moved.wait(20)
            strict.sleep(0)

        first = Mover(fleet.redis.port, user, "FB1", ttl_ms=500, renews=False,
                      at={"confirmed": doze}).start()
        assert asleep.wait(10)
        regulars.wait_for_logins()
        assert move(fleet, user, "FB2") == mover.MOVED
        moved.set()
        assert first.join() == mover.LOST
        assert fleet.routed(user) == "FB2"
        regulars.wait_for_logins()
    assert not regulars.failures and not account.overlaps


# --- Real servers ---


@pytest.fixture(scope="module")
def common_log():
    """Of two Dovecots, so that the order of its lines is that of what happened."""
    folder = short_folder("log")
    folder.chmod(0o777)
    path = folder / "dovecot.log"
    path.touch()
    path.chmod(0o666)
    yield path
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def dovecots(common_log):
    """Two that write one log, each line with the server's name."""
    class Logging(Dovecot):
        def _further_config(self):
            return (f"\nlog_path = {common_log}\nlogin_log_format = %$: %s {self.name}\n"
                    f"mail_log_prefix = \"%s(%u)<%p> {self.name}: \"\n")

    made = {name: Logging(name) for name in ("mail1", "mail2")}
    yield made
    for server in made.values():
        server.remove()


class Mailer:
    """Appends messages that are all different, and knows which of them were accepted."""

    def __init__(self):
        self.lock = threading.Lock()
        self.count = 0
        self.accepted = set()

    def __call__(self, imap, _):
        for _ in range(2):
            with self.lock:
                self.count += 1
                name = f"message-{self.count:05}"
            text = f"Subject: {name}\r\n\r\n{name}\r\n".encode()
            if imap.append("INBOX", None, None, text)[0] == "OK":
                self.accepted.add(name)
            time.sleep(0.02)


def carry(user, dovecots, old, new):
    """The mailbox itself, while nobody has it open."""
    def step(_):
        shutil.move(dovecots[old].mail / user, dovecots[new].mail / user)
    return step


def sessions_of(log, user):
    """Begins and ends in the order of the log: (+1 or -1, server, the line)."""
    events = []
    for line in log.read_text().splitlines():
        if f"Login: user=<{user}>" in line:
            events.append((1, re.search(r"(mail\d)$", line)[1], line))
        elif re.search(rf"imap\({user}\).* (Logged out|Connection closed|Disconnected)", line):
            events.append((-1, re.search(r"(mail\d): ", line)[1], line))
    return events


def test_real_mailboxes(certificates, dovecots, common_log):
    """The mailbox is carried from one Dovecot to the other, back and forth, while clients append to
    it: nobody has it open on both, and every message that was accepted is there once."""
    addresses = {name: server.address for name, server in dovecots.items()}
    fleet = Fleet(certificates, addresses, moves=GRACE)
    mailers = Mailer()
    try:
        dovecots["mail1"].seed("real")
        fleet.route("real", "mail1")
        took = []
        with Regulars(gateposts(fleet), ["real"], work=mailers) as visitors, \
                Regulars(gateposts(fleet), ["real"], work=stay) as stayers:
            stayers.wait_for_logins(since=[0, 0])
            for old, new in (("mail1", "mail2"), ("mail2", "mail1")) * 5:
                before = stayers.count_logins()
                strict = Mover(fleet.redis.port, "real", new,
                               at={"confirmed": carry("real", dovecots, old, new)})
                assert strict.run() == mover.MOVED
                took.append(strict.seconds)
                visitors.wait_for_logins()
                stayers.wait_for_logins(since=before)
    finally:
        fleet.stop()
    assert not visitors.failures and not stayers.failures
    check_log(common_log)
    stored = [re.search(rb"Subject: (\S+)", text)[1].decode()
              for text in dovecots["mail1"].messages("real") if b"message-" in text]
    assert mailers.accepted <= set(stored) and len(stored) == len(set(stored))
    assert not (dovecots["mail2"].mail / "real").exists()
    print(f"10 moves between Dovecots: {visitors}; those who stay: {stayers}; a move took "
          f"{middle(took):.3f} s (median), {max(took):.3f} s at most; {len(stored)} messages")


def check_log(common_log):
    """Zero moments with sessions on both, and nobody left."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: sum(step for step, _, _ in sessions_of(common_log, "real")) == 0)
    inside = {"mail1": 0, "mail2": 0}
    for step, server, line in sessions_of(common_log, "real"):
        inside[server] += step
        assert 0 in inside.values(), f"on both: {line}"
    assert inside == {"mail1": 0, "mail2": 0}, common_log.read_text()
