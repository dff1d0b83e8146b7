"""BINARY[...] and BINARY.SIZE[...]: parts without their transfer encoding. RFC 3516 4, RFC 9051 6.4.5 and 7.5.2.

A part is decoded in one piece; one of more than 256 KiB in a thread, so that the other sessions live on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap.fetch import Binary
from echomox.imap.response import literal
from echomox.imapd.command import No
from echomox.imapd.sections import extent
from echomox.message.header import select_fields
from echomox.message.text import decode_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echomox.imap.fetch import Section
    from echomox.imapd.session import Session
    from echomox.message.structure import Part
    from echomox.store.engine import Content

IN_LOOP = 256 * 1024  # bytes of a part that are decoded at once
KNOWN = frozenset(
    ("", "7bit", "8bit", "binary", "base64", "quoted-printable", "uuencode", "x-uuencode", "uue", "x-uue")
)


async def values(
    session: Session, items: Sequence[Binary], parts: Sequence[Part], content: Content
) -> dict[Binary, bytes]:
    """What stands after the label, for each item. Raises No for an encoding that nobody knows."""
    found = {}
    for item in items:
        if item.section is not None:
            found[item] = b"%d" % size_of(item.section, parts, content)
            continue
        part = part_of(item, parts)
        if item.part and part is None:
            found[item] = b"0" if item.size else b"NIL"
        elif (part.size if part else content.size) > IN_LOOP:
            found[item] = await session.service.loop.run_in_executor(None, value, item, part, content)
        else:
            found[item] = value(item, part, content)
    return found


def part_of(item: Binary, parts: Sequence[Part]) -> Part | None:
    path = ".".join(map(str, item.part))
    part = next((part for part in parts if part.path == path), None) if path else None
    if part is not None and part.encoding not in KNOWN:
        raise No("A part has an encoding that is not known", "UNKNOWN-CTE")
    return part


def size_of(section: Section, parts: Sequence[Part], content: Content) -> int:
    """0: there is no such section."""
    found = extent(section, parts, content.prefix_size, content.size)
    if found is None or not found.fields:
        return found.length if found else 0
    block = content.read(found.offset, found.length)
    return len(select_fields(block, section.fields, section.text == "HEADER.FIELDS"))


def value(item: Binary, part: Part | None, content: Content) -> bytes:
    data = content.read() if part is None else decoded(part, content)
    if item.size:
        return b"%d" % len(data)
    if item.partial:
        first, count = item.partial
        data = data[first : first + count]
    return b"~" + literal(data) if b"\0" in data else literal(data)  # RFC 3516 6: literal8 for what holds NUL


def decoded(part: Part, content: Content) -> bytes:
    raw = content.read(content.prefix_size + part.offset, part.size)
    return decode_bytes(part._replace(offset=0), raw, len(raw))
