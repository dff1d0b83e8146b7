"""What submission puts right in the header of a message that a mail program gives it (RFC 6409 8); pure.

Added where missing: Date, Message-ID (RFC 5322 3.6, RFC 6409 8.2, 8.3). Removed: Bcc and Resent-Bcc, Return-Path and
Delivered-To, which only a delivery writes; and `X-EchoMox-Extra-NAME`, which are kept apart for the queue (U12). Left
as it is: all else, a missing MIME-Version too. `TLS-Required: No` (RFC 8689 5) is read and stays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import SystemRandom

from echomox.message.compose import new_message_id
from echomox.message.date import format_date
from echomox.message.header import unfold

EXTRA_FIELDS = 20
EXTRA_OCTETS = 4096
REMOVED = frozenset({b"bcc", b"resent-bcc", b"return-path", b"delivered-to"})
_EXTRA = b"x-echomox-extra-"
_MARKED = re.compile(
    rb"^(date|message-id|subject|tls-required|bcc|resent-bcc|return-path|delivered-to|x-echomox-extra-[!-9;-~]*)[ \t]*:"
    rb"([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)(?:\r\n|\Z)",
    re.I | re.M,
)
_random = SystemRandom()


class TooMuchExtra(ValueError):
    """X-EchoMox-Extra fields beyond the limits."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """header: the new block, without the empty line; changed: whether it is another one. message_id: with brackets.
    no_tls: "TLS-Required: No" stands there."""

    header: bytes
    changed: bool
    message_id: str
    subject: str
    no_tls: bool
    extra: dict[str, str] = field(default_factory=dict)


def fix_header(header: bytes, now: float, domain: str) -> Fixed:
    """header: CRLF ended fields, without the empty line. domain: for a Message-ID, A-labels. Raises TooMuchExtra."""
    seen: dict[bytes, bytes] = {}
    extra: dict[str, str] = {}
    kept = []
    place = 0
    for match in _MARKED.finditer(header):
        name = match[1].lower()
        if name in REMOVED or name.startswith(_EXTRA):
            kept.append(header[place : match.start()])
            place = match.end()
            if name.startswith(_EXTRA):
                key = name[len(_EXTRA) :].decode("ascii")
                extra[key] = unfold(match[2]).decode("utf-8", "replace")
        else:
            seen.setdefault(name, match[2])
    _check_extra(extra)
    message_id = unfold(seen.get(b"message-id", b"")).decode("utf-8", "replace")
    added = b""
    if b"message-id" not in seen:
        message_id = new_message_id(domain, _random)
        added = f"Message-ID: {message_id}\r\n".encode()
    if b"date" not in seen:
        added += f"Date: {format_date(now)}\r\n".encode()
    fixed = b"".join((added, *kept, header[place:])) if added or place else header
    return Fixed(
        header=fixed,
        changed=fixed is not header,
        message_id=message_id[:1000],
        subject=unfold(seen.get(b"subject", b""))[:1000].decode("utf-8", "replace"),
        no_tls=unfold(seen.get(b"tls-required", b"")).lower() == b"no",
        extra=extra,
    )


def _check_extra(extra: dict[str, str]) -> None:
    if len(extra) > EXTRA_FIELDS or sum(len(key) + len(value) for key, value in extra.items()) > EXTRA_OCTETS:
        raise TooMuchExtra(f"more than {EXTRA_FIELDS} X-EchoMox-Extra fields, or {EXTRA_OCTETS} octets of them")
