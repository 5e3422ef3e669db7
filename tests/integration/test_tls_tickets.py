# SPDX-License-Identifier: Apache-2.0
"""Session tickets, keys and what must never leave the process (CASES.md, C116)."""

import shutil
import time

import pytest

from backend_tls import over_tls, totals
from certificates import Pair
from proxy import certificate_table, is_sanitized
from servers import AS_ROOT

VERSIONS = pytest.mark.parametrize("versions", ["1.2", "1.3"])
ROUNDS = 40


@pytest.fixture
def start(start_gatepost, fb1):
    def start_with(**options):
        return start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, **options)

    return start_with


def come_back(gatepost, versions, rounds, connect=None):
    """How many of so many further connections resumed the one before them."""
    connect = connect or gatepost.connect
    with connect(versions=versions) as client:
        client.assert_usable()
        ticket, count = client.tls.ticket, 0
    for _ in range(rounds):
        with (connect(ticket=ticket) if ticket else connect(versions=versions)) as client:
            client.assert_usable()
            count += client.tls.resumed
            ticket = client.tls.ticket or ticket
    return count


@VERSIONS
def test_c116_sessions_resume_on_every_worker(start, versions):
    """The kernel spreads connections over the workers, and each opens what another has sealed."""
    gatepost = start(process={"workers": 2})
    assert come_back(gatepost, versions, ROUNDS) == ROUNDS
    counters = totals(gatepost)
    assert counters["handshakes_resumed_total"] == ROUNDS
    # The start of the test has looked whether anybody listens.
    assert counters["handshakes_full_total"] == 1


@VERSIONS
def test_sessions_resume_after_starttls(start, versions):
    gatepost = start()
    assert come_back(gatepost, versions, 6, gatepost.connect_starttls) == 6


@VERSIONS
def test_same_ticket_many_times(start, versions):
    """As clients do which open several connections at once."""
    gatepost = start()
    with gatepost.connect(versions=versions) as client:
        client.assert_usable()
        ticket = client.tls.ticket
    for _ in range(10):
        with gatepost.connect(ticket=ticket) as client:
            assert client.tls.resumed
            client.login()


@VERSIONS
def test_tickets_switched_off(start, versions):
    gatepost = start(tls={"tickets": False})
    assert come_back(gatepost, versions, 3) == 0


@VERSIONS
def test_tickets_of_another_process(start, versions):
    """Keys are random, and in memory only."""
    gatepost, other = start(), start()
    with gatepost.connect(versions=versions) as client:
        client.assert_usable()
        ticket = client.tls.ticket
    with other.connect(ticket=ticket) as client:
        assert not client.tls.resumed
        client.login()


def test_resumed_session_is_logged(start):
    gatepost = start()
    come_back(gatepost, "1.3", 1)
    gatepost.wait_for_log("resumed=true")


def test_c116_old_tickets_are_forgotten(start):
    """Within twice ticket_lifetime. By TLS 1.2, where clients offer a ticket however old it is."""
    gatepost = start(tls={"ticket_lifetime": "1s"})
    with gatepost.connect(versions="1.2") as client:
        ticket = client.tls.ticket
    with gatepost.connect(ticket=ticket) as client:
        assert client.tls.resumed
    time.sleep(2.1)
    with gatepost.connect(ticket=ticket) as client:
        assert not client.tls.resumed
        client.login()


@VERSIONS
def test_c116_no_ticket_is_promised_longer_than_it_opens(start, versions):
    gatepost = start(tls={"ticket_lifetime": "90s"})
    with gatepost.connect(versions=versions) as client:
        client.assert_usable()
        assert 0 < client.tls.ticket.session.ticket_lifetime_hint <= 90


# --- Files and memory ---

@pytest.fixture
def private(certificates, tmp_path):
    """A certificate whose files the test may take away."""
    pair = Pair(tmp_path / "chain.pem", tmp_path / "key.pem")
    shutil.copy(certificates.server.chain, pair.chain)
    shutil.copy(certificates.server.key, pair.key)
    return pair


@VERSIONS
def test_c116_files_are_not_needed_after_the_start(start_gatepost, certificates, secure, private,
                                                   tmp_path, versions):
    ca = tmp_path / "ca.pem"
    shutil.copy(certificates.ca, ca)
    backend = over_tls(secure, certificates, ca=str(ca), client_chain=str(private.chain),
                       client_key=str(private.key))
    gatepost = start_gatepost({"FB": backend}, {"u1": "FB"}, **{
        "tls.certificate": [certificate_table(private)], "tls": {"client_ca": str(ca)}})
    for path in (private.chain, private.key, ca):
        path.unlink()
    with gatepost.connect(versions=versions,
                          certificate=certificates.client("u1@x.test")) as client:
        client.login()


def test_c116_no_log_of_keys(start_gatepost, certificates, secure, tmp_path):
    """SSLKEYLOGFILE has no effect, on either side."""
    secrets = tmp_path / "secrets"
    gatepost = start_gatepost({"FB": over_tls(secure, certificates)}, {"u1": "FB"},
                              environment={"SSLKEYLOGFILE": str(secrets)})
    with gatepost.connect() as client:
        client.login()
        client.assert_usable()
    assert not secrets.exists() and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not AS_ROOT, reason="only root may read the memory of a process without dumps")
@pytest.mark.skipif(is_sanitized(), reason="sanitizers have a free() of their own")
def test_key_files_are_wiped_from_memory(start_gatepost, fb1, private):
    """The text of a PEM file is not kept; the key itself has to be. (C116's "not in a core" is in
    test_process.py.)"""
    text = private.key.read_bytes().split(b"\n")[1]
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              **{"tls.certificate": [certificate_table(private)]})
    with gatepost.connect() as client:
        client.login()
    assert not gatepost.holds_in_memory(text)
