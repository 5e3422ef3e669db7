# SPDX-License-Identifier: Apache-2.0
"""What no file may name: the place of this checkout, the packages' mirrors of this machine."""
import glob
import os
import re
import subprocess

import source

# Places so common that they say nothing about a machine.
COMMON = {"/", "/home", "/root", "/tmp", "/usr", "/usr/src", "/opt", "/srv", "/src", "/build"}
PUBLIC_HOSTS = re.compile(r"(^|\.)(debian\.org|ubuntu\.com)$")


def tracked():
    listed = subprocess.run(["git", "-C", source.ROOT, "ls-files", "-z"], capture_output=True,
                            text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [path for path in listed.stdout.split("\0") if path]
    return source.files("proxy", "include", "tests", "deploy", ".ci", suffixes=("",))


def forbidden():
    words = {}
    place = os.path.dirname(source.ROOT)
    if place not in COMMON:
        words[place + "/"] = "a path of this machine"
    settings = (glob.glob("/etc/apt/sources.list*") + glob.glob("/etc/apt/sources.list.d/*")
                + ["/etc/pip.conf", os.path.expanduser("~/.config/pip/pip.conf"),
                   os.path.expanduser("~/.npmrc")])
    for path in settings:
        if os.path.isfile(path) and os.access(path, os.R_OK):
            with open(path, encoding="utf-8", errors="replace") as file:
                for host in re.findall(r"https?://([^/\s:]+)", file.read()):
                    if not PUBLIC_HOSTS.search(host):
                        words[host] = "a packages' mirror of this machine"
    return words


def main():
    faults, words = source.Faults(), forbidden()
    for path in tracked():
        if path.startswith("tests/fuzz/corpus"):
            continue
        if not os.path.isfile(os.path.join(source.ROOT, path)):
            continue
        for number, line in enumerate(source.read(path).split("\n"), 1):
            for word, what in words.items():
                # Not the tail of a longer path.
                if re.search(r"(?<![\w$}])" + re.escape(word), line):
                    faults.add(path, number, f"{word} is {what}")
    faults.finish()


main()
