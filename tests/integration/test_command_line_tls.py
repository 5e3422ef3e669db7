# SPDX-License-Identifier: Apache-2.0
"""Files of TLS that cannot be used: --check and the start itself name the place where the
configuration names them, FILE:LINE:COL, and what is wrong."""

import re

import pytest

from backend_tls import identity
from proxy import certificate_table, make_sections, run_binary, toml
from servers import AS_ROOT, free_port

OPTIONS = [("tls.certificate", "chain"), ("tls.certificate", "key"), ("tls.certificate", "ocsp"),
           ("tls", "client_ca"), ("backend", "ca"), ("backend", "client_chain"),
           ("backend", "client_key"), ("routing", "url_ca")]


def of_options(options):
    return pytest.mark.parametrize("section,option", options,
                                   ids=[".".join(pair) for pair in options])


EVERY = of_options(OPTIONS)
# Responses of OCSP are made anew every few days by somebody else: no reason not to start.
PEM = of_options([pair for pair in OPTIONS if pair[1] != "ocsp"])
KEYS = of_options([("tls.certificate", "key"), ("backend", "client_key")])
RUNS = pytest.mark.parametrize("run", [["--check"], []], ids=["check", "start"])


@pytest.fixture
def write(tmp_path, certificates):
    """write({(section, option): path}): the path of a configuration that has every file of TLS, all
    good but those."""
    client = certificates.client(cn="gatepost")

    def write_config(changes):
        ca = str(certificates.ca)
        tables = {
            "tls": {"client_ca": ca},
            "tls.certificate": certificate_table(
                certificates.server, ocsp=str(certificates.ocsp_response(certificates.server))),
            "backend": {"name": "FB1", "address": "127.0.0.1:1", "tls": "implicit", "ca": ca,
                        **identity(client)},
            "routing": {"source": "redis", "url_ca": ca}}
        for (section, option), path in changes.items():
            tables[section][option] = str(path)
        sections = make_sections(certificates, {}, redis="redis://127.0.0.1:1", tls=tables["tls"],
                                 routing=tables["routing"])
        sections["tls.certificate"] = [certificate_table(certificates.several),
                                       tables["tls.certificate"]]
        sections["backend"] = [{"name": "FB0", "address": "127.0.0.1:1"}, tables["backend"]]
        sections["listener"] = [{"address": f"127.0.0.1:{free_port()}"}]
        path = tmp_path / "config.toml"
        path.write_text(toml(sections))
        return path

    return write_config


def places(config, file):
    """LINE:COL of each value that names the file."""
    lines = enumerate(config.read_text().splitlines(), 1)
    return [f"{number}:{line.index(chr(34) + str(file)) + 1}" for number, line in lines
            if f'"{file}"' in line]


def assert_said(config, file, run, *words):
    """That place, that file and those words are one line of the faults. A long path is cut."""
    done = run_binary("-c", config, *run)
    assert done.returncode == 2 and not done.stdout, done
    (place,) = places(config, file)
    said = [line for line in done.stderr.splitlines() if line.startswith(f"{config}:{place}: ")]
    assert len(said) == 1, (place, done.stderr)
    for word in (str(file)[:40], *words):
        assert re.search(word, said[0]), said
    return done.stderr.splitlines()


def test_all_is_well(write):
    done = run_binary("-c", write({}), "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


@EVERY
@RUNS
def test_file_that_is_missing(write, tmp_path, section, option, run):
    missing = tmp_path / "missing.file"
    lines = assert_said(write({(section, option): missing}), missing, run, "No such file")
    assert len(lines) == 1


@EVERY
def test_file_that_is_a_folder(write, tmp_path, section, option):
    assert_said(write({(section, option): tmp_path}), tmp_path, ["--check"])


@EVERY
@pytest.mark.skipif(AS_ROOT, reason="root may read everything")
def test_file_that_may_not_be_read(write, tmp_path, section, option):
    locked = tmp_path / "locked.file"
    locked.touch(0)
    assert_said(write({(section, option): locked}), locked, ["--check"], "[Pp]ermission denied")


@pytest.mark.parametrize("text", ["", "nothing of the kind\n",
                                  "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
                                  "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"],
                         ids=["empty", "text", "broken certificate", "broken key"])
@PEM
def test_file_that_is_none(write, tmp_path, section, option, text):
    none = tmp_path / "none.pem"
    none.write_text(text)
    assert_said(write({(section, option): none}), none, ["--check"])


@KEYS
@RUNS
def test_key_of_another_certificate(write, certificates, section, option, run):
    config = write({(section, option): certificates.other_key})
    assert_said(config, certificates.other_key, run, "key", "not|match|belong")


@KEYS
def test_key_with_a_password(write, certificates, tmp_path, section, option):
    """Nobody is there who could be asked for it; and nobody is."""
    locked = tmp_path / "locked.key"
    certificates.openssl("pkey", "-in", certificates.server.key, "-aes256", "-passout", "pass:x",
                         "-out", locked)
    assert_said(write({(section, option): locked}), locked, ["--check"])


def test_key_in_the_place_of_a_chain(write, certificates):
    config = write({("tls.certificate", "chain"): certificates.other_key})
    assert_said(config, certificates.other_key, ["--check"], "certificate")


@RUNS
@pytest.mark.parametrize("text", [None, "nothing of the kind\n"], ids=["missing", "text"])
def test_every_file_is_said_in_one_run(write, tmp_path, run, text):
    """But keys: of a certificate that cannot be read nothing more is asked."""
    files = {pair: tmp_path / f"{pair[0]}.{pair[1]}" for pair in OPTIONS
             if pair[1] not in ("ocsp", "key", "client_key")}
    # A backend's own authorities are told first; its certificate has a run of its own.
    if text:
        del files["backend", "client_chain"]
        for file in files.values():
            file.write_text(text)
    config = write(files)
    done = run_binary("-c", config, *run)
    assert done.returncode == 2
    said = {line.split(": ")[0] for line in done.stderr.splitlines()}
    assert said == {f"{config}:{place}" for file in files.values()
                    for place in places(config, file)}, done.stderr


def test_files_that_nobody_needs_are_a_fault_too(write, certificates):
    """An option without effect is a mistake of whoever wrote it."""
    config = write({("backend", "tls"): "none"})
    done = run_binary("-c", config, "--check")
    assert done.returncode == 2
    for option in ("ca", "client_chain"):
        assert re.search(rf"{option}.*no effect", done.stderr), done.stderr
