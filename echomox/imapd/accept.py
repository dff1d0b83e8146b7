"""Connections whose TLS begins with the first octet (port 993, RFC 8314): admitted before the handshake.

`create_server(ssl=...)` would show a connection only after its handshake, the dearest part of it. So these are accepted
here; the event loop then does the handshake and gives a ready session its first octet.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from echomox.imapd.service import Service

PAUSE = 0.1  # seconds after an accept that failed, as for want of descriptors


class TlsListener:
    """One listening socket. `close` stops accepting; handshakes under way go on."""

    def __init__(self, service: Service, listening: socket.socket, context: ssl.SSLContext) -> None:
        self._service = service
        self._socket = listening
        self._context = context
        self._handshakes: set[asyncio.Task[None]] = set()
        listening.setblocking(False)
        self._task = service.loop.create_task(self._accept())

    def close(self) -> None:
        self._task.cancel()
        self._socket.close()

    async def _accept(self) -> None:
        service = self._service
        while True:
            try:
                connection, address = await service.loop.sock_accept(self._socket)
            except OSError as error:
                service.log.warn("accept failed", error=str(error))
                await asyncio.sleep(PAUSE)
                continue
            ip = str(address[0])
            if service.admit(ip):
                connection.close()
                continue
            handshake = service.loop.create_task(self._handshake(connection, ip))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _handshake(self, connection: socket.socket, ip: str) -> None:
        service = self._service
        try:
            await service.loop.connect_accepted_socket(
                partial(service.session, True),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=service.limits.tls_timeout,
            )
        except OSError as error:  # of ssl too
            service.release(ip)
            connection.close()
            service.log.debug("tls failed", ip=ip, error=str(error))
