# SPDX-License-Identifier: Apache-2.0
"""What tests of TLS towards backends have in common."""

import base64
import re

from proxy import certificate_table
from servers import wait_until

SECRET = "open-sesame-7f3a"


def over_tls(backend, certificates, **options):
    """The [[backend]] for one with TLS, whose authority is that of the tests."""
    return {"address": backend.address, "tls": backend.tls, "ca": str(certificates.ca), **options}


def identity(pair):
    """The options of a [[backend]] that is shown a certificate."""
    shown = certificate_table(pair)
    return {"client_chain": shown["chain"], "client_key": shown["key"]}


def refused(client, user, code="UNAVAILABLE", password=SECRET):
    """A login that must fail for no fault of the user, on a connection that stays usable."""
    lines = client.command("a", f"LOGIN {user} {password}")
    assert len(lines) == 1 and lines[0].startswith(b"a NO [%s] " % code.encode()), lines
    client.assert_usable()


def why_refused(gatepost, event="login failed"):
    """What the log has to say about the one login that was refused."""
    (line,) = wait_until(lambda: gatepost.events(event), what=event)
    return line["detail"]


def assert_no_secrets(backend, user="u1"):
    """Nothing of a login in any byte that came by the sockets."""
    raw = b"\n".join(bytes(connection.raw) for connection in backend.connections)
    plain = f"\0{user}\0{SECRET}".encode()
    for needle in (SECRET.encode(), base64.b64encode(plain), b"LOGIN", b"AUTHENTICATE"):
        assert needle not in raw, raw
    assert not backend.logins


def assert_only_starttls(connection):
    """Not a word in the clear but STARTTLS."""
    assert re.fullmatch(rb"\S+ STARTTLS\r\n", bytes(connection.raw)), connection.raw


def totals(gatepost):
    """The counters, as it says them at its end."""
    gatepost.signal()
    gatepost.wait()
    (line,) = gatepost.events("stopped")
    return {key: int(value) for key, value in line.items() if value.isdecimal()}
