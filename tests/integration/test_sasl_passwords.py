# SPDX-License-Identifier: Apache-2.0
"""Passwords by SASL: the mechanism LOGIN, and PLAIN with an authorisation identity (CASES.md,
D)."""

import pytest

import sasl
from client import statuses
from mechanisms import EVERYTHING, assert_refused, offer, status_of

PROMPTS = [b"Username:", b"Password:"]


def only_login(fb):
    assert len(fb.logins) == 1, fb.logins
    return fb.logins[0]


def credentials_at(fb):
    login = only_login(fb)
    return login.owner, login.user, login.password


# --- LOGIN ---

def test_c57_login_with_its_prompts(client, fb1):
    client.send(b"a AUTHENTICATE LOGIN\r\n")
    assert client.read_line() == b"+ VXNlcm5hbWU6\r\n"
    client.send(b"dTE=\r\n")
    assert client.read_line() == b"+ UGFzc3dvcmQ6\r\n"
    client.send(b"cHc=\r\n")
    assert statuses(client.read_until("a")) == ["a OK"]
    assert credentials_at(fb1) == (b"", b"u1", b"pw")


def test_c57_login_bytewise(client, fb1):
    client.send_bytewise(b"a AUTHENTICATE LOGIN\r\ndTE=\r\ncHc=\r\n")
    assert statuses(client.read_until("a")) == ["+ VXNlcm5hbWU6", "+ UGFzc3dvcmQ6", "a OK"]
    assert credentials_at(fb1) == (b"", b"u1", b"pw")


def test_c57_login_in_any_letters(client, fb1):
    _, lines = client.authenticate("lOgIn", b"u1", b"pw")
    assert status_of(lines) == "OK" and fb1.logins[0].user == b"u1"


@pytest.mark.parametrize("answers", [[None], [b"u1", None]])
def test_c57_cancelled_at_either_prompt(client, directory, fb1, answers):
    challenges, lines = client.authenticate("LOGIN", *answers)
    assert challenges == PROMPTS[:len(answers)] and statuses(lines) == ["a BAD"]
    assert not directory.lookups() and not fb1.logins
    client.login()


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("line", [b"!!!!", b"dTE", b"dTE=\t", b"* ", b"dT E="])
def test_c53_bad_base64_at_either_prompt(client, directory, fb1, place, line):
    client.send(b"a AUTHENTICATE LOGIN\r\n" + b"dTE=\r\n" * place)
    for _ in range(place + 1):
        assert client.read_line().startswith(b"+ ")
    assert statuses(client.exchange(line + b"\r\n")) == ["a BAD"]
    assert not directory.lookups() and not fb1.logins


def test_c57_wrong_password(client, fb1):
    challenges, lines = client.authenticate("LOGIN", b"u1", b"wrong")
    assert challenges == PROMPTS
    assert_refused(lines)
    assert only_login(fb1).password == b"wrong"
    client.login()


@pytest.mark.parametrize("user,password", [(b"", b"pw"), (b"u1", b""), (b"", b""),
                                           (b"n" * 256, b"pw"), (b"u1", b"p" * 4097),
                                           (b"u\0" b"1", b"pw"), (b"u1", b"p\nw"),
                                           (b"\xff", b"pw")])
def test_c57_names_and_passwords_that_are_none(client, directory, fb1, user, password):
    """Both are asked for all the same: a client learns nothing from where it is stopped."""
    challenges, lines = client.authenticate("LOGIN", user, password)
    assert challenges == PROMPTS
    assert_refused(lines)
    assert not directory.lookups() and not fb1.logins
    client.login()


def test_c45_longest_name_and_password(client, directory, fb1):
    directory.values["gatepost:route:" + "n" * 255] = "FB1"
    fb1.password = None
    _, lines = client.authenticate("LOGIN", b"n" * 255, b"p" * 4096)
    assert status_of(lines) == "OK"
    assert credentials_at(fb1) == (b"", b"n" * 255, b"p" * 4096)


def test_c58_initial_response_is_the_user(client, fb1):
    challenges, lines = client.authenticate("LOGIN", b"pw", initial=b"u1")
    assert challenges == PROMPTS[1:] and status_of(lines) == "OK"
    assert credentials_at(fb1) == (b"", b"u1", b"pw")


def test_c58_empty_initial_response_is_an_empty_user(client, fb1):
    challenges, lines = client.authenticate("LOGIN", b"pw", initial=b"")
    assert challenges == PROMPTS[1:]
    assert_refused(lines)
    assert not fb1.logins


def test_c60_all_lines_at_once(client, fb1):
    """What stands behind the password is the backend's."""
    client.send(b"a AUTHENTICATE LOGIN\r\ndTE=\r\ncHc=\r\nb NOOP\r\n")
    lines = client.read_until("b")
    assert statuses(lines) == ["+ VXNlcm5hbWU6", "+ UGFzc3dvcmQ6", "a OK", "b OK"]
    assert b"FB1" in lines[-1] and credentials_at(fb1) == (b"", b"u1", b"pw")


# --- PLAIN with an authorisation identity ---

@pytest.mark.parametrize("owner,user,arrives", [
    ("u2", "u1", b"u2"), ("u2", "nobody", b"u2"), ("u1", "u1", b""), ("", "u1", b"")])
def test_owner_decides_and_arrives(client, fb1, fb2, owner, user, arrives):
    """IMAP.md, rule 10; an owner that is the user is none (RFC 4616 section 2)."""
    _, lines = client.authenticate("PLAIN", initial=sasl.plain(user, "pw", owner))
    assert status_of(lines) == "OK"
    login, = fb1.logins + fb2.logins
    assert (login.owner, login.user, login.password) == (arrives, user.encode(), b"pw")
    assert bool(fb2.logins) == (owner == "u2")


def test_owner_that_nobody_knows(client, fb1, fb2):
    _, lines = client.authenticate("PLAIN", initial=sasl.plain("u1", "pw", "nobody"))
    assert_refused(lines)
    assert not fb1.logins and not fb2.logins


@pytest.mark.parametrize("owner", ["n" * 256, "o\1", "o\n"])
def test_owner_that_is_no_name(client, directory, fb1, owner):
    _, lines = client.authenticate("PLAIN", initial=sasl.plain("u1", "pw", owner))
    assert_refused(lines)
    assert not directory.lookups() and not fb1.logins


def test_owner_to_a_backend_without_initial_responses(client, fb2):
    fb2.capability = offer("PLAIN", other="IMAP4rev1")
    _, lines = client.authenticate("PLAIN", initial=sasl.plain("u1", "pw", "u2"))
    assert status_of(lines) == "OK"
    login = only_login(fb2)
    assert login.form == "PLAIN" and credentials_at(fb2) == (b"u2", b"u1", b"pw")


@pytest.mark.parametrize("capability", [offer(), offer("LOGIN"), offer("XOAUTH2")])
def test_owner_is_never_dropped(client, fb1, fb2, capability):
    """The command LOGIN says nothing of owners: another login would be made of it (C83)."""
    fb2.capability = capability
    _, lines = client.authenticate("PLAIN", initial=sasl.plain("u1", "pw", "u2"))
    assert len(lines) == 1 and lines[0].startswith(b"a NO [SERVERBUG]"), lines
    assert fb2.connections and not fb2.logins
    assert status_of(client.command("b", "LOGIN u2 pw")) == "OK"
    assert only_login(fb2).form == "LOGIN" and not fb1.logins


@pytest.mark.parametrize("form,status", [("login", "NO"), ("plain", "OK")])
def test_owner_where_the_form_is_set(start_gatepost, fb1, form, status):
    fb1.capability = EVERYTHING
    gatepost = start_gatepost({"FB1": {"address": fb1.address, "login": form}}, {"u1": "FB1"})
    with gatepost.connect() as client:
        _, lines = client.authenticate("PLAIN", initial=sasl.plain("u2", "pw", "u1"))
        assert status_of(lines) == status
        assert [login.owner for login in fb1.logins] == ([b"u1"] if status == "OK" else [])
        if status == "NO":
            assert lines[0].startswith(b"a NO [SERVERBUG]")
            client.login()
