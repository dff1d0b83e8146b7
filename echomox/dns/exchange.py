"""One question to one server: over UDP, and over TCP where the reply did not fit (RFC 7766).

Against forged replies (RFC 5452): a reply counts only if it comes from the server's address and port to ours (the
socket is connected), with our random id and our question. Ports are the kernel's random ones; a socket is given up
after some questions. Many wrong replies to a socket are an attempt: what it has open is asked over TCP then.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import secrets
import socket
from typing import Any, cast

from echomox.dns import codec

SOCKETS = 4  # open to one server at once
USES = 100  # questions of one socket; more on loopback, where nobody forges
USES_LOOPBACK = 10_000
WRONG = 50  # replies to no question of ours before a socket is given up


class Spoofed(Exception):
    """Too many wrong replies came to the socket that waits."""


class Server:
    """A resolver's address. Sockets are opened when needed and closed by `close`."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.loopback = is_loopback(host)
        self.edns = True
        self.bad_until = 0.0
        self._sockets: list[_Socket] = []

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def ask(self, asked: bytes, wait: float, deadline: float, *, dnssec: bool) -> bytes:
        """The reply to a question. wait: seconds for UDP; deadline: of all, on the loop's clock. Raises TimeoutError,
        OSError, BadReply.
        """
        try:
            async with asyncio.timeout(wait):
                wire = await self._udp(asked, dnssec)
        except Spoofed:
            wire = b""
        if wire and not codec.truncated(wire):
            return wire
        async with asyncio.timeout_at(deadline):
            return await self._tcp(asked, dnssec)

    async def _udp(self, asked: bytes, dnssec: bool) -> bytes:
        found = self._socket()
        id, reply = found.open(asked)
        try:
            found.send(codec.query(id, asked, edns=self.edns, dnssec=dnssec))
            return await reply
        finally:
            found.forget(id)

    def _socket(self) -> _Socket:
        uses = USES_LOOPBACK if self.loopback else USES
        for one in self._sockets[:]:
            if one.closed or one.uses >= uses or one.wrong >= WRONG or len(one.waiting) > 1000:
                self._sockets.remove(one)
                one.close_when_idle()
        if len(self._sockets) < (1 if self.loopback else SOCKETS):
            self._sockets.append(_Socket(self.host, self.port))
            return self._sockets[-1]
        return random.choice(self._sockets)

    async def _tcp(self, asked: bytes, dnssec: bool) -> bytes:
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=1 << 17)
        try:
            id = secrets.randbits(16)
            wire = codec.query(id, asked, edns=self.edns, dnssec=dnssec)
            writer.write(len(wire).to_bytes(2, "big") + wire)
            length = int.from_bytes(await reader.readexactly(2), "big")
            reply = await reader.readexactly(length)
        except asyncio.IncompleteReadError:
            raise codec.BadReply("the TCP connection was closed before the reply") from None
        finally:
            writer.close()
        if reply[:2] != id.to_bytes(2, "big") or not codec.answers(reply, asked):
            raise codec.BadReply("the reply over TCP is to another question")
        return reply

    def close(self) -> None:
        for one in self._sockets:
            one.close()
        self._sockets.clear()


class _Socket(asyncio.DatagramProtocol):
    """A connected UDP socket with the questions that wait at it."""

    def __init__(self, host: str, port: int) -> None:
        self.uses = 0
        self.wrong = 0
        self.closed = False
        self.retired = False
        self.waiting: dict[int, tuple[bytes, asyncio.Future[bytes]]] = {}
        self._sock = _connected(host, port)
        self._transport: asyncio.DatagramTransport | None = None
        self._unsent: list[bytes] = []
        loop = asyncio.get_running_loop()
        made: Any = loop.create_datagram_endpoint(lambda: self, sock=self._sock)
        self._making: asyncio.Task[Any] = loop.create_task(made)
        self._making.add_done_callback(self._made)

    def _made(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._sock.close()
            self.connection_lost(cast(Exception, task.exception()))

    def open(self, asked: bytes) -> tuple[int, asyncio.Future[bytes]]:
        """An id that no open question of this socket has, and the reply to come."""
        id = secrets.randbits(16)
        while id in self.waiting:
            id = secrets.randbits(16)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.waiting[id] = asked, reply
        self.uses += 1
        return id, reply

    def send(self, wire: bytes) -> None:
        if self._transport is None:
            self._unsent.append(wire)
        else:
            self._transport.sendto(wire)

    def forget(self, id: int) -> None:
        self.waiting.pop(id, None)
        if self.retired and not self.waiting:
            self.close()

    def close_when_idle(self) -> None:
        self.retired = True
        if not self.waiting:
            self.close()

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.close()
        elif self._making.cancel():
            self._sock.close()

    # asyncio.DatagramProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        if self.closed:
            self._transport.close()
            return
        for wire in self._unsent:
            self._transport.sendto(wire)
        self._unsent.clear()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        found = self.waiting.get(int.from_bytes(data[:2], "big")) if len(data) >= codec.HEADER.size else None
        if found is None or not codec.answers(data, found[0]):
            self.wrong += 1
            if self.wrong == WRONG:
                self._fail(Spoofed())
            return
        if not found[1].done():
            found[1].set_result(data)

    def error_received(self, exc: Exception) -> None:
        self._fail(exc)  # nothing listens there (ICMP): all who wait know at once

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._fail(exc or ConnectionAbortedError("closed"))

    def _fail(self, error: Exception) -> None:
        for _, reply in self.waiting.values():
            if not reply.done():
                reply.set_exception(error)


def _connected(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            made.connect(socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)[0][4])
        else:
            made.connect((host, port))
    except OSError:
        made.close()
        raise
    return made


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
