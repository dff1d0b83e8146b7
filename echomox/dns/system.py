"""The resolvers that this host is set to: `nameserver` lines of /etc/resolv.conf (resolv.conf(5)).

The file is read again when it has changed, looked at every LOOK seconds. At most three servers count; a file without
any, or no file, means the one on this host. `search`, `domain` and `options` are not for mail servers and are ignored.
"""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable

FILE = "/etc/resolv.conf"
PORT = 53
SERVERS = 3
LOOK = 10.0  # seconds
LONGEST = 65_536  # bytes of the file that are read


class SystemServers:
    """Called, gives the (host, port) of the servers."""

    def __init__(self, file: str = FILE, port: int = PORT, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._port = port
        self._clock = clock
        self._next = float("-inf")
        self._stamp: tuple[int, int, int] | None = None
        self._servers: tuple[tuple[str, int], ...] = ()

    def __call__(self) -> tuple[tuple[str, int], ...]:
        now = self._clock()
        if now >= self._next:
            self._next = now + LOOK
            self._look()
        return self._servers

    def _look(self) -> None:
        try:
            state = os.stat(self._file)
            stamp = (state.st_ino, state.st_size, state.st_mtime_ns)
            if stamp == self._stamp:
                return
            with open(self._file, "rb") as file:
                text = file.read(LONGEST).decode("utf-8", "replace")
        except OSError:
            stamp, text = None, ""
            if self._servers:
                return  # an editor that moves the file away for a moment
        self._stamp = stamp
        self._servers = tuple((host, self._port) for host in nameservers(text)) or (("127.0.0.1", self._port),)


def nameservers(text: str) -> list[str]:
    """The addresses of the `nameserver` lines, at most SERVERS; what is no address is left out."""
    found: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            ipaddress.ip_address(words[1].partition("%")[0])
        except ValueError:
            continue
        if words[1] not in found:
            found.append(words[1])
    return found[:SERVERS]
