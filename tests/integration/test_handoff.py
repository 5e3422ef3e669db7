# SPDX-License-Identifier: Apache-2.0
"""From the accepted credentials to the first byte of the splice (CASES.md, F)."""

import pytest

from client import capabilities_of, statuses

LIST = b"IMAP4rev1 ID IDLE"


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, fb1, fb2, directory):
    """FB1 is asked for capabilities and trusted with ID; FB2 is neither."""
    return start_shared_gatepost(
        {"FB1": {"address": fb1.address, "send_id": True, "ask_capability": True},
         "FB2": {"address": fb2.address, "send_id": False, "ask_capability": False}},
        redis=directory.url)


def offer(backend, capability):
    backend.capability = capability
    backend.greeting = b"* OK [CAPABILITY " + capability + b"] hi\r\n"


def test_c73_capabilities_in_the_ok_are_filtered(client, fb1):
    fb1.accept = (b"$ OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN LOGINDISABLED UNAUTHENTICATE "
                  b"LOGIN-REFERRALS IDLE X] hi\r\n")
    assert client.command("a", "LOGIN u1 pw") == [b"a OK [CAPABILITY IMAP4rev1 IDLE X] hi\r\n"]


def test_c74_untagged_capabilities_reach_the_client(client, fb1):
    fb1.accept = b"* CAPABILITY IMAP4rev1 STARTTLS IDLE\r\n$ OK hi\r\n"
    lines = client.command("a", "LOGIN u1 pw")
    assert statuses(lines)[-1] == "a OK"
    carrier = [line for line in lines if b"CAPABILITY" in line]
    assert len(carrier) == 1 and capabilities_of(carrier[0]) == {"IMAP4rev1", "IDLE"}
    assert b"CAPABILITY" not in fb1.connections[0].commands


def test_c75_capabilities_are_fetched(client, fb1):
    fb1.accept = b"$ OK hi\r\n"
    lines = client.command("a", "LOGIN u1 pw")
    assert len(lines) == 1 and lines[0].startswith(b"a OK [CAPABILITY "), lines
    assert capabilities_of(lines[0]) == {"IMAP4rev1", "X-BY-FB1"}
    lines = client.command("b", "CAPABILITY")
    assert lines == [b"* CAPABILITY IMAP4rev1 X-BY-FB1\r\n", b"b OK CAPABILITY by FB1\r\n"]


def test_c75_capabilities_are_not_fetched(client, fb2):
    fb2.accept = b"$ OK hi\r\n"
    assert client.command("a", "LOGIN u2 pw") == [b"a OK hi\r\n"]
    lines = client.command("b", "CAPABILITY")
    assert lines == [b"* CAPABILITY IMAP4rev1 X-BY-FB2\r\n", b"b OK CAPABILITY by FB2\r\n"]
    assert fb2.connections[0].commands.count(b"CAPABILITY") == 1


def test_client_that_asked_before_gets_the_untagged_form(client, fb1):
    """IMAP.md 1.2: it probably ignores the code in the tagged OK."""
    client.command("a", "CAPABILITY")
    lines = client.command("b", "LOGIN u1 pw")
    assert statuses(lines) == ["* CAPABILITY", "b OK"]
    assert capabilities_of(lines[0]) == {"IMAP4rev1", "IDLE", "X"}


def test_c76_what_is_pipelined_behind_the_login_is_the_backends(client, fb1):
    behind = b"b SELECT INBOX\r\nc FETCH 1 FLAGS\r\n"
    client.send(b"a LOGIN u1 pw\r\n" + behind)
    assert statuses(client.read_until("c")) == ["a OK", "b OK", "c OK"]
    received = bytes(fb1.connections[0].received)
    assert received.endswith(behind) and received.count(b"SELECT") == 1
    assert received.index(b"AUTHENTICATE") < received.index(b"SELECT")


def test_c76_much_is_pipelined_behind_the_login(client, fb1):
    """More than anybody buffers: the proxy stops reading, and nothing is lost."""
    behind = b"".join(b"n%d NOOP\r\n" % number for number in range(30_000))
    client.send(b"a LOGIN u1 pw\r\n" + behind[:100_000])
    assert client.read_line().startswith(b"a OK")
    client.send(behind[100_000:])
    for number in range(30_000):
        assert client.read_line().startswith(b"n%d OK" % number)
    assert bytes(fb1.connections[0].received).endswith(behind)


def test_c77_own_commands_before_the_login_are_answered_here(client, fb1):
    client.send(b"a CAPABILITY\r\nb NOOP\r\nc LOGIN u1 pw\r\nd NOOP\r\n")
    lines = client.read_until("d")
    words = statuses(lines)
    assert words[:3] == ["* CAPABILITY", "a OK", "b OK"] and words[-2:] == ["c OK", "d OK"]
    assert b"FB1" in lines[-1] and b"FB1" not in lines[2]


def test_bytes_behind_the_backends_ok_are_the_clients(client, fb1):
    fb1.accept = b"$ OK [CAPABILITY IMAP4rev1] hi\r\n* 3 EXISTS\r\n* 1 RECENT\r\n"
    client.send(b"a LOGIN u1 pw\r\n")
    lines = [client.read_line() for _ in range(3)]
    assert lines == [b"a OK [CAPABILITY IMAP4rev1] hi\r\n", b"* 3 EXISTS\r\n", b"* 1 RECENT\r\n"]


def test_c78_identity_for_a_trusting_backend(proxy, fb1):
    with proxy.connect(source="127.0.0.9") as client:
        client.login()
        port = client.socket.getsockname()[1]
    connection = fb1.connections[0]
    assert connection.commands[:2] == [b"ID", b"AUTHENTICATE"]
    identity, = connection.ids
    assert identity["x-originating-ip"] == "127.0.0.9"
    assert identity["x-originating-port"] == str(port)
    assert identity["x-connected-ip"] == "127.0.0.1"
    assert identity["x-connected-port"] == str(proxy.tls_port)
    assert 0 < len(identity["x-session-id"]) <= 64
    assert 1 <= int(identity["x-proxy-ttl"]) <= 10
    proxy.wait_for_log(f'session={identity["x-session-id"]}')


def test_c78_no_identity_for_others(client, fb2):
    client.login("u2")
    assert not fb2.connections[0].ids


def test_c78_no_identity_without_the_capability(client, fb1):
    offer(fb1, b"IMAP4rev1 SASL-IR AUTH=PLAIN")
    client.login()
    assert not fb1.connections[0].ids


@pytest.mark.parametrize("answer", [b"$ NO go away\r\n", b"$ BAD what\r\n",
                                    b"* ID NIL\r\n$ OK\r\n"])
def test_c78_login_goes_on_whatever_the_answer(client, fb1, answer):
    fb1.id_answer = answer
    client.login()
    assert len(fb1.connections[0].ids) == 1


def test_c78_clients_own_identity_is_not_passed_on(client, fb1):
    """IMAP.md, rule 19: internal keys come from the proxy alone."""
    client.command("i", 'ID ("x-originating-ip" "192.0.2.66" "name" "n")')
    client.login()
    assert fb1.connections[0].ids[0]["x-originating-ip"] == "127.0.0.1"
    assert b"192.0.2.66" not in bytes(fb1.connections[0].received)


def test_c79_backend_without_initial_responses(client, fb1):
    offer(fb1, b"IMAP4rev1 AUTH=PLAIN")
    client.login()
    connection = fb1.connections[0]
    assert fb1.logins[0].form == "PLAIN"
    assert connection.segments[-1][1] == b"AHUxAHB3\r\n"


def test_c79_continuation_without_a_space(client, fb1):
    offer(fb1, b"IMAP4rev1 AUTH=PLAIN")
    fb1.continuation = b"+\r\n"
    client.login()


def test_c81_backend_with_nothing(client, fb1):
    offer(fb1, b"IMAP4rev1")
    fb1.password = rb'a b"c\d'
    client.login("u1", r'"a b\"c\\d"')
    assert fb1.logins[0].form == "LOGIN"
    assert rb'"a b\"c\\d"' in fb1.logins[0].raw


def test_c81_literals_wait_where_they_must(client, fb1):
    offer(fb1, b"IMAP4rev1")
    fb1.password = "pü".encode()
    client.login("u1", '"pü"')
    assert b"+}" not in fb1.logins[0].raw and "{3}\r\npü".encode() in fb1.logins[0].raw
    assert not any(b"{3}\r\np" in data for _, data in fb1.connections[0].segments)


def test_c82_literal_minus_ends_at_4096(client, fb1):
    """A password of 4,096 octets, which is the longest that is taken, and not 7-bit."""
    offer(fb1, b"IMAP4rev1 LITERAL-")
    fb1.password = "ü".encode() * 2048
    client.send(b"a LOGIN u1 {4096+}\r\n" + fb1.password + b"\r\n")
    assert statuses(client.read_until("a")) == ["a OK"]
    assert b"{4096+}" in fb1.logins[0].raw or b"{4096}" in fb1.logins[0].raw


def test_capability_is_asked_for_where_the_greeting_has_none(client, fb1):
    fb1.greeting = b"* OK hi\r\n"
    client.login()
    assert fb1.connections[0].commands[0] == b"CAPABILITY"
    assert fb1.logins[0].form == "PLAIN-IR"


@pytest.mark.parametrize("accept", [b"$ OK\r\n", b"$ ok hi\r\n", b"$ OK [X-UNKNOWN] hi\r\n"])
def test_tagged_ok_in_odd_shapes(client, fb2, accept):
    """IMAP.md, rule 17."""
    fb2.accept = accept
    fb2.session = lambda connection: connection.read_to_end()
    lines = client.command("a", "LOGIN u2 pw")
    assert statuses(lines) == ["a OK"]


def test_backend_that_speaks_byte_by_byte(client, fb1):
    def script(connection):
        send = connection.send
        connection.send = lambda data: [send(bytes([byte])) for byte in data]
        if connection.serve_until_login():
            connection.backend.session(connection)

    fb1.script = script
    lines = client.command("a", "LOGIN u1 pw")
    assert lines == [b"a OK [CAPABILITY IMAP4rev1 IDLE X] hi\r\n"]
    client.assert_usable()


@pytest.mark.parametrize("typed", ["U1", "u1", "u1@example.org", "U1@Example.ORG"])
def test_c83_names_lead_to_one_backend_and_are_presented_as_typed(folding, fb1, typed):
    with folding.connect() as client:
        client.login(typed)
    assert [login.user for login in fb1.logins] == [typed.encode()]


@pytest.mark.parametrize("typed", ["u10", '"u1 "', "u1@other.org", "u"])
def test_c83_other_names_lead_elsewhere(folding, fb1, typed):
    with folding.connect() as client:
        assert client.status("a", f"LOGIN {typed} pw") == "NO"
    assert not fb1.connections


@pytest.fixture(scope="module")
def folding(start_shared_gatepost, fb1):
    return start_shared_gatepost({"FB1": fb1.address}, {"u1@example.org": "FB1"},
                                 routing={"default_domain": "example.org"})


def test_case_is_kept_where_so_configured(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, routing={"user_case": "keep"})
    with gatepost.connect() as client:
        assert client.status("a", "LOGIN U1 pw") == "NO"
        assert client.status("b", "LOGIN u1 pw") == "OK"
