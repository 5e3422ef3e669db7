# SPDX-License-Identifier: Apache-2.0
"""An IMAP client that decides about every byte: what is one TLS record, what is one segment, and
how a connection ends; and that tells apart how the other side ended it."""

import select
import socket
import ssl
import struct
import threading
import time

TIMEOUT = 5


class Ended(AssertionError):
    """The connection ended while bytes were expected; `how` is CLOSE_NOTIFY, FIN or RESET."""

    def __init__(self, how, received=b""):
        super().__init__(f"connection ended ({how}); before it: {received[-300:]!r}")
        self.how = how
        self.received = received


CLOSE_NOTIFY = "close_notify"
FIN = "FIN"
RESET = "reset"


class Client:
    """A connection to 127.0.0.1. With `ca` it speaks TLS, one record per send()."""

    def __init__(self, port, ca=None, source=None, timeout=TIMEOUT, alpn=None, receive_buffer=None):
        self.timeout = timeout
        self.buffer = b""
        self.ended = None
        self.tls = None
        self.greeting = None
        self._tls_lock = threading.Lock()
        self._send_lock = threading.Lock()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        if ca:
            self._handshake(ca, alpn)

    def _handshake(self, ca, alpn):
        context = ssl.create_default_context(cafile=str(ca))
        if alpn:
            context.set_alpn_protocols(alpn)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        while True:
            try:
                self.tls.do_handshake()
                self.socket.sendall(self._outgoing.read())
                return
            except ssl.SSLWantReadError:
                self.socket.sendall(self._outgoing.read())
                received = self.socket.recv(65536)
                if not received:
                    raise Ended(FIN) from None
                self._incoming.write(received)

    # --- writing ---

    def send(self, data):
        """All bytes at once: under TLS in one record if they fit, else in several."""
        with self._send_lock:
            if self.tls:
                with self._tls_lock:
                    self.tls.write(data)
                    data = self._outgoing.read()
            self.socket.sendall(data)

    def send_records(self, pieces):
        """Each piece in a TLS record of its own, but all of them in one go."""
        with self._send_lock:
            with self._tls_lock:
                for piece in pieces:
                    self.tls.write(piece)
                data = self._outgoing.read()
            self.socket.sendall(data)

    def send_bytewise(self, data, pause=0.0):
        """Every byte in a record (and as a rule a segment) of its own."""
        for byte in data:
            self.send(bytes([byte]))
            if pause:
                time.sleep(pause)

    def send_raw(self, data):
        """Bytes for the socket itself, past TLS."""
        self.socket.sendall(data)

    # --- reading ---

    def receive(self, timeout=None, size=65536):
        """Whatever comes next, at least one byte. Raises Ended, or TimeoutError after `timeout`."""
        if self.buffer:
            data, self.buffer = self.buffer[:size], self.buffer[size:]
            return data
        if self.ended:
            raise Ended(self.ended)
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            raw = self._receive_raw(deadline, size)
            if not self.tls:
                return raw
            data = self._decrypt(raw)
            if data:
                return data
            if self.ended:
                raise Ended(self.ended)

    def _receive_raw(self, deadline, size):
        left = max(0.0, deadline - time.monotonic())
        if not select.select([self.socket], [], [], left)[0]:
            raise TimeoutError("nothing came")
        try:
            raw = self.socket.recv(size)
        except ConnectionResetError:
            self.ended = RESET
            raise Ended(RESET) from None
        if not raw:
            self.ended = FIN
            raise Ended(FIN)
        return raw

    def _decrypt(self, raw):
        data = b""
        with self._tls_lock:
            self._incoming.write(raw)
            try:
                while True:
                    piece = self.tls.read(65536)
                    if not piece:
                        self.ended = CLOSE_NOTIFY
                        break
                    data += piece
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                self.ended = CLOSE_NOTIFY
        return data

    def read_line(self, timeout=None):
        """One line, its CRLF included."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        line = b""
        while b"\n" not in line:
            try:
                line += self.receive(max(0.0, deadline - time.monotonic()))
            except Ended as end:
                raise Ended(end.how, line) from None
            except TimeoutError:
                raise TimeoutError(f"no line; so far {line!r}") from None
        line, _, rest = line.partition(b"\n")
        self.buffer = rest + self.buffer
        return line + b"\n"

    def read_exactly(self, count, timeout=None):
        """Exactly `count` bytes."""
        pieces, have = [], 0
        while have < count:
            piece = self.receive(timeout, min(65536, count - have) if self.buffer else 65536)
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        self.buffer = data[count:] + self.buffer
        return data[:count]

    def read_until(self, tag, timeout=None):
        """The lines up to and with the one that begins with the tag."""
        lines = []
        while True:
            try:
                lines.append(self.read_line(timeout))
            except (Ended, TimeoutError) as fault:
                raise type(fault)(*((fault.how, b"".join(lines) + fault.received)
                                    if isinstance(fault, Ended) else
                                    (f"{fault}; before it {lines!r}",))) from None
            if lines[-1].startswith(tag.encode() + b" "):
                return lines

    def read_to_end(self, timeout=None):
        """Everything until the connection ends, and how it did."""
        data = b""
        while True:
            try:
                data += self.receive(timeout)
            except Ended as end:
                return data, end.how

    def expect_silence(self, seconds=0.3):
        """Nothing comes, not even an end, for so long."""
        try:
            data = self.receive(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"expected nothing, but came {data!r}")

    # --- ending ---

    def fin_follows(self, timeout=None):
        """After close_notify: whether the socket itself ends too, in order."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        try:
            while True:
                self._receive_raw(deadline, 65536)
        except Ended as end:
            return end.how == FIN
        except TimeoutError:
            return False

    def shutdown(self):
        """Ends our side in order (close_notify under TLS, then FIN); reading goes on."""
        self.close_notify()
        self.socket.shutdown(socket.SHUT_WR)

    def close_notify(self):
        if self.tls:
            with self._send_lock:
                with self._tls_lock:
                    try:
                        self.tls.unwrap()
                    except (ssl.SSLWantReadError, ssl.SSLError):
                        pass
                    data = self._outgoing.read()
                self.socket.sendall(data)

    def reset(self):
        """Ends with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- IMAP ---

    def greet(self):
        """Reads the greeting."""
        self.greeting = self.read_line()
        assert self.greeting.startswith(b"* OK "), self.greeting
        return self

    def command(self, tag, text, timeout=None):
        """Sends one command; returns the lines up to its tagged reply."""
        data = text if isinstance(text, bytes) else text.encode()
        self.send(tag.encode() + b" " + data + b"\r\n")
        return self.read_until(tag, timeout)

    def login(self, user="u1", password="pw", tag="l"):
        """LOGIN that must succeed; returns the lines."""
        lines = self.command(tag, f"LOGIN {user} {password}")
        assert lines[-1].startswith(f"{tag} OK".encode()), lines
        return lines

    def status(self, tag, text):
        """One command that gets its tagged reply and nothing else: OK, NO or BAD."""
        lines = self.command(tag, text)
        assert len(lines) == 1, lines
        return lines[0].split()[1].decode()

    def exchange(self, data):
        """Sends bytes and a NOOP behind them in one go; returns what comes before the reply to that
        NOOP, which must be `z OK`. So the connection is usable, and in step."""
        self.send(data + b"z NOOP\r\n")
        lines = self.read_until("z")
        assert lines[-1].startswith(b"z OK"), lines
        return lines[:-1]

    def assert_usable(self, tag="z"):
        """CASES.md: a following NOOP gets exactly `z OK ...`."""
        lines = self.command(tag, "NOOP")
        assert len(lines) == 1 and lines[0].startswith(f"{tag} OK".encode()), lines


def statuses(lines):
    """`tag status` of every line: ["a OK", "* BAD"]."""
    return [b" ".join(line.split()[:2]).decode("latin-1") for line in lines]


def capabilities_of(line):
    """The set of atoms in `* CAPABILITY ...` or `... [CAPABILITY ...] ...`; asserts that none is
    there twice."""
    assert b"CAPABILITY " in line, line
    atoms = line.split(b"CAPABILITY ", 1)[1].split(b"]")[0].decode().split()
    assert len(atoms) == len(set(atoms)), line
    return set(atoms)
