"""A message that was appended as a literal8 and holds NUL, as one that every client can fetch. RFC 3516 4.4 and 6, RFC
9051 6.4.5 and 9.

BODY[...] may hold no NUL, and BODYSTRUCTURE has to describe what BODY[...] gives; so the parts that hold it become
base64 when they come, and BINARY[...] gives the octets as they were sent. Other parts stay as they are. NUL in a
header, between parts or in a part like message/delivery-status stays too: there is no encoding for it, and
`render.without_nul` says what is shown."""

from __future__ import annotations

import re
from base64 import encodebytes
from collections.abc import Sequence

from echomox.message.structure import Part

PLAIN = frozenset(("", "7bit", "8bit", "binary"))
"""Encodings that are none."""
WHOLE = ("multipart/", "message/")
"""Types of parts that are not encoded themselves (RFC 2045 6.4)."""
_FIELD = re.compile(rb"^content-transfer-encoding[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE)


def armoured(data: bytes, parts: Sequence[Part]) -> bytes:
    """parts: of the structure of `data`, which is another one afterwards."""
    pieces: list[bytes] = []
    end = len(data)
    for part in reversed(parts):
        after = part.offset + part.size
        if part.encoding not in PLAIN or part.content_type.startswith(WHOLE):
            continue
        if data.find(b"\0", part.offset, after) < 0:
            continue
        pieces += (data[after:end], encoded(data[part.offset : after], after == len(data)))
        pieces.append(with_encoding(data[part.header_offset : part.offset]))
        end = part.header_offset
    return b"".join((data[:end], *reversed(pieces)))


def encoded(body: bytes, last: bool) -> bytes:
    """last: no delimiter follows, of which the line end before it would be."""
    lines = encodebytes(body).replace(b"\n", b"\r\n")
    return lines if last else lines.removesuffix(b"\r\n")


def with_encoding(header: bytes) -> bytes:
    """header: with its empty line."""
    line_end = b"\r\n" if header.endswith(b"\r\n") else b"\n"
    fields = _FIELD.sub(b"", header.removesuffix(line_end))
    return b"%bContent-Transfer-Encoding: base64%b%b" % (fields, line_end, line_end)
