# SPDX-License-Identifier: Apache-2.0
"""EXTERNAL: a client whose certificate says who it is. The backend is told so by a master user; of
whom nobody else ever gets the password (RFC 4422 appendix A, IMAP.md 1.4)."""

import ssl

import pytest

import sasl
from client import Ended, statuses
from mechanisms import (EVERYTHING, assert_refused, atoms_now, mechanisms_now, offer, status_of,
                        teach)

MANNERS = {"capability": EVERYTHING, "password": b"master-pw"}
MASTER = {"master_user": "master", "master_password": "master-pw"}


def start(start_gatepost, certificates, directory, fb1, fb2, first=MASTER, second=MASTER,
          **options):
    backends = {"FB1": {"address": fb1.address, **first}, "FB2": {"address": fb2.address, **second}}
    tls = {"client_ca": str(certificates.ca), **options.pop("tls", {})}
    return start_gatepost(backends, redis=directory.url, process={"workers": 1}, tls=tls, **options)


@pytest.fixture(scope="module")
def vouching(start_shared_gatepost, certificates, directory, fb1, fb2):
    """By the address in the certificate, where every backend has a master user."""
    return start(start_shared_gatepost, certificates, directory, fb1, fb2)


@pytest.fixture(scope="module")
def by_name(start_shared_gatepost, certificates, directory, fb1, fb2):
    """By the common name."""
    return start(start_shared_gatepost, certificates, directory, fb1, fb2,
                 tls={"client_name": "cn"})


@pytest.fixture(autouse=True)
def mail_addresses(directory):
    directory.values.update({"gatepost:route:u1@x.test": "FB1", "gatepost:route:u2@x.test": "FB2"})


def only_login(fb):
    assert len(fb.logins) == 1, fb.logins
    login = fb.logins[0]
    return login.form, login.owner, login.user, login.password


VOUCHED = ("PLAIN-IR", b"u1@x.test", b"master", b"master-pw")


# --- who may ---

@pytest.mark.parametrize("initial,given", [(b"", []), (None, [b""]), (b"u1@x.test", []),
                                           (None, [b"u1@x.test"])])
def test_certificate_with_an_address(vouching, certificates, fb1, fb2, initial, given):
    """The backend learns whose mailbox it is, and who vouches for that."""
    pair = certificates.client("u1@x.test", cn="u2")
    with vouching.connect(certificate=pair) as client:
        assert "EXTERNAL" in mechanisms_now(client)
        challenges, lines = client.authenticate("EXTERNAL", *given, initial=initial)
        assert challenges == [b""] * len(given) and status_of(lines) == "OK"
        assert only_login(fb1) == VOUCHED and not fb2.logins
        lines = client.command("b", "NOOP")
        assert b"FB1" in lines[0]


def test_certificate_with_a_common_name(by_name, certificates, fb1, fb2):
    pair = certificates.client("u2@x.test", cn="u1@x.test")
    with by_name.connect(certificate=pair) as client:
        assert status_of(client.authenticate("EXTERNAL", initial=b"")[1]) == "OK"
    assert only_login(fb1) == VOUCHED and not fb2.logins


def test_behind_starttls(vouching, certificates, fb1):
    with vouching.connect_starttls(certificate=certificates.client("u1@x.test")) as client:
        assert "EXTERNAL" in mechanisms_now(client)
        assert status_of(client.authenticate("EXTERNAL", initial=b"")[1]) == "OK"
    assert only_login(fb1) == VOUCHED


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_when_the_session_comes_back(vouching, certificates, fb1, version):
    """The ticket brings the certificate with it."""
    pair = certificates.client("u1@x.test")
    with vouching.connect(certificate=pair, versions=version) as client:
        client.assert_usable()
        ticket = client.tls.ticket
    with vouching.connect(ticket=ticket) as client:
        assert client.tls.resumed and "EXTERNAL" in mechanisms_now(client)
        assert status_of(client.authenticate("EXTERNAL", initial=b"")[1]) == "OK"
    assert only_login(fb1) == VOUCHED


def test_address_leads_like_any_name(vouching, certificates, fb1):
    """Folded for the directory, and presented as it stands in the certificate."""
    with vouching.connect(certificate=certificates.client("U1@X.test")) as client:
        assert status_of(client.authenticate("EXTERNAL", initial=b"")[1]) == "OK"
    assert only_login(fb1)[1] == b"U1@X.test"


# --- who may not ---

def assert_not_offered(client, fb1):
    assert "EXTERNAL" not in mechanisms_now(client)
    for initial in (b"", b" =", b" " + sasl.encode(b"u1@x.test")):
        assert statuses(client.exchange(b"a AUTHENTICATE EXTERNAL" + initial + b"\r\n")) == ["a NO"]
    assert not fb1.logins


def test_c62_no_certificate(vouching, fb1):
    with vouching.connect() as client:
        assert_not_offered(client, fb1)


def test_c62_no_tls(vouching, fb1):
    with vouching.connect(tls=False) as client:
        assert_not_offered(client, fb1)


@pytest.mark.parametrize("pair", [{"email": None}, {"email": None, "cn": "u1@x.test"}])
def test_certificate_without_the_name(vouching, certificates, fb1, pair):
    """CVE-2019-3814: then a client could say itself who it is."""
    with vouching.connect(certificate=certificates.client(**pair)) as client:
        assert_not_offered(client, fb1)


def test_certificate_with_two_names(vouching, by_name, certificates, fb1):
    """Nobody can say which of them it is."""
    two = certificates.make("two", ["email:u1@x.test", "email:u2@x.test"], usage="clientAuth",
                            subject="/CN=u1@x.test/CN=u2@x.test")
    for gatepost in (vouching, by_name):
        with gatepost.connect(certificate=two) as client:
            assert_not_offered(client, fb1)


STRANGERS = {
    "another authority": lambda made: made.client("u1@x.test", authority="other_ca"),
    "itself": lambda made: made.client("u1@x.test", authority=None),
    "for servers": lambda made: made.make("not_for_clients", ["email:u1@x.test"]),
    "expired": lambda made: made.make_expired("expired_client", ["email:u1@x.test"]),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_certificates_that_do_not_verify(vouching, certificates, fb1, stranger):
    """The handshake fails; nothing is said."""
    with pytest.raises((Ended, ssl.SSLError, OSError)):
        with vouching.connect(certificate=STRANGERS[stranger](certificates)) as client:
            client.assert_usable()
    assert not fb1.logins


@pytest.mark.parametrize("owner", [b"u2@x.test", b"u1", b"U1@x.test", b"u1@x.test\0",
                                   b"master", b"\xff"])
@pytest.mark.parametrize("initial", [True, False])
def test_mailbox_of_somebody_else(vouching, certificates, directory, fb1, fb2, owner, initial):
    with vouching.connect(certificate=certificates.client("u1@x.test")) as client:
        given = [] if initial else [owner]
        _, lines = client.authenticate("EXTERNAL", *given, initial=owner if initial else None)
        assert len(lines) == 1 and lines[0].startswith(b"a NO [AUTHORIZATIONFAILED] "), lines
        assert not directory.lookups() and not fb1.logins and not fb2.logins
        assert status_of(client.authenticate("EXTERNAL", initial=b"", tag="b")[1]) == "OK"
    assert only_login(fb1) == VOUCHED


@pytest.mark.parametrize("line,status", [(b"*", "BAD"), (b"!!!!", "BAD"), (b"=", "BAD")])
def test_c52_c53_cancelled_or_malformed(vouching, certificates, directory, line, status):
    with vouching.connect(certificate=certificates.client("u1@x.test")) as client:
        client.send(b"a AUTHENTICATE EXTERNAL\r\n")
        assert client.read_line() == b"+ \r\n"
        assert statuses(client.exchange(line + b"\r\n")) == [f"a {status}"]
        assert not directory.lookups()


def test_user_that_nobody_knows(vouching, certificates, fb1, fb2):
    with vouching.connect(certificate=certificates.client("nobody@x.test")) as client:
        assert_refused(client.authenticate("EXTERNAL", initial=b"")[1])
    assert not fb1.logins and not fb2.logins


@pytest.mark.parametrize("first,second", [({}, MASTER), (MASTER, {}), ({}, {})])
def test_not_offered_without_a_master_user(start_gatepost, certificates, directory, fb1, fb2, first,
                                           second):
    """Before it is known who logs in, every backend must take the proxy's word."""
    gatepost = start(start_gatepost, certificates, directory, fb1, fb2, first, second)
    with gatepost.connect(certificate=certificates.client("u1@x.test")) as client:
        assert_not_offered(client, fb1)


def test_not_offered_where_the_listener_does_not_allow_it(start_gatepost, certificates, directory,
                                                          fb1, fb2):
    gatepost = start(start_gatepost, certificates, directory, fb1, fb2,
                     listeners={"few": {"mechanisms": ["PLAIN"]}})
    with gatepost.connect_to("few", certificate=certificates.client("u1@x.test")) as client:
        assert_not_offered(client, fb1)


def test_not_offered_where_no_authority_is_set(start_gatepost, certificates, directory, fb1, fb2):
    """Then nobody is asked for a certificate, and one that came would prove nothing."""
    gatepost = start(start_gatepost, certificates, directory, fb1, fb2, tls={"client_ca": ""})
    with gatepost.connect(certificate=certificates.client("u1@x.test")) as client:
        assert_not_offered(client, fb1)


# --- the backend's side ---

@pytest.mark.parametrize("capability", [offer(), offer("LOGIN"), offer("EXTERNAL", "XOAUTH2")])
def test_backend_that_cannot_be_told(vouching, certificates, fb1, fb2, capability):
    """Without AUTH=PLAIN nobody can vouch: LOGIN as the master would open another mailbox."""
    fb1.capability = capability
    with vouching.connect(certificate=certificates.client("u1@x.test")) as client:
        _, lines = client.authenticate("EXTERNAL", initial=b"")
        assert len(lines) == 1 and lines[0].startswith(b"a NO [SERVERBUG]"), lines
        assert not fb1.logins
        client.assert_usable()


def test_wrong_master_password(vouching, certificates, fb1):
    """It is not the client's fault, but the client cannot be let in."""
    fb1.password = b"changed"
    with vouching.connect(certificate=certificates.client("u1@x.test")) as client:
        assert_refused(client.authenticate("EXTERNAL", initial=b"")[1])


def test_route_by_url_has_no_master(vouching, certificates, directory, fb1):
    """Nothing says that such a backend takes anybody's word."""
    directory.values["gatepost:route:url@x.test"] = f"imap://{fb1.address}"
    with vouching.connect(certificate=certificates.client("url@x.test")) as client:
        _, lines = client.authenticate("EXTERNAL", initial=b"")
        assert len(lines) == 1 and lines[0].startswith(b"a NO [SERVERBUG]"), lines
    assert not fb1.logins


# --- the master's password is for EXTERNAL alone ---

def passwords(user, password):
    return {
        "LOGIN": lambda client: client.command("a", f'LOGIN {user} "{password}"'),
        "PLAIN": lambda client: client.authenticate("PLAIN", initial=sasl.plain(user, password))[1],
        "SASL-LOGIN": lambda client: client.authenticate("LOGIN", user.encode(),
                                                         password.encode())[1],
    }


@pytest.mark.parametrize("way", ["LOGIN", "PLAIN", "SASL-LOGIN"])
@pytest.mark.parametrize("shown", [False, True])
def test_passwords_are_the_clients_own(vouching, certificates, fb1, way, shown):
    """Whether it has a certificate or not: what it says is what arrives, right or wrong."""
    pair = certificates.client("u1@x.test") if shown else None
    fb1.password = b"its own"
    with vouching.connect(certificate=pair) as client:
        assert_refused(passwords("u1", "wrong")[way](client))
        assert status_of(passwords("u1", "its own")[way](client)) == "OK"
    assert [(login.owner, login.user, login.password) for login in fb1.logins] == [
        (b"", b"u1", b"wrong"), (b"", b"u1", b"its own")]


def test_owners_are_not_vouched_for(vouching, certificates, fb1, fb2):
    """Who may open another's mailbox is the backend's business, and needs the right password."""
    fb2.password = b"its own"
    with vouching.connect(certificate=certificates.client("u1@x.test")) as client:
        _, lines = client.authenticate("PLAIN", initial=sasl.plain("u1", "wrong", "u2"))
        assert_refused(lines)
    assert only_login(fb2) == ("PLAIN-IR", b"u2", b"u1", b"wrong") and not fb1.logins


def test_tokens_and_exchanges_are_the_clients_own(start_gatepost, certificates, fb1):
    gatepost = start_gatepost({"FB1": {"address": fb1.address, **MASTER}}, {"u1": "FB1"},
                              process={"workers": 1}, tls={"client_ca": str(certificates.ca)})
    fb1.password = b"pw"
    teach(gatepost, "u1")
    fb1.reset()
    with gatepost.connect(certificate=certificates.client("u1")) as client:
        assert {"XOAUTH2", "SCRAM-SHA-256", "EXTERNAL"} <= mechanisms_now(client)
        _, lines = client.authenticate("XOAUTH2", b"", initial=sasl.xoauth2("u1", "stale"))
        assert_refused(lines)
        fb1.password = b"pw"
        assert_refused(client.scram("SCRAM-SHA-256", "u1", "wrong"))
        assert "LOGINDISABLED" not in atoms_now(client)
    assert b"master" not in b"".join(bytes(one.received) for one in fb1.connections)
