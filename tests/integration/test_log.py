# SPDX-License-Identifier: Apache-2.0
"""The log: one line per session, escaped and bounded, and never in the way (C104)."""

import contextlib
import re
import socket
import subprocess

import pytest

from client import Client
from proxy import BINARY, make_sections, parse_log_line, toml
from servers import free_port, wait_until

FIELDS = {"time", "level", "event", "session", "client", "listener", "sni", "user", "backend",
          "tls", "cipher", "resumed", "login_ms", "seconds", "bytes_in", "bytes_out", "reason"}


@pytest.mark.parametrize("style", ["logfmt", "json"])
def test_one_line_per_session(start_gatepost, fb1, style):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              log={"level": "info", "format": style})
    with gatepost.connect(source="127.0.0.5") as client:
        client.login()
        source = client.socket.getsockname()
        client.command("n", "NOOP")
        client.command("o", "LOGOUT")
        client.read_to_end()
    line = wait_until(lambda: [line for line in gatepost.events("session")
                               if line.get("user") == "u1"], what="session line")
    assert len(line) == 1
    line = line[0]
    assert FIELDS <= set(line), FIELDS - set(line)
    assert line["client"] == f"{source[0]}:{source[1]}"
    assert line["listener"] == f"127.0.0.1:{gatepost.tls_port}"
    assert (line["sni"], line["user"], line["backend"]) == ("localhost", "u1", "FB1")
    assert line["tls"] == "TLSv1.3" and line["cipher"].startswith("TLS_")
    assert str(line["resumed"]).lower() == "false"
    sent, received = b"n NOOP\r\no LOGOUT\r\n", \
        b"n OK NOOP by FB1\r\n* BYE FB1\r\no OK bye\r\n"
    assert (int(line["bytes_in"]), int(line["bytes_out"])) == (len(sent), len(received))
    assert line["reason"] in ("client_ended", "backend_ended")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["time"])
    assert line["level"] == "info"
    if style == "json":
        assert isinstance(line["bytes_in"], int) and line["resumed"] is False


def test_a_handshake_that_never_began_has_no_version(start_gatepost, fb1):
    """As health checks of load balancers leave them."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"})
    with socket.create_connection(("127.0.0.1", gatepost.tls_port)) as client:
        source = client.getsockname()
    line = wait_until(lambda: [line for line in gatepost.events("session")
                               if line["client"] == f"{source[0]}:{source[1]}"],
                      what="session line")[0]
    assert line["reason"] == "handshake_failed"
    assert "tls" not in line and "cipher" not in line


@pytest.mark.parametrize("style", ["logfmt", "json"])
def test_c104_names_are_escaped_and_lines_are_bounded(start_gatepost, fb1, style):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              log={"level": "debug", "format": style})
    names = ['q"uote', "back\\slash", "new level=error event=\"fake\"", "é\u0085\u009b31m",
             "%s%n{}", "\u202eevil", "x" * 250]
    before = len(gatepost.log().splitlines())
    for name in names:
        with gatepost.connect(tls=False) as client:
            data = name.encode()
            client.send(b"a LOGIN {%d+}\r\n%s pw\r\n" % (len(data), data))
            client.read_until("a")
    wait_until(lambda: len([line for line in gatepost.events("session")
                            if line["client"].startswith("127")]) >= len(names))
    for line in gatepost.log_path.read_bytes().splitlines()[before:]:
        assert len(line) <= 4096
        assert not re.search(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]", line), line
        fields = parse_log_line(line.decode())
        assert fields["event"] != "fake" and fields["level"] != "error", line
    assert "event" in gatepost.log()


def test_c104_backend_texts_are_escaped(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, log={"level": "debug"})
    for greeting in (b"* BYE \x1b[31m\x07\" event=fake \xc2\x85 \x80\r\n",
                     b"* BYE " + b"x" * 8000 + b"\r\n"):
        fb1.greeting = greeting
        with gatepost.connect() as client:
            assert client.command("a", "LOGIN u1 pw")[0].startswith(b"a NO [UNAVAILABLE]")
    for line in gatepost.log_path.read_bytes().splitlines():
        assert len(line) <= 4096 and not re.search(rb"[\x00-\x1f\x7f-\x9f]", line), line


@pytest.mark.parametrize("level,written", [("error", set()), ("warn", {"warn"}),
                                           ("info", {"warn", "info"}),
                                           ("debug", {"warn", "info", "debug"})])
def test_log_levels(start_gatepost, level, written):
    """A failed handshake is told at debug, a dead backend at warn, a session at info."""
    gatepost = start_gatepost({"dead": f"127.0.0.1:{free_port()}"}, {"u1": "dead"},
                              log={"level": level})
    with socket.create_connection(("127.0.0.1", gatepost.tls_port)) as raw:
        raw.sendall(b"nothing of the kind\r\n")
    with gatepost.connect() as client:
        client.command("a", "LOGIN u1 pw")
        client.command("b", "LOGOUT")
    gatepost.signal()
    gatepost.wait()
    assert {line["level"] for line in gatepost.events()} == written


def test_reader_of_the_log_that_sleeps_does_not_hold_up_logins(certificates, fb1, tmp_path):
    """HOUSE.md: never blocks on who reads the log. Standard error is a pipe that nobody reads."""
    port = free_port()
    sections = make_sections(certificates, {"FB1": fb1.address}, {"u1": "FB1"},
                             log={"level": "debug"})
    sections["listener"] = [{"address": f"127.0.0.1:{port}", "tls": "none",
                             "allow_plaintext": True}]
    path = tmp_path / "config.toml"
    path.write_text(toml(sections))
    process = subprocess.Popen([BINARY, "-c", str(path)], stderr=subprocess.PIPE)
    try:
        def one_more():
            with Client(port) as client:
                client.greet().command("a", "LOGIN " + "n" * 200 + " pw")
            return True

        def greeted():
            with contextlib.suppress(OSError):
                return one_more()

        wait_until(greeted)
        for _ in range(2000):
            one_more()
        assert process.poll() is None
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0
