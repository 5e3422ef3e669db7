# SPDX-License-Identifier: Apache-2.0
"""Sessions of TLS that come back, towards backends: for the same backend by the same name only, and
never at the price of a login (CASES.md, C96)."""

import threading

import pytest

from backend_tls import identity, over_tls, refused, totals
from backend_wire import Gone
from servers import PASSWORD

VERSIONS = pytest.mark.parametrize("versions", ["1.2", "1.3"])
REFUSALS = 3  # TLS_SESSION_REFUSALS_MAX
KINDS = pytest.mark.parametrize("kind", ["implicit", "starttls"])


@pytest.fixture
def start(start_gatepost, certificates, secure):
    """start(names, workers): before the scripted backend, once for each user and server name."""
    def start_with(names, workers=1, **options):
        backends = {user: over_tls(secure, certificates, **({"server_name": name} if name else {}),
                                   **options) for user, name in names.items()}
        return start_gatepost(backends, {user: user for user in names},
                              process={"workers": workers})

    return start_with


def log_in(gatepost, user="u1"):
    with gatepost.connect() as client:
        client.login(user)
        client.assert_usable()


def resumed(backend):
    return [connection.tls.resumed for connection in backend.connections]


def resumed_logins(backend):
    return [connection.tls.resumed for connection in backend.connections if connection.logins]


@VERSIONS
@KINDS
def test_second_login_resumes(start, secure, versions, kind):
    secure.tls, secure.tls_options = kind, {"versions": versions}
    gatepost = start({"u1": None})
    for _ in range(4):
        log_in(gatepost)
    assert resumed(secure) == [False, True, True, True]
    counters = totals(gatepost)
    assert counters["backend_handshakes_full_total"] == 1
    assert counters["backend_handshakes_resumed_total"] == 3
    assert counters["backend_handshakes_failed_total"] == 0


def test_second_login_resumes_on_real_dovecot(start_gatepost, certificates, full1):
    backend = {"ca": str(certificates.ca), "tls": "implicit",
               "address": f"127.0.0.1:{full1.tls_port}"}
    starttls = {**backend, "tls": "starttls", "address": full1.address}
    gatepost = start_gatepost({"implicit": backend, "starttls": starttls},
                              {"resuming1": "implicit", "resuming2": "starttls"},
                              process={"workers": 1})
    for user in ("resuming1", "resuming2") * 3:
        with gatepost.connect() as client:
            client.login(user, PASSWORD)
    counters = totals(gatepost)
    # Its login processes share no ticket keys, so a session may meet one that does not know it.
    assert counters["backend_handshakes_full_total"] + \
        counters["backend_handshakes_resumed_total"] == 6
    assert counters["logins_ok_total"] == 6
    assert counters["backend_handshakes_resumed_total"] >= 1


def test_each_worker_has_sessions_of_its_own(start, secure):
    gatepost = start({"u1": None}, workers=2)
    for _ in range(16):
        log_in(gatepost)
    assert 1 <= resumed(secure).count(False) <= 2


@VERSIONS
def test_tickets_are_shown_once_where_they_should_be(start, secure, versions):
    """RFC 8446 appendix C.4: two logins at once do not show the same one."""
    secure.tls_options = {"versions": versions}
    gatepost = start({"u1": None})
    log_in(gatepost)
    secure.at_handshake = lambda connection, both=threading.Barrier(2): both.wait(5)
    with gatepost.connect() as one, gatepost.connect() as two:
        one.send(b"a LOGIN u1 pw\r\n")
        two.send(b"a LOGIN u1 pw\r\n")
        for client in (one, two):
            assert client.read_until("a")[-1].startswith(b"a OK")
    assert sorted(resumed(secure)[1:]) == ([False, True] if versions == "1.3" else [True, True])


@VERSIONS
def test_c96_sessions_are_of_one_name(start, secure, certificates, versions):
    """What one name has verified is never used for another, although the server, by its own rules,
    would resume anybody's session."""
    secure.tls_options = {"versions": versions}
    gatepost = start({"one": "mail1.test", "two": "mail2.test", "other": "localhost"})
    for user in ("one", "two", "one", "two", "other"):
        log_in(gatepost, user)
    assert resumed(secure) == [False, False, True, True, False]
    assert [c.tls_server_name for c in secure.connections] == [
        "mail1.test", "mail2.test", "mail1.test", "mail2.test", "localhost"]


@VERSIONS
def test_c96_resumption_verifies_nobody_else(start, secure, certificates, versions):
    secure.certificate = certificates.mail1
    secure.tls_options = {"versions": versions}
    gatepost = start({"one": "mail1.test", "two": "mail2.test"})
    log_in(gatepost, "one")
    with gatepost.connect() as client:
        for _ in range(2):
            refused(client, "two")
        client.login("one")
    assert len(secure.logins) == 2 and secure.connections[-1].tls.resumed


@VERSIONS
def test_c96_two_names_with_certificates_of_their_own(start, secure, certificates, versions):
    secure.certificate = certificates.foreign
    secure.tls_options = {"versions": versions, "by_name": (
        ("mail1.test", certificates.mail1), ("mail2.test", certificates.mail2))}
    gatepost = start({"one": "mail1.test", "two": "mail2.test", "nobody": "localhost"})
    for user in ("one", "two", "one", "two"):
        log_in(gatepost, user)
    with gatepost.connect() as client:
        refused(client, "nobody")
    assert len(secure.logins) == 4


@VERSIONS
@pytest.mark.parametrize("change", ["keys", "no tickets", "version"])
def test_backend_that_has_forgotten(start, secure, versions, change):
    """Restarted with other keys, or otherwise set: a full handshake, and nobody notices."""
    secure.tls_options = {"versions": versions}
    gatepost = start({"u1": None})
    log_in(gatepost)
    if change == "keys":
        secure.forget_sessions()
    elif change == "no tickets":
        secure.tls_options = {"versions": versions, "tickets": False}
    else:
        secure.tls_options = {"versions": "1.3" if versions == "1.2" else "1.2"}
    log_in(gatepost)
    assert resumed(secure) == [False, False]
    log_in(gatepost)
    # TLS 1.2 has sessions that servers remember, too.
    assert resumed(secure)[2] == (change != "no tickets" or versions == "1.2")
    assert totals(gatepost)["backend_handshakes_failed_total"] == 0


def test_backend_without_tickets(start, secure):
    secure.tls_options = {"tickets": False}
    gatepost = start({"u1": None})
    for _ in range(3):
        log_in(gatepost)
    assert resumed(secure) == [False] * 3


@VERSIONS
def test_refused_peer_leaves_no_session(start, secure, certificates, versions):
    secure.tls_options = {"versions": versions}
    secure.certificate = certificates.foreign
    gatepost = start({"u1": None})
    with gatepost.connect() as client:
        refused(client, "u1")
    secure.certificate = certificates.backend
    secure.connections.clear()
    log_in(gatepost)
    assert resumed(secure) == [False]


@VERSIONS
def test_client_certificate_and_resumption(start, secure, certificates, versions):
    secure.tls_options = {"versions": versions, "client_ca": certificates.ca,
                          "client_required": True}
    gatepost = start({"u1": None}, **identity(certificates.client(cn="gatepost")))
    for _ in range(3):
        log_in(gatepost)
    assert resumed(secure) == [False, True, True]
    assert all(("commonName", "gatepost") in c.tls.peer_names for c in secure.connections)


# --- Backends that do not want them ---

def hang_up_once(secure):
    """The next handshake ends with the first that the client says, the others do not."""
    def end(connection):
        secure.at_handshake = None
        connection.receive()
        raise Gone

    secure.at_handshake = end


@KINDS
def test_backend_that_ends_handshakes(start, secure, kind):
    """A login is none the worse for the session that it offered. One refusal may have been another
    fault; after REFUSALS of them in a row no session is offered any more."""
    secure.tls = kind
    gatepost = start({"u1": None})
    log_in(gatepost)
    for _ in range(2):
        hang_up_once(secure)
        log_in(gatepost)
        log_in(gatepost)
    assert resumed_logins(secure) == [False, False, True, False, True]
    for _ in range(REFUSALS):
        hang_up_once(secure)
        log_in(gatepost)
    connections = len(secure.connections)
    log_in(gatepost)
    log_in(gatepost)
    assert resumed_logins(secure)[5:] == [False] * (REFUSALS + 2)
    assert len(secure.connections) == connections + 2
    assert totals(gatepost)["backend_handshakes_failed_total"] == 2 + REFUSALS


def test_handshake_that_offered_nothing_is_not_tried_again(start, secure):
    gatepost = start({"u1": None})
    hang_up_once(secure)
    with gatepost.connect() as client:
        refused(client, "u1")
        assert len(secure.connections) == 1
        client.login("u1")


@KINDS
def test_real_dovecot_that_wants_certificates(start_gatepost, certificates, certified1, kind):
    """It ends every handshake that would resume."""
    port = certified1.port if kind == "starttls" else certified1.tls_port
    backend = {"tls": kind, "address": f"127.0.0.1:{port}", "ca": str(certificates.ca),
               **identity(certificates.client(cn="anybody"))}
    gatepost = start_gatepost({"certified": backend}, {"anybody": "certified"},
                              process={"workers": 1})
    for _ in range(6):
        with gatepost.connect() as client:
            client.login("anybody", PASSWORD)
    counters = totals(gatepost)
    assert counters["logins_ok_total"] == counters["backend_handshakes_full_total"] == 6
    assert counters["backend_handshakes_failed_total"] == REFUSALS
