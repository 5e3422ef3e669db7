#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""gatepost beside nginx (mail) and HAProxy (TCP and TLS), interleaved, on one pinned core.

The proxy alone has one core; the load generator, the backend, the answerer of nginx's auth_http
question and Redis share another. CPU time is what the scheduler booked on the proxy's processes.
Prints the machine, a table in Markdown, and one line of JSON per figure and proxy.
"""
import argparse
import json
import os
import platform
import re
import resource
import shutil
import signal
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NGINX_MODULE = "/usr/lib/nginx/modules/ngx_mail_module.so"
IMAP_PORT, HTTP_PORT, FRONT_PORT = 19143, 19180, 19993
OTHERS_MOST = 0.1     # of one core may go to other programs before all is doubted
RESUMED_LEAST = 0.98  # of the logins meant to be resumed; below it the figure is doubted


def busy_seconds(cores):
    """What the kernel has booked on these cores since it started, idling left out."""
    total = 0
    with open("/proc/stat", encoding="ascii") as stat:
        for line in stat:
            cells = line.split()
            if cells[0] in {f"cpu{core}" for core in cores}:
                total += sum(int(cell) for cell in cells[1:9]) - int(cells[4]) - int(cells[5])
    return total / os.sysconf("SC_CLK_TCK")


def process_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            cells = stat.read().rpartition(")")[2].split()
        total += int(cells[11]) + int(cells[12])
    return total / os.sysconf("SC_CLK_TCK")


def say(text):
    print(text, file=sys.stderr, flush=True)


# --- processes -----------------------------------------------------------------------------------

def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Program:
    """A process group of ours on one core."""

    def __init__(self, command, core, folder, name):
        self.log = os.path.join(folder, name + ".log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}))

    def wait_for(self, address):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
                with socket.socket(family) as probe:
                    probe.settimeout(1)
                    probe.connect(address)
                time.sleep(0.2)
                if self.process.poll() is None:
                    return
            except OSError:
                time.sleep(0.02)
        with open(self.log, encoding="utf-8", errors="replace") as log:
            raise RuntimeError(f"did not start: {log.read()[-2000:]}")

    def pids(self):
        found, seen = [self.process.pid], 0
        while seen < len(found):
            pid = found[seen]
            seen += 1
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as children:
                    found += [int(child) for child in children.read().split()]
        return found

    def pss_kib(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
                # What was swapped out meanwhile is used all the same.
                sizes = re.findall(r"^(?:Pss|SwapPss):\s+(\d+) kB", rollup.read(), re.M)
                total += sum(int(size) for size in sizes)
        return total

    def stop(self):
        """Ends the group and waits for every process of it: a port must be free for the next."""
        left = self.pids() if self.process.poll() is None else []
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        deadline = time.monotonic() + 10
        while any(is_alive(pid) for pid in left) and time.monotonic() < deadline:
            time.sleep(0.02)


class Proxy:
    def __init__(self, name, template, command, version):
        self.name, self.template, self.command, self.version = name, template, command, version

    def start(self, bench):
        path = os.path.join(bench.folder, self.template)
        with open(os.path.join(HERE, "peers", self.template), encoding="utf-8") as template:
            text = string.Template(template.read()).substitute(bench.values)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        program = Program(self.command + [path], bench.proxy_core, bench.folder, self.name)
        try:
            program.wait_for(("127.0.0.1", FRONT_PORT))
        except RuntimeError:
            program.stop()
            raise
        return program


def output_of(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip()


def first_line(text):
    return text.splitlines()[0] if text else "?"


def find_proxies(gatepost):
    proxies = []
    if gatepost:
        version = first_line(output_of([gatepost, "--version"]))
        proxies.append(Proxy("gatepost", "gatepost.toml", [gatepost, "-c"], version))
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if nginx and os.path.exists(NGINX_MODULE):
        version = first_line(output_of([nginx, "-v"])).replace("nginx version: ", "")
        proxies.append(Proxy("nginx", "nginx.conf", [nginx, "-c"], version))
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    if haproxy:
        version = " ".join(first_line(output_of([haproxy, "-v"])).split()[:3])
        proxies.append(Proxy("haproxy", "haproxy.cfg", [haproxy, "-db", "-f"], version))
    if gatepost and shutil.which("redis-server"):
        version = first_line(output_of(["redis-server", "--version"]))
        proxies.append(Proxy("gatepost-redis", "gatepost-redis.toml", [gatepost, "-c"], version))
    return proxies


# --- Redis ---------------------------------------------------------------------------------------

def set_command(key, value):
    words = [b"SET", key.encode(), value.encode()]
    return b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def read_oks(redis, count):
    """The answers to so many SETs."""
    answer = b"+OK\r\n"
    left = count * len(answer)
    while left > 0:
        got = redis.recv(min(left, 1 << 16))
        if not got or b"-" in got:
            raise RuntimeError("Redis refused a SET")
        left -= len(got)


def connect_redis(path):
    redis = socket.socket(socket.AF_UNIX)
    redis.connect(path)
    return redis


def set_all(path, pairs):
    with connect_redis(path) as redis:
        redis.sendall(b"".join(set_command(key, value) for key, value in pairs))
        read_oks(redis, len(pairs))


# --- figures -------------------------------------------------------------------------------------

def cpu_per(result, count, scale):
    return result["cpu"]["proxy"] / max(count, 1) * scale


def cpu_per_operation(result):
    return [cpu_per(result, result["operations"], 1e6)]


def latencies(scale):
    return lambda result: [result["latency_us"]["p50"] * scale, result["latency_us"]["p99"] * scale]


class Figure:
    """One row, or two, of the table: how to load the proxy and what to read from the result."""

    def __init__(self, names, unit, arguments, read, goal, redis=False):
        self.names, self.unit, self.arguments, self.read = names, unit, arguments, read
        self.goal, self.redis = goal, redis


def figures(quick):
    window = ["--warmup", "0.5", "--seconds", "1" if quick else "3"]
    bulk = ["--sessions", "8", "--bytes", str(64 << 20)] + window
    login = ["--mode", "login", "--sessions", "128"] + window + ["--warmup", "1"]
    return [
        Figure(["full login, CPU"], "µs", login, cpu_per_operation, "CPU", redis=True),
        Figure(["resumed login, CPU"], "µs", login + ["--resume"], cpu_per_operation, "CPU"),
        Figure(["download, CPU"], "ns/B", ["--mode", "download"] + bulk,
               lambda r: [cpu_per(r, r["bytes_in"], 1e9)], "CPU"),
        Figure(["upload, CPU"], "ns/B", ["--mode", "upload"] + bulk,
               lambda r: [cpu_per(r, r["bytes_out"], 1e9)], "CPU"),
        Figure(["NOOP closed loop, CPU"], "µs", ["--mode", "noop", "--sessions", "32"] + window,
               cpu_per_operation, "CPU"),
        Figure(["NOOP at 5,000/s, p50", "NOOP at 5,000/s, p99"], "µs",
               ["--mode", "noop", "--sessions", "100", "--rate", "5000"] + window,
               latencies(1), "time"),
        Figure(["login at 300/s, p50", "login at 300/s, p99"], "ms",
               ["--mode", "login", "--sessions", "300", "--rate", "300"] + window,
               latencies(1e-3), "time", redis=True),
    ]


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.imapload = os.path.join(options.tools, "imapload")
        cores = sorted(os.sched_getaffinity(0))
        self.proxy_core, self.far_core = cores[0], cores[1 % len(cores)]
        self.idle_sessions = 2000 if options.quick else 9000
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        if files < 2 * self.idle_sessions + 200:
            self.idle_sessions = (files - 200) // 2
        self.values = {
            "folder": folder, "port": FRONT_PORT, "imap_port": IMAP_PORT, "http_port": HTTP_PORT,
            "files": files, "sessions": (files - 200) // 2, "sessions_both": files - 100,
            "module": NGINX_MODULE, "chain": f"{folder}/chain.pem", "key": f"{folder}/key.pem",
            "both": f"{folder}/both.pem"}
        self.samples = {}  # (figure, proxy) -> values
        self.shares = {}   # (figure, proxy) -> [(proxy core, far core, operations per second)]
        self.doubts = []
        self.others = []   # parts of a core that went to other programs, per measurement
        self.programs = []
        self.backend = None

    def prepare(self):
        os.chmod(self.folder, 0o755)
        key, chain = self.values["key"], self.values["chain"]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:bench",
             "-keyout", key, "-out", chain], check=True, capture_output=True)
        with open(self.values["both"], "w", encoding="ascii") as both:
            for path in (chain, key):
                with open(path, encoding="ascii") as part:
                    both.write(part.read())
        self.backend = self.helper([os.path.join(self.options.tools, "plain_backend"),
                                    str(IMAP_PORT), str(HTTP_PORT)], "backend",
                                   ("127.0.0.1", HTTP_PORT))

    def helper(self, command, name, address):
        program = Program(command, self.far_core, self.folder, name)
        self.programs.append(program)
        program.wait_for(address)
        return program

    def prepare_redis(self):
        path = f"{self.folder}/redis.sock"
        self.helper(["redis-server", "--port", "0", "--unixsocket", path, "--save", "",
                     "--dir", self.folder], "redis", path)
        set_all(path, [(f"gatepost:route:bench{i}", "mail1") for i in range(self.idle_sessions)])

    def load_command(self, program, arguments):
        pids = ",".join(str(pid) for pid in program.pids())
        return [self.imapload, "--port", str(FRONT_PORT), "--account", f"proxy={pids}",
                "--account", f"backend={self.backend.process.pid}"] + arguments

    def start_load(self, program, arguments):
        return subprocess.Popen(
            self.load_command(program, arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, preexec_fn=lambda: os.sched_setaffinity(0, {self.far_core}))

    def keep(self, name, proxy, value, result):
        key = (name, proxy.name)
        self.samples.setdefault(key, []).append(value)
        seconds = result["seconds"]
        cpu = result["cpu"]
        self.shares.setdefault(key, []).append(
            (cpu["proxy"] / seconds, (cpu["load"] + cpu["backend"]) / seconds,
             result["per_second"], result["protocol"]))

    def elsewhere(self, program):
        """CPU seconds on our cores so far that were not the benchmark's."""
        ours = [pid for one in self.programs + [program] for pid in one.pids()]
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (busy_seconds({self.proxy_core, self.far_core}) - process_seconds(ours)
                - children.ru_utime - children.ru_stime)

    def doubt(self, proxy, name, text):
        self.doubts.append(f"{proxy.name}, {name}: {text}")
        say(f"    ! {text}")

    def try_to(self, measure, what, proxy):
        try:
            measure(what, proxy)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            self.doubt(proxy, getattr(what, "names", [what])[0], f"not measured: {error}")

    def measure(self, figure, proxy):
        program = proxy.start(self)
        try:
            started, others = time.monotonic(), self.elsewhere(program)
            load = self.start_load(program, figure.arguments)
            out, _ = load.communicate(timeout=120)
            others = (self.elsewhere(program) - others) / (time.monotonic() - started)
        finally:
            program.stop()
        if load.returncode != 0:
            self.doubt(proxy, figure.names[0], "the load generator gave up")
            return
        self.others.append(others)
        if others > OTHERS_MOST:
            say(f"    ! other programs took {others:.0%} of a core")
        result = json.loads(out)
        if result["failed"] or result["unanswered"]:
            self.doubt(proxy, figure.names[0], f"{result['failed']} failed, "
                       f"{result['unanswered']} unanswered {result['last_failure']}")
        if "--resume" in figure.arguments and (
                result["resumed"] < result["operations"] * RESUMED_LEAST):
            self.doubt(proxy, figure.names[0],
                       f"{result['resumed']} of {result['operations']} logins were resumed")
        for name, value in zip(figure.names, figure.read(result)):
            self.keep(name, proxy, value, result)
            say(f"    {proxy.name:15} {name}: {value:.2f} {figure.unit}")

    def measure_idle(self, name, proxy):
        program = proxy.start(self)
        # Where users are in Redis, each session has one of its own, as most have.
        users = self.idle_sessions if proxy.name == "gatepost-redis" else 1
        load = self.start_load(program, ["--mode", "idle", "--sessions", str(self.idle_sessions),
                                         "--users", str(users), "--concurrency", "64"])
        try:
            load.stdout.readline()
            before = program.pss_kib()
            load.stdin.write("go\n")
            load.stdin.flush()
            line = load.stdout.readline()
            time.sleep(2)
            after = program.pss_kib()
            load.communicate("end\n", timeout=60)
        finally:
            program.stop()
            load.kill()
            load.wait()
        if not line:
            self.doubt(proxy, name, "the load generator gave up")
            return
        result = json.loads(line)
        if result["lost"] or result["failed"]:
            self.doubt(proxy, name, f"{result['failed']} failed {result['last_failure']}")
        value = (after - before) / self.idle_sessions
        self.keep(name, proxy, value, result)
        say(f"    {proxy.name:15} {name}: {value:.2f} KiB ({before} KiB before, {after} after)")

    def stop(self):
        for program in self.programs:
            program.stop()


# --- report --------------------------------------------------------------------------------------

def machine(bench, proxies):
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        model = re.search(r"model name\s*:\s*(.*)", cpuinfo.read())
    lines = [f"- machine: {model.group(1) if model else '?'}, {os.cpu_count()} cores, "
             f"{platform.system()} {platform.release()}",
             f"- proxy on core {bench.proxy_core}; load generator and backend on core "
             f"{bench.far_core}"]
    for package in ("android-libboringssl", "libssl3"):
        version = output_of(["dpkg-query", "-W", "-f", "${Version}", package])
        lines.append(f"- {package} {version}")
    return lines + [f"- {proxy.name}: {proxy.version}" for proxy in proxies]


def number(value):
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def cell(values):
    if not values:
        return ""
    median = number(statistics.median(values))
    if len(values) == 1:
        return median
    return f"{median} ({number(min(values))}–{number(max(values))})"


def report(bench, rows, proxies):
    names = [proxy.name for proxy in proxies]
    print("\n".join(machine(bench, proxies)))
    print("\n| | unit | " + " | ".join(names) + " | gatepost ÷ nginx | ÷ haproxy |")
    print("|---" * (len(names) + 4) + "|")
    for name, unit in rows:
        values = {proxy: bench.samples.get((name, proxy), []) for proxy in names}
        ratios = []
        for peer in ("nginx", "haproxy"):
            ours, theirs = values.get("gatepost"), values.get(peer)
            ratios.append(f"{statistics.median(ours) / statistics.median(theirs):.2f}"
                          if ours and theirs else "")
        print(f"| {name} | {unit} | " + " | ".join(cell(values[proxy]) for proxy in names)
              + " | " + " | ".join(ratios) + " |")
    print("""
Median (least–most). How busy the cores were while measuring: the proxy's core / the core of the
load generator and the backend; operations per second.
""")
    print("| | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for name, _ in rows:
        cells = []
        for proxy in names:
            shares = bench.shares.get((name, proxy))
            cells.append("" if not shares else "{:.0%} / {:.0%}; {:.0f}/s".format(
                *(statistics.median(share[i] for share in shares) for i in range(3))))
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("""
Where the proxy's core was full, the proxy was the limit. Where it was not, the figure still holds:
it is CPU time booked on the proxy divided by work done, or a latency at a fixed rate with both
cores mostly free.
""")
    if max(bench.others, default=0) > OTHERS_MOST:
        print(f"doubtful: other programs took {statistics.median(bench.others):.0%} of a core "
              f"(at most {max(bench.others):.0%}):\nlatencies and rates say little, CPU and memory "
              "are still near the truth")
    for doubt in bench.doubts:
        print(f"doubtful: {doubt}")
    for name, unit in rows:
        for proxy in names:
            values = bench.samples.get((name, proxy))
            if values:
                shares = bench.shares[(name, proxy)]
                print(json.dumps({
                    "figure": name, "unit": unit, "proxy": proxy,
                    "median": round(statistics.median(values), 4),
                    "min": round(min(values), 4), "max": round(max(values), 4),
                    "runs": len(values), "protocol": shares[-1][3],
                    "proxy_core": round(statistics.median(s[0] for s in shares), 3),
                    "far_core": round(statistics.median(s[1] for s in shares), 3)},
                    ensure_ascii=False))


def run(options, folder):
    bench = Bench(options, folder)
    proxies = [proxy for proxy in find_proxies(options.gatepost)
               if not options.only or proxy.name in options.only]
    wanted = [figure for figure in figures(options.quick)
              if not options.figure or any(options.figure in name for name in figure.names)]
    idle = f"idle session, PSS ({bench.idle_sessions} in IDLE)"
    with_idle = not options.figure or options.figure in idle
    rows = [(name, figure.unit) for figure in wanted for name in figure.names]
    rows += [(idle, "KiB")] if with_idle else []
    try:
        bench.prepare()
        if any(proxy.template == "gatepost-redis.toml" for proxy in proxies):
            bench.prepare_redis()
        for turn in range(options.runs):
            say(f"run {turn + 1} of {options.runs}")
            for figure in wanted:
                for proxy in proxies:
                    if figure.redis or proxy.name != "gatepost-redis":
                        bench.try_to(bench.measure, figure, proxy)
            for proxy in proxies if with_idle else []:
                bench.try_to(bench.measure_idle, idle, proxy)
    finally:
        bench.stop()
    report(bench, rows, proxies)
    return 1 if bench.doubts else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gatepost", help="the binary; without it only the peers are measured")
    parser.add_argument("--tools", required=True, help="folder of imapload and plain_backend")
    parser.add_argument("--quick", action="store_true", help="one short run, 2,000 idle sessions")
    parser.add_argument("--runs", type=int, help="how often everything is measured (3)")
    parser.add_argument("--only", action="append", help="only this proxy (may be repeated)")
    parser.add_argument("--figure", help="only figures whose name holds this text")
    options = parser.parse_args()
    options.runs = options.runs or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory(prefix="gatepost-bench-") as folder:
        return run(options, folder)


if __name__ == "__main__":
    sys.exit(main())
