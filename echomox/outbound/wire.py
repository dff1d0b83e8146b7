"""The client's end of an SMTP connection: replies read with bounds, bytes written, TLS begun.

RFC 5321 4.2 (replies), RFC 2034 and RFC 3463 (enhanced codes), RFC 3207 (STARTTLS). `ReplyParser` is pure: bytes in,
replies out. `Wire` waits with a time limit for a whole reply, so a peer that drips bytes gains nothing. A peer that
sends what is no reply, or too much, ends the connection with `PeerError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from typing import Any, NamedTuple

LINE_LIMIT = 4096  # bytes of a reply line; RFC 5321 4.5.3.1.5 has 512
LINES_LIMIT = 256  # lines of a reply
REPLY_LIMIT = 65_536  # bytes received and not yet asked for
TEXT_LIMIT = 500  # characters of a reply's text that are kept
_REPLY = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?\Z", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:\s+|\Z)")


class PeerError(Exception):
    """The connection is of no use any more: lost, silent, or not SMTP. str() is the reason."""


class PeerReply(NamedTuple):
    """enhanced: "" for none, or of another class than the code. lines: printable, without codes."""

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(filter(None, self.lines))[:TEXT_LIMIT]


class ReplyParser:
    """`feed` bytes, then take replies by `next` until it gives None. Raises PeerError for what is no reply."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._code = b""
        self._lines: list[bytes] = []

    def feed(self, data: bytes) -> None:
        if len(self.buffer) + len(data) > REPLY_LIMIT:
            raise PeerError("it sent too much")
        self.buffer += data

    @property
    def empty(self) -> bool:
        """Nothing was received that was not taken."""
        return not self.buffer and not self._lines

    def next(self) -> PeerReply | None:
        while (end := self.buffer.find(b"\n")) >= 0:
            line = bytes(self.buffer[:end])
            del self.buffer[: end + 1]
            if self._line(line[:-1] if line.endswith(b"\r") else line):
                reply = _reply(self._code, self._lines)
                self._code, self._lines = b"", []
                return reply
        if len(self.buffer) > LINE_LIMIT:
            raise PeerError("it sent a line that is too long")
        return None

    def _line(self, line: bytes) -> bool:
        """Takes a line; whether it was the reply's last."""
        match = _REPLY.match(line)
        if len(line) > LINE_LIMIT or match is None:
            raise PeerError(f"it sent what is no SMTP reply: {_printable(line[:80])}")
        code, mark, text = match.groups()
        if self._lines and code != self._code:
            raise PeerError("it sent a reply of several lines with different codes")
        self._code = code
        self._lines.append(text or b"")
        if len(self._lines) > LINES_LIMIT:
            raise PeerError("it sent a reply of too many lines")
        return mark != b"-"


def _reply(code: bytes, lines: list[bytes]) -> PeerReply:
    texts = [_printable(line) for line in lines]
    match = _ENHANCED.match(texts[0])
    if match is None or match[1][0] != chr(code[0]):
        return PeerReply(int(code), "", tuple(texts))
    enhanced = match[1]
    # RFC 2034 4: the code stands on every line.
    texts = [text[len(enhanced) :].lstrip() if text.startswith(enhanced) else text for text in texts]
    return PeerReply(int(code), enhanced, tuple(texts))


def _printable(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


class Wire(asyncio.Protocol):
    """One connection, from its TCP handshake on. Not for use by two tasks at once."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.parser = ReplyParser()
        self.lost: str = ""
        self.bytes_out = 0
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._paused = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed(data)
        except PeerError as error:
            self.abort(str(error))
        self._wake(self._waiter)

    def eof_received(self) -> bool:
        return False  # closes

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = self.lost or (f"connection lost: {error}" if error else "it closed the connection")
        self._wake(self._waiter)
        self._wake(self._room)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake(self._room)

    @staticmethod
    def _wake(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # what sessions use

    @property
    def quiet(self) -> bool:
        """Connected, and nothing was received that nobody asked for."""
        return not self.lost and self.parser.empty

    def write(self, data: bytes) -> None:
        """Raises PeerError when the connection is lost."""
        if self.lost:
            raise PeerError(self.lost)
        self.bytes_out += len(data)
        self.transport.write(data)

    async def drain(self, limit: float) -> None:
        """Waits until the network has taken most of what was written. Raises PeerError."""
        if self._paused and not self.lost:
            self._room = asyncio.get_running_loop().create_future()
            await self._wait(self._room, asyncio.get_running_loop().time() + limit, "the network took no data")
        if self.lost:
            raise PeerError(self.lost)

    def early(self) -> PeerReply | None:
        """A reply that is there before it was waited for. Raises PeerError."""
        return self.parser.next()

    async def reply(self, limit: float) -> PeerReply:
        """The next whole reply. limit: seconds for all of it. Raises PeerError."""
        loop = asyncio.get_running_loop()
        end = loop.time() + limit
        while (reply := self._next()) is None:
            if self.lost:
                raise PeerError(self.lost)
            self._waiter = loop.create_future()
            await self._wait(self._waiter, end, f"no reply within {limit:g} s")
        return reply

    def _next(self) -> PeerReply | None:
        try:
            return self.parser.next()
        except PeerError as error:
            self.abort(str(error))
            raise

    async def _wait(self, waiter: asyncio.Future[None], end: float, late: str) -> None:
        """Until the waiter is woken, or the loop's time is `end`: then the connection is given up."""
        loop = asyncio.get_running_loop()
        alarm = loop.call_at(end, self._late, waiter, late)
        try:
            await waiter
        finally:
            alarm.cancel()

    def _late(self, waiter: asyncio.Future[None], late: str) -> None:
        self.abort(late)
        self._wake(waiter)

    async def start_tls(self, context: ssl.SSLContext, name: str | None, limit: float) -> None:
        """name: for SNI, and for verification if the context does it. Raises ssl.SSLError, OSError, PeerError.

        RFC 3207 4.2 and CVE-2011-0411: what came in the clear after the reply to STARTTLS is an injection.
        """
        if not self.parser.empty:
            raise PeerError("it sent more than its reply to STARTTLS")
        if self.lost:
            raise PeerError(self.lost)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit + 1):
                self.transport = await loop.start_tls(
                    self.transport, self, context, server_hostname=name, ssl_handshake_timeout=limit
                )
        except TimeoutError:
            raise PeerError(f"no TLS within {limit:g} s") from None
        if self.transport is None:
            raise PeerError(self.lost or "it closed the connection")
        if not self.parser.empty:
            raise PeerError("it sent more than its reply to STARTTLS")

    def ssl_object(self) -> Any:
        return self.transport.get_extra_info("ssl_object") if self.transport else None

    def chain(self) -> list[bytes]:
        """The certificates the peer presented, DER, its own first; [] without TLS."""
        connection = self.ssl_object()
        if connection is None:
            return []
        public = getattr(connection, "get_unverified_chain", None)  # CPython 3.13
        if public is not None:
            return [bytes(item) for item in public() or []]
        inner = getattr(connection, "_sslobj", None)
        presented = inner.get_unverified_chain() if inner is not None else None
        if presented:
            return [item.public_bytes(_DER) for item in presented]
        leaf = connection.getpeercert(True)
        return [leaf] if leaf else []

    def local_ip(self) -> str:
        name = self.transport.get_extra_info("sockname") if self.transport else None
        return str(name[0]) if name else ""

    def abort(self, reason: str = "") -> None:
        """Ends the connection at once. reason: what later use raises."""
        self.lost = self.lost or reason or "the connection was given up"
        if self.transport is not None:
            with contextlib.suppress(Exception):
                self.transport.abort()


_DER = 2  # _ssl.ENCODING_DER
