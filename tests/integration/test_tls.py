# SPDX-License-Identifier: Apache-2.0
"""TLS towards clients: versions, ALPN, resumption, rubbish (CASES.md, I)."""

import socket
import ssl

import pytest

from servers import wait_until


def context_for(proxy):
    return ssl.create_default_context(cafile=str(proxy.ca))


def connect(proxy, context, session=None):
    raw = socket.create_connection(("127.0.0.1", proxy.tls_port), timeout=5)
    try:
        return context.wrap_socket(raw, server_hostname="localhost", session=session)
    except BaseException:
        raw.close()
        raise


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_c112_versions_that_are_spoken(proxy, fb1, version):
    context = context_for(proxy)
    context.minimum_version = context.maximum_version = version
    with connect(proxy, context) as tls:
        assert tls.version() == version.name.replace("_", ".")
        assert tls.recv(5) == b"* OK "
        tls.sendall(b"a LOGIN u1 pw\r\n")
        wait_until(lambda: b"a OK" in tls.recv(1000))
    assert fb1.logins


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_c112_versions_that_are_too_old(proxy, version):
    context = context_for(proxy)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(proxy, context).close()


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-GCM-SHA256",
                                    "ECDHE-ECDSA-CHACHA20-POLY1305"])
def test_c112_ciphers_of_tls_1_2(proxy, cipher):
    context = context_for(proxy)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(cipher)
    with connect(proxy, context) as tls:
        assert tls.cipher()[0] == cipher


@pytest.mark.parametrize("offered,chosen", [(["imap"], "imap"), (["h2", "imap"], "imap"),
                                            ([], None)])
def test_c110_alpn(proxy, offered, chosen):
    context = context_for(proxy)
    if offered:
        context.set_alpn_protocols(offered)
    with connect(proxy, context) as tls:
        assert tls.selected_alpn_protocol() == chosen


def test_c110_alpn_without_imap(proxy):
    context = context_for(proxy)
    context.set_alpn_protocols(["http/1.1"])
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        with connect(proxy, context) as tls:
            tls.recv(100)


def test_alpn_switched_off(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, tls={"alpn": False})
    context = context_for(gatepost)
    context.set_alpn_protocols(["http/1.1"])
    with connect(gatepost, context) as tls:
        assert tls.selected_alpn_protocol() is None and tls.recv(5) == b"* OK "


def test_min_version(start_gatepost, fb1):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, tls={"min_version": "1.3"})
    context = context_for(gatepost)
    with connect(gatepost, context) as tls:
        assert tls.version() == "TLSv1.3"
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        connect(gatepost, context).close()


def resumptions(gatepost, version, rounds=12):
    """How many of so many further connections resumed the first one's session. The kernel spreads
    them over the workers."""
    context = context_for(gatepost)
    context.minimum_version = context.maximum_version = version
    session, count = None, 0
    for _ in range(rounds + 1):
        with connect(gatepost, context, session) as tls:
            assert tls.recv(5) == b"* OK "
            count += tls.session_reused
            session = tls.session
    return count


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_on_every_worker(proxy, version):
    assert resumptions(proxy, version) == 12


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets_switched_off(start_gatepost, fb1, version):
    gatepost = start_gatepost({"FB1": fb1.address}, {"u1": "FB1"}, tls={"tickets": False})
    assert resumptions(gatepost, version, rounds=3) == 0


def test_resumed_session_is_logged(proxy):
    resumptions(proxy, ssl.TLSVersion.TLSv1_3, rounds=1)
    proxy.wait_for_log("resumed=true")
