# SPDX-License-Identifier: Apache-2.0
"""The directory: what Redis says, and what when it says nothing of use (CASES.md, H)."""

import contextlib
import threading
import time

import pytest

from client import statuses
from fake_redis import CLOSE, is_hold, is_lookup
from redis_tables import bulk
from servers import RedisServer, wait_until

WRONG = b"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"


def unavailable(client, user="u1"):
    lines = client.command("a", f"LOGIN {user} pw")
    assert len(lines) == 1 and lines[0].startswith(b"a NO [UNAVAILABLE] "), lines


def answer_lookups(answer):
    """A handler for a fake Redis: such bytes for each lookup, else the usual."""
    return lambda words: answer if is_lookup(words) else None


@pytest.fixture(scope="module")
def impatient(start_shared_gatepost, fb1, fb2, directory):
    """A gatepost that waits 300 ms for Redis, with one worker and so one connection to it."""
    return start_shared_gatepost({"FB1": fb1.address, "FB2": fb2.address},
                                 redis={"url": directory.url, "timeout": "300ms"},
                                 process={"workers": 1})


@pytest.fixture
def client(impatient):
    with impatient.connect() as connected:
        yield connected


def test_lookup_is_two_reads_with_the_name_as_data(client, directory):
    """The hold and the route, in this order and together: nothing is waited for between them."""
    directory.handler = lambda words: b"" if is_hold(words) else None
    unavailable(client, '"x y{*}%s"')
    assert [words for words in directory.commands if is_hold(words) or is_lookup(words)] == [
        [b"GET", b"gatepost:hold:x y{*}%s"], [b"GET", b"gatepost:route:x y{*}%s"]]


def test_c99_unknown_user_looks_like_a_wrong_password(client, fb1):
    assert client.command("a", "LOGIN nobody pw") == [WRONG]
    assert client.command("a", "LOGIN u1 wrong") == [WRONG]
    client.login()


NONSENSE = {
    "array for string": b"*1\r\n$3\r\nFB1\r\n",
    "integer": b":1\r\n",
    "nested array": b"*1\r\n*1\r\n$3\r\nFB1\r\n",
    "no such backend": bulk("host"),
    "port too large": bulk("imap://127.0.0.1:99999"),
    "port 0": bulk("imap://127.0.0.1:0"),
    "bare host and port": bulk("host:99999"),
    "bare IPv6": bulk("[::1]:143"),
    "megabyte": bulk("x" * 1_000_000),
    "two megabytes": bulk("x" * 2_000_000),
    "array of 100,000": b"*100000\r\n" + b":1\r\n" * 100_000,
    "line break": bulk("a\r\nb:143"),
    "line break in URL": bulk("imap://127.0.0.1\r\n:143"),
    "empty": bulk(""),
    "NUL": bulk(b"FB1\0x"),
    "spaces": bulk("FB1 "),
    "URL with user": bulk("imap://u@127.0.0.1:143"),
    "other scheme": bulk("http://127.0.0.1:143"),
    "not RESP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "huge string announced": b"$2147483647\r\nx",
    "huge array announced": b"*1073741824\r\n",
    "negative length": b"$-5\r\n",
}


@pytest.mark.parametrize("name", NONSENSE)
def test_c100_nonsense(impatient, client, directory, fb1, name):
    directory.handler = answer_lookups(NONSENSE[name])
    unavailable(client)
    assert not fb1.connections
    directory.handler = None
    wait_until(lambda: client.command("b", "LOGIN u1 pw")[-1].startswith(b"b OK"), what="login")
    assert impatient.process.poll() is None


@pytest.mark.parametrize("cut", [0, 1, 4, 5])
def test_c100_half_a_reply_then_the_end(client, directory, fb1, cut):
    whole = bulk("FB1")

    def handler(words):
        if not is_lookup(words):
            return None
        directory.handler = answer_lookups(CLOSE)
        return whole[:cut]

    directory.handler = handler
    thread = threading.Timer(0.05, directory.drop_connections)
    thread.start()
    unavailable(client)
    thread.join()
    assert not fb1.connections


def test_c100_two_replies(client, directory, fb1):
    """The second answers nobody: the connection is out of step and must not be believed again."""
    directory.values["gatepost:route:u3"] = "FB1"
    twice = bulk("FB2") + bulk("FB2")
    directory.handler = lambda words: twice if words[-1] == b"gatepost:route:u4" else None
    client.command("a", "LOGIN u4 wrong")
    directory.handler = None

    def login():
        lines = client.command("b", "LOGIN u3 pw")
        if lines[-1].startswith(b"b NO [UNAVAILABLE]"):
            return False
        assert lines[-1].startswith(b"b OK"), lines
        return True

    wait_until(login, what="login")
    assert b"FB1" in client.command("c", "NOOP")[-1]


@pytest.mark.parametrize("form", ["FB1", "imap://127.0.0.1:{port}", "imap://localhost:{port}",
                                  "IMAP://127.0.0.1:{port}/"])
def test_c100_valid_forms(client, directory, fb1, form):
    directory.handler = answer_lookups(bulk(form.format(port=fb1.port)))
    client.login()
    assert b"FB1" in client.command("c", "NOOP")[-1]


@pytest.mark.parametrize("error", ["LOADING Redis is loading the dataset in memory",
                                   "NOAUTH Authentication required.", "MOVED 1 127.0.0.1:1",
                                   "CLUSTERDOWN The cluster is down", "WRONGTYPE Operation against",
                                   "ERR unknown command"])
def test_c102_errors(client, directory, fb1, error):
    directory.handler = answer_lookups(f"-{error}\r\n".encode())
    unavailable(client)
    assert not fb1.connections
    directory.handler = None
    wait_until(lambda: client.command("b", "LOGIN u1 pw")[-1].startswith(b"b OK"), what="login")


def test_silent_redis_is_given_up_in_time(client, directory):
    directory.handler = answer_lookups(b"")
    started = time.monotonic()
    unavailable(client)
    assert 0.2 < time.monotonic() - started < 1.5
    directory.handler = None
    wait_until(lambda: client.command("b", "LOGIN u1 pw")[-1].startswith(b"b OK"), what="login")


def test_late_answer_is_not_given_to_another(client, impatient, directory):
    """The reply that comes after its time belongs to nobody."""
    late = threading.Event()

    def handler(words):
        if is_lookup(words) and words[1].endswith(b":u2") and not late.is_set():
            late.set()
            time.sleep(0.5)
            return bulk("FB2")
        return None

    directory.handler = handler
    unavailable(client, "u2")
    with impatient.connect() as other:
        def login():
            return other.command("b", "LOGIN u1 pw")[-1].startswith(b"b OK")

        wait_until(login, what="login of u1")
        assert b"FB1" in other.command("c", "NOOP")[-1]


def test_client_that_leaves_while_redis_is_asked(impatient, directory, client):
    """The question is cancelled; the reply in flight answers nobody, and not the next one."""
    release = threading.Event()

    def handler(words):
        if is_lookup(words) and words[1].endswith(b":u2"):
            release.wait(0.2)
        return None

    directory.handler = handler
    leaving = impatient.connect(tls=False)
    leaving.send(b"a LOGIN u2 pw\r\n")
    wait_until(directory.lookups, what="lookup")
    leaving.reset()
    time.sleep(0.05)
    client.login()
    assert b"FB1" in client.command("c", "NOOP")[-1]


# --- A real one ---


@pytest.fixture
def own_redis():
    server = RedisServer()
    server.route("u1", "FB1")
    yield server
    server.remove()


def test_c101_redis_stops_and_comes_back(start_gatepost, own_redis, fb1):
    """Who was never asked for is told to try again later; who is there stays."""
    gatepost = start_gatepost({"FB1": fb1.address}, redis=own_redis.url)
    with gatepost.connect() as spliced, gatepost.connect() as client:
        spliced.login()
        own_redis.stop()
        started = time.monotonic()
        unavailable(client, "u2")
        assert time.monotonic() - started < 1.5
        spliced.assert_usable()
        own_redis.start()
        own_redis.route("u1", "FB1")
        own_redis.route("u2", "FB1")
        wait_until(lambda: client.command("b", "LOGIN u2 pw")[-1].startswith(b"b OK"), 15, "login")
        spliced.assert_usable()


def test_c101_redis_that_is_not_there_at_the_start(start_gatepost, own_redis, fb1):
    own_redis.stop()
    gatepost = start_gatepost({"FB1": fb1.address}, redis=own_redis.url)
    with gatepost.connect() as client:
        unavailable(client)
        own_redis.start()
        own_redis.route("u1", "FB1")
        wait_until(lambda: client.command("b", "LOGIN u1 pw")[-1].startswith(b"b OK"), 15, "login")


def test_c101_waiting_logins_do_not_stampede(start_gatepost, fake_redis, fb1):
    """200 logins wait while Redis is silent and its connections break: two connections are made,
    not one for each login, and every client is answered."""
    users = [f"n{number}" for number in range(200)]
    fake_redis.values = {f"gatepost:route:{user}": "FB1" for user in users}
    gatepost = start_gatepost({"FB1": fb1.address},
                              redis={"url": fake_redis.url, "timeout": "1s"})
    fake_redis.settle()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gatepost.connect(tls=False)) for _ in users]
        fake_redis.handler = answer_lookups(b"")
        before = fake_redis.connection_count
        for client, user in zip(clients, users):
            client.send(f"a LOGIN {user} pw\r\n".encode())
        wait_until(lambda: len(fake_redis.lookups()) >= 100, what="lookups")
        fake_redis.drop_connections()
        for client in clients:
            assert client.read_line().startswith(b"a NO [UNAVAILABLE]")
        assert fake_redis.connection_count - before < 20
        fake_redis.handler = None
        wait_until(lambda: clients[0].command("b", f"LOGIN {users[0]} pw")[-1].startswith(b"b OK"),
                   15, "login")


def test_c101_many_logins_of_one_user_are_one_question(start_gatepost, fake_redis, fb1):
    fake_redis.values = {"gatepost:route:u1": "FB1"}
    gatepost = start_gatepost({"FB1": fb1.address},
                              redis={"url": fake_redis.url, "timeout": "10s"})
    fake_redis.settle()
    release = threading.Event()

    def handler(words):
        if is_hold(words):
            release.wait(10)
        return None

    fake_redis.handler = handler
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gatepost.connect(tls=False)) for _ in range(100)]
        for client in clients:
            client.send(b"a LOGIN u1 pw\r\n")
        wait_until(lambda: any(map(is_hold, fake_redis.commands)), what="question")
        time.sleep(0.3)
        release.set()
        for client in clients:
            assert client.read_line().startswith(b"a OK")
    assert len(fake_redis.lookups()) == 1


def test_changed_route_is_used_by_the_next_login(start_gatepost, own_redis, fb1, fb2):
    gatepost = start_gatepost({"FB1": fb1.address, "FB2": fb2.address}, redis=own_redis.url)
    for backend in ("FB1", "FB2", "FB1"):
        own_redis.route("u1", backend)
        with gatepost.connect() as client:
            client.login()
            assert backend.encode() in client.command("c", "NOOP")[-1]


def test_password_and_database(start_gatepost, fb1):
    server = RedisServer(password="hush")
    try:
        server.route("u1", "FB1", database=3)
        gatepost = start_gatepost({"FB1": fb1.address},
                                  redis=f"redis://:hush@127.0.0.1:{server.port}/3")
        with gatepost.connect() as client:
            client.login()
        wrong = start_gatepost({"FB1": fb1.address},
                               redis=f"redis://:nonsense@127.0.0.1:{server.port}/3")
        with wrong.connect() as client:
            unavailable(client)
        assert "hush" not in gatepost.log() and "nonsense" not in wrong.log()
    finally:
        server.remove()


def test_unix_socket(start_gatepost, own_redis, fb1):
    own_redis.command("SET", "gatepost:route:u1", "FB1", database=2)
    own_redis.command("DEL", "gatepost:route:u1")
    gatepost = start_gatepost({"FB1": fb1.address}, redis=f"unix://{own_redis.socket_path}?db=2")
    with gatepost.connect() as client:
        client.login()


@pytest.mark.parametrize("lookup,words", [
    ("HGET mail:{user} server", ["HSET", "mail:u1@example.org", "server", "FB1"]),
    ("HGET hosts {domain}", ["HSET", "hosts", "example.org", "FB1"]),
    ("GET of:{local}", ["SET", "of:u1", "FB1"])])
def test_lookup_commands_of_the_operator(start_gatepost, own_redis, fb1, lookup, words):
    own_redis.command(*words)
    gatepost = start_gatepost({"FB1": fb1.address}, redis=own_redis.url, routing={"lookup": lookup})
    with gatepost.connect() as client:
        client.login("u1@example.org")
        lines = client.command("b", "NOOP")
    assert statuses(lines) == ["b OK"]


def test_key_of_another_type(start_gatepost, own_redis, fb1):
    own_redis.command("DEL", "gatepost:route:u1")
    own_redis.command("LPUSH", "gatepost:route:u1", "FB1")
    gatepost = start_gatepost({"FB1": fb1.address}, redis=own_redis.url)
    with gatepost.connect() as client:
        unavailable(client)


def test_users_of_the_configuration_come_before_redis(start_gatepost, own_redis, fb1, fb2):
    gatepost = start_gatepost({"FB1": fb1.address, "FB2": fb2.address}, {"u1": "FB2"},
                              redis=own_redis.url)
    with gatepost.connect() as client:
        client.login()
        assert b"FB2" in client.command("c", "NOOP")[-1]
