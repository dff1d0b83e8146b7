"""Accepting on sockets that the supervisor opened, and letting go of them.

A worker serves a duplicate of its listening socket: closing it ends our accepting only, and connections
that wait in the socket's queue go to whoever serves the slot next (the supervisor keeps the socket itself).

For TLS from the first byte (RFC 8314) a client is admitted by its address before the handshake, which is
the dear part: `create_server(ssl=...)` knows nobody before it is done. So sockets are accepted here and
handed to the loop one by one.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, cast

BACKLOG = 1024
ACCEPTED_AT_ONCE = 64
PAUSE = 1.0
"""Seconds without accepting when the process or the machine has no descriptors left."""
TURNS = 3
"""Of the loop, after which a connection that was taken has its protocol, and that its tasks."""
GRACE = 1.0
"""Seconds for handshakes that are under way when accepting ends."""
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class TlsClient(Protocol):
    """An asyncio.Protocol that is told when its handshake fails: connection_made is not called then."""

    def handshake_failed(self, error: BaseException) -> None: ...


@dataclass(frozen=True, slots=True)
class Handshake:
    """timeout: seconds. admit(ip): the protocol of a new connection, or None to close it at once."""

    context: ssl.SSLContext
    timeout: float
    admit: Callable[[str], TlsClient | None]


class Acceptors:
    """The listening sockets of one worker. Within a running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._servers: list[asyncio.Server] = []
        self._accepting: list[socket.socket] = []
        self._handshakes: set[asyncio.Task[None]] = set()

    async def open(
        self, sockets: Iterable[socket.socket], factory: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        """Accepts from now on. factory: makes the protocol of each connection."""
        for listening in sockets:
            own = _own(listening)
            self._servers.append(await self._loop.create_server(factory, sock=own, backlog=BACKLOG))

    def open_tls(self, sockets: Iterable[socket.socket], handshake: Handshake) -> None:
        """Accepts from now on, with TLS from the first byte."""
        for listening in sockets:
            own = _own(listening)
            own.listen(BACKLOG)
            self._accepting.append(own)
            self._loop.add_reader(own, self._accept, own, handshake)

    async def close(self) -> None:
        """Takes no new connections. Those that were taken have their sessions when this returns, so that whoever
        drains sees them; a handshake that lasts longer than GRACE goes on unseen."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        accepting, self._accepting = self._accepting, []
        for own in accepting:
            self._loop.remove_reader(own)
            own.close()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if self._handshakes:
            await asyncio.wait(self._handshakes, timeout=GRACE)

    def _accept(self, listening: socket.socket, handshake: Handshake) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                client, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in NO_DESCRIPTORS:
                    raise
                self._loop.remove_reader(listening)
                self._loop.call_later(PAUSE, self._again, listening, handshake)
                return
            self._greet(client, address[0] if isinstance(address, tuple) else "", handshake)

    def _again(self, listening: socket.socket, handshake: Handshake) -> None:
        if listening in self._accepting:
            self._loop.add_reader(listening, self._accept, listening, handshake)

    def _greet(self, client: socket.socket, ip: str, handshake: Handshake) -> None:
        protocol = handshake.admit(normal_ip(ip))
        if protocol is None:
            client.close()
            return
        client.setblocking(False)
        if client.family in (socket.AF_INET, socket.AF_INET6):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._shake(client, protocol, handshake))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _shake(self, client: socket.socket, protocol: TlsClient, handshake: Handshake) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: cast(asyncio.BaseProtocol, protocol),
                client,
                ssl=handshake.context,
                ssl_handshake_timeout=handshake.timeout,
            )
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            client.close()
            protocol.handshake_failed(error)


def _own(listening: socket.socket) -> socket.socket:
    own = listening.dup()
    own.setblocking(False)
    return own


def normal_ip(ip: str) -> str:
    """IPv4-mapped IPv6 addresses (RFC 4291 2.5.5.2) as the IPv4 addresses they are."""
    return ip.removeprefix("::ffff:") if "." in ip else ip


def peer_ip(transport: asyncio.BaseTransport) -> str:
    """The IP address of a connection's other end; "" for a Unix socket."""
    peer = transport.get_extra_info("peername")
    return normal_ip(str(peer[0])) if isinstance(peer, tuple) and peer else ""
