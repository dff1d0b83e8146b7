"""Bytes of an SMTP client to command lines and message data; sans-IO, the same result however the bytes are
cut.

RFC 5321 2.3.8 (CRLF ends lines, and nothing else does), 4.1.1.4 (only CRLF.CRLF ends data), 4.5.2
(transparency).

Servers that take a bare CR or LF for a line end, or for the end of data, let one mail carry another inside
("SMTP smuggling"). Here a command line with a bare CR, a bare LF or NUL is `Trouble.BARE`; its LF ends it
all the same, so that a client that sends LF only is told so at once instead of waiting. Data with one of
them is read to CRLF.CRLF and then not accepted: `DataReader.trouble` says why.

Data is searched block-wise (bytes.find, count, replace): 5 MB cost some 15 ms.
"""

from __future__ import annotations

from enum import Enum

END = b"\r\n.\r\n"
_PREFIXES = (END[:4], END[:3], END[:2], END[:1])


class Trouble(Enum):
    """What is wrong with a line or with data, the worst first."""

    BARE = "bare CR or LF"
    NUL = "NUL"
    LONG = "line too long"


class LineInput:
    """Assembles command lines. limit: octets of a line with its CRLF; longer ones are skipped to their
    end."""

    __slots__ = ("_buffer", "_limit", "_skipping", "_start")

    def __init__(self, limit: int) -> None:
        self._buffer = b""
        self._start = 0
        self._limit = limit
        self._skipping = False

    def feed(self, data: bytes) -> None:
        self._buffer = self._buffer[self._start :] + data if self._buffer else data
        self._start = 0

    def line(self) -> bytes | Trouble | None:
        """The next line without its CRLF; None when there is no whole line yet."""
        buffer, start = self._buffer, self._start
        end = buffer.find(b"\n", start) + 1
        if not end:
            if len(buffer) - start > self._limit:
                self._skipping = True
                self.take()
            return None
        if end == len(buffer):
            self._buffer = b""
            self._start = 0
        else:
            self._start = end
        if self._skipping or end - start > self._limit:
            self._skipping = False
            return Trouble.LONG
        first = buffer.find(b"\r", start, end)
        if first < 0 or first != end - 2 or buffer.find(b"\0", start, end) >= 0:
            return Trouble.BARE
        return buffer[start : end - 2]

    def take(self) -> bytes:
        """All that has not been read as lines; the input is empty then."""
        rest = self._buffer[self._start :]
        self._buffer = b""
        self._start = 0
        return rest

    @property
    def pending(self) -> int:
        """Octets that wait."""
        return len(self._buffer) - self._start


class DataReader:
    """The text after DATA, up to CRLF.CRLF. line_limit: octets of a line with its CRLF."""

    __slots__ = ("_column", "_held", "_line_limit", "_troubles", "_virtual")

    def __init__(self, line_limit: int) -> None:
        # The CRLF of the DATA command is the first half of the end of an empty message (RFC 5321 4.1.1.4).
        self._held = b"\r\n"
        self._virtual = True
        self._column = 0
        self._line_limit = line_limit
        self._troubles: set[Trouble] = set()

    @property
    def trouble(self) -> Trouble | None:
        """Why the message must not be accepted, the worst first; final only at the end of data."""
        return next((trouble for trouble in Trouble if trouble in self._troubles), None) if self._troubles else None

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """(message text without transparency dots, None while the end has not come, or the bytes after
        it)."""
        buffer = self._held + data if self._held else data
        end = buffer.find(END)
        if end >= 0:
            rest: bytes | None = buffer[end + 5 :]
            piece = buffer[: end + 2]
            self._held = b""
        else:
            rest = None
            self._held = next((prefix for prefix in _PREFIXES if buffer.endswith(prefix)), b"")
            piece = buffer[: -len(self._held)] if self._held else buffer
        if not piece:
            return b"", rest
        if Trouble.BARE in self._troubles:
            return b"", rest
        self._check(piece)
        text = piece.replace(b"\r\n.", b"\r\n")
        if self._virtual:
            self._virtual = False
            text = text[2:]
        return text, rest

    def _check(self, piece: bytes) -> None:
        """A piece begins and ends anywhere but between CR and LF."""
        lines = piece.count(b"\n")
        if lines != piece.count(b"\r") or lines != piece.count(b"\r\n"):
            self._troubles.add(Trouble.BARE)
        if b"\0" in piece:
            self._troubles.add(Trouble.NUL)
        self._measure(piece)

    def _measure(self, piece: bytes) -> None:
        """Whether a line is too long, in leaps of the limit: cheap for lines of the usual length."""
        limit = self._line_limit
        size = len(piece)
        start = -self._column  # where the current line began, seen from this piece
        while size - start > limit:
            end = piece.rfind(b"\n", max(start, 0), max(start + limit, 0))
            if end < 0:
                self._troubles.add(Trouble.LONG)
                end = piece.find(b"\n", max(start, 0))
                if end < 0:
                    break
            start = end + 1
        last = piece.rfind(b"\n", max(start, 0))
        self._column = size - (last + 1 if last >= 0 else start)


class ChunkReader(DataReader):
    """The text of BDAT chunks (RFC 3030 2), without BINARYMIME: no dots, no end of its own, the same rules for lines
    as after DATA. Chunks may be cut anywhere."""

    __slots__ = ()

    def __init__(self, line_limit: int) -> None:
        super().__init__(line_limit)
        self._held = b""
        self._virtual = False

    def feed(self, data: bytes) -> bytes:  # type: ignore[override]
        """The text so far, but for a CR that waits for its LF."""
        piece = self._held + data if self._held else data
        self._held = b""
        if piece.endswith(b"\r"):
            self._held = b"\r"
            piece = piece[:-1]
        if piece and Trouble.BARE not in self._troubles:
            self._check(piece)
        return piece

    def end(self) -> bytes:
        """What the message lacks to end in CRLF, as with DATA it always does. `trouble` is final then."""
        if self._held:
            self._troubles.add(Trouble.BARE)
        return b"\r\n" if self._column else b""
