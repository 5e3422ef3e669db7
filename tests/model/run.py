#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the models of tests/model with spin: the promises hold as they are written, and break
without any single rule.

    run.py [--quick] [--jobs N]    what must hold, and every BUG_ (docs/moves.md)
    run.py --show BUG_NAME         the shortest schedule in which that one breaks a promise

One line for each check, with the states that were visited; the last line counts. Ends with 1 when
something that must hold does not, when a rule is not missed, or when a BUG_ is in no table.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CC = os.environ.get("CC", "gcc")
DEPTH = 3_000_000
DEPTH_OF_PART = 30_000_000
FEW = "-w22"      # slots of the hash table, as a power of two, where states are few
MANY = "-w25"
BITS = "-w33"     # bits, as a power of two, where not all states can be kept
MINUTES = 3       # for each search that cannot end

# What must hold, and all of it is searched: model, definitions, size, whether --quick has it too.
WHOLE = [
    ("move", "NODES=3 MOVES=2 TIDY=1", MANY, False),
    ("move", "NODES=2 MOVES=3 TIDY=1", MANY, False),
    ("move", "NODES=2 MOVES=2", MANY, True),
    ("move", "NODES=3", FEW, True),
    ("move", "NODES=2 ASSIGN=1", FEW, True),
    ("move", "NODES=2 ASSIGN=1 MOVES=1", FEW, True),
    ("move", "NODES=2 MOVES=1", FEW, True),
    ("move", "NODES=1", FEW, True),
    ("news", "", FEW, True),
]

# What must hold, and is too large: as far as one comes in MINUTES, in an order by chance.
PART = [
    ("move", "NODES=4"),
    ("move", "NODES=3 ASSIGN=1"),
    ("move", "NODES=3 MOVES=3 TIDY=1"),
]

# What the models must be able to come to, or they would hold for nothing.
WITNESSES = [
    ("move", "WITNESS=1 NODES=3"),
    ("move", "WITNESS=1 NODES=2 MOVES=2"),
    ("news", "WITNESS=1"),
    ("news", "WITNESS=2"),
]

# What is taken away, and where that must be noticed.
RULES = [
    ("move", "BUG_CONFIRM_PRESENT", "NODES=2", "a hold is confirmed while a session is here"),
    ("move", "BUG_CONFIRM_IN_FLIGHT", "NODES=2", "a login counts only once it is a session"),
    ("move", "BUG_CONFIRM_UNSETTLED", "NODES=2", "a session counts no more once it has left"),
    ("move", "BUG_CONFIRM_ANY_HOLD", "NODES=2 MOVES=2", "the script confirms any hold"),
    ("move", "BUG_ENTER_ON_HOLD", "NODES=2", "the last route serves users on hold"),
    ("move", "BUG_KEEP_ROUTE_ON_HOLD", "NODES=2", "it outlives a hold that is forgotten"),
    ("move", "BUG_ROUTE_BEFORE_HOLD", "NODES=2", "the route is read before the hold"),
    ("move", "BUG_LATE_ANSWER", "NODES=2", "what a question said that was given up counts"),
    ("move", "BUG_REGISTER_LATE", "NODES=2", "logins come before the registration"),
    ("move", "BUG_REGISTRATION_EXPIRES", "NODES=2", "a registration ends by itself"),
    ("move", "BUG_RETIRE_EARLY", "NODES=2", "it ends before the last session does"),
    ("move", "BUG_RETIRE_ANYBODY", "NODES=2", "a process ends the registration of another"),
    ("move", "BUG_ASSIGN_OVER", "NODES=2 ASSIGN=1", "a user is assigned without NX"),
    ("move", "BUG_LIST_BEFORE_HOLD", "NODES=2 MOVES=1", "proxies are listed before it holds"),
    ("move", "BUG_ONE_IS_ENOUGH", "NODES=2 MOVES=1", "the word of one proxy is enough"),
    ("move", "BUG_WORD_OF_ANY_MOVE", "NODES=2 MOVES=2", "a word for another hold is enough"),
    ("move", "BUG_FLIP_UNCHECKED", "NODES=2 MOVES=1", "the route is written whatever the hold is"),
    ("move", "BUG_RENEW_ANEW", "NODES=2 MOVES=1", "a renewal sets the hold that has ended again"),
    ("move", "BUG_SAME_EPOCH", "NODES=2 MOVES=2", "two moves have the same epoch"),
    ("news", "BUG_LATE_ANSWER", "", "an answer counts though something was heard since"),
    ("news", "BUG_ANSWER_OVER_GAP", "", "an answer counts though something may be missed"),
    ("news", "BUG_FRESH_OVER_GAP", "", "what was fresh is so after a gap"),
    ("news", "BUG_FRESH_WHILE_BLIND", "", "what is learnt while nothing is heard is fresh"),
    ("news", "BUG_KEEP_ROUTE_ON_NEWS", "", "a route that has changed is still known"),
    ("news", "BUG_DEAF_TO_ROUTES", "", "nobody asks when a route has changed"),
    ("news", "BUG_DEAF_TO_HOLDS", "", "nobody asks for a hold of who is not here"),
    ("news", "BUG_NO_SWEEP", "", "nobody asks after a gap"),
    ("news", "BUG_SWEEP_FORGETS_HOLDS", "", "nobody asks whether a hold has ended in a gap"),
    ("news", "BUG_RESUME_FORGETS_HOLDS", "", "nor once the process is registered again"),
    ("news", "BUG_NO_LOOK", "", "nobody looks whether a hold has expired"),
    ("news", "BUG_CONFIRM_ONCE", "", "a confirmation that came to nothing is not repeated"),
    ("news", "BUG_LEAVE_UNNOTICED", "", "nothing is confirmed when the last one leaves"),
    ("news", "BUG_LAST_ROUTE_UNASKED", "", "nobody asks for who goes by the last route"),
    ("news", "BUG_FAILURE_FORGOTTEN", "", "a question that failed is not asked again"),
    ("news", "BUG_SWAP_UNCHECKED", "", "a user is assigned anew whatever the route is"),
]


class Broken(Exception):
    """A model, or a search of it, that did not run."""


def run(command, where):
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def must_run(command, where):
    status, said = run(command, where)
    if status != 0:
        raise Broken(f"{' '.join(command)}: {said.strip()}")


def build(where, model, definitions, options):
    """Makes the program that searches."""
    shutil.copy(os.path.join(HERE, model + ".pml"), where)
    defines = [f"-D{word}" for word in definitions.split()]
    must_run(["spin", "-a", *defines, model + ".pml"], where)
    must_run([CC, "-w", "-DSAFETY", "-DNOFAIR", *options, "-o", "pan", "pan.c"], where)


class Search:
    """What came of one search."""

    def __init__(self, model, definitions, options, flags, depth=DEPTH):
        with tempfile.TemporaryDirectory(prefix="model.") as where:
            build(where, model, definitions, options)
            began = time.monotonic()
            _, self.said = run(["./pan", f"-m{depth}", *flags], where)
            self.seconds = time.monotonic() - began
        found = re.search(r"(\d+) states, stored", self.said)
        factor = re.search(r"hash factor: ([\d.e+]+)", self.said)
        self.states = int(found.group(1)) if found else 0
        self.factor = float(factor.group(1)) if factor else 0
        self.violated = "assertion violated" in self.said
        self.clean = "errors: 0" in self.said and "depth too small" not in self.said
        self.ended = "Search not completed" not in self.said and "time-limit" not in self.said

    def cost(self):
        return f"{self.states:,} states, {self.seconds:.0f} s"


# --- The four kinds of checks: each gives whether it passed, and a sentence ----------------------

def check_whole(model, definitions, size):
    search = Search(model, definitions, ["-O2", "-DCOLLAPSE"], [size, "-n"])
    passed = search.clean and search.ended and search.states > 0
    return passed, f"all of {search.cost()}" if passed else search.said


def check_part(model, definitions):
    search = Search(model, definitions, ["-O2", "-DBITSTATE", "-DT_RAND", "-DP_RAND"],
                    [BITS, "-k3", "-n", f"-Q{MINUTES}"], DEPTH_OF_PART)
    passed = search.clean and search.states > 0
    how = "to the end" if search.ended else "not to the end"
    return passed, (f"{search.cost()}, {how}, {search.factor:.0f} bits a state"
                    if passed else search.said)


def check_found(model, definitions):
    """Compiled in a hurry: it takes longer than the search."""
    search = Search(model, definitions, ["-DCOLLAPSE"], [FEW, "-n"])
    return search.violated, (f"found after {search.cost()}" if search.violated else
                             f"not found: {search.said}")


def check_table():
    """Every BUG_ of the models has its line in RULES, and the other way round."""
    there = set()
    for model in sorted({rule[0] for rule in RULES}):
        with open(os.path.join(HERE, model + ".pml"), encoding="utf-8") as text:
            there |= {(model, bug) for bug in re.findall(r"\bBUG_[A-Z_]*[A-Z]\b", text.read())}
    odd = there ^ {(rule[0], rule[1]) for rule in RULES}
    return not odd, f"{len(there)} rules" if not odd else f"in one place only: {sorted(odd)}"


def checks(quick):
    """(name, function, arguments), the long ones first."""
    if not quick:
        for model, definitions in PART:
            yield f"holds  {model} {definitions}", check_part, (model, definitions)
    for model, definitions, size, early in WHOLE:
        if early or not quick:
            yield f"holds  {model} {definitions}", check_whole, (model, definitions, size)
    for model, definitions in WITNESSES:
        yield f"comes  {model} {definitions}", check_found, (model, definitions)
    for model, bug, definitions, what in RULES:
        yield (f"breaks {model} {bug} {definitions} ({what})", check_found,
               (model, f"{bug} {definitions}"))
    yield "every rule is in the table", check_table, ()


def guard(function, arguments):
    try:
        return function(*arguments)
    except Broken as why:
        return False, str(why)


def check_all(quick, jobs):
    failed = count = 0
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        asked = {pool.submit(guard, function, arguments): name
                 for name, function, arguments in checks(quick)}
        for done in concurrent.futures.as_completed(asked):
            passed, what = done.result()
            count += 1
            failed += not passed
            print(f"{'ok  ' if passed else 'FAIL'} {asked[done]}: {what}", flush=True)
    print(f"model: {count} checks, {failed} failed, {time.monotonic() - began:.0f} s")
    return failed == 0


def show(bug):
    """Breadth first, so that the schedule is short; with what each step changes."""
    for model, name, definitions, what in RULES:
        if name != bug:
            continue
        with tempfile.TemporaryDirectory(prefix="model.") as where:
            build(where, model, f"{bug} {definitions}", ["-O1", "-DBFS", "-DCOLLAPSE"])
            run(["./pan", MANY], where)
            defines = [f"-D{word}" for word in f"{bug} {definitions}".split()]
            _, said = run(["spin", "-t", "-p", "-g", "-l", *defines, model + ".pml"], where)
            print(f"{model}: {what}\n{said}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="without the searches by chance")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--show", metavar="BUG_NAME")
    arguments = parser.parse_args()
    if arguments.show:
        if arguments.show not in {rule[1] for rule in RULES}:
            sys.exit(f"no such rule: {arguments.show}")
        show(arguments.show)
        return
    sys.exit(0 if check_all(arguments.quick, arguments.jobs) else 1)


main()
