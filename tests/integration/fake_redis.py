# SPDX-License-Identifier: Apache-2.0
"""A scripted Redis: records commands, answers from a table or with whatever bytes a test wants, and
tells what has changed to whoever asked for that (CLIENT TRACKING, redirected to a subscriber)."""

import itertools
import socket
import threading

from redis_tables import AnnouncedValues, Nodes, bulk, integer, message
from servers import wait_until

CLOSE = object()

# What is asked about others than users.
NO_ROUTES = (b"gatepost:hold:", b"gatepost:drain:", b"gatepost:canary:")

INVALIDATIONS = b"__redis__:invalidate"

# A user whose hold is said to have changed, so that it is asked for: whoever does so has heard all
# that was told before. Neither handlers nor records know of it.
MARK = b"heard-by-everybody-"

# The longest that a change waits for that.
HEARD_SECONDS = 1


def is_lookup(words):
    """Whether a command asks for a route."""
    return words[0].upper() == b"GET" and not words[1].startswith(NO_ROUTES)


def is_hold(words):
    """Whether a command asks for a hold."""
    return words[0].upper() == b"GET" and words[1].startswith(b"gatepost:hold:")


class Peer:
    """A connection to the fake, and which changes it is told."""

    def __init__(self, sock, number):
        self.sock = sock
        self.number = number
        self.prefixes = None
        self.subscribed = False
        self.registered = False
        self.mute = False
        self._sending = threading.Lock()

    def answer(self, data):
        """In order: behind one that never comes there are no others."""
        self.mute = self.mute or not data
        if not self.mute:
            self.send(data)

    def send(self, data):
        with self._sending:
            self.sock.sendall(data)

    def hears(self, key):
        return self.subscribed and self.prefixes is not None and key.startswith(self.prefixes)

    def tell(self, keys):
        """A change of keys, None for all of them, as Redis tells it; False where it has gone."""
        try:
            self.send(message(INVALIDATIONS, keys))
        except OSError:
            return False
        return True


class FakeRedis:
    """Answers GET from `values`, and registers proxies. `handler`, when set, is called first with
    the list of words: it returns bytes to send as they are, CLOSE, b"" for silence from then on, or
    None for the usual answer. While it `flaps`, connections are accepted and closed.

    Whatever a test changes is told before the change returns, and has been heard then: of `values`
    the keys that changed, of `handler` all routes that were ever asked for."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.port = self._listener.getsockname()[1]
        self.commands = []
        self.connection_count = 0
        self.flaps = False
        self.nodes = Nodes()
        self._values = AnnouncedValues(self._announce)
        self._handler = None
        self._asked = set()
        self._peers = []
        self._serving = set()
        self._marks = itertools.count(1)
        self._marks_seen = []
        self._seen = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def values(self):
        return self._values

    @values.setter
    def values(self, values):
        self._values.replace(values)

    @property
    def handler(self):
        return self._handler

    @handler.setter
    def handler(self, handler):
        self._handler = handler
        self._announce(self._asked.copy())

    def reset(self):
        """The usual answers, nothing but routes, nothing that anybody remembers, and no record of
        commands."""
        self.flaps = False
        self.handler = None
        self.values = {key: value for key, value in self.values.items()
                       if not key.encode(errors="surrogateescape").startswith(NO_ROUTES)}
        if self._peers:
            self.settle()
        self.commands = []

    def settle(self):
        """Waits until somebody has registered, all who have listen too, and have heard all that was
        told."""
        def settled():
            kinds = [(peer.registered, peer.subscribed) for peer in list(self._peers)]
            return kinds.count((True, False)) == kinds.count((False, True)) == len(kinds) / 2 > 0

        wait_until(settled, what="listener")
        self._mark()

    # --- connections ---

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connection_count += 1
            if self.flaps:
                sock.close()
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock, self.connection_count)
            self._peers.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        self._serving.add(threading.get_ident())
        try:
            with peer.sock, peer.sock.makefile("rb") as stream:
                while True:
                    words = read_command(stream)
                    if words is None or not self._answer(peer, words):
                        return
        except OSError:
            pass
        finally:
            self._serving.discard(threading.get_ident())
            if peer in self._peers:
                self._peers.remove(peer)

    def _answer(self, peer, words):
        if MARK in words[-1]:
            self._note_mark(words[-1])
            peer.answer(bulk(None))
            return True
        self.commands.append(words)
        if is_lookup(words):
            self._asked.add(words[1].decode(errors="surrogateescape"))
        answer = self.handler(words) if self.handler else None
        if answer is None:
            answer = self._usual(peer, words)
        if answer is CLOSE:
            return False
        peer.answer(answer)
        return True

    # --- the usual answers ---

    def _usual(self, peer, words):
        name = words[0].upper()
        if name == b"GET":
            return bulk(self.values.get(words[1].decode(errors="surrogateescape")))
        if name == b"EVAL":
            peer.registered = True
            return self._register(words)
        if name == b"HGET":
            return bulk(self.nodes.incarnation(words[1]))
        if name == b"CLIENT":
            return self._track(peer, words)
        if name == b"SUBSCRIBE":
            return self._subscribe(peer, words[1:])
        if name == b"PING":
            return b"*2\r\n$4\r\npong\r\n$0\r\n\r\n" if peer.subscribed else b"+PONG\r\n"
        if name == b"ROLE":
            return b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
        return b"+OK\r\n"

    def _register(self, words):
        """A script: of those with one key, registrations are made and taken back."""
        key, arguments = words[3], words[4:]
        if words[2] != b"1":
            return integer(0)
        if len(arguments) > 1:
            done = self.nodes.take(key, arguments[0], arguments[1] == b"take")
        else:
            done = self.nodes.leave(key, arguments[0])
        self._tell([key.decode()])
        return integer(done)

    def _track(self, peer, words):
        if words[1].upper() == b"ID":
            return integer(peer.number)
        target = int(words[words.index(b"REDIRECT") + 1])
        prefixes = [words[i + 1] for i, word in enumerate(words) if word == b"PREFIX"]
        for each in self._peers:
            if each.number == target:
                each.prefixes = tuple(prefix.decode() for prefix in prefixes) or ("",)
        return b"+OK\r\n"

    @staticmethod
    def _subscribe(peer, channels):
        peer.subscribed = True
        return b"".join(b"*3\r\n" + bulk("subscribe") + bulk(channel) + integer(number + 1)
                        for number, channel in enumerate(channels))

    # --- telling ---

    def _tell(self, keys):
        """Tells whoever listens; returns how many that were."""
        told = 0
        for peer in list(self._peers):
            heard = [key for key in keys if peer.hears(key)]
            told += bool(heard) and peer.tell(heard)
        return told

    def _announce(self, keys):
        """Tells of a change and waits until it has been heard; what serves a connection cannot."""
        if self._tell(keys) and threading.get_ident() not in self._serving:
            self._mark()

    def _mark(self):
        mark = b"gatepost:hold:%s%d" % (MARK, next(self._marks))
        told = self._tell([mark.decode()])
        with self._seen:
            self._seen.wait_for(lambda: self._marks_seen.count(mark) >= told, HEARD_SECONDS)

    def _note_mark(self, key):
        with self._seen:
            self._marks_seen.append(key)
            self._seen.notify_all()

    def flush(self):
        """Tells that every key may have changed, as FLUSHALL does; nobody is waited for."""
        for peer in list(self._peers):
            if peer.subscribed:
                peer.tell(None)

    def say(self, data):
        """Bytes that nobody asked for, to whoever listens."""
        for peer in list(self._peers):
            if peer.subscribed:
                peer.send(data)

    # --- what a test looks at, and does ---

    def lookups(self):
        """The commands that ask for a route."""
        return [words for words in self.commands if is_lookup(words)]

    def drop_connections(self):
        peers, self._peers = self._peers, []
        for peer in peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        """No connection is left, and none is accepted."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()

    def close(self):
        if self._listener.fileno() >= 0:
            self.stop()


def read_command(stream):
    """One command in RESP's form of an array of bulk strings; None at the end."""
    header = stream.readline()
    if not header:
        return None
    assert header.startswith(b"*"), header
    words = []
    for _ in range(int(header[1:])):
        length = stream.readline()
        assert length.startswith(b"$"), length
        words.append(stream.read(int(length[1:])))
        assert stream.read(2) == b"\r\n"
    return words
