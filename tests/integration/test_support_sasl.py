# SPDX-License-Identifier: Apache-2.0
"""Every mechanism between the client and the scripted backend, and SCRAM against its RFCs."""

import pytest

import sasl
from client import Client

VECTORS = {
    # RFC 5802 section 5, RFC 7677 section 3
    "SCRAM-SHA-1": ("fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j", "QSXCR+Q6sek8bf92",
                    "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="),
    "SCRAM-SHA-256": ("rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                      "W22ZaJ0SNY7soEsUEjb6gQ==",
                      "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                      "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
}


@pytest.mark.parametrize("mechanism", VECTORS)
def test_scram_as_the_rfcs_have_it(mechanism):
    client_nonce, server_nonce, salt, proof, signature = VECTORS[mechanism]
    client = sasl.ScramClient(mechanism, "user", "pencil", nonce=client_nonce)
    server = sasl.ScramServer(mechanism, b"pencil", 4096, sasl.decode(salt), server_nonce)
    final = client.final(server.challenge(client.first()))
    assert final == f"c=biws,r={client_nonce}{server_nonce},p={proof}".encode()
    last = server.verify(final)
    assert last == b"v=" + signature.encode()
    assert client.verify(last) and not client.verify(b"v=AAAA")
    server.password = b"pencils"
    assert server.verify(final) is None


@pytest.fixture
def direct(fb1):
    with Client(fb1.port) as client:
        yield client.greet()


def last_login(fb1, form):
    login = fb1.logins[-1]
    assert login.form == form, login
    return login


def assert_status(lines, status):
    assert lines[-1].split()[1].decode() == status, lines


@pytest.mark.parametrize("initial", [True, False])
def test_plain_with_an_owner(fb1, direct, initial):
    message = sasl.plain("master", "pw", owner="u1")
    if initial:
        _, lines = direct.authenticate("PLAIN", initial=message)
    else:
        challenges, lines = direct.authenticate("PLAIN", message)
        assert challenges == [b""]
    assert_status(lines, "OK")
    login = last_login(fb1, "PLAIN-IR" if initial else "PLAIN")
    assert (login.owner, login.user, login.password) == (b"u1", b"master", b"pw")


def test_login(fb1, direct):
    challenges, lines = direct.authenticate("LOGIN", b"u1", b"pw")
    assert challenges == [b"Username:", b"Password:"]
    assert_status(lines, "OK")
    login = last_login(fb1, "SASL-LOGIN")
    assert (login.user, login.password) == (b"u1", b"pw")


def test_cancelled(fb1, direct):
    assert_status(direct.authenticate("LOGIN", b"u1", None)[1], "BAD")
    assert last_login(fb1, "SASL-LOGIN").cancelled
    direct.login()


MESSAGES = {"XOAUTH2": sasl.xoauth2, "OAUTHBEARER": sasl.oauthbearer}


@pytest.mark.parametrize("mechanism", MESSAGES)
@pytest.mark.parametrize("initial", [True, False])
def test_tokens(fb1, direct, mechanism, initial):
    message = MESSAGES[mechanism]("u1", "token")
    lines = (direct.authenticate(mechanism, initial=message) if initial
             else direct.authenticate(mechanism, message))[1]
    assert_status(lines, "OK")
    login = last_login(fb1, mechanism + ("-IR" if initial else ""))
    assert (login.user, login.token) == (b"u1", b"token")


@pytest.mark.parametrize("mechanism", MESSAGES)
def test_wrong_tokens_get_an_error_first(fb1, direct, mechanism):
    message = MESSAGES[mechanism]("u1", "stale")
    challenges, lines = direct.authenticate(mechanism, b"\1", initial=message)
    assert challenges == [fb1.token_error]
    assert_status(lines, "NO")
    assert last_login(fb1, mechanism + "-IR").responses == [b"\1"]
    direct.login()


@pytest.mark.parametrize("mechanism", sasl.HASHES)
@pytest.mark.parametrize("initial", [True, False])
def test_scram(fb1, direct, mechanism, initial):
    assert_status(direct.scram(mechanism, "u,1", "wrong", initial=initial), "NO")
    assert_status(direct.scram(mechanism, "u=1", "pw", owner="o,1", initial=initial), "OK")
    login = last_login(fb1, mechanism + ("-IR" if initial else ""))
    assert (login.user, login.owner) == (b"u=1", b"o=2C1")
    assert len(login.responses) == (2 if initial else 3)
    direct.assert_usable()


@pytest.mark.parametrize("shown", [True, False])
def test_external(fb1, certificates, shown):
    fb1.tls, fb1.certificate = "implicit", certificates.backend
    fb1.tls_options = {"client_ca": certificates.ca}
    pair = certificates.client(cn="u1") if shown else None
    with Client(fb1.port, certificates.ca, certificate=pair, server_name="mail1.test") as client:
        _, lines = client.greet().authenticate("EXTERNAL", initial=b"")
    assert_status(lines, "OK" if shown else "NO")
    assert last_login(fb1, "EXTERNAL-IR").owner == b""
