# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the certificate, Redis and two Dovecots once for all tests; gatepost and scripted
backends as the modules want them."""

import os
import signal

import pytest

from backend import FakeBackend
from certificates import Certificates
from dovecot import Dovecot, FullDovecot
from fake_redis import FakeRedis
from proxy import BINARY, Gatepost, make_sections
from servers import RedisServer


def pytest_configure():
    # Being terminated ends what was started, too.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))
    if not os.access(BINARY, os.X_OK):
        pytest.exit("GATEPOST must name the program; `make integration` does", returncode=2)


@pytest.fixture(scope="session")
def certificates():
    made = Certificates()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def redis_server():
    """A real Redis on a port of its own."""
    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def mail1():
    """A real Dovecot."""
    server = Dovecot("mail1")
    yield server
    server.remove()


@pytest.fixture(scope="session")
def mail2():
    """Another real Dovecot, with other mail."""
    server = Dovecot("mail2")
    yield server
    server.remove()


@pytest.fixture(scope="session")
def full1(certificates):
    """A real Dovecot with TLS and every mechanism."""
    server = FullDovecot("full1", certificates)
    yield server
    server.remove()


@pytest.fixture(scope="session")
def full2(certificates):
    """Another one."""
    server = FullDovecot("full2", certificates)
    yield server
    server.remove()


@pytest.fixture(scope="session")
def certified1(certificates):
    """One that asks for client certificates, and has EXTERNAL. As Dovecot 2.3 does then, it ends
    every handshake that would come back to an earlier session."""
    server = FullDovecot("certified1", certificates, client_certificates=True)
    yield server
    server.remove()


@pytest.fixture(scope="module")
def fb1(request):
    """FB1 of the table of cases, with the MANNERS of the module where it has any."""
    backend = FakeBackend("FB1", **getattr(request.module, "MANNERS", {}))
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def fb2(request):
    """FB2 of the table of cases, likewise."""
    backend = FakeBackend("FB2", **getattr(request.module, "MANNERS", {}))
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def secure(certificates):
    """A scripted backend with TLS from the first byte."""
    backend = FakeBackend("secure", tls="implicit", certificate=certificates.backend)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def upgrading(certificates):
    """A scripted backend with STARTTLS."""
    backend = FakeBackend("upgrading", tls="starttls", certificate=certificates.backend)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def directory():
    """A scripted Redis that knows u1 and u2."""
    server = FakeRedis()
    server.values = {"gatepost:route:u1": "FB1", "gatepost:route:u2": "FB2"}
    yield server
    server.close()


@pytest.fixture(autouse=True)
def good_manners(request):
    """Every test begins with scripted servers that behave and have seen nothing; a fault of a
    backend itself fails the test."""
    scripted = ("fb1", "fb2", "secure", "upgrading", "directory")
    names = [name for name in scripted if name in request.fixturenames]
    servers = [request.getfixturevalue(name) for name in names]
    for server in servers:
        server.reset()
    yield
    for server in servers:
        if isinstance(server, FakeBackend):
            server.assert_no_faults()


@pytest.fixture
def fake_redis():
    """A scripted Redis."""
    server = FakeRedis()
    yield server
    server.close()


class Factory:
    """Starts gateposts, and ends all of them as an operator would. start(backends, users, redis,
    **sections) describes the configuration as proxy.make_sections does."""

    def __init__(self, certificates):
        self.certificates = certificates
        self.running = []

    def __call__(self, backends, users=None, redis=None, limits_of_process=None, environment=None,
                 plain=True, port=None, extra_listeners=(), listeners=None, mounts=None, **changes):
        sections = make_sections(self.certificates, backends, users, redis, **changes)
        gatepost = Gatepost(self.certificates, sections, limits_of_process, environment, plain,
                            port, extra_listeners, listeners, mounts)
        self.running.append(gatepost)
        return gatepost

    def stop_all(self):
        faults = []
        for gatepost in self.running:
            try:
                gatepost.stop()
            except Exception as fault:  # the others must end too
                faults.append(str(fault))
        assert not faults, "\n".join(faults)


@pytest.fixture
def start_gatepost(certificates):
    """Starts a gatepost for one test."""
    factory = Factory(certificates)
    yield factory
    factory.stop_all()


@pytest.fixture(scope="module")
def start_shared_gatepost(certificates):
    """Starts a gatepost for all tests of a module."""
    factory = Factory(certificates)
    yield factory
    factory.stop_all()


@pytest.fixture(scope="module")
def proxy(start_shared_gatepost, fb1, fb2, directory):
    """A gatepost before FB1 and FB2, for all tests of a module."""
    return start_shared_gatepost({"FB1": fb1.address, "FB2": fb2.address}, redis=directory.url)


@pytest.fixture
def client(proxy):
    """A TLS client that has read the greeting."""
    with proxy.connect() as connected:
        yield connected
