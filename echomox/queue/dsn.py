"""A delivery status notification that came in, taken apart (RFC 3464, RFC 6533). Pure; never raises on input.

Looked for: the first message/delivery-status (or global) part of a multipart/report, and the original's Message-ID and
Subject in what follows. Bounded: FIELDS bytes of status, RECIPIENTS groups.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from echomox.message.encoded import decode_base64
from echomox.message.header import read_fields, unfold
from echomox.message.mime import parse
from echomox.message.structure import Part, Structure

FIELDS = 256 << 10
RECIPIENTS = 200
VALUE = 1000
ACTIONS = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})
_STATUS = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})")
_BLANK = re.compile(rb"\r?\n[ \t]*\r?\n")
_ID = re.compile(r"<[^<>\s]{1,990}>")
_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_ORIGINAL_TYPES = frozenset({"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"})


@dataclass(frozen=True, slots=True)
class Told:
    """One recipient of it. final, original: addresses without their type."""

    action: str
    status: str
    final: str
    original: str
    diagnostic: str


@dataclass(frozen=True, slots=True)
class IncomingReport:
    """message_id: of the message that it is about."""

    envid: str
    reporting_mta: str
    message_id: str
    told: tuple[Told, ...]


def parse_report(data: bytes, structure: Structure | None = None) -> IncomingReport | None:
    """None when it is no delivery status notification. structure: of `data`, if it has been parsed."""
    parts = (structure or parse(data)).parts
    place = next((n for n, part in enumerate(parts) if part.content_type.lower() in _STATUS_TYPES), None)
    if place is None or not any(part.content_type.lower() == "multipart/report" for part in parts[:place]):
        return None
    groups = [_fields(group) for group in _BLANK.split(_bytes(data, parts[place]).strip(b"\r\n"))[: RECIPIENTS + 1]]
    told = tuple(one for group in groups[1:] if (one := _told(group)) is not None)
    if not told:
        return None
    return IncomingReport(
        envid=groups[0].get("original-envelope-id", ""),
        reporting_mta=_after_type(groups[0].get("reporting-mta", "")),
        message_id=_message_id(data, parts[place + 1 :]),
        told=told,
    )


def _bytes(data: bytes, part: Part) -> bytes:
    raw = data[part.offset : part.offset + min(part.size, FIELDS)]
    if part.encoding.lower() == "base64":  # RFC 6533 4 allows it for the global types
        return decode_base64(raw)
    return raw


def _fields(group: bytes) -> dict[str, str]:
    found = read_fields(group + b"\r\n", 0, len(group) + 2)
    return {
        name.decode("ascii", "replace").lower(): unfold(value).decode("utf-8", "replace").strip()[:VALUE]
        for name, value in found.items()
    }


def _told(group: dict[str, str]) -> Told | None:
    action = group.get("action", "").lower().partition(" ")[0]
    final = _after_type(group.get("final-recipient", ""))
    if action not in ACTIONS or not final:
        return None
    status = _STATUS.match(group.get("status", ""))
    return Told(
        action,
        status[1] if status else "",
        final,
        _after_type(group.get("original-recipient", "")),
        _after_type(group.get("diagnostic-code", "")),
    )


def _after_type(value: str) -> str:
    kind, separator, rest = value.partition(";")
    return (rest if separator else kind).strip().strip("<>")


def _message_id(data: bytes, parts: tuple[Part, ...]) -> str:
    for part in parts:
        if part.content_type.lower() in _ORIGINAL_TYPES:
            block = _bytes(data, part)
            fields = read_fields(block, 0, len(block))
            found = _ID.search(unfold(fields.get(b"message-id", b"")).decode("utf-8", "replace"))
            return found[0] if found else ""
    return ""
