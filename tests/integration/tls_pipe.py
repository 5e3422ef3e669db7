# SPDX-License-Identifier: Apache-2.0
"""TLS between bytes and bytes: the socket stays with its owner, who decides what is one segment,
and threads may write while others read."""

import dataclasses
import ssl
import threading

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

RECORD_MAX = 16384


@dataclasses.dataclass
class Ticket:
    """A session to come back with; only its own context takes it."""
    context: ssl.SSLContext
    session: ssl.SSLSession


def limit_versions(context, versions):
    """`versions` is "1.2", "1.3", or None for both."""
    if versions:
        context.minimum_version = context.maximum_version = VERSIONS[versions]


def client_hello(context, server_name="localhost"):
    """The first bytes of a client that will not hear the answer."""
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class TlsPipe:
    """One side of a TLS connection. `send` and `receive` are for the handshake: the one gets bytes,
    the other gives some, b"" at the end."""

    def __init__(self, context, send, receive, server_side=False, server_name=None, session=None):
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._lock = threading.Lock()
        self.context = context
        self.server_side = server_side
        self.ended = False
        self.sealed = 0  # records, since the handshake
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side,
                                    server_hostname=server_name, session=session)
        self._handshake(send, receive)

    def _handshake(self, send, receive):
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush(send)
                received = receive()
                if received:
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError:
                self._flush(send)  # the alert
                raise
        self._flush(send)

    def _flush(self, send):
        data = self._outgoing.read()
        if data:
            send(data)

    def encrypt(self, pieces):
        """Each piece in a record of its own, or several where it is too long."""
        with self._lock:
            for piece in pieces:
                self.tls.write(piece)
                self.sealed += -(-len(piece) // RECORD_MAX)
            return self._outgoing.read()

    def decrypt(self, raw):
        """What the bytes hold, perhaps nothing yet; sets `ended` at close_notify."""
        data = b""
        with self._lock:
            self._incoming.write(raw)
            try:
                while not self.ended:
                    piece = self.tls.read(65536)
                    self.ended = not piece
                    data += piece
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                self.ended = True
        return data

    def close_notify(self):
        """The bytes that end our side."""
        with self._lock:
            try:
                self.tls.unwrap()
            except ssl.SSLError:
                pass
            return self._outgoing.read()

    # --- what was agreed ---

    @property
    def version(self):
        return self.tls.version()

    @property
    def cipher(self):
        return self.tls.cipher()[0]

    @property
    def alpn(self):
        return self.tls.selected_alpn_protocol()

    @property
    def resumed(self):
        return self.tls.session_reused

    @property
    def peer_certificate(self):
        """In DER, or None."""
        return self.tls.getpeercert(binary_form=True)

    @property
    def peer_names(self):
        """The alternative names and the common name of a verified peer, as (kind, name)."""
        shown = self.tls.getpeercert() or {}
        subject = [pair for part in shown.get("subject", ()) for pair in part]
        return list(shown.get("subjectAltName", ())) + subject

    @property
    def ticket(self):
        """The newest session, or None; TLS 1.3 gives it behind the handshake."""
        session = self.tls.session
        return Ticket(self.context, session) if session and session.has_ticket else None
