"""The text of a message: for the filter, the search and the preview (RFC 2045 6, RFC 8970).

Transfer encodings and charsets are undone with patience, HTML becomes text in reading order, and all of it is
bounded: by default 256 K characters of decoded text, whatever the message holds.
HTML is read in `html`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from typing import NamedTuple

from echomox.message.charset import decode_charset
from echomox.message.encoded import decode_base64
from echomox.message.html import HtmlText, Link, html_lines, html_to_text
from echomox.message.structure import Part, Structure

__all__ = [
    "HtmlText",
    "Link",
    "TextPart",
    "decode_bytes",
    "decode_part",
    "html_to_text",
    "preview",
    "texts",
]

TEXT_LIMIT = 256 * 1024
PREVIEW_LENGTH = 200  # RFC 8970 3.3, in characters


class TextPart(NamedTuple):
    """html: `text` is the decoded HTML source; else it is plain text. path: the part's section number."""

    content_type: str
    text: str
    html: bool
    path: str = ""


# Transfer encodings


def decode_bytes(part: Part, data: bytes, limit: int = TEXT_LIMIT) -> bytes:
    """The body of a leaf without its transfer encoding, about `limit` bytes of it at most."""
    encoding = part.encoding
    start, end = part.offset, part.offset + part.size
    if encoding == "base64":
        return decode_base64(data[start : min(end, start + limit * 7 // 5 + 4)])[:limit]
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data[start : min(end, start + 3 * limit)])[:limit]
    if encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
        return _decode_uu(data[start : min(end, start + limit * 3 // 2)])[:limit]
    return data[start : min(end, start + limit)]


def _decode_uu(data: bytes) -> bytes:
    """The first uuencoded file in data; data itself if there is none."""
    begin = re.search(rb"^begin [0-7]{3,4} [^\n]*\n", data, re.M)
    if begin is None:
        return data
    out = []
    for line in data[begin.end() :].splitlines():
        if line.startswith(b"end"):
            break
        try:
            out.append(binascii.a2b_uu(line))
        except binascii.Error:
            size = (((line[0] - 32) & 63) * 4 + 5) // 3 if line else 0  # trailing garbage of some encoders
            try:
                out.append(binascii.a2b_uu(line[: size + 1]))
            except binascii.Error:
                continue
    return b"".join(out)


_META = re.compile(rb"<meta\b[^>]{0,200}?charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.I)


def decode_part(part: Part, data: bytes, limit: int = TEXT_LIMIT) -> str:
    """The text of a leaf: at most `limit` bytes of it after the transfer encoding, in the part's charset.
    HTML that does not say its charset in the header may say it in a <meta>."""
    raw = decode_bytes(part, data, limit)
    charset = part.charset
    if part.content_type == "text/html" and charset in ("", "us-ascii") and not raw.isascii():
        named = _META.search(raw, 0, 2048)
        charset = named[1].decode("ascii") if named else charset
        if charset.lower().startswith(("utf-16", "utf-32")):  # it could not have been read
            charset = ""
    text = decode_charset(raw, charset)
    return text.removesuffix("\ufffd") if len(raw) == limit else text


def texts(structure: Structure, data: bytes, limit: int = TEXT_LIMIT) -> list[TextPart]:
    """The text parts, `limit` characters together at most: first what is shown with the message, then
    attachments; parts of enclosed messages too."""
    parts = [part for part in structure.parts if part.content_type.startswith("text/")]
    parts.sort(key=lambda part: part.disposition == "attachment")
    out = []
    for part in parts:
        if limit <= 0:
            break
        text = decode_part(part, data, limit)
        limit -= len(text)
        if text:
            out.append(TextPart(part.content_type, text, part.content_type == "text/html", part.path))
    return out


# Preview

_ATTRIBUTION = re.compile(
    r"^(?:On\b.{5,200}\bwrote:|Am\b.{5,200}\bschrieb.{0,80}:|Le\b.{5,200}\ba \S{1,3}crit ?:"
    r"|.{3,150}\bwrote:)$",
    re.S,
)
_RULE = re.compile(r"[\s!-/:-@\[-`{-~\u2010-\u2015\u2500-\u257f]{3,}")
# Soft hyphen, zero-width characters and marks: newsletters pad the preview line with them.
_SOFT = dict.fromkeys((0xAD, 0x34F, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF))


def preview(parts: Sequence[Part], data: bytes, length: int = PREVIEW_LENGTH) -> str:
    """RFC 8970: the beginning of what the sender wrote, `length` characters at most, white space collapsed,
    quoted lines and their attribution, signature and rules left out; if nothing is left, of the quoted text.
    "" without readable text."""
    quoted = ""
    for part in _shown(parts):
        html = part.content_type == "text/html"
        written = ""
        for size in (8192, 65536) if html else (1024, 32768):
            source = decode_part(part, data, size)
            written, old = _beginning(html_lines(source) if html else source, length)
            quoted = quoted or old
            if len(written) >= length // 2 or part.size <= size:
                break
        if written:
            return written
    return quoted


def _shown(parts: Sequence[Part]) -> list[Part]:
    """The first text parts that are shown with the message: of an enclosed message only if it is all there is."""
    own: list[Part] = []
    enclosed: list[Part] = []
    inside = "-"
    for part in parts:
        if part.inner_header_size and not part.path.startswith(inside):
            inside = part.path + "."
        elif part.content_type in ("text/plain", "text/html") and part.size and part.disposition != "attachment":
            (enclosed if part.path.startswith(inside) else own).append(part)
    return (own or enclosed)[:3]


def _beginning(text: str, length: int) -> tuple[str, str]:
    """(what is written there, what is quoted there)"""
    out: list[str] = []
    quoted: list[str] = []
    used = 0
    for line in text.split("\n"):
        line = line.strip()
        if not line:
            continue
        first = line[0]
        if first == ">":
            if len(quoted) < 50:
                quoted.append(line.lstrip("> "))
            if out and _ATTRIBUTION.match(out[-1]):
                used -= len(out.pop()) + 1
        elif line == "--":  # "-- " begins the signature (RFC 3676 4.3)
            if out:
                break
        elif first.isalnum() or not _RULE.fullmatch(line):
            out.append(line)
            used += len(line) + 1
            if used > length + 20:
                break
    return _cut(_collapse(out), length), _cut(_collapse(quoted), length)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "\u2026"


def _collapse(lines: list[str]) -> str:
    """One line, single spaces, nothing that is not printed."""
    text = " ".join(" ".join(lines).split())
    if text.isprintable():
        return text
    text = "".join([c if c.isprintable() else " " for c in text.translate(_SOFT)])
    return " ".join(text.split())
