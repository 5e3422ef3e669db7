# SPDX-License-Identifier: Apache-2.0
"""A real server that ends every handshake which would come back to a session, as Dovecot 2.3 does
where it asks for client certificates: no login fails for it, and it is not tried for ever."""

import pytest

from servers import PASSWORD

LOGINS = 8
REFUSALS_MAX = 3


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_logins_go_on(start_gatepost, certificates, certified1, tls):
    port = certified1.tls_port if tls == "implicit" else certified1.port
    pair = certificates.client(cn="gatepost")
    proxy = start_gatepost(
        {"mail": {"address": f"127.0.0.1:{port}", "tls": tls, "ca": str(certificates.ca),
                  "client_chain": str(pair.chain), "client_key": str(pair.key)}},
        {"u1": "mail"}, process={"workers": 1})
    for _ in range(LOGINS):
        with proxy.connect() as client:
            client.login("u1", PASSWORD)
            assert client.status("n", "NOOP") == "OK"
    proxy.signal()
    proxy.wait()
    stopped = proxy.events("stopped")[0]
    assert stopped["logins_ok_total"] == str(LOGINS)
    assert stopped["logins_failed_total"] == "0"
    assert stopped["backend_handshakes_failed_total"] == str(REFUSALS_MAX)
    assert stopped["backend_handshakes_full_total"] == str(LOGINS)
