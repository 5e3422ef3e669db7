# SPDX-License-Identifier: Apache-2.0
"""A small mover: the operator's half of a strict move, as docs/moves.md tells it. It may die at
any step, be slow, or fall asleep over it; several may be at work at once."""

import secrets
import threading
import time

from redis_client import RedisClient, RedisError

# What a move may come to.
MOVED = "moved"
BUSY = "busy"  # somebody else has the user on hold
LOST = "lost"  # the hold was gone, or Redis was, before the route was written
LATE = "late"  # somebody did not confirm in time
DIED = "died"

# Its steps, each told when it is done.
STEPS = ("hold", "nodes", "confirmed", "flipped", "released")

RENEW = """if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2]) return 1"""

# The proxies that are registered, and have not confirmed the hold.
MISSING = """local missing = {}
for _, key in ipairs(redis.call('KEYS', 'gatepost:node:*')) do
	local name = string.sub(key, #'gatepost:node:' + 1)
	if redis.call('HGET', KEYS[1], name) ~= ARGV[1] then table.insert(missing, name) end
end
return missing"""

FLIP = """if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2]) return 1"""

RELEASE = """if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2]) return 1"""


class Stop(Exception):
    """The move ends here, and comes to `outcome`."""

    def __init__(self, outcome):
        super().__init__(outcome)
        self.outcome = outcome


class Mover:
    """One move of one user. `at` maps steps to functions that are called when they are done, with
    the mover: one may die(). With `renews` the hold is a lease that is renewed; one that sleeps()
    does not renew it."""

    def __init__(self, port, user, target, ttl_ms=3000, at=None, patience=20, renews=True):
        self.port, self.user, self.target = port, user, target
        self.ttl_ms, self.at, self.patience, self.renews = ttl_ms, at or {}, patience, renews
        self.epoch = secrets.token_hex(8)
        self.outcome = None
        self.missing = None  # who had not confirmed when it was last asked
        self.seconds = None
        self.times = {}
        self._hold_key = f"gatepost:hold:{user}"
        self._move_key = f"gatepost:move:{user}"
        self._ended = threading.Event()
        self._awake = threading.Event()
        self._awake.set()
        self._thread = None

    # --- the steps ---

    def run(self):
        """The whole move; what it came to."""
        started = time.monotonic()
        try:
            with RedisClient(self.port) as redis:
                self._move(redis)
            self.outcome = MOVED
        except Stop as stop:
            self.outcome = stop.outcome
        except (OSError, RedisError):
            self.outcome = LOST
        finally:
            self._ended.set()
            self.seconds = time.monotonic() - started
        return self.outcome

    def _move(self, redis):
        said = redis.command("SET", self._hold_key, self.epoch, "NX", "PX", self.ttl_ms)
        if said != "OK":
            raise Stop(BUSY)
        if self.renews:
            threading.Thread(target=self._renew, daemon=True).start()
        self._done("hold")
        self._wait_for_all(redis)
        self._done("confirmed")
        if not redis.script(FLIP, [self._hold_key, f"gatepost:route:{self.user}"], self.epoch,
                            self.target):
            raise Stop(LOST)
        self._done("flipped")
        redis.script(RELEASE, [self._hold_key, self._move_key], self.epoch)
        self._done("released")

    def _wait_for_all(self, redis):
        """Who registers meanwhile is waited for as well, who is taken back is not."""
        deadline = time.monotonic() + self.patience
        while True:
            self.missing = redis.script(MISSING, [self._move_key], self.epoch)
            if "nodes" not in self.times:
                self._done("nodes")
            if not self.missing:
                return
            if redis.command("GET", self._hold_key) != self.epoch:
                raise Stop(LOST)
            if time.monotonic() > deadline:
                redis.script(RELEASE, [self._hold_key, self._move_key], self.epoch)
                raise Stop(LATE)
            time.sleep(0.01)

    def _done(self, step):
        assert step in STEPS
        self.times[step] = time.monotonic()
        if step in self.at:
            self.at[step](self)

    def _renew(self):
        """A lease: whoever dies, or sleeps, loses it."""
        try:
            with RedisClient(self.port) as redis:
                while not self._ended.wait(self.ttl_ms / 3000):
                    self._awake.wait()
                    redis.script(RENEW, [self._hold_key], self.epoch, self.ttl_ms)
        except (OSError, RedisError):
            pass  # the move itself finds out

    # --- what `at` may do ---

    def die(self):
        raise Stop(DIED)

    def sleep(self, seconds):
        """As a process that is stopped for a while: nothing is renewed meanwhile."""
        self._awake.clear()
        time.sleep(seconds)
        self._awake.set()

    # --- beside others ---

    def start(self):
        """Runs in a thread of its own."""
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()
        return self

    def join(self, seconds=30):
        """What it came to."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"{self.user}: waits for {self.missing}"
        return self.outcome
