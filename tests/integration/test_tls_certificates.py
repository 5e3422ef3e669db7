# SPDX-License-Identifier: Apache-2.0
"""Which certificate a client sees, what is stapled to it, and which ones clients may show."""

import shutil
import ssl

import pytest

from client import Client, make_context
from openssl import s_client
from proxy import certificate_table

VERSIONS = pytest.mark.parametrize("versions", ["1.2", "1.3"])
RSA_ONLY = "ECDHE-RSA-AES128-GCM-SHA256"
LISTED = ("server", "rsa_of_two", "several", "several_rsa", "wildcard", "exact", "by_option")


@pytest.fixture(scope="module")
def pairs(certificates):
    """Each of them by the name in LISTED."""
    made = {"exact": ["DNS:exact.mail.test"], "by_option": ["DNS:ignored.test"]}
    pairs = {name: certificates.make(name, names) for name, names in made.items()}
    pairs["rsa_of_two"] = certificates.make("rsa_of_two", ["DNS:rsa.test"],
                                            key=("-newkey", "rsa:2048"))
    return {name: pairs.get(name) or getattr(certificates, name) for name in LISTED}


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, fb1, pairs):
    tables = [certificate_table(pairs[name], **({"names": ["option.test", "*.option.test"]}
                                                if name == "by_option" else {}))
              for name in LISTED]
    return start_shared_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                                 **{"tls.certificate": tables})


def leaf_of(pair):
    return ssl.PEM_cert_to_DER_cert(pair.chain.read_text())


def seen(proxy, name, **options):
    """What a client is shown by that SNI, by TLS from the first byte."""
    with Client(proxy.tls_port, False, server_name=name, **options) as client:
        client.greet()
        return client.tls.peer_certificate


BY_NAME = {None: "server", "localhost": "server", "unknown.test": "server", "one.test": "several",
           "two.test": "several", "THREE.Test": "several", "a.mail.test": "wildcard",
           "A.MAIL.TEST": "wildcard", "mail.test": "server", "a.b.mail.test": "server",
           "exact.mail.test": "exact", "rsa.test": "rsa_of_two", "option.test": "by_option",
           "a.option.test": "by_option", "ignored.test": "server"}


@VERSIONS
@pytest.mark.parametrize("name", BY_NAME)
def test_certificate_by_sni(proxy, pairs, versions, name):
    assert seen(proxy, name, versions=versions) == leaf_of(pairs[BY_NAME[name]])


def test_certificate_by_sni_after_starttls(proxy, pairs):
    with Client(proxy.starttls_port) as client:
        client.greet().starttls(False, server_name="a.mail.test")
        assert client.tls.peer_certificate == leaf_of(pairs["wildcard"])


@pytest.mark.parametrize("name,which", [("one.test", "several_rsa"), ("rsa.test", "rsa_of_two")])
def test_rsa_for_clients_that_cannot_ecdsa(proxy, pairs, name, which):
    assert seen(proxy, name, versions="1.2", ciphers=RSA_ONLY) == leaf_of(pairs[which])


def test_rsa_for_clients_that_cannot_ecdsa_in_tls_1_3(proxy, pairs):
    for algorithms, which in (("RSA-PSS+SHA256", "several_rsa"),
                              ("RSA-PSS+SHA256:ECDSA+SHA256", "several")):
        shown = s_client(proxy.tls_port, "-tls1_3", "-servername", "one.test", "-sigalgs",
                         algorithms, say="Q\n")
        assert pairs[which].chain.read_text().strip() in shown, (algorithms, shown)


def test_no_certificate_that_the_client_can_verify(proxy):
    """Names that only ECDSA serves: an alert, no other certificate."""
    with pytest.raises(ssl.SSLError, match="(?i)alert handshake failure"):
        seen(proxy, "a.mail.test", versions="1.2", ciphers=RSA_ONLY)


def test_two_kinds_of_the_first_serve_where_no_name_fits(start_gatepost, fb1, certificates):
    pairs = (certificates.rsa, certificates.several, certificates.server)
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              **{"tls.certificate": [certificate_table(pair) for pair in pairs]})
    for name in (None, "unknown.test"):
        assert seen(gatepost, name) == leaf_of(certificates.server)
        assert seen(gatepost, name, versions="1.2", ciphers=RSA_ONLY) == leaf_of(certificates.rsa)


@VERSIONS
def test_c116_session_is_of_one_certificate(proxy, pairs, versions):
    """A ticket does not open another door: the other certificate is shown and proven."""
    context = make_context(False, versions=versions)
    with Client(proxy.tls_port, False, context=context, server_name="one.test") as client:
        client.greet()
        ticket = client.tls.ticket
    for name, resumes in (("a.mail.test", False), ("one.test", True)):
        with Client(proxy.tls_port, False, ticket=ticket, server_name=name) as client:
            client.greet()
            assert client.tls.resumed == resumes
            if not resumes:
                assert client.tls.peer_certificate == leaf_of(pairs["wildcard"])


# --- OCSP ---

@pytest.fixture
def staple(start_gatepost, fb1, certificates, tmp_path):
    """staple(response): a gatepost with such a response, and what clients are told of it."""
    def start(response):
        path = tmp_path / "staple.der"
        shutil.copy(response, path)
        gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, **{
            "tls.certificate": [certificate_table(certificates.server, ocsp=str(path)),
                                certificate_table(certificates.several)]})

        def told(*options):
            return s_client(gatepost.tls_port, "-status", *options, say="Q\n")

        return gatepost, told

    return start


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("status", ["good", "revoked"])
def test_current_response_is_stapled(staple, certificates, version, status):
    """Whatever it says: that is for the client to judge."""
    _, told = staple(certificates.ocsp_response(certificates.server, status))
    said = told(version)
    assert "OCSP Response Status: successful" in said and f"Cert Status: {status}" in said, said
    assert "no response sent" in told(version, "-servername", "one.test")


def test_response_is_stapled_after_starttls(staple, certificates):
    gatepost, _ = staple(certificates.ocsp_response(certificates.server))
    said = s_client(gatepost.starttls_port, "-status", "-starttls", "imap", say="Q\n")
    assert "Cert Status: good" in said


def test_client_that_does_not_ask_gets_none(staple, certificates):
    gatepost, _ = staple(certificates.ocsp_response(certificates.server))
    assert "OCSP" not in s_client(gatepost.tls_port, say="Q\n")


@pytest.mark.parametrize("kind,why", [
    ("stale", "no longer valid"), ("of another", "certificate"),
    ("no response", "not an OCSP response"), ("empty", "not an OCSP response")])
def test_response_that_is_not_stapled(staple, certificates, tmp_path, kind, why):
    """It keeps nobody from logging in, and the log says what is the matter."""
    response = tmp_path / "response"
    if kind == "stale":
        response = certificates.stale_ocsp_response(certificates.server)
    elif kind == "of another":
        response = certificates.ocsp_response(certificates.rsa)
    else:
        response.write_bytes(b"nothing of the kind" if kind == "no response" else b"")
    gatepost, told = staple(response)
    for _ in range(2):
        assert "no response sent" in told()
    with gatepost.connect() as client:
        client.login()
    # Where the configuration is checked, and where it is loaded; then never again for the same.
    lines = gatepost.events("OCSP response is not used")
    assert 1 <= len(lines) <= 2
    for line in lines:
        assert line["file"].endswith("staple.der") and line["level"] == "warn"
        assert why in line["detail"], line


# --- Certificates of clients ---

@pytest.fixture(scope="module")
def asking(start_shared_gatepost, fb1, certificates):
    return start_shared_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                                 tls={"client_ca": str(certificates.ca)})


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_clients_are_asked_only_with_an_authority(proxy, asking, version):
    assert "No client certificate CA names sent" in s_client(proxy.tls_port, version, say="Q\n")
    said = s_client(asking.tls_port, version, say="Q\n")
    assert "Acceptable client certificate CA names\nCN = gatepost test ca\n" in said, said


@VERSIONS
def test_client_may_have_none(asking, versions):
    with asking.connect(versions=versions) as client:
        client.login()


@VERSIONS
def test_client_with_a_good_one(asking, certificates, versions):
    with asking.connect(versions=versions, certificate=certificates.client("a@x.test")) as client:
        client.login()


@VERSIONS
@pytest.mark.parametrize("kind,alert", [
    ("foreign", "unknown.ca"), ("expired", "certificate.expired"), ("self_signed", "unknown.ca"),
    ("server", "unsupported.certificate")])
@pytest.mark.parametrize("starttls", [False, True], ids=["implicit", "starttls"])
def test_client_with_a_bad_one(asking, certificates, versions, kind, alert, starttls):
    """In TLS 1.3 it learns of it when it reads."""
    shown = certificates.client(authority="other_ca") if kind == "foreign" else \
        getattr(certificates, kind)
    with pytest.raises(ssl.SSLError, match=f"(?i){alert}".replace(".", "[ _]")):
        if starttls:
            asking.connect_starttls(versions=versions, certificate=shown).assert_usable()
        else:
            asking.connect(versions=versions, certificate=shown)
    asking.wait_for_log("TLS handshake: CERTIFICATE_VERIFY_FAILED")
