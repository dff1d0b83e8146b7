"""A header block as fields with offsets: what stands before the empty line of a message or MIME part (RFC
5322 2.2, 4.5).

Mail of the real world is taken as it comes: lines without a colon are stepped over together with their
continuations, a block may lack its empty line, lines end in CRLF or bare LF, bytes may be 8-bit (RFC 6532),
white space may stand before the colon (RFC 5322 4.5), folds may be empty of text (obs-fold). Nothing here
raises on input and nothing is decoded.

Bounds are an argument (`Limits`): beyond them fields are not looked at, but offsets stay those of the whole
block.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Limits:
    """What one message may ask of us. Sizes in bytes; addresses: per field; text: characters decoded for
    search and filter."""

    fields: int = 1000
    field_size: int = 16 * 1024
    header_size: int = 256 * 1024
    addresses: int = 500
    depth: int = 50
    parts: int = 1000
    text: int = 256 * 1024


DEFAULT = Limits()


class Field(NamedTuple):
    """One field. name: as written, without white space. value: raw bytes after the colon, folds kept, without
    the last line end. data[start:end] is the whole field with its last line end."""

    name: str
    value: bytes
    start: int
    end: int


# RFC 5322 3.6.8 ftext, widened to 8-bit bytes; RFC 5322 4.5 lets white space stand before the colon.
_FIELD = re.compile(rb"^([^\x00-\x20:\x7f]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)", re.M)
_LINE = re.compile(rb"^([^\x00-\x20:\x7f]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)\n?+|^[^\n]*+\n?+", re.M)
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_EMPTY_LINE = re.compile(rb"\n\r?\n")

# Fields that hold address lists: several of one name count as one list, lest a second From be seen by nobody
# but a client.
_LISTS = frozenset({b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"})


def end_of_header(data: bytes, start: int = 0, end: int | None = None) -> int:
    """Offset of the first byte after the empty line that ends the block at `start`; `end` if there is
    none."""
    if end is None:
        end = len(data)
    if data.startswith(b"\r\n", start, end):
        return start + 2
    if data.startswith(b"\n", start, end):
        return start + 1
    empty = _EMPTY_LINE.search(data, start, end)
    return empty.end() if empty else end


def split_fields(data: bytes, start: int = 0, end: int | None = None, limits: Limits = DEFAULT) -> list[Field]:
    """The fields of the block data[start:end] in order; lines that are no field are left out."""
    stop = min(len(data) if end is None else end, start + limits.header_size)
    fields = []
    for match in islice(_FIELD.finditer(data, start, stop), limits.fields):
        last = match.end()
        value = match[2]
        if value.endswith(b"\r"):
            value = value[:-1]
        fields.append(Field(match[1].decode("latin-1"), value, match.start(), min(last + 1, stop)))
    return fields


def pairs_of(data: bytes, start: int, end: int, limits: Limits = DEFAULT) -> list[tuple[bytes, bytes]]:
    """(name, raw value) as `split_fields` finds them, the value perhaps with the CR of its last line; without offsets,
    in half of the time."""
    pairs = _FIELD.findall(data, start, min(end, start + limits.header_size))
    return pairs[: limits.fields] if len(pairs) > limits.fields else pairs


def read_fields(data: bytes, start: int, end: int, limits: Limits = DEFAULT) -> dict[bytes, bytes]:
    """Lower-case name -> raw value (`split_fields`, may end in CR), cut at limits.field_size. Of several
    fields with one name the first holds, but address lists are joined. The fast way for parsing: no
    offsets."""
    return by_name(pairs_of(data, start, end, limits), limits)


def by_name(pairs: list[tuple[bytes, bytes]], limits: Limits = DEFAULT) -> dict[bytes, bytes]:
    """What `read_fields` gives, of fields that were found by `pairs_of`."""
    found: dict[bytes, bytes] = {}
    size = limits.field_size
    for name, value in pairs:
        key = name.lower()
        if key not in found:
            found[key] = value if len(value) <= size else value[:size]
        elif key in _LISTS:
            found[key] = (found[key] + b"," + value)[:size]
    return found


def oversized(data: bytes, start: int, end: int, limits: Limits = DEFAULT) -> bool:
    """The block is beyond a limit of number or size of fields, so that `read_fields` did not see all of
    it."""
    if end - start <= limits.field_size and end - start <= 4 * limits.fields:
        return False
    if end - start > limits.header_size:
        return True
    pairs = _FIELD.findall(data, start, end)
    return len(pairs) > limits.fields or any(len(value) > limits.field_size for _, value in pairs)


def unfold(value: bytes) -> bytes:
    """A raw value on one line: line ends before white space are taken out (RFC 5322 2.2.3), outer white space
    too."""
    if b"\n" in value:
        if value.count(b"\n ") + value.count(b"\n\t") == value.count(b"\n"):  # the usual case, faster
            value = value.replace(b"\r\n", b"").replace(b"\n", b"")
        else:
            value = _FOLD.sub(b"", value)
    return value.strip(b" \t\r\n")


def select_fields(block: bytes, names: Collection[str], keep: bool) -> bytes:
    """For BODY[HEADER.FIELDS (names)] (keep) and .NOT (not keep), RFC 9051 6.4.5.1: the fields as they stand,
    and the empty line.

    block: with its empty line. names: any case. Lines that are no field belong to none: they are left out
    both ways.
    """
    wanted = {name.lower().encode("utf-8", "replace") for name in names}
    return b"".join(line for name, line in _lines(block) if name and (name in wanted) is keep) + b"\r\n"


def _lines(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    for match in _LINE.finditer(block):
        name = match[1]
        if name:
            line = match[0]
            yield name.lower(), line if line.endswith(b"\n") else line.rstrip(b"\r") + b"\r\n"
