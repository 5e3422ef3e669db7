# SPDX-License-Identifier: Apache-2.0
"""The credentials that a scripted backend is shown: LOGIN and every mechanism of AUTHENTICATE."""

import dataclasses
import re

import sasl


@dataclasses.dataclass
class Login:
    """Credentials as they arrived. `form` is LOGIN (the command) or the mechanism, with -IR where
    there was an initial response (the mechanism LOGIN is SASL-LOGIN); `raw` what was sent, and
    `responses` the lines behind the command, decoded."""
    form: str
    owner: bytes
    user: bytes
    password: bytes
    raw: bytes = b""
    token: bytes = b""
    responses: list = dataclasses.field(default_factory=list)
    cancelled: bool = False


class Refused(Exception):
    """These credentials are not good."""


class LoginReader:
    """Reads one command with credentials on a connection, and judges by the backend's manners."""

    def __init__(self, connection):
        self.connection = connection
        self.backend = connection.backend
        self.login = None

    def read(self, command, rest):
        """The Login, and whether it is good."""
        try:
            if command == b"LOGIN":
                self._read_login(rest)
            else:
                self._read_authenticate(rest)
        except Refused:
            return self.login, False
        return self.login, True

    def _check_password(self):
        wanted = self.backend.password
        if wanted is not None and self.login.password != wanted:
            raise Refused

    # --- LOGIN ---

    def _read_login(self, rest):
        user, password = self._read_arguments(rest)
        self.login = Login("LOGIN", b"", user, password)
        self._check_password()

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
                    self.connection.send(b"+ go on\r\n")
                arguments.append(self.connection.read_exactly(int(match[1])))
                rest = self.connection.read_line()[:-2]
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

    # --- AUTHENTICATE ---

    def _read_authenticate(self, rest):
        name, _, initial = rest.partition(b" ")
        mechanism = name.decode().upper()
        readers = {"PLAIN": self._read_plain, "LOGIN": self._read_sasl_login,
                   "EXTERNAL": self._read_external, "XOAUTH2": self._read_bearer,
                   "OAUTHBEARER": self._read_bearer}
        form = "SASL-LOGIN" if mechanism == "LOGIN" else mechanism
        self.login = Login(form + ("-IR" if initial else ""), b"", b"", b"")
        if initial:
            message = b"" if initial == b"=" else sasl.decode(initial)
        else:
            message = self._ask(self.backend.continuation if mechanism != "LOGIN" else
                                b"+ " + sasl.encode(b"Username:") + b"\r\n")
        if mechanism in sasl.HASHES:
            self._read_scram(mechanism, message)
        else:
            assert mechanism in readers, rest
            readers[mechanism](message)

    def _ask(self, line):
        """Sends a continuation, and reads what it is answered with."""
        self.connection.send(line)
        answer = self.connection.read_line()
        assert answer.endswith(b"\r\n"), answer
        if answer == b"*\r\n":
            self.login.cancelled = True
            raise Refused
        self.login.responses.append(sasl.decode(answer[:-2]))
        return self.login.responses[-1]

    def _challenge(self, message):
        return self._ask(b"+ " + sasl.encode(message) + b"\r\n")

    def _read_plain(self, message):
        login = self.login
        login.owner, login.user, login.password = message.split(b"\0")
        self._check_password()

    def _read_sasl_login(self, message):
        self.login.user = message
        self.login.password = self._challenge(b"Password:")
        self._check_password()

    def _read_external(self, message):
        """The certificate of the connection is the credential."""
        self.login.owner = message
        tls = self.connection.tls
        if not tls or not tls.peer_certificate:
            raise Refused

    def _read_bearer(self, message):
        """A wrong token gets an error as a challenge first (RFC 7628 section 3.2.3)."""
        login = self.login
        login.user, login.token = sasl.bearer_fields(message)
        if login.token != self.backend.token:
            self._challenge(self.backend.token_error)
            raise Refused

    def _read_scram(self, mechanism, message):
        password = self.backend.password
        assert password is not None, "SCRAM wants a password"
        server = sasl.ScramServer(mechanism, password, self.backend.scram_iterations)
        answer = server.challenge(message)
        self.login.owner, self.login.user = server.owner, server.user
        proof = server.verify(self._challenge(answer))
        if proof is None:
            raise Refused
        self.login.password = password
        empty = self._challenge(proof)
        assert empty == b"", empty
