# SPDX-License-Identifier: Apache-2.0
"""The Dovecot with everything, before anything stands in front of it."""

import ssl

import pytest

import proxy_protocol
import sasl
from client import Client, Ended, capabilities_of
from servers import PASSWORD, wait_until

USER = "somebody"


def assert_status(lines, status):
    assert lines[-1].split()[1].decode() == status, lines


def connect_tls(server, certificates, **options):
    return Client(server.tls_port, certificates.ca, server_name="mail1.test", **options).greet()


def assert_reads_mail_of(client, user, server):
    server.seed(user)
    client.command("s", "SELECT INBOX")
    lines = client.command("f", "FETCH 1 BODY[HEADER.FIELDS (SUBJECT)]")
    assert f"Subject: this is {user} on {server.name}\r\n".encode() in lines


def test_offers(full1, certificates):
    with Client(full1.port) as client:
        before = capabilities_of(client.greet().greeting)
        assert {"STARTTLS", "AUTH=PLAIN", "AUTH=SCRAM-SHA-256", "AUTH=XOAUTH2"} <= before
        client.starttls(certificates.ca, server_name="mail2.test")
        after = capabilities_of(client.command("a", "CAPABILITY")[0])
        assert "STARTTLS" not in after and "AUTH=OAUTHBEARER" in after
        client.login(USER, PASSWORD)
        assert_reads_mail_of(client, USER, full1)
    with connect_tls(full1, certificates) as client:
        client.login(USER, PASSWORD)


def test_tls_sessions_come_back(full1, certificates):
    with connect_tls(full1, certificates) as client:
        ticket = client.tls.ticket
    with connect_tls(full1, certificates, ticket=ticket) as client:
        assert client.tls.resumed


def test_tls_sessions_do_not_come_back_where_certificates_are_wanted(certified1, certificates):
    """No other than a real server would think of that: the handshake fails."""
    with connect_tls(certified1, certificates) as client:
        ticket = client.tls.ticket
    with pytest.raises((Ended, ssl.SSLError)):
        connect_tls(certified1, certificates, ticket=ticket)
    wait_until(lambda: "session id context uninitialized" in certified1.log())


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.parametrize("initial", [True, False])
def test_scram(full1, mechanism, initial):
    with Client(full1.port) as client:
        client.greet()
        assert_status(client.scram(mechanism, USER, "wrong", initial=initial), "NO")
        assert_status(client.scram(mechanism, USER, PASSWORD, initial=initial), "OK")
        assert_reads_mail_of(client, USER, full1)


@pytest.mark.parametrize("mechanism,message", [("XOAUTH2", sasl.xoauth2),
                                               ("OAUTHBEARER", sasl.oauthbearer)])
def test_tokens(full1, mechanism, message):
    full1.tokens.users["good-token"] = USER
    with Client(full1.port) as client:
        client.greet()
        challenges, lines = client.authenticate(mechanism, b"\1", initial=message(USER, "stale"))
        assert_status(lines, "NO")
        assert b'"status":' in challenges[0]
        assert_status(client.authenticate(mechanism, initial=message(USER, "good-token"))[1], "OK")
        assert_reads_mail_of(client, USER, full1)
    assert full1.tokens.asked[-2:] == ["stale", "good-token"]


def test_master_user(full1):
    with Client(full1.port) as client:
        client.greet()
        message = sasl.plain(full1.MASTER, "wrong", owner=USER)
        assert_status(client.authenticate("PLAIN", initial=message)[1], "NO")
        message = sasl.plain(full1.MASTER, full1.MASTER_PASSWORD, owner=USER)
        assert_status(client.authenticate("PLAIN", initial=message)[1], "OK")
        assert_reads_mail_of(client, USER, full1)


@pytest.mark.parametrize("cn,status", [(USER, "OK"), (None, "NO")])
def test_external(certified1, certificates, cn, status):
    pair = certificates.client(cn=cn) if cn else None
    with connect_tls(certified1, certificates, certificate=pair) as client:
        assert "AUTH=EXTERNAL" in capabilities_of(client.command("c", "CAPABILITY")[0])
        _, lines = client.authenticate("EXTERNAL", initial=USER.encode())
        assert_status(lines, status)
        if status == "OK":
            assert_reads_mail_of(client, USER, certified1)


HEADERS = {
    "1": proxy_protocol.version1(("192.0.2.77", 4077)),
    "2": proxy_protocol.version2(("192.0.2.78", 4078)),
    "2, with all that gatepost says": proxy_protocol.version2(
        ("192.0.2.79", 4079), tlvs=proxy_protocol.tlv(proxy_protocol.AUTHORITY, b"mail1.test")
        + proxy_protocol.tlv(proxy_protocol.UNIQUE_ID, b"s-1") + proxy_protocol.ssl_tlv()),
    "2, IPv6": proxy_protocol.version2(("2001:db8::77", 4077), ("2001:db8::1", 993)),
}
ADDRESSES = ["192.0.2.77", "192.0.2.78", "192.0.2.79", "2001:db8::77"]


@pytest.mark.parametrize("header,address", zip(HEADERS, ADDRESSES))
def test_proxy_headers(full1, header, address):
    with Client(full1.proxy_port, first=HEADERS[header]) as client:
        client.greet().login(USER, PASSWORD)
    wait_until(lambda: f"rip={address}," in full1.log())


def test_forwarded_id(full1):
    with Client(full1.port) as client:
        client.greet()
        client.command("i", 'ID ("x-originating-ip" "192.0.2.99" "x-originating-port" "4099")')
        client.login(USER, PASSWORD)
    wait_until(lambda: "rip=192.0.2.99," in full1.log())
