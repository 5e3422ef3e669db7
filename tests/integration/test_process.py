# SPDX-License-Identifier: Apache-2.0
"""gatepost as an operator meets it: the command line, signals, limits, the log, secrets."""

import base64
import contextlib
import os
import pathlib
import pwd
import re
import resource
import signal
import socket
import time
import tomllib

import pytest

from backend import echo
from client import CLOSE_NOTIFY, FIN, Ended, statuses
from proxy import is_sanitized, make_sections, parse_log_line, run_binary, toml
from servers import AS_ROOT, free_port, wait_until

CANARY = "CANARY-7f3a"


@pytest.fixture
def write_config(tmp_path, certificates):
    """Writes a file of a complete configuration, with sections changed; returns its path."""
    def write(text=None, **sections):
        complete = make_sections(certificates, {"FB1": "127.0.0.1:1"}, {"u1": "FB1"})
        complete["listener"] = [{"address": f"127.0.0.1:{free_port()}"}]
        complete.update(sections)
        path = tmp_path / "config.toml"
        path.write_text(toml(complete) if text is None else text)
        return path

    return write


# --- The command line ---


def test_version_and_help():
    done = run_binary("--version")
    assert done.returncode == 0 and done.stdout.startswith("gatepost ")
    done = run_binary("--help")
    assert done.returncode == 0 and "--check" in done.stdout


@pytest.mark.parametrize("arguments", [["--nonsense"], ["stray"], ["-c"]])
def test_usage_faults(arguments):
    done = run_binary(*arguments)
    assert done.returncode == 2 and done.stderr


def test_dump_defaults_is_toml():
    done = run_binary("--dump-defaults")
    assert done.returncode == 0
    defaults = tomllib.loads(done.stdout)
    assert defaults["routing"]["lookup"] == "GET gatepost:route:{user}"
    assert defaults["process"]["drain_timeout"] == "30s"


def test_check_says_ok(write_config):
    done = run_binary("-c", write_config(), "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_print_config_reads_back(write_config, tmp_path):
    path = write_config(redis={"url": "redis://:hush@127.0.0.1:6379/2"},
                        limits={"login_timeout": "90s"})
    first = run_binary("-c", path, "--print-config")
    assert first.returncode == 0 and "hush" not in first.stdout
    printed = tomllib.loads(first.stdout)
    assert printed["limits"]["login_timeout"] in ("90s", "1m30s")
    assert printed["routing"]["users"] == {"u1": "FB1"}
    assert printed["backend"][0]["name"] == "FB1"
    again = tmp_path / "again.toml"
    again.write_text(first.stdout)
    assert run_binary("-c", again, "--print-config").stdout == first.stdout


FAULTS = """
[process]
workerz = 2
drain_timeout = "soon"

[log]
level = "loud"

[[listener]]
address = "127.0.0.1:9993"

[[listener]]
address = "127.0.0.1:9993"
allow_plaintext = "yes"

[[tls.certificate]]
chain = "/nonexistent/chain.pem"
key = "/nonexistent/key.pem"

[redis]
url = "http://127.0.0.1"
timeout = "900s"

[routing]
lookup = "SET mail:{user} x"

[routing.users]
alice = "mail9"

[[backend]]
name = "mail1"
address = "127.0.0.1:143"

[[backend]]
name = "mail1"
address = "127.0.0.1"

[limits]
login_failures = 0

[nonsense]
x = 1
"""

EXPECTED = [
    (3, r"workerz.*workers"), (4, "drain_timeout"), (7, "level.*debug"), (13, "9993"),
    (14, "allow_plaintext"), (17, "/nonexistent/chain.pem"), (18, "/nonexistent/key.pem"),
    (21, "redis://"), (22, "timeout"), (25, "SET"), (28, "mail9"), (35, "mail1"), (36, "port"),
    (39, "login_failures"), (41, "nonsense")]


@pytest.mark.parametrize("options", [["--check"], []])
def test_every_fault_is_said_in_one_run(write_config, options):
    path = write_config(FAULTS)
    done = run_binary("-c", path, *options)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    for line in lines:
        assert re.match(re.escape(str(path)) + r":\d+:\d+: \S", line), line
    for number, pattern in EXPECTED:
        found = [line for line in lines if re.search(pattern, line, re.IGNORECASE)]
        assert found, (pattern, done.stderr)
        near = [int(line[len(str(path)) + 1:].split(":")[0]) for line in found]
        assert any(abs(at - number) <= 1 for at in near), (number, pattern, found)


@pytest.mark.parametrize("lookup,word", [("GET gatepost:route", "placeholder|{user}"),
                                         ("DEL {user}", "DEL"), ("", "lookup|empty"),
                                         ("EVAL x {user}", "EVAL"), ("GET {nobody}", "nobody")])
def test_lookup_that_cannot_be(write_config, lookup, word):
    done = run_binary("-c", write_config(routing={"lookup": lookup}), "--check")
    assert done.returncode == 2
    assert re.search(word, done.stderr), done.stderr


def test_syntax_fault(write_config):
    done = run_binary("-c", write_config("[process\nworkers = 2\n"), "--check")
    assert done.returncode == 2
    assert re.search(r"config.toml:1:\d+: ", done.stderr), done.stderr


def test_missing_file(tmp_path):
    done = run_binary("-c", tmp_path / "absent.toml")
    assert done.returncode == 2 and "absent.toml" in done.stderr


def test_key_of_another_certificate(write_config, certificates):
    path = write_config(**{"tls.certificate": [{"chain": str(certificates.chain),
                                               "key": str(certificates.other_key)}]})
    done = run_binary("-c", path, "--check")
    assert done.returncode == 2
    assert "other.key" in done.stderr and done.stderr.startswith(f"{path}:"), done.stderr


@pytest.mark.parametrize("which", ["chain", "key"])
def test_certificate_that_is_none(write_config, certificates, tmp_path, which):
    (tmp_path / "none.pem").write_text("nothing of the kind\n")
    files = {"chain": str(certificates.chain), "key": str(certificates.key)}
    files[which] = str(tmp_path / "none.pem")
    done = run_binary("-c", write_config(**{"tls.certificate": [files]}), "--check")
    assert done.returncode == 2 and "none.pem" in done.stderr, done.stderr


def test_address_in_use(write_config):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_binary("-c", write_config(listener=[{"address": f"127.0.0.1:{port}"}]))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr and "in use" in done.stderr, done.stderr


def test_second_instance_on_the_same_address(start_gatepost, write_config):
    """SO_REUSEPORT must not let it in."""
    gatepost = start_gatepost({"FB1": "127.0.0.1:1"}, {"u1": "FB1"})
    done = run_binary("-c", write_config(listener=[{"address": f"127.0.0.1:{gatepost.tls_port}"}]))
    assert done.returncode == 1 and "in use" in done.stderr


@pytest.mark.skipif(not AS_ROOT, reason="only root can become somebody else")
def test_unknown_user_to_become(write_config):
    done = run_binary("-c", write_config(process={"user": "no-such-user"}))
    assert done.returncode == 1 and "no-such-user" in done.stderr


# --- Ending ---


def assert_gone(gatepost):
    """No listener is left."""
    for port in (gatepost.tls_port, gatepost.port):
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()


def test_sigterm_drains(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              process={"drain_timeout": "20s"})
    spliced, waiting, plain = gatepost.connect(), gatepost.connect(), gatepost.connect(tls=False)
    with spliced, waiting, plain:
        spliced.login()
        gatepost.signal()
        for client, end in ((waiting, CLOSE_NOTIFY), (plain, FIN)):
            data, how = client.read_to_end()
            assert data.startswith(b"* BYE [UNAVAILABLE]") and how == end
        wait_until(lambda: "draining" in gatepost.log())
        assert_gone(gatepost)
        spliced.assert_usable()
        assert gatepost.process.poll() is None
        assert statuses(spliced.command("o", "LOGOUT")) == ["* BYE", "o OK"]
        spliced.read_to_end()
    assert gatepost.wait() == 0


def test_sigterm_lets_a_login_that_is_under_way_finish(start_gatepost, fb1):
    def script(connection):
        connection.backend.entered = True
        time.sleep(0.5)
        if connection.serve_until_login():
            connection.backend.session(connection)

    fb1.script, fb1.entered = script, False
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              process={"drain_timeout": "20s"})
    with gatepost.connect() as client:
        client.send(b"a LOGIN u1 pw\r\n")
        wait_until(lambda: fb1.entered)
        gatepost.signal()
        assert client.read_line().startswith(b"a OK")
        client.command("o", "LOGOUT")
    assert gatepost.wait() == 0


@pytest.mark.parametrize("tls", [True, False])
def test_drain_timeout_ends_sessions_in_order(start_gatepost, fb1, tls):
    """What the backend sent is flushed, and nothing of ours follows."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              process={"drain_timeout": "500ms"})
    fb1.session = echo
    with gatepost.connect(tls=tls) as client:
        client.login()
        client.send(b"half a li")
        started = time.monotonic()
        gatepost.signal()
        data, how = client.read_to_end()
        assert data == b"half a li" and how == (CLOSE_NOTIFY if tls else FIN)
        assert time.monotonic() - started > 0.4
        client.close()
    assert gatepost.wait() == 0
    assert fb1.wait_for_end(fb1.connections[0])


def ends_at_once(gatepost, fb1, signals):
    with gatepost.connect() as client:
        client.login()
        started = time.monotonic()
        for number in signals:
            gatepost.signal(number)
            time.sleep(0.1)
        assert gatepost.wait(5) == 0
        assert time.monotonic() - started < 3
        client.read_to_end()
    assert fb1.wait_for_end(fb1.connections[0])


@pytest.mark.parametrize("signals", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT],
                                     [signal.SIGTERM, signal.SIGINT]],
                         ids=["TERM TERM", "INT", "TERM INT"])
def test_second_sigterm_or_sigint_ends_at_once(start_gatepost, fb1, signals):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              process={"drain_timeout": "60s"})
    ends_at_once(gatepost, fb1, signals)


def test_sigterm_while_backends_and_redis_are_silent(start_gatepost, fb1, fake_redis):
    """Logins that wait for somebody are ended at the latest after drain_timeout."""
    fb1.script = lambda connection: connection.read_to_end()
    fake_redis.values["gatepost:route:u1"] = "FB1"
    fake_redis.handler = lambda words: b"" if words[-1].endswith(b":u2") else None
    gatepost = start_gatepost({"FB1": fb1.address},
                              redis={"url": fake_redis.url, "timeout": "60s"},
                              process={"drain_timeout": "300ms"})
    with gatepost.connect() as one, gatepost.connect() as two:
        one.send(b"a LOGIN u1 pw\r\n")
        two.send(b"a LOGIN u2 pw\r\n")
        fb1.wait_for_connection()
        wait_until(lambda: len(fake_redis.lookups()) == 2)
        gatepost.signal()
        for client in (one, two):
            data, _ = client.read_to_end()
            assert b"* BYE" in data, data
    assert gatepost.wait() == 0


def test_sighup_does_no_harm(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"})
    with gatepost.connect() as client:
        client.login()
        gatepost.signal(signal.SIGHUP)
        gatepost.wait_for_log("SIGHUP")
        client.assert_usable()


# --- Limits ---


def test_login_timeout_closes_silent_clients(start_gatepost, fb1):
    """C108, and C109: a byte now and then does not put it off."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              limits={"login_timeout": "1s"})
    with gatepost.connect() as silent, gatepost.connect(tls=False) as slow:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"a LOGIN u1 ":
                slow.send(bytes([byte]))
                time.sleep(0.15)
        for client, end in ((silent, CLOSE_NOTIFY), (slow, FIN)):
            data, how = client.read_to_end()
            assert data.startswith(b"* BYE") and how == end
        assert 0.8 < time.monotonic() - started < 3
    wait_until(lambda: len([line for line in gatepost.events("session")
                            if line["reason"] == "login_timeout"]) == 2)


def test_handshake_timeout(start_gatepost, fb1):
    """C108: nothing, and half a ClientHello."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              limits={"handshake_timeout": "500ms"})
    for data in (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
        with socket.create_connection(("127.0.0.1", gatepost.tls_port), timeout=5) as raw:
            started = time.monotonic()
            raw.sendall(data)
            with contextlib.suppress(ConnectionResetError):
                assert raw.recv(100) == b""
            assert 0.3 < time.monotonic() - started < 3
    wait_until(lambda: gatepost.log().count("reason=handshake_timeout") == 2)


@pytest.mark.parametrize("failures", [1, 3])
def test_c106_login_failures_end_the_connection(start_gatepost, fb1, failures):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              limits={"login_failures": failures, "failure_delay": "200ms"})
    with gatepost.connect() as client:
        for number in range(failures):
            started = time.monotonic()
            lines = client.command("a", "LOGIN u1 wrong" if number % 2 else "LOGIN nobody pw")
            assert statuses(lines) == ["a NO"]
            assert time.monotonic() - started >= 0.19
        data, how = client.read_to_end()
        assert data.startswith(b"* BYE") and how == CLOSE_NOTIFY
    gatepost.wait_for_log("reason=login_failures")


def test_good_login_is_not_delayed(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              limits={"failure_delay": "10s"})
    with gatepost.connect() as client:
        client.login()


def test_c111_few_descriptors(start_gatepost, fb1):
    """400 clients where 256 descriptors are allowed: who is let in can log in."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              limits_of_process={resource.RLIMIT_NOFILE: 256})
    cpu = gatepost.cpu_seconds()
    admitted = []
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            client = stack.enter_context(gatepost.connect(tls=False, greet=False))
            with contextlib.suppress(Ended, OSError, AssertionError):
                admitted.append(client.greet())
        assert 20 < len(admitted) < 128
        for client in admitted:
            client.login()
        for client in admitted:
            client.assert_usable()
        assert gatepost.descriptors() < 256
        time.sleep(0.5)
        assert gatepost.cpu_seconds() - cpu < (10 if is_sanitized() else 1)
    wait_until(lambda: "session" in str(gatepost.events("session")) and gatepost.descriptors() < 60)
    with gatepost.connect() as client:
        client.login()


def set_descriptors(gatepost, count):
    _, hard = resource.prlimit(gatepost.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(gatepost.pid, resource.RLIMIT_NOFILE, (count, hard))


def test_c111_no_descriptor_left_to_accept_with(start_gatepost, fb1):
    """accept() fails for ever with EMFILE: no spinning, and service resumes when clients leave."""
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1})
    set_descriptors(gatepost, max(descriptors_in_use(gatepost)) + 5)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gatepost.connect(tls=False, greet=False))
                   for _ in range(20)]
        gatepost.wait_for_log("cannot accept")
        cpu = gatepost.cpu_seconds()
        time.sleep(1)
        assert gatepost.cpu_seconds() - cpu < 0.3
        assert gatepost.log().count("cannot accept") < 5
        clients[0].greet().assert_usable()
    wait_until(lambda: log_in_somehow(gatepost), what="service again")


def descriptors_in_use(gatepost):
    return {int(name) for name in os.listdir(f"/proc/{gatepost.pid}/fd")}


def log_in_somehow(gatepost):
    try:
        with gatepost.connect(tls=False) as client:
            client.timeout = 1
            client.login()
            return True
    except (AssertionError, OSError):
        return False


def test_c111_no_descriptor_left_for_the_backend(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"workers": 1})
    with gatepost.connect() as client:
        used = descriptors_in_use(gatepost)
        set_descriptors(gatepost, min(set(range(max(used) + 2)) - used))
        lines = client.command("a", "LOGIN u1 pw")
        assert lines[0].startswith(b"a NO [UNAVAILABLE]")
        client.assert_usable()
        set_descriptors(gatepost, 1000)
        client.login()


def test_idle_sessions_cost_no_time(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"})
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(gatepost.connect()).login()
        stack.enter_context(gatepost.connect())
        cpu = gatepost.cpu_seconds()
        time.sleep(1)
        assert gatepost.cpu_seconds() - cpu <= 0.02


# --- Privileges and secrets ---


@pytest.mark.skipif(not AS_ROOT, reason="only root has privileges to drop")
def test_privileges_are_dropped(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, process={"user": "nobody"})
    nobody = pwd.getpwnam("nobody")
    status = pathlib.Path(f"/proc/{gatepost.pid}/status").read_text()
    assert re.search(r"Uid:\s+(.*)", status)[1].split() == [str(nobody.pw_uid)] * 4
    assert re.search(r"Gid:\s+(.*)", status)[1].split() == [str(nobody.pw_gid)] * 4
    assert "0" not in re.search(r"Groups:\s*(.*)", status)[1].split()
    assert int(re.search(r"CapEff:\s+(\w+)", status)[1], 16) == 0
    with gatepost.connect() as client:
        client.login()


def test_no_core_dumps_and_all_descriptors(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"})
    limits = pathlib.Path(f"/proc/{gatepost.pid}/limits").read_text()
    assert re.search(r"Max core file size\s+0\s+0", limits)
    soft, hard = re.search(r"Max open files\s+(\d+)\s+(\d+)", limits).groups()
    assert soft == hard


def forms_of(secret):
    """What the secret looks like as bytes, and within the base64 of PLAIN for u1."""
    message = base64.b64encode(f"\0u1\0{secret}".encode()).rstrip(b"=")
    return [secret.encode(), message[:-1], message[8:-1]]


def canary_logins():
    message = base64.b64encode(f"\0u1\0{CANARY}".encode()).decode()
    return {"atom": f"LOGIN u1 {CANARY}", "quoted": f'LOGIN u1 "{CANARY}"',
            "literal": f"LOGIN u1 {{{len(CANARY)}+}}\r\n{CANARY}",
            "PLAIN": f"AUTHENTICATE PLAIN {message}",
            "PLAIN without IR": f"AUTHENTICATE PLAIN\r\n{message}"}


@pytest.mark.skipif(not AS_ROOT, reason="only root may read the memory of a process without dumps")
@pytest.mark.skipif(is_sanitized(), reason="AddressSanitizer keeps what is freed")
def test_c105_password_is_nowhere_after_the_hand_off(start_gatepost, fb1):
    """One fresh process for each form, with TLS and without: nothing that comes later may hide what
    the login left behind."""
    fb1.password = CANARY.encode()
    with contextlib.ExitStack() as stack:
        processes = {}
        for form, login in canary_logins().items():
            for tls in (True, False):
                gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                                          process={"workers": 1})
                client = stack.enter_context(gatepost.connect(tls=tls))
                client.send(f"a {login}\r\n".encode())
                assert client.read_until("a")[-1].startswith(b"a OK")
                processes[f"{form}, {'TLS' if tls else 'plain'}"] = gatepost
        time.sleep(2)
        found = {f"{name}: {form}" for name, gatepost in processes.items()
                 for form in forms_of(CANARY) if gatepost.holds_in_memory(form)}
        assert not found
        assert not [name for name, gatepost in processes.items() if CANARY in gatepost.log()]


@pytest.mark.skipif(not AS_ROOT, reason="only root may read the memory of a process without dumps")
def test_c105_the_search_finds_what_is_there(start_gatepost, fb1):
    """While the backend keeps it waiting, the password is in memory: the test above can fail."""
    fb1.script = lambda connection: connection.read_to_end()
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"})
    with gatepost.connect() as client:
        client.send(f"a LOGIN u1 {CANARY}\r\n".encode())
        fb1.wait_for_connection()
        assert gatepost.holds_in_memory(CANARY.encode())


def test_c105_malformed_and_refused_logins_are_not_logged(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, log={"level": "debug"})
    message = base64.b64encode(f"\0u1\0{CANARY}".encode()).decode()
    for line in (f"LOGIN u1 {CANARY}", f"LOGIN u1 {CANARY} x", f'LOGIN "u1 {CANARY}',
                 f"LOGIN {CANARY}", f"LOGIN u1 {CANARY}\x01", f"AUTHENTICATE PLAIN {message}!",
                 f"AUTHENTICATE PLAIN {message}", f"AUTHENTICATE FOO {CANARY}", f"XLOGIN {CANARY}",
                 f"LOGIN nobody {CANARY}", f"ID ({CANARY}"):
        with gatepost.connect() as client:
            client.command("a", line)
    for line in (f"{CANARY} LOGIN u1", f"POST /{CANARY} HTTP/1.1", f"{CANARY}\x01 LOGIN u1 pw"):
        with gatepost.connect() as client:
            client.send(line.encode() + b"\r\n")
            client.read_line()
    wait_until(lambda: len(gatepost.events("session")) >= 14)
    assert CANARY not in gatepost.log() and message[:-2] not in gatepost.log()


# --- The log ---

FIELDS = {"time", "level", "event", "session", "client", "listener", "sni", "user", "backend", "tls",
          "cipher", "resumed", "login_ms", "seconds", "bytes_in", "bytes_out", "reason"}


@pytest.mark.parametrize("style", ["logfmt", "json"])
def test_one_line_per_session(start_gatepost, fb1, style):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              log={"level": "info", "format": style})
    with gatepost.connect(source="127.0.0.5") as client:
        client.login()
        source = client.socket.getsockname()
        client.command("n", "NOOP")
        client.command("o", "LOGOUT")
        client.read_to_end()
    line = wait_until(lambda: [line for line in gatepost.events("session")
                               if line.get("user") == "u1"], what="session line")
    assert len(line) == 1
    line = line[0]
    assert FIELDS <= set(line), FIELDS - set(line)
    assert line["client"] == f"{source[0]}:{source[1]}"
    assert line["listener"] == f"127.0.0.1:{gatepost.tls_port}"
    assert (line["sni"], line["user"], line["backend"]) == ("localhost", "u1", "FB1")
    assert line["tls"] == "TLSv1.3" and line["cipher"].startswith("TLS_")
    assert str(line["resumed"]).lower() == "false"
    sent, received = b"n NOOP\r\no LOGOUT\r\n", \
        b"n OK NOOP by FB1\r\n* BYE FB1\r\no OK bye\r\n"
    assert (int(line["bytes_in"]), int(line["bytes_out"])) == (len(sent), len(received))
    assert line["reason"] in ("client_ended", "backend_ended")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["time"])
    assert line["level"] == "info"
    if style == "json":
        assert isinstance(line["bytes_in"], int) and line["resumed"] is False


@pytest.mark.parametrize("style", ["logfmt", "json"])
def test_c104_names_are_escaped_and_lines_are_bounded(start_gatepost, fb1, style):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"},
                              log={"level": "debug", "format": style})
    names = ['q"uote', "back\\slash", "new level=error event=\"fake\"", "é\u0085\u009b31m", "%s%n{}",
             "\u202eevil", "x" * 250]
    before = len(gatepost.log().splitlines())
    for name in names:
        with gatepost.connect(tls=False) as client:
            data = name.encode()
            client.send(b"a LOGIN {%d+}\r\n%s pw\r\n" % (len(data), data))
            client.read_until("a")
    wait_until(lambda: len([line for line in gatepost.events("session")
                            if line["client"].startswith("127")]) >= len(names))
    for line in gatepost.log_path.read_bytes().splitlines()[before:]:
        assert len(line) <= 4096
        assert not re.search(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]", line), line
        fields = parse_log_line(line.decode())
        assert fields["event"] != "fake" and fields["level"] != "error", line
    assert "event" in gatepost.log()


def test_c104_backend_texts_are_escaped(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, log={"level": "debug"})
    for greeting in (b"* BYE \x1b[31m\x07\" event=fake \xc2\x85 \x80\r\n", b"* BYE " + b"x" * 8000 + b"\r\n"):
        fb1.greeting = greeting
        with gatepost.connect() as client:
            assert client.command("a", "LOGIN u1 pw")[0].startswith(b"a NO [UNAVAILABLE]")
    for line in gatepost.log_path.read_bytes().splitlines():
        assert len(line) <= 4096 and not re.search(rb"[\x00-\x1f\x7f-\x9f]", line), line


def test_log_levels(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, log={"level": "info"})
    quiet = gatepost.events()
    assert not [line for line in quiet if line["level"] == "debug"]


def test_reader_of_the_log_that_sleeps_does_not_hold_up_logins(certificates, fb1, tmp_path):
    """HOUSE.md: never blocks on who reads the log. Standard error is a pipe that nobody reads."""
    import subprocess
    from client import Client
    from proxy import BINARY
    port = free_port()
    sections = make_sections(certificates, {"FB1": fb1.address}, {"u1": "FB1"},
                             log={"level": "debug"})
    sections["listener"] = [{"address": f"127.0.0.1:{port}", "tls": "none", "allow_plaintext": True}]
    path = tmp_path / "config.toml"
    path.write_text(toml(sections))
    process = subprocess.Popen([BINARY, "-c", str(path)], stderr=subprocess.PIPE)
    try:
        def one_more():
            with Client(port) as client:
                client.greet().command("a", "LOGIN " + "n" * 200 + " pw")
            return True

        def greeted():
            with contextlib.suppress(OSError):
                return one_more()

        wait_until(greeted)
        for _ in range(2000):
            one_more()
        assert process.poll() is None
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0
