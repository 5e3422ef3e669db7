# SPDX-License-Identifier: Apache-2.0
"""What clients are told of abilities: before the login what all backends have in common, or what
the listener says, never what the proxy does not keep; after it the backend's own (CASES.md, A)."""

import pytest

from client import capabilities_of, statuses
from mechanisms import (EVERYTHING, TOKENS, atoms_now, offer, read_to_authenticate, status_of,
                        teach, wait_until_offered)

OWN = {"IMAP4rev1", "LITERAL-", "SASL-IR", "ID"}
BEFORE = {"AUTH=PLAIN", "AUTH=LOGIN"}
USUAL = {"ENABLE", "IDLE"}

# What backends say that does not hold between a client and the proxy (C05, C06).
NOT_BEFORE = ("STARTTLS LOGINDISABLED LITERAL+ COMPRESS=DEFLATE UNAUTHENTICATE LOGIN-REFERRALS "
              "UTF8=ACCEPT UTF8=ONLY IMAP4rev2 X-PROXY X-REPROXYING AUTH=SCRAM-SHA-256-PLUS "
              "AUTH=CRAM-MD5 LOGIN")
NOT_AFTER = ("STARTTLS LOGINDISABLED UNAUTHENTICATE LOGIN-REFERRALS X-PROXY X-REPROXYING "
             "AUTH=PLAIN AUTH=SCRAM-SHA-256-PLUS")
# Of those, what is between the client and its backend from then on.
AFTER = "LITERAL+ COMPRESS=DEFLATE UTF8=ACCEPT IMAP4rev2"


def start(start_gatepost, directory, *backends, **options):
    """A gatepost of one worker that has learnt what each of them offers."""
    gatepost = start_gatepost({fb.name: fb.address for fb in backends}, redis=directory.url,
                              process={"workers": 1}, **options)
    teach(gatepost, *(f"u{fb.name[-1]}" for fb in backends))
    return gatepost


def announced(gatepost, **options):
    """The atoms of the greeting, which CAPABILITY says too, in the same words (C02)."""
    with gatepost.connect(**options) as client:
        lines = client.command("a", "CAPABILITY")
        assert statuses(lines) == ["* CAPABILITY", "a OK"]
        told = client.greeting.split(b"[CAPABILITY ")[1].split(b"]")[0]
        assert lines[0] == b"* CAPABILITY " + told + b"\r\n"
        return capabilities_of(lines[0])


# --- before the login ---

def test_c01_before_anything_is_known(start_gatepost, directory, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, redis=directory.url)
    assert announced(gatepost) == OWN | BEFORE | USUAL


def test_c01_what_the_only_backend_has(start_gatepost, directory, fb1):
    fb1.capability = offer("PLAIN", other="IMAP4rev1 MOVE UIDPLUS XLIST")
    assert announced(start(start_gatepost, directory, fb1)) == \
        OWN | BEFORE | {"MOVE", "UIDPLUS", "XLIST"}


def test_c01_what_two_backends_have_in_common(start_gatepost, directory, fb1, fb2):
    fb1.capability = offer("PLAIN", other="IMAP4rev1 Move UIDPLUS QUOTA SORT IDLE")
    fb2.capability = offer("PLAIN", other="IMAP4rev1 MOVE uidplus THREAD=REFS SORT=DISPLAY ID")
    atoms = announced(start(start_gatepost, directory, fb1, fb2))
    assert {atom.upper() for atom in atoms - OWN} == BEFORE | {"MOVE", "UIDPLUS"}


def test_c02_everybody_is_told_the_same(start_gatepost, directory, fb1, fb2):
    """By TLS from the first byte, behind STARTTLS, and without TLS where that may log in."""
    gatepost = start(start_gatepost, directory, fb1, fb2)
    atoms = announced(gatepost)
    assert announced(gatepost, tls=False) == atoms
    with gatepost.connect_starttls() as client:
        before = capabilities_of(client.greeting)
        assert before == atoms - BEFORE | {"STARTTLS", "LOGINDISABLED"}
        assert atoms_now(client) == atoms


def test_c04_no_second_greeting(start_gatepost, directory, fb1):
    gatepost = start(start_gatepost, directory, fb1)
    with gatepost.connect_starttls() as client:
        assert client.before_tls == b""
        client.expect_silence()
        client.assert_usable()


def test_c05_c06_what_the_proxy_does_not_keep(start_gatepost, directory, fb1):
    """LITERAL- stays what it is: literals before the login are the proxy's, and bounded."""
    fb1.accept = b"$ OK hi\r\n"
    fb1.capability = offer("PLAIN", other=f"IMAP4rev1 {NOT_BEFORE.replace('LOGINDISABLED ', '')}"
                                          " SASL-IR MOVE")
    gatepost = start(start_gatepost, directory, fb1)
    assert announced(gatepost) == OWN | BEFORE | {"MOVE"}
    with gatepost.connect_starttls() as client:
        assert capabilities_of(client.greeting) == OWN | {"MOVE", "STARTTLS", "LOGINDISABLED"}


def test_c06_atoms_that_are_none(start_gatepost, directory, fb1):
    """One that could end the code, or the line, is left out."""
    fb1.greeting = b"* OK hi\r\n"
    fb1.capability = offer("PLAIN", other='IMAP4rev1 X-A]B X-"C MOVE X-\xc3 X-D\\E (X)'
                           ).decode().encode("latin-1")
    assert announced(start(start_gatepost, directory, fb1)) == OWN | BEFORE | {"MOVE"}


def test_many_atoms(start_gatepost, directory, fb1):
    """Those that find no place are left out; none is cut."""
    fb1.capability = offer("PLAIN", other="IMAP4rev1 " + " ".join(
        f"X-FURTHER-{number:04}" for number in range(400)))
    atoms = announced(start(start_gatepost, directory, fb1)) - OWN - BEFORE
    assert 50 < len(atoms) < 400
    assert atoms == {f"X-FURTHER-{number:04}" for number in range(len(atoms))}


def test_backend_that_tells_nothing_before_the_login(start_gatepost, directory, fb1, fb2):
    """Then it offers nothing but its password, and is asked once."""
    fb2.capability = b"IMAP4rev1"
    fb2.greeting = b"* OK hi\r\n"
    assert announced(start(start_gatepost, directory, fb1, fb2)) == OWN | BEFORE


def test_probe_learns_the_same(start_gatepost, directory, fb1):
    fb1.capability = offer("PLAIN", "XOAUTH2", other="IMAP4rev1 MOVE COMPRESS=DEFLATE")
    gatepost = start_gatepost({"FB1": {"address": fb1.address, "probe": True}},
                              redis=directory.url, process={"workers": 1})
    wait_until_offered(gatepost, "XOAUTH2")
    assert announced(gatepost) == OWN | BEFORE | {"MOVE", "AUTH=XOAUTH2"}


# --- listener.capabilities ---

def test_listener_says_it_itself(start_gatepost, directory, fb1, fb2):
    """Whatever the backends have; the mechanisms still follow them."""
    fb1.capability = fb2.capability = offer("PLAIN", "XOAUTH2", other="IMAP4rev1 MOVE")
    gatepost = start(start_gatepost, directory, fb1, fb2, listeners={
        "said": {"capabilities": "IDLE X-OURS"}, "first": {"capabilities": "NAMESPACE"}})
    mechanisms = BEFORE | {"AUTH=XOAUTH2"}
    assert announced(gatepost) == OWN | mechanisms | {"MOVE"}
    for name, atoms in (("said", {"IDLE", "X-OURS"}), ("first", {"NAMESPACE"})):
        with gatepost.connect_to(name) as client:
            assert capabilities_of(client.greeting) == OWN | mechanisms | atoms == atoms_now(client)


# --- after the login ---

def ways(mechanism):
    """How a client logs in."""
    return {
        "LOGIN": lambda client: client.command("a", "LOGIN u1 pw"),
        "SASL-LOGIN": lambda client: client.authenticate("LOGIN", b"u1", b"pw")[1],
        "PLAIN": lambda client: client.authenticate("PLAIN", initial=b"\0u1\0pw")[1],
        "SCRAM-SHA-256": lambda client: client.scram("SCRAM-SHA-256", "u1", "pw"),
    }.get(mechanism) or (lambda client: client.authenticate(
        mechanism, initial=TOKENS[mechanism]("u1", "token"))[1])


each_way = pytest.mark.parametrize("mechanism", ["LOGIN", "SASL-LOGIN", "PLAIN", "XOAUTH2",
                                                 "OAUTHBEARER", "SCRAM-SHA-256"])


@pytest.fixture(scope="module")
def taught(start_shared_gatepost, fb1, fb2):
    fb1.reset()
    fb1.capability = EVERYTHING
    gatepost = start_shared_gatepost(
        {"FB1": fb1.address, "FB2": {"address": fb2.address, "ask_capability": False}},
        {"u1": "FB1", "u2": "FB2"}, process={"workers": 1})
    teach(gatepost, "u1")
    return gatepost


@each_way
def test_c73_list_in_the_ok_is_filtered(taught, fb1, mechanism):
    fb1.capability = EVERYTHING
    fb1.accept = f"$ OK [CAPABILITY IMAP4rev1 {NOT_AFTER} IDLE {AFTER} X] hi\r\n".encode()
    with taught.connect() as client:
        assert ways(mechanism)(client) == [f"a OK [CAPABILITY IMAP4rev1 IDLE {AFTER} X] hi\r\n"
                                           .encode()]


@each_way
def test_c74_list_before_the_ok_is_filtered(taught, fb1, mechanism):
    fb1.capability = EVERYTHING
    fb1.accept = f"* CAPABILITY IMAP4rev1 {NOT_AFTER} IDLE {AFTER}\r\n$ OK hi\r\n".encode()
    with taught.connect() as client:
        lines = ways(mechanism)(client)
        assert lines == [f"a OK [CAPABILITY IMAP4rev1 IDLE {AFTER}] hi\r\n".encode()]


@each_way
def test_c75_list_is_fetched(taught, fb1, mechanism):
    fb1.capability, fb1.accept = EVERYTHING, b"$ OK hi\r\n"
    with taught.connect() as client:
        lines = ways(mechanism)(client)
        assert lines == [b"a OK [CAPABILITY IMAP4rev1 X-BY-FB1] hi\r\n"]
        lines = client.command("b", "CAPABILITY")
        assert lines[0] == b"* CAPABILITY IMAP4rev1 X-BY-FB1\r\n" and status_of(lines) == "OK"


def test_c74_list_of_before_the_proof_counts_for_nothing(taught, fb1):
    """What came before the last answer was said to nobody in particular."""
    fb1.capability, fb1.script = EVERYTHING, list_then_challenge
    with taught.connect() as client:
        challenges, lines = client.authenticate("SCRAM-SHA-256", b"x",
                                                initial=b"n,,n=u1,r=abcdef")
        assert challenges == [b"x"] and lines == [b"a OK [CAPABILITY IMAP4rev1 X-BY-FB1] hi\r\n"]


def list_then_challenge(connection):
    tag, _ = read_to_authenticate(connection)
    connection.send(b"* CAPABILITY IMAP4rev1 X-EARLY\r\n+ eA==\r\n")
    connection.read_line()
    connection.send(tag + b" OK hi\r\n")
    connection.backend.session(connection)


def test_c02_client_that_asked_before(taught, fb1):
    """It may ignore codes: the list comes as a line of its own, behind every mechanism."""
    fb1.capability = EVERYTHING
    with taught.connect() as client:
        client.command("c", "CAPABILITY")
        lines = client.scram("SCRAM-SHA-256", "u1", "pw")
        assert lines == [b"* CAPABILITY IMAP4rev1 IDLE X\r\n", b"a OK hi\r\n"]
