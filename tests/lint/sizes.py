# SPDX-License-Identifier: Apache-2.0
"""The laws of size, comments and the first line; with --report, the medians."""
import statistics
import sys

import source

FUNCTION_LAW, FUNCTION_HABIT = 70, 40
FILE_LAW, FILE_HABIT = 800, 400
HEADER_LAW = 150
COLUMN_LAW = 100
PARAMETER_LAW = 5
DEPTH_LAW = 3
# Callbacks whose parameters a library chose.
FOREIGN_SHAPES = {("proxy/net/tls.c", "select_alpn"), ("proxy/net/ticket.c", "on_ticket")}
SPDX = "SPDX-License-Identifier: Apache-2.0"


def check_text(faults, path, text):
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        width = len(line.expandtabs(8))
        if width > COLUMN_LAW:
            faults.add(path, number, f"{width} columns, at most {COLUMN_LAW}")
        if line.rstrip() != line:
            faults.add(path, number, "blanks at the end of the line")
    if SPDX not in "".join(lines[:2]):
        faults.add(path, 1, f"does not begin with {SPDX}")


def check_c(faults, path, text, sizes):
    count = text.count("\n")
    law = HEADER_LAW if path.endswith(".h") and path.startswith("include/") else FILE_LAW
    if count > law:
        faults.add(path, count, f"{count} lines, at most {law}")
    sizes["headers" if path.startswith("include/") else "files"].append((count, path))
    if path.startswith(("proxy/", "include/")):
        for number, line in enumerate(source.TOKENS.sub(source.keep_slashes, text).split("\n"), 1):
            if "//" in line:
                faults.add(path, number, "// comments: only /* */")
    for name, parameters, line, length, depth in source.functions(text):
        sizes["functions"].append((length, f"{path}:{line} {name}"))
        if length > FUNCTION_LAW:
            faults.add(path, line, f"{name} has {length} lines, at most {FUNCTION_LAW}")
        if (path.startswith("proxy/") and parameters > PARAMETER_LAW
                and (path, name) not in FOREIGN_SHAPES):
            faults.add(path, line, f"{name} has {parameters} parameters, at most {PARAMETER_LAW}")
        if path.startswith("proxy/") and depth > DEPTH_LAW:
            faults.add(path, line, f"{name} nests {depth} levels, at most {DEPTH_LAW}")


def report(sizes):
    habits = (("functions", FUNCTION_HABIT), ("files", FILE_HABIT), ("headers", HEADER_LAW))
    for what, habit in habits:
        counts = sorted(sizes[what])
        if counts:
            over = sum(count > habit for count, _ in counts)
            print(f"  {what}: {len(counts)}, median {statistics.median(c for c, _ in counts):.0f} "
                  f"lines, {over} over {habit}, longest {counts[-1][0]} ({counts[-1][1]})")


def main():
    faults = source.Faults(silent="--report" in sys.argv)
    sizes = {"functions": [], "files": [], "headers": []}
    for path in source.files("proxy", "include", "tests"):
        text = source.read(path)
        check_text(faults, path, text)
        check_c(faults, path, text, sizes)
    for path in source.files("tests", "deploy", suffixes=(".py", ".sh")):
        check_text(faults, path, source.read(path))
    if "--report" in sys.argv:
        report(sizes)
    else:
        faults.finish()


main()
