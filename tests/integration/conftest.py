# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the certificate, Redis and two Dovecots once for all tests; gatepost and scripted
backends as the modules want them."""

import pytest

from backend import FakeBackend
from fake_redis import FakeRedis
from proxy import Gatepost, make_sections
from servers import Certificates, Dovecot, RedisServer


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


@pytest.fixture(scope="module")
def fb1():
    """FB1 of the table of cases."""
    backend = FakeBackend("FB1")
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def fb2():
    """FB2 of the table of cases."""
    backend = FakeBackend("FB2")
    yield backend
    backend.close()


@pytest.fixture(autouse=True)
def good_manners(request):
    """Every test begins with backends that behave and have seen nothing; a fault of their own
    fails the test."""
    backends = [request.getfixturevalue(name) for name in ("fb1", "fb2")
                if name in request.fixturenames]
    for backend in backends:
        backend.reset()
    yield
    for backend in backends:
        backend.assert_no_faults()


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
                 plain=True, **changes):
        sections = make_sections(self.certificates, backends, users, redis, **changes)
        gatepost = Gatepost(self.certificates, sections, limits_of_process, environment, plain)
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
