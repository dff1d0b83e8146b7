"""From bytes to IMAP commands: lines and literals, nothing of what they mean. RFC 9051 4.3, 7888 (LITERAL+),
3516 (literal8).

`feed` bytes, then take events from `next` until it gives None. Nothing here reads, writes or waits.

A command is complete when its last line is: its text stands in one `bytes`, in which each literal has been
put as `{n}` LF and its n octets, or, when its octets went by as a stream, as `{n@k}` LF for the k-th stream
of the command. A line sent by a client cannot hold LF, so neither can be forged; `lexer.Parser` reads both.

Memory: a command holds at most `Limits.line` octets of lines and `Limits.literal` octets of literals. Larger
literals are for APPEND and its like only and are handed on piece by piece: StreamStart, StreamChunk ...,
StreamEnd, then the Command.

A literal that is not wanted: a synchronising one is answered instead of granted, and the command is forgotten
(`LiteralTooLarge`, or `refuse` by the driver); of a non-synchronising one the octets are on their way, so
they and the rest of the command are read over, and the event comes when the command has ended. Otherwise its
octets would be taken for commands.

A line may end in a bare LF: outside of mail data that is harmless, and people type commands by hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

STREAMING = frozenset(("APPEND", "REPLACE", "UID REPLACE"))
"""Commands that carry messages (RFC 9051 6.3.12, 3502, 8508)."""

# RFC 9051 9: tag = 1*<any ASTRING-CHAR except "+">; then a command word, for UID with the word after it.
_TAG_CHARS = rb"([!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+)"
_START = re.compile(_TAG_CHARS + rb" ((?:UID )?[A-Z][A-Z0-9_.\-]*)(?= |$)", re.IGNORECASE)
_TAG = re.compile(_TAG_CHARS + rb"(?= |$)")
_LITERAL = re.compile(rb"(~?)\{([0-9]+)(\+?)\}$")
_HTTP = re.compile(rb"[A-Z]+ [^ ]+ HTTP/[0-9.]+$")
_HUGE = 1 << 64
"""Stands for every size that has more digits than a number of 64 bits (RFC 9051 9, number64)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may make us hold. Octets, all of one command."""

    line: int = 65536
    """All its lines together, without the literals."""
    literal: int = 1 << 20
    """All its literals together that are held in memory."""
    message: int = 64 << 20
    """One literal that is streamed; 0 when there are to be none (before login)."""
    stream_from: int = 65536
    """A literal of a STREAMING command is streamed when it is larger than this."""
    skip: int = 256 << 20
    """Octets of unwanted non-synchronising literals that are read over; beyond it the connection is to be
    closed."""


BEFORE_LOGIN = Limits(line=8192, literal=4096, message=0, skip=0)


@dataclass(frozen=True, slots=True)
class Command:
    """A complete command. name: upper case, "UID FETCH" for the UID forms; arguments: b"" or SP and the
    rest, for `lexer.Parser`; streams: how many of its literals went by as streams."""

    tag: bytes
    name: str
    arguments: bytes
    streams: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A raw line without its end, after `expect_line`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class NeedContinuation:
    """The client waits for "+ ..." before it sends a literal of `size` octets: write that before the next
    call of `next`, or call `refuse` and answer the command. `Receiver.partial` is the command so far;
    stream: the literal will be streamed."""

    tag: bytes
    name: str
    size: int
    stream: bool


@dataclass(frozen=True, slots=True)
class StreamStart:
    """The octets of streamed literal number `index` (0, 1 ... of this command) follow. It can be
    disregarded, not refused."""

    tag: bytes
    name: str
    size: int
    index: int


@dataclass(frozen=True, slots=True)
class StreamChunk:
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamEnd:
    index: int


@dataclass(frozen=True, slots=True)
class LiteralTooLarge:
    """Answer `tag` NO [TOOBIG] (RFC 4469, 7889) or BAD; fatal: say BYE [TOOBIG] and close (RFC 7888 4)."""

    tag: bytes
    name: str
    size: int
    limit: int
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class ProtocolError:
    """Not a command: answer BAD, with "*" when tag is b"". fatal: what follows cannot be told from
    commands; BYE, close."""

    tag: bytes
    text: str
    fatal: bool = False


Event = (
    Command
    | Line
    | NeedContinuation
    | StreamStart
    | StreamChunk
    | StreamEnd
    | LiteralTooLarge
    | ProtocolError
)


class _Stage(Enum):
    """What the next octets are."""

    LINE = 0
    HOLD = 1
    """A literal that is kept in memory."""
    STREAM = 2
    SKIP = 3


class Receiver:
    """One connection's input. `limits` may be replaced between commands (after a login)."""

    __slots__ = (
        "_buffer", "_dead", "_failed", "_held", "_index", "_lines", "_name", "_queued", "_raw", "_remaining",
        "_scanned", "_skipped", "_stage", "_tag", "_text", "limits",
    )  # fmt: skip

    def __init__(self, limits: Limits = BEFORE_LOGIN) -> None:
        self.limits = limits
        self._buffer = bytearray()
        self._scanned = 0  # octets of the buffer known to hold no LF
        self._raw = False
        self._dead = False
        self._forget()

    def _forget(self) -> None:
        """To the start of the next command."""
        self._tag = b""
        self._name = ""
        self._text: bytearray | None = None  # arguments so far; None before the first literal
        self._lines = 0  # octets of lines, of literals in memory, of literals read over, in this command
        self._held = 0
        self._skipped = 0
        self._index = 0  # streams begun
        self._stage = _Stage.LINE
        self._remaining = 0  # octets missing of the literal
        self._queued: Event | None = None
        self._failed: LiteralTooLarge | ProtocolError | None = None

    def feed(self, data: bytes) -> None:
        """More bytes of the peer."""
        if not self._dead:
            self._buffer += data

    def next(self) -> Event | None:
        """The next event; None when more bytes are needed, and for ever after a fatal one."""
        while not self._dead:
            if self._queued is not None:
                queued, self._queued = self._queued, None
                return queued
            if self._stage is _Stage.LINE:
                line = self._next_line()
                if line is None:
                    return self._check_line(len(self._buffer))
                event = self._check_line(len(line)) or self._take(line)
                if event is not None:
                    return event
            elif self._stage is _Stage.STREAM:
                return self._stream()
            elif not self._literal():
                return None
        return None

    def expect_line(self) -> None:
        """The next line is not a command (SASL response, DONE of IDLE): it comes as Line."""
        self._raw = True

    def refuse(self) -> None:
        """Right after NeedContinuation: the command is over, for the client will not send the literal."""
        self._forget()

    def partial(self) -> bytes:
        """Arguments of the command under way, up to and with the announcement of its last literal (as in
        Command)."""
        return bytes(self._text or b"")

    @property
    def in_command(self) -> bool:
        """A part of a command or line has come, the rest has not."""
        return bool(self._buffer) or self._text is not None or self._failed is not None

    def clear(self) -> int:
        """Forgets what has come and was not taken, and says how many octets: before TLS begins (RFC 9051
        6.2.1)."""
        size = len(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        self._forget()
        return size

    def _next_line(self) -> bytes | None:
        """Without CR LF or LF."""
        buffer = self._buffer
        end = buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(buffer)
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        self._scanned = 0
        return line

    def _check_line(self, length: int) -> ProtocolError | None:
        """A line that is too long ends the connection: it may end in a literal that can no more be told
        from commands."""
        if self._lines + length <= self.limits.line:
            return None
        self._die()
        return ProtocolError(self._tag, "Command line too long", fatal=True)

    def _die(self) -> None:
        self._buffer.clear()
        self._dead = True

    def _take(self, line: bytes) -> Event | None:
        """One line of a command (or a raw one), without LF."""
        if line.endswith(b"\r"):
            line = line[:-1]
        if self._raw:
            self._raw = False
            return Line(line)
        self._lines += len(line)
        start = 0
        if self._text is None and self._failed is None:
            start = self._begin(line)
        literal = _LITERAL.match(line, _literal_start(line)) if line.endswith(b"}") else None
        if literal is not None:
            return self._announce(line[start : literal.start()], literal)
        return self._finish(line[start:])

    def _begin(self, line: bytes) -> int:
        """The first line: tag and name. Returns where the arguments begin."""
        found = _START.match(line)
        if found is None:
            tag = _TAG.match(line)
            self._failed = ProtocolError(
                tag[1] if tag else b"", "Expected a tag and a command", bool(_HTTP.match(line))
            )
            return 0
        self._tag = found[1]
        self._name = found[2].decode("ascii").upper()
        return found.end()

    def _finish(self, rest: bytes) -> Event:
        """The last line of a command."""
        event: Event
        if self._failed is not None:
            event = self._failed
            if event.fatal:
                self._die()
        elif self._text is None:
            event = Command(self._tag, self._name, rest)
        else:
            self._text += rest
            event = Command(self._tag, self._name, bytes(self._text), self._index)
        self._forget()
        return event

    def _announce(self, before: bytes, literal: re.Match[bytes]) -> Event | None:
        """A line that ends in `{n}` or `{n+}`."""
        size = int(literal[2]) if len(literal[2]) < 20 else _HUGE
        waits = not literal[3]
        if self._failed is None:
            stream, limit = self._room(size)
            if size <= limit:
                return self._accept(before, literal[1], size, stream, waits)
            self._failed = LiteralTooLarge(self._tag, self._name, size, limit)
        if waits:
            return self._finish(b"")
        self._skipped += size
        if self._skipped > self.limits.skip:
            self._failed = replace(self._failed, fatal=True)
            return self._finish(b"")
        self._stage, self._remaining = _Stage.SKIP, size
        return None

    def _room(self, size: int) -> tuple[bool, int]:
        """(is the literal to be streamed, how large it may be)."""
        limits = self.limits
        room = limits.literal - self._held
        if self._name not in STREAMING or not limits.message:
            return False, room
        return size > min(limits.stream_from, room), limits.message

    def _accept(self, before: bytes, kind: bytes, size: int, stream: bool, waits: bool) -> Event | None:
        """kind: b"~" for a literal8."""
        if self._text is None:
            self._text = bytearray()
        self._text += before
        self._remaining = size
        if stream:
            self._text += b"%b{%d@%d}\n" % (kind, size, self._index)
            self._stage = _Stage.STREAM
            self._queued = StreamStart(self._tag, self._name, size, self._index)
            self._index += 1
        else:
            self._text += b"%b{%d}\n" % (kind, size)
            self._held += size
            self._stage = _Stage.HOLD
        return NeedContinuation(self._tag, self._name, size, stream) if waits else None

    def _literal(self) -> bool:
        """Octets of a literal to be held or skipped. False: more are needed."""
        part = self._buffer[: self._remaining]
        del self._buffer[: len(part)]
        self._remaining -= len(part)
        if self._stage is _Stage.HOLD and self._text is not None:
            self._text += part
        if self._remaining:
            return False
        self._stage = _Stage.LINE
        return True

    def _stream(self) -> StreamChunk | StreamEnd | None:
        if not self._remaining:
            self._stage = _Stage.LINE
            return StreamEnd(self._index - 1)
        if not self._buffer:
            return None
        chunk = bytes(self._buffer[: self._remaining])
        del self._buffer[: len(chunk)]
        self._remaining -= len(chunk)
        return StreamChunk(chunk)


def _literal_start(line: bytes) -> int:
    """Where `{n}` or `~{n}` at the end of the line begins; the end when there is none."""
    brace = line.rfind(b"{")
    if brace < 0:
        return len(line)
    return brace - 1 if line[brace - 1 : brace] == b"~" else brace
