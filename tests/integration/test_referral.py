# SPDX-License-Identifier: Apache-2.0
"""[REFERRAL imap://host]: a backend sends the user elsewhere (C91). Followed where the
configuration lists the host, three times in a row, and never told to the client."""

import pytest

from backend_tls import over_tls, totals
from client import capabilities_of
from scripted_pool import addresses_of, answer_to, backends_named, home_of, user_at

STATIC = {"source": "static"}
LOOPBACK = ["127.0.0.0/8", "::1", "localhost"]
NAMES = ("A", "B", "C", "D", "E")


@pytest.fixture(scope="module")
def servers():
    with backends_named(*NAMES) as backends:
        yield backends


@pytest.fixture(autouse=True)
def clean(servers):
    for server in servers.values():
        server.reset()


def refer(servers, *names, user="", host="127.0.0.1"):
    """Each sends everybody to the next."""
    for name, to in zip(names, names[1:]):
        servers[name].accept = \
            f"$ NO [REFERRAL imap://{user}{host}:{servers[to].port}/] gone\r\n".encode()


def start(start_gatepost, servers, names=("A",), referrals=LOOPBACK, **routing):
    return start_gatepost(addresses_of({name: servers[name] for name in names}), {"u1": "A"},
                          routing={**STATIC, "referrals": referrals, **routing})


@pytest.mark.parametrize("names", [("A",), ("A", "B")])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_followed(start_gatepost, servers, names, host):
    """To a server that nobody else knows of, or to one of the pool; and the session is as any
    other: the same password, the second server's capabilities, its splice, one line in the log."""
    refer(servers, "A", "B", host=host)
    servers["B"].accept = b"$ OK [CAPABILITY IMAP4rev1 X-OF-B] hi\r\n"
    gatepost = start(start_gatepost, servers, names)
    with gatepost.connect() as client:
        lines = client.login()
        assert "X-OF-B" in capabilities_of(lines[-1]) and b"REFERRAL" not in b"".join(lines)
        assert client.command("n", "NOOP") == [b"n OK NOOP by B\r\n"]
    line = gatepost.end_of(client)
    assert line["backend"] == ("B" if names == ("A", "B") and host == "127.0.0.1" else
                               f"imap://{host}:{servers['B'].port}"), line
    for name in "AB":
        login, = servers[name].logins
        assert (login.user, login.password) == (b"u1", b"pw")
    servers["A"].wait_for_end(servers["A"].connections[0])
    counters = totals(gatepost)
    assert counters["referrals_followed_total"] == 1 and counters["logins_ok_total"] == 1
    assert counters["logins_failed_total"] == counters["logins_refused_total"] == 0


@pytest.mark.parametrize("referrals", [[], ["10.0.0.0/8"], ["*.example.org"], ["localhost"]])
def test_not_allowed(start_gatepost, servers, referrals):
    """Nothing goes there, and the client sees nothing of where that is."""
    refer(servers, "A", "B")
    gatepost = start(start_gatepost, servers, referrals=referrals)
    with gatepost.connect() as client:
        lines = client.command("a", "LOGIN u1 pw")
        assert len(lines) == 1 and lines[0].startswith(b"a NO [UNAVAILABLE] "), lines
        assert b"127.0.0.1" not in lines[0] and b"REFERRAL" not in lines[0]
        client.assert_usable()
    assert not servers["B"].connections
    gatepost.wait_for_log("the host of the referral is none of routing.referrals")
    assert totals(gatepost)["logins_failed_total"] == 1


def test_three_hops_and_not_four(start_gatepost, servers):
    gatepost = start(start_gatepost, servers)
    refer(servers, "A", "B", "C", "D")
    assert home_of(gatepost, "u1") == "D"
    refer(servers, "A", "B", "C", "D", "E")
    assert home_of(gatepost, "u1") == "UNAVAILABLE"
    assert not servers["E"].connections
    # Each login begins anew.
    servers["D"].reset()
    with gatepost.connect() as client:
        assert [answer_to(client, "u1")] == ["D"]


def test_in_a_circle(start_gatepost, servers):
    """Two that send everybody to each other, and one to itself: it ends."""
    gatepost = start(start_gatepost, servers)
    refer(servers, "A", "B", "A")
    assert home_of(gatepost, "u1") == "UNAVAILABLE"
    assert [len(servers[name].connections) for name in "AB"] == [2, 2]
    refer(servers, "A", "A")
    assert home_of(gatepost, "u1") == "UNAVAILABLE"
    assert totals(gatepost)["referrals_followed_total"] == 6


def test_back_to_the_proxy(start_gatepost, servers):
    """C98: a server that sends its users to the proxy's own address."""
    gatepost = start(start_gatepost, servers)
    servers["A"].accept = f"$ NO [REFERRAL imap://127.0.0.1:{gatepost.port}/]\r\n".encode()
    assert home_of(gatepost, "u1") == "SERVERBUG"
    assert len(servers["A"].connections) == 1


@pytest.mark.parametrize("user,box", [("box@", b"box"), ("box;AUTH=*@", b"box"),
                                      ("b%40x.test@", b"b@x.test"), ("", b"u1")])
def test_a_user_in_the_url(start_gatepost, servers, user, box):
    """It is who the user is there, with the same password."""
    refer(servers, "A", "B", user=user)
    gatepost = start(start_gatepost, servers)
    assert home_of(gatepost, "u1") == "B"
    login, = servers["B"].logins
    assert (login.user, login.password) == (box, b"pw")


def test_the_user_is_not_kept(start_gatepost, servers):
    """What one referral said is nothing to the next login on the same connection."""
    refer(servers, "A", "B", user="box@")
    servers["B"].password = b"other"
    gatepost = start(start_gatepost, servers)
    with gatepost.connect() as client:
        assert answer_to(client, "u1") == "AUTHENTICATIONFAILED"
        servers["A"].reset()
        assert answer_to(client, "u1") == "A"
    assert [login.user for login in servers["A"].logins] == [b"u1"]


@pytest.mark.parametrize("authority,answer", [("ca", "secure"), ("foreign", "UNAVAILABLE")])
def test_with_tls(start_gatepost, certificates, servers, secure, authority, answer):
    """imaps:// is TLS from the first byte, verified by routing.url_ca."""
    servers["A"].accept = f"$ NO [REFERRAL imaps://localhost:{secure.port}/]\r\n".encode()
    ca = certificates.ca if authority == "ca" else certificates.foreign.chain
    gatepost = start(start_gatepost, servers, url_ca=str(ca))
    assert home_of(gatepost, "u1") == answer
    assert bool(secure.logins) == (answer == "secure")
    assert b"pw" not in b"".join(bytes(connection.raw) for connection in secure.connections)


def test_to_a_backend_of_the_pool_as_that_wants_it(start_gatepost, certificates, servers, secure):
    """Its own authority, and what users are called there."""
    servers["A"].accept = f"$ NO [REFERRAL imaps://127.0.0.1:{secure.port}/]\r\n".encode()
    gatepost = start_gatepost(
        {"A": servers["A"].address,
         "secure": over_tls(secure, certificates, user="{user}@there.test")},
        {"u1": "A"}, routing={**STATIC, "referrals": LOOPBACK})
    assert home_of(gatepost, "u1") == "secure"
    assert secure.logins[0].user == b"u1@there.test"


@pytest.mark.parametrize("url", [
    "imap://", "imap://:143/", "http://127.0.0.1/", "imap://127.0.0.1:0/",
    "imap://127.0.0.1:99999/", "imap://127.0.0.1:{port}/INBOX", "imap://127.0.0.1:{port}/;UID=1",
    "//127.0.0.1:{port}/", "imap://x%0d%0ay@127.0.0.1:{port}/", "imap://x%00@127.0.0.1:{port}/",
    "imap://@127.0.0.1:{port}/", "imap://" + "u" * 300 + "@127.0.0.1:{port}/",
    "imap://127.0.0.1:{port}" + "/" * 600, "", "x"])
def test_urls_that_are_none(servers, shared, url):
    """Whatever else it says: no login, and a usable connection."""
    url = url.replace("{port}", str(servers["B"].port))
    servers["A"].accept = f"$ NO [REFERRAL {url}] gone\r\n".encode()
    with shared.connect() as client:
        lines = client.command("a", "LOGIN u1 pw")
        assert len(lines) == 1 and lines[0].startswith(b"a NO [UNAVAILABLE] "), lines
        assert b"REFERRAL" not in lines[0] and b"://" not in lines[0]
        client.assert_usable()
    assert not servers["B"].logins


@pytest.fixture(scope="module")
def shared(start_shared_gatepost, servers):
    return start_shared_gatepost(addresses_of({"A": servers["A"]}), {"u1": "A"},
                                 routing={**STATIC, "referrals": LOOPBACK})


def test_of_a_login_that_was_accepted(shared, servers):
    """RFC 2221, 4.2: the login has succeeded; that the user may go elsewhere is not told, and not
    done."""
    servers["A"].accept = \
        f"$ OK [REFERRAL imap://127.0.0.1:{servers['B'].port}/] hi\r\n".encode()
    with shared.connect() as client:
        lines = client.login()
        assert b"REFERRAL" not in b"".join(lines) and b"imap:" not in b"".join(lines)
        assert client.command("n", "NOOP") == [b"n OK NOOP by A\r\n"]
    assert not servers["B"].connections


def test_to_one_that_is_dead(shared, servers):
    refer(servers, "A", "B")
    servers["B"].die()
    assert home_of(shared, "u1") == "UNAVAILABLE"
    servers["B"].revive()
    assert home_of(shared, "u1") == "B"


def test_to_one_that_is_dead_is_no_failover(start_gatepost, servers):
    """Who was placed by hash and is referred lives there, and nowhere else: the next by rank is not
    tried, which knows nothing of that name."""
    gatepost = start_gatepost(addresses_of({name: servers[name] for name in "AC"}),
                              routing={**STATIC, "referrals": LOOPBACK, "unknown": "hash",
                                       "failover": True})
    user = user_at(gatepost, "A")
    servers["C"].reset()
    refer(servers, "A", "B", user="box@")
    servers["B"].die()
    try:
        assert home_of(gatepost, user) == "UNAVAILABLE"
    finally:
        servers["B"].revive()
    assert not servers["C"].connections
    assert home_of(gatepost, user) == "B"


def test_to_one_that_refuses(shared, servers):
    """What that one says is the answer."""
    refer(servers, "A", "B")
    servers["B"].accept = b"$ NO [EXPIRED] change it\r\n"
    assert home_of(shared, "u1") == "EXPIRED"
    assert home_of(shared, "u1", "wrong") == "AUTHENTICATIONFAILED"


def test_in_the_greeting(shared, servers):
    """Before any login nobody knows whom it is about: not followed."""
    servers["A"].greeting = \
        f"* BYE [REFERRAL imap://127.0.0.1:{servers['B'].port}/] moved\r\n".encode()
    assert home_of(shared, "u1") == "UNAVAILABLE"
    assert not servers["B"].connections
