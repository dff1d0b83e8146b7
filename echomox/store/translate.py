"""What is searched, and the keys of SEARCH that SQL answers. RFC 9051 6.4.4, RFC 5032, RFC 7162 3.1.5, RFC 8474 6."""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from echomox.imap.search import (
    Age,
    All,
    And,
    Body,
    Fuzzy,
    HasFlag,
    Header,
    Key,
    Modseq,
    Not,
    ObjectId,
    Or,
    Sequence,
    Size,
    Text,
    When,
)
from echomox.store.database import UID_BITS, UID_MASK, Database
from echomox.store.engine import WIRE_FLAGS
from echomox.store.rows.compact import text_sql
from echomox.store.text.fulltext import Reader, Section
from echomox.store.text.postings import Numbers, parsed
from echomox.store.text.words import fold

Steps = Generator[None, None, set[int]]

_BITS = {name.lower(): int(flag) for flag, name in WIRE_FLAGS.items()}
_COLUMN = {
    "subject": "c.subject",
    "from": text_sql("from_text"),
    "to": text_sql("to_text"),
    "cc": text_sql("cc_text"),
    "bcc": text_sql("bcc_text"),
    "message-id": "'<' || c.message_id || '>'",
}
SECTIONS = {
    "subject": Section.SUBJECT,
    "from": Section.FROM,
    "to": Section.TO,
    "cc": Section.CC,
    "bcc": Section.BCC,
    "message-id": Section.MESSAGE_ID,
}
SLICE = 0.01  # seconds
FEW_CONTENTS = 5000
DEEPEST = 24
NONE = "0"
ALL = "1"


@dataclass(frozen=True, slots=True)
class Condition:
    """For WHERE over message m and content c."""

    sql: str
    values: tuple[Any, ...] = ()
    depth: int = 1
    """Of parentheses."""

    @property
    def weight(self) -> int:
        """About how long it takes of a row."""
        return 1 + self.sql.count("m.") + 4 * self.sql.count("c.") + 10 * self.sql.count("fold(")


@dataclass(slots=True)
class View:
    """What is searched: a mailbox, and the caller's list of UIDs, by which sequence numbers count.

    reader: the full-text index; None when there is none. members: UIDs and contents of the whole mailbox, once asked
    for."""

    database: Database
    mailbox_id: int
    uids: array[int]
    now: float
    reader: Reader | None = None
    members: tuple[Numbers, Numbers] | None = None
    resting: float = field(default_factory=time.monotonic)

    @property
    def base(self) -> int:
        return self.mailbox_id << UID_BITS

    @property
    def bounds(self) -> tuple[int, int]:
        return self.base + self.uids[0], self.base + self.uids[-1]

    def is_tired(self) -> bool:
        """Whether it is time to let others run."""
        return time.monotonic() - self.resting > SLICE

    def rest(self) -> Generator[None, None, None]:
        yield
        self.resting = time.monotonic()

    def drop_reader(self) -> None:
        if self.reader is not None:
            self.reader.close()
            self.reader = None

    def having(self, contents: Numbers) -> set[int]:
        """UIDs of the messages with one of these contents."""
        if len(contents) > FEW_CONTENTS:
            uids, all_contents = self.listed()
            places = np.minimum(np.searchsorted(contents, all_contents), len(contents) - 1)
            return set(uids[contents[places] == all_contents].tolist())
        chosen = json.dumps(contents.tolist())
        rows = self.database.execute(
            f"""SELECT key & {UID_MASK} FROM message WHERE id IN (SELECT value FROM json_each(?)) AND content = id
                AND key BETWEEN ? AND ?
                UNION ALL SELECT key & {UID_MASK} FROM message
                WHERE content IN (SELECT value FROM json_each(?)) AND content != id AND key BETWEEN ? AND ?""",
            (chosen, *self.bounds, chosen, *self.bounds),
        )
        return {uid for (uid,) in rows.fetchall()}

    def listed(self) -> tuple[Numbers, Numbers]:
        """UIDs and contents of all messages in bounds."""
        if self.members is None:
            # As JSON: one row is made faster than a hundred thousand.
            row = self.database.execute(
                "SELECT json_group_array(key), json_group_array(content) FROM message WHERE key BETWEEN ? AND ?",
                self.bounds,
            ).fetchone()
            keys, contents = map(parsed, row)
            self.members = keys & UID_MASK, contents
        return self.members

    def newer(self, watermark: int) -> set[int]:
        """UIDs of the messages whose contents the index does not have yet."""
        rows = self.database.execute(
            f"""SELECT key & {UID_MASK} FROM message INDEXED BY message_by_id
                WHERE id > ? AND content = id AND +key BETWEEN ? AND ?
                UNION ALL SELECT key & {UID_MASK} FROM message INDEXED BY message_copies
                WHERE content > ? AND content != id AND +key BETWEEN ? AND ?""",
            (watermark, *self.bounds, watermark, *self.bounds),
        )
        return {uid for (uid,) in rows.fetchall()}


def translate(view: View, key: Key) -> Condition | None:
    """None when the message itself must be read, or the full-text index is faster than the rows."""
    if view.reader is not None and isinstance(key, Header | When) and _is_in_contents(key):
        return None
    return TRANSLATE[type(key)](view, key)


def _is_in_contents(key: Header | When) -> bool:
    """Whether the answer stands in rows of `content`, of which there are many and long ones."""
    return key.field == "sent" if isinstance(key, When) else bool(key.value) and key.name in SECTIONS


def join(conditions: list[Condition], word: str) -> Condition:
    """A tree, not a chain: SQLite takes an expression of a limited depth only."""
    if len(conditions) == 1:
        return conditions[0]
    half = len(conditions) // 2
    left, right = join(conditions[:half], word), join(conditions[half:], word)
    depth = 1 + max(left.depth, right.depth)
    return Condition(f"({left.sql}{word}{right.sql})", left.values + right.values, depth)


def _all(_view: View, _key: All) -> Condition:
    return Condition(ALL)


def _and(view: View, key: And) -> Condition | None:
    parts = [translate(view, part) for part in key.keys]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return _shallow(join(known, " AND ")) if known else Condition(ALL)


def _or(view: View, key: Or) -> Condition | None:
    left, right = translate(view, key.left), translate(view, key.right)
    return None if left is None or right is None else _shallow(join([left, right], " OR "))


def _not(view: View, key: Not) -> Condition | None:
    inner = translate(view, key.key)
    return None if inner is None else _shallow(Condition(f"(NOT {inner.sql})", inner.values, inner.depth + 1))


def _shallow(condition: Condition) -> Condition | None:
    """None for one that SQLite's parser has no room for: it is worked off key by key."""
    return condition if condition.depth <= DEEPEST else None


def _sequence(view: View, key: Sequence) -> Condition:
    bounds = []
    for low, high in key.ranges:
        if not key.uid:
            low, high = max(low, 1), min(high, len(view.uids))
            if low > high:
                continue
            low, high = view.uids[low - 1], view.uids[high - 1]
        bounds.append([view.base + low, view.base + min(high, UID_MASK)])
    if not bounds:
        return Condition(NONE)
    if len(bounds) == 1:
        return Condition("m.key BETWEEN ? AND ?", tuple(bounds[0]))
    return Condition(
        "EXISTS (SELECT 1 FROM json_each(?) r"
        " WHERE m.key BETWEEN json_extract(r.value, '$[0]') AND json_extract(r.value, '$[1]'))",
        (json.dumps(bounds),),
    )


def _flag(_view: View, key: HasFlag) -> Condition:
    bit = _BITS.get(key.flag.lower())
    if bit is not None:
        return Condition(f"(m.flags & {bit}) != 0")
    if key.flag.startswith("\\"):
        return Condition(NONE)
    return Condition("instr(lower(' ' || m.keywords || ' '), ?) > 0", (f" {key.flag.lower()} ",))


def header_value(key: Header) -> str:
    """What is looked for, folded."""
    return fold(key.value.strip() if key.name == "message-id" else key.value)


def _header(_view: View, key: Header) -> Condition | None:
    column = _COLUMN.get(key.name)
    if column is None or not key.value:
        return None
    return Condition(f"instr(fold({column}), ?) > 0", (header_value(key),))


def _size(_view: View, key: Size) -> Condition:
    return Condition("m.size > ?" if key.larger else "m.size < ?", (key.octets,))


def _when(_view: View, key: When) -> Condition:
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


def _age(view: View, key: Age) -> Condition:
    return Condition("m.received >= ?" if key.younger else "m.received <= ?", (view.now - key.seconds,))


def _object_id(_view: View, key: ObjectId) -> Condition:
    if key.field == "content":
        return Condition("m.content = ?", (key.number,))
    return Condition("m.content IN (SELECT content FROM sorting WHERE thread = ?)", (key.number,))


def _fuzzy(_view: View, _key: Fuzzy) -> None:
    return None


def _modseq(_view: View, key: Modseq) -> Condition:
    return Condition("m.modseq >= ?", (key.value,))


def _text(_view: View, key: Body | Text) -> Condition | None:
    return None if key.value else Condition(ALL)


TRANSLATE: dict[type, Callable[[View, Any], Condition | None]] = {
    All: _all,
    And: _and,
    Or: _or,
    Not: _not,
    Sequence: _sequence,
    HasFlag: _flag,
    Header: _header,
    Size: _size,
    When: _when,
    Age: _age,
    Modseq: _modseq,
    ObjectId: _object_id,
    Fuzzy: _fuzzy,
    Body: _text,
    Text: _text,
}
