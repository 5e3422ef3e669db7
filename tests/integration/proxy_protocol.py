# SPDX-License-Identifier: Apache-2.0
"""PROXY headers (HAProxy's proxy-protocol.txt) as tests write them, and as scripted backends and
tests read them."""

import dataclasses
import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
TCP4, TCP6 = 0x11, 0x21
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20
SSL_VERSION, SSL_CN, SSL_CIPHER = 0x21, 0x22, 0x23


@dataclasses.dataclass
class ProxyHeader:
    """What a header says. Version 1: `tlvs` is empty. LOCAL or UNKNOWN: no addresses."""
    version: int
    local: bool
    source: tuple = None
    destination: tuple = None
    tlvs: dict = dataclasses.field(default_factory=dict)
    raw: bytes = b""

    @property
    def authority(self):
        return self.tlvs.get(AUTHORITY)

    @property
    def unique_id(self):
        return self.tlvs.get(UNIQUE_ID)

    @property
    def tls(self):
        """Whether the client has TLS, and the parts of PP2_TYPE_SSL by their numbers."""
        value = self.tlvs.get(SSL)
        return value is not None and value[0] & 1 == 1

    @property
    def tls_parts(self):
        return dict(read_tlvs(self.tlvs[SSL][5:])) if SSL in self.tlvs else {}


# --- writing ---

def tlv(kind, value=b""):
    return bytes([kind]) + struct.pack(">H", len(value)) + value


def ssl_tlv(version=b"TLSv1.3", cipher=b"TLS_AES_128_GCM_SHA256", client=1):
    parts = tlv(SSL_VERSION, version) + tlv(SSL_CIPHER, cipher)
    return tlv(SSL, bytes([client]) + struct.pack(">I", 1) + parts)


def version1(source=("192.0.2.1", 40000), destination=("198.51.100.2", 993)):
    family = "TCP6" if ":" in source[0] else "TCP4"
    words = ("PROXY", family, source[0], destination[0], source[1], destination[1])
    return " ".join(map(str, words)).encode() + b"\r\n"


def raw_version2(block=b"", command=PROXY, family=0):
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(block)) + block


def version2(source=("192.0.2.1", 40000), destination=("198.51.100.2", 993), tlvs=b"",
             checksum=False):
    addresses = [ipaddress.ip_address(end[0]) for end in (source, destination)]
    block = b"".join(address.packed for address in addresses)
    block += struct.pack(">HH", source[1], destination[1]) + tlvs
    family = TCP6 if addresses[0].version == 6 else TCP4
    if not checksum:
        return raw_version2(block, family=family)
    crc = crc32c(raw_version2(block + tlv(CRC32C, bytes(4)), family=family))
    return raw_version2(block + tlv(CRC32C, struct.pack(">I", crc)), family=family)


def local():
    return raw_version2(command=LOCAL)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


# --- reading ---

def read_tlvs(data):
    while data:
        kind, length = data[0], struct.unpack(">H", data[1:3])[0]
        assert len(data) >= 3 + length, data
        yield kind, data[3:3 + length]
        data = data[3 + length:]


def read_header(read_exactly):
    """Reads one header by a function that gives exactly so many bytes; asserts that it is right."""
    start = read_exactly(6)
    if start == b"PROXY ":
        while not start.endswith(b"\r\n"):
            assert len(start) < 107, start
            start += read_exactly(1)
        return _parse_version1(start)
    start += read_exactly(10)
    assert start.startswith(SIGNATURE) and start[12] in (LOCAL, PROXY), start
    return _parse_version2(start, read_exactly(struct.unpack(">H", start[14:16])[0]))


def _parse_version1(line):
    words = line.decode().split()
    if words[1] == "UNKNOWN":
        return ProxyHeader(1, True, raw=line)
    assert words[1] in ("TCP4", "TCP6") and len(words) == 6, line
    for word in words[2:4]:
        assert ipaddress.ip_address(word).version == int(words[1][3]), line
    return ProxyHeader(1, False, (words[2], int(words[4])), (words[3], int(words[5])), raw=line)


def _parse_version2(start, block):
    if start[12] == LOCAL:
        return ProxyHeader(2, True, raw=start + block)
    assert start[13] in (TCP4, TCP6), start
    size = 4 if start[13] == TCP4 else 16
    source, destination = (str(ipaddress.ip_address(block[at:at + size])) for at in (0, size))
    ports = struct.unpack(">HH", block[2 * size:2 * size + 4])
    tlvs = list(read_tlvs(block[2 * size + 4:]))
    assert len(dict(tlvs)) == len(tlvs), tlvs
    return ProxyHeader(2, False, (source, ports[0]), (destination, ports[1]), dict(tlvs),
                       start + block)
