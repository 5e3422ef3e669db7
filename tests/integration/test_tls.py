# SPDX-License-Identifier: Apache-2.0
"""TLS towards clients: versions, suites, groups, ALPN, and what is refused (CASES.md, C110, C112,
C114)."""

import random
import ssl
import string

import pytest

from client import Client, Ended, make_context
from openssl import s_client, s_server
from proxy import certificate_table, is_sanitized
from tls_hello import P256, X25519, X25519MLKEM768, answer_to, make_hello

VERSIONS = pytest.mark.parametrize("versions", ["1.2", "1.3"])


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, certificates, fb1):
    """With both kinds of key."""
    tables = [certificate_table(certificates.server), certificate_table(certificates.rsa)]
    return start_shared_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                                 **{"tls.certificate": tables})


# --- Versions and suites ---

@VERSIONS
@pytest.mark.parametrize("starttls", [False, True], ids=["implicit", "starttls"])
def test_c112_versions_that_are_spoken(proxy, fb1, versions, starttls):
    connect = proxy.connect_starttls if starttls else proxy.connect
    with connect(versions=versions) as client:
        assert client.tls.version == f"TLSv{versions}"
        client.login()
    assert fb1.logins


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_c112_versions_that_are_too_old(proxy, version):
    context = make_context(proxy.ca)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError, match="(?i)alert protocol version"):
        proxy.connect(context=context)


SUITES = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305",
          "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256",
          "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES256-GCM-SHA384"]


@pytest.mark.parametrize("suite", SUITES)
def test_c112_suites_of_tls_1_2(proxy, suite):
    with proxy.connect(versions="1.2", ciphers=suite) as client:
        assert client.tls.cipher == suite


# Without forward secrecy, with CBC, and without authentication.
@pytest.mark.parametrize("suites", [
    "AES128-GCM-SHA256:AES256-SHA256:AES128-SHA:AES256-SHA", "kRSA", "DHE", "aNULL", "eNULL",
    "ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES256-SHA384", "AESCCM", "CAMELLIA",
    "ARIA"])
def test_c112_suites_that_are_refused(proxy, suites):
    context = make_context(proxy.ca, versions="1.2")
    context.set_ciphers(f"{suites}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="(?i)alert handshake failure"):
        proxy.connect(context=context)


@pytest.mark.parametrize("suites,chosen", [
    ("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
     "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256",
     "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305",
     "ECDHE-ECDSA-AES128-GCM-SHA256")])
def test_our_order_of_suites(proxy, suites, chosen):
    """AES-128 and ChaCha20 are as good; between those the client decides."""
    with proxy.connect(versions="1.2", ciphers=suites) as client:
        assert client.tls.cipher == chosen


def test_min_version(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, tls={"min_version": "1.3"})
    with gatepost.connect() as client:
        assert client.tls.version == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match="(?i)alert protocol version"):
        gatepost.connect(versions="1.2")


# --- What is refused ---

@pytest.mark.parametrize("starttls", [False, True], ids=["implicit", "starttls"])
def test_c112_renegotiation(proxy, starttls):
    """R in s_client asks for it."""
    options = ["-starttls", "imap"] if starttls else []
    port = proxy.starttls_port if starttls else proxy.tls_port
    said = s_client(port, "-tls1_2", "-CAfile", proxy.ca, *options, say="R\n")
    assert "RENEGOTIATING" in said and "no renegotiation" in said, said


def test_c112_renegotiation_is_secured_where_it_is_refused(proxy):
    """RFC 5746: clients insist on the extension."""
    assert "Secure Renegotiation IS supported" in s_client(proxy.tls_port, "-tls1_2", say="Q\n")


def test_c112_early_data_is_refused(proxy, certificates, tmp_path):
    """Our tickets allow none; a client that sends some all the same, since another server did, goes
    on without."""
    ticket, early = tmp_path / "ticket", tmp_path / "early"
    common = ("-tls1_3", "-servername", "localhost", "-CAfile", certificates.ca)
    assert "Max Early Data: 0" in s_client(proxy.tls_port, *common, "-ign_eof",
                                           say="a LOGOUT\r\n")
    with s_server(certificates.server, "-tls1_3", "-max_early_data", "16384") as port:
        s_client(port, *common, "-sess_out", ticket, "-ign_eof", say="CLOSE\n")
    early.write_text("e NOOP\r\n")
    said = s_client(proxy.tls_port, *common, "-sess_in", ticket, "-early_data", early, "-ign_eof",
                    say="a NOOP\r\nb LOGOUT\r\n")
    assert "Early data was rejected" in said, said
    assert "b OK" in said and "a OK" in said and "e OK" not in said


def test_compression_and_heartbeat_are_unknown(proxy):
    assert "Compression: NONE" in s_client(proxy.tls_port, "-tls1_2", "-comp", say="Q\n")


# --- Groups ---

def test_groups_of_today(proxy):
    for group, name in (("X25519", "X25519"), ("P-256", "P-256"), ("P-384", "P-384")):
        assert f"Server Temp Key: {name}" in s_client(proxy.tls_port, "-groups", group, say="Q\n") \
            .replace("ECDH, prime256v1", "P-256").replace("ECDH, secp384r1", "P-384")
    assert "handshake failure" in s_client(proxy.tls_port, "-groups", "X448:P-521", say="Q\n")


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_client_that_offers_mlkem_first(proxy, pieces):
    """A library that does not know it takes what comes next, without another round trip. The hello
    is of a size that comes in several segments."""
    hello = make_hello([X25519MLKEM768, X25519, P256], [X25519MLKEM768, X25519])
    assert answer_to(proxy.tls_port, hello, pieces) in [("hello", X25519),
                                                        ("hello", X25519MLKEM768)]


def test_client_that_only_has_a_share_for_mlkem(proxy):
    assert answer_to(proxy.tls_port, make_hello([X25519MLKEM768, X25519], [X25519MLKEM768])) in [
        ("retry", X25519), ("hello", X25519MLKEM768)]


def test_client_that_has_a_share_for_today(proxy):
    """The better group is worth a round trip where the library has it."""
    assert answer_to(proxy.tls_port, make_hello([X25519MLKEM768, X25519], [X25519])) in [
        ("hello", X25519), ("retry", X25519MLKEM768)]


# --- ALPN ---

@VERSIONS
@pytest.mark.parametrize("offered,chosen", [(["imap"], "imap"), (["h2", "imap"], "imap"),
                                            (["imap", "h2"], "imap"), ([], None)])
def test_c110_alpn(proxy, versions, offered, chosen):
    with proxy.connect(versions=versions, alpn=offered) as client:
        assert client.tls.alpn == chosen


@VERSIONS
@pytest.mark.parametrize("offered", [["http/1.1"], ["h2", "http/1.1"], ["ima"], ["IMAP"],
                                     ["imaps"], ["x" * 255]])
@pytest.mark.parametrize("starttls", [False, True], ids=["implicit", "starttls"])
def test_c110_alpn_without_imap(proxy, versions, offered, starttls):
    connect = proxy.connect_starttls if starttls else proxy.connect
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        connect(versions=versions, alpn=offered)


def test_alpn_switched_off(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, tls={"alpn": False})
    with gatepost.connect(alpn=["http/1.1"]) as client:
        assert client.tls.alpn is None


# --- Many ---

def test_c114_random_names_cost_no_memory(proxy, certificates):
    """Resumed sessions, too, since tickets hold what servers do not."""
    randomness = random.Random(114)
    contexts = [make_context(False, versions=versions) for versions in ("1.2", "1.3")]

    def handshakes(count):
        for number in range(count):
            labels = ["".join(randomness.choices(string.ascii_lowercase + string.digits, k=size))
                      for size in (randomness.randint(1, 60), randomness.randint(1, 60), 4)]
            context = contexts[number % 2]
            context.check_hostname = False
            with Client(proxy.tls_port, False, context=context, server_name=".".join(labels)):
                pass

    handshakes(300)
    before = proxy.resident_kib()
    handshakes(2000)
    # AddressSanitizer keeps what was freed, up to 256 MiB.
    assert proxy.resident_kib() - before < (300_000 if is_sanitized() else 512)


def test_handshakes_are_counted_and_logged(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"})
    for versions in ("1.2", "1.3"):
        with gatepost.connect(versions=versions) as client:
            client.login()
    with pytest.raises((ssl.SSLError, Ended)):
        gatepost.connect(alpn=["h2"])
    gatepost.wait_for_log("handshake_failed")
    gatepost.wait_for_log("tls=TLSv1.3 cipher=TLS_AES_")
    gatepost.wait_for_log("tls=TLSv1.2 cipher=ECDHE-ECDSA-")
    gatepost.wait_for_log("sni=localhost")
