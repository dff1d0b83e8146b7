"""Mailbox names on the wire of IMAP4rev1: modified UTF-7 (RFC 3501 5.1.3), both ways.

Printing US-ASCII stands for itself, "&" is "&-", all else is UTF-16-BE in a base64 with "," for "/" and no
padding, between "&" and "-". A string has exactly one right form; `decode` takes only that one, so that
encode(decode(x)) == x and two names on the wire are never the same mailbox.
"""

from __future__ import annotations

import binascii
import re

_PLAIN = re.compile(r"[ -%'-~]*")
_RUN = re.compile(r"([ -%'-~]+)|(&)|([^ -~]+)")
_SHIFT = re.compile(rb"([ -%'-~]+)|&([A-Za-z0-9+,]*)-")


def encode(name: str) -> bytes:
    """Raises ValueError for a lone surrogate: that is not a character."""
    if _PLAIN.fullmatch(name):
        return name.encode("ascii")
    return b"".join(_encode_run(*match.groups()) for match in _RUN.finditer(name))


def _encode_run(plain: str | None, ampersand: str | None, other: str | None) -> bytes:
    if plain:
        return plain.encode("ascii")
    if ampersand:
        return b"&-"
    digits = binascii.b2a_base64((other or "").encode("utf-16-be"), newline=False)
    return b"&" + digits.rstrip(b"=").replace(b"/", b",") + b"-"


def decode(name: bytes) -> str:
    """Raises ValueError for anything that `encode` would not have written."""
    if b"&" not in name:
        text = name.decode("ascii")
        if not _PLAIN.fullmatch(text):
            raise ValueError("control character in a mailbox name")
        return text
    parts = []
    place = 0
    while place < len(name):
        match = _SHIFT.match(name, place)
        if match is None:
            raise ValueError("malformed modified UTF-7")
        plain, digits = match.groups()
        parts.append(plain.decode("ascii") if plain else _decode_run(digits))
        place = match.end()
    text = "".join(parts)
    # Superfluous shifts, characters that ought to stand for themselves, stray bits at the end (RFC 3501
    # 5.1.3).
    if encode(text) != name:
        raise ValueError("modified UTF-7 not in its one right form")
    return text


def _decode_run(digits: bytes) -> str:
    if not digits:
        return "&"
    padded = digits.replace(b",", b"/") + b"=" * (-len(digits) % 4)
    return binascii.a2b_base64(padded).decode("utf-16-be")
