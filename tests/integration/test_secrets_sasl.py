# SPDX-License-Identifier: Apache-2.0
"""Tokens, messages of exchanges and the master user's password are nowhere once they have done
their work, and never in the log (C105); test_secrets.py has the passwords of clients."""

import base64
import contextlib

import pytest

import sasl
from mechanisms import EVERYTHING, TOKENS, UNDERSTOOD, read_to_authenticate, status_of, teach
from proxy import is_sanitized
from servers import AS_ROOT, wait_until

MANNERS = {"capability": EVERYTHING}
CANARY = "CANARY-7f3a-that-nobody-may-see"

reads_memory = pytest.mark.skipif(
    not AS_ROOT, reason="only root may read the memory of a process without dumps")
keeps_nothing = pytest.mark.skipif(is_sanitized(), reason="AddressSanitizer keeps what is freed")


def encoded_forms(secret):
    """What base64 makes of the secret, wherever in a message it stands; without its ends, which
    depend on what is beside it."""
    data = secret if isinstance(secret, bytes) else secret.encode()
    forms = [base64.b64encode(b"\0" * shift + data)[4:-4] for shift in range(3)]
    assert all(len(form) > 8 for form in forms)
    return forms


def forms_of(secret):
    data = secret if isinstance(secret, bytes) else secret.encode()
    return [data, *encoded_forms(data)]


def start(start_gatepost, certificates, fb1, **options):
    """A fresh process for each test: nothing that came before, or comes later, may hide it."""
    backend = {"address": fb1.address, "master_user": "master", "master_password": CANARY}
    gatepost = start_gatepost({"FB1": backend}, {"u1": "FB1"}, process={"workers": 1},
                              tls={"client_ca": str(certificates.ca)}, **options)
    teach(gatepost, "u1")
    return gatepost


def assert_forgotten(gatepost, *needles):
    """Two seconds later at the latest."""
    wait_until(lambda: not [needle for needle in needles if gatepost.holds_in_memory(needle)], 2,
               what="memory without the secret")


def assert_not_logged(gatepost, *needles):
    log = gatepost.log()
    assert not [needle for needle in needles if needle.decode("latin-1") in log]


# --- after the hand-off ---

@reads_memory
@keeps_nothing
@pytest.mark.parametrize("mechanism", TOKENS)
@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("tls", [True, False])
def test_c105_tokens(start_gatepost, fb1, mechanism, initial, tls):
    fb1.token = CANARY.encode()
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1})
    teach(gatepost, "u1")
    message = TOKENS[mechanism]("u1", CANARY)
    with gatepost.connect(tls=tls) as client:
        given = [] if initial else [message]
        _, lines = client.authenticate(mechanism, *given, initial=message if initial else None)
        assert status_of(lines) == "OK"
        assert_forgotten(gatepost, *forms_of(CANARY))
    assert_not_logged(gatepost, *forms_of(CANARY))


@reads_memory
@keeps_nothing
def test_c105_longest_token(start_gatepost, fb1):
    """It goes other ways: through a line of its own, in several records, to a backend that asks."""
    fb1.token = b"t" * 16000 + CANARY.encode()
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1})
    teach(gatepost, "u1")
    with gatepost.connect() as client:
        _, lines = client.authenticate("XOAUTH2", initial=sasl.xoauth2("u1", fb1.token.decode()))
        assert status_of(lines) == "OK"
        assert_forgotten(gatepost, *forms_of(CANARY), b"t" * 64, base64.b64encode(b"t" * 48))
    assert_not_logged(gatepost, *forms_of(CANARY))


@reads_memory
@keeps_nothing
@pytest.mark.parametrize("tls", [True, False])
def test_c105_messages_of_an_exchange(start_gatepost, fb1, tls):
    """The first message and the proof: with both, and a dictionary, passwords can be tried."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1})
    teach(gatepost, "u1")
    scram = sasl.ScramClient("SCRAM-SHA-256", "u1", "pw", nonce=CANARY)
    with gatepost.connect(tls=tls) as client:
        challenges, lines = client.authenticate("SCRAM-SHA-256", scram.final, b"",
                                                initial=scram.first())
        assert status_of(lines) == "OK"
        proof = scram.final(challenges[0]).rpartition(b"p=")[2]
        needles = [*forms_of(CANARY), *forms_of(proof), sasl.decode(proof)]
        assert_forgotten(gatepost, *needles)
    assert_not_logged(gatepost, *needles[:-1])


@reads_memory
@keeps_nothing
def test_c105_password_of_the_master_user(start_gatepost, certificates, fb1):
    """It stays in the configuration; but not in what was said to the backend, nor in a copy for the
    login."""
    fb1.password = None
    gatepost = start(start_gatepost, certificates, fb1)
    with gatepost.connect(certificate=certificates.client("u1")) as client:
        assert status_of(client.authenticate("EXTERNAL", initial=b"")[1]) == "OK"
        assert fb1.logins[-1].password == CANARY.encode()
        assert_forgotten(gatepost, *encoded_forms(CANARY), b"\0master\0" + CANARY.encode())
    assert_not_logged(gatepost, *forms_of(CANARY))


# --- after a refusal ---

@reads_memory
@keeps_nothing
@pytest.mark.parametrize("mechanism", TOKENS)
@pytest.mark.parametrize("cancels", [False, True])
def test_c105_tokens_that_were_refused(start_gatepost, fb1, mechanism, cancels):
    """The client is still there, and may try again; the token is not."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1})
    teach(gatepost, "u1")
    with gatepost.connect() as client:
        answer = None if cancels else UNDERSTOOD[mechanism]
        _, lines = client.authenticate(mechanism, answer, initial=TOKENS[mechanism]("u1", CANARY))
        assert status_of(lines) == ("BAD" if cancels else "NO")
        assert_forgotten(gatepost, *forms_of(CANARY))
        client.assert_usable()
    assert_not_logged(gatepost, *forms_of(CANARY))


@reads_memory
def test_c105_the_search_finds_what_is_there(start_gatepost, fb1):
    """While the client has not answered the error: the tests above can fail."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1})
    teach(gatepost, "u1")
    with gatepost.connect() as client:
        client.send(b"a AUTHENTICATE XOAUTH2 " + sasl.encode(sasl.xoauth2("u1", CANARY)) + b"\r\n")
        assert client.read_line().startswith(b"+ ")
        assert gatepost.holds_in_memory(CANARY.encode())


# --- the log ---

def malformed_lines():
    """Everything that is wrong in another place, with the secret in it."""
    tokens = [TOKENS[mechanism]("u1", CANARY) for mechanism in TOKENS]
    scram = f"n,,n=u1,r={CANARY}".encode()
    messages = [*tokens, *(token[:-1] for token in tokens), *(b"x" + token for token in tokens),
                CANARY.encode(), scram, b"p=x,," + scram[3:], scram + b",m=x",
                sasl.plain("u1", CANARY), sasl.plain("u1\1", CANARY), b"user=" + CANARY.encode()]
    for mechanism in (*TOKENS, "SCRAM-SHA-256", "PLAIN", "LOGIN", "EXTERNAL", "CRAM-MD5"):
        for message in messages:
            encoded = sasl.encode(message).decode()
            yield from (f"{mechanism} {encoded}", f"{mechanism} {encoded}!",
                        f"{mechanism} {encoded} x")
        yield from (f"{mechanism} {CANARY}", f"{CANARY} =", f"{mechanism}\r\n{CANARY}",
                    f"{mechanism}\r\n{sasl.encode(CANARY.encode()).decode()}!")


def test_c105_malformed_lines_are_not_logged(start_gatepost, certificates, fb1):
    """The master user's password least of all, which is the same canary here."""
    gatepost = start(start_gatepost, certificates, fb1, log={"level": "debug"},
                     limits={"bad_commands": 80})
    pair = certificates.client("u1")
    fb1.password = b"pw"
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(gatepost.connect(certificate=pair))
        for number, line in enumerate(malformed_lines()):
            if number % 20 == 0:
                client = stack.enter_context(gatepost.connect(certificate=pair))
            # What is still awaited is cancelled, and a good command behind it.
            client.send(f"t{number} AUTHENTICATE {line}\r\n*\r\nz{number} NOOP\r\n".encode())
            client.read_until(f"z{number}")
    assert number > 200 and gatepost.events("login refused")
    assert_not_logged(gatepost, *forms_of(CANARY))


@pytest.mark.parametrize("echo", ["{line}", "no such token: {token}", "{token}"])
@pytest.mark.parametrize("word", ["NO", "BAD", "NO [ALERT]"])
def test_c105_backend_that_repeats_what_it_was_told(start_gatepost, fb1, echo, word):
    """Its words are for the log, but not those."""
    def script(connection):
        tag, rest = read_to_authenticate(connection)
        text = echo.replace("{line}", rest.decode()).replace("{token}", CANARY)
        connection.send(tag + f" {word} {text}\r\n".encode())
        connection.read_to_end()

    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1})
    teach(gatepost, "u1")
    fb1.script = script
    with gatepost.connect() as client:
        _, lines = client.authenticate("XOAUTH2", initial=sasl.xoauth2("u1", CANARY))
        assert status_of(lines) == "NO"
    wait_until(lambda: "repeats the secret" in gatepost.log())
    assert_not_logged(gatepost, *forms_of(CANARY))
