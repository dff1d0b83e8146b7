"""What is no mail by its form, put into one: text without a header, and a header without the empty line that ends it.

Programs hand in such things over SMTP, collections of labelled mail consist of them, and the store keeps them as they
came. Read strictly (`message.header`: lines that are no field are stepped over, up to the empty line) they would have
no text at all. For the filter alone:

- where the first block of lines has none of the fields that a mail program or a server writes, in the way they write
  them, there is no header, and all of it is text;
- where a header does not end in an empty line, or has nothing that says from where or when it is (FORM), it ends
  before the first line that is no field. So no line of rubbish in the header of a mail that was sent hides its text,
  or shows one that readers do not see;
- a first line that begins with "From " (RFC 4155) is of the file, not of the message.

Pure; time is linear in the length of the block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from echomox.message.structure import Structure

_FIELD = re.compile(rb"([!-9;-~]{1,76}):[^\n]*+(?:\n[ \t][^\n]*+)*+\n?")
_FROM_LINE = re.compile(rb">?From [^\n]*+\n")
FORM = frozenset({b"from", b"date", b"message-id", b"received", b"return-path", b"mime-version"})
_OTHERS = frozenset(
    b"subject to cc bcc sender reply-to in-reply-to references comments keywords delivered-to envelope-to organization "
    b"precedence priority importance user-agent mailing-list errors-to status lines newsgroups".split()
)
_PREFIXES = (b"content-", b"x-", b"resent-", b"list-", b"dkim-", b"arc-", b"authentication-results")


def is_whole(data: bytes, structure: Structure, fields: Sequence[object]) -> bool:
    """Whether the header is one without any doubt, as of nearly all mail: each line a field's or a fold, and it says
    from whom or when it is."""
    end = structure.header_size
    if end == len(data):  # perhaps without an empty line
        return False
    lines = data.count(b"\n", 0, end) - data.count(b"\n ", 0, end) - data.count(b"\n\t", 0, end)
    return lines == len(fields) + 1 and bool(structure.from_text or structure.sent_day)


def mended(data: bytes, structure: Structure) -> bytes:
    """The message with an empty line where its text begins; the same bytes when it has one there."""
    end = structure.header_size
    first = _FROM_LINE.match(data, 0, end)
    start = first.end() if first else 0
    names = _names(data, start, end)
    if not any(name in FORM or name in _OTHERS or name.startswith(_PREFIXES) for name in names):
        return b"\r\n" + data[start:] if data[start:end].strip() else data
    ended = end < len(data) or data.endswith((b"\n\n", b"\n\r\n"), 0, end)
    if ended and not FORM.isdisjoint(names):
        return data
    at = _after_fields(data, start, end)
    return data[:at] + b"\r\n" + data[at:] if data[at:end].strip() else data


def _names(data: bytes, start: int, end: int) -> set[bytes]:
    """Of the fields as mail programs write them, lower-case: nothing between name and colon."""
    names = set()
    at = start
    while at < end:
        field = _FIELD.match(data, at, end)
        if field:
            names.add(field[1].lower())
        at = field.end() if field else data.find(b"\n", at, end) + 1 or end
    return names


def _after_fields(data: bytes, start: int, end: int) -> int:
    """Where the first line begins that is no field as programs write them: "to : ann" is of a text."""
    at = start
    while at < end and (field := _FIELD.match(data, at, end)):
        at = field.end()
    return at
