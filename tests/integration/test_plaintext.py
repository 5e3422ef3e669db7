# SPDX-License-Identifier: Apache-2.0
"""A listener without TLS: refuses secrets, or takes them where the operator says so (C63)."""

import pytest

from client import statuses


@pytest.fixture(scope="module")
def refusing(start_shared_gatepost, fb1, directory):
    return start_shared_gatepost({"FB1": fb1.address}, redis=directory.url, plain=False)


@pytest.fixture
def plain_client(refusing):
    with refusing.connect(tls=False) as client:
        yield client


def privacy_lines(client, data):
    lines = client.exchange(data)
    assert len(lines) == 1 and lines[0].startswith(b"a NO [PRIVACYREQUIRED] "), lines
    return lines[0]


def test_c63_secrets_are_refused_whether_right_or_wrong(plain_client, directory, fb1):
    answers = {privacy_lines(plain_client, line + b"\r\n") for line in (
        b"a LOGIN u1 pw", b"a LOGIN u1 wrong", b"a LOGIN nobody pw", b'a LOGIN "u1" "pw"')}
    assert len(answers) == 1
    answers = {privacy_lines(plain_client, line + b"\r\n") for line in (
        b"a AUTHENTICATE PLAIN AHUxAHB3", b"a AUTHENTICATE PLAIN AHUxAHB4")}
    assert len(answers) == 1
    assert not directory.lookups() and not fb1.connections


def test_c63_secrets_are_not_asked_for(plain_client, directory, fb1):
    """IMAP.md, rule 4: no `+` for a literal nor for AUTHENTICATE."""
    privacy_lines(plain_client, b"a AUTHENTICATE PLAIN\r\n")
    assert statuses(plain_client.exchange(b"a LOGIN {2}\r\n")) in (["a NO"], ["a BAD"])
    lines = plain_client.exchange(b"a LOGIN u1 {2+}\r\npw\r\n")
    assert statuses(lines) == ["a NO"]
    assert not directory.lookups() and not fb1.connections


def test_other_commands_work(plain_client):
    lines = plain_client.exchange(b'a CAPABILITY\r\nb ID ("name" "x")\r\n')
    assert statuses(lines) == ["* CAPABILITY", "a OK", "* ID", "b OK"]
    assert statuses(plain_client.command("c", "LOGOUT")) == ["* BYE", "c OK"]


def test_starttls_is_not_offered_and_not_taken(plain_client):
    assert "STARTTLS" not in plain_client.greeting.decode()
    assert statuses(plain_client.exchange(b"a STARTTLS\r\n")) == ["a BAD"]


def test_starttls_within_tls(proxy):
    """C65."""
    with proxy.connect() as client:
        assert statuses(client.exchange(b"a STARTTLS\r\n")) == ["a BAD"]


@pytest.mark.parametrize("command", ["LOGIN u1 pw", "AUTHENTICATE PLAIN AHUxAHB3"])
def test_allowed_plaintext_works(proxy, fb1, command):
    with proxy.connect(tls=False) as client:
        assert client.status("a", command) == "OK"
        assert b"FB1" in client.command("b", "NOOP")[-1]
    assert fb1.logins[0].user == b"u1"
