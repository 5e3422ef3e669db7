# SPDX-License-Identifier: Apache-2.0
"""What a client may say before its login, at each limit and one past it, as it is by default and as
[limits] has it otherwise. Time is in test_bounds_time.py, memory in test_bounds_memory.py."""

import base64
import contextlib

import pytest

from client import CLOSE_NOTIFY, Ended, statuses
from servers import wait_until

TOOBIG = b"a BAD [TOOBIG] "


@pytest.fixture
def bounded(start_gatepost, fb1):
    """Starts a gatepost of one worker with these limits, and connects to it."""
    with contextlib.ExitStack() as stack:
        def start(**limits):
            limits.setdefault("login_failures", 5)
            gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, limits=limits,
                                      process={"workers": 1})
            return gatepost, stack.enter_context(gatepost.connect())

        yield start


def totals(gatepost):
    """How many sessions ended for which reason, and all counters, once it has stopped."""
    gatepost.signal()
    gatepost.wait()
    reasons, = gatepost.events("sessions by reason")
    counters, = gatepost.events("stopped")
    return reasons, counters


def assert_ended_by(gatepost, client, bye, reason):
    """A BYE and an orderly end; the reason in one line of the log, and counted once."""
    data, how = client.read_to_end()
    assert data.startswith(bye) and data.count(b"\r\n") == 1 and how == CLOSE_NOTIFY, data
    client.close()
    line = gatepost.end_of(client)
    assert (line["reason"], line["level"]) == (reason, "info")
    assert totals(gatepost)[0][reason] == "1"


def padded(start, end, length):
    """A line of so many octets without its CRLF."""
    line = start + b"p" * (length - len(start) - len(end)) + end
    assert len(line) == length
    return line + b"\r\n"


# --- Lines ---


@pytest.mark.parametrize("option,line", [({}, 8192), ({"preauth_line": "1KiB"}, 1024)])
@pytest.mark.parametrize("quote", [b"", b'"'])
def test_preauth_line(bounded, option, line, quote):
    """A LOGIN that is understood, and one that is not."""
    _, client = bounded(**option)
    lines = client.exchange(padded(b"a LOGIN u1 " + quote, quote, line))
    assert lines == [b"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"]
    lines = client.exchange(padded(b"a LOGIN u1 " + quote, quote, line + 1))
    assert len(lines) == 1 and lines[0].startswith(TOOBIG), lines


@pytest.mark.parametrize("length,answer", [(8190, b"a NO "), (8191, TOOBIG)])
def test_longer_lines_than_arguments(bounded, length, answer):
    """With the largest option their own bound comes first: 8 KiB together."""
    _, client = bounded(preauth_line="64KiB")
    lines = client.exchange(b"a LOGIN u1 " + b"p" * length + b"\r\n")
    assert len(lines) == 1 and lines[0].startswith(answer), lines


def test_preauth_line_is_that_of_each_line(bounded, fb1):
    """Literals, and the lines behind them, are lines of their own."""
    fb1.password = None
    _, client = bounded(preauth_line="1KiB")
    user, password = b"{2+}\r\nu1 {1000+}\r\n", b"p" * 1000
    assert client.status("a", b"LOGIN " + user + password) == "OK"
    assert len(fb1.logins[0].password) == 1000


def sasl_line(tag, length):
    """A line of AUTHENTICATE PLAIN with so much of a message that says nothing."""
    return padded(tag + b" AUTHENTICATE PLAIN ", b"", length).replace(b"p", b"A")


@pytest.mark.parametrize("option,line", [({}, 32768), ({"sasl_line": "1KiB"}, 1024),
                                         ({"sasl_line": "64KiB"}, 65536)])
def test_sasl_line(bounded, fb1, option, line):
    """The command's line, and a response of its own."""
    _, client = bounded(bad_commands=80, **option)
    tag = b"aaaa" if line % 4 == 0 else b"a"
    lines = client.exchange(sasl_line(tag, line))
    assert statuses(lines) == ["aaaa NO"], lines
    lines = client.exchange(sasl_line(tag, line + 1))
    assert len(lines) == 1 and lines[0].startswith(b"aaaa BAD [TOOBIG] "), lines
    for length, answer in ((line, b"a NO "), (line + 1, TOOBIG)):
        client.send(b"a AUTHENTICATE PLAIN\r\n")
        assert client.read_line() == b"+ \r\n"
        lines = client.exchange(b"A" * length + b"\r\n")
        assert len(lines) == 1 and lines[0].startswith(answer), lines
    assert not fb1.connections


LONG_LINE = b"a AUTHENTICATE PLAIN " + b"A" * 9000


def hold_long_lines(holders, other):
    """Each begins a line that takes a place, which is asked for behind 8 KiB; another client's
    round trip shows that there was time for it."""
    for client in holders:
        client.send(LONG_LINE)
    other.assert_usable()


def assert_long_line(client, answer):
    lines = client.exchange(LONG_LINE + b"\r\n")
    assert len(lines) == 1 and lines[0].startswith(answer), lines


REFUSED, TAKEN = b"a NO [LIMIT] ", b"a NO [AUTHENTICATIONFAILED] "


def test_sasl_lines(bounded, fb1):
    """Two places: the third is refused, the others go on, and a place that is left is taken."""
    gatepost, third = bounded(sasl_lines=2)
    with gatepost.connect() as first, gatepost.connect() as second:
        hold_long_lines([first, second], third)
        assert_long_line(third, REFUSED)
        # Short lines need no place.
        lines = third.exchange(b"a AUTHENTICATE PLAIN " + b"A" * 8000 + b"\r\n")
        assert len(lines) == 1 and lines[0].startswith(TAKEN)
        lines = first.exchange(b"AAAA" * 100 + b"\r\n")
        assert len(lines) == 1 and lines[0].startswith(TAKEN)
        assert_long_line(third, TAKEN)
        hold_long_lines([first], third)
        assert_long_line(third, REFUSED)
        second.close()
        assert gatepost.end_of(second)["reason"] == "client_left"
        assert_long_line(third, TAKEN)
    line, = gatepost.events("login refused")
    assert (line["level"], line["detail"]) == ("warn", "limits.sasl_lines is reached")
    assert line["client"] == third.address
    third.close()
    assert totals(gatepost)[1]["limit_refusals_sasl_lines_total"] == "2"


def test_sasl_line_refused_for_want_of_a_place_is_no_bad_command(bounded):
    gatepost, client = bounded(sasl_lines=1, bad_commands=1)
    with gatepost.connect() as first:
        hold_long_lines([first], client)
        for _ in range(12):
            assert_long_line(client, REFUSED)


# --- Arguments ---


@pytest.mark.parametrize("option,size", [({}, 4096), ({"literal": "64"}, 64)])
def test_literal(bounded, fb1, option, size):
    """One that is announced and one that is on its way."""
    fb1.password = b"p" * size
    gatepost, client = bounded(bad_commands=80, **option)
    for number in (size, size + 1):
        client.send(b"a LOGIN u1 {%d}\r\n" % number)
        line = client.read_line()
        if number > size:
            assert line.startswith(TOOBIG), line
            client.assert_usable()
            lines = client.exchange(b"a LOGIN u1 {%d+}\r\n" % number + b"p" * number + b"\r\n")
            assert len(lines) == 1 and lines[0].startswith(TOOBIG), lines
            continue
        assert line.startswith(b"+ "), line
        client.send(b"x" * size + b"\r\n")
        assert statuses(client.read_until("a")) == ["a NO"]
    with gatepost.connect() as other:
        assert other.status("a", b"LOGIN u1 {%d+}\r\n" % size + b"p" * size) == "OK"


@pytest.mark.parametrize("size,taken", [(8190, True), (8191, False), (8193, False)])
def test_literal_of_8_kib(bounded, size, taken):
    """The largest option: with `+` never more than 4 KiB (RFC 7888 section 5); both arguments take
    8 KiB together."""
    _, client = bounded(literal="8KiB")
    lines = client.exchange(b"a LOGIN u1 {4097+}\r\n" + b"p" * 4097 + b"\r\n")
    assert lines[0].startswith(TOOBIG)
    client.send(b"a LOGIN u1 {%d}\r\n" % size)
    line = client.read_line()
    assert line.startswith(b"+ " if taken else TOOBIG), line
    if taken:
        client.send(b"p" * size + b"\r\n")
        assert statuses(client.read_until("a")) == ["a NO"]
    client.assert_usable()


def test_literal_that_cannot_be_skipped(bounded):
    """C34, C36: its length is no number that we know."""
    gatepost, client = bounded()
    client.send(b"a LOGIN u1 {4294967296+}\r\n")
    assert_ended_by(gatepost, client, b"* BYE [TOOBIG] ", "too_big")


@pytest.mark.parametrize("option,size", [({}, 126), ({"tag": 16}, 16)])
def test_tag(bounded, option, size):
    _, client = bounded(**option)
    assert client.status("T" * size, "NOOP") == "OK"
    lines = client.exchange(b"T" * (size + 1) + b" NOOP\r\n")
    assert statuses(lines) == ["* BAD"] and b"TT" not in lines[0]


def identity(pairs=1, field=1, value=1):
    names = [(b"%02d" % number).rjust(field, b"k") for number in range(pairs)]
    assert field == 1 or len(names[0]) == field
    return b"(" + b" ".join(b'"%s" "%s"' % (name, b"v" * value) for name in names) + b")"


@pytest.mark.parametrize("option,most", [({}, 30), ({"id_pairs": 2}, 2)])
def test_id_pairs(bounded, option, most):
    _, client = bounded(**option)
    assert statuses(client.exchange(b"a ID " + identity(most) + b"\r\n")) == ["* ID", "a OK"]
    assert statuses(client.exchange(b"a ID " + identity(most + 1) + b"\r\n")) == ["a BAD"]


def test_id_fields_values_and_line(client):
    """30 and 1,024 octets (RFC 2971 section 3.3); so the longest ID there can be is taken."""
    longest = {"pairs": 30, "field": 30, "value": 1024}
    for shape, status in (({"field": 30}, "OK"), ({"field": 31}, "BAD"), ({"value": 1024}, "OK"),
                          ({"value": 1025}, "BAD"), (longest, "OK")):
        lines = client.exchange(b"a ID " + identity(**shape) + b"\r\n")
        assert statuses(lines)[-1] == f"a {status}", shape


@pytest.mark.parametrize("length,answers", [(32768, ["* ID", "a OK"]), (32769, ["a BAD"])])
def test_id_line(client, length, answers):
    """Escapes make a line longer than its values."""
    pairs = b" ".join(b'"k%02d" "%s"' % (number, b'\\"' * 1024) for number in range(15))
    line = b"a ID (" + pairs + b' "last" "'
    rest = length - len(line) - len(b'")')
    line += b'\\"' * (rest // 2) + b"v" * (rest % 2) + b'")'
    assert len(line) == length
    assert statuses(client.exchange(line + b"\r\n")) == answers


# --- How many ---


@pytest.mark.parametrize("option,most", [({}, 10), ({"bad_commands": 3}, 3),
                                         ({"bad_commands": 1}, 1)])
def test_bad_commands_in_a_row(bounded, option, most):
    gatepost, client = bounded(**option)
    assert statuses(client.exchange(b"a XFOO\r\n" * (most - 1))) == ["a BAD"] * (most - 1)
    client.send(b"a XFOO\r\n" * most + b"z NOOP\r\n")
    assert [client.read_line()[:5] for _ in range(most)] == [b"a BAD"] * most
    assert_ended_by(gatepost, client, b"* BYE ", "bad_commands")


@pytest.mark.parametrize("option,most", [({}, 30), ({"bad_commands": 3}, 9)])
def test_bad_commands_in_all(bounded, option, most):
    gatepost, client = bounded(**option)
    for _ in range(most - 1):
        assert statuses(client.exchange(b"a XFOO\r\n")) == ["a BAD"]
    client.send(b"a XFOO\r\nz NOOP\r\n")
    assert client.read_line().startswith(b"a BAD")
    assert_ended_by(gatepost, client, b"* BYE ", "bad_commands")


@pytest.mark.parametrize("option,most", [({}, 1000), ({"commands": 10}, 10)])
def test_commands(bounded, option, most):
    """C108: not even good ones, for ever."""
    gatepost, client = bounded(**option)
    client.send(b"a NOOP\r\n" * most)
    assert [client.read_line()[:5] for _ in range(most)] == [b"a OK "] * most
    client.expect_silence(0.05)
    client.send(b"a NOOP\r\n")
    assert_ended_by(gatepost, client, b"* BYE Too many commands.", "bad_commands")


def test_last_command_may_be_the_login(bounded, fb1):
    _, client = bounded(commands=10)
    client.send(b"a NOOP\r\n" * 9 + b"b LOGIN u1 pw\r\n" + b"c NOOP\r\n" * 20)
    lines = client.read_until("b") + [client.read_line() for _ in range(20)]
    assert statuses(lines) == ["a OK"] * 9 + ["b OK"] + ["c OK"] * 20
    assert fb1.connections[0].commands.count(b"NOOP") == 20


@pytest.mark.parametrize("option,most", [({}, 5), ({"login_failures": 1}, 1)])
def test_login_failures(bounded, option, most):
    """By whatever command; a good login before the last one is as good as the first."""
    gatepost, client = bounded(**option)
    wrong = base64.b64encode(b"\0u1\0wrong")
    for number in range(most):
        command = b"AUTHENTICATE PLAIN " + wrong if number % 2 else b"LOGIN nobody pw"
        assert client.status("a", command) == "NO"
    data, how = client.read_to_end()
    assert data.startswith(b"* BYE [LIMIT] ") and how == CLOSE_NOTIFY
    client.close()
    assert gatepost.end_of(client)["reason"] == "login_failures"
    with gatepost.connect() as other:
        for _ in range(most - 1):
            assert other.status("a", "LOGIN u1 wrong") == "NO"
        assert other.status("b", "LOGIN u1 pw") == "OK"
    reasons, counters = totals(gatepost)
    assert reasons["login_failures"] == "1"
    assert counters["limit_refusals_login_failures_total"] == "1"


def test_failures_of_backends_are_no_login_failures(bounded, fb1):
    _, client = bounded(login_failures=2)
    fb1.greeting = b"* BYE no\r\n"
    for _ in range(8):
        assert client.command("a", "LOGIN u1 pw")[0].startswith(b"a NO [UNAVAILABLE]")
    client.assert_usable()


def test_max_sessions(start_gatepost, fb1):
    """C10, counted."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"max_sessions": 2})
    with contextlib.ExitStack() as stack:
        admitted = []

        def two_more():
            with contextlib.suppress(Ended, OSError):
                admitted.append(stack.enter_context(gatepost.connect()))
            return len(admitted) == 2

        wait_until(two_more)
        with pytest.raises((Ended, OSError)):
            gatepost.connect()
        line = gatepost.events("client refused")[0]
        assert line["detail"] == "max_sessions is reached"
        for client in admitted:
            client.assert_usable()
    assert int(totals(gatepost)[1]["limit_refusals_max_sessions_total"]) >= 1
