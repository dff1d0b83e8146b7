"""The text of a message as it comes in, by DATA (RFC 5321 4.1.1.4) or in chunks by BDAT (RFC 3030 2).

What is wrong with it is answered when all of it has come: the octets of a message must never be taken for commands.
The reader knows the message and how much of it is still to come; who sends it, and what becomes of it, is `session`'s
matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from echomox.errors import Reply
from echomox.smtpd.body import Body
from echomox.smtpd.lines import ChunkReader, DataReader, LineInput, Trouble

if TYPE_CHECKING:
    from echomox.smtpd.service import SmtpService

GO_AHEAD = b"354 End data with <CRLF>.<CRLF>\r\n"
AFTER_BDAT = Reply(503, "5.5.1", "BDAT has begun: only BDAT and RSET may follow")
TOO_SLOW = Reply(421, "4.4.2", "Timeout, closing connection")
SMUGGLING = {
    Trouble.BARE: Reply(550, "5.6.11", "Bare CR or LF in message data is not accepted (SMTP smuggling)"),
    Trouble.NUL: Reply(550, "5.6.11", "NUL in message data is not accepted"),
    Trouble.LONG: Reply(554, "5.6.0", "The message has a line that is too long"),
}


@dataclass(frozen=True, slots=True)
class Ended:
    """A message has come, or a chunk. body: of a whole message, or of what is refused. reply: to a chunk, or why it is
    refused."""

    body: Body | None = None
    reply: Reply | None = None
    refused: bool = False


NOTHING = Ended()
"""No octet of a message after DATA has come yet."""


class MessageReader:
    """One per connection. until: when the message at hand must be there, by the loop's clock."""

    __slots__ = ("_body", "_chunks", "_data", "_last", "_left", "_refusal", "_service", "until", "within")

    def __init__(self, service: SmtpService) -> None:
        self._service = service
        self._body: Body | None = None
        self._data: DataReader | None = None
        self._chunks: ChunkReader | None = None
        """Of a message that comes by BDAT, from its first chunk to its last."""
        self._left = 0
        """Octets of the chunk at hand that are to come."""
        self._last = False
        self._refusal: Reply | None = None
        self.until = 0.0
        self.within = False
        """What comes next is text of a message."""

    @property
    def chunking(self) -> bool:
        """A message is coming by BDAT."""
        return self._chunks is not None

    def begin_data(self) -> Reply | bytes:
        if self._chunks is not None:
            return AFTER_BDAT  # RFC 3030 2
        self._data = DataReader(self._service.limits.line_length)
        self.within = True
        self._begin()
        return GO_AHEAD

    def begin_chunk(self, size: int, last: bool, refusal: Reply | None) -> None:
        """refusal: the octets are dropped, and this is answered when they have come."""
        self._left, self._last, self._refusal = size, last, refusal
        self.within = True
        if refusal is None and self._chunks is None:
            self._chunks = ChunkReader(self._service.limits.line_length)
            self._begin()
        elif self._chunks is None:
            self.until = self._service.loop.time() + self._service.limits.message_timeout

    def _begin(self) -> None:
        limits = self._service.limits
        self._body = Body(self._service.spool, limits.message_size)
        self.until = self._service.loop.time() + limits.message_timeout

    def discard(self) -> None:
        """Forgets what has come of a message."""
        body, self._body = self._body, None
        if body is not None:
            body.discard()
        self._chunks = None

    def read(self, lines: LineInput) -> Ended | None:
        """Takes what has come. None when more is needed; NOTHING when there was none after DATA."""
        if self._data is not None:
            return self._read_data(self._data, lines)
        if self._left:
            data = lines.take()
            if not data:
                return None
            taken = data[: self._left]
            lines.feed(data[len(taken) :])
            self._left -= len(taken)
            if self._refusal is None:
                self._take_chunk(taken)
            if self._left:
                return None
        self.within = False
        return self._end_chunk()

    def _read_data(self, reader: DataReader, lines: LineInput) -> Ended | None:
        data = lines.take()
        if not data:
            return NOTHING
        body = self._body
        assert body is not None
        text, rest = reader.feed(data)
        if reader.trouble is None:
            body.write(text)
        elif body.trouble is None:
            body.refuse(SMUGGLING[reader.trouble])
        if rest is None:
            return None
        self._data = self._body = None
        self.within = False
        lines.feed(rest)
        trouble = SMUGGLING[reader.trouble] if reader.trouble is not None else body.trouble
        return Ended(body, trouble, trouble is not None)

    def _take_chunk(self, data: bytes) -> None:
        body, reader = self._body, self._chunks
        assert body is not None and reader is not None
        text = reader.feed(data)
        if reader.trouble is None:
            body.write(text)
        elif body.trouble is None:
            body.refuse(SMUGGLING[reader.trouble])

    def _end_chunk(self) -> Ended:
        """All octets of a chunk have come: its reply (RFC 3030 2), and with the last one the message."""
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            return Ended(reply=refusal, refused=True)
        body, reader = self._body, self._chunks
        assert body is not None and reader is not None
        if self._last:
            body.write(reader.end())
        trouble = SMUGGLING[reader.trouble] if reader.trouble is not None else body.trouble
        if trouble is None and self._service.loop.time() > self.until:
            trouble = TOO_SLOW
        if trouble is not None:
            return Ended(body, trouble, refused=True)
        if self._last:
            self._chunks = self._body = None
            return Ended(body)
        return Ended(reply=Reply(250, "2.0.0", f"{body.size} octets received"))
