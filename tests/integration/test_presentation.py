# SPDX-License-Identifier: Apache-2.0
"""How a login is presented to a backend: by which form (backend.login), under which name
(backend.user, and ?user= of a route in a real Redis), and by whom (CASES.md, C79 to C83)."""

import pytest

import sasl
from mechanisms import (EVERYTHING, TOKENS, UNDERSTOOD, assert_refused, mechanisms_now, offer,
                        status_of, teach)

MANNERS = {"capability": EVERYTHING}
MASTER = {"master_user": "master", "master_password": "pw"}


def only_login(fb):
    assert len(fb.logins) == 1, fb.logins
    return fb.logins[0]


def names_at(fb):
    """Owner and user, as they arrived."""
    login = only_login(fb)
    return login.owner, login.user


def log_in(client, mechanism, user, owner="", tag="a"):
    """With the right secret; the lines of the reply."""
    if mechanism == "LOGIN":
        return client.command(tag, f'LOGIN "{user}" pw')
    if mechanism == "SASL-LOGIN":
        return client.authenticate("LOGIN", user.encode(), b"pw", tag=tag)[1]
    if mechanism == "PLAIN":
        return client.authenticate("PLAIN", initial=sasl.plain(user, "pw", owner), tag=tag)[1]
    if mechanism in TOKENS:
        message = TOKENS[mechanism](user, "token")
        return client.authenticate(mechanism, UNDERSTOOD[mechanism], initial=message, tag=tag)[1]
    return client.scram(mechanism, user, "pw", owner, tag=tag)


def assert_serverbug(lines):
    assert len(lines) == 1 and lines[0].split()[1:3] == [b"NO", b"[SERVERBUG]"], lines


# --- the form of a password ---

@pytest.fixture(scope="module")
def forms(start_shared_gatepost, fb1, fb2):
    """One backend for each way; all of them are FB1 but for the last."""
    return start_shared_gatepost(
        {"same": fb1.address, "login": {"address": fb1.address, "login": "login"},
         "plain": {"address": fb1.address, "login": "plain"}},
        {"same": "same", "login": "login", "plain": "plain"}, process={"workers": 1})


@pytest.mark.parametrize("client_says", ["LOGIN", "SASL-LOGIN", "PLAIN"])
@pytest.mark.parametrize("form,capability,arrives", [
    ("same", offer("PLAIN"), "PLAIN-IR"), ("same", offer("LOGIN"), "LOGIN"),
    ("same", offer("PLAIN", other="IMAP4rev1"), "PLAIN"), ("same", offer(), "LOGIN"),
    ("same", offer("PLAIN", other="IMAP4rev1 SASL-IR LOGINDISABLED"), "PLAIN-IR"),
    ("login", offer("PLAIN"), "LOGIN"), ("login", offer(), "LOGIN"),
    ("plain", offer("PLAIN"), "PLAIN-IR"), ("plain", offer("PLAIN", other="IMAP4rev1"), "PLAIN")])
def test_c28_c79_c81_form(forms, fb1, client_says, form, capability, arrives):
    """Whatever the client says it by, it arrives as the backend wants it, and whole."""
    fb1.capability = capability
    with forms.connect() as client:
        assert status_of(log_in(client, client_says, form)) == "OK"
    login = only_login(fb1)
    assert (login.form, login.user, login.password) == (arrives, form.encode(), b"pw")


@pytest.mark.parametrize("form,capability", [
    ("plain", offer("LOGIN")), ("plain", offer("XOAUTH2")),
    ("login", offer("PLAIN", other="IMAP4rev1 LOGINDISABLED")),
    ("same", offer("LOGIN", other="IMAP4rev1 LOGINDISABLED")),
    ("same", offer("XOAUTH2", other="IMAP4rev1 LOGINDISABLED"))])
def test_form_that_the_backend_does_not_take(forms, fb1, form, capability):
    """No password leaves that the backend did not ask for so."""
    fb1.capability = capability
    with forms.connect() as client:
        assert_serverbug(client.command("a", f"LOGIN {form} pw"))
        client.assert_usable()
    assert not fb1.logins and b"pw" not in b"".join(bytes(one.received) for one in fb1.connections)


@pytest.mark.parametrize("form", ["login", "plain"])
def test_form_is_of_passwords_alone(forms, fb1, form):
    teach(forms, "same", "login", "plain")
    fb1.reset()
    with forms.connect() as client:
        assert status_of(log_in(client, "XOAUTH2", form)) == "OK"
    with forms.connect() as client:
        assert status_of(log_in(client, "SCRAM-SHA-256", form)) == "OK"
    assert [login.form for login in fb1.logins] == ["XOAUTH2-IR", "SCRAM-SHA-256-IR"]


# --- names by a template ---

@pytest.fixture(scope="module")
def renaming(start_shared_gatepost, certificates, fb1, fb2):
    """FB1 calls its users otherwise; FB2 does not, but has one user without a name there."""
    backends = {"FB1": {"address": fb1.address, "user": "{local}@other", **MASTER},
                "FB2": {"address": fb2.address, "user": "{domain}", **MASTER}}
    return start_shared_gatepost(
        backends, {"u1": "FB1", "u1@x.test": "FB1", "u2@x.test": "FB2", "u2": "FB2"},
        process={"workers": 1}, tls={"client_ca": str(certificates.ca)})


@pytest.mark.parametrize("mechanism", ["LOGIN", "SASL-LOGIN", "PLAIN", *TOKENS])
@pytest.mark.parametrize("typed", ["u1@x.test", "U1@X.test", "u1"])
def test_c83_template(renaming, fb1, mechanism, typed):
    """Made of what was typed, in the letters in which it was."""
    teach(renaming, "u1")
    fb1.reset()
    with renaming.connect() as client:
        assert status_of(log_in(client, mechanism, typed)) == "OK"
    assert names_at(fb1) == (b"", typed.split("@")[0].encode() + b"@other")


def test_template_with_an_owner(renaming, fb1):
    """Both have other names there."""
    with renaming.connect() as client:
        assert status_of(log_in(client, "PLAIN", "admin@x.test", owner="u1@x.test")) == "OK"
    assert names_at(fb1) == (b"u1@other", b"admin@other")


def test_template_with_a_certificate(renaming, certificates, fb1):
    with renaming.connect(certificate=certificates.client("u1@x.test")) as client:
        assert status_of(client.authenticate("EXTERNAL", initial=b"")[1]) == "OK"
    assert names_at(fb1) == (b"u1@other", b"master")


def test_template_that_makes_no_name(renaming, fb2):
    with renaming.connect() as client:
        assert_serverbug(log_in(client, "PLAIN", "u2"))
        assert_serverbug(log_in(client, "PLAIN", "admin@x.test", owner="u2", tag="b"))
        assert status_of(log_in(client, "PLAIN", "u2@x.test", tag="c")) == "OK"
    assert names_at(fb2) == (b"", b"x.test")


def test_scram_is_not_offered_where_names_change(renaming, fb1, fb2):
    """The client signs the name that it typed."""
    teach(renaming, "u1", "u2@x.test")
    with renaming.connect() as client:
        assert mechanisms_now(client) == {"PLAIN", "LOGIN", *TOKENS}
        fb1.reset()
        assert status_of(client.scram("SCRAM-SHA-256", "u1", "pw")) == "NO"
    assert not fb1.logins


# --- names by a route ---

@pytest.fixture(scope="module")
def routed(start_shared_gatepost, redis_server, certificates, fb1, fb2):
    """FB1 as it is, FB2 by a template, and whatever a route says of either."""
    backends = {"FB1": {"address": fb1.address, **MASTER},
                "FB2": {"address": fb2.address, "user": "{local}@other", **MASTER}}
    gatepost = start_shared_gatepost(backends, redis=redis_server.url, process={"workers": 1},
                                     tls={"client_ca": str(certificates.ca)})
    for user, route in {"u1": "FB1", "r1@x.test": "FB1?user=box1", "r2@x.test": "FB2?user=box2",
                        "url@x.test": f"imap://{fb1.address}?user=box%201%40there"}.items():
        redis_server.route(user, route)
    fb1.reset()
    teach(gatepost, "u1")
    return gatepost


@pytest.mark.parametrize("mechanism", ["LOGIN", "SASL-LOGIN", "PLAIN", *TOKENS])
@pytest.mark.parametrize("typed,name", [("r1@x.test", b"box1"), ("R1@X.test", b"box1"),
                                        ("url@x.test", b"box 1@there")])
def test_c83_route_names_the_mailbox(routed, fb1, mechanism, typed, name):
    with routed.connect() as client:
        assert status_of(log_in(client, mechanism, typed)) == "OK"
    assert names_at(fb1) == (b"", name)


def test_route_wins_over_the_template(routed, fb2):
    with routed.connect() as client:
        assert status_of(log_in(client, "PLAIN", "r2@x.test")) == "OK"
    assert names_at(fb2) == (b"", b"box2")


def test_route_names_the_owners_mailbox(routed, fb1, fb2):
    """Whose mailbox it is, the route knows; of who opens it, only the template does."""
    with routed.connect() as client:
        lines = log_in(client, "PLAIN", "admin@x.test", owner="r1@x.test")
        assert status_of(lines) == "OK"
    with routed.connect() as client:
        lines = log_in(client, "PLAIN", "admin@x.test", owner="r2@x.test")
        assert status_of(lines) == "OK"
    assert names_at(fb1) == (b"box1", b"admin@x.test")
    assert names_at(fb2) == (b"box2", b"admin@other")


def test_route_names_the_mailbox_of_a_certificate(routed, certificates, fb1):
    with routed.connect(certificate=certificates.client("r1@x.test")) as client:
        assert status_of(client.authenticate("EXTERNAL", initial=b"")[1]) == "OK"
    assert names_at(fb1) == (b"box1", b"master")


@pytest.fixture(scope="module")
def keeping(start_shared_gatepost, redis_server, fb1):
    """FB1 alone, which has SCRAM for all but those whom a route renames."""
    gatepost = start_shared_gatepost({"FB1": fb1.address}, redis=redis_server.url,
                                     process={"workers": 1})
    for user, route in {"u1": "FB1", "r1@x.test": "FB1?user=box1", "plain@x.test": "FB1",
                        "same@x.test": "FB1?user=same%40x.test"}.items():
        redis_server.route(user, route)
    fb1.reset()
    teach(gatepost, "u1")
    return gatepost


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_scram_is_refused_where_a_route_renames(keeping, fb1, mechanism):
    """It is not the user's fault, and nothing is sent under a name that would not verify."""
    with keeping.connect() as client:
        assert mechanism in mechanisms_now(client)
        assert_serverbug(client.scram(mechanism, "r1@x.test", "pw"))
        assert_serverbug(client.scram(mechanism, "u1", "pw", owner="r1@x.test", tag="b"))
        assert not fb1.connections
        assert status_of(client.scram(mechanism, "plain@x.test", "pw", tag="c")) == "OK"
    assert names_at(fb1) == (b"", b"plain@x.test")


def test_scram_where_the_route_keeps_the_name(keeping, fb1):
    with keeping.connect() as client:
        assert status_of(client.scram("SCRAM-SHA-256", "same@x.test", "pw")) == "OK"
    assert names_at(fb1) == (b"", b"same@x.test")


def test_wrong_secret_under_another_name(routed, fb1):
    """C99: the answer says nothing of what the name is there."""
    fb1.password = b"another"
    fb1.refuse = b"$ NO [AUTHENTICATIONFAILED] box1 is locked\r\n"
    with routed.connect() as client:
        assert_refused(log_in(client, "LOGIN", "r1@x.test"))
    assert names_at(fb1) == (b"", b"box1")
