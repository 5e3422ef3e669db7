# SPDX-License-Identifier: Apache-2.0
"""Clients that mean harm about STARTTLS and the handshake behind it: injected commands, clear text
where TLS must begin, handshakes that stall or are given up (CASES.md, E)."""

import contextlib
import random
import socket
import ssl
import time

import pytest

from client import Client, Ended, make_context, statuses
from proxy import is_sanitized
from servers import wait_until
from tls_pipe import TlsPipe, client_hello

ALERT, HANDSHAKE, HEADER = 21, 22, 5


@pytest.fixture
def clear(proxy):
    with Client(proxy.starttls_port) as client:
        yield client.greet()


class Cut(Exception):
    """So much of the client's flight was sent, and no more will be."""


class Flight:
    """Sends for a TlsPipe so many records, and half of the next where `half`; then raises Cut."""

    def __init__(self, sock, records, half=False):
        self.socket, self.left, self.half = sock, records, half

    def __call__(self, data):
        while data:
            size = HEADER + int.from_bytes(data[3:5], "big")
            record, data = data[:size], data[size:]
            if self.left == 0:
                self.socket.sendall(record[:size // 2] if self.half else b"")
                raise Cut
            self.socket.sendall(record)
            self.left -= 1


def read_raw(client, seconds=5):
    """All that comes until the end, past TLS."""
    data = client.buffer
    client.socket.settimeout(seconds)
    with contextlib.suppress(ConnectionResetError):
        while piece := client.socket.recv(65536):
            data += piece
    return data


def assert_only_tls(data, kinds):
    """Records of these kinds, and nothing in the clear."""
    while data:
        assert data[0] in kinds and data[1] == 3, data
        data = data[HEADER + int.from_bytes(data[3:5], "big"):]


# --- Injection ---


INJECTIONS = [b"b NOOP\r\n", b"b LOGIN u1 pw\r\n", b"b LOGIN {2+}\r\nu1 {2+}\r\n",
              b"b LOGIN {8}\r\n", b"b STARTTLS\r\n", b"b", b"\r\n",
              b"b AUTHENTICATE PLAIN\r\nAHUxAHB3\r\n", b'b ID ("name" "evil")\r\n']


@pytest.mark.parametrize("injection", INJECTIONS)
@pytest.mark.parametrize("segments", [1, 2])
def test_c66_command_injection(proxy, clear, directory, fb1, injection, segments):
    """What stands behind STARTTLS is the beginning of TLS, and so the end of it."""
    command = b"a STARTTLS\r\n"
    for piece in [command + injection] if segments == 1 else [command, injection]:
        clear.send(piece)
    with contextlib.suppress(OSError):
        clear.send(client_hello(make_context(proxy.ca)))
    reply = clear.read_line()
    assert reply.startswith(b"a OK ")
    assert_only_tls(read_raw(clear), {ALERT})
    assert not directory.lookups() and not fb1.connections
    assert proxy.end_of(clear)["reason"] == "handshake_failed"


def test_c66_injection_split_everywhere(proxy, directory, fb1):
    line = b"a STARTTLS\r\nb LOGIN u1 pw\r\n"
    for at in range(1, len(line)):
        with Client(proxy.starttls_port) as client:
            client.greet()
            client.send(line[:at])
            time.sleep(0.001)
            with contextlib.suppress(OSError):
                client.send(line[at:])
            assert client.read_line().startswith(b"a OK ")
            assert_only_tls(read_raw(client), {ALERT})
    assert not directory.lookups() and not fb1.connections


@pytest.mark.parametrize("data", [random.Random(70).randbytes(100), b"b LOGIN u1 pw\r\n",
                                  b"\x16\x03\x01\xff\xff" + bytes(100), b"\x80\x2e\x01\x00\x02",
                                  b"GET / HTTP/1.1\r\n\r\n"],
                         ids=["random", "LOGIN", "too long a record", "SSL 2", "HTTP"])
def test_c70_no_tls_after_ok(proxy, clear, directory, fb1, data):
    assert statuses(clear.command("a", "STARTTLS")) == ["a OK"]
    clear.send(data)
    assert_only_tls(read_raw(clear), {ALERT})
    assert not directory.lookups() and not fb1.connections
    with Client(proxy.starttls_port) as other:
        other.greet().starttls(proxy.ca)
        other.assert_usable()


def test_c70_end_after_ok(proxy, clear):
    assert statuses(clear.command("a", "STARTTLS")) == ["a OK"]
    clear.socket.shutdown(socket.SHUT_WR)
    assert read_raw(clear) == b""
    assert proxy.end_of(clear)["reason"] == "handshake_failed"


# --- The hello with the command ---


def shake_with_hello_behind(proxy, client, cut=None):
    """STARTTLS and the hello in one segment, or in two that meet at `cut`."""
    first = []

    def send(data):
        if first:
            client.socket.sendall(data)
            return
        first.append(b"a STARTTLS\r\n" + data)
        client.socket.sendall(first[0][:cut])
        if cut is not None:
            time.sleep(0.001)
            client.socket.sendall(first[0][cut:])

    def receive():
        if client.before_tls:
            return client.socket.recv(65536)
        data = client.buffer
        while b"\n" not in data:
            data += client.socket.recv(65536)
        client.before_tls, _, rest = data.partition(b"\n")
        return rest or client.socket.recv(65536)

    client.tls = TlsPipe(make_context(proxy.ca), send, receive, server_name="localhost")
    assert client.before_tls.startswith(b"a OK ")
    return len(first[0])


def test_c69_hello_in_the_segment_of_the_command(proxy, clear, fb1):
    shake_with_hello_behind(proxy, clear)
    clear.buffer = b""
    clear.login()
    assert fb1.logins


def test_c69_hello_split_everywhere(proxy):
    """At every byte of the line, of the record's header and the message's, and some further on."""
    at, length = 0, 600
    while at < length - 1:
        at += 1 if at < 40 else 29
        with Client(proxy.starttls_port) as client:
            length = shake_with_hello_behind(proxy, client.greet(), min(at, length - 1))
            client.assert_usable()


def test_c69_whole_session_in_few_segments(proxy, fb1):
    """NOOP before STARTTLS, the hello behind it; then Finished and LOGIN together."""
    with Client(proxy.starttls_port) as client:
        client.greet().send(b"n NOOP\r\n")
        client.read_until("n")
        shake_with_hello_behind(proxy, client)
        client.send(b"b LOGIN u1 pw\r\nc NOOP\r\n")
        assert statuses(client.read_until("c")) == ["b OK", "c OK"]


# --- Handshakes that stall ---


@pytest.fixture(scope="module")
def impatient(start_shared_gatepost, fb1):
    return start_shared_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                                 limits={"handshake_timeout": "700ms"})


def open_for_handshake(gatepost, kind):
    """A connection on which TLS is to begin now."""
    if kind == "implicit":
        return Client(gatepost.tls_port)
    client = Client(gatepost.starttls_port).greet()
    assert statuses(client.command("a", "STARTTLS")) == ["a OK"]
    return client


KINDS = ["implicit", "starttls"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("said", ["nothing", "half a hello", "hello"])
def test_c71_stalled_handshake(impatient, kind, said):
    hello = client_hello(make_context(impatient.ca))
    with open_for_handshake(impatient, kind) as client:
        started = time.monotonic()
        client.send({"nothing": b"", "half a hello": hello[:100], "hello": hello}[said])
        data = read_raw(client)
        assert 0.4 < time.monotonic() - started < 3
        assert_only_tls(data, {HANDSHAKE, 20, 23})
    assert impatient.end_of(client)["reason"] == "handshake_timeout"


@pytest.mark.parametrize("kind", KINDS)
def test_c71_handshake_that_drips_is_not_patient(impatient, kind):
    """A byte now and then does not extend the time."""
    hello = client_hello(make_context(impatient.ca))
    with open_for_handshake(impatient, kind) as client:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in hello[:60]:
                client.send(bytes([byte]))
                time.sleep(0.05)
        assert read_raw(client) == b""
        assert time.monotonic() - started < 4


# --- Handshakes that are given up ---


def abort_handshakes(gatepost, kind):
    """One connection for each record of a client's flight, cut before it and within it, ended in
    order and not; by version. Returns how many there were."""
    count = 0
    for version in ("1.2", "1.3"):
        for half in (False, True):
            for ending in ("close", "reset"):
                count += abort_at_each_record(gatepost, kind, version, half, ending)
    return count


def abort_at_each_record(gatepost, kind, version, half, ending):
    records = 0
    while True:
        with open_for_handshake(gatepost, kind) as client:
            try:
                client.start_tls(gatepost.ca, versions=version,
                                 send=Flight(client.socket, records, half))
            except Cut:
                records += 1
                getattr(client, ending)()
            else:
                return records


@pytest.mark.parametrize("kind", KINDS)
def test_c71_aborts_at_each_message(proxy, kind):
    """No descriptor is left, and the second time no memory is taken."""
    descriptors = proxy.resting_descriptors()
    # TLS 1.2: hello, key exchange, change of cipher, Finished; TLS 1.3: no key exchange.
    assert abort_handshakes(proxy, kind) >= 4 * (4 + 3)
    wait_until(lambda: proxy.descriptors() <= descriptors, what="descriptors back")
    resident = proxy.resident_kib()
    for _ in range(3):
        abort_handshakes(proxy, kind)
    wait_until(lambda: proxy.descriptors() <= descriptors, what="descriptors back")
    assert proxy.resident_kib() - resident < (100_000 if is_sanitized() else 512)
    with open_for_handshake(proxy, kind) as client:
        client.start_tls(proxy.ca)


@pytest.mark.parametrize("kind", KINDS)
def test_c71_client_that_does_not_trust_us(proxy, certificates, kind):
    """Its alert ends the session."""
    with open_for_handshake(proxy, kind) as client:
        with pytest.raises((ssl.SSLError, Ended)):
            client.start_tls(certificates.other_ca)
        assert_only_tls(read_raw(client), {23, ALERT})
    assert proxy.end_of(client)["reason"] in ("handshake_failed", "client_lost")
