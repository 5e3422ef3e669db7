# SPDX-License-Identifier: Apache-2.0
"""Every mechanism with a real Dovecot, straight to it and through gatepost: word for word the same,
but for the certificates of clients, whom gatepost vouches for; these by gsasl, too."""

import subprocess

import pytest

import sasl
from mechanisms import TOKENS, UNDERSTOOD, mechanisms_now, status_of, wait_until_offered
from client import Client
from servers import PASSWORD

USER = "mechanic"
SCRAM = ["SCRAM-SHA-1", "SCRAM-SHA-256"]


def backend_options(server, certificates):
    """By STARTTLS, verified; with a master user."""
    return {"address": f"127.0.0.1:{server.port}", "tls": "starttls", "ca": str(certificates.ca),
            "master_user": server.MASTER, "master_password": server.MASTER_PASSWORD, "probe": True}


@pytest.fixture(scope="module")
def gatepost(start_shared_gatepost, certificates, full1):
    started = start_shared_gatepost(
        {"full1": backend_options(full1, certificates)}, {USER: "full1"}, process={"workers": 1},
        tls={"client_ca": str(certificates.ca), "client_name": "cn"})
    full1.tokens.users["right"] = USER
    full1.seed(USER)
    wait_until_offered(started, *SCRAM, *TOKENS)
    return started


@pytest.fixture
def direct(full1, certificates):
    with Client(full1.port) as client:
        client.greet().starttls(certificates.ca)
        yield client


@pytest.fixture
def through(gatepost):
    with gatepost.connect() as client:
        yield client


def reads_own_mail(client):
    client.command("s", "SELECT INBOX")
    lines = client.command("f", "FETCH 1 BODY[HEADER.FIELDS (SUBJECT)]")
    return f"Subject: this is {USER} on full1\r\n".encode() in lines


def token_dialogue(client, mechanism, token):
    """All that may be the same: challenges, and the status."""
    message = TOKENS[mechanism](USER, token)
    challenges, lines = client.authenticate(mechanism, UNDERSTOOD[mechanism], initial=message)
    return challenges, status_of(lines)


@pytest.mark.parametrize("mechanism", TOKENS)
def test_tokens(direct, through, mechanism):
    """The error is Dovecot's own, every octet of it."""
    dialogues = [token_dialogue(client, mechanism, "stale") for client in (direct, through)]
    assert dialogues[0] == dialogues[1] and dialogues[0][1] == "NO"
    assert b'"status":' in dialogues[0][0][0]
    for client in (direct, through):
        assert token_dialogue(client, mechanism, "right") == ([], "OK")
        assert reads_own_mail(client)


@pytest.mark.parametrize("mechanism", SCRAM)
def test_scram(direct, through, mechanism):
    for client in (direct, through):
        assert status_of(client.scram(mechanism, USER, "wrong", tag="w")) == "NO"
        assert status_of(client.scram(mechanism, USER, PASSWORD)) == "OK"
        assert reads_own_mail(client)


@pytest.mark.parametrize("mechanism", SCRAM)
def test_scram_of_a_client_that_could_bind(direct, through, mechanism):
    """Dovecot has no -PLUS, so nobody has taken it away."""
    for client in (direct, through):
        scram = sasl.ScramClient(mechanism, USER, PASSWORD)
        scram.header = b"y,,"
        _, lines = client.authenticate(mechanism, scram.final, b"", initial=scram.first())
        assert status_of(lines) == "OK"


def test_passwords(direct, through):
    for client in (direct, through):
        wrong = client.authenticate("LOGIN", USER.encode(), b"wrong", tag="w")[1]
        assert status_of(wrong) == "NO"
        right = client.authenticate("LOGIN", USER.encode(), PASSWORD.encode())[1]
        assert status_of(right) == "OK" and reads_own_mail(client)


def test_master_user(direct, through, full1):
    """Who knows its password may use it, through gatepost as well."""
    for client in (direct, through):
        for password, status in (("wrong", "NO"), (full1.MASTER_PASSWORD, "OK")):
            message = sasl.plain(full1.MASTER, password, owner=USER)
            assert status_of(client.authenticate("PLAIN", initial=message)[1]) == status
        assert reads_own_mail(client)


# --- certificates ---

@pytest.fixture(params=["direct", "through"])
def certified(request, certified1, full1, gatepost):
    """Ports with STARTTLS of a Dovecot that asks for certificates, and of gatepost."""
    return certified1.port if request.param == "direct" else gatepost.starttls_port


def connect_certified(port, certificates, pair):
    client = Client(port).greet()
    client.starttls(certificates.ca, certificate=pair)
    return client


def test_certificate(certified, certificates):
    with connect_certified(certified, certificates, certificates.client(cn=USER)) as client:
        assert "EXTERNAL" in mechanisms_now(client)
        _, lines = client.authenticate("EXTERNAL", initial=USER.encode())
        assert status_of(lines) == "OK"
        assert status_of(client.command("s", "SELECT INBOX")) == "OK"


def test_certificate_reads_the_mail(gatepost, certificates):
    with gatepost.connect(certificate=certificates.client(cn=USER)) as client:
        assert status_of(client.authenticate("EXTERNAL", initial=b"")[1]) == "OK"
        assert reads_own_mail(client)


def test_no_certificate(certified, certificates):
    with connect_certified(certified, certificates, None) as client:
        _, lines = client.authenticate("EXTERNAL", initial=USER.encode())
        assert status_of(lines) == "NO"


def gsasl(port, certificates, mechanism, *arguments):
    """The exit status, and what was said."""
    done = subprocess.run(
        ["gsasl", "--imap", "--starttls", "--x509-ca-file", certificates.ca, "-d",
         *(["-m", mechanism] if mechanism else []), *map(str, arguments), "--connect",
         f"localhost:{port}"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20,
        check=False)
    return done.returncode, (done.stdout + done.stderr).decode("latin-1")


def shown(pair):
    return "--x509-cert-file", pair.chain, "--x509-key-file", pair.key


def test_gsasl_with_a_certificate(certified, certificates):
    pair = certificates.client(cn=USER)
    status, said = gsasl(certified, certificates, "EXTERNAL", "-z", USER, *shown(pair))
    assert status == 0, said


def test_gsasl_without_a_certificate(certified, certificates):
    status, said = gsasl(certified, certificates, "EXTERNAL", "-z", USER)
    assert status == 1, said


def test_gsasl_with_the_certificate_of_somebody_else(certified, certificates):
    pair = certificates.client(cn="somebody")
    status, said = gsasl(certified, certificates, "EXTERNAL", "-z", USER, *shown(pair))
    assert status == 1, said


def test_gsasl_takes_the_same_mechanism_by_itself(full1, gatepost, certificates):
    """The best that it sees."""
    for port in (full1.port, gatepost.starttls_port):
        status, said = gsasl(port, certificates, None, "--no-cb", "-a", USER, "-z", USER, "-p",
                             PASSWORD)
        assert status == 0 and "AUTHENTICATE SCRAM-SHA-256" in said, said
