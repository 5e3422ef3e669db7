# SPDX-License-Identifier: Apache-2.0
"""Backends that a route names by URL, with TLS: imaps://, and imap:// with ?tls=. Their
certificates are verified by routing.url_ca, always (C80, C93, C94)."""

import pytest

from mechanisms import EVERYTHING, offer, status_of

CLEAR = offer("PLAIN", other="IMAP4rev1 LOGINDISABLED X-CLEAR")


@pytest.fixture(scope="module")
def routed(start_shared_gatepost, redis_server, certificates, fb1):
    """FB1's address stands in the routes alone; `nobody` is a backend that no route names."""
    assert fb1.port
    return start_shared_gatepost({"nobody": "127.0.0.1:1"}, redis=redis_server.url,
                                 process={"workers": 1}, routing={"url_ca": str(certificates.ca)})


def speak_tls(fb, how, certificate):
    fb.tls, fb.certificate = how, certificate
    fb.capability = EVERYTHING
    if how == "starttls":
        fb.capability, fb.capability_tls = CLEAR, EVERYTHING


def url(fb, how, host="127.0.0.1", user=""):
    scheme = "imaps" if how == "implicit" else "imap"
    options = [f"tls={how}"] * (how == "starttls") + [f"user={user}"] * bool(user)
    return f"{scheme}://{host}:{fb.port}" + ("?" + "&".join(options) if options else "")


each = pytest.mark.parametrize("how", ["implicit", "starttls"])


@each
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_c80_route_with_tls(routed, redis_server, certificates, fb1, how, host):
    """By the name or the address in the URL; with STARTTLS only what is said under TLS counts."""
    speak_tls(fb1, how, certificates.backend)
    redis_server.route("u1", url(fb1, how, host))
    with routed.connect() as client:
        lines = client.login()
        assert lines[-1] == b"l OK [CAPABILITY IMAP4rev1 IDLE X] hi\r\n"
        client.assert_usable()
    connection = fb1.connections[0]
    assert connection.tls and connection.tls_server_name == (None if host[0] == "1" else host)
    assert fb1.logins[0].form == "PLAIN-IR" and fb1.logins[0].password == b"pw"
    assert connection.commands[0] == (b"STARTTLS" if how == "starttls" else b"AUTHENTICATE")


@each
def test_route_with_tls_and_a_name(routed, redis_server, certificates, fb1, how):
    speak_tls(fb1, how, certificates.backend)
    redis_server.route("u1", url(fb1, how, user="box"))
    with routed.connect() as client:
        client.login()
    assert fb1.logins[0].user == b"box" and fb1.connections[0].tls


@each
@pytest.mark.parametrize("wrong", ["mail1", "foreign", "self_signed", "expired", "nameless"])
def test_c93_certificates_that_do_not_verify(routed, redis_server, certificates, fb1, how, wrong):
    """No password is sent."""
    speak_tls(fb1, how, getattr(certificates, wrong))
    redis_server.route("u1", url(fb1, how, "localhost"))
    with routed.connect() as client:
        lines = client.command("a", "LOGIN u1 pw")
        assert len(lines) == 1 and lines[0].startswith(b"a NO [UNAVAILABLE] "), lines
        client.assert_usable()
    assert not fb1.logins and b"pw" not in b"".join(bytes(one.received) for one in fb1.connections)


@each
def test_no_authority_no_tls(start_gatepost, redis_server, certificates, fb1, how):
    """With the system's authorities ours is a stranger."""
    speak_tls(fb1, how, certificates.backend)
    gatepost = start_gatepost({"nobody": "127.0.0.1:1"}, redis=redis_server.url)
    redis_server.route("u1", url(fb1, how))
    with gatepost.connect() as client:
        lines = client.command("a", "LOGIN u1 pw")
        assert lines[0].startswith(b"a NO [UNAVAILABLE] "), lines
    assert not fb1.logins


@pytest.mark.parametrize("manners,code", [
    ({"offers_starttls": False}, b"[SERVERBUG]"),
    ({"starttls_answer": b"$ NO not today\r\n"}, b"[UNAVAILABLE]"),
    ({"starttls_answer": b"$ BAD what\r\n"}, b"[UNAVAILABLE]"),
    ({"starttls_injection": b"* CAPABILITY IMAP4rev1\r\n"}, b"[UNAVAILABLE]")])
def test_c94_c95_starttls_or_nothing(routed, redis_server, certificates, fb1, manners, code):
    speak_tls(fb1, "starttls", certificates.backend)
    for name, value in manners.items():
        setattr(fb1, name, value)
    redis_server.route("u1", url(fb1, "starttls"))
    with routed.connect() as client:
        lines = client.command("a", "LOGIN u1 pw")
        assert len(lines) == 1 and lines[0].split()[1:3] == [b"NO", code], lines
        client.assert_usable()
    assert not fb1.logins and b"pw" not in b"".join(bytes(one.received) for one in fb1.connections)


def test_same_address_with_and_without_tls(routed, redis_server, certificates, fb1):
    """A route says how; what was learnt of the other way is not carried over."""
    redis_server.route("clear", url(fb1, "none"))
    redis_server.route("secure", url(fb1, "implicit"))
    with routed.connect() as client:
        client.login("clear")
    assert not fb1.connections[0].tls
    fb1.reset()
    speak_tls(fb1, "implicit", certificates.backend)
    with routed.connect() as client:
        assert status_of(client.command("a", "LOGIN secure pw")) == "OK"
    assert fb1.connections[0].tls
