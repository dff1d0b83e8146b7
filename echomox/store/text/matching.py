"""Reading messages for a search: whether one of them has what the full-text index could not say for sure."""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from echomox.imap.search import Body, Header, Text
from echomox.message.structure import Part
from echomox.store.content import text_reader
from echomox.store.database import UID_MASK
from echomox.store.engine import StoreError
from echomox.store.rows.compact import PREFIX, load_parts
from echomox.store.rows.packing import unpack_parts
from echomox.store.text.match import Needle, Read, field_values, header_text
from echomox.store.translate import View

CHUNK = 100


# The list of parts of a message that is one text as it stands: most of them, and not worth to be parsed.
_ONE_TEXT = re.compile(
    r'\[\["1","text/[a-z-]+","(?:us-ascii|utf-8|iso-8859-\d+|windows-125\d|)","(?:7bit|8bit|binary|)",'
    r'"[a-z]*","",\d+,\d+,(\d+),(\d{1,6}),\d+,0\]\]'
)


class Message(NamedTuple):
    path: str
    prefix: bytes
    file_size: int
    header_size: int
    parts: str

    def header(self) -> bytes:
        try:
            return self.prefix + self.reader()(0, self.header_size)
        except StoreError:
            return self.prefix

    def reader(self) -> Read:
        """Of the file. A file that is missing or too short raises StoreError, now or when it is read."""
        return text_reader(self.path, self.file_size)

    def list_parts(self) -> tuple[Part, ...]:
        return load_parts(self.parts)


Matcher = Callable[[Message], bool]


def messages(view: View, uids: set[int]) -> Iterator[tuple[int, Message]]:
    ordered = sorted(uids)
    for start in range(0, len(ordered), CHUNK):
        keys = json.dumps([view.base + uid for uid in ordered[start : start + CHUNK]])
        rows = view.database.execute(
            f"""SELECT m.key & {UID_MASK}, c.id, {PREFIX}, c.file_size, c.header_size, c.parts
                FROM message m JOIN content c ON c.id = m.content WHERE m.key IN (SELECT value FROM json_each(?))""",
            (keys,),
        ).fetchall()
        for uid, content_id, prefix, size, header_size, parts in rows:
            whole = unpack_parts(parts, header_size, size)
            yield uid, Message(view.database.file(content_id), prefix, size, header_size, whole)


def _header_matcher(key: Header) -> Matcher:
    needle = Needle(key.value)
    usual = re.compile(rb"^%b[ \t]*:(.*)" % re.escape(key.name.encode("utf-8", "replace")), re.MULTILINE)
    # Blanks are not the same in the two ways of reading a field.
    is_word = re.fullmatch(rb"[!-~]+", needle.octets) is not None

    def matches(message: Message) -> bool:
        header = message.header()
        text = header_text(header) if is_word and b"=?" not in header else ""
        if isinstance(text, bytes):
            return any(needle.octets in value[1] for value in usual.finditer(text))
        return any(needle.in_text(value) for value in field_values(header, key.name))

    return matches


def _body_matcher(key: Body) -> Matcher:
    needle = Needle(key.value)
    return lambda message: _is_in_body(needle, message, message.reader())


def _text_matcher(key: Text) -> Matcher:
    needle = Needle(key.value)

    def matches(message: Message) -> bool:
        if message.prefix and needle.in_header(message.prefix):
            return True
        read = message.reader()
        return needle.in_header(read(0, message.header_size)) or _is_in_body(needle, message, read)

    return matches


def _is_in_body(needle: Needle, message: Message, read: Read) -> bool:
    if one := _ONE_TEXT.fullmatch(message.parts):
        text = read(int(one[1]), int(one[2]))
        lower = text.lower()
        if text.isascii():
            return needle.in_folded(lower)
        if needle.octets and needle.octets in lower:
            return True  # these charsets have ASCII as it stands, and folding leaves it
    return needle.in_parts(message.list_parts(), read)


MATCHER: dict[type, Callable[[Any], Matcher]] = {Header: _header_matcher, Body: _body_matcher, Text: _text_matcher}
