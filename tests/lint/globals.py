# SPDX-License-Identifier: Apache-2.0
"""Writable globals: every one needs a reason in tests/lint/globals.allow."""
import os
import re
import subprocess
import sys

import source

ALLOW_LIST = "tests/lint/globals.allow"

# What is only written while the program is relocated is not writable.
READ_ONLY = (".data.rel.ro", ".rodata", ".text", ".init_array", ".fini_array")

# What C++ exceptions point at; written by the loader alone.
UNWINDER = "DW.ref."


def allowed():
    reasons = {}
    for number, line in enumerate(source.read(ALLOW_LIST).split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            path, symbol, reason = (line.split(None, 2) + ["", ""])[:3]
            reasons[(path, symbol)] = (number, reason)
    return reasons


def writable(path):
    listing = subprocess.run(["nm", "--defined-only", "--format=sysv", path], capture_output=True,
                             text=True, check=True).stdout
    for line in listing.split("\n"):
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 7 and cells[2] in list("DdBbCcGgSsVvu"):
            if not cells[6].startswith(READ_ONLY) and not cells[0].startswith(UNWINDER):
                # Numbers at the end tell apart what is static in two functions.
                yield re.sub(r"\.\d+$", "", cells[0])


def main():
    faults, reasons, used = source.Faults(), allowed(), set()
    for path in sys.argv[1:]:
        at = path.find("proxy/")
        name = path[at:].removesuffix(".o") if at >= 0 else os.path.basename(path)
        for symbol in writable(path):
            key = (name, symbol)
            if key in reasons:
                used.add(key)
            else:
                faults.add(name, 1, f"writable global {symbol}")
    for key, (number, reason) in reasons.items():
        if not reason:
            faults.add(ALLOW_LIST, number, f"{key[1]}: no reason given")
        if key not in used:
            faults.add(ALLOW_LIST, number, f"{key[0]} {key[1]}: there is no such global")
    faults.finish()


main()
