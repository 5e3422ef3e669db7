# SPDX-License-Identifier: Apache-2.0
"""Which mechanisms clients are offered: what every backend has, and the listener allows; and that
what is not offered is refused before anything is asked for (C62, IMAP.md 1.4)."""

import pytest

import sasl
from client import statuses
from mechanisms import (EVERYTHING, SCRAM, TOKENS, atoms_now, mechanisms_now, offer, status_of,
                        teach, wait_until_offered)
from servers import wait_until

MANNERS = {"capability": EVERYTHING}
PASSWORDS = {"PLAIN", "LOGIN"}
ALL = PASSWORDS | set(TOKENS) | set(SCRAM)


def start(start_gatepost, directory, *backends, probe=False, **options):
    """A gatepost of one worker before these."""
    return start_gatepost({fb.name: {"address": fb.address, "probe": probe} for fb in backends},
                          redis=directory.url, process={"workers": 1}, **options)


def offered(gatepost, **options):
    with gatepost.connect(**options) as client:
        mechanisms = mechanisms_now(client)
        assert {f"AUTH={name}" for name in mechanisms} <= atoms_now(client)
        return mechanisms


def first_message(mechanism):
    if mechanism in TOKENS:
        return TOKENS[mechanism]("u1", "token")
    return sasl.ScramClient(mechanism, "u1", "pw").first()


def assert_refused_unasked(client, mechanism, *backends):
    """NO without `+`, whatever form it has, and no backend hears of it."""
    message = sasl.encode(first_message(mechanism))
    for initial in (b"", b" =", b" " + message):
        command = f"a AUTHENTICATE {mechanism}".encode() + initial + b"\r\n"
        assert statuses(client.exchange(command)) == ["a NO"]
    assert not any(fb.logins for fb in backends)


def test_only_passwords_before_anything_is_known(start_gatepost, directory, fb1):
    gatepost = start(start_gatepost, directory, fb1)
    with gatepost.connect() as client:
        assert mechanisms_now(client) == PASSWORDS
        for mechanism in ALL - PASSWORDS:
            assert_refused_unasked(client, mechanism, fb1)


def test_everything_where_the_backend_has_it(start_gatepost, directory, fb1):
    gatepost = start(start_gatepost, directory, fb1)
    with gatepost.connect() as early:
        teach(gatepost, "u1")
        assert offered(gatepost) == ALL
        # And who connected before is told too, and may use it.
        assert mechanisms_now(early) == ALL
        assert status_of(early.authenticate("XOAUTH2", initial=first_message("XOAUTH2"))[1]) == "OK"


def assert_probed_by(fb, *commands):
    """The backend may still be reading when clients are told already."""
    wait_until(lambda: fb.connections[0].commands == list(commands), what=f"{commands}")


def test_probe_tells_before_any_login(start_gatepost, directory, fb1):
    gatepost = start(start_gatepost, directory, fb1, probe=True)
    wait_until_offered(gatepost, *ALL)
    assert not fb1.logins
    assert_probed_by(fb1, b"LOGOUT")


def test_probe_asks_where_the_greeting_does_not_tell(start_gatepost, directory, fb1):
    fb1.greeting = b"* OK hello\r\n"
    gatepost = start(start_gatepost, directory, fb1, probe=True)
    wait_until_offered(gatepost, *ALL)
    assert_probed_by(fb1, b"CAPABILITY", b"LOGOUT")


def test_probe_takes_what_is_said_under_tls(start_gatepost, certificates, fb1):
    """What anybody may have said in the clear counts for nothing."""
    fb1.tls, fb1.certificate = "starttls", certificates.backend
    fb1.capability, fb1.capability_tls = EVERYTHING, offer("PLAIN", "XOAUTH2")
    gatepost = start_gatepost({"FB1": {"address": fb1.address, "tls": "starttls",
                                       "ca": str(certificates.ca)}},
                              {"u1": "FB1"}, process={"workers": 1})
    teach(gatepost, "u1")
    assert offered(gatepost) == PASSWORDS | {"XOAUTH2"}


@pytest.mark.parametrize("lacking", [("XOAUTH2",), tuple(TOKENS), SCRAM])
def test_c62_what_the_backend_lacks(start_gatepost, directory, fb1, lacking):
    fb1.capability = offer(*sorted(ALL - set(lacking)))
    gatepost = start(start_gatepost, directory, fb1)
    teach(gatepost, "u1")
    fb1.reset()
    with gatepost.connect() as client:
        assert mechanisms_now(client) == ALL - set(lacking)
        for mechanism in lacking:
            assert_refused_unasked(client, mechanism, fb1)
        client.login()


@pytest.mark.parametrize("first", ["u1", "u2"])
def test_c62_what_one_of_two_backends_lacks(start_gatepost, directory, fb1, fb2, first):
    """Before it is known who logs in, a promise holds for all; whichever is heard first."""
    fb2.capability = offer("PLAIN", "XOAUTH2", "SCRAM-SHA-1")
    gatepost = start(start_gatepost, directory, fb1, fb2)
    teach(gatepost, first)
    if first == "u1":
        assert offered(gatepost) == ALL
    teach(gatepost, "u1", "u2")
    assert offered(gatepost) == PASSWORDS | {"XOAUTH2", "SCRAM-SHA-1"}
    with gatepost.connect() as client:
        assert_refused_unasked(client, "SCRAM-SHA-256")


def test_what_is_learnt_at_the_next_login(start_gatepost, directory, fb1):
    """A backend that is upgraded, or loses something, is seen to be so by the next who logs in."""
    gatepost = start(start_gatepost, directory, fb1)
    for capability in (EVERYTHING, offer("PLAIN", "XOAUTH2"), offer("PLAIN"), EVERYTHING):
        fb1.capability = capability
        before = offered(gatepost)
        teach(gatepost, "u1")
        there = {atom[5:].decode() for atom in capability.split() if atom.startswith(b"AUTH=")}
        assert offered(gatepost) == PASSWORDS | there != before


def test_what_a_refused_login_teaches(start_gatepost, directory, fb1):
    gatepost = start(start_gatepost, directory, fb1)
    with gatepost.connect() as client:
        assert client.status("a", "LOGIN u1 wrong") == "NO"
    assert offered(gatepost) == ALL


def test_backend_that_lost_what_was_promised(start_gatepost, directory, fb1):
    """The first client who comes too late is told that it is not its password, and the next is not
    promised it."""
    gatepost = start(start_gatepost, directory, fb1)
    teach(gatepost, "u1")
    fb1.reset()
    fb1.capability = offer("PLAIN")
    with gatepost.connect() as client:
        assert "XOAUTH2" in mechanisms_now(client)
        _, lines = client.authenticate("XOAUTH2", initial=first_message("XOAUTH2"))
        assert len(lines) == 1 and lines[0].startswith(b"a NO [SERVERBUG]"), lines
        assert not fb1.logins
        assert mechanisms_now(client) == PASSWORDS
        client.login()


@pytest.mark.parametrize("plus", SCRAM)
def test_plus_of_a_backend_takes_scram_away(start_gatepost, directory, fb1, plus):
    """A client that could bind channels says so, and such a backend must then refuse it (RFC 5802
    section 6); and nobody is ever offered -PLUS."""
    fb1.capability = EVERYTHING + f" AUTH={plus}-PLUS".encode()
    gatepost = start(start_gatepost, directory, fb1)
    teach(gatepost, "u1")
    assert offered(gatepost) == PASSWORDS | set(TOKENS)


@pytest.mark.parametrize("foreign", ["CRAM-MD5", "GSSAPI", "NTLM", "ANONYMOUS", "DIGEST-MD5"])
def test_c62_foreign_mechanisms_are_not_offered(start_gatepost, directory, fb1, foreign):
    fb1.capability = offer("PLAIN", foreign)
    gatepost = start(start_gatepost, directory, fb1)
    teach(gatepost, "u1")
    with gatepost.connect() as client:
        assert mechanisms_now(client) == PASSWORDS
        assert statuses(client.exchange(f"a AUTHENTICATE {foreign}\r\n".encode())) == ["a NO"]


# --- listener.mechanisms ---

def listeners(**mechanisms):
    return {name: {"mechanisms": list(words)} for name, words in mechanisms.items()}


def test_listener_takes_away(start_gatepost, directory, fb1):
    gatepost = start(start_gatepost, directory, fb1,
                     listeners=listeners(few=("PLAIN", "SCRAM-SHA-256"), old=("LOGIN",)))
    teach(gatepost, "u1")
    fb1.reset()
    assert offered(gatepost) == ALL
    with gatepost.connect_to("few") as client:
        assert mechanisms_now(client) == {"PLAIN", "SCRAM-SHA-256"}
        assert_refused_unasked(client, "XOAUTH2", fb1)
        assert statuses(client.exchange(b"a AUTHENTICATE LOGIN\r\n")) == ["a NO"]
        assert status_of(client.scram("SCRAM-SHA-256", "u1", "pw")) == "OK"
    with gatepost.connect_to("old") as client:
        assert mechanisms_now(client) == {"LOGIN"}
        assert statuses(client.exchange(b"a AUTHENTICATE PLAIN AHUxAHB3\r\n")) == ["a NO"]
        client.login()


def test_listener_adds_nothing(start_gatepost, directory, fb1):
    """What the backend does not have cannot be allowed."""
    fb1.capability = offer("PLAIN")
    gatepost = start(start_gatepost, directory, fb1, listeners=listeners(more=("XOAUTH2", "PLAIN")))
    teach(gatepost, "u1")
    with gatepost.connect_to("more") as client:
        assert mechanisms_now(client) == {"PLAIN"}


def test_listener_without_passwords(start_gatepost, directory, fb1):
    """LOGIN is one more way to say a password (RFC 9051 section 6.2.3)."""
    gatepost = start(start_gatepost, directory, fb1, listeners=listeners(tokens=("XOAUTH2",)))
    with gatepost.connect_to("tokens") as client:
        assert "LOGINDISABLED" in atoms_now(client) and mechanisms_now(client) == set()
    teach(gatepost, "u1")
    fb1.reset()
    with gatepost.connect_to("tokens") as client:
        assert "LOGINDISABLED" in atoms_now(client) and mechanisms_now(client) == {"XOAUTH2"}
        for command in (b"LOGIN u1 pw", b"LOGIN u1 {2}", b"AUTHENTICATE PLAIN AHUxAHB3",
                        b"AUTHENTICATE LOGIN"):
            assert statuses(client.exchange(b"a " + command + b"\r\n")) == ["a NO"]
        assert not fb1.logins
        _, lines = client.authenticate("XOAUTH2", initial=first_message("XOAUTH2"))
        assert status_of(lines) == "OK"


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER", "SCRAM-SHA-256", "LOGIN"])
def test_c63_nothing_of_it_without_tls(start_gatepost, directory, fb1, mechanism):
    gatepost = start(start_gatepost, directory, fb1, plain=False)
    teach(gatepost, "u1")
    fb1.reset()
    directory.reset()
    with gatepost.connect(tls=False) as client:
        assert "LOGINDISABLED" in atoms_now(client) and mechanisms_now(client) == set()
        for initial in (b"", b" AAAA"):
            lines = client.exchange(f"a AUTHENTICATE {mechanism}".encode() + initial + b"\r\n")
            assert len(lines) == 1 and lines[0].startswith(b"a NO [PRIVACYREQUIRED]")
        assert not directory.lookups() and not fb1.connections


def test_c04_everything_behind_starttls(start_gatepost, directory, fb1):
    gatepost = start(start_gatepost, directory, fb1)
    teach(gatepost, "u1")
    with gatepost.connect_starttls() as client:
        assert mechanisms_now(client) == ALL
        assert status_of(client.scram("SCRAM-SHA-256", "u1", "pw")) == "OK"
