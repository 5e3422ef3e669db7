# SPDX-License-Identifier: Apache-2.0
"""Real Dovecots, each in a folder and on ports of its own: a plain one, and one with everything
that a backend may have."""

import grp
import os
import pathlib
import pwd
import shutil
import subprocess

from servers import AS_ROOT, PASSWORD, accepts, end_process, free_port, short_folder, wait_until
from token_server import TokenServer

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Dovecot:
    """A real Dovecot with one password for everybody and a mailbox for whoever logs in, on `port`
    without TLS."""

    def __init__(self, name):
        self.name = name
        self.folder = short_folder(name)
        self.port = free_port()
        self.mail = self.folder / "mail"
        self.mail.mkdir()
        if AS_ROOT:
            names = ("dovecot", "dovecot", "dovenull", "nobody", "nogroup")
        else:
            me = pwd.getpwuid(os.geteuid()).pw_name
            mine = grp.getgrgid(os.getegid()).gr_name
            names = (me, mine, me, me, mine)
        self.mail_user, self.mail_group = names[3:]
        shutil.chown(self.mail, self.mail_user, self.mail_group)
        self._write_config(names)
        with open(self.folder / "stderr.log", "ab") as log:
            self.process = subprocess.Popen(
                ["dovecot", "-F", "-c", str(self.folder / "dovecot.conf")], stdout=log, stderr=log,
                env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})
        wait_until(lambda: accepts(self.port), what=f"Dovecot {name}")

    def _write_config(self, names):
        text = (ROOT / "deploy/demo/dovecot-2.3.conf").read_text()
        keys = ("INTERNAL_USER", "INTERNAL_GROUP", "LOGIN_USER", "MAIL_USER", "MAIL_GROUP")
        values = dict(zip(keys, names))
        values.update(DIR=str(self.folder), PORT=str(self.port), PASSWORD=PASSWORD)
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        (self.folder / "dovecot.conf").write_text(text + self._further_config())

    def _further_config(self):
        return ""

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def log(self):
        path = self.folder / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def seed(self, user, count=1):
        """Puts messages into the user's inbox whose subjects say which server this is."""
        home = self.mail / user
        for folder in ("cur", "new", "tmp"):
            (home / "Maildir" / folder).mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            (home / "Maildir/new" / f"{number}.{self.name}").write_text(
                f"From: a@localhost\r\nTo: {user}@localhost\r\n"
                f"Subject: this is {user} on {self.name}\r\n"
                "Date: Fri, 21 Nov 2025 10:00:00 +0000\r\n"
                f"Message-ID: <{number}.{user}.{self.name}@localhost>\r\n\r\nHello {number}.\r\n")
        self._own(home)

    def _own(self, path):
        for parent, folders, files in os.walk(path):
            for entry in (parent, *(os.path.join(parent, name) for name in folders + files)):
                shutil.chown(entry, self.mail_user, self.mail_group)

    def messages(self, user):
        """The messages of the user's inbox, as the bytes of their files, in order of arrival."""
        files = [path for folder in ("new", "cur")
                 for path in (self.mail / user / "Maildir" / folder).glob("*")]
        return [path.read_bytes() for path in sorted(files, key=lambda path: path.stat().st_mtime)]

    def remove(self):
        end_process(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)


class FullDovecot(Dovecot):
    """One with TLS, and all mechanisms:

    `port`        STARTTLS, and logins without TLS
    `tls_port`    TLS from the first byte
    `proxy_port`  as `port`, and a PROXY header must come first

    PLAIN, LOGIN, SCRAM and tokens of `tokens` for everybody; MASTER may log in as anybody, by an
    authorisation identity. With `client_certificates` clients are asked for one, and EXTERNAL is
    there: the common name is the user."""

    MASTER, MASTER_PASSWORD = "master", "master-pw"
    MECHANISMS = "plain login scram-sha-1 scram-sha-256 xoauth2 oauthbearer"

    def __init__(self, name, certificates, pair=None, client_certificates=False):
        self.certificates = certificates
        self.pair = pair or certificates.backend
        self.client_certificates = client_certificates
        self.tls_port, self.proxy_port = free_port(), free_port()
        self.tokens = TokenServer()
        super().__init__(name)

    def _further_config(self):
        oauth2 = self.folder / "oauth2.conf"
        oauth2.write_text(f"""
tokeninfo_url = {self.tokens.url}?access_token=
introspection_url =
username_attribute = username
active_attribute = active
active_value = true
use_grant_password = no
""")
        masters = self.folder / "masters"
        masters.write_text(f"{self.MASTER}:{{PLAIN}}{self.MASTER_PASSWORD}\n")
        for path in (oauth2, masters, self.pair.key):
            path.chmod(0o644)
        text = FULL_CONFIG.format(
            pair=self.pair, mechanisms=self.MECHANISMS, oauth2=oauth2, masters=masters,
            tls_port=self.tls_port, proxy_port=self.proxy_port)
        if self.client_certificates:
            text += CLIENT_CERTIFICATES.format(ca=self.certificates.ca, mechanisms=self.MECHANISMS)
        return text

    def remove(self):
        super().remove()
        self.tokens.close()


FULL_CONFIG = """
ssl = yes
ssl_cert = <{pair.chain}
ssl_key = <{pair.key}
auth_mechanisms = {mechanisms}
haproxy_trusted_networks = 127.0.0.0/8
passdb {{
	driver = oauth2
	mechanisms = xoauth2 oauthbearer
	args = {oauth2}
}}
passdb {{
	driver = passwd-file
	master = yes
	args = {masters}
}}
service imap-login {{
	inet_listener imaps {{
		port = {tls_port}
		ssl = yes
	}}
	inet_listener imap_proxy {{
		port = {proxy_port}
		haproxy = yes
	}}
}}
"""

# Whoever comes with a certificate needs no password.
CLIENT_CERTIFICATES = """
ssl_ca = <{ca}
ssl_verify_client_cert = yes
ssl_require_crl = no
ssl_cert_username_field = commonName
auth_ssl_username_from_cert = yes
auth_mechanisms = {mechanisms} external
passdb {{
	driver = static
	mechanisms = external
	args = nopassword=y
}}
"""
