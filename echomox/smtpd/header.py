"""What is checked of a received header block before a message is accepted; pure.

RFC 5321 6.3 (loops, by the number of Received fields), RFC 5322 3.6 (one From field). Two From fields are
refused: clients show one and checks may look at the other. None at all is let through, as mail systems do;
so is raw 8-bit text in headers, with or without SMTPUTF8. A message that begins with a continuation line is refused: it
would go on with the last field that we put before it, which may be Authentication-Results.
"""

from __future__ import annotations

import re

from echomox.config.schema import Limits
from echomox.errors import Reply

_COUNTED = re.compile(rb"^(from|received)[ \t]*:", re.I | re.M)
TOO_LARGE = Reply(552, "5.3.4", "The header of the message is too large")
LOOP = Reply(554, "5.4.6", "Routing loop: too many Received fields")
CONTINUES = Reply(550, "5.6.0", "The header of the message begins with a continuation line")
TWO_FROM = Reply(550, "5.6.0", "The message has more than one From field")


def header_of(start: bytes, limit: int) -> bytes | None:
    """The header block of a message of which `start` is the beginning; None when it is longer than
    `limit`."""
    if start.startswith(b"\r\n"):
        return b""
    end = start.find(b"\r\n\r\n", 0, limit + 4)
    if end >= 0:
        return start[: end + 2]
    return None if len(start) > limit else start


def check_header(start: bytes, limits: Limits) -> Reply | None:
    """Why the message is refused, or None. start: its first limits.header_size + 4 bytes at least, or all
    of it."""
    header = header_of(start, limits.header_size)
    if header is None:
        return TOO_LARGE
    if header.startswith((b" ", b"\t")):
        return CONTINUES
    froms = hops = 0
    for match in _COUNTED.finditer(header):
        if len(match[1]) == 4:
            froms += 1
        else:
            hops += 1
    if hops > limits.received_hops:
        return LOOP
    return TWO_FROM if froms > 1 else None
