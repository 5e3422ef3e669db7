# SPDX-License-Identifier: Apache-2.0
"""Programs that people use, each run straight to the backend and through gatepost: both must end
the same way (C128)."""

import email
import imaplib
import os
import shutil
import ssl
import subprocess

import pytest

from servers import PASSWORD

MESSAGE = b"From: a@localhost\r\nTo: b@localhost\r\nSubject: appended\r\n\r\nHello.\r\n"


class Way:
    """How to reach the mail: straight to Dovecot, or through gatepost over TLS or without."""

    def __init__(self, name, port, ca=None):
        self.name, self.port, self.ca = name, port, ca
        self.scheme = "imaps" if ca else "imap"
        self.user = name  # a mailbox of its own, so that both runs begin alike


WAYS = ["direct", "tls", "plain"]


@pytest.fixture(scope="module")
def ways(start_shared_gatepost, mail1, mail2):
    gatepost = start_shared_gatepost({"mail1": mail1.address, "mail2": mail2.address},
                                     {"tls": "mail1", "plain": "mail1", "other": "mail2"})
    made = {"direct": Way("direct", mail1.port), "tls": Way("tls", gatepost.tls_port, gatepost.ca),
            "plain": Way("plain", gatepost.port)}
    return made


@pytest.fixture(autouse=True)
def fresh_mailboxes(mail1):
    """Every test begins with two messages for everybody."""
    for user in WAYS:
        shutil.rmtree(mail1.mail / user, ignore_errors=True)
        mail1.seed(user, count=2)


def run(command, seconds=60, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, timeout=seconds,
                          stdin=subprocess.DEVNULL, check=False, **options)


def curl(way, *options, path="", password=PASSWORD):
    certificate = ["--cacert", way.ca] if way.ca else []
    return run(["curl", "-sS", *certificate, "--url", f"{way.scheme}://localhost:{way.port}/{path}",
                "--user", f"{way.user}:{password}", *options])


CURL_LOGINS = {
    "PLAIN": ["--login-options", "AUTH=PLAIN"],
    "PLAIN with initial response": ["--login-options", "AUTH=PLAIN", "--sasl-ir"],
    "as it likes": [],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("login", CURL_LOGINS)
def test_curl_logs_in(ways, way, login):
    done = curl(ways[way], "-X", "NOOP", *CURL_LOGINS[login])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("login", CURL_LOGINS)
def test_curl_with_a_wrong_password(ways, way, login):
    done = curl(ways[way], "-X", "NOOP", *CURL_LOGINS[login], password="wrong")
    assert done.returncode == 67, (done.returncode, done.stderr)


def test_curl_sees_the_same_list_and_mail(ways, mail1):
    listings = {way: curl(ways[way]).stdout for way in WAYS}
    assert listings["tls"] == listings["plain"] == listings["direct"] != b""
    for way in WAYS:
        done = curl(ways[way], path="INBOX;MAILINDEX=1")
        assert f"Subject: this is {way} on {mail1.name}".encode() in done.stdout


@pytest.mark.parametrize("way", WAYS)
def test_curl_appends(ways, way, mail1, tmp_path):
    """A synchronizing literal: waits for the backend's `+`."""
    (tmp_path / "message.eml").write_bytes(MESSAGE)
    done = curl(ways[way], "-T", tmp_path / "message.eml", path="INBOX")
    assert done.returncode == 0, done.stderr
    assert b"Subject: appended" in mail1.messages(way)[-1]


def test_curl_reaches_another_backend(ways, mail2):
    mail2.seed("other")
    way = Way("other", ways["tls"].port, ways["tls"].ca)
    done = curl(way, path="INBOX;MAILINDEX=1")
    assert b"Subject: this is other on mail2" in done.stdout


def subjects_in(folder):
    """The subjects of a maildir's messages, sorted."""
    return sorted(email.message_from_bytes(path.read_bytes())["Subject"]
                  for part in ("new", "cur") for path in (folder / part).glob("*"))


def expected_subjects(way, mail1):
    return [f"this is {way} on {mail1.name}"] * 2


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("way", WAYS)
def test_mbsync(ways, way, mail1, tmp_path, mechanism):
    """Fetches, and pushes a new message back, with fifty commands in flight."""
    where = ways[way]
    maildir = tmp_path / "mail"
    maildir.mkdir()
    security = f"SSLType IMAPS\nCertificateFile {where.ca}" if where.ca else "SSLType None"
    (tmp_path / "rc").write_text(f"""
IMAPAccount a
Host localhost
Port {where.port}
User {where.user}
Pass {PASSWORD}
AuthMechs {mechanism}
PipelineDepth 50
{security}

IMAPStore far
Account a

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX

Channel c
Far :far:
Near :near:
Create Near
Sync All
SyncState *
""")
    done = run(["mbsync", "-c", tmp_path / "rc", "-a"])
    assert done.returncode == 0, done.stderr
    assert subjects_in(maildir / "INBOX") == expected_subjects(way, mail1)
    (maildir / "INBOX/new/1.x").write_bytes(MESSAGE.replace(b"\r\n", b"\n"))
    done = run(["mbsync", "-c", tmp_path / "rc", "-a"])
    assert done.returncode == 0, done.stderr
    assert any(b"Subject: appended" in message for message in mail1.messages(way))


@pytest.mark.parametrize("way", WAYS)
def test_neomutt(ways, way, mail1, tmp_path):
    """Reads the mailbox, deletes the first message, leaves."""
    where = ways[way]
    (tmp_path / "Mail").mkdir()
    (tmp_path / "muttrc").write_text(f"""
set imap_user = "{where.user}"
set imap_pass = "{PASSWORD}"
set ssl_force_tls = no
set ssl_starttls = no
set imap_pipeline_depth = 15
set delete = yes
set move = no
set quit = yes
{f'set certificate_file = "{where.ca}"' if where.ca else ''}
{f'set ssl_ca_certificates_file = "{where.ca}"' if where.ca else ''}
""")
    keys = "<check-stats><delete-message><sync-mailbox><quit>"
    command = (f"neomutt -n -F {tmp_path}/muttrc -f {where.scheme}://localhost:{where.port}/INBOX "
               f"-e 'push {keys}'")
    done = run(["script", "-qec", command, "/dev/null"],
               env={**os.environ, "HOME": str(tmp_path), "TERM": "xterm"})
    assert done.returncode == 0, done.stdout[-2000:]
    assert len(mail1.messages(way)) == 1, done.stdout[-2000:]


@pytest.mark.parametrize("way", WAYS)
def test_offlineimap(ways, way, mail1, tmp_path):
    where = ways[way]
    security = f"ssl = yes\nsslcacertfile = {where.ca}" if where.ca else "ssl = no"
    (tmp_path / "rc").write_text(f"""
[general]
accounts = a
metadata = {tmp_path}/meta
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {tmp_path}/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {where.port}
remoteuser = {where.user}
remotepass = {PASSWORD}
starttls = no
{security}
""")
    done = run(["offlineimap", "-o", "-c", tmp_path / "rc", "-u", "basic"],
               env={**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert subjects_in(tmp_path / "mail/INBOX") == expected_subjects(way, mail1)


def connect_imaplib(way):
    if way.ca:
        context = ssl.create_default_context(cafile=str(way.ca))
        return imaplib.IMAP4_SSL("localhost", way.port, ssl_context=context, timeout=10)
    return imaplib.IMAP4("localhost", way.port, timeout=10)


@pytest.mark.parametrize("way", WAYS)
def test_imaplib_fails_and_then_logs_in_on_one_connection(ways, way, mail1):
    where = ways[way]
    connection = connect_imaplib(where)
    with pytest.raises(imaplib.IMAP4.error):
        connection.login(where.user, "wrong")
    with pytest.raises(imaplib.IMAP4.error):
        connection.authenticate("PLAIN", lambda _: f"\0{where.user}\0wrong".encode())
    assert connection.login(where.user, PASSWORD)[0] == "OK"
    assert connection.select()[1] == [b"2"]
    answer = connection.fetch("1", "(BODY[HEADER.FIELDS (SUBJECT)])")[1]
    assert answer[0][1].strip() == f"Subject: this is {way} on {mail1.name}".encode()
    assert connection.append("INBOX", "", None, MESSAGE)[0] == "OK"
    assert connection.noop()[0] == "OK"
    assert connection.select()[1] == [b"3"]
    assert connection.logout()[0] == "BYE"


@pytest.mark.parametrize("way", WAYS)
def test_imaplib_by_plain(ways, way):
    where = ways[way]
    connection = connect_imaplib(where)
    answer = connection.authenticate("PLAIN", lambda _: f"\0{where.user}\0{PASSWORD}".encode())
    assert answer[0] == "OK"
    assert connection.logout()[0] == "BYE"


def test_backend_believes_the_clients_address(ways, mail1):
    """Dovecot's own log names the client, not the proxy."""
    way = ways["tls"]
    done = run(["curl", "-sS", "--cacert", way.ca, "--interface", "127.0.0.77", "--url",
                f"imaps://localhost:{way.port}/", "--user", f"{way.user}:{PASSWORD}", "-X", "NOOP"])
    assert done.returncode == 0, done.stderr
    assert "rip=127.0.0.77" in mail1.log()
