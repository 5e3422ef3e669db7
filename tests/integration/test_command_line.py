# SPDX-License-Identifier: Apache-2.0
"""gatepost before it runs: options of the command line, faults of the configuration, addresses that
are taken."""

import re
import socket
import tomllib

import pytest

from proxy import make_sections, run_binary, toml
from servers import AS_ROOT, free_port


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
    assert defaults["listener"][0]["trusted"] == []
    assert "SCRAM-SHA-256" in defaults["listener"][0]["mechanisms"]


def test_check_says_ok(write_config):
    done = run_binary("-c", write_config(), "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_print_config_reads_back(write_config, tmp_path):
    listener = {"address": f"127.0.0.1:{free_port()}", "mechanisms": ["login", "PLAIN"],
                "trusted": ["10.0.0.0/8", "::1", "unix"]}
    backend = {"name": "FB1", "address": "127.0.0.1:1", "user": "{local}",
               "master_user": "proxy", "master_password": "hush"}
    path = write_config(redis={"url": "redis://:hush@127.0.0.1:6379/2"}, listener=[listener],
                        backend=[backend], limits={"login_timeout": "90s"})
    first = run_binary("-c", path, "--print-config")
    assert first.returncode == 0 and "hush" not in first.stdout
    printed = tomllib.loads(first.stdout)
    assert printed["limits"]["login_timeout"] in ("90s", "1m30s")
    assert printed["routing"]["users"] == {"u1": "FB1"}
    assert printed["backend"][0]["name"] == "FB1"
    assert printed["backend"][0]["master_password"] == "***"
    assert printed["listener"][0]["trusted"] == listener["trusted"]
    assert printed["listener"][0]["mechanisms"] == ["PLAIN", "LOGIN"]
    again = tmp_path / "again.toml"
    again.write_text(first.stdout)
    assert run_binary("-c", again, "--print-config").stdout == first.stdout


def test_print_config_of_a_fleet(write_config, tmp_path):
    """Sentinels, a service, lists of hosts and of addresses: what is printed reads back."""
    backends = [{"name": "FB1", "address": "127.0.0.1:1", "sources": ["127.0.0.2", "127.0.0.3"],
                 "connect_rate": 5, "slow_start": "1m"},
                {"name": "FB2", "address": "srv:_imap._tcp.example.org", "weight": 0},
                {"name": "FB3", "address": "127.0.0.1:3"}]
    path = write_config(
        process={"node": "proxy-1"}, backend=backends,
        redis={"url": "sentinel://u:hush@[::1],10.0.0.1:7/main/2", "sentinel_password": "hush"},
        routing={"source": "redis", "unknown": "hash", "failover": True, "canary": "FB3:2.5%",
                 "url_hosts": ["10.0.0.0/8", "*.example.org"], "referrals": ["::1"]},
        health={"check": "login", "user": "probe", "password": "hush"},
        moves={"hold_timeout": "90s"})
    first = run_binary("-c", path, "--print-config")
    assert first.returncode == 0 and "hush" not in first.stdout, first.stderr
    printed = tomllib.loads(first.stdout)
    assert printed["redis"]["url"] == "sentinel://u:***@[::1]:26379,10.0.0.1:7/main/2"
    assert printed["redis"]["sentinel_password"] == "***"
    assert printed["routing"]["canary"] == "FB3:2.50%"
    assert printed["routing"]["url_hosts"] == ["*.example.org", "10.0.0.0/8"]
    assert printed["backend"][0]["sources"] == ["127.0.0.2", "127.0.0.3"]
    assert printed["backend"][1]["address"] == "srv:_imap._tcp.example.org"
    assert printed["health"]["password"] == "***"
    again = tmp_path / "again.toml"
    again.write_text(first.stdout)
    assert run_binary("-c", again, "--print-config").stdout == first.stdout


def test_relations_are_checked(write_config):
    done = run_binary("-c", write_config(routing={"source": "static", "unknown": "assign"},
                                         redis={"ca": "/dev/null"},
                                         health={"check": "login"}), "--check")
    assert done.returncode == 2
    for pattern in ("assign.*static", '"ca" has no effect', 'needs "user"'):
        assert re.search(pattern, done.stderr), (pattern, done.stderr)


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

[[listener]]
address = "0.0.0.0:9993"
proxy_protocol = true
mechanisms = ["PLIAN"]

[[backend]]
name = "mail2"
address = "127.0.0.1:144"
ca = "/dev/null"
master_user = "proxy"
"""

EXPECTED = [
    (3, r"workerz.*workers"), (4, "drain_timeout"), (7, "level.*debug"), (13, "9993"),
    (14, "allow_plaintext"), (17, "/nonexistent/chain.pem"), (18, "/nonexistent/key.pem"),
    (21, "redis://"), (22, "timeout"), (25, "SET"), (28, "mail9"), (35, "mail1"), (36, "port"),
    (39, "login_failures"), (41, "nonsense"), (45, "0.0.0.0:9993"), (46, "trusted"),
    (47, "PLIAN.*PLAIN"), (52, "ca.*no effect"), (53, "master_password")]


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


@pytest.mark.parametrize("section,option", [
    ("tls", "client_ca"), ("routing", "url_ca"), ("backend", "ca"), ("backend", "client_chain"),
    ("backend", "client_key"), ("redis", "ca"), ("redis", "client_chain"),
    ("redis", "client_key")])
def test_file_that_is_none(write_config, certificates, tmp_path, section, option):
    """Each is named with the place where the configuration names it."""
    none = tmp_path / "none.pem"
    none.write_text("nothing of the kind\n")
    backend = {"name": "FB1", "address": "127.0.0.1:1", "tls": "implicit"}
    tables = {"tls": {}, "routing": {"source": "static"}, "backend": backend,
              "redis": {"url": "rediss://127.0.0.1"}}
    if section == "redis":
        tables["routing"]["source"] = "redis"
    if option.startswith("client_") and section != "tls":
        tables[section].update(client_chain=str(certificates.chain),
                               client_key=str(certificates.key))
    tables[section][option] = str(none)
    path = write_config(**{**tables, "backend": [backend]})
    line = 1 + path.read_text().split(str(none))[0].count("\n")
    done = run_binary("-c", path, "--check")
    assert done.returncode == 2
    assert re.match(re.escape(f"{path}:{line}:") + r"\d+: .*none\.pem", done.stderr), done.stderr


def test_staple_that_is_none(write_config, certificates, tmp_path):
    """It is made anew every few days by somebody else: no reason not to start."""
    staple = tmp_path / "none.der"
    staple.write_text("nothing of the kind\n")
    path = write_config(**{"tls.certificate": [{
        "chain": str(certificates.chain), "key": str(certificates.key), "ocsp": str(staple)}]})
    done = run_binary("-c", path, "--check")
    assert (done.returncode, done.stdout) == (0, "ok\n")
    assert "none.der" in done.stderr


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
