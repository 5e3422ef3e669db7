#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the directory costs: users who are not cached, changes of routes, and moves of thousands.

gatepost alone has one core, its keeper's thread too; the load generator, the backends, Redis and
the writer share another. Prints a table in Markdown and one line of JSON per row.
"""
import argparse
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import run

REDIS_PORT, OTHER_IMAP_PORT, OTHER_HTTP_PORT = 19379, 19144, 19181
ROUTE = "gatepost:route:"
NOOPS = (5000, 100)        # a second, and the sessions that take turns
MOVE_NOOPS = (2000, 1000)  # so many sessions that none waits for another while some are slow
WRITES_A_SECOND, WRITES_AT_ONCE = 10000, 20
KEYS = 10000               # of routes that are written over and over
KICKED = 5000              # sessions that a move of all their users ends
KICK_WITHIN = 10           # seconds
FILES_A_SESSION = 2


# --- changes of routes ---------------------------------------------------------------------------

def write_steadily(path, core, batches, halt, report):
    """A process of its own: a batch each turn, whatever Redis does, until it shall halt."""
    os.sched_setaffinity(0, {core})
    interval = WRITES_AT_ONCE / WRITES_A_SECOND
    with run.connect_redis(path) as redis:
        began = due = time.monotonic()
        turn = 0
        while not halt.is_set():
            redis.sendall(batches[turn % len(batches)])
            run.read_oks(redis, WRITES_AT_ONCE)
            turn += 1
            due += interval
            time.sleep(max(0, due - time.monotonic()))
        report.put((turn * WRITES_AT_ONCE, time.monotonic() - began))


class Writer:
    """SETs of routes, each to what it is already, a share of them of users with sessions; or of
    keys that nobody watches, which is as much work for Redis."""

    def __init__(self, bench, prefix, live_share):
        live = int(WRITES_AT_ONCE * live_share)
        batches = []
        for turn in range(KEYS // WRITES_AT_ONCE):
            names = [f"noop{(turn * live + i) % NOOPS[1]}" for i in range(live)]
            names += [f"away{turn * WRITES_AT_ONCE + i}" for i in range(WRITES_AT_ONCE - live)]
            batches.append(b"".join(run.set_command(prefix + name, "mail2") for name in names))
        self.halt, self.report = multiprocessing.Event(), multiprocessing.Queue()
        self.process = multiprocessing.Process(
            target=write_steadily, daemon=True,
            args=(bench.redis_path, bench.far_core, batches, self.halt, self.report))
        self.process.start()

    def stop(self):
        """How many were written, and in how many seconds."""
        self.halt.set()
        written = self.report.get(timeout=10)
        self.process.join()
        return written


# --- figures -------------------------------------------------------------------------------------

def keeper_ns(pid):
    """CPU time of the keeper's thread so far."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as name:
            if name.read().strip() != "keeper":
                continue
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as stat:
            return int(stat.read().split()[0])
    raise RuntimeError("there is no keeper")


def sessions_of(port):
    """How many are logged in at a backend, and when the last that ended did so."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as backend:
        backend.sendall(b"GET /sessions HTTP/1.0\r\n\r\n")
        answer = b""
        while more := backend.recv(4096):
            answer += more
    count, last = answer.split()[-2:]
    return int(count), float(last)


class RoutingBench(run.Bench):
    def __init__(self, options, folder):
        super().__init__(options, folder)
        self.redis_path = f"{folder}/redis.sock"
        self.values["other_imap_port"] = OTHER_IMAP_PORT
        self.proxy = run.Proxy("gatepost", "gatepost-moves.toml", [options.gatepost, "-c"],
                               run.first_line(run.output_of([options.gatepost, "--version"])))
        self.window = "1" if options.quick else "3"
        most = (self.values["files"] - 500) // FILES_A_SESSION - MOVE_NOOPS[1]
        self.kicked = min(1000 if options.quick else KICKED, most)
        self.rows = {}  # name -> (unit, values)

    def prepare(self):
        super().prepare()
        self.helper([os.path.join(self.options.tools, "plain_backend"), str(OTHER_IMAP_PORT),
                     str(OTHER_HTTP_PORT)], "backend2", ("127.0.0.1", OTHER_HTTP_PORT))
        self.helper(["redis-server", "--port", str(REDIS_PORT), "--bind", "127.0.0.1",
                     "--unixsocket", self.redis_path, "--save", "", "--dir", self.folder],
                    "redis", self.redis_path)
        run.set_all(self.redis_path,
                [(f"{ROUTE}noop{i}", "mail2") for i in range(MOVE_NOOPS[1])]
                + [(f"{ROUTE}away{i}", "mail2") for i in range(KEYS)])

    def note(self, name, unit, value):
        self.rows.setdefault(name, (unit, []))[1].append(value)
        run.say(f"    {name}: {value:.2f} {unit}")

    def note_noops(self, noops, when, result):
        for part in ("p50", "p99", "max"):
            self.note(f"NOOP at {noops[0]:,}/s {when}, {part}", "µs", result["latency_us"][part])
        if result["unanswered"]:
            self.doubt(self.proxy, when, f"{result['unanswered']} NOOPs unanswered")

    def start_noops(self, program, noops, seconds):
        rate, sessions = noops
        return self.start_load(program, [
            "--mode", "noop", "--sessions", str(sessions), "--users", str(sessions), "--prefix",
            "noop", "--rate", str(rate), "--announce", "--warmup", "0.5", "--seconds", seconds])

    @staticmethod
    def await_window(load):
        if load.stdout.readline() != "measuring\n":
            raise RuntimeError("the load generator gave up")

    @staticmethod
    def result_of(load):
        out, _ = load.communicate(timeout=120)
        if load.returncode != 0:
            raise RuntimeError("the load generator gave up")
        return json.loads(out)

    def noops(self, program):
        load = self.start_noops(program, NOOPS, self.window)
        self.await_window(load)
        return self.result_of(load)

    # --- Users who are not cached --------------------------------------------------------------

    def measure_uncached(self):
        # Every user of it must be new to its Redis, and nobody else may speak to that.
        tool = os.path.join(self.options.tools, "uncached")
        done = subprocess.run(
            [tool, str(REDIS_PORT)], capture_output=True, text=True, check=False, timeout=120,
            preexec_fn=lambda: os.sched_setaffinity(0, {self.proxy_core}))
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        result = json.loads(done.stdout)
        for what, name in (("bare_us", "hold and route on a bare connection"),
                           ("lookup_us", "the same by a login that is not cached")):
            for part in ("p50", "p99"):
                self.note(f"{name}, {part}", "µs", result[what][part])
        for way in ("to", "from"):
            self.note(f"segments {way} Redis a login", "", result["segments"][way])
        for way in ("to", "from"):
            self.note(f"segments {way} Redis a login, {result['together']} at a time", "",
                      result["segments_together"][way])

    # --- Changes of routes ---------------------------------------------------------------------

    PHASES = [("with no writes", None, 0),
              ("with 10,000 writes/s that nobody watches", "elsewhere:", 0.1),
              ("with 10,000 changes/s, none of users here", ROUTE, 0),
              ("with 10,000 changes/s, a tenth of users here", ROUTE, 0.1),
              ("with 10,000 changes/s, all of users here", ROUTE, 1)]

    def measure_changes(self):
        program = self.proxy.start(self)
        quiet = 0
        try:
            for when, prefix, live in self.PHASES:
                before, began = keeper_ns(program.process.pid), time.monotonic()
                writer = Writer(self, prefix, live) if prefix else None
                result = self.noops(program)
                written, seconds = writer.stop() if writer else (0, time.monotonic() - began)
                spent = keeper_ns(program.process.pid) - before
                self.note_noops(NOOPS, when, result)
                self.note(f"worker and keeper {when}, CPU", "% of a core",
                          100 * result["cpu"]["proxy"] / result["seconds"])
                if not prefix:
                    quiet = spent / seconds
                    continue
                if written < 0.95 * WRITES_A_SECOND * seconds:
                    self.doubt(self.proxy, when, f"only {written / seconds:.0f} writes a second")
                if prefix == ROUTE:
                    self.note(f"keeper {when}, CPU a change", "µs",
                              (spent - quiet * seconds) / written / 1e3)
        finally:
            program.stop()

    # --- Moves ---------------------------------------------------------------------------------

    def open_idle(self, program):
        load = self.start_load(program, ["--mode", "idle", "--sessions", str(self.kicked),
                                         "--users", str(self.kicked), "--prefix", "kick",
                                         "--concurrency", "64"])
        # Clients share a core with the generator of NOOPs, whose clock must not wait for them.
        os.setpriority(os.PRIO_PROCESS, load.pid, 19)
        load.stdout.readline()
        load.stdin.write("go\n")
        load.stdin.flush()
        result = json.loads(load.stdout.readline() or '{"ready":0,"failed":0}')
        if result["ready"] != self.kicked or result["failed"]:
            load.kill()
            raise RuntimeError(f"{result['ready']} of {self.kicked} sessions were opened")
        return load

    def await_end(self):
        """When the last session at the first backend ended."""
        deadline = time.monotonic() + KICK_WITHIN
        while time.monotonic() < deadline:
            count, last = sessions_of(run.HTTP_PORT)
            if count == 0:
                return last
            time.sleep(0.02)
        raise RuntimeError(f"{count} of {self.kicked} sessions live after {KICK_WITHIN} seconds")

    def move_all(self, backend):
        """When it was begun, and how long Redis took."""
        commands = b"".join(run.set_command(f"{ROUTE}kick{i}", backend) for i in range(self.kicked))
        with run.connect_redis(self.redis_path) as redis:
            began = time.monotonic()
            redis.sendall(commands)
            run.read_oks(redis, self.kicked)
            return began, time.monotonic() - began

    def measure_kick(self):
        self.move_all("mail1")
        program = self.proxy.start(self)
        idle = None
        try:
            idle = self.open_idle(program)
            load = self.start_noops(program, MOVE_NOOPS, "1")
            self.await_window(load)
            beside = self.result_of(load)
            self.note_noops(MOVE_NOOPS, f"beside {self.kicked} idle sessions", beside)
            load = self.start_noops(program, MOVE_NOOPS, "1")
            self.await_window(load)
            began, redis_took = self.move_all("mail2")
            last = self.await_end()
            result = self.result_of(load)
            out, _ = idle.communicate("end\n", timeout=60)
        finally:
            program.stop()
            if idle is not None:
                idle.kill()
                idle.wait()
        lost = json.loads(out)
        if lost["lost"] != self.kicked:
            self.doubt(self.proxy, "kick", f"only {lost['lost']} clients saw their end")
        self.note(f"{self.kicked} SETs, answered by Redis", "ms", redis_took * 1e3)
        self.note(f"{self.kicked} sessions ended at the backend, since the first SET", "ms",
                  (last - began) * 1e3)
        self.note(f"{self.kicked} sessions ended at the client, since the first SET", "ms",
                  (lost["lost_last"] - began) * 1e3)
        self.note("CPU of a session that is ended", "µs",
                  (result["cpu"]["proxy"] - beside["cpu"]["proxy"]) / self.kicked * 1e6)
        self.note_noops(MOVE_NOOPS, f"while {self.kicked} sessions are ended", result)


# --- report --------------------------------------------------------------------------------------

def report(bench):
    print("\n".join(run.machine(bench, [bench.proxy])))
    print(f"\n| | unit | gatepost, {bench.options.runs} runs |\n|---|---|---|")
    for name, (unit, values) in bench.rows.items():
        print(f"| {name} | {unit} | {run.cell(values)} |")
    print("""
Median (least–most). A session is ended when it has been quiet for 250 ms, and a worker ends ten
in a millisecond: of the time of a move so much is waiting.
""")
    if max(bench.others, default=0) > run.OTHERS_MOST:
        print(f"doubtful: other programs took {statistics.median(bench.others):.0%} of a core "
              f"(at most {max(bench.others):.0%})")
    for doubt in bench.doubts:
        print(f"doubtful: {doubt}")
    for name, (unit, values) in bench.rows.items():
        print(json.dumps({"figure": name, "unit": unit, "proxy": "gatepost",
                          "median": round(statistics.median(values), 4),
                          "min": round(min(values), 4), "max": round(max(values), 4),
                          "runs": len(values)}, ensure_ascii=False))


def measure(bench, what):
    """Notes how much of our cores others had meanwhile, what we ended ourselves left out."""
    started, ours = time.monotonic(), [pid for one in bench.programs for pid in one.pids()]
    both = {bench.proxy_core, bench.far_core}

    def elsewhere():
        own = sum(os.times()[:4])
        return run.busy_seconds(both) - run.process_seconds(ours) - own

    before = elsewhere()
    try:
        what()
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        bench.doubt(bench.proxy, what.__name__, f"not measured: {error}")
    bench.others.append((elsewhere() - before) / (time.monotonic() - started))
    if bench.others[-1] > run.OTHERS_MOST:
        run.say(f"    ! other programs took {bench.others[-1]:.0%} of a core")


def run_all(options, folder):
    bench = RoutingBench(options, folder)
    figures = {"uncached": bench.measure_uncached, "changes": bench.measure_changes,
               "kick": bench.measure_kick}
    wanted = [figure for name, figure in figures.items()
              if not options.figure or options.figure in name]
    try:
        bench.prepare()
        for turn in range(options.runs):
            run.say(f"run {turn + 1} of {options.runs}")
            for figure in wanted:
                measure(bench, figure)
    finally:
        bench.stop()
    report(bench)
    return 1 if bench.doubts else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gatepost", required=True, help="the binary")
    parser.add_argument("--tools", required=True, help="folder of imapload and its kin")
    parser.add_argument("--quick", action="store_true", help="one short run, a kick of 1,000")
    parser.add_argument("--runs", type=int, help="how often everything is measured (3)")
    parser.add_argument("--figure", choices=["uncached", "changes", "kick"],
                        help="only this figure")
    options = parser.parse_args()
    options.runs = options.runs or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory(prefix="gatepost-bench-") as folder:
        return run_all(options, folder)


if __name__ == "__main__":
    sys.exit(main())
