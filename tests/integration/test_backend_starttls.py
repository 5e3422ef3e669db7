# SPDX-License-Identifier: Apache-2.0
"""Backends that should begin TLS and do not, or not alone: never a secret in the clear, nothing
learnt from it, and no way back to plaintext (CASES.md, C94, C95)."""

import ssl
import time

import pytest

from backend_tls import (SECRET, assert_no_secrets, assert_only_starttls, over_tls, refused,
                         why_refused)
from backend_wire import Gone
from client import capabilities_of

OFFER = b"IMAP4rev1 SASL-IR AUTH=PLAIN STARTTLS"


@pytest.fixture
def gatepost(start_gatepost, certificates, upgrading, secure):
    """One worker; u1 is behind STARTTLS, u2 behind TLS from the first byte, where all is well."""
    return start_gatepost({"FB1": over_tls(upgrading, certificates, login_timeout="300ms",
                                           connect_timeout="300ms"),
                           "FB2": over_tls(secure, certificates)},
                          {"u1": "FB1", "u2": "FB2"}, process={"workers": 1})


def assert_refused_and_recovers(gatepost, upgrading, code="UNAVAILABLE"):
    """The login of u1 fails by its code with nothing said; then u2's works, on the same
    connection. Returns the reason in the log."""
    with gatepost.connect() as client:
        refused(client, "u1", code)
        assert_no_secrets(upgrading)
        client.login("u2", tag="r")
        assert b"secure" in client.command("s", "NOOP")[-1]
    return why_refused(gatepost)


# --- No TLS to be had ---

def test_c94_not_offered(gatepost, upgrading):
    """The greeting says so: not even STARTTLS is tried."""
    upgrading.offers_starttls = False
    detail = assert_refused_and_recovers(gatepost, upgrading, "SERVERBUG")
    assert "does not offer STARTTLS" in detail
    assert bytes(upgrading.connections[0].raw) == b""


@pytest.mark.parametrize("greeting", ["bare", "listed"])
@pytest.mark.parametrize("answer", [b"$ NO not now\r\n", b"$ BAD what\r\n", b"* BYE go\r\n",
                                    b"* BYE go\r\n$ OK begin\r\n", b"$ NO [ALERT] login LOGIN\r\n",
                                    b"+ go on\r\n", b"X OK begin\r\n", b"* OK begin\r\n",
                                    b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n", b"\r\n", b"\0\0\0\0"])
def test_c94_refused(gatepost, upgrading, greeting, answer):
    if greeting == "bare":
        upgrading.greeting = b"* OK hi\r\n"
    upgrading.starttls_answer = answer
    with gatepost.connect() as client:
        lines = client.command("a", f"LOGIN u1 {SECRET}")
        assert len(lines) == 1 and lines[0].startswith((b"a NO [UNAVAILABLE] ",
                                                        b"a NO [SERVERBUG] ")), lines
        client.login("u2", tag="r")
    assert_no_secrets(upgrading)
    connection = upgrading.connections[0]
    if connection.tls_fault is None and not connection.raw.startswith(b"\x16"):
        assert_only_starttls(connection)


@pytest.mark.parametrize("answer", [b"$ NO not now\r\n", b"$ BAD what\r\n"])
def test_c94_is_logged_in_the_words_of_the_backend(gatepost, upgrading, answer):
    upgrading.starttls_answer = answer
    detail = assert_refused_and_recovers(gatepost, upgrading)
    words = answer.decode().split(" ", 2)[2].strip()
    assert f"refused STARTTLS: {words}" in detail, detail


def cut(connection):
    connection.send(connection.backend.greeting)
    connection.read_command()
    connection.cut()


def reset(connection):
    connection.send(connection.backend.greeting)
    connection.read_command()
    connection.reset()


def silent(connection):
    connection.send(connection.backend.greeting)
    connection.read_to_end()


def silent_after_ok(connection):
    connection.send(connection.backend.greeting)
    tag, _, _ = connection.read_command()
    connection.send(tag + b" OK begin\r\n")
    connection.read_to_end()


def goes_on_in_the_clear(connection):
    """After its OK it answers the ClientHello as if nothing were."""
    connection.send(connection.backend.greeting)
    tag, _, _ = connection.read_command()
    connection.send(tag + b" OK begin\r\n")
    connection.receive()
    connection.send(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n")
    connection.read_to_end()


def logged_in_already(connection):
    """PREAUTH leaves no way to STARTTLS (RFC 9051 section 7.1.4)."""
    connection.send(b"* PREAUTH [CAPABILITY " + OFFER + b"] hi\r\n")
    connection.read_to_end()


@pytest.mark.parametrize("script", [cut, reset, silent, silent_after_ok, goes_on_in_the_clear,
                                    logged_in_already])
def test_c94_no_tls_comes_of_it(gatepost, upgrading, script):
    upgrading.script = script
    with gatepost.connect() as client:
        lines = client.command("a", f"LOGIN u1 {SECRET}")
        assert len(lines) == 1 and lines[0].startswith((b"a NO [UNAVAILABLE] ",
                                                        b"a NO [SERVERBUG] ")), lines
        client.login("u2", tag="r")
    assert_no_secrets(upgrading)
    assert why_refused(gatepost)


def test_handshake_that_fails_is_not_followed_by_plaintext(gatepost, upgrading, certificates):
    """Neither on that connection nor on another one."""
    upgrading.certificate = certificates.foreign
    for _ in range(3):
        with gatepost.connect() as client:
            refused(client, "u1")
    assert_no_secrets(upgrading)
    assert [bytes(c.raw).count(b"STARTTLS") for c in upgrading.connections] == [1, 1, 1]


def test_implicit_tls_where_the_backend_speaks_plain(gatepost, secure):
    def script(connection):
        connection.send(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n")
        connection.read_to_end()

    secure.tls, secure.script = "none", script
    with gatepost.connect() as client:
        refused(client, "u2")
    assert_no_secrets(secure, "u2")


# --- What an attacker puts in between ---

@pytest.mark.parametrize("injected", [b"* CAPABILITY IMAP4rev1\r\n", b"* OK hi\r\n", b"\r\n", b"x",
                                      b"* BYE\r\n", b"\x16\x03\x03"])
def test_c95_in_the_same_segment(gatepost, upgrading, injected):
    """CVE-2026-1642, CVE-2021-38371."""
    upgrading.starttls_injection = injected
    detail = assert_refused_and_recovers(gatepost, upgrading)
    assert "in the clear" in detail
    assert_only_starttls(upgrading.connections[0])


@pytest.mark.parametrize("injected", [b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n", b"\r\n"])
def test_c95_in_the_next_segment(gatepost, upgrading, injected):
    """When the handshake has begun: it is no TLS, and ends it."""
    def script(connection):
        connection.send(connection.backend.greeting)
        tag, _, _ = connection.read_command()
        connection.send(tag + b" OK begin\r\n")
        time.sleep(0.05)
        connection.send(injected)
        try:
            connection.start_tls(connection.backend.context)
        except (Gone, ssl.SSLError):
            return
        connection.send(b"* OK it went well\r\n")
        connection.read_to_end()

    upgrading.script = script
    assert_refused_and_recovers(gatepost, upgrading)
    assert upgrading.connections[0].tls is None


def test_c95_before_the_reply(gatepost, upgrading):
    """Untagged data in the clear is allowed there, and forgotten."""
    upgrading.starttls_answer = b"$ OK begin\r\n"
    upgrading.capability_tls = b"IMAP4rev1 X-SAFE"
    upgrading.accept = b"$ OK done\r\n"

    def script(connection):
        connection.send(connection.backend.greeting)
        tag, _, _ = connection.read_command()
        connection.send(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR X-EVIL\r\n"
                        b"* OK [ALERT] pay here\r\n" + tag + b" OK begin\r\n")
        connection.start_tls(connection.backend.context)
        connection.backend.greeting = b""
        if connection.serve_until_login():
            connection.backend.session(connection)

    upgrading.script = script
    with gatepost.connect() as client:
        lines = client.command("a", "LOGIN u1 pw")
        assert lines[-1].startswith(b"a OK") and b"pay here" not in b"".join(lines), lines
        assert "X-EVIL" not in capabilities_of(client.command("b", "CAPABILITY")[0])
    assert [login.form for login in upgrading.logins] == ["LOGIN"]


def test_c95_alert_of_the_greeting_is_not_passed_on(gatepost, upgrading):
    upgrading.greeting = b"* OK [ALERT] pay here\r\n"
    with gatepost.connect() as client:
        lines = client.command("a", "LOGIN u1 pw")
        assert lines[-1].startswith(b"a OK") and b"pay here" not in b"".join(lines), lines


def test_referral_in_the_clear_is_not_passed_on(gatepost, upgrading):
    upgrading.starttls_answer = b"$ NO [REFERRAL imap://evil.test/] moved\r\n"
    with gatepost.connect() as client:
        line = client.command("a", f"LOGIN u1 {SECRET}")[-1]
        assert line.startswith(b"a NO [UNAVAILABLE]") and b"evil" not in line, line
    assert_only_starttls(upgrading.connections[0])
