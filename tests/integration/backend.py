# SPDX-License-Identifier: Apache-2.0
"""A scripted IMAP backend (FB in the table of cases): records every byte and what it decodes of the
login, and misbehaves as told. Its manners are attributes that a test sets; `$` in a template stands
for the tag of the command that is answered."""

import re
import socket
import threading
import time

from backend_login import LoginReader
from backend_wire import FIN, RESET, Gone, Wire, make_server_context
from servers import wait_until

DEFAULT = object()


class Connection(Wire):
    """One connection that the proxy made, served by a thread of its own."""

    def __init__(self, backend, sock):
        super().__init__(sock)
        self.backend = backend
        self.began = time.monotonic()
        self.source = sock.getpeername()  # where it came from
        self.ids = []
        self.logins = []
        self.commands = []
        self.fault = None

    def begin(self):
        """What comes before the greeting."""
        if self.backend.proxy_protocol:
            self.read_proxy_header()
        if self.backend.tls == "implicit":
            self.handshake()

    def handshake(self):
        if self.backend.at_handshake:
            self.backend.at_handshake(self)
        self.start_tls(self.backend.context)

    def read_command(self):
        """Tag, command in upper case, and the rest of the line."""
        line = self.read_line()
        assert line.endswith(b"\r\n"), line
        parts = line[:-2].split(b" ", 2)
        assert len(parts) >= 2, line
        return parts[0], parts[1].upper(), parts[2] if len(parts) == 3 else b""

    def answer(self, template, tag):
        self.send(template.replace(b"$", tag))

    @property
    def capability(self):
        """What is offered now: another thing, perhaps, since STARTTLS."""
        backend = self.backend
        if backend.tls == "starttls" and self.tls:
            return backend.capability_tls or backend.capability
        return backend.first_capability

    def serve_until_login(self):
        """Greets and answers commands until a login is accepted; false if the proxy logs out."""
        backend = self.backend
        if backend.greeting is None:
            self.read_to_end()
            return False
        self.send(backend.greeting)
        while True:
            start = self.consumed
            tag, command, rest = self.read_command()
            self.commands.append(command)
            if command == b"CAPABILITY":
                self.answer(b"* CAPABILITY " + self.capability + b"\r\n" +
                            backend.capability_answer, tag)
            elif command == b"ID":
                self.ids.append(parse_id(rest))
                self.answer(backend.id_answer, tag)
            elif command == b"LOGOUT":
                self.send(b"* BYE\r\n" + tag + b" OK\r\n")
                return False
            elif command == b"STARTTLS" and backend.tls == "starttls" and not self.tls:
                self._serve_starttls(tag)
            elif command in (b"AUTHENTICATE", b"LOGIN"):
                if self._serve_login(tag, command, rest, start):
                    return True
            else:
                self.send(tag + b" BAD unexpected\r\n")

    def _serve_starttls(self, tag):
        """An injection stands in the same segment as the reply."""
        answer = self.backend.starttls_answer
        self.send(answer.replace(b"$", tag) + self.backend.starttls_injection)
        if answer.startswith(b"$ OK"):
            self.handshake()

    def _serve_login(self, tag, command, rest, start):
        login, good = LoginReader(self).read(command, rest)
        login.raw = bytes(self.received[start:self.consumed])
        self.logins.append(login)
        backend = self.backend
        if not good:
            self.answer(backend.cancelled if login.cancelled else backend.refuse, tag)
            return False
        accepted = backend.accept.startswith(b"$ OK") or b"\r\n$ OK" in backend.accept
        if accepted and backend.account:
            backend.account.begin(self, login.user, backend.name)
        self.answer(backend.accept, tag)
        return accepted

    def leave(self):
        """The session is over, as far as the backend's own account goes."""
        if self.backend.account:
            self.backend.account.end(self)

    def close(self):
        self.leave()
        super().close()


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
        if connection.ended != RESET:
            connection.shutdown()
        raise


class FakeBackend:
    """Listens on a port of its own or a Unix socket; `connections` holds all that were made."""

    def __init__(self, name, unix_path=None, host="127.0.0.1", port=0, **manners):
        """`manners` are attributes that reset() sets, too."""
        self.name = name
        self.manners = manners
        self.unix_path = unix_path
        self.host = host
        self.port = port
        self.alive = False
        self._contexts = {}
        self.reset()

    def _listen(self):
        if self.unix_path:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(self.unix_path))
            self.unix_path.chmod(0o777)
            self._listener.listen(1000)
        else:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            self._listener = socket.create_server((self.host, self.port), family=family,
                                                  backlog=1000)
            self.port = self._listener.getsockname()[1]
        self.alive = True
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def reset(self):
        """Good manners and empty records; one that has died lives."""
        self.capability = b"IMAP4rev1 SASL-IR LITERAL- ID IDLE AUTH=PLAIN"
        self.greeting = DEFAULT
        self.capability_answer = b"$ OK done\r\n"
        self.id_answer = b'* ID ("name" "FB")\r\n$ OK done\r\n'
        self.continuation = b"+ \r\n"
        self.accept = b"$ OK [CAPABILITY IMAP4rev1 IDLE X] hi\r\n"
        self.refuse = b"$ NO [AUTHENTICATIONFAILED] wrong\r\n"
        self.cancelled = b"$ BAD cancelled\r\n"
        self.password = b"pw"
        self.token = b"token"
        self.token_error = b'{"status":"invalid_token","schemes":"bearer","scope":"mail"}'
        self.scram_iterations = 4096
        self.session = serve_commands
        self.script = None
        self.account = None  # hears of sessions: begin() before the OK, end() before the close
        self._reset_tls()
        for name, value in self.manners.items():
            setattr(self, name, value)
        self.connections = []
        if not self.alive:
            self._listen()

    def _reset_tls(self):
        """No TLS. `tls` is "none", "implicit" or "starttls", `certificate` a Pair, and tls_options
        are make_server_context's."""
        self.proxy_protocol = False
        self.tls = "none"
        self.certificate = None
        self.tls_options = {}
        self.capability_tls = None
        self.offers_starttls = True
        self.starttls_answer = b"$ OK begin\r\n"
        self.starttls_injection = b""
        self.at_handshake = None  # called with the connection, before its handshake

    @property
    def first_capability(self):
        """What is offered in the greeting."""
        starttls = self.tls == "starttls" and self.offers_starttls
        return self.capability + (b" STARTTLS" if starttls else b"")

    @property
    def greeting(self):
        """What was set: DEFAULT says what is offered, None says nothing at all."""
        if self._greeting is not DEFAULT:
            return self._greeting
        return b"* OK [CAPABILITY " + self.first_capability + b"] " + self.name.encode() + \
            b" ready\r\n"

    @greeting.setter
    def greeting(self, greeting):
        self._greeting = greeting

    @property
    def context(self):
        """One for as long as the manners are the same, so that sessions come back."""
        wanted = repr((self.certificate, sorted(self.tls_options.items())))
        if wanted not in self._contexts:
            self._contexts[wanted] = make_server_context(self.certificate, **self.tls_options)
        return self._contexts[wanted]

    def forget_sessions(self):
        """As a server that was started anew: other keys, so that no session comes back."""
        self._contexts.clear()

    @property
    def address(self):
        if self.unix_path:
            return f"unix:{self.unix_path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def logins(self):
        return [login for connection in self.connections for login in connection.logins]

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.begin()
            if self.script:
                self.script(connection)
            elif connection.serve_until_login():
                self.session(connection)
        except Gone:
            pass
        except Exception as fault:  # shown by the test that looks for it
            connection.fault = fault
        finally:
            connection.leave()
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

    def die(self, reset=False):
        """Nobody listens any more, and all connections end, in order or not."""
        self.close()
        for connection in list(self.connections):
            if not connection.ended:
                connection.end_from_outside(reset)

    def revive(self):
        """Listens again, where it did."""
        self._listen()

    def close(self):
        if self.alive:
            self.alive = False
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
