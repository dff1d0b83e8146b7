"""SEARCH over one mailbox (RFC 9051 6.4.4, RFC 5032, RFC 7162 3.1.5).

A key that the index can answer becomes an SQL condition; AND runs all of those first, in one statement. What is
left (BODY, TEXT, other header fields) reads, message by message, only what still is a candidate.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from echomox.imap.search import Age, All, And, Body, HasFlag, Header, Key, Modseq, Not, Or, Sequence, Size, Text, When
from echomox.message.structure import Part
from echomox.store.content import FileContent
from echomox.store.database import UID_BITS, UID_MASK, Database
from echomox.store.engine import WIRE_FLAGS, StoreError
from echomox.store.match import Needle, field_values
from echomox.store.views import load_parts

_BITS = {name.lower(): int(flag) for flag, name in WIRE_FLAGS.items()}
_COLUMN = {"subject": "c.subject", "from": "c.from_text", "to": "c.to_text", "cc": "c.cc_text", "bcc": "c.bcc_text"}
_CHUNK = 500
_NONE = "0"
_ALL = "1"


@dataclass(frozen=True, slots=True)
class Condition:
    """For WHERE over message m and content c."""

    sql: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """What is searched: a mailbox, and the caller's list of UIDs, by which sequence numbers count."""

    database: Database
    mailbox_id: int
    uids: array[int]
    now: float

    @property
    def base(self) -> int:
        return self.mailbox_id << UID_BITS


def search(database: Database, mailbox_id: int, key: Key, uids: array[int]) -> list[int]:
    if not uids:
        return []
    view = View(database, mailbox_id, uids, time.time())
    return sorted(_evaluate(view, key, None).intersection(uids))


def _evaluate(view: View, key: Key, among: set[int] | None) -> set[int]:
    """UIDs that match; among: the candidates, None for all of the view."""
    condition = translate(view, key)
    if condition is not None:
        found = _select(view, condition)
        return found if among is None else found & among
    if isinstance(key, And):
        return _evaluate_and(view, key, among)
    candidates = set(view.uids) if among is None else among
    if isinstance(key, Or):
        left = _evaluate(view, key.left, candidates)
        return left | _evaluate(view, key.right, candidates - left)
    if isinstance(key, Not):
        # What was expunged meanwhile matches nothing, not even NOT.
        return (candidates & _select(view, Condition(_ALL))) - _evaluate(view, key.key, candidates)
    return {uid for uid, message in _messages(view, candidates) if _MATCH[type(key)](key, message)}


def _evaluate_and(view: View, key: And, among: set[int] | None) -> set[int]:
    translated = [(part, translate(view, part)) for part in key.keys]
    cheap = [condition for _, condition in translated if condition is not None]
    if cheap:
        found = _select(view, _join(cheap, " AND "))
        among = found if among is None else found & among
    for part, condition in translated:
        if condition is None:
            among = _evaluate(view, part, among)
    return set(view.uids) if among is None else among


def _select(view: View, condition: Condition) -> set[int]:
    join = "JOIN content c ON c.id = m.content " if "c." in condition.sql else ""
    rows = view.database.execute(
        f"SELECT m.key & {UID_MASK} FROM message m {join}WHERE m.key BETWEEN ? AND ? AND {condition.sql}",
        (view.base + view.uids[0], view.base + view.uids[-1], *condition.values),
    )
    return {uid for (uid,) in rows.fetchall()}


# -- what the index answers ------------------------------------------------------


def translate(view: View, key: Key) -> Condition | None:
    """None when the message itself must be read."""
    return _TRANSLATE[type(key)](view, key)


def _join(conditions: list[Condition], word: str) -> Condition:
    return Condition(
        "(" + word.join(one.sql for one in conditions) + ")", tuple(value for one in conditions for value in one.values)
    )


def _translate_all(_view: View, _key: All) -> Condition:
    return Condition(_ALL)


def _translate_and(view: View, key: And) -> Condition | None:
    parts = [translate(view, part) for part in key.keys]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return _join(known, " AND ") if known else Condition(_ALL)


def _translate_or(view: View, key: Or) -> Condition | None:
    left, right = translate(view, key.left), translate(view, key.right)
    return None if left is None or right is None else _join([left, right], " OR ")


def _translate_not(view: View, key: Not) -> Condition | None:
    inner = translate(view, key.key)
    return None if inner is None else Condition(f"NOT {inner.sql}", inner.values)


def _translate_sequence(view: View, key: Sequence) -> Condition:
    bounds = []
    for low, high in key.ranges:
        if not key.uid:
            low, high = max(low, 1), min(high, len(view.uids))
            if low > high:
                continue
            low, high = view.uids[low - 1], view.uids[high - 1]
        bounds.append([view.base + low, view.base + min(high, UID_MASK)])
    if not bounds:
        return Condition(_NONE)
    if len(bounds) == 1:
        return Condition("m.key BETWEEN ? AND ?", tuple(bounds[0]))
    return Condition(
        "EXISTS (SELECT 1 FROM json_each(?) r"
        " WHERE m.key BETWEEN json_extract(r.value, '$[0]') AND json_extract(r.value, '$[1]'))",
        (json.dumps(bounds),),
    )


def _translate_flag(_view: View, key: HasFlag) -> Condition:
    bit = _BITS.get(key.flag.lower())
    if bit is not None:
        return Condition(f"(m.flags & {bit}) != 0")
    if key.flag.startswith("\\"):
        return Condition(_NONE)
    return Condition("instr(lower(' ' || m.keywords || ' '), ?) > 0", (f" {key.flag.lower()} ",))


def _translate_header(_view: View, key: Header) -> Condition | None:
    if key.name == "message-id" and key.value:
        return Condition("instr('<' || lower(c.message_id) || '>', ?) > 0", (key.value.strip().lower(),))
    column = _COLUMN.get(key.name)
    if column is None or not key.value:
        return None
    # SQLite's lower() knows ASCII only; characters beyond it are folded by the function `fold` of the connection.
    function = "lower" if key.value.isascii() else "fold"
    return Condition(f"instr({function}({column}), ?) > 0", (key.value.lower(),))


def _translate_size(_view: View, key: Size) -> Condition:
    return Condition("m.size > ?" if key.larger else "m.size < ?", (key.octets,))


def _translate_when(_view: View, key: When) -> Condition:
    if key.field == "sent":
        compare = {"before": "<", "on": "=", "since": ">="}[key.relation]
        return Condition(f"(c.sent_day != '' AND c.sent_day {compare} ?)", (key.day.isoformat(),))
    column = {"received": "m.received", "saved": "m.saved"}[key.field]
    start = _midnight(key.day)
    if key.relation == "before":
        return Condition(f"{column} < ?", (start,))
    if key.relation == "since":
        return Condition(f"{column} >= ?", (start,))
    return Condition(f"({column} >= ? AND {column} < ?)", (start, start + 86_400))


def _midnight(day: date) -> float:
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(
        seconds=1
    )


def _translate_age(view: View, key: Age) -> Condition:
    return Condition("m.received >= ?" if key.younger else "m.received <= ?", (view.now - key.seconds,))


def _translate_modseq(_view: View, key: Modseq) -> Condition:
    return Condition("m.modseq >= ?", (key.value,))


def _translate_text(_view: View, key: Body | Text) -> Condition | None:
    return None if key.value else Condition(_ALL)


_TRANSLATE: dict[type, Callable[[View, Any], Condition | None]] = {
    All: _translate_all,
    And: _translate_and,
    Or: _translate_or,
    Not: _translate_not,
    Sequence: _translate_sequence,
    HasFlag: _translate_flag,
    Header: _translate_header,
    Size: _translate_size,
    When: _translate_when,
    Age: _translate_age,
    Modseq: _translate_modseq,
    Body: _translate_text,
    Text: _translate_text,
}


# -- what the message itself answers ------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Message:
    path: str
    prefix: bytes
    file_size: int
    header_size: int
    parts: str

    def header(self) -> bytes:
        return self.prefix + self._read(self.header_size)

    def whole(self) -> bytes:
        return self._read(self.file_size)

    def list_parts(self) -> tuple[Part, ...]:
        return load_parts(self.parts)

    def _read(self, length: int) -> bytes:
        content = FileContent(self.path, b"", self.file_size)
        try:
            return content.read(0, length)
        except StoreError:
            return b""  # for verifydata to find; a search goes on
        finally:
            content.close()


def _messages(view: View, uids: set[int]) -> Iterator[tuple[int, _Message]]:
    ordered = sorted(uids)
    for start in range(0, len(ordered), _CHUNK):
        keys = json.dumps([view.base + uid for uid in ordered[start : start + _CHUNK]])
        rows = view.database.execute(
            f"""SELECT m.key & {UID_MASK}, c.id, c.prefix, c.file_size, c.header_size, c.parts
                FROM message m JOIN content c ON c.id = m.content WHERE m.key IN (SELECT value FROM json_each(?))""",
            (keys,),
        ).fetchall()
        for uid, content_id, prefix, *rest in rows:
            yield uid, _Message(view.database.file(content_id), prefix, *rest)


def _match_header(key: Header, message: _Message) -> bool:
    needle = Needle(key.value)
    return any(needle.in_text(value) for value in field_values(message.header(), key.name))


def _match_body(key: Body, message: _Message) -> bool:
    return Needle(key.value).in_parts(message.list_parts(), message.whole())


def _match_text(key: Text, message: _Message) -> bool:
    needle, data = Needle(key.value), message.whole()
    if needle.in_header(message.prefix) or needle.in_header(data[: message.header_size]):
        return True
    return needle.in_parts(message.list_parts(), data)


_MATCH: dict[type, Callable[[Any, _Message], bool]] = {Header: _match_header, Body: _match_body, Text: _match_text}
