# SPDX-License-Identifier: Apache-2.0
"""After the login every byte passes, both ways, and every end too (CASES.md, J)."""

import contextlib
import fcntl
import hashlib
import pathlib
import random
import re
import socket
import struct
import termios
import threading
import time
import zlib

import pytest

from backend import FIN, RESET, FakeBackend, echo
from client import CLOSE_NOTIFY, Ended
from proxy import is_sanitized
from servers import PASSWORD, wait_until

MIB = 1 << 20
SIZES = (1, 2, 1023, 16383, 16384, 16385, 65536)
BOTH = pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, fb1, mail1):
    return start_shared_gatepost({"FB1": fb1.address, "mail1": mail1.address},
                                 {"u1": "FB1", "real": "mail1"})


@pytest.fixture
def enter(proxy, fb1):
    """enter(tls, session): a client that has logged in to FB1, whose side `session` serves."""
    clients = []

    def log_in(tls=True, session=echo, **options):
        fb1.session = session
        client = proxy.connect(tls=tls, **options)
        clients.append(client)
        client.timeout = 30
        client.login()
        return client

    yield log_in
    for client in clients:
        client.close()


class Thread(threading.Thread):
    """Work in a thread of its own; join_or_raise() tells how it went."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.fault = work, None
        self.start()

    def run(self):
        try:
            self.work()
        except BaseException as fault:  # pytest's own failures too
            self.fault = fault

    def join_or_raise(self, seconds=60):
        self.join(seconds)
        assert not self.is_alive(), "still at work"
        if self.fault:
            raise self.fault


def bad_bytes(size, seed):
    """Random bytes, with pieces between them that something might take for meaning."""
    randomness = random.Random(seed)
    traps = (b"\r\n", b"{9}\r\n", b"\0", b"\x16\x03\x01\x02\x00", b"\x17\x03\x03\x40\x00",
             b"\x15\x03\x03\x00\x02\x01\x00", b"a OK [CAPABILITY X]\r\n", b"* BYE\r\n",
             b"z LOGOUT\r\n", b"+ \r\n", bytes(range(256)))
    pieces, length = [], 0
    while length < size:
        pieces.append(randomness.randbytes(randomness.randint(1, 40_000)))
        pieces.append(randomness.choice(traps))
        length += len(pieces[-1]) + len(pieces[-2])
    return b"".join(pieces)[:size]


def send_in_odd_sizes(send, data, seed):
    randomness = random.Random(seed)
    at = 0
    while at < len(data):
        size = randomness.choice(SIZES)
        send(data[at:at + size])
        at += size


@BOTH
def test_c119_both_ways_at_once(enter, tls):
    """20 MiB each way, of two streams that have nothing to do with each other."""
    up, down = bad_bytes(20 * MIB, seed=1), bad_bytes(20 * MIB, seed=2)
    received_up = hashlib.sha256()
    sent = threading.Event()

    def session(connection):
        connection.recording = False
        sender = Thread(lambda: send_in_odd_sizes(connection.send, down, seed=3))
        left = len(up)
        while left > 0:
            data = connection.receive()
            received_up.update(data)
            left -= len(data)
        sender.join_or_raise()
        sent.set()
        connection.read_to_end()

    client = enter(tls, session)
    sender = Thread(lambda: send_in_odd_sizes(client.send, up, seed=4))
    received = client.read_exactly(len(down))
    sender.join_or_raise()
    assert sent.wait(30)
    assert hashlib.sha256(received).digest() == hashlib.sha256(down).digest()
    assert received_up.digest() == hashlib.sha256(up).digest()
    client.expect_silence(0.1)


@BOTH
@pytest.mark.parametrize("size", SIZES)
def test_c119_each_size_alone(enter, tls, size):
    """Nothing waits for more: what was sent comes back before anything follows."""
    client = enter(tls)
    data = bad_bytes(size, seed=size)
    for _ in range(5):
        client.send(data)
        assert client.read_exactly(size) == data


def test_records_that_came_together_are_all_seen(enter):
    """IMAP.md, rule 14: the socket is silent, but TLS still holds bytes."""
    client = enter()
    pieces = [b"%05d" % number for number in range(2000)]
    client.send_records(pieces)
    assert client.read_exactly(5 * 2000) == b"".join(pieces)
    big = [bad_bytes(16384, seed) for seed in range(20)]
    thread = Thread(lambda: client.send_records(big))
    assert client.read_exactly(20 * 16384) == b"".join(big)
    thread.join_or_raise()


def test_record_behind_the_login_in_the_same_segment(proxy, fb1):
    fb1.session = echo
    with proxy.connect() as client:
        client.send_records([b"a LOGIN u1", b" pw\r\n", b"\0one", b"two", b"\xffthree"])
        assert client.read_line().startswith(b"a OK")
        assert client.read_exactly(13) == b"\0onetwo\xffthree"


def test_sessions_do_not_mix(proxy, fb1):
    fb1.session = echo
    randomness = random.Random(7)
    clients = [proxy.connect(tls=number % 2 == 0) for number in range(60)]
    try:
        for client in clients:
            client.login()
        for _ in range(5):
            data = [randomness.randbytes(randomness.randint(1, 30_000)) for _ in clients]
            for client, piece in zip(clients, data):
                client.send(piece)
            for client, piece in zip(clients, data):
                assert client.read_exactly(len(piece)) == piece
    finally:
        for client in clients:
            client.close()


# --- IMAP that needs both directions ---


@BOTH
def test_c121_idle(proxy, mail1, tls):
    mail1.seed("real")
    with proxy.connect(tls=tls) as idler, proxy.connect(tls=tls) as other:
        idler.login("real", PASSWORD)
        idler.command("s", "SELECT INBOX")
        idler.send(b"i IDLE\r\n")
        assert idler.read_line().startswith(b"+ ")
        other.login("real", PASSWORD)
        message = b"Subject: new\r\n\r\nnew\r\n"
        other.send(b"p APPEND INBOX {%d+}\r\n%s\r\n" % (len(message), message))
        other.read_until("p")
        assert b" EXISTS" in idler.read_line()
        idler.send(b"DONE\r\n")
        assert idler.read_until("i")[-1].startswith(b"i OK")


def test_c121_backend_pushes(enter):
    push = threading.Event()

    def session(connection):
        push.wait(10)
        connection.send(b"* 23 EXISTS\r\n")
        connection.read_to_end()

    client = enter(session=session)
    client.expect_silence(0.2)
    push.set()
    assert client.read_line(timeout=1) == b"* 23 EXISTS\r\n"


@pytest.fixture(scope="module")
def large_message():
    randomness = random.Random(9)
    lines = [randomness.randbytes(38).hex().encode() for _ in range(20 * MIB // 78)]
    return b"Subject: large\r\n\r\n" + b"\r\n".join(lines) + b"\r\n"


@pytest.mark.parametrize("plus", ["", "+"])
def test_c123_append_of_20_mib(proxy, large_message, plus):
    with proxy.connect() as client:
        client.timeout = 30
        client.login("real", PASSWORD)
        client.command("c", f"CREATE large{len(plus)}")
        client.send(f"a APPEND large{len(plus)} {{{len(large_message)}{plus}}}\r\n".encode())
        if not plus:
            assert client.read_line().startswith(b"+ ")
        client.send(large_message + b"\r\n")
        assert client.read_until("a")[-1].startswith(b"a OK")
        client.command("e", f"EXAMINE large{len(plus)}")
        client.send(b"f FETCH 1 BODY.PEEK[]\r\n")
        assert client.read_line().endswith(b"{%d}\r\n" % len(large_message))
        assert client.read_exactly(len(large_message)) == large_message
        assert client.read_until("f")[-1].startswith(b"f OK")


@BOTH
def test_c120_compress(proxy, mail1, tls):
    """COMPRESS DEFLATE between client and backend, with a command right behind it."""
    mail1.seed("real")
    with proxy.connect(tls=tls) as client:
        client.login("real", PASSWORD)
        packer = zlib.compressobj(wbits=-15)
        unpacker = zlib.decompressobj(wbits=-15)

        def pack(data):
            return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)

        def read_until(ending):
            data = b""
            while not data.endswith(ending):
                data += unpacker.decompress(client.receive())
            return data

        client.send(b"c COMPRESS DEFLATE\r\n")
        assert client.read_until("c")[-1].startswith(b"c OK")
        client.send(pack(b"d NOOP\r\ne SELECT INBOX\r\n"))
        answer = read_until(b"\r\n")
        while b"e OK" not in answer:
            answer += read_until(b"\r\n")
        assert answer.startswith(b"d OK") and b" EXISTS\r\n" in answer
        client.send(pack(b"f LOGOUT\r\n"))
        assert b"* BYE" in read_until(b"\r\n")


# --- Ends ---


@BOTH
def test_c126_backend_says_bye_and_closes(enter, tls):
    client = enter(tls, lambda connection: connection.send(b"* BYE x\r\n"))
    expected = CLOSE_NOTIFY if tls else FIN
    assert client.read_to_end(timeout=2) == (b"* BYE x\r\n", expected)
    assert client.fin_follows(timeout=2) or not tls


@BOTH
def test_all_that_the_backend_sent_before_its_end_arrives(enter, tls):
    """A client that reads late still gets the last byte, and then an orderly end."""
    data = bad_bytes(3 * MIB, seed=11)
    client = enter(tls, lambda connection: connection.send(data), receive_buffer=32768)
    time.sleep(0.3)
    received, how = client.read_to_end()
    assert received == data
    assert how == (CLOSE_NOTIFY if tls else FIN)


@BOTH
def test_unread_client_bytes_do_not_destroy_the_last_lines(enter, tls):
    """The backend ends while the client is still sending: no RST overtakes its last words."""
    def session(connection):
        connection.receive()
        connection.send(b"* BYE enough\r\n")

    client = enter(tls, session)
    client.send(b"x" * 100)
    time.sleep(0.2)
    try:
        for _ in range(20):
            client.send(b"y" * 1000)
    except OSError:
        pass
    assert client.read_to_end(timeout=5)[0] == b"* BYE enough\r\n"


@BOTH
def test_client_ends_its_side_and_reads_on(enter, tls, fb1):
    data = bad_bytes(2 * MIB, seed=12)
    seen = threading.Event()

    def session(connection):
        connection.recording = False
        connection.read_to_end()
        seen.set()
        connection.send(data)

    client = enter(tls, session)
    client.send(b"the last words")
    client.shutdown()
    assert seen.wait(5)
    assert fb1.connections[0].ended == FIN
    received, how = client.read_to_end()
    assert received == data and how == (CLOSE_NOTIFY if tls else FIN)


def waiting_in_the_proxy(connection):
    """How many bytes of the backend's the proxy's kernel holds, which the proxy does not read."""
    theirs, ours = connection.socket.getpeername()[1], connection.socket.getsockname()[1]
    match = re.search(rf": \w+:{theirs:04X} \w+:{ours:04X} \w+ \w+:(\w+)",
                      pathlib.Path("/proc/net/tcp").read_text())
    return int(match[1], 16)


def fill_up(connection, data):
    """Sends until the proxy reads no more; returns how much, when its kernel has all of it."""
    sent = 0
    while waiting_in_the_proxy(connection) < 40_000:
        connection.send(data[sent:sent + 65536])
        sent += 65536
        time.sleep(0.002)
    wait_until(lambda: struct.unpack("i", fcntl.ioctl(connection.socket, termios.TIOCOUTQ,
                                                      bytes(4)))[0] == 0, what="all taken")
    return sent


@BOTH
def test_sending_into_a_closed_backend_loses_nothing(enter, tls):
    """The backend has closed; what it sent before waits for a client that reads late and sends on
    meanwhile, which fails. All of it arrives yet."""
    data, sent, gone = bad_bytes(16 * MIB, seed=16), [], threading.Event()

    def session(connection):
        connection.read_command()
        sent.append(fill_up(connection, data))
        connection.socket.close()
        gone.set()

    client = enter(tls, session, receive_buffer=65536)
    client.send(b"f FETCH\r\n")
    assert gone.wait(10)
    for number in range(3):
        client.send(b"n%d NOOP\r\n" % number)
        time.sleep(0.1)
    received, _ = client.read_to_end(timeout=5)
    assert len(received) == sent[0]
    assert received == data[:sent[0]]


def test_client_cut_without_close_notify(proxy, enter, fb1):
    """IMAP.md 1.9: passed on as an end; the log tells it from an orderly one."""
    client = enter(True)
    client.send(b"abc")
    assert client.read_exactly(3) == b"abc"
    client.socket.shutdown(socket.SHUT_WR)
    assert fb1.wait_for_end(fb1.connections[0], seconds=2)
    proxy.wait_for_log("reason=client_cut")


def test_backend_cut_without_close_notify(start_gatepost, certificates):
    """As Cyrus 3.6 ends all its sessions: passed on as it is, and nothing to warn of."""
    with contextlib.closing(FakeBackend("cutter", tls="implicit",
                                        certificate=certificates.backend)) as backend:
        backend.session = lambda connection: (connection.send(b"* BYE\r\n"), connection.cut())
        proxy = start_gatepost({"cutter": {"address": backend.address, "tls": "implicit",
                                           "ca": str(certificates.ca),
                                           "server_name": "mail1.test"}}, {"u1": "cutter"})
        with proxy.connect() as client:
            client.login()
            assert client.read_to_end() == (b"* BYE\r\n", FIN)
        proxy.wait_for_log("reason=backend_cut")
        assert "level=warn" not in proxy.log()


@BOTH
def test_half_closed_session_ends_in_time(proxy, enter, tls):
    """close_timeout bounds how long a backend may keep a session whose client has left; and the
    waiting costs no time."""
    client = enter(tls, lambda connection: (connection.read_to_end(), time.sleep(8)))
    cpu = proxy.cpu_seconds()
    client.shutdown()
    started = time.monotonic()
    client.read_to_end(timeout=6)
    assert time.monotonic() - started < 5
    assert proxy.cpu_seconds() - cpu < 0.2


def rounds_of_resets(proxy, count, work):
    """work(client) in 10 threads, `count` times in all."""
    def several():
        for _ in range(count // 10):
            with proxy.connect(tls=False) as client:
                client.login()
                work(client)

    threads = [Thread(several) for _ in range(10)]
    for thread in threads:
        thread.join_or_raise()


def flood(connection):
    connection.recording = False
    connection.receive()
    while True:
        connection.send(b"x" * 65536)


def test_c124_client_resets_during_a_download(proxy, fb1):
    def work(client):
        client.send(b"go")
        client.read_exactly(100_000)
        client.reset()

    fb1.session = flood
    descriptors = proxy.resting_descriptors()
    rounds_of_resets(proxy, 500, work)
    wait_until(lambda: len(fb1.connections) == 500, what="all connections")
    wait_until(lambda: proxy.descriptors() <= descriptors, 5, "descriptors back")


@BOTH
def test_c124_client_reset_reaches_the_backend(enter, tls, fb1):
    client = enter(tls, lambda connection: connection.read_to_end())
    client.reset()
    assert fb1.wait_for_end(fb1.connections[0], seconds=1)


def test_c124_backend_resets_during_an_upload(proxy, fb1):
    def session(connection):
        connection.recording = False
        connection.receive()
        connection.reset()

    def work(client):
        started = time.monotonic()
        with pytest.raises((OSError, Ended)):
            while time.monotonic() - started < 1:
                client.send(b"x" * 65536)
                with contextlib.suppress(TimeoutError):
                    client.receive(timeout=0)

    fb1.session = session
    descriptors = proxy.resting_descriptors()
    rounds_of_resets(proxy, 500, work)
    wait_until(lambda: proxy.descriptors() <= descriptors, 10, "descriptors back")


@BOTH
def test_c124_backend_reset_reaches_the_client(enter, tls):
    """The end is not dressed up as an orderly one."""
    def session(connection):
        connection.receive()
        connection.reset()

    client = enter(tls, session)
    client.send(b"x")
    _, how = client.read_to_end(timeout=2)
    assert how in (FIN, RESET)


# --- Back-pressure ---


@BOTH
def test_slow_client_holds_the_backend_up(proxy, enter, tls):
    """30 MiB wait for a client that does not read; the proxy holds next to nothing of them."""
    data = bad_bytes(30 * MIB, seed=13)
    progress = [0]

    def session(connection):
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        for at in range(0, len(data), 65536):
            connection.send(data[at:at + 65536])
            progress[0] = at
        connection.read_to_end()

    resident = proxy.resident_kib()
    client = enter(tls, session, receive_buffer=65536)
    time.sleep(0.5)
    cpu = proxy.cpu_seconds()
    time.sleep(0.5)
    assert proxy.cpu_seconds() - cpu < 0.1
    assert progress[0] < 25 * MIB
    assert proxy.resident_kib() - resident < (100_000 if is_sanitized() else 1024)
    assert client.read_exactly(len(data)) == data


@BOTH
def test_slow_backend_holds_the_client_up(proxy, enter, tls):
    data = bad_bytes(30 * MIB, seed=14)
    read_now, digest = threading.Event(), hashlib.sha256()
    done, progress = threading.Event(), [0]

    def session(connection):
        connection.recording = False
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        read_now.wait(20)
        left = len(data)
        while left > 0:
            piece = connection.receive()
            digest.update(piece)
            left -= len(piece)
        done.set()

    def upload():
        for at in range(0, len(data), 65536):
            client.send(data[at:at + 65536])
            progress[0] = at

    resident = proxy.resident_kib()
    client = enter(tls, session)
    thread = Thread(upload)
    time.sleep(0.5)
    cpu = proxy.cpu_seconds()
    time.sleep(0.5)
    assert proxy.cpu_seconds() - cpu < 0.1
    assert progress[0] < 25 * MIB
    assert proxy.resident_kib() - resident < (100_000 if is_sanitized() else 1024)
    read_now.set()
    thread.join_or_raise()
    assert done.wait(30)
    assert digest.digest() == hashlib.sha256(data).digest()


def test_what_waits_within_the_proxy_needs_no_further_event(proxy, fb1):
    """Uploads of many sizes to a backend that reads late: whichever ends while a part of its last
    record waits within TLS arrives whole, though the client says nothing more."""
    read_now, results = threading.Event(), []

    def session(connection):
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131072)
        connection.recording = False
        size = int(connection.read_line())
        read_now.wait(20)
        digest = hashlib.sha256(connection.read_exactly(size)).digest()
        results.append((size, digest))
        connection.send(b"got it")
        connection.read_to_end()

    def upload(size):
        with proxy.connect() as client:
            client.login()
            client.send(b"%d\n" % size)
            client.send(data[:size])
            assert client.read_exactly(6, timeout=15) == b"got it"

    fb1.session = session
    data = bad_bytes(5 * MIB, seed=15)
    sizes = [number * 37_000 for number in range(1, 141)]
    for start in range(0, len(sizes), 20):
        read_now.clear()
        threads = [Thread(lambda size=size: upload(size)) for size in sizes[start:start + 20]]
        time.sleep(0.7)
        read_now.set()
        for thread in threads:
            thread.join_or_raise()
    assert sorted(results) == [(size, hashlib.sha256(data[:size]).digest()) for size in sizes]


def test_one_that_does_not_read_does_not_hold_up_others(enter):
    def session(connection):
        wish = connection.receive()
        while wish == b"flood":
            connection.send(b"x" * 65536)
        connection.send(wish)
        connection.read_to_end()

    stuck = [enter(number % 2 == 0, session, receive_buffer=32768) for number in range(8)]
    for client in stuck:
        client.send(b"flood")
    time.sleep(0.2)
    for _ in range(8):
        client = enter(True, session)
        client.send(b"ping")
        assert client.read_exactly(4) == b"ping"


def test_nothing_is_injected_and_no_login_deadline_applies(start_gatepost, fb1):
    fb1.session = echo
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              limits={"login_timeout": "1s", "handshake_timeout": "1s"})
    with gatepost.connect() as client:
        client.login()
        client.expect_silence(1.7)
        client.send(b"still here")
        assert client.read_exactly(10) == b"still here"
