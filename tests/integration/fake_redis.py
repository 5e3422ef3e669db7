# SPDX-License-Identifier: Apache-2.0
"""A scripted Redis: records commands, answers from a table, or with whatever bytes a test wants."""

import socket
import threading

CLOSE = object()


class FakeRedis:
    """Answers GET from `values`. `handler`, when set, is called first with the list of words: it
    returns bytes to send as they are, CLOSE, b"" for silence, or None for the usual answer."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.port = self._listener.getsockname()[1]
        self.values = {}
        self.handler = None
        self.commands = []
        self.connection_count = 0
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def reset(self):
        """The usual answers, and no record of commands."""
        self.handler = None
        self.commands = []

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connection_count += 1
            self._sockets.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            with sock, sock.makefile("rb") as stream:
                while True:
                    words = read_command(stream)
                    if words is None:
                        return
                    self.commands.append(words)
                    answer = self.handler(words) if self.handler else None
                    if answer is None:
                        answer = self._usual(words)
                    if answer is CLOSE:
                        return
                    sock.sendall(answer)
        except OSError:
            pass

    def _usual(self, words):
        if words[0].upper() == b"GET":
            return bulk(self.values.get(words[1].decode()))
        return b"+OK\r\n"

    def lookups(self):
        """The commands that ask for a route."""
        return [words for words in self.commands if words[0].upper() == b"GET"]

    def drop_connections(self):
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._sockets = []

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()


def bulk(value):
    """A RESP bulk string; None is nil."""
    if value is None:
        return b"$-1\r\n"
    data = value if isinstance(value, bytes) else value.encode()
    return b"$%d\r\n%s\r\n" % (len(data), data)


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
