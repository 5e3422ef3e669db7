# SPDX-License-Identifier: Apache-2.0
"""SASL: the messages of the mechanisms, and both sides of SCRAM (RFC 5802, RFC 7677)."""

import base64
import hashlib
import hmac
import secrets

HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}


def encode(data):
    return base64.b64encode(data)


def decode(text):
    return base64.b64decode(text, validate=True)


# --- messages of one line ---

def plain(user, password, owner=""):
    return f"{owner}\0{user}\0{password}".encode()


def xoauth2(user, token):
    return f"user={user}\1auth=Bearer {token}\1\1".encode()


def oauthbearer(user, token, host="localhost", port=143):
    return f"n,a={user},\1host={host}\1port={port}\1auth=Bearer {token}\1\1".encode()


def bearer_fields(message):
    """User and token of an XOAUTH2 or OAUTHBEARER message."""
    assert message.endswith(b"\1\1"), message
    pairs = [part.split(b"=", 1) for part in message[:-2].split(b"\1") if b"=" in part]
    fields = dict((key, value) for key, value in pairs)
    user = fields.get(b"user")
    if user is None:
        header = message.split(b"\1")[0].split(b",")
        assert header[0] == b"n" and header[-1] == b"", message
        user = header[1][2:] if header[1] else b""
    kind, _, token = fields[b"auth"].partition(b" ")
    assert kind == b"Bearer", message
    return user, token


# --- SCRAM ---

def _escape(name):
    return name.replace("=", "=3D").replace(",", "=2C")


def _attributes(message):
    return dict((part[:1].decode(), part[2:]) for part in message.split(b","))


class ScramKeys:
    """What a password, a salt and a count give."""

    def __init__(self, mechanism, password, salt, iterations):
        self.hash = HASHES[mechanism.removesuffix("-PLUS")]
        salted = hashlib.pbkdf2_hmac(self.hash, password, salt, iterations)
        self.client_key = self.sign(salted, b"Client Key")
        self.stored_key = hashlib.new(self.hash, self.client_key).digest()
        self.server_key = self.sign(salted, b"Server Key")

    def sign(self, key, message):
        return hmac.new(key, message, self.hash).digest()

    def proof(self, message):
        signature = self.sign(self.stored_key, message)
        return bytes(a ^ b for a, b in zip(self.client_key, signature))


class ScramClient:
    """first(), then final(what the server said), then verify(what it said at last)."""

    def __init__(self, mechanism, user, password, owner="", nonce=None):
        self.mechanism, self.password = mechanism, password.encode()
        self.nonce = (nonce or secrets.token_urlsafe(18)).encode()
        self.header = f"n,{'a=' + _escape(owner) if owner else ''},".encode()
        self.bare = f"n={_escape(user)},r=".encode() + self.nonce
        self.keys = self.message = None

    def first(self):
        return self.header + self.bare

    def final(self, challenge):
        fields = _attributes(challenge)
        assert fields["r"].startswith(self.nonce) and fields["r"] != self.nonce, challenge
        without_proof = b"c=" + encode(self.header) + b",r=" + fields["r"]
        self.keys = ScramKeys(self.mechanism, self.password, decode(fields["s"]), int(fields["i"]))
        self.message = self.bare + b"," + challenge + b"," + without_proof
        return without_proof + b",p=" + encode(self.keys.proof(self.message))

    def verify(self, message):
        """Whether the server knows the password too."""
        signature = self.keys.sign(self.keys.server_key, self.message)
        return _attributes(message).get("v") == encode(signature)


class ScramServer:
    """challenge(the client's first message), then verify(its last): the server's last message, or
    None where the proof is wrong."""

    def __init__(self, mechanism, password, iterations=4096, salt=b"salt of the tests",
                 nonce=None):
        self.mechanism, self.password = mechanism, password
        self.iterations, self.salt = iterations, salt
        self.nonce = (nonce or secrets.token_urlsafe(18)).encode()
        self.user = self.owner = self.message = b""
        self.header = b""

    def challenge(self, first):
        binding, owner, rest = first.split(b",", 2)
        assert binding in (b"n", b"y") or binding.startswith(b"p="), first
        fields = _attributes(rest)
        self.header = binding + b"," + owner + b","
        self.owner = owner[2:]
        self.user = fields["n"].replace(b"=2C", b",").replace(b"=3D", b"=")
        answer = (b"r=" + fields["r"] + self.nonce + b",s=" + encode(self.salt)
                  + b",i=" + str(self.iterations).encode())
        self.message = rest + b"," + answer
        return answer

    def verify(self, final):
        without_proof, _, proof = final.rpartition(b",p=")
        fields = _attributes(without_proof)
        assert decode(fields["c"]).startswith(self.header), final
        assert fields["r"].endswith(self.nonce), final
        message = self.message + b"," + without_proof
        keys = ScramKeys(self.mechanism, self.password, self.salt, self.iterations)
        if decode(proof) != keys.proof(message):
            return None
        return b"v=" + encode(keys.sign(keys.server_key, message))
