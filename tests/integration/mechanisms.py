# SPDX-License-Identifier: Apache-2.0
"""What the tests of mechanisms share: a backend's offer of all of them, a gatepost that has learnt
it, and what its clients are told."""

import sasl
from client import capabilities_of
from servers import wait_until

SCRAM = tuple(sasl.HASHES)
TOKENS = {"XOAUTH2": sasl.xoauth2, "OAUTHBEARER": sasl.oauthbearer}
# How a client says that it has understood an error (RFC 7628 section 3.2.3).
UNDERSTOOD = {"XOAUTH2": b"", "OAUTHBEARER": b"\1"}


def offer(*mechanisms, other="IMAP4rev1 SASL-IR LITERAL- ID IDLE"):
    """A backend's capabilities with these mechanisms."""
    return " ".join([other, *(f"AUTH={name}" for name in mechanisms)]).encode()


EVERYTHING = offer("PLAIN", "LOGIN", *TOKENS, *SCRAM)


def teach(gatepost, *users, **options):
    """Logs these users in, so that a gatepost of one worker hears what their backends offer."""
    for user in users:
        with gatepost.connect(**options) as client:
            client.login(user)


def start_taught(start, fb1, fb2, directory, **changes):
    """A gatepost before FB1 and FB2 that knows what they offer by themselves."""
    for server in (fb1, fb2, directory):
        server.reset()
    gatepost = start({"FB1": fb1.address, "FB2": fb2.address}, redis=directory.url,
                     process={"workers": 1}, **changes)
    teach(gatepost, "u1", "u2")
    return gatepost


def atoms_now(client):
    """What a client is told when it asks."""
    lines = client.command("atoms", "CAPABILITY")
    assert lines[-1].startswith(b"atoms OK") and len(lines) == 2, lines
    return capabilities_of(lines[0])


def mechanisms_now(client):
    """The mechanisms among it."""
    return {atom[5:] for atom in atoms_now(client) if atom.startswith("AUTH=")}


def wait_until_offered(gatepost, *mechanisms, **options):
    """Until new clients are offered these."""
    def offered():
        with gatepost.connect(**options) as client:
            return set(mechanisms) <= mechanisms_now(client)

    wait_until(offered, what=f"offer of {mechanisms}")


def read_to_authenticate(connection):
    """For scripts of a backend: greets, answers what comes with OK, and returns the tag of
    AUTHENTICATE and its arguments."""
    connection.send(connection.backend.greeting)
    while True:
        tag, command, rest = connection.read_command()
        if command == b"AUTHENTICATE":
            return tag, rest
        connection.send(tag + b" OK\r\n")


def status_of(lines):
    """OK, NO or BAD of the tagged reply."""
    return lines[-1].split()[1].decode()


def assert_refused(lines, tag="a"):
    """The one answer to every login that is nobody's (C99)."""
    assert lines == [f"{tag} NO [AUTHENTICATIONFAILED] Authentication failed.\r\n".encode()], lines
