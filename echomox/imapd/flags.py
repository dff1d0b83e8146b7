"""Flags as a session writes them. One formatter per process: it remembers the lists it has written."""

from __future__ import annotations

from collections.abc import Iterable

from echomox.imap.response import FlagFormatter
from echomox.store.engine import WIRE_FLAGS

FLAGS = FlagFormatter({int(bit): name for bit, name in WIRE_FLAGS.items()})
DEFINED = tuple(name.encode("ascii") for name in WIRE_FLAGS.values())
"""System flags and the keywords that have a bit: always in FLAGS."""


def flags_lines(keywords: Iterable[str], read_only: bool) -> bytes:
    """FLAGS and PERMANENTFLAGS (RFC 9051 7.1, 7.3.5) of a mailbox with these keywords."""
    known = b" ".join((*DEFINED, *(word.encode("ascii") for word in keywords)))
    lines = b"* FLAGS (%b)\r\n" % known
    if read_only:
        return lines + b"* OK [PERMANENTFLAGS ()] No changes here\r\n"
    return lines + b"* OK [PERMANENTFLAGS (%b \\*)] Flags and keywords are kept\r\n" % known
