# SPDX-License-Identifier: Apache-2.0
"""Refused logins of every mechanism: counted, delayed, and the same whoever the user is, wherever
the refusal comes from (C99, C106)."""

import concurrent.futures
import time

import pytest

import sasl
from client import CLOSE_NOTIFY, statuses
from mechanisms import (EVERYTHING, SCRAM, TOKENS, UNDERSTOOD, assert_refused, start_taught,
                        status_of)
from servers import wait_until

MANNERS = {"capability": EVERYTHING, "refuse": b"$ NO [AUTHENTICATIONFAILED] we know u1 well\r\n"}

WAYS = ["LOGIN", "SASL-LOGIN", "PLAIN", "owner", *TOKENS, *SCRAM]
each = pytest.mark.parametrize("way", WAYS)


def fail(client, way, user, tag="a"):
    """A login with a wrong secret; all lines of the reply but for challenges."""
    if way == "LOGIN":
        return client.command(tag, f"LOGIN {user} wrong")
    if way == "SASL-LOGIN":
        return client.authenticate("LOGIN", user.encode(), b"wrong", tag=tag)[1]
    if way == "PLAIN":
        return client.authenticate("PLAIN", initial=sasl.plain(user, "wrong"), tag=tag)[1]
    if way == "owner":
        message = sasl.plain("master", "wrong", owner=user)
        return client.authenticate("PLAIN", initial=message, tag=tag)[1]
    if way in TOKENS:
        message = TOKENS[way](user, "stale")
        return client.authenticate(way, UNDERSTOOD[way], initial=message, tag=tag)[1]
    return client.scram(way, user, "wrong", tag=tag)


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, fb1, fb2, directory):
    return start_taught(start_shared_gatepost, fb1, fb2, directory)


# --- the same answer ---

@each
@pytest.mark.parametrize("refuse", [
    b"$ NO [AUTHENTICATIONFAILED] we know u1 well\r\n", b"$ NO no\r\n", b"$ NO\r\n",
    b"$ NO [X-WHO KNOWS] u1\r\n"])
def test_c99_wrong_secret_and_unknown_user(client, fb1, way, refuse):
    fb1.refuse = refuse
    assert_refused(fail(client, way, "u1"))
    assert len(fb1.logins) == 1
    assert_refused(fail(client, way, "nobody"))
    assert len(fb1.logins) == 1
    client.login()


@each
def test_refusal_in_the_log(proxy, fb1, way):
    """Who was refused, by what and why; the mechanism of LOGIN is said to be PLAIN."""
    count = len(proxy.events("login refused"))
    with proxy.connect() as client:
        fail(client, way, "u1")
        fail(client, way, "nobody")
    wait_until(lambda: len(proxy.events("login refused")) >= count + 2)
    wrong, unknown = proxy.events("login refused")[count:]
    mechanism = way if way in (*TOKENS, *SCRAM) else "PLAIN"
    assert (wrong["mechanism"], unknown["mechanism"]) == (mechanism, mechanism)
    assert wrong["backend"] == "FB1" and "backend" not in unknown
    assert unknown["detail"] == "unknown user"
    assert wrong["user"] == ("master" if way == "owner" else "u1")


# --- counted ---

@pytest.fixture(scope="module")
def patient_thrice(start_shared_gatepost, fb1, fb2, directory):
    return start_taught(start_shared_gatepost, fb1, fb2, directory, limits={"login_failures": 3})


def assert_ends(client, lines):
    """NO to the last, and good-bye behind it."""
    assert status_of(lines) == "NO"
    assert client.read_to_end() == (b"* BYE [LIMIT] Too many failed logins.\r\n", CLOSE_NOTIFY)


@each
@pytest.mark.parametrize("user", ["u1", "nobody"])
def test_c106_last_of_the_failures(patient_thrice, fb1, way, user):
    with patient_thrice.connect() as client:
        for number in range(2):
            assert_refused(fail(client, way, user, tag=f"t{number}"), f"t{number}")
        client.assert_usable()
        assert_ends(client, fail(client, way, user))
    assert len(fb1.logins) == (3 if user == "u1" else 0)


def test_c106_failures_of_all_mechanisms_count_together(patient_thrice):
    with patient_thrice.connect() as client:
        fail(client, "LOGIN", "u1")
        fail(client, "XOAUTH2", "nobody")
        assert_ends(client, fail(client, "SCRAM-SHA-1", "u2"))


@pytest.mark.parametrize("way", ["XOAUTH2", "SCRAM-SHA-256"])
def test_c106_cancelling_is_no_way_out(patient_thrice, way):
    """Who has seen that a token is wrong, or asked for a challenge, has tried."""
    with patient_thrice.connect() as client:
        message = sasl.ScramClient(way, "u1", "pw").first() if way in SCRAM else \
            TOKENS[way]("u1", "stale")
        for number in range(3):
            tag = f"t{number}"
            _, lines = client.authenticate(way, None, initial=message, tag=tag)
            assert statuses(lines) == [f"{tag} BAD"]
        assert client.read_to_end() == (b"* BYE [LIMIT] Too many failed logins.\r\n", CLOSE_NOTIFY)


def test_c106_success_is_not_counted(patient_thrice):
    with patient_thrice.connect() as client:
        fail(client, "PLAIN", "u1")
        fail(client, "SCRAM-SHA-256", "u1")
        assert status_of(client.scram("SCRAM-SHA-256", "u1", "pw")) == "OK"
        client.assert_usable()


def test_failures_of_the_backend_are_not_counted(patient_thrice, fb1):
    """It is nobody's guess that a backend cannot be reached."""
    fb1.greeting = b"* BYE not now\r\n"
    with patient_thrice.connect() as client:
        for number in range(4):
            lines = fail(client, "XOAUTH2", "u1", tag=f"t{number}")
            assert lines[0].startswith(f"t{number} NO [UNAVAILABLE]".encode())
        client.login("u2")


# --- delayed ---

DELAY = 1.2
SLOWNESS = 1.0


@pytest.fixture(scope="module")
def delaying(start_shared_gatepost, certificates, fb1, fb2, directory):
    return start_taught(start_shared_gatepost, fb1, fb2, directory,
                        limits={"failure_delay": f"{int(DELAY * 1000)}ms"})


def refuse_slowly(connection):
    """As many backends do; what they take is no part of what the client waits."""
    answer = connection.answer

    def answer_slowly(template, tag):
        if b" NO " in template:
            time.sleep(SLOWNESS)
        answer(template, tag)

    connection.answer = answer_slowly
    if connection.serve_until_login():
        connection.backend.session(connection)


def timed_failure(gatepost, way, user):
    """How long the refusal took; a NOOP behind it is answered behind it."""
    with gatepost.connect() as client:
        started = time.monotonic()
        assert_refused(fail(client, way, user))
        taken = time.monotonic() - started
        client.assert_usable()
        return taken


def test_c106_every_refusal_is_delayed(delaying, fb1):
    """Unknown users and wrong secrets take as long as each other, also by a slow backend."""
    fb1.script = refuse_slowly
    cases = [(way, user) for way in WAYS for user in ("u1", "nobody")]
    with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        taken = list(pool.map(lambda case: timed_failure(delaying, *case), cases))
    early = [case for case, seconds in zip(cases, taken) if seconds < DELAY]
    late = [case for case, seconds in zip(cases, taken) if seconds > DELAY + SLOWNESS]
    assert not early and not late, taken


def test_success_is_not_delayed(delaying, fb1):
    with delaying.connect() as client:
        started = time.monotonic()
        assert status_of(client.scram("SCRAM-SHA-256", "u1", "pw")) == "OK"
        assert time.monotonic() - started < DELAY


@pytest.mark.parametrize("user", ["u1", "nobody"])
def test_certificates_are_refused_likewise(start_gatepost, certificates, fb1, user):
    """EXTERNAL of a user whom nobody knows, or whom the backend does not let in."""
    fb1.password = b"changed"
    gatepost = start_gatepost(
        {"FB1": {"address": fb1.address, "master_user": "m", "master_password": "m"}},
        {"u1": "FB1"}, tls={"client_ca": str(certificates.ca)},
        limits={"failure_delay": "100ms", "login_failures": 2})
    with gatepost.connect(certificate=certificates.client(user)) as client:
        started = time.monotonic()
        assert_refused(client.authenticate("EXTERNAL", initial=b"")[1])
        assert time.monotonic() - started >= 0.1
        assert_ends(client, client.authenticate("EXTERNAL", initial=b"")[1])
