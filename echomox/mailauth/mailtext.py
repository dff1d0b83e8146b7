"""A message as DKIM and ARC hash it: header fields by name, bodies piece by piece (RFC 6376 3.4, 3.7, 5.4.2).

The canonical forms of bodies are dkimpy's (`dkim.canonicalization`); here is what feeds them. The library wants a whole
body in memory and takes quadratic time for a line of spaces; a body that comes in pieces of 64 KB, whose runs of
white space are made short first, has the same canonical form and costs one piece of memory however large it is.

Line ends that are bare LF count as CRLF, as in a mail file of a Unix program.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from dkim.canonicalization import compress_whitespace, strip_trailing_whitespace

from echomox.message.header import Limits, end_of_header, split_fields

PIECE = 64 * 1024
RELAXED = b"relaxed"
SIMPLE = b"simple"

_LIMITS = Limits(fields=10_000, header_size=1 << 20)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_B_VALUE = re.compile(rb"((?:\A|;)[ \t\r\n]*+b[ \t\r\n]*+=)[^;]*+")
_LINE_END = re.compile(rb"\r?\n")
_WHITE = re.compile(rb"[\t ]+")
_BLANK = b"\r\n" * (PIECE // 2)


@dataclass(frozen=True, slots=True)
class MailText:
    """A message to be read once or more. header: its block, with or without the empty line. body: gives what follows
    the empty line, in pieces; it may raise OSError. size: of the body, as good as it is known."""

    header: bytes
    body: Callable[[], Iterator[bytes]]
    size: int


def mail_text(source: bytes | MailText) -> MailText:
    """A message in memory, as a MailText; the body is not copied."""
    if isinstance(source, MailText):
        return source
    end = end_of_header(source)
    return MailText(source[:end], partial(_pieces, source, end), len(source) - end)


def _pieces(source: bytes, start: int) -> Iterator[bytes]:
    view = memoryview(source)
    for at in range(start, len(source), PIECE):
        yield bytes(view[at : at + PIECE])


class BodyHash:
    """SHA-256 of a canonical body, for each of the limits l= that were asked for. length: canonical bytes."""

    def __init__(self, form: bytes, limits: Collection[int | None] = (None,)) -> None:
        self._relaxed = form == RELAXED
        self._hashes = {limit: hashlib.sha256() for limit in limits}
        self._rest = b""
        """A space and a CR at most: what the next bytes may still change."""
        self._blank = 0
        """Line ends seen that count only if text follows."""
        self.length = 0

    def update(self, data: bytes) -> None:
        data = self._rest + data
        if data.count(b"\n") != data.count(b"\r\n"):
            data = _BARE_LF.sub(b"\r\n", data)
        if self._relaxed and (b"  " in data or b"\t" in data):
            data = compress_whitespace(data)
        end = len(data) - data.endswith(b"\r")
        if self._relaxed and data.endswith((b" ", b"\t"), 0, end):
            end -= 1
        self._rest, data = data[end:], data[:end]
        if self._relaxed and b" \r\n" in data:
            data = strip_trailing_whitespace(data)
        end = _end_of_text(data)
        if end:
            self._add_blank()
            self._add(data[:end] if end < len(data) else data)
        self._blank += (len(data) - end) // 2

    def finish(self) -> dict[int | None, bytes]:
        """Digest by limit."""
        rest = self._rest.lstrip(b" \t") if self._relaxed else self._rest
        if rest:
            self._add_blank()
            self._add(rest)
        # RFC 6376 3.4.3, 3.4.4: one line end after the last text; an empty body is CRLF or nothing.
        if self.length or not self._relaxed:
            self._add(b"\r\n")
        return {limit: found.digest() for limit, found in self._hashes.items()}

    def _add_blank(self) -> None:
        while self._blank:
            now = min(self._blank, PIECE // 2)
            self._add(_BLANK[: 2 * now])
            self._blank -= now

    def _add(self, data: bytes) -> None:
        for limit, found in self._hashes.items():
            if limit is None:
                found.update(data)
            elif limit > self.length:
                found.update(data[: limit - self.length])
        self.length += len(data)


def _end_of_text(data: bytes) -> int:
    """Where the CRLFs at the end of data begin; linear for any mix of CR and LF."""
    if not data.endswith(b"\r\n"):
        return len(data)
    text = len(data.rstrip(b"\r\n"))
    broken = max(data.rfind(b"\r\r", text), data.rfind(b"\n\n", text))
    start = text if broken < 0 else broken + 1
    return start + 1 if data[start : start + 1] == b"\n" else start


def body_digests(text: MailText, wanted: Collection[tuple[bytes, int | None]]) -> dict[tuple[bytes, int | None], bytes]:
    """The body's digests by (form, limit), in one pass; also (form, -1) -> its canonical length as decimal digits.
    Raises OSError when the body cannot be read."""
    hashes = {form: BodyHash(form, [limit for other, limit in wanted if other == form]) for form, _ in wanted}
    for piece in text.body() if hashes else ():
        for each in hashes.values():
            each.update(piece)
    found: dict[tuple[bytes, int | None], bytes] = {}
    for form, each in hashes.items():
        found.update({(form, limit): digest for limit, digest in each.finish().items()})
        found[form, -1] = b"%d" % each.length
    return found


class HeaderFields:
    """The fields of a header block, as they are hashed."""

    def __init__(self, block: bytes) -> None:
        if block.count(b"\n") != block.count(b"\r\n"):
            block = _BARE_LF.sub(b"\r\n", block)
        self._raw: list[tuple[bytes, bytes]] = []
        self._places: dict[bytes, list[int]] = {}
        self._relaxed: dict[int, bytes] = {}
        for place, (_, _, start, end) in enumerate(split_fields(block, limits=_LIMITS)):
            name, _, value = block[start:end].partition(b":")
            if not value.endswith(b"\n"):
                value = value.rstrip(b"\r") + b"\r\n"
            self._raw.append((name, value))
            self._places.setdefault(name.lower().rstrip(), []).append(place)

    def count(self, name: bytes) -> int:
        """How many fields of that lower-case name there are."""
        return len(self._places.get(name, ()))

    def values(self, name: bytes) -> list[bytes]:
        """Raw values with their line end, the topmost first."""
        return [self._raw[place][1] for place in self._places.get(name, ())]

    def fields(self) -> list[tuple[bytes, bytes]]:
        """(name, value with its line end), the topmost first."""
        return self._raw

    def canonical(self, form: bytes, names: Sequence[bytes]) -> bytes:
        """The fields of lower-case `names`: of a name, the lowest first; a name that is not there, or no more, is
        nothing (RFC 6376 5.4.2)."""
        left = {name: list(places) for name, places in self._places.items()}
        return b"".join([self._canonical(form, left[name].pop()) for name in names if left.get(name)])

    def _canonical(self, form: bytes, place: int) -> bytes:
        if form != RELAXED:
            return b":".join(self._raw[place])
        found = self._relaxed.get(place)
        if found is None:
            found = self._relaxed[place] = relaxed_field(*self._raw[place])
        return found


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """With its line end (RFC 6376 3.4.2). As dkimpy's `Relaxed`, which runs three expressions over each field."""
    value = value.removesuffix(b"\r\n")
    if b"\n" in value:
        value = _LINE_END.sub(b"", value)
    if b"\t" in value or b"  " in value:
        value = _WHITE.sub(b" ", value)
    return name.lower().rstrip() + b":" + value.strip() + b"\r\n"


def without_signature(form: bytes, name: bytes, value: bytes) -> bytes:
    """The field of a signature as it is itself hashed: with an empty b=, without its line end (RFC 6376 3.7)."""
    value = _B_VALUE.sub(rb"\1", value)
    if form == RELAXED:
        return relaxed_field(name, value).removesuffix(b"\r\n")
    return (name + b":" + value).removesuffix(b"\r\n")
