"""Which octets of a message a section is (BODY[...]). RFC 9051 6.4.5.1.

The client's message is the prefix of trace headers followed by the file; part offsets are the file's. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from echomox.imap.fetch import Section
from echomox.message.structure import Part


class Extent(NamedTuple):
    """Octets of the message; fields: it is a header block of which the section wants some fields only."""

    offset: int
    length: int
    fields: bool = False


def needs_parts(section: Section) -> bool:
    """Whether the part table has to be looked at; BODY[] is all there is."""
    return bool(section.part or section.text)


def extent(section: Section, parts: Sequence[Part], prefix: int, size: int) -> Extent | None:
    """prefix: its size; size: of prefix and file. None: there is no such part (NIL)."""
    if not section.part:
        header = prefix + (parts[0].header_size if parts else 0)
        if section.text == "":
            return Extent(0, size)
        if section.text == "TEXT":
            return Extent(header, size - header)
        return Extent(0, header, section.text != "HEADER")
    path = ".".join(map(str, section.part))
    part = next((part for part in parts if part.path == path), None)
    if part is None:
        return None
    body = prefix + part.offset
    if section.text == "":
        return Extent(body, part.size)
    if section.text == "MIME":
        return Extent(prefix + part.header_offset, part.header_size)
    if not part.inner_header_size and not part.content_type.startswith("message/"):
        return None  # HEADER and TEXT of a part are those of the message in it
    if section.text == "TEXT":
        return Extent(body + part.inner_header_size, part.size - part.inner_header_size)
    return Extent(body, part.inner_header_size, section.text != "HEADER")


def cut(section: Section, found: Extent) -> Extent:
    """The partial <first.count> of it; beyond the end it is empty."""
    if section.partial is None:
        return found
    first, count = section.partial
    first = min(first, found.length)
    return Extent(found.offset + first, min(count, found.length - first))
