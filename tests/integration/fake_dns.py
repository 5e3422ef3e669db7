# SPDX-License-Identifier: Apache-2.0
"""A scripted DNS server on port 53 of an address of loopback's own, and how gatepost is made to ask
it, which takes its servers from /etc/resolv.conf: one must be root for both."""

import ipaddress
import random
import shutil
import socket
import struct
import threading

from proxy import can_mount
from servers import AS_ROOT, short_folder

A, AAAA, SRV = 1, 28, 33
NO_ERROR, SERVER_FAILED, NO_NAME = 0, 2, 3


def can_serve():
    """Whether a proxy can be made to ask it here."""
    return AS_ROOT and can_mount()


class FakeDns:
    """Answers by `records`: a dictionary of names to lists of IP addresses, or of (host, port) and
    (host, port, weight), which are SRV's. `ttl` is of all; questions for names in `failing` fail;
    `gate`, an Event, holds questions back until it is set."""

    def __init__(self):
        self.records = {}
        self.ttl = 1
        self.failing = set()
        self.gate = threading.Event()
        self.gate.set()
        self.asked = []
        self.folder = short_folder("dns")
        self._socket, self.host = bind_somewhere()
        self._resolv_conf = self.folder / "resolv.conf"
        self._resolv_conf.write_text(f"nameserver {self.host}\n")
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def mounts(self):
        """What start_gatepost wants."""
        return {"/etc/resolv.conf": self._resolv_conf}

    def count(self, name):
        """How often a name was asked for."""
        return self.asked.count(name)

    def _serve(self):
        while True:
            try:
                question, client = self._socket.recvfrom(4096)
            except OSError:
                return
            threading.Thread(target=self._answer, args=(question, client), daemon=True).start()

    def _answer(self, question, client):
        name, kind, end = read_question(question)
        self.asked.append(name)
        self.gate.wait(10)
        records = self.records.get(name)
        code = NO_NAME if records is None else NO_ERROR
        if name in self.failing:
            code = SERVER_FAILED
        answers = [] if code else [record for record in map(make_record, records or ())
                                   if record[0] == kind]
        header = question[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, len(answers), 0, 0)
        body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, self.ttl, len(data)) + data
                        for kind, data in answers)
        try:
            self._socket.sendto(header + question[12:end] + body, client)
        except OSError:
            pass

    def close(self):
        self.gate.set()
        self._socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def bind_somewhere():
    """Port 53 of an address that nobody else serves names at."""
    while True:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        host = f"127.53.{random.randrange(256)}.{random.randrange(1, 255)}"
        try:
            sock.bind((host, 53))
            return sock, host
        except OSError:
            sock.close()


def read_question(question):
    """The name in lower case, the kind, and where it ends."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]])
        at += 1 + question[at]
    kind, = struct.unpack(">H", question[at + 1:at + 3])
    return b".".join(labels).decode().lower(), kind, at + 5


def make_record(record):
    """Its kind and its data."""
    if isinstance(record, tuple):
        host, port, weight = record if len(record) == 3 else (*record, 1)
        labels = [label.encode() for label in host.split(".") if label]
        name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
        return SRV, struct.pack(">HHH", 10, weight, port) + name
    address = ipaddress.ip_address(record)
    return (A if address.version == 4 else AAAA), address.packed
