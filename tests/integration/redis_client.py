# SPDX-License-Identifier: Apache-2.0
"""A connection to Redis that stays: what tools and tests ask many times a second."""

import socket


class RedisError(Exception):
    """Redis answered with an error."""


class RedisClient:
    """Commands of words, one after the other; values are text. What ends the connection is an
    OSError, and nothing is tried again."""

    def __init__(self, port, timeout=5):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def command(self, *words):
        """The answer: text, a number, a list, or None."""
        encoded = [str(word).encode() for word in words]
        request = [b"*%d\r\n" % len(encoded)]
        request += [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
        self.socket.sendall(b"".join(request))
        return self._read()

    def _read(self):
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis ended the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        count = int(rest)
        if count < 0:
            return None
        if kind == b"*":
            return [self._read() for _ in range(count)]
        data = self._file.read(count + 2)
        if len(data) != count + 2:
            raise ConnectionError("Redis ended the connection")
        return data[:-2].decode()

    def script(self, text, keys, *arguments):
        return self.command("EVAL", text, len(keys), *keys, *arguments)

    def hash(self, key):
        """A hash as a dictionary."""
        words = self.command("HGETALL", key)
        return dict(zip(words[::2], words[1::2]))

    def close(self):
        self._file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
