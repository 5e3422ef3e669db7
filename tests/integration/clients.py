# SPDX-License-Identifier: Apache-2.0
"""Programs that people use, each run by one function without a person. All are told where to go and
a folder to work in, and return what can be compared: straight to a backend and through gatepost a
run must end the same way. CLIENTS names them."""

import dataclasses
import email
import imaplib
import mailbox
import os
import pathlib
import re
import ssl
import subprocess

MESSAGE = b"From: a@localhost\r\nTo: b@localhost\r\nSubject: appended\r\n\r\nHello.\r\n"


@dataclasses.dataclass
class Where:
    """A server at localhost, and whom to log in as; `tls` is "none", "implicit" or "starttls"."""
    port: int
    tls: str
    ca: str
    user: str
    password: str

    @property
    def scheme(self):
        return "imaps" if self.tls == "implicit" else "imap"

    @property
    def encrypted(self):
        return self.tls != "none"

    def choose(self, none, starttls, implicit):
        """One of three words, by how TLS is spoken."""
        return {"none": none, "starttls": starttls, "implicit": implicit}[self.tls]


@dataclasses.dataclass
class Result:
    """What a run came to: its exit status, and the subjects of what it read. `output` says more to
    whom looks for a fault."""
    status: int
    read: list
    output: bytes = dataclasses.field(compare=False, default=b"", repr=False)

    def check(self, status=0):
        assert self.status == status, (self, self.output[-2000:])
        return self


def run(command, seconds=60, stdin=b"", **options):
    words = [str(word) for word in command]
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, input=stdin,
                          timeout=seconds, check=False, **options)


def run_on_terminal(command, folder, seconds=60, **environment):
    """A command line in a terminal of its own, at home in the folder."""
    return run(["script", "-qec", command, "/dev/null"], seconds, env={
        **os.environ, "HOME": str(folder), "TERM": "xterm", "COLUMNS": "80", "LINES": "24",
        **environment})


def at_home(folder, **environment):
    return {**os.environ, "HOME": str(folder), **environment}


def subjects_of(messages):
    return sorted(email.message_from_bytes(message)["Subject"] for message in messages)


def subjects_in_maildir(folder):
    """The subjects of a maildir's messages, sorted."""
    return subjects_of(path.read_bytes() for part in ("new", "cur")
                       for path in (folder / part).glob("*"))


def subjects_in_text(text):
    return sorted(re.findall(r"Subject: ([^\r\n]*)", text.decode(errors="replace")))


def subjects_in_file(path):
    return subjects_in_text(path.read_bytes()) if path.exists() else []


def subjects_in_mbox(path):
    return sorted(message["Subject"] for message in mailbox.mbox(path)) if path.exists() else []


# --- curl ---

def curl(where, *options, path="", user=None):
    """Any request; `user` is USER:PASSWORD where it is not the usual one."""
    certificate = ["--cacert", where.ca] if where.encrypted else []
    required = ["--ssl-reqd"] if where.tls == "starttls" else []
    return run(["curl", "-sS", *certificate, *required, "--url",
                f"{where.scheme}://localhost:{where.port}/{path}",
                "--user", user or f"{where.user}:{where.password}", *options])


def read_by_curl(where, folder, *options):
    """The first message of the inbox."""
    done = curl(where, *options, path="INBOX;MAILINDEX=1")
    return Result(done.returncode, subjects_in_text(done.stdout), done.stdout)


def read_by_curl_plain(where, folder):
    return read_by_curl(where, folder, "--login-options", "AUTH=PLAIN")


def read_by_curl_plain_ir(where, folder):
    return read_by_curl(where, folder, "--login-options", "AUTH=PLAIN", "--sasl-ir")


def read_by_curl_login(where, folder):
    return read_by_curl(where, folder, "--login-options", "AUTH=LOGIN")


def curl_token(where, mechanism, token, *options):
    """A login by XOAUTH2 or OAUTHBEARER."""
    done = curl(where, "--oauth2-bearer", token, "--login-options", f"AUTH={mechanism}", *options,
                path="INBOX;MAILINDEX=1", user=where.user)
    return Result(done.returncode, subjects_in_text(done.stdout), done.stdout)


# --- mbsync ---

def mbsync(where, folder, mechanism="PLAIN"):
    """Fetches what is there, and pushes what lies in FOLDER/mail/INBOX."""
    maildir = folder / "mail"
    maildir.mkdir(exist_ok=True)
    security = where.choose("None", "STARTTLS", "IMAPS")
    (folder / "mbsyncrc").write_text(f"""
IMAPAccount a
Host localhost
Port {where.port}
User {where.user}
Pass {where.password}
AuthMechs {mechanism}
PipelineDepth 50
SSLType {security}
{f"CertificateFile {where.ca}" if where.encrypted else ""}

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
""".replace(f"{security}\n\n\n", f"{security}\n\n"))
    done = run(["mbsync", "-c", folder / "mbsyncrc", "-a"], env=at_home(folder))
    return Result(done.returncode, subjects_in_maildir(maildir / "INBOX"), done.stdout)


def mbsync_login(where, folder):
    return mbsync(where, folder, "LOGIN")


# --- neomutt, mutt ---

def neomutt(where, folder, program="neomutt"):
    """Copies all messages into FOLDER/copy, deletes the first, and leaves. It leaves in order
    without a login, too: the copy tells."""
    (folder / "Mail").mkdir(exist_ok=True)
    (folder / "muttrc").write_text(f"""
set imap_user = "{where.user}"
set imap_pass = "{where.password}"
set ssl_force_tls = {"yes" if where.encrypted else "no"}
set ssl_starttls = {"yes" if where.tls == "starttls" else "no"}
set imap_pipeline_depth = 15
set delete = yes
set move = no
set quit = yes
set confirmappend = no
set confirmcreate = no
set wait_key = no
set sleep_time = 0
set mbox_type = mbox
set certificate_file = "{where.ca}"
set ssl_ca_certificates_file = "{where.ca}"
""")
    keys = (f"<tag-pattern>~A<enter><tag-prefix><copy-message>{folder}/copy<enter>"
            "<untag-pattern>~A<enter><first-entry><delete-message><sync-mailbox><quit>")
    url = f"{where.scheme}://localhost:{where.port}/INBOX"
    done = run_on_terminal(f"{program} -n -F {folder}/muttrc -f {url} -e 'push {keys}'", folder)
    read = subjects_in_mbox(folder / "copy")
    return Result(done.returncode if read else 1, read, done.stdout)


def mutt(where, folder):
    return neomutt(where, folder, "mutt")


# --- offlineimap ---

OFFLINEIMAP_TRIES = 3


def offlineimap(where, folder):
    security = where.choose("ssl = no\nstarttls = no", "ssl = no\nstarttls = yes", "ssl = yes")
    if where.encrypted:
        security += f"\nsslcacertfile = {where.ca}"
    (folder / "offlineimaprc").write_text(f"""
[general]
accounts = a
metadata = {folder}/meta
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {folder}/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {where.port}
remoteuser = {where.user}
remotepass = {where.password}
{security}
""")
    words = ["offlineimap", "-o", "-c", folder / "offlineimaprc", "-u", "basic"]
    # Its threads wait for each other in STARTTLS now and then, whoever serves it.
    for _ in range(OFFLINEIMAP_TRIES - 1):
        try:
            done = run(words, seconds=20, env=at_home(folder))
            break
        except subprocess.TimeoutExpired:
            continue
    else:
        done = run(words, env=at_home(folder))
    return Result(done.returncode, subjects_in_maildir(folder / "mail/INBOX"), done.stdout)


# --- fetchmail, getmail ---

def fetchmail(where, folder):
    security = where.choose('sslproto ""', 'sslproto "auto"', "ssl")
    if where.encrypted:
        security += f' sslcertck sslcertfile "{where.ca}"'
    path = folder / "fetchmailrc"
    path.write_text(f"""
set no bouncemail
poll localhost service {where.port} protocol IMAP
	user "{where.user}" password "{where.password}" {security} keep fetchall
	mda "cat >>{folder}/fetched && echo >>{folder}/fetched"
""")
    path.chmod(0o600)
    done = run(["fetchmail", "-f", path, "-v", "-a", "--pidfile", folder / "pid", "-i",
                folder / "ids"], env=at_home(folder))
    return Result(done.returncode, subjects_in_file(folder / "fetched"), done.stdout)


def getmail(where, folder):
    """Has no STARTTLS."""
    kind = where.choose("SimpleIMAPRetriever", None, "SimpleIMAPSSLRetriever")
    (folder / "getmailrc").write_text(f"""
[retriever]
type = {kind}
server = localhost
port = {where.port}
username = {where.user}
password = {where.password}
{f"ca_certs = {where.ca}" if where.encrypted else ""}
[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat >>{folder}/got")
allow_root_commands = true
[options]
read_all = true
""")
    done = run(["getmail", "--getmaildir", folder, "--rcfile", folder / "getmailrc"],
               env=at_home(folder))
    return Result(done.returncode, subjects_in_file(folder / "got"), done.stdout)


# --- imapfilter ---

def imapfilter(where, folder):
    (folder / "filter.lua").write_text(f"""
options.starttls = {"true" if where.tls == "starttls" else "false"}
options.timeout = 20
account = IMAP {{
	server = "localhost", port = {where.port},
	username = "{where.user}", password = "{where.password}",
	{'ssl = "auto",' if where.tls == "implicit" else ""}
}}
for _, message in ipairs(account.INBOX:select_all()) do
	mailbox, uid = table.unpack(message)
	print("Subject: " .. mailbox[uid]:fetch_field("Subject"):gsub("^Subject: *", ""))
end
""")
    done = run(["imapfilter", "-t", where.ca, "-c", folder / "filter.lua"], env=at_home(folder))
    return Result(done.returncode, subjects_in_text(done.stdout), done.stdout)


# --- interimap ---

def interimap(where, folder, near):
    """Replicates into another server, `near`, where nobody speaks TLS; the subjects are there."""
    security = {"none": "type = imap\nSTARTTLS = NO", "starttls": "type = imap\nSTARTTLS = YES",
                "implicit": "type = imaps"}[where.tls]
    if where.encrypted:
        security += f"\nSSL_CAfile = {where.ca}\nSSL_verify = YES"
    path = folder / "interimap"
    path.write_text(f"""
database = {folder}/interimap.db
[local]
type = imap
STARTTLS = NO
host = localhost
port = {near.port}
username = {near.user}
password = {near.password}
[remote]
{security}
host = localhost
port = {where.port}
username = {where.user}
password = {where.password}
""")
    path.chmod(0o600)
    done = run(["interimap", f"--config={path}", "--debug"], env=at_home(folder))
    found = read_by_imaplib(near, folder)
    return Result(done.returncode, found.read, done.stdout)


# --- the mechanisms, one by one ---

def gsasl(where, mechanism="PLAIN", owner=""):
    """A login by any mechanism of its own, without channel bindings; TLS by STARTTLS or none."""
    security = where.choose(["--no-starttls"], ["--starttls", "--x509-ca-file", where.ca], None)
    done = run(["gsasl", "--imap", "--no-cb", "-d", "-m", mechanism, "-a", where.user, "-z",
                owner or where.user, "-p", where.password, *security, "--connect",
                f"localhost:{where.port}"])
    return Result(done.returncode, [], done.stdout)


def imtest(where, mechanism="plain", owner=""):
    """A login by any mechanism of Cyrus SASL, or `login`, the command."""
    security = where.choose([], ["-t", ""], ["-s"])
    done = run(["/usr/lib/cyrus/bin/imtest", *security, "-p", where.port, "-m", mechanism, "-a",
                where.user, "-u", owner or where.user, "-w", where.password, "localhost"],
               stdin=b". LOGOUT\r\n")
    accepted = b"\nAuthenticated." in done.stdout
    return Result(0 if accepted else 1, [], done.stdout)


# --- c-client, go-imap ---

def expect(script, folder, **environment):
    """A script of expect on a wide terminal; `fail` ends it with status 1."""
    begin = "set timeout 20\nset stty_init {rows 24 columns 160}\nproc fail {} {exit 1}\n"
    return run(["expect", "-c", begin + script],
               env=at_home(folder, TERM="xterm", **environment))


def mailutil(where, folder):
    """Counts the inbox by c-client, which PHP has too. It verifies no certificate here; its
    STARTTLS is TLS 1.0, which nobody speaks."""
    security = where.choose("notls", None, "ssl/novalidate-cert")
    name = f"localhost:{where.port}/imap/{security}/user={where.user}"
    done = expect(f"""
spawn mailutil check "{{{name}}}INBOX"
expect assword: {{}} default fail
send "{where.password}\\r"
expect assword: fail timeout fail eof {{}}
""", folder)
    found = re.search(rb"\d+ new message.* total", done.stdout)
    return Result(done.returncode, [found[0].decode()] if found else [], done.stdout)


def aerc(where, folder):
    """Shows the inbox by go-imap, and leaves when it stands there."""
    scheme = where.choose("imap+insecure", "imap", "imaps")
    config = folder / ".config/aerc"
    config.mkdir(parents=True, exist_ok=True)
    accounts = config / "accounts.conf"
    accounts.write_text(f"[a]\nfrom = a <a@localhost>\n"
                        f"source = {scheme}://{where.user}:{where.password}@localhost:{where.port}"
                        "\ndefault = INBOX\n")
    accounts.chmod(0o600)
    done = expect("""
spawn aerc
expect -re {this is [^ ]* on [a-z0-9]*} {} NO fail default fail
send ":quit\\r"
expect eof
""", folder, SSL_CERT_FILE=str(where.ca), XDG_CONFIG_HOME=str(folder / ".config"),
                  XDG_CACHE_HOME=str(folder / ".cache"), XDG_DATA_HOME=str(folder / ".local"),
                  XDG_RUNTIME_DIR=str(folder))
    found = set(re.findall(rb"this is [^ ]* on [a-z0-9]*", done.stdout))
    return Result(done.returncode, sorted(text.decode() for text in found), done.stdout)


# --- Python's imaplib ---

def connect_imaplib(where):
    context = ssl.create_default_context(cafile=str(where.ca)) if where.encrypted else None
    if where.tls == "implicit":
        return imaplib.IMAP4_SSL("localhost", where.port, ssl_context=context, timeout=10)
    connection = imaplib.IMAP4("localhost", where.port, timeout=10)
    if where.tls == "starttls":
        connection.starttls(context)
    return connection


def read_by_imaplib(where, folder, mechanism=None):
    """The subjects of the inbox; `mechanism` is PLAIN, LOGIN, or None for the command."""
    connection = connect_imaplib(where)
    try:
        if mechanism == "PLAIN":
            connection.authenticate("PLAIN",
                                    lambda _: f"\0{where.user}\0{where.password}".encode())
        elif mechanism == "LOGIN":
            words = [where.user.encode(), where.password.encode()]
            connection.authenticate("LOGIN", lambda _: words.pop(0))
        else:
            connection.login(where.user, where.password)
    except imaplib.IMAP4.error as fault:
        connection.shutdown()
        return Result(1, [], str(fault).encode())
    connection.select(readonly=True)
    found = connection.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    connection.logout()
    text = b"".join(item[1] for item in found if isinstance(item, tuple))
    return Result(0, subjects_in_text(text), text)


# --- imapflow, of npm ---

def imapflow(where, folder):
    """Wants node, and IMAPFLOW: a folder where `npm install imapflow` was done."""
    script = pathlib.Path(__file__).with_name("imapflow.js")
    done = run(["node", script, where.port, where.tls, where.ca, where.user, where.password],
               env=at_home(folder, NODE_PATH=os.path.join(os.environ["IMAPFLOW"], "node_modules")))
    return Result(done.returncode, subjects_in_text(done.stdout), done.stdout)


@dataclasses.dataclass
class Program:
    """How one is run, what TLS it speaks, and whether it gives up soon after a wrong password."""
    run: object
    tls: tuple = ("none", "starttls", "implicit")
    gives_up: bool = True


# Each reads an inbox in its own way.
CLIENTS = {
    "curl": Program(read_by_curl),
    "curl, PLAIN": Program(read_by_curl_plain),
    "curl, PLAIN with initial response": Program(read_by_curl_plain_ir),
    "curl, LOGIN": Program(read_by_curl_login),
    "mbsync": Program(mbsync),
    "mbsync, LOGIN": Program(mbsync_login),
    "neomutt": Program(neomutt),
    "mutt": Program(mutt),
    "offlineimap": Program(offlineimap, gives_up=False),
    "fetchmail": Program(fetchmail),
    "getmail": Program(getmail, ("none", "implicit")),
    "imapfilter": Program(imapfilter),
    "mailutil": Program(mailutil, ("none", "implicit")),
    "aerc": Program(aerc, gives_up=False),
    "imaplib": Program(read_by_imaplib),
}
if os.environ.get("IMAPFLOW"):
    CLIENTS["imapflow"] = Program(imapflow)
