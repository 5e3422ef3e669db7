# SPDX-License-Identifier: Apache-2.0
"""Greeting, capabilities and state before the login (CASES.md, A)."""

import pytest

from client import CLOSE_NOTIFY, Ended, capabilities_of, statuses
from servers import wait_until

NEVER = {"COMPRESS=DEFLATE", "UNAUTHENTICATE", "LOGIN-REFERRALS", "LOGIN", "IMAP4REV2", "STARTTLS"}


def assert_list_is_sane(atoms):
    """C05, C06: what no list before the login holds."""
    upper = {atom.upper() for atom in atoms}
    assert not upper & NEVER
    assert not [atom for atom in upper if atom.startswith(("COMPRESS=", "UTF8="))]
    assert not [atom for atom in upper if atom.startswith("AUTH=") and atom.endswith("-PLUS")]
    assert len(upper & {"LITERAL+", "LITERAL-"}) == 1


def test_c01_greeting_over_tls(proxy):
    with proxy.connect(greet=False) as client:
        greeting = client.read_line(timeout=1)
        assert greeting.startswith(b"* OK [CAPABILITY ") and greeting.endswith(b"\r\n")
        atoms = capabilities_of(greeting)
        assert {"IMAP4rev1", "SASL-IR", "AUTH=PLAIN"} <= atoms
        assert not {"STARTTLS", "LOGINDISABLED"} & atoms
        assert_list_is_sane(atoms)
        client.expect_silence()


def test_c02_capability_equals_the_greetings(client):
    lines = client.command("a", "CAPABILITY")
    assert statuses(lines) == ["* CAPABILITY", "a OK"]
    assert capabilities_of(lines[0]) == capabilities_of(client.greeting)


@pytest.fixture(scope="module")
def refusing(start_shared_gatepost, fb1):
    """A gatepost whose plaintext listener refuses logins."""
    return start_shared_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, plain=False)


def test_c03_plaintext_listener_disables_login(refusing):
    with refusing.connect(tls=False) as client:
        atoms = capabilities_of(client.greeting)
        assert "LOGINDISABLED" in atoms
        assert not [atom for atom in atoms if atom.upper().startswith("AUTH=")]
        assert_list_is_sane(atoms)
        assert capabilities_of(client.command("a", "CAPABILITY")[0]) == atoms


def test_c05_c06_plaintext_where_allowed_offers_the_same_as_tls(proxy, client):
    with proxy.connect(tls=False) as plain:
        assert capabilities_of(plain.greeting) == capabilities_of(client.greeting)


def test_c07_noop(client):
    assert client.status("a", "NOOP") == "OK"


def test_c08_logout(proxy):
    with proxy.connect() as client:
        lines = client.command("a", "LOGOUT", timeout=1)
        assert statuses(lines) == ["* BYE", "a OK"]
        assert client.read_to_end(timeout=1) == (b"", CLOSE_NOTIFY)
        assert client.fin_follows(timeout=1)


def test_c08_logout_pipelined_behind_noop(proxy):
    with proxy.connect() as client:
        client.send(b"n NOOP\r\na LOGOUT\r\n")
        assert statuses(client.read_until("a")) == ["n OK", "* BYE", "a OK"]
        assert client.read_to_end(timeout=1) == (b"", CLOSE_NOTIFY)


def test_c08_logout_without_tls(proxy):
    with proxy.connect(tls=False) as client:
        assert statuses(client.command("a", "LOGOUT")) == ["* BYE", "a OK"]
        assert client.read_to_end(timeout=1) == (b"", "FIN")


def test_c09_arguments_where_none_belong(client):
    lines = client.exchange(b"a CAPABILITY x\r\nb NOOP x\r\nc LOGOUT x\r\n")
    assert statuses(lines) == ["a BAD", "b BAD", "c BAD"]


def test_c10_connection_limit(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"max_sessions": 3})
    # The probes that waited for the listeners may still be counted.
    clients = []
    wait_until(lambda: connect_one_more(gatepost, clients) == 3, what="three sessions admitted")
    clients[0].login()
    for tls in (True, False):
        assert_refused(gatepost, tls)
    for client in clients:
        client.assert_usable()
    clients[2].close()
    wait_until(lambda: admitted(gatepost, 1), what="room again")
    for client in clients:
        client.close()


def connect_one_more(gatepost, clients):
    """Adds a client if it is admitted; how many there are."""
    try:
        clients.append(gatepost.connect())
    except (Ended, OSError):
        pass
    return len(clients)


def admitted(gatepost, count):
    """Whether so many more clients are greeted with OK; they leave again."""
    clients = []
    try:
        clients = [gatepost.connect(greet=False) for _ in range(count)]
        return all(client.read_line().startswith(b"* OK") for client in clients)
    except (Ended, OSError):
        return False
    finally:
        for client in clients:
            client.close()


def assert_refused(gatepost, tls):
    try:
        client = gatepost.connect(tls=tls, greet=False)
    except (Ended, OSError):
        return
    with client:
        data, _ = client.read_to_end()
        assert data == b"" or data.startswith((b"* BYE [UNAVAILABLE]", b"* BYE [LIMIT]")), data
