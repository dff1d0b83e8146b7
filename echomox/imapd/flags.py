"""Flags as a session writes them. One formatter per process: it remembers the lists it has written."""

from __future__ import annotations

from collections.abc import Iterable

from echomox.imap.acl import ALL
from echomox.imap.response import FlagFormatter
from echomox.store.engine import WIRE_FLAGS

FLAGS = FlagFormatter({int(bit): name for bit, name in WIRE_FLAGS.items()})
DEFINED = tuple(name.encode("ascii") for name in WIRE_FLAGS.values())
"""System flags and the keywords that have a bit: always in FLAGS."""


def flags_lines(keywords: Iterable[str], read_only: bool, rights: str = ALL) -> bytes:
    """FLAGS and PERMANENTFLAGS (RFC 9051 7.1, 7.3.5; RFC 4314 5.1.1) of a mailbox with these keywords."""
    known = b" ".join((*DEFINED, *(word.encode("ascii") for word in keywords)))
    lines = b"* FLAGS (%b)\r\n" % known
    if read_only:
        return lines + b"* OK [PERMANENTFLAGS ()] No changes here\r\n"
    if "w" not in rights:
        may = [name for right, name in (("s", b"\\Seen"), ("t", b"\\Deleted")) if right in rights]
        return lines + b"* OK [PERMANENTFLAGS (%b)] Some flags can be changed\r\n" % b" ".join(may)
    if not {"s", "t"} <= set(rights):
        hidden = {name for right, name in (("s", b"\\Seen"), ("t", b"\\Deleted")) if right not in rights}
        known = b" ".join(name for name in known.split() if name not in hidden)
    return lines + b"* OK [PERMANENTFLAGS (%b \\*)] Flags and keywords are kept\r\n" % known
