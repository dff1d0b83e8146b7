"""What is needed to make a message of our own: Message-ID, fields, a text body (RFC 5322 3.6, RFC 2045 6).

Random numbers and the time are arguments. Reports (multipart/report) and MIME trees are not made here.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from random import Random

from echomox.message.encoded import encode_words

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_NAME = re.compile(r"[!-9;-~]+")
_HOST = re.compile(r"[A-Za-z0-9.-]+")


def new_message_id(hostname: str, random: Random) -> str:
    """A Message-ID with its brackets (RFC 5322 3.6.4), 120 random bits left of the "@". hostname: ASCII.
    random: SystemRandom in service."""
    if not _HOST.fullmatch(hostname):
        raise ValueError(f"not a host name: {hostname!r}")
    bits = random.getrandbits(120)
    return "<" + "".join(_ALPHABET[bits >> shift & 31] for shift in range(0, 120, 5)) + f"@{hostname}>"


def format_field(name: str, value: str) -> bytes:
    """One field with its line end: unstructured text, encoded (RFC 2047) and folded as it needs. Raises
    ValueError for a bad name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a field name: {name!r}")
    return f"{name}: {encode_words(value, len(name) + 2)}\r\n".encode("ascii")


def text_message(fields: Sequence[tuple[str, str]], text: str) -> bytes:
    """A text/plain message: fields as given (structured values must be ASCII already), MIME fields added,
    body in UTF-8, 7bit where it can be, else quoted-printable. Lines of `text` end in "\\n"."""
    body = "\r\n".join(text.splitlines()) + "\r\n"
    plain = body.isascii() and all(len(line) <= 998 for line in body.split("\r\n")) and "\0" not in body
    encoding = "7bit" if plain else "quoted-printable"
    data = body.encode("ascii") if plain else binascii.b2a_qp(body.encode("utf-8", "replace"), istext=True)
    head = [format_field(name, value) for name, value in fields]
    head.append(b"MIME-Version: 1.0\r\n")
    head.append(f"Content-Type: text/plain; charset={'us-ascii' if plain else 'utf-8'}\r\n".encode())
    head.append(f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode())
    return b"".join([*head, data])
