# SPDX-License-Identifier: Apache-2.0
"""Several scripted backends, and to which of them users come."""

import contextlib

from backend import FakeBackend


@contextlib.contextmanager
def backends_named(*names, **manners):
    """A dictionary of scripted backends by name; a fault of one of them fails the test."""
    backends = {name: FakeBackend(name, **manners) for name in names}
    try:
        yield backends
        for backend in backends.values():
            backend.assert_no_faults()
    finally:
        for backend in backends.values():
            backend.close()


def addresses_of(backends, **options):
    """What start_gatepost wants; `options` are of all of them."""
    return {name: {"address": backend.address, **options} for name, backend in backends.items()}


def backend_of(client):
    """The name of the backend that a client is logged in to."""
    line = client.command("n", "NOOP")[-1]
    assert line.startswith(b"n OK NOOP by "), line
    return line.split()[-1].decode()


def answer_to(client, user, password="pw"):
    """After a login: the name of the backend; after any other answer its code: "UNAVAILABLE"."""
    lines = client.command("l", f"LOGIN {user} {password}")
    if lines[-1].startswith(b"l OK"):
        return backend_of(client)
    assert len(lines) == 1 and lines[0].startswith(b"l NO ["), lines
    return lines[0].split(b"[")[1].split(b"]")[0].decode()


def home_of(gatepost, user, password="pw", **options):
    """The same of a client that comes for this alone; `options` are Client's."""
    with gatepost.connect(tls=False, **options) as client:
        return answer_to(client, user, password)


def homes_of(gatepost, users):
    return {user: home_of(gatepost, user) for user in users}


def user_at(gatepost, backend, prefix="u"):
    """A user who is placed on the backend, by trying."""
    for number in range(500):
        if home_of(gatepost, f"{prefix}{number}") == backend:
            return f"{prefix}{number}"
    raise AssertionError(f"nobody is placed on {backend}")


def clients_from(count, first=10):
    """So many addresses of this host, each of which is another client."""
    assert first + count < 255
    return [f"127.0.0.{number}" for number in range(first, first + count)]
