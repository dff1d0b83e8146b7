"""Whether a message's text has a string: transfer encodings and charsets undone, upper and lower case the same. Pure.

What is searched are folded texts (words.fold): one of the header block, one of each text part, one of the header of
each enclosed message; a string must be within one of them. The full-text index is made of the same texts. A text that
is ASCII stays bytes; only others are decoded to characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from echomox.message.charsetguess import ESCAPE
from echomox.message.encoded import decode_words
from echomox.message.header import split_fields, unfold
from echomox.message.structure import Part
from echomox.message.text import decode_bytes, decode_part
from echomox.store.text.attachments import document_text, is_document
from echomox.store.text.words import Folded, fold

PART_LIMIT = 16 << 20  # bytes of one part that are searched
_ASCII_STAYS = ("us-ascii", "utf-8", "utf8", "iso-8859-", "windows-125", "koi8-", "ascii", "latin")
MESSAGES = ("message/rfc822", "message/global")

Read = Callable[[int, int], bytes]
"""(offset, length) -> bytes of the message file"""


def header_text(block: bytes) -> Folded:
    """A header block as searched: a line for each field, "name: value", encoded words decoded; folds count as the
    white space they are."""
    if block.isascii() and b"=?" not in block and ESCAPE not in block:
        lines = block.lower().replace(b"\r\n", b"\n").replace(b"\t", b" ")
        return lines.replace(b"\n ", b" ")
    return fold("\n".join([f"{field.name}: {decode_words(unfold(field.value))}" for field in split_fields(block)]))


def body_texts(parts: Sequence[Part], read: Read) -> Iterator[Folded]:
    """The texts of a body: of text parts, attached or not, of attached documents, and the names of what is attached
    (RFC 9051 6.4.4 lets TEXT find these in the MIME header)."""
    for part in parts:
        if part.filename:
            yield folded(part.filename)
        if part.content_type in MESSAGES:
            yield header_text(read(part.offset, part.inner_header_size))
        elif part.content_type.startswith("text/"):
            yield part_text(part, read)
        elif is_document(part):
            yield folded(document_text(part, read(part.offset, part.size)))


def cost(part: Part) -> int:
    """About how many octets of text `body_texts` gets from it."""
    if part.content_type in MESSAGES:
        return part.inner_header_size
    if part.content_type.startswith("text/"):
        return part.size
    return part.size // 4 if is_document(part) else 0


def folded(text: str) -> Folded:
    found = fold(text)
    return found.encode("ascii") if found.isascii() else found


def part_text(part: Part, read: Read) -> Folded:
    """The text of a leaf."""
    size = min(part.size, 3 * PART_LIMIT)
    data, part = read(part.offset, size), part._replace(offset=0, size=size)
    if not part.charset or part.charset.lower().startswith(_ASCII_STAYS):
        raw = decode_bytes(part, data, PART_LIMIT)
        if raw.isascii() and ESCAPE not in raw:  # ESC begins kanji in ISO-2022-JP
            return raw.lower()
    return fold(decode_part(part, data, PART_LIMIT))


class Needle:
    """value: what the client asks for; "" is in everything."""

    __slots__ = ("octets", "text")

    def __init__(self, value: str) -> None:
        self.text = fold(value)
        self.octets = self.text.encode() if self.text.isascii() else b""

    def in_text(self, text: str) -> bool:
        return self.text in fold(text)

    def in_folded(self, text: Folded) -> bool:
        if isinstance(text, str):
            return self.text in text
        return self.octets in text if self.octets else not self.text

    def in_header(self, block: bytes) -> bool:
        """In a header block, decoded."""
        return self.in_folded(header_text(block))

    def in_parts(self, parts: Sequence[Part], data: bytes | Read) -> bool:
        """In the text of the body. data: the message file."""
        if not self.text:
            return True
        read = data if callable(data) else reader(data)
        return any(self.in_folded(text) for text in body_texts(parts, read))


def reader(data: bytes) -> Read:
    return lambda offset, length: data[offset : offset + length]


def field_values(block: bytes, name: str) -> Iterator[str]:
    """The decoded values of all fields of this name (lower case)."""
    for field in split_fields(block):
        if field.name.strip().lower() == name:
            yield decode_words(unfold(field.value))
