# SPDX-License-Identifier: Apache-2.0
"""openssl s_client and s_server, for what Python's ssl module has no word for."""

import contextlib
import subprocess

from servers import accepts, free_port, wait_until


def s_client(port, *options, say="", seconds=10):
    """Connects and says something; all that it reported, the server's words too. It leaves when the
    server has ended, or when nothing is left to be said."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *map(str, options)],
        input=say, capture_output=True, text=True, timeout=seconds, errors="replace", check=False)
    return done.stdout + done.stderr


@contextlib.contextmanager
def s_server(pair, *options):
    """A server that ends when it is told CLOSE; its port."""
    port = free_port()
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", pair.chain, "-key",
         pair.key, "-rev", *options], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: accepts(port), what="s_server")
        yield port
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
