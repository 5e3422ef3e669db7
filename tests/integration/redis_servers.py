# SPDX-License-Identifier: Apache-2.0
"""Real servers of Redis in every arrangement: one with a password and an ACL user, one with TLS, a
master with a replica under three sentinels, and a cluster of masters."""

import functools
import pathlib
import re
import shutil
import subprocess

from servers import accepts, end_process, free_port, short_folder, wait_until

PASSWORD = "redis-pw"
USER, USER_PASSWORD = "gatepost", "user-pw"
MASTER = "mymaster"

SLOTS = 16384


@functools.cache
def version():
    """Of the installed Redis, as numbers."""
    said = subprocess.run(["redis-server", "--version"], check=True, capture_output=True, text=True)
    return tuple(map(int, re.search(r"v=([\d.]+)", said.stdout).group(1).split(".")))


@functools.cache
def has_tls():
    """Whether it was built with TLS."""
    linked = subprocess.run(["ldd", shutil.which("redis-server")], check=True,
                            capture_output=True, text=True)
    return "libssl" in linked.stdout


class RedisProcess:
    """One redis-server in a folder of its own, by a configuration that it may rewrite."""

    def __init__(self, options, tls=None, sentinel=False, password=None):
        self.folder = short_folder("redis")
        self.port = free_port()
        self.tls = tls
        self.sentinel = sentinel
        self.password = password
        self.process = None
        self.config = self.folder / "redis.conf"
        lines = ["bind 127.0.0.1", f"dir {self.folder}", *self._port_options(), *options]
        if password:
            lines += [f"requirepass {password}"]
        self.config.write_text("\n".join(lines) + "\n")
        try:
            self.start()
        except AssertionError as fault:
            said = self.log()
            self.remove()
            raise AssertionError(f"{fault}; its log:\n{said}") from fault

    def _port_options(self):
        if not self.tls:
            return [f"port {self.port}"]
        return ["port 0", f"tls-port {self.port}",
                f"tls-cert-file {self.tls.peer.chain}",
                f"tls-key-file {self.tls.peer.key}", f"tls-ca-cert-file {self.tls.ca}",
                "tls-auth-clients no", "tls-replication yes", "tls-cluster yes"]

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        command = ["redis-server", str(self.config)] + ["--sentinel"] * self.sentinel
        with open(self.folder / "redis.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)
        wait_until(lambda: accepts(self.port), what=f"Redis at {self.address}")

    def stop(self):
        """As an operator would."""
        end_process(self.process)

    def kill(self):
        """As a machine that burns."""
        self.process.kill()
        self.process.wait()

    def remove(self):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        return (self.folder / "redis.log").read_text()

    def command(self, *words, user=None, check=True):
        """One command by the real client; returns its output."""
        command = ["redis-cli", "-p", str(self.port), "--no-auth-warning"]
        if self.tls:
            command += ["--tls", "--cacert", str(self.tls.ca)]
        if user:
            command += ["--user", user[0], "-a", user[1]]
        elif self.password:
            command += ["-a", self.password]
        run = subprocess.run([*command, *words], capture_output=True, text=True, timeout=30,
                             check=check)
        return run.stdout.strip()

    def info(self, key):
        """One line of INFO."""
        found = re.search(rf"^{key}:(.*?)\r?$", self.command("INFO"), re.MULTILINE)
        return found.group(1) if found else None


PLAIN = ["save \"\"", "appendonly no"]


def documented_rights():
    """What a user of Redis needs, as operators are told."""
    text = (pathlib.Path(__file__).resolve().parents[2] / "docs/redis.md").read_text()
    rules = re.search(r"^ACL SETUSER gatepost on >password (.*?)^```", text, re.M | re.S).group(1)
    return " ".join(rule for rule in rules.split()
                    if version() >= (6, 2) or not (rule == "resetchannels" or rule[0] == "&"))


class RedisStandalone(RedisProcess):
    """One server with a password for everybody, and a user of its own for gatepost, who may do
    what docs/redis.md says and no more."""

    def __init__(self, tls=None):
        rules = documented_rights()
        super().__init__([*PLAIN, f"user {USER} on >{USER_PASSWORD} {rules}"], tls=tls,
                         password=PASSWORD)

    @property
    def scheme(self):
        return "rediss" if self.tls else "redis"

    @property
    def url(self):
        return f"{self.scheme}://:{PASSWORD}@{self.address}/0"

    @property
    def url_of_user(self):
        return f"{self.scheme}://{USER}:{USER_PASSWORD}@{self.address}/0"


class Group:
    """Several servers that go together; `processes` are all of them. Where one of them cannot be
    had, none is left."""

    def __init__(self, **options):
        self.processes = []
        try:
            self._build(**options)
        except BaseException:
            self.remove()
            raise

    def _run(self, options, **arguments):
        self.processes.append(RedisProcess(options, **arguments))
        return self.processes[-1]

    def remove(self):
        for process in self.processes:
            process.remove()


class RedisSentinels(Group):
    """A master, its replicas, and three sentinels that take `down_after_ms` to believe that a
    server is down."""

    def _build(self, replicas=1, down_after_ms=500, password=None, tls=None):
        self.password = password
        self.master = self._make_server(tls)
        self.replicas = [self._make_server(tls, self.master) for _ in range(replicas)]
        self.servers = [self.master, *self.replicas]
        wait_until(lambda: all(replica.info("master_link_status") == "up"
                               for replica in self.replicas), what="replication")
        self.sentinels = [self._make_sentinel(down_after_ms, tls) for _ in range(3)]
        wait_until(self._know_each_other, seconds=20, what="sentinels that know each other")

    def _make_server(self, tls, master=None):
        options = [*PLAIN, "repl-diskless-sync-delay 0", "repl-diskless-sync yes"]
        if self.password:
            options += [f"masterauth {self.password}"]
        if master:
            options += [f"replicaof 127.0.0.1 {master.port}"]
        return self._run(options, tls=tls, password=self.password)

    def _make_sentinel(self, down_after_ms, tls):
        options = [f"sentinel monitor {MASTER} 127.0.0.1 {self.master.port} 2",
                   f"sentinel down-after-milliseconds {MASTER} {down_after_ms}",
                   f"sentinel failover-timeout {MASTER} 6000"]
        if self.password:
            options += [f"sentinel auth-pass {MASTER} {self.password}"]
        return self._run(options, sentinel=True, tls=tls)

    def _know_each_other(self):
        def field(sentinel, name):
            words = sentinel.command("SENTINEL", "MASTER", MASTER).split("\n")
            return words[words.index(name) + 1]

        return all(field(sentinel, "num-other-sentinels") == "2"
                   and field(sentinel, "num-slaves") == str(len(self.replicas))
                   and field(sentinel, "flags") == "master" for sentinel in self.sentinels)

    @property
    def url(self):
        secret = f":{self.password}@" if self.password else ""
        scheme = "sentinels" if self.master.tls else "sentinel"
        hosts = ",".join(sentinel.address for sentinel in self.sentinels)
        return f"{scheme}://{secret}{hosts}/{MASTER}"

    def named(self, sentinel=None):
        """The server that a sentinel names as the master."""
        asked = sentinel or next(each for each in self.sentinels if each.process.poll() is None)
        words = asked.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER).split()
        return next(server for server in self.servers if str(server.port) == words[1])

    def wait_for_switch(self, before, seconds=30):
        """Until all sentinels that live name another master, which is one; returns it."""
        def switched():
            living = [each for each in self.sentinels if each.process.poll() is None]
            named = {self.named(each).port for each in living}
            if len(named) != 1 or before.port in named:
                return None
            now = self.named()
            return now if now.command("ROLE").startswith("master") else None

        return wait_until(switched, seconds, "a new master")

    def switch(self):
        """A failover that an operator wants; returns the new master."""
        before = self.named()
        self.sentinels[0].command("SENTINEL", "FAILOVER", MASTER)
        return self.wait_for_switch(before)

    def command(self, *words):
        return self.named().command(*words)


class RedisCluster(Group):
    """Masters that share the slots evenly, each with `replicas` replicas."""

    def _build(self, masters=3, replicas=0, password=None, tls=None, node_timeout_ms=1000):
        self.password, self.tls, self.node_timeout_ms = password, tls, node_timeout_ms
        self.nodes = [self._make_node() for _ in range(masters * (1 + replicas))]
        self.masters = self.nodes[:masters]
        self._share_slots(masters)
        for node in self.nodes[1:]:
            self._meet(node)
        wait_until(self._is_whole, seconds=30, what="a whole cluster")
        for index, node in enumerate(self.nodes[masters:]):
            wait_until(lambda: "OK" in node.command("CLUSTER", "REPLICATE",
                                                    self.id_of(self.masters[index % masters])),
                       what="a replica")
            wait_until(lambda: node.info("master_link_status") == "up", what="replication")

    def _make_node(self):
        options = [*PLAIN, "cluster-enabled yes", "repl-diskless-sync-delay 0",
                   f"cluster-node-timeout {self.node_timeout_ms}"]
        if self.password:
            options += [f"masterauth {self.password}"]
        bus = free_port()
        if version() >= (7,):
            options += [f"cluster-port {bus}"]
        node = self._run(options, tls=self.tls, password=self.password)
        node.bus = bus if version() >= (7,) else node.port + 10000
        return node

    def _meet(self, node):
        first = self.nodes[0]
        node.command("CLUSTER", "MEET", "127.0.0.1", str(first.port), str(first.bus))

    def _share_slots(self, masters):
        bounds = [SLOTS * index // masters for index in range(masters + 1)]
        for index, node in enumerate(self.masters):
            slots = range(bounds[index], bounds[index + 1])
            node.command("CLUSTER", "ADDSLOTS", *map(str, slots))
            node.command("CLUSTER", "SET-CONFIG-EPOCH", str(index + 1))

    def _is_whole(self):
        def good(node):
            said = node.command("CLUSTER", "INFO")
            return "cluster_state:ok" in said and f"cluster_known_nodes:{len(self.nodes)}" in said

        return all(good(node) for node in self.nodes)

    @property
    def url(self):
        secret = f":{self.password}@" if self.password else ""
        scheme = "clusters" if self.tls else "cluster"
        return f"{scheme}://{secret}{','.join(node.address for node in self.nodes)}"

    def id_of(self, node):
        return node.command("CLUSTER", "MYID")

    def slot_of(self, key):
        return int(self.nodes[0].command("CLUSTER", "KEYSLOT", key))

    def owner(self, slot, asked=None):
        """The node that has a slot, as one that lives has it."""
        asked = asked or next(node for node in self.nodes if node.process.poll() is None)
        for line in asked.command("CLUSTER", "NODES").split("\n"):
            words = line.split()
            for place in words[8:]:
                bounds = place.split("-")
                if place[0] != "[" and int(bounds[0]) <= slot <= int(bounds[-1]):
                    port = int(re.search(r":(\d+)@", words[1]).group(1))
                    return next(node for node in self.nodes if node.port == port)
        return None

    def add_master(self):
        """Another master, without slots yet."""
        node = self._make_node()
        self.nodes.append(node)
        self.masters.append(node)
        self._meet(node)
        wait_until(self._is_whole, seconds=30, what="a whole cluster")
        return node

    # --- moving a slot, step by step, so that tests can look between ---

    def begin_move(self, slot, to):
        """From now on keys of the slot that are not there are asked of `to` (ASK)."""
        owner = self.owner(slot)
        to.command("CLUSTER", "SETSLOT", str(slot), "IMPORTING", self.id_of(owner))
        owner.command("CLUSTER", "SETSLOT", str(slot), "MIGRATING", self.id_of(to))

    def move_keys(self, slot, to):
        owner = self.owner(slot)
        auth = ["AUTH", self.password] if self.password else []
        while True:
            keys = owner.command("CLUSTER", "GETKEYSINSLOT", str(slot), "100").split("\n")
            keys = [key for key in keys if key]
            if not keys:
                return
            said = owner.command("MIGRATE", "127.0.0.1", str(to.port), "", "0", "5000", *auth,
                                 "KEYS", *keys)
            assert said == "OK", said

    def end_move(self, slot, to):
        owner = self.owner(slot)
        for node in (to, owner, *self.nodes):
            node.command("CLUSTER", "SETSLOT", str(slot), "NODE", self.id_of(to), check=False)

    def move(self, slot, to):
        self.begin_move(slot, to)
        self.move_keys(slot, to)
        self.end_move(slot, to)

    def command(self, *words):
        """By whoever has the key, which is the second word."""
        return self.owner(self.slot_of(words[1])).command(*words)
