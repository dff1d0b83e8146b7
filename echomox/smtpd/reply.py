"""Replies as they go over the wire (RFC 5321 4.2, RFC 2034 for the enhanced code in them)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from echomox.errors import Reply

_PRINTABLE = dict.fromkeys((*range(32), 127), "?")


@lru_cache(maxsize=1024)
def wire(reply: Reply) -> bytes:
    """One line. Control characters become "?": a reply never holds a line end of its own."""
    text = str(reply)
    if not text.isprintable():
        text = text.translate(_PRINTABLE)
    return text.encode("utf-8", "replace") + b"\r\n"


def wire_lines(code: int, lines: Sequence[str], enhanced: str = "") -> bytes:
    """A reply of several lines: "250-first", "250 last"."""
    head = f"{enhanced} " if enhanced else ""
    last = len(lines) - 1
    text = "".join(
        f"{code}{' ' if place == last else '-'}{head}{line.translate(_PRINTABLE)}\r\n"
        for place, line in enumerate(lines)
    )
    return text.encode("utf-8", "replace")
