# SPDX-License-Identifier: Apache-2.0
"""A ClientHello by hand, of what the libraries at hand do not know yet, and the answer to it."""

import os
import socket
import struct

X25519, P256, X25519MLKEM768 = 29, 23, 4588
# Of a P-256 key share there is a point to be on the curve; any 32 bytes are a share of X25519, and
# zeros a well-formed key of ML-KEM.
SHARES = {X25519: b"\x09" + bytes(31), X25519MLKEM768: bytes(1184) + b"\x09" + bytes(31)}
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
KEY_SHARE = 51


def _vector(data, size):
    return len(data).to_bytes(size, "big") + data


def _extension(kind, data):
    return struct.pack("!H", kind) + _vector(data, 2)


def _numbers(*numbers):
    return b"".join(struct.pack("!H", number) for number in numbers)


def make_hello(groups, shares, name="localhost", extra=b""):
    """The record of a TLS 1.3 hello that prefers `groups`, in order, with shares for some."""
    shown = b"".join(struct.pack("!H", group) + _vector(SHARES[group], 2) for group in shares)
    extensions = (
        _extension(0, _vector(b"\0" + _vector(name.encode(), 2), 2)) +
        _extension(10, _vector(_numbers(*groups), 2)) +
        _extension(13, _vector(_numbers(0x0403, 0x0804, 0x0401), 2)) +
        _extension(43, _vector(_numbers(0x0304), 1)) +
        _extension(KEY_SHARE, _vector(shown, 2)) + extra)
    body = (b"\x03\x03" + os.urandom(32) + _vector(os.urandom(32), 1) +
            _vector(_numbers(0x1301, 0x1302, 0x1303), 2) + b"\x01\x00" + _vector(extensions, 2))
    return b"\x16\x03\x01" + _vector(b"\x01" + _vector(body, 3), 2)


def answer_to(port, hello, pieces=1):
    """What the server says first: ("hello", group), ("retry", group) or ("alert", number)."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = -(-len(hello) // pieces)
        for at in range(0, len(hello), size):
            sock.sendall(hello[at:at + size])
        reader = sock.makefile("rb")
        kind, _, length = struct.unpack("!BHH", reader.read(5))
        body = reader.read(length)
    if kind == 21:
        return "alert", body[1]
    assert kind == 22 and body[0] == 2, body
    return "retry" if body[6:38] == RETRY else "hello", _group_of(body[4:])


def _group_of(hello):
    at = 34 + 1 + hello[34] + 2 + 1 + 2
    while at < len(hello):
        kind, length = struct.unpack("!HH", hello[at:at + 4])
        if kind == KEY_SHARE:
            return struct.unpack("!H", hello[at + 4:at + 6])[0]
        at += 4 + length
    raise AssertionError(hello)
