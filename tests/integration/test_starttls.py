# SPDX-License-Identifier: Apache-2.0
"""STARTTLS as clients mean it: what is refused before it, and what is forgotten after it (CASES.md,
E). Those who mean harm are in test_starttls_attacks.py."""

import pytest

from client import FIN, Client, capabilities_of, statuses

RIGHT, WRONG = b"AHUxAHB3", b"AHUxAHdyb25n"


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, fb1, directory):
    """One worker: each learns by itself what backends offer."""
    return start_shared_gatepost({"FB1": fb1.address}, redis=directory.url,
                                 process={"workers": 1})


@pytest.fixture
def clear(proxy):
    """A client of the STARTTLS listener that has read the greeting, without TLS so far."""
    with Client(proxy.starttls_port) as client:
        yield client.greet()


def assert_untouched(directory, fb1):
    assert not directory.lookups() and not fb1.connections


# --- In the clear ---


def test_c03_login_is_disabled_in_the_clear(clear):
    atoms = capabilities_of(clear.greeting)
    assert {"IMAP4rev1", "STARTTLS", "LOGINDISABLED"} <= atoms
    assert not [atom for atom in atoms if atom.upper().startswith("AUTH=")]
    assert "LITERAL+" not in atoms and "LITERAL-" in atoms
    lines = clear.command("a", "CAPABILITY")
    assert statuses(lines) == ["* CAPABILITY", "a OK"]
    assert capabilities_of(lines[0]) == atoms


REFUSED = {
    "LOGIN": (b"LOGIN u1 pw", b"LOGIN u1 wrong", b"LOGIN nobody pw"),
    "quoted": (b'LOGIN "u1" "pw"', b'LOGIN "u1" "wrong"', b'LOGIN "" ""'),
    "literals on their way": (b"LOGIN {2+}\r\nu1 {2+}\r\npw", b"LOGIN {2+}\r\nu1 {5+}\r\nwrong"),
    "PLAIN": (b"AUTHENTICATE PLAIN " + RIGHT, b"AUTHENTICATE PLAIN " + WRONG,
              b"AUTHENTICATE PLAIN =", b"AUTHENTICATE PLAIN !!!!"),
    "no secret yet": (b"AUTHENTICATE PLAIN", b"AUTHENTICATE LOGIN", b"AUTHENTICATE FOO",
                      b"LOGIN {2}", b"LOGIN u1 {2}", b"AUTHENTICATE SCRAM-SHA-256"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_c63_secrets_are_refused_in_the_clear(clear, directory, fb1, form):
    """Whatever the secret is, the bytes are the same; there is no `+`; no one is asked."""
    answers = set()
    for command in REFUSED[form]:
        answers.update(clear.exchange(b"a " + command + b"\r\n"))
    assert len(answers) == 1 and answers.pop().startswith(b"a NO [PRIVACYREQUIRED] "), answers
    assert_untouched(directory, fb1)


def test_c63_refused_secrets_do_not_count_as_bad_commands(clear, directory, fb1):
    for _ in range(35):
        assert statuses(clear.exchange(b"a LOGIN u1 pw\r\n")) == ["a NO"]
    assert_untouched(directory, fb1)


def test_c63_login_works_once_there_is_tls(proxy, clear, fb1):
    assert clear.status("a", "LOGIN u1 pw") == "NO"
    clear.starttls(proxy.ca)
    assert clear.status("b", "LOGIN u1 pw") == "OK"
    assert len(fb1.logins) == 1


def test_other_commands_in_the_clear(clear):
    lines = clear.exchange(b'a NOOP\r\nb ID ("name" "x")\r\nc SELECT INBOX\r\nd NOOP x\r\n')
    assert statuses(lines) == ["a OK", "* ID", "b OK", "c BAD", "d BAD"]
    assert statuses(clear.command("e", "LOGOUT")) == ["* BYE", "e OK"]
    assert clear.read_to_end() == (b"", FIN)


def test_login_timeout_in_the_clear(start_gatepost, fb1):
    """C108 on 143."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, limits={"login_timeout": "1s"})
    with Client(gatepost.starttls_port) as client:
        client.greet()
        client.expect_silence(0.5)
        data, how = client.read_to_end()
    assert data.startswith(b"* BYE [UNAVAILABLE] ") and data.count(b"\r\n") == 1 and how == FIN
    gatepost.wait_for_log("reason=login_timeout")


# --- The change ---


def test_c64_starttls_and_login(proxy, clear, fb1):
    assert clear.starttls(proxy.ca, tag="a") == [b"a OK Begin TLS negotiation now.\r\n"]
    assert "STARTTLS" not in capabilities_of(clear.command("b", "CAPABILITY")[0])
    clear.login()
    assert b"FB1" in clear.command("c", "NOOP")[-1]
    assert (fb1.logins[0].user, fb1.logins[0].password) == (b"u1", b"pw")


def test_c04_the_same_is_offered_as_where_tls_comes_first(proxy, clear, client):
    clear.starttls(proxy.ca)
    lines = clear.command("a", "CAPABILITY")
    assert statuses(lines) == ["* CAPABILITY", "a OK"]
    assert capabilities_of(lines[0]) == capabilities_of(client.greeting)


def test_c04_no_second_greeting(proxy, clear):
    clear.starttls(proxy.ca)
    clear.expect_silence(0.3)
    assert clear.exchange(b"") == []


def test_c67_starttls_within_starttls(proxy, clear):
    clear.starttls(proxy.ca)
    assert statuses(clear.exchange(b"a STARTTLS\r\n")) == ["a BAD"]
    assert clear.status("b", "LOGIN u1 pw") == "OK"


def test_c68_starttls_takes_no_argument(proxy, clear):
    for argument in (b" x", b" ", b' ""', b" {1+}\r\nx"):
        assert statuses(clear.exchange(b"a STARTTLS" + argument + b"\r\n")) == ["a BAD"]
    clear.starttls(proxy.ca, tag="b")
    clear.assert_usable()


def test_c65_starttls_where_tls_came_first(client):
    assert statuses(client.exchange(b"a STARTTLS\r\n")) == ["a BAD"]


def test_pipelined_commands_before_starttls_are_answered_in_order(proxy, clear):
    clear.send(b'a CAPABILITY\r\nb XFOO\r\nc ID NIL\r\nd LOGIN u1 pw\r\n')
    lines = clear.starttls(proxy.ca, tag="e")
    assert statuses(lines) == ["* CAPABILITY", "a OK", "b BAD", "* ID", "c OK", "d NO", "e OK"]
    assert clear.before_tls == b""
    clear.assert_usable()


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_starttls_in_pieces_and_by_version(proxy, clear, ending, version):
    clear.send_bytewise(b"a sTaRtTlS" + ending, pause=0.002)
    assert statuses(clear.read_until("a")) == ["a OK"]
    clear.start_tls(proxy.ca, versions=version)
    assert clear.tls.version == f"TLSv{version}"
    assert clear.status("b", "LOGIN u1 pw") == "OK"


def test_session_comes_back_between_both_kinds_of_tls(proxy, clear, client):
    """A ticket of 993 is good on 143."""
    client.assert_usable()
    clear.starttls(proxy.ca, ticket=client.tls.ticket)
    assert clear.tls.resumed


# --- What is forgotten ---


def test_c72_identity_in_the_clear_is_forgotten(proxy, clear, fb1):
    """Nobody knows who said it. Also x-proxy-ttl, which anybody may say."""
    lines = clear.exchange(b'a ID ("name" "evil-7d1f" "x-proxy-ttl" "1")\r\n')
    assert statuses(lines) == ["* ID", "a OK"]
    clear.starttls(proxy.ca)
    clear.login()
    told = fb1.connections[0].ids[0]
    assert set(told) == {"x-originating-ip", "x-originating-port", "x-connected-ip",
                         "x-connected-port", "x-session-id", "x-proxy-ttl"}
    assert told["x-proxy-ttl"] == "4"
    clear.command("o", "LOGOUT")
    clear.read_to_end()
    proxy.wait_for_log("user=u1")
    assert "evil-7d1f" not in proxy.log()


def test_c72_identity_within_tls_is_kept(proxy, clear, fb1):
    clear.exchange(b'a ID ("name" "evil")\r\n')
    clear.starttls(proxy.ca)
    clear.exchange(b'b ID ("name" "good")\r\n')
    clear.login()
    assert fb1.connections[0].ids[0]["name"] == "good"


def test_c72_even_of_whom_we_trust(start_gatepost, fb1):
    """What a trusted webmail says of its client in the clear is forgotten, too."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, listeners={
        "webmail": {"tls": "starttls", "trusted": ["127.0.0.0/8"]}})
    for said_in_clear, expected in ((True, "127.0.0.1"), (False, "192.0.2.7")):
        with gatepost.connect_to("webmail", tls=False) as client:
            identity = b'a ID ("x-originating-ip" "192.0.2.7" "x-session-id" "s-7")\r\n'
            if said_in_clear:
                client.exchange(identity)
            client.starttls(gatepost.ca)
            if not said_in_clear:
                client.exchange(identity)
            client.login()
        assert fb1.connections[-1].ids[0]["x-originating-ip"] == expected


def test_counters_begin_anew(proxy, clear):
    """The dialogue before TLS is over with all it counted: 9 bad commands, and 9 more."""
    assert statuses(clear.exchange(b"a XFOO\r\n" * 9)) == ["a BAD"] * 9
    clear.starttls(proxy.ca)
    assert statuses(clear.exchange(b"a XFOO\r\n" * 9)) == ["a BAD"] * 9
