# SPDX-License-Identifier: Apache-2.0
"""What a client may do by records of TLS that no library makes: never a busy loop, and the session
goes on or ends with an alert (CASES.md, C107)."""

import contextlib
import ssl
import time

import pytest

from backend import echo
from client import Client, make_context
from proxy import is_sanitized
from tls_records import FATAL, HANDSHAKE, USER_CANCELED, WARNING, Records

PHASES = pytest.mark.parametrize("phase", ["before the login", "in the splice"])


@pytest.fixture
def take_over(proxy, fb1, tmp_path):
    """take_over(phase): a client in that phase, and the Records that it speaks by from now on."""
    clients = []

    def start(phase):
        fb1.session = echo
        context = make_context(proxy.ca, versions="1.3")
        context.keylog_filename = str(tmp_path / "secrets")
        client = proxy.connect(context=context)
        clients.append(client)
        if phase != "before the login":
            client.login()
        return client, Records(client.tls, tmp_path / "secrets")

    yield start
    for client in clients:
        client.close()


@pytest.fixture
def quiet(proxy):
    """with quiet(): what happens within, and a pause behind it, costs next to no time of the
    processor."""
    @contextlib.contextmanager
    def measure(pause=0.2):
        before = proxy.cpu_seconds()
        yield
        time.sleep(pause)
        assert proxy.cpu_seconds() - before < (0.2 if is_sanitized() else 0.1)

    return measure


def say(client, records, phase, number):
    """One exchange, which shows that the session is alive and in step."""
    tag = b"k%d" % number
    client.send_raw(records.seal(tag + b" NOOP\r\n"))
    line = client.read_line()
    assert line.startswith(tag + (b" OK" if phase == "before the login" else b" NOOP\r\n")), line


@PHASES
@pytest.mark.parametrize("answer", [False, True], ids=["one-way", "both-ways"])
def test_c107_key_updates(take_over, quiet, phase, answer):
    """A hundred in a second, with something to say between them."""
    client, records = take_over(phase)
    with quiet(0):
        for number in range(100):
            client.send_raw(records.key_update(answer))
            if number % 5 == 0:
                say(client, records, phase, number)
            time.sleep(0.005)
    say(client, records, phase, 1000)


@PHASES
def test_c107_keys_change_for_both(take_over, phase):
    """Whoever is asked for new keys uses them: our side, which must open what comes, is the ssl
    module's."""
    client, records = take_over(phase)
    for number in range(50):
        client.send_raw(records.key_update(True) + records.key_update(True))
        say(client, records, phase, number)


STORMS = {
    "key updates": lambda records: [records.key_update(True) for _ in range(20_000)],
    "empty records": lambda records: [records.seal(b"") for _ in range(20_000)],
    "padded records": lambda records: [records.seal(b"", padding=16_000) for _ in range(200)],
    "warnings": lambda records: [records.alert(WARNING, USER_CANCELED) for _ in range(5000)]}


@PHASES
@pytest.mark.parametrize("storm", STORMS)
def test_c107_storms(take_over, quiet, proxy, phase, storm):
    """With nothing said between them: the session ends, and nothing spins."""
    client, records = take_over(phase)
    data = b"".join(STORMS[storm](records))
    with quiet():
        with contextlib.suppress(OSError):
            client.send_raw(data)
        with contextlib.suppress(ssl.SSLError):  # the alert
            client.read_to_end()
    with proxy.connect() as other:
        other.login("u2")


@PHASES
def test_c107_few_of_everything(take_over, phase):
    """What a real client may have a reason for: the session survives."""
    client, records = take_over(phase)
    for number in range(20):
        client.send_raw(b"".join([
            records.seal(b""), records.seal(b"", padding=100), records.key_update(),
            records.alert(WARNING, USER_CANCELED), records.seal(b""), records.key_update(True)]))
        say(client, records, phase, number)


@PHASES
def test_c107_tiny_records(take_over, phase):
    client, records = take_over(phase)
    commands = b"".join(b"t%d NOOP\r\n" % number for number in range(500))
    client.send_raw(b"".join(records.seal(commands[at:at + 1], padding=at % 3)
                             for at in range(len(commands))))
    client.read_until("t499")
    say(client, records, phase, 1000)


BROKEN = {
    "too long": (lambda records: records.seal(b"x" * 16384, padding=1000), "record.overflow|long"),
    "of no kind": (lambda records: records.seal(b"x", kind=99), "unexpected.message"),
    "without content": (lambda records: records.seal(b"", kind=0), "unexpected.message|decrypt"),
    "strange handshake": (lambda records: records.seal(b"\x01\0\0\0", HANDSHAKE),
                          "unexpected.message"),
    "forged": (lambda records: b"\x17\x03\x03\x00\x20" + b"x" * 32, "bad.record.mac"),
    "of a plain alert": (lambda records: b"\x15\x03\x03\x00\x02\x01\x5a", "alert"),
    "of no version": (lambda records: b"\x17\x09\x09\x00\x20" + b"x" * 32, "alert")}


@PHASES
@pytest.mark.parametrize("record", BROKEN)
def test_broken_records_end_in_an_alert(take_over, quiet, phase, record):
    client, records = take_over(phase)
    make, alert = BROKEN[record]
    with quiet():
        client.send_raw(make(records))
        with pytest.raises(ssl.SSLError, match=f"(?i){alert}".replace(".", "[ _]")):
            client.read_to_end()


@PHASES
def test_fatal_alert_of_the_client(take_over, quiet, phase):
    client, records = take_over(phase)
    with quiet():
        client.send_raw(records.alert(FATAL, 80))
        assert client.read_to_end()[0] == b""


HELLOS = {"warnings": b"\x15\x03\x01\x00\x02\x01\x5a" * 1000,
          "a fatal alert": b"\x15\x03\x01\x00\x02\x02\x28",
          "empty records": b"\x16\x03\x01\x00\x00" * 1000,
          "half a header": b"\x16\x03", "SSL 2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
          "a long record": b"\x16\x03\x01\xff\xff" + b"\x01\x00\xff\xff" * 10_000,
          "a long message": b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380),
          "data": b"\x17\x03\x01\x00\x05hello"}


@pytest.mark.parametrize("hello", HELLOS)
def test_c107_before_the_handshake(proxy, quiet, hello):
    with quiet(), Client(proxy.tls_port) as client:
        with contextlib.suppress(OSError):
            client.send(HELLOS[hello])
            client.socket.shutdown(1)
        data, _ = client.read_to_end()
        # An alert (its record begins with 21) or nothing: never a word in the clear.
        assert data == b"" or data[0] == 21, data
