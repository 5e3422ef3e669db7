# SPDX-License-Identifier: Apache-2.0
"""What scanners of TLS have to say of both listeners (CASES.md, C112). sslscan is quick; of
testssl.sh one part is run always, and all of it by `make scan`, which takes minutes."""

import json
import os
import subprocess
import xml.etree.ElementTree

import pytest

from proxy import certificate_table
from test_tls import SUITES

LISTENERS = pytest.mark.parametrize("starttls", [False, True], ids=["implicit", "starttls"])

# From here on a finding fails the test.
GRAVE = ("MEDIUM", "HIGH", "CRITICAL")

# What is so of every certificate that these tests make, and says nothing of gatepost.
OF_THE_TEST = {
    "cert_chain_of_trust": "the authority is our own, and no system knows it",
    "cert_expirationStatus": "it is made for 30 days",
    "cert_notAfter": "the same in other words",
    "cert_revocation": "it names neither a list nor a responder",
    "cert_trust": "it is for localhost and 127.0.0.1"}


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, certificates, fb1):
    """With both kinds of key."""
    tables = [certificate_table(certificates.server), certificate_table(certificates.rsa)]
    return start_shared_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                                 **{"tls.certificate": tables})


def place_of(proxy, starttls):
    return f"127.0.0.1:{proxy.starttls_port if starttls else proxy.tls_port}"


# --- sslscan ---

@pytest.fixture(scope="module", params=[False, True], ids=["implicit", "starttls"])
def scan(request, proxy):
    """sslscan's report, as XML."""
    options = ["--starttls-imap"] if request.param else []
    done = subprocess.run(["sslscan", "--xml=-", *options, place_of(proxy, request.param)],
                          capture_output=True, text=True, timeout=60, check=True)
    return xml.etree.ElementTree.fromstring(done.stdout).find("ssltest")


def test_sslscan_protocols(scan):
    enabled = {part.get("type") + part.get("version") for part in scan.findall("protocol")
               if part.get("enabled") == "1"}
    assert enabled == {"tls1.2", "tls1.3"} and len(scan.findall("protocol")) == 6


def test_sslscan_suites(scan):
    found = {(part.get("sslversion"), part.get("cipher")) for part in scan.findall("cipher")}
    assert found == {("TLSv1.2", suite) for suite in SUITES} | {
        ("TLSv1.3", f"TLS_{suite}") for suite in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384",
                                                  "CHACHA20_POLY1305_SHA256")}


def test_sslscan_groups(scan):
    found = {part.get("name").split()[0] for part in scan.findall("group")}
    assert {"x25519", "secp256r1", "secp384r1"} <= found
    assert not found & {"sect283k1", "secp521r1", "secp192r1", "secp224r1"}
    assert all(int(part.get("bits")) >= 128 for part in scan.findall("group"))


def test_sslscan_weaknesses(scan):
    assert scan.find("renegotiation").get("supported") == "0"
    assert {part.get("vulnerable") for part in scan.findall("heartbleed")} == {"0"}
    assert scan.find("compression") is None or scan.find("compression").get("supported") == "0"


# --- testssl.sh ---

def assert_nothing_grave(proxy, starttls, folder, *options):
    """No finding of weight; returns what was found, by its name."""
    report = folder / "report.json"
    starttls_options = ["-t", "imap"] if starttls else []
    done = subprocess.run(
        ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "one", "--jsonfile",
         report, *starttls_options, *options, place_of(proxy, starttls)],
        capture_output=True, text=True, timeout=400, stdin=subprocess.DEVNULL, check=False)
    assert report.exists(), done.stdout + done.stderr
    found = json.loads(report.read_text())
    grave = [finding for finding in found if finding["severity"] in (*GRAVE, "FATAL")
             and finding["id"].split()[0] not in OF_THE_TEST]
    assert not grave, grave
    return {finding["id"]: finding["finding"] for finding in found}


def test_testssl_protocols_and_order(proxy, tmp_path):
    found = assert_nothing_grave(proxy, False, tmp_path, "--protocols", "--server-preference")
    assert {name: found[name].split()[0] for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1")} == \
        dict.fromkeys(("SSLv2", "SSLv3", "TLS1", "TLS1_1"), "not")
    assert found["TLS1_2"].startswith("offered") and found["TLS1_3"].startswith("offered")
    assert "server" in found["cipher_order"]


@pytest.mark.skipif(not os.environ.get("SCAN"), reason="takes minutes: make scan")
@LISTENERS
def test_testssl(proxy, tmp_path, starttls):
    found = assert_nothing_grave(
        proxy, starttls, tmp_path, "--protocols", "--server-preference", "--server-defaults",
        "--std", "--fs", "--vulnerable")
    for name in ("heartbleed", "CCS", "ROBOT", "secure_client_renego", "CRIME_TLS",
                 "POODLE_SSL", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4"):
        assert "not" in found[name] or "no " in found[name], (name, found[name])
