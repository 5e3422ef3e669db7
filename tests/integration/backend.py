# SPDX-License-Identifier: Apache-2.0
"""A scripted IMAP backend (FB in the table of cases): records every byte and what it decodes of the
login, and misbehaves as told. Its manners are attributes that a test sets; `$` in a template stands
for the tag of the command that is answered."""

import base64
import dataclasses
import re
import socket
import struct
import threading
import time

from servers import wait_until

FIN = "FIN"
RESET = "reset"


@dataclasses.dataclass
class Login:
    """Credentials as they arrived; `form` is PLAIN-IR, PLAIN or LOGIN, `raw` what was sent."""
    form: str
    owner: bytes
    user: bytes
    password: bytes
    raw: bytes


class Gone(Exception):
    """The proxy's side ended the connection."""


class Connection:
    """One connection that the proxy made, served by a thread of its own."""

    def __init__(self, backend, sock):
        self.backend = backend
        self.socket = sock
        self.received = bytearray()
        self.segments = []
        self.ended = None
        self.ids = []
        self.logins = []
        self.commands = []
        self.fault = None
        self.recording = True
        self._buffer = bytearray()

    # --- bytes ---

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as fault:
            self.ended = self.ended or RESET
            raise Gone(str(fault)) from None

    def receive(self):
        """The next bytes, as they come; raises Gone at the end."""
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        return self._receive_segment()

    def _receive_segment(self):
        try:
            data = self.socket.recv(262144)
        except OSError as fault:
            self.ended = RESET
            raise Gone(str(fault)) from None
        if not data:
            self.ended = FIN
            raise Gone("end")
        if self.recording:
            self.segments.append((time.monotonic(), data))
            self.received += data
        return data

    def read_line(self):
        while b"\n" not in self._buffer:
            self._buffer += self._receive_segment()
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line + b"\n"

    def read_exactly(self, count):
        while len(self._buffer) < count:
            self._buffer += self._receive_segment()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def read_to_end(self):
        """Reads until the proxy ends the connection, in order or not."""
        try:
            while True:
                self.receive()
        except Gone:
            pass

    def shutdown(self):
        """FIN from our side; reading goes on."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as fault:
            raise Gone(str(fault)) from None

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # --- IMAP until the login ---

    def read_command(self):
        """Tag, command in upper case, and the rest of the line."""
        line = self.read_line()
        assert line.endswith(b"\r\n"), line
        parts = line[:-2].split(b" ", 2)
        assert len(parts) >= 2, line
        return parts[0], parts[1].upper(), parts[2] if len(parts) == 3 else b""

    def answer(self, template, tag):
        self.send(template.replace(b"$", tag))

    def serve_until_login(self):
        """Greets and answers commands until a login is accepted; false if the proxy logs out."""
        backend = self.backend
        if backend.greeting is None:
            self.read_to_end()
            return False
        self.send(backend.greeting)
        while True:
            start = len(self.received) - len(self._buffer)
            tag, command, rest = self.read_command()
            self.commands.append(command)
            if command == b"CAPABILITY":
                self.send(b"* CAPABILITY " + backend.capability + b"\r\n" + tag + b" OK done\r\n")
            elif command == b"ID":
                self.ids.append(parse_id(rest))
                self.answer(backend.id_answer, tag)
            elif command == b"LOGOUT":
                self.send(b"* BYE\r\n" + tag + b" OK\r\n")
                return False
            elif command in (b"AUTHENTICATE", b"LOGIN"):
                if self._serve_login(tag, command, rest, start):
                    return True
            else:
                self.send(tag + b" BAD unexpected\r\n")

    def _serve_login(self, tag, command, rest, start):
        if command == b"LOGIN":
            user, password = self._read_arguments(rest)
            login = Login("LOGIN", b"", user, password, b"")
        else:
            login = self._read_plain(rest)
        login.raw = bytes(self.received[start:len(self.received) - len(self._buffer)])
        self.logins.append(login)
        backend = self.backend
        if backend.password is not None and login.password != backend.password:
            self.answer(backend.refuse, tag)
            return False
        self.answer(backend.accept, tag)
        return backend.accept.startswith(b"$ OK") or b"\r\n$ OK" in backend.accept

    def _read_plain(self, rest):
        mechanism, _, initial = rest.partition(b" ")
        assert mechanism.upper() == b"PLAIN", rest
        form = "PLAIN-IR"
        if not initial:
            form = "PLAIN"
            self.send(self.backend.continuation)
            initial = self.read_line()[:-2]
        owner, user, password = base64.b64decode(initial, validate=True).split(b"\0")
        return Login(form, owner, user, password, b"")

    def _read_arguments(self, rest):
        """Two astrings; literals are asked for where they want it."""
        arguments = []
        while True:
            if rest.startswith(b'"'):
                match = re.match(rb'"((?:[^"\\]|\\.)*)"', rest)
                assert match, rest
                arguments.append(re.sub(rb"\\(.)", rb"\1", match[1]))
                rest = rest[match.end():]
            elif rest.startswith(b"{"):
                match = re.fullmatch(rb"\{(\d+)(\+?)\}", rest)
                assert match, rest
                if not match[2]:
                    self.send(b"+ go on\r\n")
                arguments.append(self.read_exactly(int(match[1])))
                rest = self.read_line()[:-2]
            else:
                match = re.match(rb"[^ ]+", rest)
                assert match, rest
                arguments.append(match[0])
                rest = rest[match.end():]
            if not rest:
                break
            assert rest.startswith(b" "), rest
            rest = rest[1:]
        assert len(arguments) == 2, arguments
        return arguments


def parse_id(text):
    """The pairs of an ID command's list."""
    words = re.findall(rb'"((?:[^"\\]|\\.)*)"', text)
    return {key.decode().lower(): value.decode() for key, value in zip(words[::2], words[1::2])}


def serve_commands(connection):
    """After the login: a small server that answers whatever comes, naming itself."""
    name = connection.backend.name.encode()
    while True:
        tag, command, _ = connection.read_command()
        connection.commands.append(command)
        if command == b"LOGOUT":
            connection.send(b"* BYE " + name + b"\r\n" + tag + b" OK bye\r\n")
            connection.close()
            return
        if command == b"CAPABILITY":
            connection.send(b"* CAPABILITY IMAP4rev1 X-BY-" + name + b"\r\n")
        connection.send(tag + b" OK " + command + b" by " + name + b"\r\n")


def echo(connection):
    """After the login: every byte back, as it comes, and the end too."""
    connection.recording = False
    try:
        while True:
            connection.send(connection.receive())
    except Gone:
        if connection.ended == FIN:
            connection.shutdown()
        raise


class FakeBackend:
    """Listens on a port of its own or a Unix socket; `connections` holds all that were made."""

    def __init__(self, name, unix_path=None, host="127.0.0.1"):
        self.name = name
        self.unix_path = unix_path
        self.host = host
        self.port = None
        self._alive = True
        if unix_path:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(unix_path))
            unix_path.chmod(0o777)
            self._listener.listen(1000)
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, 0), family=family, backlog=1000)
            self.port = self._listener.getsockname()[1]
        self.reset()
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self):
        """Good manners and empty records."""
        self.capability = b"IMAP4rev1 SASL-IR LITERAL- ID IDLE AUTH=PLAIN"
        self.greeting = b"* OK [CAPABILITY " + self.capability + b"] " + \
            self.name.encode() + b" ready\r\n"
        self.id_answer = b'* ID ("name" "FB")\r\n$ OK done\r\n'
        self.continuation = b"+ \r\n"
        self.accept = b"$ OK [CAPABILITY IMAP4rev1 IDLE X] hi\r\n"
        self.refuse = b"$ NO [AUTHENTICATIONFAILED] wrong\r\n"
        self.password = b"pw"
        self.session = serve_commands
        self.script = None
        self.connections = []

    @property
    def address(self):
        if self.unix_path:
            return f"unix:{self.unix_path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def logins(self):
        return [login for connection in self.connections for login in connection.logins]

    def _accept(self):
        while self._alive:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            if self.script:
                self.script(connection)
            elif connection.serve_until_login():
                self.session(connection)
        except Gone:
            pass
        except Exception as fault:  # shown by the test that looks for it
            connection.fault = fault
        finally:
            connection.socket.close()

    def wait_for_connection(self, count=1, seconds=5):
        """The count-th connection since the last reset."""
        wait_until(lambda: len(self.connections) >= count, seconds, f"connection {count}")
        return self.connections[count - 1]

    def wait_for_end(self, connection, seconds=5):
        """How the proxy ended the connection, when it has."""
        return wait_until(lambda: connection.ended, seconds, "end of the backend connection")

    def assert_no_faults(self):
        faults = [connection.fault for connection in self.connections if connection.fault]
        assert not faults, faults

    def close(self):
        self._alive = False
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
