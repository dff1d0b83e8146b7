"""Listening sockets: opened before the first fork, kept by the supervisor for ever, served by workers.

For every address of a TCP listener there are as many SO_REUSEPORT sockets as its service has processes;
process i serves socket i. The kernel spreads connections over them, and a connection that waits in a
socket's queue is lost only when the last descriptor of that socket is closed: so a socket stays open while
workers come and go. When a service gets fewer processes, the sockets of the removed ones are served by the
remaining ones. Unix sockets stand in paths.run, mode 0600, and belong to the workers' user.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from echomox.config.checks import parse_listener
from echomox.config.paths import Paths
from echomox.config.schema import Static
from echomox.ipc.unix import listen as listen_unix
from echomox.supervisor.privileges import acting_as
from echomox.supervisor.service import TCP_LISTENERS, Service, User

BACKLOG = 4096  # the kernel takes the smaller of this and net.core.somaxconn

TcpKey = tuple[str, str]
"""(listener name, "ADDRESS:PORT" as configured)"""


class ListenError(Exception):
    """An address that cannot be listened on; str() says which, why, and what to do."""


@dataclass(slots=True)
class Wanted:
    """What a configuration asks for: sockets per address, and the names of Unix sockets."""

    tcp: dict[TcpKey, int] = field(default_factory=dict)
    unix: set[str] = field(default_factory=set)


def wanted(static: Static, services: tuple[Service, ...], counts: Mapping[str, int]) -> Wanted:
    found = Wanted()
    for service in services:
        count = counts[service.name]
        for name in service.listeners:
            if name in TCP_LISTENERS:
                found.tcp.update({(name, address): count for address in getattr(static.listeners, name)})
            elif service.per_slot:
                found.unix.update(f"{name}.{index}" for index in range(count))
            else:
                found.unix.add(name)
    return found


class Listeners:
    """All listening sockets of the server."""

    def __init__(self, paths: Paths, user: User, inherited: list[socket.socket]) -> None:
        """inherited: sockets from systemd, used for the addresses they are bound to."""
        self._paths = paths
        self._user = user
        self._inherited = {_bound(sock): sock for sock in inherited}
        self._tcp: dict[TcpKey, list[socket.socket]] = {}
        self._unix: dict[str, socket.socket] = {}

    def open(self, want: Wanted) -> None:
        """Opens what is wanted and missing. Raises ListenError, and then nothing has changed."""
        tcp: dict[TcpKey, list[socket.socket]] = {}
        unix: dict[str, socket.socket] = {}
        try:
            for key, count in want.tcp.items():
                there = self._tcp.get(key, [])
                tcp[key] = self._open_tcp(key[1], there, count - len(there))
            for name in sorted(want.unix - set(self._unix)):
                unix[name] = self._open_unix(name)
        except BaseException:
            for sock in [*unix.values(), *(sock for group in tcp.values() for sock in group)]:
                sock.close()
            raise
        for key, new in tcp.items():
            self._tcp.setdefault(key, []).extend(new)
        self._unix.update(unix)

    def _open_unix(self, name: str) -> socket.socket:
        path = self._paths.socket(name)
        try:
            with acting_as(self._user):
                return listen_unix(path, 0o600, BACKLOG)
        except OSError as error:
            raise ListenError(f"cannot listen on {path}: {error.strerror}") from None

    def _open_tcp(self, address: str, there: list[socket.socket], count: int) -> list[socket.socket]:
        try:
            host, port = parse_listener(address)
        except ValueError as error:
            raise ListenError(f"{address}: {error}") from None
        given = self._inherited.get((host, port))
        if given is not None:  # one socket; all processes take from it
            return [given.dup() for _ in range(count)]
        opened: list[socket.socket] = []
        try:
            if not there and not self._uses_port(port):
                _bind(host, port, shared=False).close()
            for _ in range(count):
                opened.append(_bind(host, port, shared=True))
            for sock in opened:
                sock.listen(BACKLOG)
        except OSError as error:
            for sock in opened:
                sock.close()
            raise ListenError(f"cannot listen on {address}: {_advice(error)}") from None
        return opened

    def _uses_port(self, port: int) -> bool:
        return any(sock.getsockname()[1] == port for group in self._tcp.values() for sock in group)

    def share(self, service: Service, index: int, count: int, static: Static) -> dict[str, list[socket.socket]]:
        """The sockets that process `index` of `count` serves, by listener name."""
        share: dict[str, list[socket.socket]] = {}
        for name in service.listeners:
            if name not in TCP_LISTENERS:
                share[name] = [self._unix[f"{name}.{index}" if service.per_slot else name]]
                continue
            groups = [self._tcp[name, address] for address in getattr(static.listeners, name)]
            share[name] = [sock for group in groups for sock in group[index::count]]
        return share

    def retire(self, want: Wanted) -> None:
        """Closes our descriptors of addresses and Unix sockets that are wanted no more; sockets beyond the
        wanted number
        of a wanted address stay."""
        for key in set(self._tcp) - set(want.tcp):
            for sock in self._tcp.pop(key):
                sock.close()
        for name in set(self._unix) - want.unix:
            self._unix.pop(name).close()
            with acting_as(self._user):
                self._paths.socket(name).unlink(missing_ok=True)

    def close(self) -> None:
        """At the end of the server."""
        self.retire(Wanted())


def _bind(host: str, port: int, shared: bool) -> socket.socket:
    """shared: among our own processes; without, it fails when anyone else listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        if not shared:
            sock.listen(1)  # a bound address with SO_REUSEADDR is refused only here
    except BaseException:
        sock.close()
        raise
    return sock


def _bound(sock: socket.socket) -> tuple[str, int]:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return ("", 0)
    host, port = sock.getsockname()[:2]
    return host, port


_ADVICE = {
    errno.EADDRINUSE: "another program listens there; `ss -ltnp` shows which",
    errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "this machine has no such address; `ip address` shows those it has",
    errno.EAFNOSUPPORT: "this machine has no IPv6; take the [::] addresses out of echomox.toml",
}


def _advice(error: OSError) -> str:
    return _ADVICE.get(error.errno or 0, error.strerror or str(error))
