# SPDX-License-Identifier: Apache-2.0
"""The floors of the house: who may include whom, and which library lives in which room."""
import fnmatch
import os
import re

import source

FLOORS = ["base", "imap", "core", "net", "routing", "session", "daemon"]
PURE = ("base", "imap")

# header: where it may be included. A trailing * stands for the rest of the name.
ROOMS_OF_LIBRARIES = {
    "hiredis/": ["routing/redis_codec"],
    "openssl/": ["net/tls*", "net/ticket", "net/stream*", "base/hash"],
    "toml++/": ["core/toml"],
    "ares.h": ["net/resolver*"],
    "ev.h": ["net/*", "routing/*", "session/*", "daemon/*"],
    # Workers share the ticket keys, which are exchanged, and the OCSP responses of the store; the
    # inbox is where threads meet; what Redis said is shared by the shards of the directory;
    # ports in use are counted for all workers.
    "pthread.h": ["daemon/mailbox", "daemon/worker", "daemon/keeper", "core/log", "core/metrics",
                  "core/config", "net/ticket", "net/tls", "net/inbox", "net/source_pool",
                  "routing/route_text", "routing/member", "routing/pool", "routing/canary",
                  "routing/directory"],
    # Process-wide tables count without a lock. Members of the pool are shared by all workers. All
    # workers enter and leave the directory, each shard of it under a lock.
    "stdatomic.h": ["daemon/mailbox", "daemon/worker", "core/log", "core/metrics", "core/config",
                    "session/limit", "routing/route_text", "routing/member", "routing/pool",
                    "routing/directory"],
    # The process waits once for the keeper.
    "semaphore.h": ["daemon/keeper"],
    "threads.h": [],
    "jansson.h": ["daemon/control"],
    "microhttpd.h": ["daemon/http"],
}

# Floors base and imap: no clock, no files, no sockets but for addresses, no locale.
PURE_HEADERS = {"time.h", "sys/time.h", "unistd.h", "fcntl.h", "poll.h", "sys/epoll.h", "signal.h",
                "syslog.h", "locale.h", "ctype.h", "strings.h", "pthread.h", "stdatomic.h"}
ADDRESS_HEADERS = {"sys/socket.h", "sys/un.h", "netinet/in.h", "arpa/inet.h"}
PURE_CALLS = ("printf fprintf vprintf vfprintf fopen fputs puts fwrite fread fflush perror getenv "
              "time clock clock_gettime gettimeofday nanosleep sleep usleep random "
              "socket connect bind listen accept send sendmsg recv recvmsg read write open close "
              "syslog isalpha isdigit isspace isalnum isupper islower toupper tolower strcasecmp "
              "strncasecmp strtod setlocale").split()
# invariant() is how a bug of ours ends the program; it says which.
PURE_EXCEPTIONS = {("proxy/base/error.c", "fprintf"), ("proxy/base/error.c", "fflush")}

# The clock of the wall jumps: what has to wait, or grows old, goes by timeouts_now_ms. Here it is
# shown to people, or compared with dates that others wrote.
WALL_CLOCK = re.compile(r"(?<![\w>.])(time|ev_time|ev_now|gettimeofday)\s*\(|\bCLOCK_REALTIME\b")
WALL_CLOCK_ROOMS = {"proxy/core/log.c", "proxy/net/tls_staple.c", "proxy/routing/directory_node.c",
                    "proxy/routing/directory_drain.c"}

NOWHERE = ("gets strcpy strcat sprintf vsprintf strtok atoi atol atoll alloca system popen rand "
           "srand tmpnam mktemp ctime asctime localtime gmtime strerror_l gethostbyname "
           "getaddrinfo setjmp longjmp").split()


# What a library asks to be defined.
FOREIGN_MACROS = {("proxy/core/toml.cpp", "TOML_UNREACHABLE")}


def room_and_name(path):
    _, room, name = path.split("/")[:3]
    return room, name


def find_modules():
    """Of each room those with a contract in include/; and all that have a header of their own."""
    modules = {"private": set()}
    for path in source.files("include"):
        if path.count("/") == 2:
            room, name = room_and_name(path)
            modules.setdefault(room, set()).add(os.path.splitext(name)[0])
    for path in source.files("proxy"):
        if path.count("/") == 2 and path.endswith("_internal.h"):
            modules["private"].add(room_and_name(path)[0] + "/"
                                   + room_and_name(path)[1].removesuffix("_internal.h"))
    return modules


def module_of(room, stem, modules):
    """preauth_internal.h and preauth_line.c are parts of preauth, if that has a contract. What has
    an internal header of its own name is a module of its own: anybody in the room may use it."""
    stem = stem.replace("_internal", "")
    if f"{room}/{stem}" in modules["private"]:
        return stem
    parts = stem.split("_")
    for length in range(len(parts), 0, -1):
        begin = "_".join(parts[:length])
        if begin in modules.get(room, ()):
            return begin
    return stem


def may_include(header, room, stem):
    for library, places in ROOMS_OF_LIBRARIES.items():
        if header == library or (library.endswith("/") and header.startswith(library)):
            for place in places:
                place_room, place_name = place.split("/")
                if place_room == room and fnmatch.fnmatchcase(stem, place_name):
                    return True
            return False
    return True


def check_include(faults, path, line, header, system):
    room, name = room_and_name(path)
    stem = os.path.splitext(name)[0].replace("_internal", "")
    if header.endswith((".c", ".cpp")):
        faults.add(path, line, f"includes {header}: no file of proxy/ is included by another")
    if not may_include(header, room, stem):
        faults.add(path, line, f"<{header}> does not live in this room (tests/lint/floors.py)")
    if system and room in PURE:
        if header in PURE_HEADERS:
            faults.add(path, line, f"<{header}> on floor {room}: no I/O, clock or locale there")
        if header in ADDRESS_HEADERS and stem != "addr":
            faults.add(path, line, f"<{header}> on floor {room}: only addr knows addresses")


def check_floor(faults, path, line, header, edges, modules):
    room, name = room_and_name(path)
    if "/" not in header:
        header = f"{room}/{header}"
    target_room, target_name = header.split("/", 1)
    if target_room not in FLOORS:
        faults.add(path, line, f'"{header}" is of no floor')
        return
    if FLOORS.index(target_room) > FLOORS.index(room):
        faults.add(path, line, f"floor {room} includes {header} of the higher floor {target_room}")
    if target_room == room:
        here = module_of(room, os.path.splitext(name)[0], modules)
        there = module_of(room, os.path.splitext(target_name)[0], modules)
        # A private part may know the contract that it helps to keep.
        if here != there and here in modules.get(room, ()):
            edges.setdefault((room, here), {}).setdefault((room, there), (path, line))
    elif "_internal" in target_name:
        faults.add(path, line, f"{header} is private to {target_room}")


def find_cycles(faults, edges):
    done = set()

    def walk(node, trail):
        if node in trail:
            circle = trail[trail.index(node):] + [node]
            path, line = edges[circle[-2]][node]
            faults.add(path, line, "modules include each other: "
                       + " -> ".join("/".join(part) for part in circle))
            return
        if node in done:
            return
        for target in edges.get(node, {}):
            walk(target, trail + [node])
        done.add(node)

    for node in list(edges):
        walk(node, [])


def check_calls(faults, path, text):
    room, _ = room_and_name(path)
    words = NOWHERE + (PURE_CALLS if room in PURE else [])
    pattern = re.compile(r"(?<![\w>.])(" + "|".join(words) + r")\s*\(")
    for number, line in enumerate(text.split("\n"), 1):
        for match in pattern.finditer(line):
            word = match.group(1)
            if (path, word) in PURE_EXCEPTIONS:
                continue
            where = "anywhere" if word in NOWHERE else f"on floor {room}"
            faults.add(path, number, f"{word}() is not called {where}")


def check_manners(faults, path, text):
    """goto goes to done, macros stay expressions; one function changes a session's phase."""
    for number, line in enumerate(text.split("\n"), 1):
        if WALL_CLOCK.search(line) and path not in WALL_CLOCK_ROOMS:
            faults.add(path, number, "the clock of the wall jumps: timeouts_now_ms()")
        goto = re.search(r"\bgoto\s+(\w+)", line)
        if goto and goto.group(1) != "done":
            faults.add(path, number, f"goto {goto.group(1)}: the one label is done")
    joined = re.sub(r"\\\n", "\\\\  ", text)
    for number, line in enumerate(joined.split("\n"), 1):
        jump = re.match(r"\s*#\s*define\s+(\w+).*\b(return|goto|break|continue)\b", line)
        if jump and (path, jump.group(1)) not in FOREIGN_MACROS:
            faults.add(path, number, "a macro that jumps")


def check_phase(faults):
    assignments = []
    for path in source.files("proxy/session", "proxy/daemon"):
        for number, line in enumerate(source.bare(source.read(path)).split("\n"), 1):
            if re.search(r"(->|\.)phase\s*=[^=]", line):
                assignments.append((path, number))
    for path, number in assignments[1:]:
        faults.add(path, number, "phase is assigned in one place only, session_enter()")


def main():
    faults, edges, modules = source.Faults(), {}, find_modules()
    for path in source.files("proxy", "include"):
        if path.count("/") != 2 or path.split("/")[1] not in FLOORS:
            faults.add(path, 1, "stands on no floor")
            continue
        text = source.read(path)
        # Includes are read before strings are emptied.
        for number, line in enumerate(text.split("\n"), 1):
            include = re.match(r'\s*#\s*include\s+(<([^>]+)>|"([^"]+)")', line)
            if include:
                header = include.group(2) or include.group(3)
                check_include(faults, path, number, header, include.group(2) is not None)
                if include.group(3):
                    check_floor(faults, path, number, header, edges, modules)
        stripped = source.bare(text)
        check_calls(faults, path, stripped)
        check_manners(faults, path, stripped)
    find_cycles(faults, edges)
    check_phase(faults)
    faults.finish()


main()
