# SPDX-License-Identifier: Apache-2.0
"""How long a client may take, and how long those behind us may: each limit of time ends what it is
for, in time, with its reason in one line of the log, and is counted (C71, C85, C86, C108, C109)."""

import contextlib
import time

import pytest

from client import CLOSE_NOTIFY, FIN, Client, Ended, make_context, statuses
from proxy import is_sanitized
from servers import wait_until
from tls_pipe import client_hello

BYE = b"* BYE [UNAVAILABLE] No login in the time allowed.\r\n"


@pytest.fixture
def limited(start_gatepost, fb1):
    """Starts a gatepost with these limits, a backend `FB1`, and a listener behind a balancer."""
    def start(backend=None, **limits):
        return start_gatepost(
            {"FB1": {"address": fb1.address, **(backend or {})}}, {"u1": "FB1"}, limits=limits,
            listeners={"balanced": {"proxy_protocol": True, "trusted": ["127.0.0.1"]}})

    return start


def ends_between(client, started, least, most):
    """All that came until the end, and how it ended, between so many seconds from the start."""
    data, how = client.read_to_end()
    elapsed = time.monotonic() - started
    assert least < elapsed < most, elapsed
    return data, how


def count_reason(gatepost, reason):
    gatepost.signal()
    gatepost.wait()
    return int(gatepost.events("sessions by reason")[0][reason])


STATES = {
    "silent": b"", "half a command": b"a LOG", "a literal": b"a LOGIN {5}\r\nab",
    "a literal on its way": b"a LOGIN {2+}\r\nu", "AUTHENTICATE": b"a AUTHENTICATE PLAIN\r\n",
    "a password asked for": b"a AUTHENTICATE LOGIN\r\ndTE=\r\n", "commands": b"a NOOP\r\n" * 30,
}


def test_c108_login_timeout_in_every_state(limited):
    """All clients at once, with TLS, without, and by STARTTLS."""
    gatepost = limited(login_timeout="1s")
    started = time.monotonic()
    clients = []
    for said in STATES.values():
        clients += [(gatepost.connect(), CLOSE_NOTIFY, said),
                    (gatepost.connect(tls=False), FIN, said),
                    (gatepost.connect_starttls(), CLOSE_NOTIFY, said)]
    for client, _, said in clients:
        client.send(said)
    for client, end, _ in clients:
        data, how = ends_between(client, started, 0.8, 3)
        assert data.endswith(BYE) and data.count(b"BYE") == 1 and how == end
        client.close()
        line = gatepost.end_of(client)
        assert (line["reason"], line["level"]) == ("login_timeout", "info")
    assert count_reason(gatepost, "login_timeout") == len(clients)


def test_c109_bytes_do_not_put_it_off(limited):
    """One of LOGIN now and then; complete commands; logins that are refused."""
    gatepost = limited(login_timeout="1s", failure_delay="300ms")
    with gatepost.connect() as slow, gatepost.connect() as busy, gatepost.connect() as wrong:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"a LOGIN u1 ":
                slow.send(bytes([byte]))
                busy.send(b"n NOOP\r\n")
                wrong.send(b"w LOGIN u1 wrong\r\n")
                time.sleep(0.11)
        for client in (slow, busy, wrong):
            data, how = ends_between(client, started, 0.8, 3)
            assert data.endswith(BYE) and how == CLOSE_NOTIFY, data


def test_c108_silent_connections_do_not_stop_a_login(limited):
    """300 that say nothing, with TLS begun or not."""
    gatepost = limited()
    with contextlib.ExitStack() as stack:
        for number in range(300):
            stack.enter_context(Client(gatepost.tls_port) if number % 3 else gatepost.connect())
        with gatepost.connect() as client:
            client.login()
            assert client.status("n", "NOOP") == "OK"


def test_c108_default_is_longer_than_a_moment(limited):
    with limited().connect() as client:
        client.expect_silence(1.5)
        client.assert_usable()


OPENINGS = {
    "nothing": ("tls_port", b""), "half a hello": ("tls_port", None),
    "behind STARTTLS": ("starttls_port", b"a STARTTLS\r\n"),
}


@pytest.mark.parametrize("limits", [{"handshake_timeout": "600ms"}, {"login_timeout": "600ms"}],
                         ids=["handshake_timeout", "login_timeout"])
def test_c71_stalled_handshakes_end(limited, limits):
    """The time for the login is over for who has not even TLS."""
    gatepost = limited(**limits)
    started = time.monotonic()
    clients = []
    for port, said in OPENINGS.values():
        said = client_hello(make_context(gatepost.ca))[:50] if said is None else said
        clients.append(Client(getattr(gatepost, port), first=said))
    clients.append(Client(gatepost.ports["balanced"], first=b"PROXY UNKNOWN\r\n"))
    for client in clients:
        data, _ = ends_between(client, started, 0.4, 3)
        assert b"BYE" not in data
        client.close()
        assert gatepost.end_of(client)["reason"] == "handshake_timeout"
    assert count_reason(gatepost, "handshake_timeout") == len(clients)


def test_c71_late_starttls_gets_no_time_beyond_the_logins(limited):
    gatepost = limited(login_timeout="1s", handshake_timeout="5s")
    with Client(gatepost.starttls_port) as client:
        started = time.monotonic()
        client.greet()
        client.expect_silence(0.6)
        assert statuses(client.command("a", "STARTTLS")) == ["a OK"]
        assert ends_between(client, started, 0.8, 2.5)[0] == b""
    assert gatepost.end_of(client)["reason"] == "handshake_timeout"


@pytest.mark.parametrize("timeout,least,most", [("400ms", 0.2, 1.8), ("2s", 1.7, 4.5)])
def test_close_timeout(limited, timeout, least, most):
    """A client that was told the end, and does not end, nor read."""
    gatepost = limited(close_timeout=timeout)
    descriptors = gatepost.resting_descriptors()
    with gatepost.connect(tls=False) as client:
        started = time.monotonic()
        assert statuses(client.command("a", "LOGOUT")) == ["* BYE", "a OK"]
        assert gatepost.descriptors() > descriptors
        wait_until(lambda: gatepost.descriptors() <= descriptors, what="descriptors back")
        assert least < time.monotonic() - started < most
        assert gatepost.end_of(client)["reason"] == "logout"


# --- Those behind us ---


def silent_from_the_start(connection):
    connection.read_to_end()


def silent_after_greeting(connection):
    connection.send(connection.backend.greeting)
    connection.read_to_end()


SILENCES = {
    "no greeting in time": silent_from_the_start,
    "no answer to the login in time": silent_after_greeting,
}


@pytest.mark.parametrize("detail", SILENCES)
@pytest.mark.parametrize("timeout", ["300ms", "1200ms"])
def test_c86_login_timeout_of_a_backend(limited, fb1, detail, timeout):
    """Told in one line, counted, and no fault of the client."""
    fb1.script = SILENCES[detail]
    gatepost = limited({"login_timeout": timeout})
    with gatepost.connect() as client:
        started = time.monotonic()
        assert client.command("a", "LOGIN u1 pw")[0].startswith(b"a NO [UNAVAILABLE] ")
        # Not too early; that it comes at all, long before the default, the client's patience says.
        assert time.monotonic() - started > int(timeout.removesuffix("ms")) / 1000 - 0.1
        client.assert_usable()
    line, = gatepost.events("login failed")
    assert (line["level"], line["detail"], line["backend"]) == ("warn", detail, "FB1")
    assert fb1.wait_for_end(fb1.connections[0])
    assert count_reason(gatepost, "client_left") >= 1
    assert gatepost.events("stopped")[0]["logins_failed_total"] == "1"


def test_c86_login_timeout_of_the_client_comes_first(limited, fb1):
    """Where both are over the client is told the end."""
    fb1.script = silent_from_the_start
    gatepost = limited({"login_timeout": "30s"}, login_timeout="800ms")
    with gatepost.connect() as client:
        started = time.monotonic()
        client.send(b"a LOGIN u1 pw\r\n")
        data, how = ends_between(client, started, 0.5, 3)
        assert data == BYE and how == CLOSE_NOTIFY
    assert fb1.wait_for_end(fb1.connections[0])


def test_idle_connections_before_login_cost_no_time(limited):
    gatepost = limited()
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(gatepost.connect())
            stack.enter_context(Client(gatepost.tls_port, first=b"\x16\x03\x01"))
            stack.enter_context(Client(gatepost.ports["balanced"], first=b"PROXY "))
        cpu = gatepost.cpu_seconds()
        time.sleep(0.6)
        assert gatepost.cpu_seconds() - cpu <= (0.2 if is_sanitized() else 0.02)
        with contextlib.suppress(Ended):
            stack.enter_context(gatepost.connect()).login()
