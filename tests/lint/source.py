# SPDX-License-Identifier: Apache-2.0
"""What the lint's pieces share: which files there are, C text without comments, functions."""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# LINT_ROOT is the small trees of selftest.py.
ROOT = os.environ.get("LINT_ROOT") or os.path.dirname(os.path.dirname(HERE))
C_SUFFIXES = (".c", ".h", ".cpp", ".def")


def files(*folders, suffixes=C_SUFFIXES):
    """Paths relative to the root, sorted."""
    found = []
    for folder in folders:
        for where, folders_inside, names in os.walk(os.path.join(ROOT, folder)):
            folders_inside[:] = [name for name in folders_inside
                                 if not name.startswith((".", "__"))]
            found += [os.path.relpath(os.path.join(where, name), ROOT)
                      for name in names if name.endswith(suffixes)]
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()


TOKENS = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*', re.S)


def bare(text):
    """C without comments, and with empty strings; lines keep their numbers."""
    def blank(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token[0] * 2
        return "\n" * token.count("\n")
    return TOKENS.sub(blank, text)


def keep_slashes(match):
    """For TOKENS.sub: what is left of a comment in the wrong style is its two slashes."""
    return "//" if match.group(0).startswith("//") else "\n" * match.group(0).count("\n")


def functions(text):
    """(name, parameters, first line, lines, depth) of the functions with braces at column 0."""
    lines = bare(text).split("\n")
    start = None
    for number, line in enumerate(lines):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            head = start - 1
            while head > 0 and lines[head - 1].strip() and not lines[head - 1].endswith((";", "}")):
                head -= 1
            signature = " ".join(lines[head:start])
            name = re.search(r"(\w+)\s*\(", re.sub(r"__attribute__\s*\(\(.*?\)\)", "", signature))
            if name:
                yield (name.group(1), count_parameters(signature, name.end()), head + 1,
                       number - head + 1, block_depth(lines[start + 1:number]))
            start = None


def count_parameters(signature, at):
    depth, commas = 0, 0
    for index in range(at, len(signature)):
        letter = signature[index]
        if letter == ")" and depth == 0:
            inside = signature[at:index].strip()
            return 0 if inside in ("", "void") else commas + 1
        depth += letter == "("
        depth -= letter == ")"
        commas += letter == "," and depth == 0
    return 0


def block_depth(lines):
    """How deep blocks of statements are nested; the braces of initialisers do not count."""
    text = "\n".join(lines)
    deepest, stack = 0, []
    for match in re.finditer(r"[{}]", text):
        if match.group(0) == "}":
            if stack:
                stack.pop()
            continue
        before = text[:match.start()].rstrip()
        stack.append(before.endswith((")", "else", "do", ":")) and not is_value(before))
        deepest = max(deepest, sum(stack))
    return deepest


def is_value(before):
    """A brace after `= (struct name)` opens a value, not a block."""
    value = r"(=|\(|,|return)\s*\((const )?(struct|union) \w+(\[\])?\)$"
    return re.search(value, before) is not None


class Faults:
    """Collects faults of one check and says them."""

    def __init__(self, silent=False):
        self.count, self.silent = 0, silent

    def add(self, path, line, text):
        self.count += 1
        if not self.silent:
            print(f"{path}:{line}: {text}")

    def finish(self):
        sys.exit(1 if self.count else 0)
