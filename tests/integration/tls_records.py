# SPDX-License-Identifier: Apache-2.0
"""Records of TLS 1.3 that no library makes: one side of a connection is taken over from the ssl
module, by the secrets that it logs (RFC 8446 sections 5.2 and 7)."""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

ALERT, HANDSHAKE, DATA = 21, 22, 23
WARNING, FATAL = 1, 2
CLOSE_NOTIFY, UNEXPECTED_MESSAGE, USER_CANCELED = 0, 10, 90


def expand(secret, label, length, digest):
    """HKDF-Expand-Label with an empty context, of one block at most."""
    info = struct.pack("!HB", length, 6 + len(label)) + b"tls13 " + label + b"\0\x01"
    return hmac.new(secret, info, digest).digest()[:length]


class Records:
    """Seals what one side says from now on. `secrets` is the key log of its context, with one
    connection in it; `pipe` the TlsPipe, whose own writing must end with this."""

    def __init__(self, pipe, secrets):
        side = "SERVER" if pipe.server_side else "CLIENT"
        (line,) = [line.split() for line in secrets.read_text().splitlines()
                   if line.startswith(f"{side}_TRAFFIC_SECRET_0 ")]
        self.digest = hashlib.sha384 if "SHA384" in pipe.cipher else hashlib.sha256
        self.aead, self.key_size = \
            (ChaCha20Poly1305, 32) if "CHACHA20" in pipe.cipher else \
            (AESGCM, 32 if "256" in pipe.cipher else 16)
        self._use(bytes.fromhex(line[2]))
        self.sequence = pipe.sealed

    def _use(self, secret):
        self.secret, self.sequence = secret, 0
        self.key = self.aead(expand(secret, b"key", self.key_size, self.digest))
        self.iv = expand(secret, b"iv", 12, self.digest)

    def seal(self, content, kind=DATA, padding=0):
        """One record, whatever is in it."""
        inner = content + bytes([kind]) + bytes(padding)
        header = struct.pack("!BHH", DATA, 0x0303, len(inner) + 16)
        nonce = (int.from_bytes(self.iv, "big") ^ self.sequence).to_bytes(12, "big")
        self.sequence += 1
        return header + self.key.encrypt(nonce, inner, header)

    def key_update(self, answer=False):
        """A KeyUpdate, after which the next keys hold; with `answer` the other side must change its
        own too."""
        record = self.seal(struct.pack("!BBHB", 24, 0, 1, answer), HANDSHAKE)
        self._use(expand(self.secret, b"traffic upd", self.digest().digest_size, self.digest))
        return record

    def alert(self, level, description):
        return self.seal(bytes([level, description]), ALERT)
