"""Whether a message's text has a string: transfer encodings and charsets undone, upper and lower case the same. Pure.

An ASCII needle is looked for in bytes where the charset keeps ASCII as it is; only other texts are decoded to
characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from echomox.message.encoded import decode_words
from echomox.message.header import split_fields, unfold
from echomox.message.structure import Part
from echomox.message.text import decode_bytes, decode_part

PART_LIMIT = 16 << 20  # bytes of one part that are searched
_ASCII_STAYS = ("us-ascii", "utf-8", "utf8", "iso-8859-", "windows-125", "koi8-", "ascii", "latin")


def _is_ascii_compatible(charset: str) -> bool:
    return not charset or charset.lower().startswith(_ASCII_STAYS)


class Needle:
    """value: what the client asks for; "" is in everything."""

    __slots__ = ("octets", "text")

    def __init__(self, value: str) -> None:
        self.text = value.lower()
        self.octets = self.text.encode() if value.isascii() else b""

    def in_text(self, text: str) -> bool:
        return self.text in text.lower()

    def in_header(self, block: bytes) -> bool:
        """In a header block, decoded."""
        if not self.text:
            return True
        if self.octets and block.isascii() and b"=?" not in block:
            # Folds count as the white space they are.
            return self.octets in block.lower().replace(b"\r\n", b"").replace(b"\t", b" ")
        return any(self.in_text(f"{field.name}: {decode_words(unfold(field.value))}") for field in split_fields(block))

    def in_parts(self, parts: Sequence[Part], data: bytes) -> bool:
        """In the text of the body. data: the message file."""
        if not self.text:
            return True
        return any(self._in_part(part, data) for part in parts)

    def _in_part(self, part: Part, data: bytes) -> bool:
        if part.content_type in ("message/rfc822", "message/global"):
            return self.in_header(data[part.offset : part.offset + part.inner_header_size])
        if not part.content_type.startswith("text/"):
            return False
        if self.octets and _is_ascii_compatible(part.charset):
            return self.octets in decode_bytes(part, data, PART_LIMIT).lower()
        return self.in_text(decode_part(part, data, PART_LIMIT))


def field_values(block: bytes, name: str) -> Iterator[str]:
    """The decoded values of all fields of this name (lower case)."""
    for field in split_fields(block):
        if field.name.strip().lower() == name:
            yield decode_words(unfold(field.value))
