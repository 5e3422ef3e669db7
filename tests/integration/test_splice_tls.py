# SPDX-License-Identifier: Apache-2.0
"""The splice again, where the backend has TLS as well (CASES.md, J); and what only TLS can do to it
from that side (C107)."""

import time

import pytest

from backend import FakeBackend
from backend_tls import over_tls
from backend_wire import FIN, RESET
from client import CLOSE_NOTIFY
from proxy import is_sanitized
from test_splice import (BOTH, enter, large_message, bad_bytes,  # fixtures and tests are run here
                         test_c119_both_ways_at_once, test_c119_each_size_alone, test_c121_idle,
                         test_c120_compress, test_c121_backend_pushes,
                         test_c123_append_of_20_mib, test_c124_backend_reset_reaches_the_client,
                         test_c124_client_reset_reaches_the_backend,
                         test_one_that_does_not_read_does_not_hold_up_others,
                         test_record_behind_the_login_in_the_same_segment,
                         test_sending_into_a_closed_backend_loses_nothing,
                         test_sessions_do_not_mix, test_slow_backend_holds_the_client_up,
                         test_slow_client_holds_the_backend_up,
                         test_what_waits_within_the_proxy_needs_no_further_event)
from tls_records import FATAL, HANDSHAKE, USER_CANCELED, WARNING, Records

VERSIONS = pytest.mark.parametrize("versions", ["1.2", "1.3"])


@pytest.fixture(scope="module")
def fb1(certificates):
    backend = FakeBackend("FB1", tls="implicit", certificate=certificates.backend)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, certificates, fb1, full1):
    real = {"address": f"127.0.0.1:{full1.tls_port}", "tls": "implicit", "ca": str(certificates.ca)}
    return start_shared_gatepost({"FB1": over_tls(fb1, certificates), "mail1": real},
                                 {"u1": "FB1", "real": "mail1"})


# --- Ends ---

@BOTH
@VERSIONS
@pytest.mark.parametrize("ending,how", [("close", CLOSE_NOTIFY), ("cut", FIN), ("reset", RESET)])
def test_c126_end_of_the_backend(enter, fb1, tls, versions, ending, how):
    """All that it sent arrives, then its end: what was cut is cut for the client too."""
    fb1.tls_options = {"versions": versions}
    data = bad_bytes(300_000, seed=5)

    def session(connection):
        connection.send(data)
        if ending == "reset":
            connection.receive()
        getattr(connection, ending)()

    client = enter(tls, session)
    assert client.read_exactly(len(data)) == data
    if ending == "reset":
        client.send(b"x")
    rest, ended = client.read_to_end(timeout=5)
    assert rest == b""
    # Without TLS there is one kind of end; and a reset may be told by either.
    allowed = {CLOSE_NOTIFY: (CLOSE_NOTIFY if tls else FIN,), FIN: (FIN,), RESET: (FIN, RESET)}
    assert ended in allowed[how] and (ended != CLOSE_NOTIFY or how == CLOSE_NOTIFY)


@BOTH
@VERSIONS
def test_client_ends_its_side_and_reads_on(enter, fb1, tls, versions):
    fb1.tls_options = {"versions": versions}

    def session(connection):
        connection.read_to_end()
        connection.send(b"* still here\r\n" * 1000)
        connection.shutdown()

    client = enter(tls, session)
    client.send(b"x" * 100_000)
    client.shutdown()
    data, how = client.read_to_end()
    assert data == b"* still here\r\n" * 1000 and how == (CLOSE_NOTIFY if tls else FIN)
    assert fb1.connections[0].ended == CLOSE_NOTIFY


def test_client_that_is_cut_is_cut_for_the_backend(proxy, enter, fb1):
    client = enter(True, lambda connection: connection.read_to_end())
    client.send(b"a APPEND INBOX {100}\r\nhalf")
    client.socket.close()
    assert fb1.wait_for_end(fb1.connections[0]) == FIN


# --- What a backend may do by TLS 1.3 (C107) ---

@pytest.fixture
def take_over(enter, fb1, tmp_path):
    """take_over(script): a client whose backend, after the login, is the script: a function of the
    connection and of its Records."""
    def start(script):
        secrets = tmp_path / "secrets"
        fb1.tls_options = {"secrets": secrets, "tickets": False, "versions": "1.3"}
        return enter(True, lambda connection: script(connection, Records(connection.tls, secrets)))

    return start


@pytest.mark.parametrize("answer", [False, True], ids=["one-way", "both-ways"])
def test_c107_key_updates_of_the_backend(take_over, answer):
    def script(connection, records):
        for number in range(200):
            connection.send_raw(records.key_update(answer) + records.seal(b"%03d\r\n" % number))
        assert connection.read_exactly(4) == b"over"
        connection.send_raw(records.seal(b"done\r\n"))
        connection.read_to_end()

    client = take_over(script)
    assert client.read_exactly(1000) == b"".join(b"%03d\r\n" % number for number in range(200))
    # What goes to the backend is sealed by new keys, too.
    client.send(b"over")
    assert client.read_line() == b"done\r\n"


@pytest.mark.parametrize("pieces", [
    lambda records: [records.key_update(True) for _ in range(5000)],
    lambda records: [records.seal(b"") for _ in range(5000)],
    lambda records: [records.seal(b"", padding=16000) for _ in range(200)],
    lambda records: [records.alert(WARNING, USER_CANCELED) for _ in range(200)],
    lambda records: [records.alert(FATAL, 80)],
    lambda records: [records.seal(b"x" * 16384, padding=1000)],
    lambda records: [records.seal(b"\0", kind=99)],
    lambda records: [records.seal(b"\0\0\0\0", kind=HANDSHAKE)],
    lambda records: [b"\x17\x03\x03\x00\x20" + b"x" * 32]],
    ids=["key updates", "empty", "padded", "warnings", "fatal", "overflow", "unknown", "handshake",
         "forged"])
def test_c107_backend_that_goes_mad(take_over, proxy, fb1, pieces):
    """Ends in a session that is cut, and in no busy loop; the others go on."""
    def script(connection, records):
        connection.send_raw(records.seal(b"* 1 EXISTS\r\n") + b"".join(pieces(records)))
        connection.read_to_end()

    client = take_over(script)
    assert client.read_line() == b"* 1 EXISTS\r\n"
    assert client.read_to_end() == (b"", FIN)
    cpu = proxy.cpu_seconds()
    time.sleep(0.2)
    assert proxy.cpu_seconds() - cpu <= (0.1 if is_sanitized() else 0.05)
    with proxy.connect() as other:
        fb1.tls_options = {}
        other.login()


def test_c107_tiny_records_of_the_backend(take_over):
    data = bad_bytes(20_000, seed=6)

    def script(connection, records):
        connection.send_raw(b"".join(records.seal(data[at:at + 1]) for at in range(len(data))))
        connection.read_to_end()

    assert take_over(script).read_exactly(len(data)) == data
