# SPDX-License-Identifier: Apache-2.0
"""Whether a backend serves, by checks and by logins: what marks it down, what does not, and what
becomes of logins meanwhile (docs/routing.md)."""

import time

import pytest

import proxy_protocol
from backend import DEFAULT
from backend_tls import over_tls, totals
from scripted_pool import answer_to, clients_from, home_of
from servers import black_hole, wait_until

STATIC = {"source": "static"}
USERS = {"u1": "FB1", "u2": "FB2"}
USERS_OF_ONE = {"u1": "FB1"}
OFTEN = {"interval": "20ms", "rise": 2, "fall": 1}
LOGIN = {"check": "login", "user": "probe", "password": "pw"}


def downs(gatepost):
    return [line["backend"] for line in gatepost.events("backend is down")]


def ups(gatepost):
    return [line["backend"] for line in gatepost.events("backend is up")]


def assert_at_once(gatepost, user="u1"):
    """Logins are answered without asking the backend, which is given 30 s."""
    with gatepost.connect(tls=False) as client:
        for _ in range(3):
            assert answer_to(client, user) == "UNAVAILABLE"


# --- Checks ---


def refuse_logins(fb):
    fb.password = b"other"


def be_silent(fb):
    fb.greeting = None


def never_answer_a_login(fb):
    def script(connection):
        connection.send(fb.greeting)
        connection.read_to_end()

    fb.script = script


def hang_up(fb):
    fb.script = lambda connection: connection.close()


def take_no_tls(fb):
    fb.tls = "none"
    fb.script = lambda connection: (connection.send(b"* OK no TLS\r\n"), connection.read_to_end())


def die(fb):
    fb.die()


def cure(fb):
    """Of any of these."""
    if not fb.alive:
        fb.revive()
    fb.script, fb.greeting, fb.password, fb.tls = None, DEFAULT, b"pw", "implicit"


FINDS = [("connect", die, True), ("connect", take_no_tls, True), ("connect", be_silent, False),
         ("greeting", die, True), ("greeting", be_silent, True), ("greeting", hang_up, True),
         ("greeting", take_no_tls, True), ("greeting", refuse_logins, False),
         ("login", die, True), ("login", refuse_logins, True),
         ("login", never_answer_a_login, True)]


@pytest.mark.parametrize("check,ailment,found", FINDS)
def test_what_a_check_finds(start_gatepost, certificates, fb1, check, ailment, found):
    """What hangs is down like what refuses; while it is, logins are answered at once; and it comes
    up again when it is well. What a check does not look at, it does not find."""
    fb1.tls, fb1.certificate = "implicit", certificates.backend
    gatepost = start_gatepost({"FB1": over_tls(fb1, certificates)}, USERS_OF_ONE, routing=STATIC,
                              health={**OFTEN, **LOGIN, "check": check} if check == "login" else
                              {**OFTEN, "check": check})
    wait_until(lambda: len(fb1.connections) >= 2, what="checks")
    assert home_of(gatepost, "u1") == "FB1" and not downs(gatepost)
    ailment(fb1)
    if found:
        wait_until(lambda: downs(gatepost) == ["FB1"], what="down")
        assert_at_once(gatepost)
    else:
        checks = len(fb1.connections)
        wait_until(lambda: len(fb1.connections) >= checks + 6, what="checks")
        assert not downs(gatepost)
    cure(fb1)
    wait_until(lambda: home_of(gatepost, "u1") == "FB1", what="service again")
    wait_until(lambda: ups(gatepost) == ["FB1"] * found, what="up")
    counters = totals(gatepost)
    assert counters["backend_downs_total"] == counters["backend_ups_total"] == found
    assert counters["health_check_failures_total"] >= OFTEN["fall"] * found


def test_a_black_hole_is_found(start_gatepost, fb1):
    """One that takes no connection at all; the others are checked meanwhile."""
    with black_hole() as address:
        gatepost = start_gatepost({"FB1": fb1.address, "hole": address},
                                  {"u1": "FB1", "u2": "hole"},
                                  health={**OFTEN, "check": "connect"})
        wait_until(lambda: downs(gatepost) == ["hole"], what="down")
        assert_at_once(gatepost, "u2")
        assert home_of(gatepost, "u1") == "FB1" and len(fb1.connections) > 10


def test_a_hanging_backend_is_logged_in_to_no_more(start_gatepost, fb1, fb2):
    """Who had begun before it was down waits for login_timeout, but nobody after."""
    be_silent(fb1)
    gatepost = start_gatepost({"FB1": fb1.address, "FB2": fb2.address}, USERS,
                              health={**OFTEN, "check": "greeting"})
    with gatepost.connect(tls=False) as early:
        early.send(b"a LOGIN u1 pw\r\n")
        wait_until(lambda: downs(gatepost) == ["FB1"], what="down")
        assert_at_once(gatepost)
        assert home_of(gatepost, "u2") == "FB2"
        early.expect_silence(0.1)


@pytest.mark.parametrize("failures,found", [(2, False), (3, True)])
def test_fall(start_gatepost, fb1, failures, found):
    """So many checks in a row: two, one that passes, two and so on are not three."""
    count = iter(range(10 ** 6))

    def script(connection):
        if next(count) % (failures + 1) < failures:
            connection.close()
        else:
            connection.serve_until_login()

    fb1.script = script
    gatepost = start_gatepost({"FB1": fb1.address}, USERS_OF_ONE,
                              health={"check": "greeting", "interval": "10ms", "fall": 3})
    wait_until(lambda: len(fb1.connections) >= 5 * (failures + 1), what="checks")
    assert bool(downs(gatepost)) == found


def test_rise(start_gatepost, fb1):
    """Nobody is sent there until so many in a row have passed."""
    fb1.die()
    gatepost = start_gatepost({"FB1": fb1.address}, USERS_OF_ONE,
                              health={"check": "greeting", "interval": "20ms", "fall": 1,
                                      "rise": 4})
    wait_until(lambda: downs(gatepost), what="down")
    fb1.revive()
    wait_until(lambda: ups(gatepost), what="up")
    assert len(fb1.connections) >= 4
    assert home_of(gatepost, "u1") == "FB1"


def test_rise_is_in_a_row(start_gatepost, fb1):
    """Two that pass, one that fails, and so on are never three."""
    count = iter(range(10 ** 6))
    fb1.script = lambda connection: connection.close() if next(count) % 3 == 0 else \
        connection.serve_until_login()
    gatepost = start_gatepost({"FB1": fb1.address}, USERS_OF_ONE,
                              health={"check": "greeting", "interval": "10ms", "fall": 1,
                                      "rise": 3})
    wait_until(lambda: len(fb1.connections) >= 15, what="checks")
    assert totals(gatepost)["backend_ups_total"] == 0


def test_checks_are_spread_and_bounded(start_gatepost, fb1):
    """200 backends at one address that hang: never more than 64 checks at a time."""
    be_silent(fb1)
    gatepost = start_gatepost({f"mail{number}": fb1.address for number in range(200)},
                              {"u1": "mail1"}, health={"check": "greeting", "interval": "50ms"})
    wait_until(lambda: len(fb1.connections) > 64, what="checks")
    open_now = sum(not connection.ended for connection in fb1.connections)
    assert 0 < open_now <= 64 + 8
    assert gatepost.process.poll() is None


def test_a_check_hides_no_password(start_gatepost, fb1):
    """It logs in as configured, and in the log its password is not."""
    gatepost = start_gatepost({"FB1": fb1.address}, USERS_OF_ONE,
                              health={**OFTEN, "check": "login", "user": "probe@example.org",
                                      "password": "hush hush"})
    wait_until(lambda: downs(gatepost), what="down")
    assert fb1.logins[0].user == b"probe@example.org" and fb1.logins[0].password == b"hush hush"
    assert "hush hush" not in gatepost.log()


# --- Logins ---


@pytest.fixture
def by_logins(start_gatepost, fb1, fb2):
    """Starts one that hears of FB1 by logins alone, and needs three clients."""
    def start(**health):
        return start_gatepost({"FB1": {"address": fb1.address, "login_timeout": "300ms"},
                               "FB2": fb2.address}, USERS,
                              health={"check": "none", "witnesses": 3, **health},
                              listeners={"behind": {"proxy_protocol": True, "tls": "none",
                                                    "allow_plaintext": True,
                                                    "trusted": ["127.0.0.1"]}})
    return start


def fail_from(gatepost, *sources):
    for source in sources:
        assert home_of(gatepost, "u1", source=source) == "UNAVAILABLE"


def test_one_client_marks_nobody_down(by_logins, fb1):
    """However often it tries: each login goes to the backend."""
    hang_up(fb1)
    gatepost = by_logins()
    fail_from(gatepost, *["127.0.0.9"] * 12)
    with gatepost.connect(tls=False) as client:
        for _ in range(4):
            assert answer_to(client, "u1") == "UNAVAILABLE"
    assert len(fb1.connections) == 16
    assert totals(gatepost)["backend_downs_total"] == 0


@pytest.mark.parametrize("ailment", [hang_up, be_silent, die])
def test_several_clients_mark_it_down(by_logins, fb1, ailment):
    """Exactly so many as are configured; from then on nobody waits."""
    ailment(fb1)
    gatepost = by_logins()
    sources = clients_from(3)
    fail_from(gatepost, *sources[:2], *sources[:2])
    assert not downs(gatepost)
    fail_from(gatepost, sources[2])
    wait_until(lambda: downs(gatepost) == ["FB1"], what="down")
    connections = len(fb1.connections)
    fail_from(gatepost, *clients_from(5))
    assert len(fb1.connections) == connections
    assert home_of(gatepost, "u2") == "FB2"
    counters = totals(gatepost)
    assert counters["backend_downs_total"] == 1 and counters["backend_down_logins_total"] == 5


def test_clients_behind_a_balancer(by_logins, fb1):
    """They are told apart by the PROXY header; an IPv6 network is one client."""
    hang_up(fb1)
    gatepost = by_logins()

    def fail_as(address):
        destination = "2001:db8::99" if ":" in address else "192.0.2.99"
        header = proxy_protocol.version2((address, 40000), (destination, 993))
        with gatepost.connect_to("behind", tls=False, first=header) as client:
            assert answer_to(client, "u1") == "UNAVAILABLE"

    for address in ("2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:2:ffff::3", "192.0.2.7"):
        fail_as(address)
    assert not downs(gatepost)
    fail_as("2001:db8:1:3::1")
    wait_until(lambda: downs(gatepost) == ["FB1"], what="down")


def test_a_login_between_clears_it(by_logins, fb1):
    """An answer counts, also one that refuses the password."""
    gatepost = by_logins()
    for first, password, answer in ((20, "pw", "FB1"), (30, "wrong", "AUTHENTICATIONFAILED")):
        hang_up(fb1)
        fail_from(gatepost, *clients_from(2, first))
        fb1.script = None
        assert home_of(gatepost, "u1", password, source="127.0.0.3") == answer
    hang_up(fb1)
    fail_from(gatepost, *clients_from(2, 40))
    assert totals(gatepost)["backend_downs_total"] == 0


def test_users_cannot_mark_it_down(by_logins, fb1):
    """Refused passwords and logins that clients give up are no failures of the backend."""
    gatepost = by_logins()
    for source in clients_from(6):
        assert home_of(gatepost, "u1", "wrong", source=source) == "AUTHENTICATIONFAILED"
    never_answer_a_login(fb1)
    for source in clients_from(6):
        with gatepost.connect(tls=False, source=source) as client:
            connections = len(fb1.connections)
            client.send(b"a LOGIN u1 pw\r\n")
            fb1.wait_for_connection(connections + 1)
    time.sleep(0.4)
    assert totals(gatepost)["backend_downs_total"] == 0


def test_no_witnesses(by_logins, fb1):
    hang_up(fb1)
    gatepost = by_logins(witnesses=0)
    fail_from(gatepost, *clients_from(20))
    assert len(fb1.connections) == 20
    assert totals(gatepost)["backend_downs_total"] == 0


def test_checks_bring_it_up_again(by_logins, fb1):
    """It answers checks while logins hang: down by these, up by those."""
    fb1.script = never_to_users
    gatepost = by_logins(check="greeting", interval="300ms", rise=2)
    fail_from(gatepost, *clients_from(3))
    wait_until(lambda: downs(gatepost) == ["FB1"], what="down")
    fb1.script = None
    wait_until(lambda: ups(gatepost) == ["FB1"], what="up")
    assert home_of(gatepost, "u1") == "FB1"


def never_to_users(connection):
    """Greets, and answers all but logins."""
    connection.send(connection.backend.greeting)
    while True:
        tag, command, _ = connection.read_command()
        if command in (b"LOGIN", b"AUTHENTICATE"):
            connection.read_to_end()
            return
        if command == b"LOGOUT":
            connection.send(b"* BYE\r\n" + tag + b" OK\r\n")
            return
        connection.answer(b"* CAPABILITY " + connection.capability + b"\r\n$ OK\r\n", tag)


def test_sessions_outlive_a_backend_that_is_down(start_gatepost, fb1):
    """Down says that nobody is sent there; who is there stays."""
    gatepost = start_gatepost({"FB1": fb1.address}, USERS_OF_ONE,
                              health={**OFTEN, "check": "greeting"})
    with gatepost.connect() as client:
        client.login()
        hang_up(fb1)
        wait_until(lambda: downs(gatepost), what="down")
        client.assert_usable()
        fb1.script = None
        wait_until(lambda: ups(gatepost), what="up")
        client.assert_usable()
