# SPDX-License-Identifier: Apache-2.0
"""The bytes of a connection to a scripted backend: recorded as they come, plain or under TLS."""

import socket
import ssl
import struct
import time

import proxy_protocol
from tls_pipe import TlsPipe, limit_versions

CLOSE_NOTIFY = "close_notify"
FIN = "FIN"
RESET = "reset"
ALERT = "alert"


class Gone(Exception):
    """The proxy's side ended the connection."""


class Wire:
    """A connection's bytes. What is received is recorded as it is understood, under TLS in the
    clear; how TLS went stands in the attributes that begin with `tls`."""

    def __init__(self, sock):
        self.socket = sock
        self.received = bytearray()
        self.raw = bytearray()  # the same as it came by the socket, handshakes and records too
        self.segments = []
        self.ended = None
        self.recording = True
        self.proxy_header = None  # the PROXY header that came first
        self.tls = None  # a TlsPipe, once there is TLS
        self.tls_server_name = None  # the SNI
        self.tls_fault = None  # why the handshake failed
        self.before_tls = b""  # what came behind STARTTLS, before TLS
        self._buffer = bytearray()

    # --- writing ---

    def send(self, data):
        self.send_raw(self.tls.encrypt([data]) if self.tls else data)

    def send_raw(self, data):
        try:
            self.socket.sendall(data)
        except OSError as fault:
            self.ended = self.ended or RESET
            raise Gone(str(fault)) from None

    # --- reading ---

    def receive(self):
        """The next bytes, as they come; raises Gone at the end."""
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        return self._receive_segment()

    def _receive_segment(self):
        data = self._receive_tls() if self.tls else self._receive_raw()
        if self.recording:
            self.segments.append((time.monotonic(), data))
            self.received += data
        return data

    def _receive_tls(self):
        try:
            # Some may have come with the handshake.
            data = self.tls.decrypt(b"")
            while not data and not self.tls.ended:
                data = self.tls.decrypt(self._receive_raw())
        except ssl.SSLError as fault:
            self.tls_fault = fault
            self.ended = ALERT
            raise Gone(str(fault)) from None
        if not data:
            self.ended = CLOSE_NOTIFY
            raise Gone("end")
        return data

    def _receive_raw(self):
        try:
            data = self.socket.recv(262144)
        except OSError as fault:
            self.ended = RESET
            raise Gone(str(fault)) from None
        if not data:
            self.ended = FIN
            raise Gone("end")
        if self.recording:
            self.raw += data
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

    @property
    def consumed(self):
        """How many of the received bytes were read so far."""
        return len(self.received) - len(self._buffer)

    # --- what comes first ---

    def read_proxy_header(self):
        """A PROXY header, which is no part of what is recorded."""
        self.proxy_header = proxy_protocol.read_header(self._read_raw_exactly)

    def _read_raw_exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                piece = self.socket.recv(count - len(data))
            except OSError as fault:
                self.ended = RESET
                raise Gone(str(fault)) from None
            if not piece:
                self.ended = FIN
                raise Gone("end")
            data += piece
        return data

    def start_tls(self, context):
        """The handshake as the server; raises Gone where it fails, and says why in tls_fault."""
        self.before_tls = bytes(self._buffer)
        self._buffer.clear()
        try:
            self.tls = TlsPipe(context, self.send_raw, self._receive_raw, server_side=True)
        except ssl.SSLError as fault:
            self.tls_fault = fault
            raise Gone(str(fault)) from None
        self.tls_server_name = getattr(self.tls.tls, "asked_name", None)

    # --- ending ---

    def shutdown(self):
        """The end of our side, in order; reading goes on."""
        if self.tls:
            self.send_raw(self.tls.close_notify())
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as fault:
            raise Gone(str(fault)) from None

    def close(self):
        """The end of both sides, in order."""
        if self.tls and not self.ended:
            self.send_raw(self.tls.close_notify())
        self.socket.close()

    def cut(self):
        """FIN without close_notify."""
        self.socket.close()

    def end_from_outside(self, reset=False):
        """The same by a thread that is not the connection's own, which may be reading."""
        try:
            if reset:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
        except OSError:
            pass

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def make_server_context(certificate, client_ca=None, client_required=False, versions=None,
                        alpn=None, tickets=True, by_name=(), secrets=None):
    """What a backend with TLS offers and demands; `certificate` is a Pair, and `by_name` has pairs
    of an SNI and the Pair that is shown to it. `secrets` is where NSS's key log goes."""
    context = _bare_context(certificate)
    others = {name: _bare_context(pair) for name, pair in by_name}

    def choose(tls, name, _):
        tls.asked_name = name
        tls.context = others.get(name, context)

    if client_ca:
        context.load_verify_locations(str(client_ca))
        context.verify_mode = ssl.CERT_REQUIRED if client_required else ssl.CERT_OPTIONAL
    context.sni_callback = choose
    if secrets:
        context.keylog_filename = str(secrets)
    limit_versions(context, versions)
    if alpn:
        context.set_alpn_protocols(alpn)
    if not tickets:
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    return context


def _bare_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(certificate.chain), str(certificate.key))
    return context
