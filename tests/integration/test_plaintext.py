# SPDX-License-Identifier: Apache-2.0
"""A listener without TLS: refuses secrets, or takes them where the operator says so (C63). What a
PROXY header in front may change is in test_proxy_protocol.py."""

import pytest

from client import Client, capabilities_of, statuses


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, fb1, directory):
    """One worker: each learns by itself what backends offer."""
    return start_shared_gatepost({"FB1": fb1.address}, redis=directory.url,
                                 process={"workers": 1})


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


@pytest.mark.parametrize("command", ["LOGIN u1 pw", "AUTHENTICATE PLAIN AHUxAHB3"])
def test_allowed_plaintext_works(proxy, fb1, command):
    with proxy.connect(tls=False) as client:
        assert client.status("a", command) == "OK"
        assert b"FB1" in client.command("b", "NOOP")[-1]
    assert fb1.logins[0].user == b"u1"


def test_allowed_plaintext_offers_what_tls_does(proxy, client):
    """C05, C06; and there is nothing to begin TLS with."""
    with proxy.connect(tls=False) as plain:
        assert capabilities_of(plain.greeting) == capabilities_of(client.greeting)
        lines = plain.command("a", "CAPABILITY")
        assert capabilities_of(lines[0]) == capabilities_of(client.greeting)
        assert statuses(plain.exchange(b"a STARTTLS\r\n")) == ["a BAD"]
        plain.login()


def test_allowed_plaintext_by_every_form(proxy, fb1):
    """Literals and SASL are asked for as under TLS."""
    with proxy.connect(tls=False) as client:
        client.send(b"a LOGIN {2}\r\n")
        assert client.read_line().startswith(b"+ ")
        client.send(b"u1 {2+}\r\npw\r\n")
        assert statuses(client.read_until("a")) == ["a OK"]
    with proxy.connect(tls=False) as client:
        challenges, lines = client.authenticate("PLAIN", b"\0u1\0pw")
        assert challenges == [b""] and statuses(lines)[-1] == "a OK"
    assert len(fb1.logins) == 2


def test_allow_plaintext_says_nothing_about_other_listeners(proxy):
    """STARTTLS has its own rule: no login before it."""
    with Client(proxy.starttls_port) as client:
        assert "LOGINDISABLED" in capabilities_of(client.greet().greeting)
        assert client.command("a", "LOGIN u1 pw")[0].startswith(b"a NO [PRIVACYREQUIRED] ")


def test_refused_plaintext_lists_the_same_as_it_greets(plain_client):
    """C03."""
    atoms = capabilities_of(plain_client.greeting)
    assert "LOGINDISABLED" in atoms and not [atom for atom in atoms if atom.startswith("AUTH=")]
    assert capabilities_of(plain_client.command("a", "CAPABILITY")[0]) == atoms
    plain_client.command("b", "LOGIN u1 pw")
    assert capabilities_of(plain_client.command("c", "CAPABILITY")[0]) == atoms
