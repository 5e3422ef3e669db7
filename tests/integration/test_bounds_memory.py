# SPDX-License-Identifier: Apache-2.0
"""What strangers may take of our memory (C113): a connection that announces, begins or pipelines
something before its login costs little more than one that is silent."""

import contextlib
import os
import struct
import time

import pytest

import proxy_protocol as pp
from client import Client
from proxy import is_sanitized
from servers import wait_until

# Each connection beyond what it cost when it was silent.
GROWTH_KIB = 16
COUNT = 200

pytestmark = pytest.mark.skipif(is_sanitized(), reason="a sanitizer has memory of its own")

LONG_ID = b"a ID (" + b" ".join(b'"key-number-%02d-of-thirty" "' % number + b"v" * 1000 + b'"'
                                for number in range(30))
HALF_HEADER = pp.SIGNATURE + bytes([pp.PROXY, pp.TCP4]) + struct.pack(">H", 4000) + bytes(3900)
KINDS = {
    "announces {4096+}": b"a LOGIN u1 {4096+}\r\n",
    "announces {4000}": b"a LOGIN u1 {4000}\r\n",
    "8,000 octets of a password without an end": b"a LOGIN u1 " + b"p" * 8000,
    "8,000 octets of nothing without an end": b"a " + b"X" * 8000,
    "4,000 octets of a literal": b"a LOGIN u1 {4096+}\r\n" + b"p" * 4000,
    "30 long pairs of an ID": LONG_ID,
    "20 KiB of an AUTHENTICATE": b"a AUTHENTICATE PLAIN " + b"A" * 20480,
    "20 KiB of a response": b"a AUTHENTICATE PLAIN\r\n" + b"A" * 20480,
    "8,000 octets of a response": b"a AUTHENTICATE PLAIN\r\n" + b"A" * 8000,
    "an ID that is kept": LONG_ID + b")\r\n",
    "10,000 octets behind a login that hangs": b"a LOGIN u1 pw\r\n" + b"b NOOP\r\n" * 1250,
}

# A record of TLS must be whole before anything of it is read: 16 KiB, whoever reads.
RECORD_KIB = 17


def settled_kib(gatepost):
    """Its memory, once it has read all that was sent."""
    seen = [gatepost.cpu_seconds()]
    while len(seen) < 4 or len(set(seen[-4:])) > 1:
        time.sleep(0.05)
        seen.append(gatepost.cpu_seconds())
    return gatepost.resident_kib()


def growth_of(gatepost, clients, data, record=16384):
    """KiB for each client that sends these bytes, in records of this size."""
    before = settled_kib(gatepost)
    for client in clients:
        # What the proxy does not read must not hold up the test.
        client.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for at in range(0, len(data), record):
                client.send(data[at:at + record])
    grown = (settled_kib(gatepost) - before) / len(clients)
    if "C113" in os.environ:
        print(f"\n{grown:.1f} KiB for each")
    return grown


@pytest.fixture
def hungry(start_gatepost, fb1):
    """A gatepost of one worker with few places for long lines, before a backend that is silent."""
    fb1.script = lambda connection: connection.read_to_end()
    return start_gatepost(
        {"FB1": {"address": fb1.address, "login_timeout": "6s"}}, {"u1": "FB1"},
        process={"workers": 1}, limits={"sasl_lines": 16},
        listeners={"balanced": {"proxy_protocol": True, "trusted": ["127.0.0.1"]}})


def connect_many(stack, connect):
    """So many silent clients, behind some that warm everything up."""
    for _ in range(20):
        connect().close()
    return [stack.enter_context(connect()) for _ in range(COUNT)]


@pytest.mark.parametrize("kind", KINDS)
def test_c113_growth_for_each_connection(hungry, fb1, kind):
    with contextlib.ExitStack() as stack:
        clients = connect_many(stack, hungry.connect)
        assert growth_of(hungry, clients, KINDS[kind]) <= GROWTH_KIB
        if "hangs" in kind:
            wait_until(lambda: len(fb1.connections) == COUNT, what="all logins under way")
        with hungry.connect() as client:
            client.assert_usable()


@pytest.mark.parametrize("record,limit", [(1000, GROWTH_KIB), (16384, RECORD_KIB + 8)])
def test_c113_64_kib_behind_a_login_that_hangs(hungry, fb1, record, limit):
    """What is not read on for stays in the kernel."""
    with contextlib.ExitStack() as stack:
        clients = connect_many(stack, hungry.connect)
        data = b"a LOGIN u1 pw\r\n" + b"b NOOP\r\n" * 8192
        assert growth_of(hungry, clients, data, record) <= limit
        wait_until(lambda: len(fb1.connections) == COUNT, what="all logins under way")


def test_c113_half_a_record(hungry):
    with contextlib.ExitStack() as stack:
        clients = connect_many(stack, hungry.connect)
        before = settled_kib(hungry)
        for client in clients:
            client.send_raw(client.tls.encrypt([b"x" * 16384])[:-1])
        assert settled_kib(hungry) - before <= RECORD_KIB * COUNT


def test_c113_half_a_proxy_header(hungry):
    with contextlib.ExitStack() as stack:
        clients = connect_many(stack, lambda: Client(hungry.ports["balanced"]))
        assert growth_of(hungry, clients, HALF_HEADER) <= GROWTH_KIB


def test_c113_what_was_taken_is_given_back(hungry):
    """Rounds of all kinds whose end is noticed at once: the second one grows nothing."""
    def round_of_all():
        for data in [data for kind, data in KINDS.items() if "hangs" not in kind]:
            with contextlib.ExitStack() as stack:
                for _ in range(40):
                    stack.enter_context(hungry.connect()).send(data)

    descriptors = hungry.resting_descriptors()
    round_of_all()
    wait_until(lambda: hungry.descriptors() <= descriptors, what="descriptors back")
    before = settled_kib(hungry)
    round_of_all()
    wait_until(lambda: hungry.descriptors() <= descriptors, what="descriptors back")
    assert settled_kib(hungry) - before < 512
