# SPDX-License-Identifier: Apache-2.0
"""An IMAP client that decides about every byte: what is one TLS record, what is one segment, and
how a connection ends; and that tells apart how the other side ended it."""

import select
import socket
import ssl
import struct
import threading
import time

import sasl
from tls_pipe import TlsPipe, limit_versions

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


def make_context(ca, alpn=None, certificate=None, versions=None, ciphers=None):
    """What a client offers and demands. `ca` False: any certificate will do. `certificate` is a
    Pair; `versions` "1.2" or "1.3"; `ciphers` a list for TLS 1.2."""
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    context.hostname_checks_common_name = False
    if ca is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    if certificate:
        context.load_cert_chain(str(certificate.chain), str(certificate.key))
    limit_versions(context, versions)
    if ciphers:
        context.set_ciphers(ciphers)
    return context


class Client:
    """A connection to 127.0.0.1. With `ca` it speaks TLS, one record per send(); `tls` has the
    further arguments of start_tls. `first` goes before all else: a PROXY header."""

    def __init__(self, port, ca=None, source=None, timeout=TIMEOUT, receive_buffer=None,
                 first=b"", **tls):
        self.timeout = timeout
        self.buffer = b""
        self.ended = None
        self.tls = None
        self.greeting = None
        self.before_tls = b""
        self._send_lock = threading.Lock()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.address = "{}:{}".format(*self.socket.getsockname())
        if first:
            self.socket.sendall(first)
        if ca is not None:
            self.start_tls(ca, **tls)

    def start_tls(self, ca, server_name="localhost", ticket=None, context=None, send=None,
                  **offers):
        """The handshake. `server_name` is the SNI and the name that is verified, None for neither;
        `ticket` comes back with the session of an earlier client; `send` gets our flights instead
        of the socket; `offers` are make_context's."""
        if context is None:
            context = ticket.context if ticket else make_context(ca, **offers)
        if server_name is None:
            context.check_hostname = False
        self.tls = TlsPipe(context, send or self.socket.sendall, self._receive_of_handshake,
                           server_name=server_name, session=ticket.session if ticket else None)

    def _receive_of_handshake(self):
        try:
            received = self.socket.recv(65536)
        except ConnectionResetError:
            raise Ended(RESET) from None
        if not received:
            raise Ended(FIN)
        return received

    def starttls(self, ca, behind=b"", tag="s", **options):
        """STARTTLS, with `behind` in the same segment, and the handshake; returns the reply. What
        the server sent behind its reply stays in `before_tls`, and is no part of what is read."""
        self.send(f"{tag} STARTTLS\r\n".encode() + behind)
        reply = self.read_until(tag)
        assert reply[-1].startswith(f"{tag} OK".encode()), reply
        self.before_tls, self.buffer = self.buffer, b""
        self.start_tls(ca, **options)
        return reply

    # --- writing ---

    def send(self, data):
        """All bytes at once: under TLS in one record if they fit, else in several."""
        with self._send_lock:
            self.socket.sendall(self.tls.encrypt([data]) if self.tls else data)

    def send_records(self, pieces):
        """Each piece in a TLS record of its own, but all of them in one go."""
        with self._send_lock:
            self.socket.sendall(self.tls.encrypt(pieces))

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
        if not self.tls:
            return self._receive_raw(deadline, size)
        # Some may have come with the handshake.
        data = self.tls.decrypt(b"")
        while not data and not self.tls.ended:
            data = self.tls.decrypt(self._receive_raw(deadline, size))
        if self.tls.ended:
            self.ended = CLOSE_NOTIFY
        if not data:
            raise Ended(self.ended)
        return data

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
                self.socket.sendall(self.tls.close_notify())

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

    def authenticate(self, mechanism, *answers, initial=None, tag="a"):
        """AUTHENTICATE: each answer is bytes, or a function of the decoded challenge that gives
        them; None cancels. Returns the challenges, decoded, and the lines of the reply, which may
        come before all answers were asked for."""
        command = f"{tag} AUTHENTICATE {mechanism}".encode()
        if initial is not None:
            command += b" " + (sasl.encode(initial) or b"=")
        self.send(command + b"\r\n")
        challenges, lines, answers = [], [], list(answers)
        while True:
            line = self.read_line()
            if line.startswith(tag.encode() + b" "):
                return challenges, lines + [line]
            if not line.startswith(b"+ "):
                lines.append(line)
                continue
            challenges.append(sasl.decode(line[2:-2]))
            assert answers, challenges
            answer = answers.pop(0)
            if callable(answer):
                answer = answer(challenges[-1])
            self.send((b"*" if answer is None else sasl.encode(answer)) + b"\r\n")

    def scram(self, mechanism, user, password, owner="", initial=True, tag="a"):
        """A whole SCRAM; returns the lines of the reply. The server must prove itself before OK."""
        scram = sasl.ScramClient(mechanism, user, password, owner)
        proofs = []

        def prove(challenge):
            proofs.append(scram.verify(challenge))
            return b""

        start = [] if initial else [scram.first()]
        _, lines = self.authenticate(mechanism, *start, scram.final, prove, tag=tag,
                                     initial=scram.first() if initial else None)
        assert proofs == [True] or b" OK" not in lines[-1][:len(tag) + 3], (proofs, lines)
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
