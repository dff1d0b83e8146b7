"""The bytes of a message on their way out: dot stuffing, line ends, addresses and parameters of the envelope. Pure but
for reading the file.

RFC 5321 4.5.2 (dots), 2.3.8 (CRLF only: a bare CR or LF becomes one, as it could otherwise end the message early for
some hosts), RFC 3461 4 (xtext, NOTIFY, ORCPT), RFC 6531 3.4.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

BLOCK = 65_536  # bytes held at once
_ENDS = re.compile(rb"\r\n|\r|\n")
_XTEXT = re.compile(rb"[^!-*,-<>-~]")


class Stuffer:
    """Message bytes, in blocks of any sizes, to what goes over the wire after 354; memory is one block."""

    def __init__(self) -> None:
        self._held = b""
        self._line_start = True

    def feed(self, block: bytes) -> bytes:
        data = self._held + block if self._held else block
        self._held = b""
        if data.endswith(b"\r"):  # its LF may come with the next block
            data, self._held = data[:-1], b"\r"
        if not data:
            return b""
        ends = data.count(b"\r\n")
        if data.count(b"\n") != ends or data.count(b"\r") != ends:
            data = _ENDS.sub(b"\r\n", data)
        starts = self._line_start
        self._line_start = data.endswith(b"\r\n")
        if starts and data.startswith(b"."):
            data = b"." + data
        return data.replace(b"\r\n.", b"\r\n..")

    def end(self) -> bytes:
        """What ends the message, the final dot included."""
        if self._held or not self._line_start:
            return b"\r\n.\r\n"
        return b".\r\n"


def blocks(prefix: bytes, body: bytes | None, file: Path | None) -> Generator[bytes, None, None]:
    """The message in pieces of about BLOCK. Raises OSError."""
    if body is not None:
        if len(prefix) + len(body) <= BLOCK:
            yield prefix + body
            return
        yield prefix
        for start in range(0, len(body), BLOCK):
            yield body[start : start + BLOCK]
        return
    if file is None:
        yield prefix
        return
    with file.open("rb", buffering=0) as source:
        piece = source.read(BLOCK)
        yield prefix + piece
        while len(piece) == BLOCK and (piece := source.read(BLOCK)):
            yield piece


def xtext(value: str) -> str:
    """RFC 3461 4: all but "!" to "~" without "+" and "=" as "+" and two hexadecimal digits."""
    return _XTEXT.sub(lambda match: b"+%02X" % match[0][0], value.encode("utf-8")).decode("ascii")


def unitext(value: str) -> str:
    """RFC 6533 3 utf-8-addr-unitext: for SMTPUTF8, only what ASCII has to escape is, as \\x{..}."""
    plain = (c if ord(c) > 126 or ("!" <= c <= "~" and c not in "+=\\") else f"\\x{{{ord(c):02X}}}" for c in value)
    return "".join(plain)


def orcpt(value: str, smtputf8: bool) -> str:
    """ "rfc822;a@b" as the parameter's value; one that needs SMTPUTF8 in a form that fits the session."""
    kind, _, address = value.partition(";")
    if address.isascii():
        return f"{kind};{xtext(address)}"
    if smtputf8:
        return f"utf-8;{unitext(address)}"
    escaped = "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in address)  # utf-8-addr-xtext
    return f"utf-8;{xtext(escaped)}"


def needs_utf8(header: bytes, *addresses: str) -> bool:
    """Whether a message really needs SMTPUTF8: an address, or a header field, that is not ASCII (RFC 6531 3.4)."""
    head, _, _ = header.partition(b"\r\n\r\n")
    return not head.isascii() or not all(ascii_address(address).isascii() for address in addresses)


def ascii_address(address: str) -> str:
    """With the domain in A-labels; the local part stays."""
    if address.isascii():
        return address
    local, at, domain = address.rpartition("@")
    from echomox.message.address import normalise_domain  # its tables of IDNA are seldom needed

    try:
        return f"{local}{at}{normalise_domain(domain)}"
    except ValueError:
        return address
