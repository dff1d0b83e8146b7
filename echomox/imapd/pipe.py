"""IMAP on a pair of pipes, logged in from the start (RFC 9051 7.1.4, PREAUTH): for ssh tunnels and migrations."""

from __future__ import annotations

import asyncio
import time
from typing import IO, Any

from echomox.imapd.service import Service
from echomox.imapd.session import Session
from echomox.net.sessions import Entry

PEER = ("127.0.0.1", 0)
"""Stands for whoever holds the other ends."""


class Pipes(asyncio.Transport):
    """Two pipe transports as one."""

    def __init__(self, reading: asyncio.ReadTransport, writing: asyncio.WriteTransport) -> None:
        super().__init__()
        self._reading = reading
        self._writing = writing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return PEER if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._writing.set_write_buffer_limits(high, low)

    def write(self, data: Any) -> None:
        self._writing.write(data)

    def pause_reading(self) -> None:
        self._reading.pause_reading()

    def resume_reading(self) -> None:
        self._reading.resume_reading()

    def is_closing(self) -> bool:
        return self._writing.is_closing()

    def close(self) -> None:
        self._reading.close()
        self._writing.close()

    def abort(self) -> None:
        self._reading.close()
        self._writing.abort()


class PipeSession(Session):
    """A session of `account` that needs no login."""

    __slots__ = ("_name", "done")

    def __init__(self, service: Service, account: str) -> None:
        super().__init__(service, False)
        self._name = account
        self.done = service.loop.create_future()

    def greet(self) -> None:
        self.service.attach(self, self._name)
        self.entry = Entry(self._name, "preauth", time.time())
        self.say(b"* PREAUTH [%b] %b IMAP ready\r\n" % (self.service.capabilities(self), self.service.hostname))
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.done.done():
            self.done.set_result(None)


class _Reader(asyncio.Protocol):
    def __init__(self, session: PipeSession) -> None:
        self._session = session

    def data_received(self, data: bytes) -> None:
        self._session.data_received(data)

    def eof_received(self) -> None:
        """What was sent is answered before the end."""
        if not self._session.eof_received() and not self._session.lost:
            self._session.transport.close()


class _Writer(asyncio.BaseProtocol):
    def __init__(self, session: PipeSession) -> None:
        self._session = session

    def pause_writing(self) -> None:
        self._session.pause_writing()

    def resume_writing(self) -> None:
        self._session.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._session.connection_lost(exc)


async def serve(service: Service, account: str, source: IO[bytes], sink: IO[bytes]) -> None:
    """One session, until either side ends it. source, sink: pipes, sockets or terminals; ValueError for others."""
    session = PipeSession(service, account)
    writing, _ = await service.loop.connect_write_pipe(lambda: _Writer(session), sink)
    reading, _ = await service.loop.connect_read_pipe(lambda: _Reader(session), source)
    pipes = Pipes(reading, writing)
    session.connection_made(pipes)
    await session.done
