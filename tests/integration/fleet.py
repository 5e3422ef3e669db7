# SPDX-License-Identifier: Apache-2.0
"""Several gateposts with one real Redis; backends that keep account of who is in, by one clock; and
clients that log in all the time."""

import collections
import contextlib
import imaplib
import itertools
import socket
import threading
import time

from backend import FakeBackend
from client import make_context
from proxy import Gatepost, make_sections
from redis_client import RedisClient
from redis_servers import PLAIN, RedisProcess
from servers import wait_until

# For tests of what survives a restart: every write is on the disk before it is answered.
DURABLE = ['save ""', "appendonly yes", "appendfsync always"]


class Account:
    """Sessions as the backends have them: each from before its OK to before its close."""

    def __init__(self):
        self._lock = threading.Lock()
        self._open = {}
        self.begins = collections.defaultdict(list)  # user: (when, backend)
        self.ends = collections.defaultdict(list)
        self.overlaps = []  # (user, backend, the other backend)

    def begin(self, connection, user, backend):
        user = user.decode()
        with self._lock:
            others = {name for who, name in self._open.values() if who == user} - {backend}
            self.overlaps += [(user, name, backend) for name in others]
            self._open[connection] = (user, backend)
            self.begins[user].append((time.monotonic(), backend))

    def end(self, connection):
        with self._lock:
            user, backend = self._open.pop(connection, (None, None))
            if user:
                self.ends[user].append((time.monotonic(), backend))

    def on(self, backend, user=None):
        """How many sessions are open on a backend."""
        with self._lock:
            return sum(name == backend and user in (None, who)
                       for who, name in self._open.values())

    def last_end(self, user, backend):
        """0 where none has ended."""
        with self._lock:
            return max([when for when, name in self.ends[user] if name == backend], default=0)

    def forget(self):
        with self._lock:
            self.begins.clear()
            self.ends.clear()
            self.overlaps = []


def make_backends(account, *names, **manners):
    """Scripted backends by name that keep one account."""
    return {name: FakeBackend(name, account=account, **manners) for name in names}


class Fleet:
    """`count` gateposts, called "a", "b", "c", ..., and their Redis. `backends` are FakeBackends,
    addresses or options by name; `changes` are make_sections's."""

    def __init__(self, certificates, backends, count=2, redis_options=None, **changes):
        self.certificates = certificates
        self.backends = backends
        self.changes = {"moves": {}, "redis": {}, **changes}
        self.changes["moves"] = {"release_spread": "100ms", **self.changes["moves"]}
        self.redis = RedisProcess(redis_options or PLAIN)
        self.client = RedisClient(self.redis.port)
        self.proxies = {}
        for index in range(count):
            self.start("abcdef"[index])
        self.wait_for_nodes(*self.proxies)

    # --- proxies ---

    def start(self, node, name=None, backends=None, redis_port=None):
        """Another process that registers as `node`; `name` is what the fleet calls it, `backends`
        are its own, and so is the port by which it reaches Redis."""
        changes = dict(self.changes)
        changes["process"] = {"node": node, **changes.get("process", {})}
        url = f"redis://127.0.0.1:{redis_port or self.redis.port}/0"
        changes["redis"] = {"url": url, **changes["redis"]}
        addresses = {name: getattr(backend, "address", backend)
                     for name, backend in (backends or self.backends).items()}
        sections = make_sections(self.certificates, addresses, **changes)
        sections["routing"]["source"] = "redis"
        self.proxies[name or node] = Gatepost(self.certificates, sections)
        return self.proxies[name or node]

    def __getitem__(self, node):
        return self.proxies[node]

    def forget(self, node):
        """One that has ended already, whatever way."""
        self.proxies.pop(node).kill()

    def stop(self):
        """All gateposts as an operator would, at the same time, then Redis."""
        faults = []

        def end(gatepost):
            try:
                gatepost.stop()
            except Exception as fault:  # the others must end too
                faults.append(str(fault))

        threads = [threading.Thread(target=end, args=(gatepost,))
                   for gatepost in self.proxies.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.client.close()
        self.redis.remove()
        assert not faults, "\n".join(faults)

    # --- Redis ---

    def restart_redis(self, kill=True):
        """Ends it, and starts it again; without DURABLE it is empty then."""
        if kill:
            self.redis.kill()
        else:
            self.redis.stop()
        self.begin_redis()

    def begin_redis(self):
        self.redis.start()
        self.client.close()
        self.client = RedisClient(self.redis.port)
        wait_until(self._serves, what="Redis that has read its data")

    def _serves(self):
        try:
            return self.client.command("PING") == "PONG"
        except Exception:  # LOADING
            return False

    def route(self, user, backend):
        self.client.command("SET", f"gatepost:route:{user}", backend)

    def routed(self, user):
        return self.client.command("GET", f"gatepost:route:{user}")

    def hold(self, user, epoch="e1", ttl_ms=30000):
        said = self.client.command("SET", f"gatepost:hold:{user}", epoch, "NX", "PX", ttl_ms)
        assert said == "OK", said

    def release(self, user):
        self.client.command("DEL", f"gatepost:hold:{user}")

    def confirmations(self, user):
        return self.client.hash(f"gatepost:move:{user}")

    def wait_for_confirmations(self, user, *nodes, epoch="e1", seconds=10):
        wait_until(lambda: self.confirmations(user) == {node: epoch for node in nodes}, seconds,
                   f"confirmations by {nodes}")

    @property
    def nodes(self):
        """The registrations, by name."""
        keys = self.client.command("KEYS", "gatepost:node:*")
        return {key.removeprefix("gatepost:node:"): self.client.hash(key) for key in keys}

    def wait_for_nodes(self, *names, seconds=10):
        wait_until(lambda: set(self.nodes) == set(names), seconds, f"nodes {names}")

    # --- clients ---

    def session(self, node, user, tls=False, backend=None):
        """A client with a session."""
        client = self.proxies[node].connect(tls=tls)
        client.login(user)
        if backend:
            assert self.home(client) == backend
        return client

    @staticmethod
    def home(client):
        """The scripted backend that a session is on."""
        line = client.command("h", "NOOP")[-1]
        assert b" by " in line, line
        return line.split(b" by ")[1].strip().decode()

    def login_status(self, node, user, **options):
        """What a login comes to: "OK", or the code of its NO."""
        with self.proxies[node].connect(tls=False, **options) as client:
            words = client.command("l", f"LOGIN {user} pw")[-1].split()
            return words[1].decode() if words[1] == b"OK" else words[2].decode()


class Cable:
    """A way to a port of 127.0.0.1 that can be cut, or clogged, and mended."""

    def __init__(self, to):
        self.to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._flows, self._whole = threading.Event(), True
        self._flows.set()
        self._sockets = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                if self._listener.fileno() < 0:
                    return
                near.close()
                continue
            with self._lock:
                if not self._whole:
                    near.close()
                    far.close()
                    continue
                self._sockets |= {near, far}
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source, target):
        try:
            while data := source.recv(65536):
                self._flows.wait()
                target.sendall(data)
        except OSError:
            pass
        self._drop(source, target)

    def _drop(self, *sockets):
        for end in sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._sockets.discard(end)

    def cut(self):
        """What is connected is not any more, and nothing new will be."""
        with self._lock:
            self._whole = False
            self._drop(*self._sockets)

    def clog(self):
        """Connections stay, but nothing comes through."""
        self._flows.clear()

    def mend(self):
        with self._lock:
            self._whole = True
        self._flows.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._flows.set()


class Regular(threading.Thread):
    """A client that logs in, does a little, leaves, and comes again, until it is stopped. A session
    that is cut is nothing; a login that is not accepted is a failure. `work` is called with the
    connection while there is a session, and an event that tells it to come to an end."""

    def __init__(self, gatepost, user, tls=False, work=None, rest=0.0):
        super().__init__(daemon=True)
        self.gatepost, self.user, self.tls, self.rest = gatepost, user, tls, rest
        self.work = work or self._look
        self.failures = []
        self.waits = []  # seconds, from the login to its OK
        self.cuts = 0
        self._stopped = threading.Event()
        self.start()

    @staticmethod
    def _look(imap, _):
        for _ in range(3):
            imap.noop()
            time.sleep(0.02)

    def _connect(self):
        if self.tls:
            context = make_context(self.gatepost.ca)
            return imaplib.IMAP4_SSL("localhost", self.gatepost.tls_port, ssl_context=context,
                                     timeout=30)
        return imaplib.IMAP4("127.0.0.1", self.gatepost.port, timeout=30)

    def run(self):
        while not self._stopped.is_set():
            try:
                imap = self._connect()
                started = time.monotonic()
                imap.login(self.user, "pw")
            except (imaplib.IMAP4.error, OSError) as fault:
                self.failures.append((time.monotonic(), repr(fault)))
                time.sleep(0.05)
                continue
            self.waits.append(time.monotonic() - started)
            self._use(imap)
            time.sleep(self.rest)

    def _use(self, imap):
        try:
            self.work(imap, self._stopped)
            imap.logout()
        except (imaplib.IMAP4.error, OSError):
            self.cuts += 1
            try:
                imap.shutdown()
            except OSError:
                pass

    def stop(self):
        self._stopped.set()

    def wait(self, seconds=30):
        self.join(seconds)
        assert not self.is_alive(), f"{self.user} still at it"


class Regulars:
    """Regular clients of some users, `each` of every user at every gatepost; every second one with
    TLS."""

    def __init__(self, gateposts, users, each=1, tls=True, **options):
        places = itertools.product(users, range(each), gateposts)
        self.clients = [Regular(gatepost, user, tls=tls and number % 2 == 1, **options)
                        for number, (user, _, gatepost) in enumerate(places)]

    def stop(self):
        for client in self.clients:
            client.stop()
        for client in self.clients:
            client.wait()

    def count_logins(self):
        """By each of them so far."""
        return [len(client.waits) for client in self.clients]

    def wait_for_logins(self, count=1, since=None, seconds=20):
        """Each has logged in so many times more than by now, or than by then."""
        before = since or self.count_logins()
        wait_until(lambda: all(len(client.waits) >= start + count
                               for client, start in zip(self.clients, before)), seconds,
                   f"{count} logins of everybody")

    @property
    def failures(self):
        return [failure for client in self.clients for failure in client.failures]

    @property
    def waits(self):
        return sorted(wait for client in self.clients for wait in client.waits)

    def __str__(self):
        waits = self.waits
        return (f"{len(waits)} logins, {sum(client.cuts for client in self.clients)} sessions cut, "
                f"{len(self.failures)} logins failed; a login took "
                f"{1000 * waits[len(waits) // 2]:.0f} ms (median), {1000 * waits[-1]:.0f} ms at "
                "most")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
