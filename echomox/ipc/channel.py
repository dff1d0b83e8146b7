"""Channels: frames over Unix sockets, the server's and the client's side, on asyncio protocols.

A `Server` accepts peers and gives their frames to one handler. A peer that sends garbage, a huge frame,
half a frame for `half_frame` seconds, nothing at all for `first_frame` seconds, or that does not read what
it is sent, is dropped; so is one that makes the handler raise. The others notice nothing.

A `Client` stays connected by itself, with doubling pauses between attempts, says `Hello` first, and matches
answers with its questions. Sending while disconnected is not an error: the message is lost, as the caller
must expect anyhow.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from echomox.ipc import unix
from echomox.ipc.frame import MAX_FRAME, REQUEST_LIMIT, Decoder, Frame, FrameError, encode
from echomox.ipc.schema import Hello, Message
from echomox.log import Log


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds. unread: how long a peer may leave what it was sent unread once `buffer` bytes wait
    for it.
    """

    frame: int = MAX_FRAME
    half_frame: float = 30.0
    first_frame: float = 30.0
    unread: float = 10.0
    buffer: int = 256 * 1024
    buffer_most: int = 8 * MAX_FRAME
    peers: int = 4096


LIMITS = Limits()
BACKLOG = 512  # connections that may wait to be accepted


class Link(asyncio.Protocol):
    """One connection: decodes, watches the time, drops. `writable` is False while the other side does not
    read.
    """

    def __init__(
        self, on_frame: Callable[[Link, Frame], None], on_end: Callable[[Link, str], None], limits: Limits
    ) -> None:
        self.writable = False
        self.on_writable: Callable[[], None] = lambda: None
        self._on_frame = on_frame
        self._on_end = on_end
        self._limits = limits
        self._decoder = Decoder(limits.frame)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        return self._transport is not None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.set_write_buffer_limits(high=self._limits.buffer)
        self.writable = True

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        try:
            for frame in self._decoder.feed(data):
                if self._read_timer:
                    self._read_timer.cancel()
                    self._read_timer = None
                self._on_frame(self, frame)
                if not self.open:
                    return
        except FrameError as error:
            self.drop(f"bad frame: {error}")
            return
        if self._decoder.partial and not self._read_timer:
            self.expect_frame(self._limits.half_frame, "half a frame")

    def pause_writing(self) -> None:
        self.writable = False
        self._write_timer = self._loop.call_later(self._limits.unread, self.drop, "does not read")

    def resume_writing(self) -> None:
        if self._write_timer:
            self._write_timer.cancel()
        self.writable = self._transport is not None
        if self.writable:
            self.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("")

    # for owners

    def expect_frame(self, seconds: float, why: str) -> None:
        """Drops the peer unless a frame comes in this time."""
        self._read_timer = self._loop.call_later(seconds, self.drop, why)

    def write(self, data: bytes) -> None:
        """Encoded frames; lost when the link has ended."""
        if self._transport is None:
            return
        self._transport.write(data)
        if not self.writable and self._transport.get_write_buffer_size() > self._limits.buffer_most:
            self.drop("does not read")

    def send(self, message: Message, request: int = 0) -> None:
        self.write(encode(message, request))

    def drop(self, why: str) -> None:
        """Ends the link at once; `on_end` is called, once, with the reason."""
        transport = self._transport
        self._end(why)
        if transport:
            transport.abort()

    def close(self) -> None:
        """Ends the link after what is written has gone out."""
        if self._transport:
            self._transport.close()

    def _end(self, why: str) -> None:
        if self._transport is None:
            return
        self._transport = None
        self.writable = False
        for timer in (self._read_timer, self._write_timer):
            if timer:
                timer.cancel()
        self._on_end(self, why)


class Server:
    """Serves listening sockets. handler(link, frame) is called in the loop for every frame; ended(link)
    when one goes.

    dropped(): called for every peer that was dropped for its behaviour (the counter ipc_dropped).
    """

    def __init__(
        self,
        handler: Callable[[Link, Frame], None],
        log: Log,
        ended: Callable[[Link], None] = lambda link: None,
        dropped: Callable[[], None] = lambda: None,
        limits: Limits = LIMITS,
    ) -> None:
        self.links: set[Link] = set()
        self._handler = handler
        self._ended = ended
        self._dropped = dropped
        self._log = log
        self._limits = limits
        self._servers: list[asyncio.AbstractServer] = []

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Starts to accept on these listening sockets."""
        loop = asyncio.get_running_loop()
        for listener in sockets:
            listener.setblocking(False)
            self._servers.append(await loop.create_unix_server(self._accept, sock=listener, backlog=BACKLOG))

    async def close(self) -> None:
        """Stops accepting and ends all links after what was written has gone out."""
        for server in self._servers:
            server.close()
        for link in list(self.links):
            link.close()
        await asyncio.sleep(0)

    def _accept(self) -> Link:
        return _Accepted(self, self._frame, self._gone, self._limits)

    def welcome(self, link: Link) -> None:
        """A peer has connected."""
        self.links.add(link)
        if len(self.links) > self._limits.peers:
            link.drop("too many peers")
        else:
            link.expect_frame(self._limits.first_frame, "says nothing")

    def _frame(self, link: Link, frame: Frame) -> None:
        if type(frame.message) is Hello:
            return
        try:
            self._handler(link, frame)
        except Exception:
            self._log.exception("handler failed", type=type(frame.message).__name__)
            link.drop("handler failed")

    def _gone(self, link: Link, why: str) -> None:
        self.links.discard(link)
        if why:
            self._log.warn("peer dropped", reason=why)
            self._dropped()
        self._ended(link)


class _Accepted(Link):
    """A link that tells its server when it begins."""

    def __init__(
        self,
        server: Server,
        on_frame: Callable[[Link, Frame], None],
        on_end: Callable[[Link, str], None],
        limits: Limits,
    ) -> None:
        super().__init__(on_frame, on_end, limits)
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.welcome(self)


class Client:
    """A connection that comes back by itself.

    on_message(message): messages that answer no question. on_connect(): after `Hello`, at each connection;
    what it sends is sent first. owed: questions sent on this connection and not answered, timed out or not.
    """

    FIRST_PAUSE = 0.05
    LONGEST_PAUSE = 2.0

    def __init__(
        self,
        path: Path,
        name: str,
        log: Log,
        on_message: Callable[[Message], None] = lambda message: None,
        on_connect: Callable[[], None] = lambda: None,
    ) -> None:
        self.owed = 0
        self._path = path
        self._name = name
        self._log = log
        self._on_message = on_message
        self._on_connect = on_connect
        self._link: Link | None = None
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._questions: dict[int, asyncio.Future[Message | None]] = {}
        self._request = 0
        self._asked: list[bytes] = []
        """Questions of this turn of the loop, which go out in one write."""

    @property
    def connected(self) -> bool:
        return self._link is not None

    async def start(self) -> None:
        """Connects if somebody listens already, and goes on trying in the background."""
        await self._connect()
        self._task = asyncio.create_task(self._stay_connected())

    async def close(self) -> None:
        """Ends the connection; open questions are answered with None."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._link:
            link = self._link
            self._ended(link, "")
            link.close()

    def send(self, message: Message) -> bool:
        """Whether there was somebody to send it to."""
        if self._link is None:
            return False
        self._link.send(message)
        return True

    def write(self, data: bytes) -> None:
        """Frames that are already encoded."""
        if self._link is not None:
            self._link.write(data)

    async def request(self, message: Message, timeout: float) -> Message | None:  # noqa: ASYNC109
        """The answer; None when there is no connection, or it ends, or the time is over."""
        if self._link is None:
            return None
        self._request = self._request % (REQUEST_LIMIT - 1) + 1
        request = self._request
        data = encode(message, request)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Message | None] = loop.create_future()
        self._questions[request] = future
        self.owed += 1
        if not self._asked:
            loop.call_soon(self._ask)
        self._asked.append(data)
        timer = loop.call_later(timeout, _settle, future, None)
        try:
            return await future
        finally:
            timer.cancel()
            self._questions.pop(request, None)

    def _ask(self) -> None:
        asked, self._asked = self._asked, []
        self.write(b"".join(asked))

    async def _stay_connected(self) -> None:
        pause = self.FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            if self._link is None:
                await self._connect()
            since = loop.time()
            if self._link is not None:
                await self._lost.wait()
                if loop.time() - since > self.LONGEST_PAUSE:
                    pause = self.FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(pause * 2, self.LONGEST_PAUSE)

    async def _connect(self) -> None:
        try:
            peer = unix.dial(self._path)
        except OSError as error:
            self._log.debug("not connected", socket=self._path.name, error=str(error))
            return
        loop = asyncio.get_running_loop()
        try:
            _, link = await loop.create_unix_connection(lambda: Link(self._frame, self._ended, LIMITS), sock=peer)
        except OSError as error:
            peer.close()
            self._log.debug("not connected", socket=self._path.name, error=str(error))
            return
        self._lost.clear()
        self._link = link
        link.send(Hello(self._name))
        self._on_connect()

    def _frame(self, link: Link, frame: Frame) -> None:
        if frame.request == 0:
            self._on_message(frame.message)
            return
        self.owed = max(0, self.owed - 1)
        future = self._questions.get(frame.request)
        if future:
            _settle(future, frame.message)

    def _ended(self, link: Link, why: str) -> None:
        if link is not self._link:
            return
        self._link = None
        self._asked.clear()
        self.owed = 0
        self._lost.set()
        if why:
            self._log.warn("server dropped", socket=self._path.name, reason=why)
        for future in self._questions.values():
            _settle(future, None)


def _settle(future: asyncio.Future[Message | None], value: Message | None) -> None:
    if not future.done():
        future.set_result(value)
