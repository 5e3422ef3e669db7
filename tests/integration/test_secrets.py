# SPDX-License-Identifier: Apache-2.0
"""Passwords are nowhere once they have done their work (C105)."""

import base64
import contextlib
import time

import pytest

from proxy import is_sanitized
from servers import AS_ROOT, wait_until

CANARY = "CANARY-7f3a"


def forms_of(secret):
    """What the secret looks like as bytes, and within the base64 of PLAIN for u1."""
    message = base64.b64encode(f"\0u1\0{secret}".encode()).rstrip(b"=")
    return [secret.encode(), message[:-1], message[8:-1]]


def canary_logins():
    message = base64.b64encode(f"\0u1\0{CANARY}".encode()).decode()
    return {"atom": f"LOGIN u1 {CANARY}", "quoted": f'LOGIN u1 "{CANARY}"',
            "literal": f"LOGIN u1 {{{len(CANARY)}+}}\r\n{CANARY}",
            "PLAIN": f"AUTHENTICATE PLAIN {message}",
            "PLAIN without IR": f"AUTHENTICATE PLAIN\r\n{message}"}


@pytest.mark.skipif(not AS_ROOT, reason="only root may read the memory of a process without dumps")
@pytest.mark.skipif(is_sanitized(), reason="AddressSanitizer keeps what is freed")
def test_c105_password_is_nowhere_after_the_hand_off(start_gatepost, fb1):
    """One fresh process for each form, with TLS and without: nothing that comes later may hide what
    the login left behind."""
    fb1.password = CANARY.encode()
    with contextlib.ExitStack() as stack:
        processes = {}
        for form, login in canary_logins().items():
            for tls in (True, False):
                gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                                          process={"workers": 1})
                client = stack.enter_context(gatepost.connect(tls=tls))
                client.send(f"a {login}\r\n".encode())
                assert client.read_until("a")[-1].startswith(b"a OK")
                processes[f"{form}, {'TLS' if tls else 'plain'}"] = gatepost
        time.sleep(2)
        found = {f"{name}: {form}" for name, gatepost in processes.items()
                 for form in forms_of(CANARY) if gatepost.holds_in_memory(form)}
        assert not found
        assert not [name for name, gatepost in processes.items() if CANARY in gatepost.log()]


@pytest.mark.skipif(not AS_ROOT, reason="only root may read the memory of a process without dumps")
def test_c105_the_search_finds_what_is_there(start_gatepost, fb1):
    """While the backend keeps it waiting, the password is in memory: the test above can fail."""
    fb1.script = lambda connection: connection.read_to_end()
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"})
    with gatepost.connect() as client:
        client.send(f"a LOGIN u1 {CANARY}\r\n".encode())
        fb1.wait_for_connection()
        assert gatepost.holds_in_memory(CANARY.encode())


def test_c105_malformed_and_refused_logins_are_not_logged(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, log={"level": "debug"})
    message = base64.b64encode(f"\0u1\0{CANARY}".encode()).decode()
    for line in (f"LOGIN u1 {CANARY}", f"LOGIN u1 {CANARY} x", f'LOGIN "u1 {CANARY}',
                 f"LOGIN {CANARY}", f"LOGIN u1 {CANARY}\x01", f"AUTHENTICATE PLAIN {message}!",
                 f"AUTHENTICATE PLAIN {message}", f"AUTHENTICATE FOO {CANARY}", f"XLOGIN {CANARY}",
                 f"LOGIN nobody {CANARY}", f"ID ({CANARY}"):
        with gatepost.connect() as client:
            client.command("a", line)
    for line in (f"{CANARY} LOGIN u1", f"POST /{CANARY} HTTP/1.1", f"{CANARY}\x01 LOGIN u1 pw"):
        with gatepost.connect() as client:
            client.send(line.encode() + b"\r\n")
            client.read_line()
    wait_until(lambda: len(gatepost.events("session")) >= 14)
    assert CANARY not in gatepost.log() and message[:-2] not in gatepost.log()
