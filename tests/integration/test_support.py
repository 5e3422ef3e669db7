# SPDX-License-Identifier: Apache-2.0
"""The scripted servers and the client, tried on one another and on the real ones: what follows is
only as good as they are."""

import base64

import pytest

import proxy_protocol
from backend import echo
from client import FIN, Client, Ended, capabilities_of
from redis_tables import bulk
from servers import PASSWORD, wait_until


@pytest.fixture
def direct(fb1):
    with Client(fb1.port) as client:
        yield client.greet()


def test_backend_decodes_every_form(fb1, direct):
    fb1.refuse = b"$ NO once more\r\n"
    plain = base64.b64encode(b"\0u1\0bad").decode()
    assert direct.command("a", f"AUTHENTICATE PLAIN {plain}")[-1] == b"a NO once more\r\n"
    direct.send(b"b AUTHENTICATE PLAIN\r\n")
    assert direct.read_line() == b"+ \r\n"
    direct.send(plain.encode() + b"\r\n")
    direct.read_until("b")
    direct.send(b"c LOGIN {2}\r\n")
    assert direct.read_line() == b"+ go on\r\n"
    direct.send(b'u1 "b\\"d"\r\n')
    direct.read_until("c")
    direct.login('{2+}\r\nu1', '{2+}\r\npw')
    forms = [(login.form, login.user, login.password) for login in fb1.logins]
    assert forms == [("PLAIN-IR", b"u1", b"bad"), ("PLAIN", b"u1", b"bad"),
                     ("LOGIN", b"u1", b'b"d'), ("LOGIN", b"u1", b"pw")]
    assert fb1.logins[-1].raw == b"l LOGIN {2+}\r\nu1 {2+}\r\npw\r\n"
    direct.assert_usable()
    direct.close()
    assert fb1.wait_for_end(fb1.connections[0]) == FIN


def test_backend_shows_reset_and_capability(fb1, direct):
    lines = direct.command("a", "CAPABILITY")
    assert capabilities_of(lines[0]) == capabilities_of(direct.greeting)
    direct.reset()
    assert fb1.wait_for_end(fb1.connections[0]) == "reset"


def test_backend_echo_passes_the_end_on(fb1, direct):
    fb1.session = echo
    direct.login()
    direct.send(b"\x00\xff{9}\r\n")
    assert direct.read_exactly(7) == b"\x00\xff{9}\r\n"
    direct.shutdown()
    with pytest.raises(Ended):
        direct.receive()
    assert direct.ended == FIN


def test_gatepost_has_listeners_of_all_kinds(start_gatepost, certificates, fb1):
    trusting = {"proxy_protocol": True, "trusted": ["127.0.0.0/8"]}
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, listeners={
        "proxied": trusting, "starttls, proxied": {**trusting, "tls": "starttls"}})
    header = proxy_protocol.version2(("192.0.2.7", 4007))
    for client in (gatepost.connect(), gatepost.connect(tls=False), gatepost.connect_starttls(),
                   gatepost.connect_to("proxied", first=header),
                   gatepost.connect_to("starttls, proxied", tls=False, first=header)):
        with client:
            if "STARTTLS" in capabilities_of(client.greeting) and not client.tls:
                client.starttls(certificates.ca)
            client.login()
            client.assert_usable()
    addresses = [connection.ids[-1]["x-originating-ip"] for connection in fb1.connections
                 if connection.ids]
    assert addresses == ["127.0.0.1"] * 3 + ["192.0.2.7"] * 2


def test_redis_real_and_fake(redis_server, fake_redis):
    redis_server.route("somebody", "mail1")
    assert redis_server.command("GET", "gatepost:route:somebody") == "mail1"
    fake_redis.values["k"] = "v"
    with Client(fake_redis.port) as client:
        client.send(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$3\r\nGET\r\n$1\r\nx\r\n")
        assert client.read_exactly(12) == bulk("v") + bulk(None)
    assert fake_redis.lookups() == [[b"GET", b"k"], [b"GET", b"x"]]


@pytest.mark.parametrize("which", ["mail1", "mail2"])
def test_dovecots_have_different_mail(request, which):
    server = request.getfixturevalue(which)
    server.seed("seeded")
    with Client(server.port) as client:
        client.greet().login("seeded", PASSWORD)
        client.command("s", "SELECT INBOX")
        lines = client.command("f", "FETCH 1 BODY[HEADER.FIELDS (SUBJECT)]")
        assert f"Subject: this is seeded on {which}\r\n".encode() in lines
        assert client.command("o", "LOGOUT")[-1].startswith(b"o OK")
    wait_until(lambda: "user=<seeded>" in server.log())
