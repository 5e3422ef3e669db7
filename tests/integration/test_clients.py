# SPDX-License-Identifier: Apache-2.0
"""Programs that people use, each run straight to the backend and through gatepost: both must end
the same way (C128)."""

import imaplib
import shutil

import pytest

import clients
from clients import CLIENTS, MESSAGE, Where
from servers import PASSWORD

USER, OTHER = "reader", "other"
ALL_TLS = ["none", "starttls", "implicit"]
RUNS = [(name, tls) for name, program in CLIENTS.items() for tls in program.tls]


@pytest.fixture(scope="module")
def gatepost(start_shared_gatepost, full1, full2):
    return start_shared_gatepost(
        {"full1": f"127.0.0.1:{full1.port}", "full2": f"127.0.0.1:{full2.port}"},
        {USER: "full1", OTHER: "full2"})


@pytest.fixture(autouse=True)
def fresh_mailbox(full1):
    """Every run begins with two messages."""
    def refill():
        shutil.rmtree(full1.mail / USER, ignore_errors=True)
        full1.seed(USER, count=2)
    refill()
    return refill


@pytest.fixture
def direct(full1, certificates):
    """Straight to the backend."""
    def make(tls, user=USER, password=PASSWORD):
        port = full1.tls_port if tls == "implicit" else full1.port
        return Where(port, tls, certificates.ca, user, password)
    return make


@pytest.fixture
def through(gatepost):
    """To gatepost."""
    def make(tls, user=USER, password=PASSWORD):
        port = {"none": gatepost.port, "starttls": gatepost.starttls_port,
                "implicit": gatepost.tls_port}[tls]
        return Where(port, tls, gatepost.ca, user, password)
    return make


@pytest.fixture(params=["direct", "through"])
def way(request):
    """One after the other."""
    return request.getfixturevalue(request.param)


def folder_for(tmp_path, name):
    (tmp_path / name).mkdir()
    return tmp_path / name


@pytest.mark.parametrize("name,tls", RUNS)
def test_reads_the_same(direct, through, tmp_path, fresh_mailbox, name, tls):
    program = CLIENTS[name]
    expected = program.run(direct(tls), folder_for(tmp_path, "direct")).check()
    assert expected.read
    fresh_mailbox()
    found = program.run(through(tls), folder_for(tmp_path, "through"))
    assert found == expected, found.output[-3000:]


@pytest.mark.parametrize("name", [name for name, program in CLIENTS.items() if program.gives_up])
def test_fails_the_same(direct, through, tmp_path, name):
    """A wrong password."""
    run = CLIENTS[name].run
    expected = run(direct("implicit", password="wrong"), folder_for(tmp_path, "direct"))
    assert expected.status != 0 and not expected.read, expected.output
    found = run(through("implicit", password="wrong"), folder_for(tmp_path, "through"))
    assert found == expected, found.output[-3000:]


@pytest.mark.parametrize("tls", ALL_TLS)
def test_curl_sees_the_same_list(direct, through, tls):
    listings = [clients.curl(where(tls)).stdout for where in (direct, through)]
    assert listings[0] == listings[1] != b""


@pytest.mark.parametrize("tls", ALL_TLS)
def test_curl_appends(way, full1, tmp_path, tls):
    """A synchronizing literal: waits for the backend's `+`."""
    (tmp_path / "message.eml").write_bytes(MESSAGE)
    done = clients.curl(way(tls), "-T", tmp_path / "message.eml", path="INBOX")
    assert done.returncode == 0, done.stdout
    assert b"Subject: appended" in full1.messages(USER)[-1]


def test_curl_reaches_another_backend(through, full2, tmp_path):
    full2.seed(OTHER)
    read = clients.read_by_curl(through("implicit", user=OTHER), tmp_path).check().read
    assert read == [f"this is {OTHER} on full2"]


@pytest.mark.parametrize("tls", ALL_TLS)
def test_mbsync_pushes(way, full1, tmp_path, tls):
    """With fifty commands in flight."""
    clients.mbsync(way(tls), tmp_path).check()
    (tmp_path / "mail/INBOX/new/1.x").write_bytes(MESSAGE.replace(b"\r\n", b"\n"))
    clients.mbsync(way(tls), tmp_path).check()
    assert any(b"Subject: appended" in message for message in full1.messages(USER))


@pytest.mark.parametrize("tls", ALL_TLS)
@pytest.mark.parametrize("program", [clients.neomutt, clients.mutt])
def test_mutts_delete(way, full1, tmp_path, program, tls):
    program(way(tls), tmp_path).check()
    assert len(full1.messages(USER)) == 1


@pytest.mark.parametrize("tls", ALL_TLS)
def test_interimap(way, mail2, tmp_path, tls):
    """Replicates into a server on the other side, over two connections at once."""
    shutil.rmtree(mail2.mail / "replica", ignore_errors=True)
    near = Where(mail2.port, "none", None, "replica", PASSWORD)
    found = clients.interimap(way(tls), tmp_path, near).check()
    assert found.read == [f"this is {USER} on full1"] * 2


@pytest.mark.parametrize("tls", ALL_TLS)
def test_imaplib_fails_and_then_logs_in_on_one_connection(way, full1, tls):
    connection = clients.connect_imaplib(way(tls))
    with pytest.raises(imaplib.IMAP4.error):
        connection.login(USER, "wrong")
    with pytest.raises(imaplib.IMAP4.error):
        connection.authenticate("PLAIN", lambda _: f"\0{USER}\0wrong".encode())
    assert connection.login(USER, PASSWORD)[0] == "OK"
    assert connection.select()[1] == [b"2"]
    assert connection.append("INBOX", "", None, MESSAGE)[0] == "OK"
    assert connection.noop()[0] == "OK"
    assert connection.select()[1] == [b"3"]
    assert connection.logout()[0] == "BYE"
    assert len(full1.messages(USER)) == 3


@pytest.mark.parametrize("tls", ALL_TLS)
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_imaplib_by_a_mechanism(way, tmp_path, mechanism, tls):
    assert clients.read_by_imaplib(way(tls), tmp_path, mechanism).check().read


@pytest.mark.parametrize("tls", ["none", "starttls"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_gsasl(way, mechanism, tls):
    clients.gsasl(way(tls), mechanism).check()
    clients.gsasl(way(tls, password="wrong"), mechanism).check(1)


@pytest.mark.parametrize("tls", ALL_TLS)
@pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-1", "scram-sha-256"])
def test_imtest(way, mechanism, tls):
    clients.imtest(way(tls), mechanism).check()
    clients.imtest(way(tls, password="wrong"), mechanism).check(1)


@pytest.mark.parametrize("tls", ALL_TLS)
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("initial", [["--sasl-ir"], []])
def test_curl_with_a_token(way, full1, mechanism, initial, tls):
    full1.tokens.users["good"] = USER
    found = clients.curl_token(way(tls), mechanism, "good", *initial).check()
    assert found.read == [f"this is {USER} on full1"]
    clients.curl_token(way(tls), mechanism, "stale", *initial).check(67)


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_imtest_as_somebody_else(way, full1, tls):
    """A master user, and an authorisation identity (C49)."""
    master = way(tls, user=full1.MASTER, password=full1.MASTER_PASSWORD)
    clients.imtest(master, "plain", owner=USER).check()
    clients.imtest(way(tls, user=full1.MASTER), "plain", owner=USER).check(1)


def test_backend_believes_the_clients_address(through, full1):
    """Dovecot's own log names the client, not the proxy."""
    done = clients.curl(through("implicit"), "--interface", "127.0.0.77", "-X", "NOOP")
    assert done.returncode == 0, done.stdout
    assert "rip=127.0.0.77" in full1.log()
