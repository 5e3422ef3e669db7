# SPDX-License-Identifier: Apache-2.0
"""LOGIN in every form (CASES.md, C)."""

import itertools

import pytest

from client import Ended, statuses

LONG_USER = "n" * 255
NAMES = ["u1", LONG_USER, "é", "NIL", "u]", 'q"u', "a b"]


@pytest.fixture(autouse=True)
def known_users(directory):
    for name in NAMES:
        directory.values[f"gatepost:route:{name.lower()}"] = "FB1"


@pytest.fixture
def any_password(fb1):
    fb1.password = None


def credentials_at(fb1):
    assert len(fb1.logins) == 1, fb1.logins
    return fb1.logins[0].user, fb1.logins[0].password


def assert_untouched(directory, *backends):
    assert not directory.lookups()
    assert not any(backend.connections for backend in backends)


def test_c28_atoms(client, fb1):
    assert client.status("a", "LOGIN u1 pw") == "OK"
    assert credentials_at(fb1) == (b"u1", b"pw")


def test_c29_quoted_with_escapes(client, fb1, any_password):
    assert client.status("a", r'LOGIN "u1" "p\"w\\x"') == "OK"
    assert credentials_at(fb1) == (b"u1", rb'p"w\x')


def test_c30_literals_wait(client, fb1):
    client.send(b"a LOGIN {2}\r\n")
    first = client.read_line()
    client.send(b"u1 {2}\r\n")
    second = client.read_line()
    client.send(b"pw\r\n")
    for line in (first, second):
        assert line.startswith(b"+ ") and line.endswith(b"\r\n")
    assert statuses(client.read_until("a")) == ["a OK"]
    assert credentials_at(fb1) == (b"u1", b"pw")


def test_c31_literals_that_do_not_wait(client, fb1):
    client.send(b"a LOGIN {2+}\r\nu1 {2+}\r\npw\r\n")
    assert statuses(client.read_until("a")) == ["a OK"]
    assert credentials_at(fb1) == (b"u1", b"pw")


FORMS = {"atom": b"%s", "quoted": b'"%s"', "literal": b"{%d+}\r\n%s"}


@pytest.mark.parametrize("user_form,password_form", itertools.product(FORMS, FORMS))
def test_c32_all_combinations(client, fb1, user_form, password_form):
    user, password = (FORMS[form] % ((2, word) if form == "literal" else word)
                      for form, word in ((user_form, b"u1"), (password_form, b"pw")))
    assert client.status("a", b"LOGIN " + user + b" " + password) == "OK"
    assert credentials_at(fb1) == (b"u1", b"pw")


def test_c33_every_byte_in_a_record_of_its_own(client, fb1):
    client.send_bytewise(b"a LOGIN {2}\r\n", pause=0.02)
    assert client.read_line().startswith(b"+ ")
    client.send_bytewise(b"u1 {2}\r\n", pause=0.02)
    assert client.read_line().startswith(b"+ ")
    client.send_bytewise(b"pw\r\n", pause=0.02)
    assert statuses(client.read_until("a")) == ["a OK"]
    assert credentials_at(fb1) == (b"u1", b"pw")


def test_c34_literal_of_4096(client, fb1):
    lines = client.exchange(b"a LOGIN u1 {4096+}\r\n" + b"p" * 4096 + b"\r\n")
    assert statuses(lines) == ["a NO"]
    assert credentials_at(fb1) == (b"u1", b"p" * 4096)


def test_c34_literal_of_4097(client, directory, fb1):
    client.send(b"a LOGIN u1 {4097+}\r\n" + b"p" * 4097 + b"\r\nz NOOP\r\n")
    try:
        lines = client.read_until("z")
    except Ended as end:
        assert end.received.startswith(b"* BYE [TOOBIG]"), end.received
    else:
        assert statuses(lines) in (["a NO", "z OK"], ["a BAD", "z OK"])
    assert_untouched(directory, fb1)


def test_c35_announced_megabyte(client, directory, fb1):
    assert statuses(client.exchange(b"a LOGIN u1 {1000000}\r\n")) in (["a NO"], ["a BAD"])
    assert_untouched(directory, fb1)


@pytest.mark.parametrize("size", ["{-1}", "{}", "{1", "{ 1}", "{1 }", "{0x2}", "{+}", "{1++}",
                                  "{18446744073709551617}", "{99999999999999999999+}"])
def test_c36_sizes_that_are_none(client, directory, fb1, size):
    client.send(b"a LOGIN u1 " + size.encode() + b"\r\nz NOOP\r\n")
    try:
        lines = client.read_until("z")
    except Ended as end:
        assert size.startswith("{9") and statuses(end.received.splitlines()) in (
            ["a BAD", "* BYE"], ["* BYE"]), end.received
    else:
        assert statuses(lines) == ["a BAD", "z OK"] or (
            size.startswith("{184") and statuses(lines) == ["a NO", "z OK"])
    assert_untouched(directory, fb1)


@pytest.mark.parametrize("arguments", [b"", b" u1", b" u1 pw x"])
def test_c37_number_of_arguments(client, directory, arguments):
    assert statuses(client.exchange(b"a LOGIN" + arguments + b"\r\n")) == ["a BAD"]
    assert not directory.lookups()


@pytest.mark.parametrize("arguments", [b"(u1) pw", b"u1 (pw)"])
def test_c38_parentheses(client, directory, arguments):
    assert statuses(client.exchange(b"a LOGIN " + arguments + b"\r\n")) == ["a BAD"]
    assert not directory.lookups()


def test_c39_eight_bits_in_an_atom(client, fb1, any_password):
    lines = client.command("a", b"LOGIN u\xc3\xa9 pw")
    assert statuses(lines) in (["a BAD"], ["a NO"], ["a OK"])
    assert all(login.user == b"u\xc3\xa9" for login in fb1.logins)
    client.assert_usable()


def test_c40_quoted_string_across_lines(client):
    client.send(b'a LOGIN "u1 pw\r\nb NOOP\r\n')
    assert statuses(client.read_until("b")) == ["a BAD", "b OK"]


def test_c41_illegal_escape_is_the_same_in_both_arguments(proxy, fb1):
    answers = []
    for arguments in (rb'"u\1" pw', rb'u1 "p\w"'):
        with proxy.connect() as client:
            lines = client.command("a", b"LOGIN " + arguments)
            answers += statuses(lines)
            client.assert_usable()
    assert answers in (["a BAD", "a BAD"], ["a OK", "a OK"])
    assert all((login.user, login.password) == (b"u1", b"pw") for login in fb1.logins)


@pytest.mark.parametrize("arguments", [b'"" pw', b"{0+}\r\n pw"])
def test_c42_empty_user(client, directory, fb1, arguments):
    assert statuses(client.exchange(b"a LOGIN " + arguments + b"\r\n")) in (["a NO"], ["a BAD"])
    assert_untouched(directory, fb1)


def test_c42_empty_user_by_waiting_literal(client, directory, fb1):
    client.send(b"a LOGIN {0}\r\n")
    assert client.read_line().startswith(b"+ ")
    assert statuses(client.exchange(b" pw\r\n")) in (["a NO"], ["a BAD"])
    assert_untouched(directory, fb1)


def test_c42_empty_password(client, fb1):
    assert statuses(client.exchange(b'a LOGIN u1 ""\r\n')) in (["a NO"], ["a BAD"])
    assert not fb1.connections or credentials_at(fb1) == (b"u1", b"")


def test_c43_no_space_behind_a_literal(client, directory):
    lines = client.exchange(b"a LOGIN {2+}\r\nu1pw\r\n")
    assert statuses(lines) == ["a BAD"]
    assert not directory.lookups()


@pytest.mark.parametrize("arguments", [b'"\xc3\xa9" "\xc3\xbc"',
                                       b"{2+}\r\n\xc3\xa9 {2+}\r\n\xc3\xbc"])
@pytest.mark.parametrize("capability", [b"IMAP4rev1 SASL-IR AUTH=PLAIN", b"IMAP4rev1 AUTH=PLAIN",
                                        b"IMAP4rev1 LITERAL+", b"IMAP4rev1"])
def test_c44_utf8(client, fb1, any_password, arguments, capability):
    fb1.capability = capability
    fb1.greeting = b"* OK [CAPABILITY " + capability + b"] hi\r\n"
    assert client.status("a", b"LOGIN " + arguments) == "OK"
    assert credentials_at(fb1) == (b"\xc3\xa9", b"\xc3\xbc")
    assert b'"\xc3' not in fb1.logins[0].raw


@pytest.mark.parametrize("way", ["LOGIN", "PLAIN"])
def test_c45_255_octets(client, fb1, any_password, way):
    password = "w" * 255
    if way == "LOGIN":
        assert client.status("a", f"LOGIN {LONG_USER} {password}") == "OK"
    else:
        import base64
        message = base64.b64encode(f"\0{LONG_USER}\0{password}".encode()).decode()
        assert client.status("a", f"AUTHENTICATE PLAIN {message}") == "OK"
    assert credentials_at(fb1) == (LONG_USER.encode(), password.encode())


@pytest.mark.parametrize("length", [256, 1024])
def test_c45_longer_user(client, directory, fb1, length):
    name = b"n" * length
    assert statuses(client.exchange(b"a LOGIN " + name + b" pw\r\n")) in (["a NO"], ["a BAD"])
    assert_untouched(directory, fb1)


@pytest.mark.parametrize("arguments", [b"NIL pw", b"u] pw", rb'"q\"u" pw', b'"a b" pw'])
def test_unusual_names_are_names(client, fb1, arguments):
    assert client.status("a", b"LOGIN " + arguments) == "OK"
    assert fb1.logins[0].user in (b"NIL", b"u]", b'q"u', b"a b")


@pytest.mark.parametrize("arguments", [b"{3+}\r\nu\x001 pw", b"u1 {3+}\r\np\x00w",
                                       b"u1 {3+}\r\np\nw", b"{3+}\r\nu\r1 pw", b"{3+}\r\nu\x7f1 pw",
                                       b'u1 "p\x01w"'])
def test_control_characters_in_credentials(client, directory, fb1, arguments):
    assert statuses(client.exchange(b"a LOGIN " + arguments + b"\r\n")) in (["a NO"], ["a BAD"])
    assert_untouched(directory, fb1)


def test_failed_then_good_login_on_one_connection(client, fb1, fb2):
    """IMAP.md, rule 13."""
    lines = client.command("a", "LOGIN u1 wrong")
    assert lines == [b"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"]
    client.assert_usable()
    assert client.status("b", "LOGIN u2 pw") == "OK"
    assert [login.user for login in fb2.logins] == [b"u2"]
    assert fb1.wait_for_end(fb1.connections[0])


def test_second_login_in_the_same_record_goes_its_own_way(client, fb1, fb2):
    client.send(b"a LOGIN u1 wrong\r\nb LOGIN u2 pw\r\nc NOOP\r\n")
    lines = client.read_until("c")
    assert statuses(lines) == ["a NO", "b OK", "c OK"]
    assert b"FB2" in lines[2]
    assert [(login.user, login.password) for login in fb1.logins] == [(b"u1", b"wrong")]
    assert bytes(fb1.connections[0].received).count(b"u2") == 0
    assert [(login.user, login.password) for login in fb2.logins] == [(b"u2", b"pw")]
