"""What the engine in memory keeps of mailboxes and messages, and whether a message matches a search."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from echomox.imap import search as keys
from echomox.message.structure import Structure
from echomox.store import names
from echomox.store.engine import WIRE_FLAGS, FlagOp
from echomox.store.text.match import Needle, field_values

_BITS = {name.lower(): int(flag) for flag, name in WIRE_FLAGS.items()}


@dataclass(slots=True)
class FakeMessage:
    id: int
    uid: int
    modseq: int
    flags: int
    keywords: str
    received: float
    saved: float
    prefix: bytes
    verdict: str
    remote_ip: str
    source: bytes
    structure: Structure
    content: int
    thread: int

    @property
    def size(self) -> int:
        return len(self.prefix) + len(self.source)

    def column(self, name: str) -> Any:
        if name in ("email_id", "thread_id"):
            return f"{0:08x}-{self.content if name == 'email_id' else self.thread}"
        return getattr(self if hasattr(self, name) else self.structure, name)


@dataclass(slots=True)
class FakeMailbox:
    id: int
    name: str
    uidvalidity: int
    special_use: str = ""
    uidnext: int = 1
    recent: int = 1
    modseq: int = 1
    named: int = 0
    messages: dict[int, FakeMessage] = field(default_factory=dict)
    expunged: dict[int, int] = field(default_factory=dict)
    keywords: set[str] = field(default_factory=set)


class FakeContent:
    def __init__(self, prefix: bytes, source: bytes) -> None:
        self._data = prefix + source
        self.size = len(self._data)
        self.prefix_size = len(prefix)

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        return self._data[offset : None if length is None else offset + length]

    def close(self) -> None:
        """Nothing is open."""


def with_words(op: FlagOp, old: str, words: Sequence[str]) -> str:
    lower = {word.lower() for word in words}
    kept = [] if op is FlagOp.SET else [word for word in old.split() if word.lower() not in lower]
    return names.join_keywords(kept if op is FlagOp.REMOVE else kept + list(words))


def matches(key: keys.Key, message: FakeMessage, number: int, count: int) -> bool:
    match key:
        case keys.And(parts):
            return all(matches(part, message, number, count) for part in parts)
        case keys.Or(left, right):
            return matches(left, message, number, count) or matches(right, message, number, count)
        case keys.Not(inner):
            return not matches(inner, message, number, count)
        case keys.Sequence(ranges, uid):
            place, last = (message.uid, 0xFFFFFFFF) if uid else (number, count)
            return any(low <= place <= min(high, last) for low, high in ranges)
        case keys.HasFlag(flag):
            bit = _BITS.get(flag.lower())
            return bool(message.flags & bit) if bit else flag.lower() in message.keywords.lower().split()
        case keys.Size(octets, larger):
            return message.size > octets if larger else message.size < octets
        case keys.Modseq(value):
            return message.modseq >= value
        case keys.Age(seconds, younger):
            age = time.time() - message.received
            return age <= seconds if younger else age >= seconds
        case keys.ObjectId(field, _, wanted):
            return bool(message.column(field) == wanted)
        case keys.Fuzzy(inner):
            return matches(inner, message, number, count)
        case keys.When():
            return _matches_day(key, message)
    return _matches_text(key, message)


def _matches_day(key: keys.When, message: FakeMessage) -> bool:
    if key.field == "sent":
        day = message.structure.sent_day
    else:
        seconds = message.received if key.field == "received" else message.saved
        day = datetime.fromtimestamp(seconds, UTC).date().isoformat()
    wanted = key.day.isoformat()
    return bool(day) and {"before": day < wanted, "on": day == wanted, "since": day >= wanted}[key.relation]


def _matches_text(key: keys.Key, message: FakeMessage) -> bool:
    header = message.prefix + message.source[: message.structure.header_size]
    match key:
        case keys.Header(name, value):
            return any(Needle(value).in_text(found) for found in field_values(header, name))
        case keys.Body(value):
            return Needle(value).in_parts(message.structure.parts, message.source)
        case keys.Text(value):
            needle = Needle(value)
            return needle.in_header(header) or needle.in_parts(message.structure.parts, message.source)
    return isinstance(key, keys.All)
