# SPDX-License-Identifier: Apache-2.0
"""What real servers need, each in a folder and on a port of its own; and Redis."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

AS_ROOT = os.geteuid() == 0
PASSWORD = "pw"


def free_port(given=set()):
    """A TCP port of 127.0.0.1 that nobody uses, that was not given before, and that no outgoing
    connection will get by chance: below the range that the kernel takes those from."""
    lowest = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(min(10000, lowest // 2), lowest)
        if port in given:
            continue
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        given.add(port)
        return port


def wait_until(condition, seconds=10, what="condition"):
    """Polls until the condition holds, and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s: no {what}")
        time.sleep(0.01)


def accepts(port):
    """Whether somebody listens on the port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def black_hole(host="127.0.0.1", port=0):
    """The address of what drops whoever wants to connect: a listener whose queue is full."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.1)
        port = listener.getsockname()[1]
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def end_process(process, seconds=10):
    """SIGTERM, then the exit status; a process that does not end is killed, and None returned."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def short_folder(name):
    """A folder with a path short enough for Unix sockets, which other users may enter."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"gp-{name}-", dir="/tmp"))
    folder.chmod(0o755)
    return folder


class RedisServer:
    """A private Redis on a TCP port and a Unix socket; may be stopped and started again."""

    def __init__(self, password=None):
        self.folder = short_folder("redis")
        self.port = free_port()
        self.socket_path = self.folder / "redis.sock"
        self.password = password
        self.process = None
        self.start()

    @property
    def url(self):
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def start(self):
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port),
                   "--unixsocket", str(self.socket_path), "--unixsocketperm", "777",
                   "--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        if self.password:
            command += ["--requirepass", self.password]
        with open(self.folder / "redis.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: accepts(self.port), what="Redis")

    def stop(self):
        end_process(self.process)

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *words, database=0):
        """One command by the real client; returns its output."""
        command = ["redis-cli", "-p", str(self.port), "-n", str(database)]
        if self.password:
            command += ["--no-auth-warning", "-a", self.password]
        run = subprocess.run([*command, *words], check=True, capture_output=True, text=True)
        return run.stdout.strip()

    def route(self, user, backend, database=0):
        self.command("SET", f"gatepost:route:{user}", backend, database=database)
