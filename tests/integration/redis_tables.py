# SPDX-License-Identifier: Apache-2.0
"""What the scripted Redis keeps, and how it writes what it says."""

import threading


def bulk(value):
    """A RESP bulk string; None is nil."""
    if value is None:
        return b"$-1\r\n"
    data = value if isinstance(value, bytes) else value.encode()
    return b"$%d\r\n%s\r\n" % (len(data), data)


def integer(number):
    return b":%d\r\n" % number


def message(channel, keys):
    """A message of a subscription with an array of keys in it; None is nil."""
    body = b"*-1\r\n"
    if keys is not None:
        names = [key.encode(errors="surrogateescape") for key in keys]
        body = b"*%d\r\n" % len(names) + b"".join(bulk(name) for name in names)
    return b"*3\r\n" + bulk("message") + bulk(channel) + body


class AnnouncedValues(dict):
    """Keys and their values; `announce` is called with the keys whose values are others now."""

    def __init__(self, announce):
        super().__init__()
        self._announce = announce

    def _change(self, after):
        before = dict(self)
        super().update(after)
        for key in before.keys() - after.keys():
            super().__delitem__(key)
        changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        if changed:
            self._announce(changed)

    def __setitem__(self, key, value):
        self._change({**self, key: value})

    def __delitem__(self, key):
        self._change({each: value for each, value in self.items() if each != key})

    def update(self, *others):
        self._change({**self, **dict(*others)})

    def replace(self, values):
        """All that was is gone."""
        self._change(dict(values))


class Nodes:
    """The proxies that are registered, and their incarnations."""

    def __init__(self):
        self._lock = threading.Lock()
        self._owners = {}

    def take(self, key, incarnation, at_all_costs):
        """1, or 0 where another has the name and keeps it."""
        with self._lock:
            owner = self._owners.get(key)
            if owner not in (None, incarnation) and not at_all_costs:
                return 0
            self._owners[key] = incarnation
            return 1

    def leave(self, key, incarnation):
        """1, or 0 where it is another's."""
        with self._lock:
            if self._owners.get(key) != incarnation:
                return 0
            del self._owners[key]
            return 1

    def __len__(self):
        return len(self._owners)

    def incarnation(self, key):
        return self._owners.get(key)
