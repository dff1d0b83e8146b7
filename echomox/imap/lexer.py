"""The words of IMAP: a `Parser` that walks over the arguments of one complete command. RFC 9051 9, RFC 3501
9.

The text is that of `receive.Command.arguments`: literals stand in it as `{n}` LF octets, streamed ones as
`{n@k}` LF. Each method takes what it is named for from the place where the parser stands, or raises `Bad`;
nothing is looked at twice.

More than the RFCs allow is taken in three places, because clients send it: octets above 127 in quoted strings
(judged where the meaning is known), a day without its leading blank in a date-time, and blanks at the end of
a command.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from echomox.errors import RemoteError, Reply
from echomox.imap import mutf7
from echomox.imap.seqset import SequenceSet

NESTING = 50
"""Parentheses within parentheses, and search keys within search keys."""
NUMBER = 0xFFFFFFFF
NUMBER64 = (1 << 63) - 1  # RFC 9051 9: number64 is an unsigned 63-bit integer

_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_ASTRING = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_PATTERN = re.compile(rb"[!#$%&'*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_WORD = re.compile(rb"[A-Za-z][A-Za-z0-9.\-]*")
_QUOTED = re.compile(rb'"([^"\\\r\n\0]*(?:\\["\\][^"\\\r\n\0]*)*)"')
_ESCAPED = re.compile(rb"\\(.)")
_LITERAL = re.compile(rb"(~?)\{([0-9]+)(?:@([0-9]+))?\}\n")
_NUMBER = re.compile(rb"[0-9]{1,20}(?![0-9])")
_SET = re.compile(rb"[0-9*:,]+|\$")
_PARTIAL = re.compile(rb"(-?[0-9]{1,10}):(-?[0-9]{1,10})")
_FLAG = re.compile(rb"\\?[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_DATE = re.compile(rb'("?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1')
_DATE_TIME = re.compile(
    rb'"([ 0-9]?[0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)
MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(MONTHS, 1)}


class Bad(RemoteError):
    """The arguments are not what the grammar allows: answer BAD with `text`."""

    def __init__(self, text: str) -> None:
        super().__init__(Reply(500, "5.5.2", text))
        self.text = text


@dataclass(frozen=True, slots=True)
class Streamed:
    """A literal that went by as stream number `index` of the command; binary: it was a literal8."""

    index: int
    size: int
    binary: bool


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal held in memory; binary: it was a literal8."""

    data: bytes
    binary: bool


class Parser:
    """text: arguments of a command; utf8: mailbox names are UTF-8 (after ENABLE UTF8=ACCEPT or IMAP4rev2)."""

    __slots__ = ("depth", "pos", "text", "utf8", "written")

    def __init__(self, text: bytes, utf8: bool = False) -> None:
        self.text = text
        self.pos = 0
        self.utf8 = utf8
        self.depth = 0
        self.written = ""
        """The last mailbox name as the client wrote it (RFC 9051 6.3.9.7)."""

    # the place

    def bad(self, expected: str) -> Bad:
        """To be raised. Says what was expected and how far into the arguments, never what stood there: it
        may be a secret."""
        return Bad(f"Expected {expected} at octet {self.pos} of the arguments")

    def at_end(self) -> bool:
        return self.pos >= len(self.text)

    def end(self) -> None:
        """Nothing follows."""
        if self.text[self.pos :].strip(b" "):
            raise self.bad("the end of the command")
        self.pos = len(self.text)

    def next_is(self, token: bytes) -> bool:
        return self.text.startswith(token, self.pos)

    def accept(self, token: bytes) -> bool:
        """Takes the token if it stands here."""
        if not self.text.startswith(token, self.pos):
            return False
        self.pos += len(token)
        return True

    def expect(self, token: bytes) -> None:
        if not self.accept(token):
            raise self.bad(repr(token.decode("ascii")))

    def space(self) -> None:
        if not self.accept(b" "):
            raise self.bad("a space")

    def take(self, pattern: re.Pattern[bytes], expected: str) -> re.Match[bytes]:
        match = pattern.match(self.text, self.pos)
        if match is None:
            raise self.bad(expected)
        self.pos = match.end()
        return match

    def open(self) -> None:
        """ "(", counted."""
        self.expect(b"(")
        self.deeper()

    def close(self) -> None:
        self.expect(b")")
        self.depth -= 1

    def deeper(self) -> None:
        """One level down; the caller takes it back from `depth`."""
        self.depth += 1
        if self.depth > NESTING:
            raise Bad(f"Nested deeper than {NESTING}")

    # words and strings

    def word(self) -> str:
        """A keyword of the protocol, upper case."""
        return self.take(_WORD, "a keyword")[0].decode("ascii").upper()

    def next_word(self) -> str:
        """As `word`, without taking it; "" when there is none."""
        match = _WORD.match(self.text, self.pos)
        return match[0].decode("ascii").upper() if match else ""

    def atom(self) -> bytes:
        return self.take(_ATOM, "an atom")[0]

    def astring(self) -> bytes:
        match = _ASTRING.match(self.text, self.pos)
        if match is None:
            return self.string()
        self.pos = match.end()
        return match[0]

    def string(self) -> bytes:
        """Quoted or literal, in memory."""
        if self.next_is(b'"'):
            return self.quoted()
        literal = self.literal()
        if isinstance(literal, Streamed) or literal.binary:
            raise self.bad("a short string")
        return literal.data

    def nstring(self) -> bytes | None:
        if self.text[self.pos : self.pos + 3].upper() == b"NIL":
            self.pos += 3
            return None
        return self.string()

    def quoted(self) -> bytes:
        body = self.take(_QUOTED, "a string")[1]
        return _ESCAPED.sub(rb"\1", body) if b"\\" in body else body

    def literal(self) -> Literal | Streamed:
        """Literal or literal8."""
        match = self.take(_LITERAL, "a string")
        size = int(match[2])
        if match[3] is not None:
            return Streamed(int(match[3]), size, bool(match[1]))
        end = self.pos + size
        if end > len(self.text):
            raise self.bad("a whole literal")
        data = self.text[self.pos : end]
        self.pos = end
        return Literal(data, bool(match[1]))

    def text_string(self, encoding: str = "utf-8") -> str:
        """An astring that is text."""
        place = self.pos
        try:
            return self.astring().decode(encoding)
        except UnicodeDecodeError:
            self.pos = place
            raise self.bad(f"a string in {encoding}") from None

    # numbers, dates, flags

    def number(self, most: int = NUMBER, least: int = 0) -> int:
        """Unsigned, 32 bits; `least=1` for nz-number."""
        place = self.pos
        value = int(self.take(_NUMBER, "a number")[0])
        if not least <= value <= most:
            self.pos = place
            raise self.bad(f"a number from {least} to {most}")
        return value

    def number64(self, least: int = 0) -> int:
        """Unsigned, 63 bits: sizes (RFC 9051), mod-sequences (RFC 7162)."""
        return self.number(NUMBER64, least)

    def sequence_set(self) -> SequenceSet:
        place = self.pos
        try:
            return SequenceSet.parse(self.take(_SET, "a set of messages")[0])
        except ValueError as error:
            self.pos = place
            raise Bad(f"{error}, at octet {place} of the arguments") from None

    def known_set(self) -> SequenceSet:
        """Without "*" and "$" (RFC 7162 7, known-uids)."""
        place = self.pos
        found = self.sequence_set()
        if found.saved or found.open_ended:
            self.pos = place
            raise self.bad("a set of messages without * and $")
        return found

    def partial_range(self) -> tuple[int, int]:
        """RFC 9394 4: 1:500, or -1:-500 from the end. The client may write it in either order."""
        match = self.take(_PARTIAL, "a range like 1:500 or -1:-500")
        low, high = int(match[1]), int(match[2])
        if (low < 0) != (high < 0) or not low or not high or max(abs(low), abs(high)) > NUMBER:
            raise Bad("A range of PARTIAL counts from one end, from 1")
        return (low, high) if abs(low) <= abs(high) else (high, low)

    def date(self) -> date:
        """1-Feb-1994, quoted or not."""
        place = self.pos
        match = self.take(_DATE, "a date")
        try:
            return date(int(match[4]), _MONTH_NUMBERS[match[3].lower()], int(match[2]))
        except (KeyError, ValueError):
            self.pos = place
            raise self.bad("a date of the calendar") from None

    def date_time(self) -> datetime:
        """ " 7-Feb-1994 21:52:25 -0800", with its zone."""
        place = self.pos
        match = self.take(_DATE_TIME, "a date and time")
        day, month, year, hour, minute, second, sign, hours, minutes = match.groups()
        try:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            zone = timezone(-offset if sign == b"-" else offset)
            # A leap second is a second that datetime does not have.
            clock = (int(hour), int(minute), min(int(second), 59) if second == b"60" else int(second))
            return datetime(int(year), _MONTH_NUMBERS[month.lower()], int(day), *clock, tzinfo=zone)
        except (KeyError, ValueError):
            self.pos = place
            raise self.bad("a date and time of the calendar") from None

    def flag(self) -> str:
        """A keyword, or a system flag with its backslash; whether we know it is for
        response.FlagFormatter."""
        return self.take(_FLAG, "a flag")[0].decode("ascii")

    def flag_list(self) -> tuple[str, ...]:
        """In parentheses, maybe empty."""
        self.open()
        flags: list[str] = []
        while not self.next_is(b")"):
            if flags:
                self.space()
            flags.append(self.flag())
        self.close()
        return tuple(flags)

    # mailboxes

    def mailbox(self) -> str:
        """INBOX in any case is "INBOX" (RFC 9051 5.1). "" is a name by the grammar; that there is no such mailbox is
        for the store to say."""
        name = self._mailbox_text(self.astring(), self.pos)
        self.written = name
        return "INBOX" if name.upper() == "INBOX" else name

    def reference(self) -> str:
        """A mailbox name that may be empty (LIST)."""
        place = self.pos
        return self._mailbox_text(self.astring(), place)

    def pattern(self) -> str:
        """list-mailbox: with the wildcards % and *."""
        place = self.pos
        match = _PATTERN.match(self.text, self.pos)
        if match is None:
            return self._mailbox_text(self.string(), place)
        self.pos = match.end()
        return self._mailbox_text(match[0], place)

    def _mailbox_text(self, name: bytes, place: int) -> str:
        try:
            if not self.utf8:
                return mutf7.decode(name)
            text = name.decode("utf-8")
            if any(character < " " or character == "\x7f" for character in text):
                raise ValueError
            return text
        except ValueError:
            self.pos = place
            raise self.bad("a mailbox name in " + ("UTF-8" if self.utf8 else "modified UTF-7")) from None

    def base64(self) -> bytes:
        """The rest of an AUTHENTICATE line; "=" is a response of no octets (RFC 4959 3)."""
        data = self.text[self.pos :]
        self.pos = len(self.text)
        return decode_base64(b"" if data == b"=" else data)


def decode_base64(line: bytes) -> bytes:
    """A line of a SASL exchange (RFC 9051 6.2.2). Raises Bad."""
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except ValueError:
        raise Bad("Not base64") from None
