# SPDX-License-Identifier: Apache-2.0
"""Certificates of every kind, by an authority of our own; each is made when it is asked for."""

import dataclasses
import datetime
import functools
import pathlib
import shutil
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from servers import short_folder


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM files."""
    chain: pathlib.Path
    key: pathlib.Path


EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA = ("-newkey", "rsa:2048")
LOCAL = ("DNS:localhost", "IP:127.0.0.1")


class Certificates:
    """`ca` is the authority that tests trust, `other_ca` one that they do not."""

    def __init__(self):
        self.folder = short_folder("cert")
        self.ca = self._authority("ca")
        self.chain, self.key = self.server.chain, self.server.key

    # --- for servers ---

    @functools.cached_property
    def server(self):
        """ECDSA, for localhost and 127.0.0.1."""
        return self.make("server", LOCAL)

    @functools.cached_property
    def peer(self):
        """For servers that are each other's clients."""
        return self.make("peer", LOCAL, usage="serverAuth,clientAuth")

    @functools.cached_property
    def rsa(self):
        """RSA, for the same names."""
        return self.make("rsa", LOCAL, key=RSA)

    @functools.cached_property
    def wildcard(self):
        """For *.mail.test."""
        return self.make("wildcard", ["DNS:*.mail.test"])

    @functools.cached_property
    def several(self):
        """For three names."""
        return self.make("several", ["DNS:one.test", "DNS:two.test", "DNS:three.test"])

    @functools.cached_property
    def several_rsa(self):
        """RSA, for the same three names."""
        return self.make("several_rsa", ["DNS:one.test", "DNS:two.test", "DNS:three.test"],
                         key=RSA)

    @functools.cached_property
    def expired(self):
        """For localhost, until yesterday."""
        return self.make_expired("expired", LOCAL)

    @functools.cached_property
    def self_signed(self):
        """For localhost, by nobody."""
        return self.make("self_signed", LOCAL, authority=None)

    @functools.cached_property
    def foreign(self):
        """For localhost, by the other authority."""
        assert self.other_ca
        return self.make("foreign", LOCAL, authority="other_ca")

    @functools.cached_property
    def nameless(self):
        """By the authority, and for localhost only in its common name, where nobody looks."""
        return self.make("nameless", [], subject="/CN=localhost")

    @functools.cached_property
    def other_ca(self):
        """The certificate of another authority."""
        return self._authority("other_ca")

    @functools.cached_property
    def other_key(self):
        """A key that fits no certificate."""
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "other.key")
        return self.folder / "other.key"

    # --- for backends ---

    @functools.cached_property
    def mail1(self):
        return self.make("mail1", ["DNS:mail1.test"])

    @functools.cached_property
    def mail2(self):
        return self.make("mail2", ["DNS:mail2.test"])

    @functools.cached_property
    def backend(self):
        """For every backend of the tests, by name and by address."""
        return self.make("backend", ["DNS:mail1.test", "DNS:mail2.test", *LOCAL])

    # --- for clients ---

    def client(self, email=None, cn="client", authority="ca"):
        """A client's certificate with an rfc822Name (None: without) and a common name."""
        name = f"client_{email}_{cn}_{authority}".replace("/", "_")
        return self._clients(name, email, cn, authority)

    @functools.lru_cache(maxsize=None)
    def _clients(self, name, email, cn, authority):
        if authority == "other_ca":
            assert self.other_ca
        return self.make(name, [f"email:{email}"] if email else [], subject=f"/CN={cn}",
                         authority=authority, usage="clientAuth")

    # --- OCSP ---

    def ocsp_response(self, pair, status="good"):
        """A signed response about a certificate of the authority, in DER: good or revoked."""
        return self._ocsp_responses(pair, status)

    @functools.lru_cache(maxsize=None)
    def _ocsp_responses(self, pair, status):
        shown = self.openssl("x509", "-in", pair.chain, "-noout", "-serial").decode()
        serial = shown.strip().partition("=")[2]
        state = {"good": "V\t391231235959Z\t",
                 "revoked": "R\t391231235959Z\t200101000000Z"}[status]
        index = self.folder / f"{pair.chain.stem}-{status}.index"
        index.write_text(f"{state}\t{serial}\tunknown\t/CN=gatepost test\n")
        response = index.with_suffix(".der")
        self.openssl("ocsp", "-index", index, "-CA", "ca.pem", "-issuer", "ca.pem", "-cert",
                      pair.chain, "-rsigner", "ca.pem", "-rkey", "ca.key", "-ndays", "7",
                      "-no_nonce", "-respout", response)
        return response

    def stale_ocsp_response(self, pair):
        """A good one, of last week."""
        now = datetime.datetime.utcnow()
        leaf, issuer = (x509.load_pem_x509_certificate(path.read_bytes())
                        for path in (pair.chain, self.ca))
        key = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        response = ocsp.OCSPResponseBuilder().add_response(
            leaf, issuer, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, now - datetime.timedelta(8),
            now - datetime.timedelta(1), None, None)
        response = response.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
        path = self.folder / f"{pair.chain.stem}-stale.der"
        path.write_bytes(response.sign(key, hashes.SHA256()).public_bytes(
            serialization.Encoding.DER))
        return path

    # --- how they are made ---

    def make(self, name, alternatives, key=EC, subject="/CN=gatepost test", authority="ca",
             usage="serverAuth"):
        """A certificate with these alternative names, by an authority or (None) by itself."""
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        names = ["-addext", "subjectAltName=" + ",".join(alternatives)] if alternatives else []
        signed = ["-CA", f"{authority}.pem", "-CAkey", f"{authority}.key"] if authority else []
        self.openssl("req", "-x509", "-config", "openssl.cnf", "-nodes", *key, *names, *signed,
                      "-addext", "basicConstraints=CA:FALSE",
                      "-addext", f"extendedKeyUsage={usage}", "-subj", subject, "-days", "30",
                      "-keyout", pair.key, "-out", pair.chain)
        return pair

    def make_expired(self, name, alternatives):
        """One by the authority that was over yesterday, and is for no use in particular."""
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        self.openssl("req", "-config", "openssl.cnf", "-nodes", *EC, "-subj", "/CN=gatepost test",
                      "-addext", "subjectAltName=" + ",".join(alternatives),
                      "-keyout", pair.key, "-out", f"{name}.csr")
        (self.folder / f"{name}.db").write_text("")
        (self.folder / f"{name}.cnf").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={name}.db\nrand_serial=yes\ndefault_md=sha256\n"
            "policy=p\ncopy_extensions=copy\nnew_certs_dir=.\n[p]\ncommonName=supplied\n")
        self.openssl("ca", "-batch", "-notext", "-config", f"{name}.cnf", "-cert", "ca.pem",
                      "-keyfile", "ca.key", "-in", f"{name}.csr", "-out", pair.chain,
                      "-startdate", "20200101000000Z", "-enddate", "20200201000000Z")
        return pair

    def _authority(self, name):
        (self.folder / "openssl.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n")
        self.openssl("req", "-x509", "-config", "openssl.cnf", "-nodes", *EC, "-days", "30",
                      "-subj", f"/CN=gatepost test {name}",
                      "-addext", "basicConstraints=critical,CA:TRUE",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
                      "-addext", "subjectKeyIdentifier=hash",
                      "-keyout", f"{name}.key", "-out", f"{name}.pem")
        return self.folder / f"{name}.pem"

    def openssl(self, *arguments):
        done = subprocess.run(["openssl", *map(str, arguments)], cwd=self.folder, check=False,
                              capture_output=True)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
