# SPDX-License-Identifier: Apache-2.0
"""The documents say what the program does: their tables are those of the code, and it takes the
configurations in them."""

import pathlib
import re
import subprocess

import pytest

from proxy import BINARY

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
OPERATION = ROOT / "docs/operation.md"

CERTIFICATE = """[[tls.certificate]]
chain = "/etc/gatepost/fullchain.pem"
key = "/etc/gatepost/privkey.pem"
"""
REST = {
    "[[listener]]": '[[listener]]\naddress = "127.0.0.1:993"\n',
    "[[tls.certificate]]": CERTIFICATE,
    "[[backend]]": '[[backend]]\nname = "rest"\naddress = "127.0.0.1:143"\n',
}


def configurations():
    """Each block of TOML in a document; one that begins within a table is of a [[backend]]."""
    for path in DOCUMENTS:
        text = re.sub(r"^  (?=\S)", "", path.read_text(), flags=re.MULTILINE)
        for number, block in enumerate(re.findall(r"^```toml\n(.*?)^```", text, re.M | re.S)):
            yield pytest.param(block, id=f"{path.name}-{number}")


def complete(block):
    """The block with what it leaves out, as one who follows the document would have it."""
    if not block.startswith("["):
        name = "" if "name =" in block else 'name = "mail1"\n'
        address = "" if "address =" in block else 'address = "127.0.0.1:143"\n'
        block = f"[[backend]]\n{name}{address}{block}"
    return block + "".join(text for header, text in REST.items() if header not in block)


@pytest.mark.parametrize("block", configurations())
def test_a_configuration_is_accepted(tmp_path, certificates, block):
    text = complete(block)
    text = text.replace("/etc/gatepost/fullchain.pem", str(certificates.chain))
    text = text.replace("/etc/gatepost/privkey.pem", str(certificates.key))
    path = tmp_path / "gatepost.toml"
    path.write_text(text)
    done = subprocess.run([BINARY, "--check", "-c", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def rows(first_header):
    """The first two cells of each row of the table in operation.md that begins so."""
    text = OPERATION.read_text()
    table = text[text.index(f"\n| {first_header} |"):].strip().split("\n\n")[0]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")[:2])
            for line in table.splitlines()[2:]]


def table_of_code(path, pattern):
    text = (ROOT / "include" / path).read_text().split("*/", 1)[1]
    return re.findall(pattern, text, re.DOTALL)


def test_every_reason_is_told():
    told = [(label, re.sub(r" \((a warning|an error)\)$", "", sentence))
            for label, sentence in rows("reason")]
    assert told == [(f"`{label}`", sentence) for label, sentence in table_of_code(
        "session/close_reason.def", r'CLOSE_REASON\(\w+, "(\w+)", \w+,\s+"([^"]+)"\)')]


def test_every_counter_is_told():
    assert rows("counter") == [(f"`{name}`", sentence) for name, sentence in table_of_code(
        "core/metrics.def", r'METRIC\(\w+, "(\w+)",\s+"([^"]+)"\)')]


def test_bounds_of_other_sections_are_told():
    """Those that are told have their defaults, and are of a section of that name."""
    presets = {f"`{section.lower()}.{name}`": preset for section, name, preset in table_of_code(
        "core/options.def",
        r'OPTION\((\w+), (\w+), \w+,\s+[\w.]+,\s+OPTIONAL,\s+"([^"]*)"')}
    told = rows("option elsewhere")
    assert len(told) > 10
    for name, preset in told:
        assert presets.get(name) == preset, name


def test_every_limit_is_told():
    told = dict(rows("option"))
    assert told == {f"`{name}`": preset for name, preset in table_of_code(
        "core/options.def", r'OPTION\(LIMITS, (\w+), \w+, [\w.]+, OPTIONAL, "([^"]+)"')}
