# SPDX-License-Identifier: Apache-2.0
"""TLS towards backends: whom gatepost trusts, how it shows itself, and that a login is the same as
without TLS (CASES.md, C79-C81, C93, C96)."""

import pytest

from backend_tls import assert_no_secrets, identity, over_tls, refused, totals, why_refused
from client import capabilities_of
from servers import PASSWORD, wait_until

VERSIONS = pytest.mark.parametrize("versions", ["1.2", "1.3"])


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, certificates, secure, upgrading, full1):
    full = {"tls": "implicit", "ca": str(certificates.ca)}
    backends = {
        "secure": over_tls(secure, certificates),
        "upgrading": over_tls(upgrading, certificates),
        "one": over_tls(secure, certificates, server_name="mail1.test"),
        "two": over_tls(secure, certificates, server_name="mail2.test"),
        "full": {**full, "address": f"127.0.0.1:{full1.tls_port}"},
        "full-starttls": {**full, "address": full1.address, "tls": "starttls"},
    }
    return start_shared_gatepost(backends, {name: name for name in backends})


@pytest.fixture
def start_with(start_gatepost, certificates, secure):
    """A gatepost of one worker before the scripted backend, spoken to as told."""
    def start(backend=secure, users=("u1",), **options):
        return start_gatepost({"FB": over_tls(backend, certificates, **options)},
                              {user: "FB" for user in users}, process={"workers": 1})

    return start


@pytest.fixture(params=["secure", "upgrading"])
def backend(request):
    """One with TLS from the first byte, then one with STARTTLS."""
    scripted = request.getfixturevalue(request.param)
    scripted.reset()
    yield scripted
    scripted.assert_no_faults()


# --- The login ---

@pytest.mark.parametrize("user", ["full", "full-starttls"])
def test_real_dovecot(proxy, full1, user):
    full1.seed(user, 2)
    with proxy.connect() as client:
        client.login(user, PASSWORD)
        assert b"* 2 EXISTS\r\n" in client.command("s", "SELECT INBOX")
        fetched = client.command("f", "FETCH 1:2 BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
        assert f"this is {user} on full1".encode() in b"".join(fetched)
    assert f"user=<{user}>" in full1.log()
    assert "TLS" in next(line for line in full1.log().splitlines() if f"user=<{user}>" in line)


@pytest.mark.parametrize("user", ["full", "full-starttls"])
def test_real_dovecot_refuses(proxy, full1, user):
    with proxy.connect() as client:
        reply = client.command("a", f"LOGIN {user} wrong")[-1]
        assert reply.startswith(b"a NO [AUTHENTICATIONFAILED]"), reply
        client.assert_usable()


@VERSIONS
def test_login_through_tls(proxy, backend, versions):
    backend.tls_options = {"versions": versions}
    with proxy.connect() as client:
        client.login(backend.name)
        assert client.exchange(b"x NOOP\r\n") == [f"x OK NOOP by {backend.name}\r\n".encode()]
    connection = backend.connections[-1]
    assert connection.tls.version == f"TLSv{versions}"
    # An address is no SNI (RFC 6066 section 3), and nobody asked for a certificate.
    assert connection.tls_server_name is None and connection.tls.peer_certificate is None


def test_server_name_is_the_sni(proxy, secure):
    with proxy.connect() as client:
        client.login("one")
    assert secure.connections[-1].tls_server_name == "mail1.test"


@pytest.mark.parametrize("name,offered,form", [
    ("c79_plain", b"IMAP4rev1 AUTH=PLAIN", "PLAIN"),
    ("plain_with_ir", b"IMAP4rev1 AUTH=PLAIN SASL-IR", "PLAIN-IR"),
    ("c81_nothing", b"IMAP4rev1", "LOGIN")])
def test_c79_c81_form_of_the_login(proxy, backend, name, offered, form):
    backend.capability, backend.password = offered, b'a b"c\\d'
    with proxy.connect() as client:
        assert client.status("a", rf'LOGIN {backend.name} "a b\"c\\d"') == "OK"
    (login,) = backend.logins
    assert (login.form, login.user, login.password) == (form, backend.name.encode(), b'a b"c\\d')
    if form == "LOGIN":
        assert b'"a b\\"c\\\\d"' in login.raw and b"{" not in login.raw


def test_c80_starttls_and_capabilities_anew(proxy, upgrading):
    """What stands in the clear may be forged: it does not even decide the form of the login."""
    upgrading.capability = b"IMAP4rev1 LOGINDISABLED AUTH=PLAIN SASL-IR X-CLEAR"
    upgrading.capability_tls = b"IMAP4rev1 X-SAFE"
    upgrading.accept = b"$ OK done\r\n"
    with proxy.connect() as client:
        lines = client.command("a", "LOGIN upgrading pw")
        assert lines[-1].startswith(b"a OK")
        assert capabilities_of(client.command("b", "CAPABILITY")[0]) == {"IMAP4rev1",
                                                                         "X-BY-upgrading"}
    (connection,) = upgrading.connections
    assert connection.commands[:2] == [b"STARTTLS", b"CAPABILITY"], connection.commands
    assert [login.form for login in upgrading.logins] == ["LOGIN"]
    assert connection.before_tls == b""


# --- Whom it trusts ---

BAD = {"mail2": "names mail2.test, not 127.0.0.1", "nameless": "names no host, not 127.0.0.1",
       "expired": "certificate has expired", "self_signed": "self signed certificate",
       "foreign": "unable to get local issuer certificate"}


@VERSIONS
@pytest.mark.parametrize("certificate", BAD)
def test_c93_certificate(start_with, backend, certificates, versions, certificate):
    backend.certificate = getattr(certificates, certificate)
    backend.tls_options = {"versions": versions}
    gatepost = start_with(backend)
    with gatepost.connect() as client:
        refused(client, "u1")
        # The backend is told, by an alert.
        wait_until(lambda: "alert" in str(backend.connections[0].tls_fault).lower())
        assert_no_secrets(backend)
        # Nothing is remembered against it.
        backend.certificate = certificates.backend
        client.login("u1", tag="r")
    assert BAD[certificate] in why_refused(gatepost)
    assert totals(gatepost)["backend_handshakes_failed_total"] == 1


def test_c93_certificate_of_a_client(start_with, secure, certificates):
    """It may not pass for a server (RFC 5280 section 4.2.1.12)."""
    secure.certificate = certificates.make("misused", ["IP:127.0.0.1"], usage="clientAuth")
    gatepost = start_with()
    with gatepost.connect() as client:
        refused(client, "u1")
    assert_no_secrets(secure)
    assert "purpose" in why_refused(gatepost)


def test_c93_revocation_is_not_asked_for(start_with, secure, certificates):
    """There are neither lists nor OCSP towards backends: a certificate that only OCSP calls revoked
    serves. Operators take it away from the backend, or name another authority."""
    assert certificates.ocsp_response(certificates.backend, "revoked")
    gatepost = start_with()
    with gatepost.connect() as client:
        client.login("u1")


def test_authority_that_the_system_does_not_know(start_with, secure):
    gatepost = start_with(ca="")
    with gatepost.connect() as client:
        refused(client, "u1")
    assert_no_secrets(secure)
    assert "issuer certificate" in why_refused(gatepost)


@pytest.mark.parametrize("certificate", BAD)
def test_without_verification_anybody_will_do(start_with, secure, certificates, certificate):
    secure.certificate = getattr(certificates, certificate)
    gatepost = start_with(verify=False, ca="")
    with gatepost.connect() as client:
        client.login("u1")
    assert secure.connections[0].tls.version == "TLSv1.3"


@pytest.mark.parametrize("name,good", [("any.mail.test", True), ("a.b.mail.test", False),
                                       ("mail.test", False), ("ANY.Mail.Test", True)])
def test_wildcards_are_for_one_label(start_with, secure, certificates, name, good):
    secure.certificate = certificates.wildcard
    gatepost = start_with(server_name=name)
    with gatepost.connect() as client:
        if good:
            client.login("u1")
        else:
            refused(client, "u1")
            assert_no_secrets(secure)


def test_c96_two_names_on_one_address(proxy, secure, certificates):
    """Each session verifies its own name, whatever another has found out before."""
    secure.certificate = certificates.mail1
    with proxy.connect() as client:
        for _ in range(3):
            refused(client, "two")
            client.login("one", tag="o")
            client.close()
            client = proxy.connect()
    assert len(secure.logins) == 3
    assert {c.tls_server_name for c in secure.connections if c.logins} == {"mail1.test"}


# --- How it shows itself ---

@VERSIONS
def test_certificate_is_shown_where_it_is_wanted(start_with, backend, certificates, versions):
    backend.tls_options = {"client_ca": certificates.ca, "client_required": True,
                           "versions": versions}
    gatepost = start_with(backend, **identity(certificates.client(cn="gatepost")))
    with gatepost.connect() as client:
        client.login("u1")
    assert ("commonName", "gatepost") in backend.connections[0].tls.peer_names


@VERSIONS
@pytest.mark.parametrize("shown", ["nothing", "foreign"])
def test_certificate_that_the_backend_refuses(start_with, backend, certificates, versions, shown):
    """In TLS 1.3 its alert comes when the handshake is over for us."""
    backend.tls_options = {"client_ca": certificates.ca, "client_required": True,
                           "versions": versions}
    options = identity(certificates.client(authority="other_ca")) if shown == "foreign" else {}
    gatepost = start_with(backend, **options)
    with gatepost.connect() as client:
        refused(client, "u1")
    assert_no_secrets(backend)
    detail = why_refused(gatepost)
    said = {("1.2", "nothing"): "HANDSHAKE_FAILURE", ("1.3", "nothing"): "CERTIFICATE_REQUIRED"}
    assert said.get((versions, shown), "ALERT_UNKNOWN_CA") in detail, detail
