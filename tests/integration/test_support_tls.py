# SPDX-License-Identifier: Apache-2.0
"""TLS, STARTTLS, PROXY headers and certificates between the scripted backend and the client, which
other tests trust to show what gatepost does."""

import ssl
import subprocess

import pytest

import proxy_protocol
from client import CLOSE_NOTIFY, FIN, Client, Ended, capabilities_of
from servers import wait_until


def mail1(port, certificates, **options):
    return Client(port, certificates.ca, server_name="mail1.test", **options)


# --- implicit TLS ---

def test_backend_speaks_tls_and_remembers_what_was_said(secure, certificates):
    with mail1(secure.port, certificates, alpn=["imap"]) as client:
        client.greet().login()
        assert client.exchange(b"x NOOP\r\n") == [b"x OK NOOP by secure\r\n"]
        client.close_notify()
        connection = secure.connections[0]
        assert secure.wait_for_end(connection) == CLOSE_NOTIFY
    assert connection.tls_server_name == "mail1.test"
    assert connection.tls.version == "TLSv1.3" and connection.tls.peer_certificate is None
    assert connection.received.startswith(b"l LOGIN u1 pw\r\n")
    assert not connection.tls.resumed


def test_backend_ends_in_order_or_not(secure, certificates):
    for script, how in ((lambda c: c.close(), CLOSE_NOTIFY), (lambda c: c.cut(), FIN)):
        secure.script = script
        with mail1(secure.port, certificates) as client:
            assert client.read_to_end() == (b"", how)


@pytest.mark.parametrize("versions", ["1.2", "1.3"])
def test_sessions_come_back(secure, certificates, versions):
    with mail1(secure.port, certificates, versions=versions) as client:
        client.greet().login()
        ticket = client.tls.ticket
    with mail1(secure.port, certificates, ticket=ticket) as client:
        client.greet()
        assert client.tls.resumed and client.tls.version == f"TLSv{versions}"
    assert [c.tls.resumed for c in secure.connections] == [False, True]


def test_sessions_do_not_come_back_without_tickets(secure, certificates):
    secure.tls_options = {"tickets": False}
    with mail1(secure.port, certificates) as client:
        client.greet().login()
        assert client.tls.ticket is None


def test_client_chooses_versions_and_ciphers(secure, certificates):
    cipher = "ECDHE-ECDSA-CHACHA20-POLY1305"
    with mail1(secure.port, certificates, versions="1.2", ciphers=cipher) as client:
        assert (client.tls.version, client.tls.cipher) == ("TLSv1.2", cipher)
    secure.tls_options = {"versions": "1.3"}
    with pytest.raises(ssl.SSLError):
        mail1(secure.port, certificates, versions="1.2")
    wait_until(lambda: secure.connections[-1].tls_fault)


def test_alpn_is_seen(secure, certificates):
    secure.tls_options = {"alpn": ["imap"]}
    with mail1(secure.port, certificates, alpn=["pop3", "imap"]) as client:
        client.greet()
        assert client.tls.alpn == "imap" == secure.connections[0].tls.alpn


def test_client_certificates(secure, certificates):
    pair = certificates.client("u1@example.org", "u1")
    secure.tls_options = {"client_ca": certificates.ca}
    with mail1(secure.port, certificates, certificate=pair) as client:
        client.greet()
        names = secure.connections[0].tls.peer_names
    assert names == [("email", "u1@example.org"), ("commonName", "u1")]
    with mail1(secure.port, certificates) as client:
        client.greet()
    assert secure.connections[1].tls.peer_certificate is None


@pytest.mark.parametrize("authority", [None, "other_ca"])
def test_client_certificates_may_be_wanted(secure, certificates, authority):
    secure.tls_options = {"client_ca": certificates.ca, "client_required": True}
    pair = certificates.client(cn="u1", authority=authority) if authority else None
    with pytest.raises((ssl.SSLError, Ended)):
        mail1(secure.port, certificates, certificate=pair).greet()
    assert wait_until(lambda: secure.connections[0].tls_fault)


# --- certificates ---

BAD = ["expired", "self_signed", "foreign", "nameless", "mail2"]


@pytest.mark.parametrize("kind", BAD)
def test_bad_certificates_are_bad(secure, certificates, kind):
    secure.certificate = getattr(certificates, kind)
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(secure.port, certificates.ca)
    assert wait_until(lambda: secure.connections[0].tls_fault)
    with Client(secure.port, ca=False) as client:
        client.greet()


GOOD = {"server": "localhost", "rsa": "localhost", "wildcard": "any.mail.test",
        "several": "two.test", "several_rsa": "three.test", "mail1": "mail1.test",
        "mail2": "mail2.test", "backend": "127.0.0.1"}


@pytest.mark.parametrize("kind", GOOD)
def test_good_certificates_are_good(secure, certificates, kind):
    secure.certificate = getattr(certificates, kind)
    with Client(secure.port, certificates.ca, server_name=GOOD[kind], versions="1.2") as client:
        client.greet()
        assert ("RSA" in client.tls.cipher) == ("rsa" in kind)


@pytest.mark.parametrize("status", ["good", "revoked"])
def test_ocsp_responses(certificates, status):
    response = certificates.ocsp_response(certificates.server, status)
    done = subprocess.run(
        ["openssl", "ocsp", "-respin", response, "-CAfile", certificates.ca, "-issuer",
         certificates.ca, "-cert", certificates.chain], capture_output=True, text=True, check=True)
    assert f"{certificates.chain}: {status}" in done.stdout


# --- STARTTLS ---

def test_starttls(upgrading, certificates):
    upgrading.capability_tls = b"IMAP4rev1 AUTH=PLAIN X-SAFE"
    with Client(upgrading.port) as client:
        assert "STARTTLS" in capabilities_of(client.greet().greeting)
        client.starttls(certificates.ca, server_name="mail2.test")
        assert client.before_tls == b""
        offered = capabilities_of(client.command("a", "CAPABILITY")[0])
        assert offered == {"IMAP4rev1", "AUTH=PLAIN", "X-SAFE"}
        assert client.status("b", "STARTTLS") == "BAD"
        client.login()
        client.assert_usable()
    connection = upgrading.connections[0]
    assert connection.commands[0] == b"STARTTLS" and connection.before_tls == b""
    assert connection.tls_server_name == "mail2.test"


def test_starttls_with_an_injection_by_the_client(upgrading, certificates):
    with Client(upgrading.port) as client:
        client.greet().starttls(certificates.ca, server_name="mail1.test", behind=b"i NOOP\r\n")
        client.login()
        client.assert_usable()
    assert upgrading.connections[0].before_tls == b"i NOOP\r\n"


def test_starttls_with_an_injection_by_the_backend(upgrading, certificates):
    upgrading.starttls_injection = b"* CAPABILITY IMAP4rev1 X-EVIL\r\n"
    with Client(upgrading.port) as client:
        client.greet().starttls(certificates.ca, server_name="mail1.test")
        assert client.before_tls == upgrading.starttls_injection
        assert b"X-EVIL" not in client.command("a", "CAPABILITY")[0]


@pytest.mark.parametrize("answer", [b"$ NO not now\r\n", b"$ BAD what\r\n"])
def test_starttls_refused(upgrading, answer):
    upgrading.starttls_answer = answer
    with Client(upgrading.port) as client:
        assert client.greet().status("a", "STARTTLS") == answer.split()[1].decode()
        client.login()
    assert upgrading.connections[0].tls is None


def test_starttls_missing(upgrading):
    upgrading.tls = "none"
    with Client(upgrading.port) as client:
        assert "STARTTLS" not in capabilities_of(client.greet().greeting)
        assert client.status("a", "STARTTLS") == "BAD"


# --- PROXY headers ---

HEADERS = {
    "version 1": proxy_protocol.version1(),
    "version 1, IPv6": proxy_protocol.version1(("2001:db8::1", 1), ("2001:db8::2", 2)),
    "version 2": proxy_protocol.version2(),
    "version 2, IPv6": proxy_protocol.version2(("2001:db8::1", 1), ("2001:db8::2", 2)),
    "version 2 with checksum": proxy_protocol.version2(checksum=True),
    "local": proxy_protocol.local(),
    "unknown": b"PROXY UNKNOWN\r\n",
}


@pytest.mark.parametrize("name", HEADERS)
def test_proxy_headers_are_read(upgrading, certificates, name):
    upgrading.proxy_protocol = True
    with Client(upgrading.port, first=HEADERS[name]) as client:
        client.greet().starttls(certificates.ca, server_name="mail1.test")
        client.login()
    header = upgrading.connections[0].proxy_header
    assert header.raw == HEADERS[name]
    assert header.local == (name in ("local", "unknown"))
    if not header.local:
        assert header.source == (("2001:db8::1", 1) if "6" in name else ("192.0.2.1", 40000))
    assert upgrading.logins[0].user == b"u1"


def test_proxy_header_before_tls(secure, certificates):
    secure.proxy_protocol = True
    tlvs = (proxy_protocol.tlv(proxy_protocol.AUTHORITY, b"mail.test") + proxy_protocol.ssl_tlv()
            + proxy_protocol.tlv(proxy_protocol.UNIQUE_ID, b"s-1"))
    with mail1(secure.port, certificates, first=proxy_protocol.version2(tlvs=tlvs)) as client:
        client.greet()
    header = secure.connections[0].proxy_header
    assert (header.authority, header.unique_id, header.tls) == (b"mail.test", b"s-1", True)
    assert header.tls_parts[proxy_protocol.SSL_VERSION] == b"TLSv1.3"


def test_proxy_header_missing(upgrading):
    upgrading.proxy_protocol = True
    with Client(upgrading.port, first=b"a LOGIN u1 pw and more\r\n") as client:
        client.read_to_end()
    assert isinstance(upgrading.connections[0].fault, AssertionError)
    upgrading.connections.clear()


def test_checksum_is_that_of_rfc_4960():
    assert proxy_protocol.crc32c(b"123456789") == 0xE3069283
