# SPDX-License-Identifier: Apache-2.0
"""gatepost as a process: its configuration, its log, its memory, and how it ends."""

import json
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import subprocess
import time

from client import Client
from servers import accepts, free_port, short_folder, wait_until

BINARY = os.environ.get("GATEPOST", "")

# What no log of a healthy run holds.
REPORTS = ("AddressSanitizer", "LeakSanitizer", "UndefinedBehaviorSanitizer", "ThreadSanitizer",
           "runtime error:", "invariant")


def is_sanitized():
    """Whether the program is built with AddressSanitizer, which needs memory of its own."""
    binary = pathlib.Path(BINARY)
    return binary.is_file() and b"__asan_init" in binary.read_bytes()


def toml(sections):
    """TOML for a dictionary of sections; a list of dictionaries becomes [[section]]s."""
    lines = []
    for name, content in sections.items():
        for table in content if isinstance(content, list) else [content]:
            lines.append(f"[[{name}]]" if isinstance(content, list) else f"[{name}]")
            lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items()]
            lines.append("")
    return "\n".join(lines)


def make_sections(certificates, backends, users=None, redis=None, **changes):
    """The sections of a configuration: `backends` maps names to an address or to options, `users`
    names to backends (static), `redis` is a URL or options. Each further argument changes keys of
    the section of its name, or is the whole list of its tables ("tls.certificate"). Failures are
    answered at once, so that tests are quick; backends hear of nobody but clients."""
    sections = {
        "process": {"workers": 2, "drain_timeout": "5s"},
        "log": {"level": "debug"},
        "tls": {},
        "tls.certificate": [certificate_table(certificates.server)],
        "limits": {"failure_delay": "0s", "login_failures": 1000, "close_timeout": "3s"},
        "routing": {"source": "redis" if redis else "static"},
        "backend": [],
        "health": {"check": "none"},
    }
    if redis:
        sections["redis"] = redis if isinstance(redis, dict) else {"url": redis}
    if users:
        sections["routing.users"] = dict(users)
    for name, what in backends.items():
        options = dict(what) if isinstance(what, dict) else {"address": what}
        sections["backend"].append({"name": name, "probe": False, **options})
    for section, keys in changes.items():
        if isinstance(keys, list):
            sections[section] = [dict(table) for table in keys]
        else:
            sections.setdefault(section, {}).update(keys)
    return sections


def certificate_table(pair, **options):
    """A [[tls.certificate]] for a Pair."""
    return {"chain": str(pair.chain), "key": str(pair.key), **options}


def in_place_of(mounts):
    """The beginning of a command that sees other files than this machine has: a dictionary of
    paths. By a mount namespace of its own, for which one must be root."""
    if not mounts:
        return []
    binds = [f"mount --bind {shlex.quote(str(file))} {shlex.quote(path)}"
             for path, file in mounts.items()]
    return ["unshare", "--mount", "sh", "-c", " && ".join([*binds, 'exec "$@"']), "sh"]


def can_mount():
    """Whether in_place_of works here."""
    return subprocess.run([*in_place_of({"/etc/hosts": "/etc/hosts"}), "true"], check=False,
                          capture_output=True).returncode == 0


class Gatepost:
    """A running gatepost with a listener of TLS on `tls_port`, one of STARTTLS on `starttls_port`,
    one without TLS on `port`, and one for each of `listeners`, a dictionary of options by name
    whose ports are in `ports`; further ones as told, where {port} in an address stands for
    `extra_port`. `mounts` are files that it finds in the place of others, see in_place_of."""

    def __init__(self, certificates, sections, limits=None, environment=None, plain=True,
                 port=None, extra_listeners=(), listeners=None, mounts=None):
        self.ca = certificates.ca
        self.folder = short_folder("proxy")
        self.tls_port, self.port, self.extra_port = free_port(), port or free_port(), free_port()
        self.starttls_port = free_port()
        self.ports = {name: free_port() for name in listeners or {}}
        self.sections = dict(sections)
        self.sections["listener"] = [
            {"address": f"127.0.0.1:{self.tls_port}"},
            {"address": f"127.0.0.1:{self.port}", "tls": "none", "allow_plaintext": plain},
            {"address": f"127.0.0.1:{self.starttls_port}", "tls": "starttls"}]
        for name, options in (listeners or {}).items():
            address = f"127.0.0.1:{self.ports[name]}"
            self.sections["listener"].append({"address": address, **options})
        for extra in extra_listeners:
            address = extra["address"].replace("{port}", str(self.extra_port))
            self.sections["listener"].append({**extra, "address": address})
        self.config = self.folder / "gatepost.toml"
        self.config.write_text(toml(self.sections))
        self.log_path = self.folder / "gatepost.log"
        self.status = None
        self.command = [*in_place_of(mounts or {}), BINARY, "-c", str(self.config)]
        self._start(limits or {}, environment or {})

    def _start(self, limits, environment):
        def prepare():
            for which, value in limits.items():
                resource.setrlimit(which, (value, value))

        env = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1", **environment}
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, env=env, preexec_fn=prepare)
        wait_until(lambda: self.process.poll() is not None or self._listens(), what="gatepost")
        assert self.process.poll() is None, self.log()

    def _listens(self):
        said = self.sections["log"]["level"] not in ("info", "debug") or '"listening"' in self.log()
        ports = (self.tls_port, self.port, self.starttls_port)
        return said and all(accepts(port) for port in ports)

    @property
    def pid(self):
        return self.process.pid

    # --- clients ---

    def connect(self, tls=True, greet=True, **options):
        """A client, TLS or not, that has read the greeting."""
        client = Client(self.tls_port if tls else self.port, self.ca if tls else None, **options)
        return client.greet() if greet else client

    def connect_to(self, listener, tls=True, greet=True, **options):
        """A client of one of `listeners`, by its name."""
        client = Client(self.ports[listener], self.ca if tls else None, **options)
        return client.greet() if greet else client

    def connect_starttls(self, **options):
        """A client that has read the greeting and began TLS by STARTTLS."""
        client = Client(self.starttls_port).greet()
        client.starttls(self.ca, **options)
        return client

    # --- the log ---

    def log(self):
        return self.log_path.read_text(errors="replace")

    def events(self, event=None):
        """The lines of the log as dictionaries; those of one event where it is named."""
        complete = self.log().rpartition("\n")[0]
        lines = [parse_log_line(line) for line in complete.splitlines()]
        return [line for line in lines if event is None or line.get("event") == event]

    def end_of(self, client, seconds=5):
        """The line about a client's session: there is exactly one, once the session is over."""
        address = getattr(client, "address", client)
        lines = wait_until(lambda: [line for line in self.events("session")
                                    if line.get("client") == address], seconds,
                           f"line about {address}")
        assert len(lines) == 1, lines
        return lines[0]

    def wait_for_log(self, text, seconds=5):
        wait_until(lambda: text in self.log(), seconds, f"{text!r} in the log")

    # --- the process ---

    def descriptors(self):
        """How many file descriptors it holds."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resting_descriptors(self):
        """The same, once it has not changed for a while: each worker has reached Redis, and the
        probes that waited for the listeners are gone."""
        seen = [self.descriptors()]
        while len(seen) < 5 or len(set(seen[-5:])) > 1:
            time.sleep(0.1)
            seen.append(self.descriptors())
        return seen[-1]

    def resident_kib(self):
        return int(re.search(r"VmRSS:\s+(\d+)", self._proc("status"))[1])

    def cpu_seconds(self):
        """Processor time used so far, by all its threads."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _proc(self, name):
        return pathlib.Path(f"/proc/{self.pid}/{name}").read_text()

    def holds_in_memory(self, needle):
        """Whether the bytes stand anywhere in its writable memory."""
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            for line in self._proc("maps").splitlines():
                match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
                if not match:
                    continue
                start, end = int(match[1], 16), int(match[2], 16)
                # AddressSanitizer's shadow of the whole address space holds no data.
                if end - start <= 1 << 32 and self._region_holds(memory, start, end, needle):
                    return True
        return False

    @staticmethod
    def _region_holds(memory, start, end, needle):
        step = 1 << 24
        while start < end:
            try:
                memory.seek(start)
                data = memory.read(min(step + len(needle), end - start))
            except (OSError, OverflowError):
                return False
            if needle in data:
                return True
            start += step
        return False

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, seconds=10):
        """Its exit status."""
        self.status = self.process.wait(seconds)
        return self.status

    def stop(self, seconds=15):
        """SIGTERM, and what must hold of every end: status 0, and no report in the log."""
        try:
            if self.status is None:
                assert self.process.poll() is None, \
                    f"gatepost ended early ({self.process.returncode}):\n{self.log()[-4000:]}"
                self.signal()
                started = time.monotonic()
                self.wait(seconds)
                assert time.monotonic() - started < seconds
            log = self.log()
            assert self.status == 0, f"exit status {self.status}:\n{log[-4000:]}"
            found = [report for report in REPORTS if report in log]
            assert not found, f"{found} in the log:\n{log[-8000:]}"
        finally:
            self.kill()

    def kill(self):
        """Ends it whatever it does, and removes its folder."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def parse_log_line(line):
    """A logfmt or JSON line as a dictionary of strings (JSON: of values)."""
    if line.startswith("{"):
        return json.loads(line)
    fields = {}
    for key, value in re.findall(r'([A-Za-z0-9_]+)=("(?:[^"\\]|\\.)*"|\S*)', line):
        fields[key] = json.loads(value) if value.startswith('"') and "\\x" not in value \
            else value.strip('"')
    return fields


def run_binary(*arguments, seconds=20):
    """gatepost run to its end; text captured."""
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True,
                          timeout=seconds, stdin=subprocess.DEVNULL, check=False)
