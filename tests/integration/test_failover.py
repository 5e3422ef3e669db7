# SPDX-License-Identifier: Apache-2.0
"""routing.failover: those whom hash or assign placed log in to the next backend of their own order,
while nothing was said yet of their credentials; nobody who is routed by name does."""

import contextlib

import pytest

from backend_tls import over_tls, totals
from scripted_pool import addresses_of, answer_to, backends_named, home_of, user_at
from servers import black_hole, wait_until

STATIC = {"source": "static", "unknown": "hash"}
IMPATIENT = {"connect_timeout": "300ms", "login_timeout": "300ms"}
FAULTS = ("refused", "black hole", "silent", "no TLS", "wrong certificate", "BYE", "nonsense",
          "gone before the greeting", "gone at CAPABILITY", "garbage at CAPABILITY", "no STARTTLS",
          "gone at STARTTLS")


def last_words(greeting, words):
    """A script: the greeting, and then these at the first command."""
    def script(connection):
        connection.send(greeting)
        connection.read_command()
        connection.send(words)
        connection.close()
    return script


@contextlib.contextmanager
def pool_with_a_fault(fault, certificates):
    """The addresses of two backends, and these; nobody gets through to "ill"."""
    with backends_named("ill", "well") as backends, contextlib.ExitStack() as stack:
        ill, well = backends["ill"], backends["well"]
        addresses = addresses_of(backends, **IMPATIENT)
        if fault == "refused":
            ill.die()
        elif fault == "black hole":
            addresses["ill"]["address"] = stack.enter_context(black_hole())
        elif fault == "silent":
            ill.greeting = None
        elif fault == "no TLS":
            ill.script = lambda connection: connection.send(b"* OK no TLS here\r\n")
            addresses["ill"].update(over_tls(ill, certificates), tls="implicit")
        elif fault == "wrong certificate":
            ill.tls, ill.certificate = "implicit", certificates.foreign
            addresses["ill"].update(over_tls(ill, certificates))
        elif fault == "BYE":
            ill.greeting = b"* BYE not today\r\n"
        elif fault == "nonsense":
            ill.greeting = b"220 smtp.example.org ESMTP\r\n"
        elif fault.endswith("CAPABILITY"):
            ill.script = last_words(b"* OK hi\r\n", b"garbage\r\n" if "garbage" in fault else b"")
        elif fault.endswith("STARTTLS"):
            ill.script = last_words(b"* OK hi\r\n", b"G1 NO\r\n" if "no" in fault else b"")
            addresses["ill"].update(over_tls(ill, certificates), tls="starttls")
        else:
            ill.script = lambda connection: connection.close()
        yield addresses, ill, well


def user_of(name, certificates, start_gatepost, well):
    """One who is placed there, as a proxy says before both of two well backends."""
    gatepost = start_gatepost({"ill": well.address, "well": well.address}, routing=STATIC)
    for number in range(500):
        with gatepost.connect(tls=False) as client:
            client.login(f"u{number}")
        if gatepost.end_of(client)["backend"] == name:
            return f"u{number}"
    raise AssertionError(f"nobody is placed on {name}")


@pytest.fixture(scope="module")
def ill_user(start_shared_gatepost, certificates):
    """A user who is placed on "ill", whatever ails it."""
    with backends_named("well") as backends:
        return user_of("ill", certificates, start_shared_gatepost, backends["well"])


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_by_rank(start_gatepost, certificates, ill_user, fault):
    """Only where it is allowed, and never for one who is routed there by name. No credentials are
    seen by the first."""
    with pool_with_a_fault(fault, certificates) as (addresses, ill, well):
        on, off = (start_gatepost(addresses, {"pinned": "ill"},
                                  routing={**STATIC, "failover": failover})
                   for failover in (True, False))
        for gatepost, answer in ((off, None), (on, "well")):
            with gatepost.connect() as client:
                said = answer_to(client, ill_user)
                assert said == answer if answer else said in ("UNAVAILABLE", "SERVERBUG"), said
            with gatepost.connect() as client:
                assert answer_to(client, "pinned") in ("UNAVAILABLE", "SERVERBUG")
                client.assert_usable()
        assert [login.user.decode() for login in well.logins] == [ill_user]
        assert not ill.logins
        counters = totals(on)
    assert counters["backend_failovers_total"] == 1 and counters["logins_failed_total"] == 1


@pytest.mark.parametrize("cut", ["answer", "half an answer", "silence"])
def test_not_after_credentials_were_sent(start_gatepost, ill_user, cut):
    """They may have had their effect: a second login elsewhere is nobody's wish."""
    def script(connection):
        connection.send(connection.backend.greeting)
        connection.read_command()
        if cut == "silence":
            connection.read_to_end()
            return
        connection.send(b"* OK one mome" if cut == "half an answer" else b"")
        connection.close()

    with backends_named("ill", "well") as backends:
        backends["ill"].script = script
        gatepost = start_gatepost(addresses_of(backends, send_id=False, **IMPATIENT),
                                  routing={**STATIC, "failover": True})
        assert home_of(gatepost, ill_user) == "UNAVAILABLE"
        assert b"AUTHENTICATE PLAIN" in backends["ill"].connections[0].received
        assert not backends["well"].connections


@pytest.mark.parametrize("answer,code", [
    (b"$ NO [AUTHENTICATIONFAILED] wrong\r\n", "AUTHENTICATIONFAILED"),
    (b"$ NO [UNAVAILABLE] later\r\n", "UNAVAILABLE"), (b"$ NO [LIMIT] many\r\n", "LIMIT"),
    (b"$ BAD what\r\n", "SERVERBUG")])
def test_an_answer_is_an_answer(start_gatepost, ill_user, answer, code):
    with backends_named("ill", "well") as backends:
        backends["ill"].accept = answer
        gatepost = start_gatepost(addresses_of(backends), routing={**STATIC, "failover": True})
        assert home_of(gatepost, ill_user) in (code, "UNAVAILABLE")
        assert not backends["well"].connections


def test_one_after_the_other(start_gatepost):
    """With five backends down, one after the other, everybody goes on to one that is left, and none
    is tried twice; with all down there is one answer, and then service again."""
    names = [f"mail{number}" for number in range(6)]
    with backends_named(*names) as backends:
        gatepost = start_gatepost(addresses_of(backends), routing={**STATIC, "failover": True})
        users = [f"u{number}" for number in range(12)]
        left = list(names)
        while left:
            homes = {user: home_of(gatepost, user) for user in users}
            assert set(homes.values()) <= set(left)
            gone = homes[users[0]]
            left.remove(gone)
            backends[gone].die()
        assert {home_of(gatepost, user) for user in users} == {"UNAVAILABLE"}
        for backend in backends.values():
            backend.revive()
        assert home_of(gatepost, users[0]) in names
        counters = totals(gatepost)
    assert counters["logins_failed_total"] == len(users)
    # A login of a user who has no other left has tried each of the others once.
    assert counters["backend_failovers_total"] <= len(users) * sum(range(len(names)))


def test_one_that_is_known_to_be_down_is_not_tried(start_gatepost, ill_user):
    """Whoever is placed there goes to the next at once; by name there is one answer, at once."""
    with backends_named("ill", "well") as backends:
        backends["ill"].greeting = None
        gatepost = start_gatepost(addresses_of(backends), {"pinned": "ill"},
                                  routing={**STATIC, "failover": True},
                                  health={"check": "greeting", "interval": "50ms", "fall": 1})
        gatepost.wait_for_log("backend is down")
        assert home_of(gatepost, ill_user) == "well"
        assert home_of(gatepost, "pinned") == "UNAVAILABLE"
        counters = totals(gatepost)
    assert counters["backend_failovers_total"] == 0
    assert counters["backend_down_logins_total"] == 1


def test_who_is_assigned_keeps_the_route(start_gatepost, redis_server):
    """The fleet's choice stays: the user comes home when the backend does."""
    redis_server.command("FLUSHALL")
    with backends_named("ill", "well") as backends:
        gatepost = start_gatepost(addresses_of(backends), redis=redis_server.url,
                                  routing={"unknown": "assign", "failover": True})
        user = user_at(gatepost, "ill")
        backends["ill"].die()
        assert home_of(gatepost, user) == "well"
        assert redis_server.command("GET", f"gatepost:route:{user}") == "ill?assigned"
        redis_server.route("pinned", "ill")
        assert home_of(gatepost, "pinned") == "UNAVAILABLE"
        backends["ill"].revive()
        wait_until(lambda: home_of(gatepost, user) == "ill", what="home")
