"""SEARCH over one mailbox (RFC 9051 6.4.4, RFC 5032, RFC 7162 3.1.5).

A key that the index can answer becomes an SQL condition; AND runs all of those first, in one statement. What is
left (BODY, TEXT, other header fields) reads, message by message, only what still is a candidate. The full-text
index (fulltext.py) says which candidates there are, and of most strings, which messages have them for sure; header
fields that have a column it answers alone. Without it, everything is answered all the same, later.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import json
import re
import time
from array import array
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from echomox.imap.search import Age, All, And, Body, HasFlag, Header, Key, Modseq, Not, Or, Sequence, Size, Text, When
from echomox.message.structure import Part
from echomox.store import fulltext
from echomox.store.content import text_reader
from echomox.store.database import UID_BITS, UID_MASK, Database
from echomox.store.engine import WIRE_FLAGS, StoreError
from echomox.store.fulltext import Found, Reader, Section
from echomox.store.match import Needle, Read, field_values
from echomox.store.postings import Numbers
from echomox.store.views import load_parts
from echomox.store.words import Plan, fold, octets, plan, plan_value

Steps = Generator[None, None, set[int]]

_BITS = {name.lower(): int(flag) for flag, name in WIRE_FLAGS.items()}
_COLUMN = {
    "subject": "c.subject",
    "from": "c.from_text",
    "to": "c.to_text",
    "cc": "c.cc_text",
    "bcc": "c.bcc_text",
    "message-id": "'<' || c.message_id || '>'",
}
_SECTION = {
    "subject": Section.SUBJECT,
    "from": Section.FROM,
    "to": Section.TO,
    "cc": Section.CC,
    "bcc": Section.BCC,
    "message-id": Section.MESSAGE_ID,
}
SLICE = 0.01  # seconds
FEW = 100  # messages that are sooner read than looked up
FEW_CONTENTS = 5000
_CHUNK = 100
_NONE = "0"
_ALL = "1"


@dataclass(frozen=True, slots=True)
class Condition:
    """For WHERE over message m and content c."""

    sql: str
    values: tuple[Any, ...] = ()


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
            uids, all_contents = self._members()
            return set(uids[np.isin(all_contents, contents)].tolist())
        chosen = json.dumps(contents.tolist())
        rows = self.database.execute(
            f"""SELECT key & {UID_MASK} FROM message WHERE id IN (SELECT value FROM json_each(?)) AND content = id
                AND key BETWEEN ? AND ?
                UNION ALL SELECT key & {UID_MASK} FROM message
                WHERE content IN (SELECT value FROM json_each(?)) AND content != id AND key BETWEEN ? AND ?""",
            (chosen, *self.bounds, chosen, *self.bounds),
        )
        return {uid for (uid,) in rows.fetchall()}

    def _members(self) -> tuple[Numbers, Numbers]:
        if self.members is None:
            # As JSON: one row is made faster than a hundred thousand.
            row = self.database.execute(
                "SELECT json_group_array(key), json_group_array(content) FROM message WHERE key BETWEEN ? AND ?",
                self.bounds,
            ).fetchone()
            keys, contents = (np.array(json.loads(column), np.int64) for column in row)
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


def search(database: Database, mailbox_id: int, key: Key, uids: array[int]) -> list[int]:
    """`searching` without a pause."""
    steps = searching(database, mailbox_id, key, uids)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: list[int] = end.value
            return found


def searching(database: Database, mailbox_id: int, key: Key, uids: array[int]) -> Generator[None, None, list[int]]:
    """The search in steps of about SLICE seconds; others may use the account in between."""
    if not uids:
        return []
    view = View(database, mailbox_id, uids, time.time())
    if len(uids) >= FEW and _asks_texts(key):
        view.reader = fulltext.opened(database)
    try:
        found = yield from _evaluate(view, key, None)
        return sorted(found.intersection(uids))
    finally:
        view.drop_reader()


def _asks_texts(key: Key) -> bool:
    if isinstance(key, And):
        return any(map(_asks_texts, key.keys))
    if isinstance(key, Or):
        return _asks_texts(key.left) or _asks_texts(key.right)
    if isinstance(key, Not):
        return _asks_texts(key.key)
    return isinstance(key, Body | Text | Header) or (isinstance(key, When) and key.field == "sent")


def _evaluate(view: View, key: Key, among: set[int] | None) -> Steps:
    """UIDs that match; among: the candidates, None for all of the view."""
    condition = translate(view, key)
    if condition is not None:
        found = _select(view, condition)
        return found if among is None else found & among
    if isinstance(key, And):
        return (yield from _evaluate_and(view, key, among))
    candidates = set(view.uids) if among is None else among
    if isinstance(key, Or):
        left = yield from _evaluate(view, key.left, candidates)
        return left | (yield from _evaluate(view, key.right, candidates - left))
    if isinstance(key, Not):
        # What was expunged meanwhile matches nothing, not even NOT.
        inner = yield from _evaluate(view, key.key, candidates)
        return (candidates & _select(view, Condition(_ALL))) - inner
    return (yield from _evaluate_text(view, key, candidates))


def _evaluate_and(view: View, key: And, among: set[int] | None) -> Steps:
    translated = [(part, translate(view, part)) for part in key.keys]
    cheap = [condition for _, condition in translated if condition is not None]
    if cheap:
        found = _select(view, _join(cheap, " AND "))
        among = found if among is None else found & among
    # First what the full-text index answers alone, so that fewer messages are read for the others.
    for part in sorted((part for part, condition in translated if condition is None), key=_is_costly):
        among = yield from _evaluate(view, part, among)
    return set(view.uids) if among is None else among


def _is_costly(key: Key) -> bool:
    asked = _questions(key)
    return asked is None or not all(plan.exact for _, plan in asked)


def _evaluate_text(view: View, key: Key, candidates: set[int]) -> Steps:
    found = None
    if view.reader is not None and len(candidates) >= FEW:
        try:
            found = yield from _ask(view.reader, key)
        except fulltext.TROUBLE as error:
            view.drop_reader()
            fulltext.mark_damaged(view.database, f"{type(error).__name__}: {error}")
    if found is None or view.reader is None:
        return (yield from _verify(view, key, candidates))
    sure = candidates & view.having(found.sure)
    doubtful = candidates & (view.having(found.maybe) | view.newer(view.reader.watermark))
    return sure | (yield from _verify(view, key, doubtful - sure))


def _ask(reader: Reader, key: Key) -> Generator[None, None, Found | None]:
    """None when the full-text index cannot say anything of such a key."""
    if isinstance(key, When):
        day = key.day.isoformat().encode()
        low, high = {"before": (b"0", day), "on": (day, day + b"\0"), "since": (day, b":")}[key.relation]
        return (yield from reader.between(Section.SENT, low, high))
    asked = _questions(key)
    return None if asked is None else (yield from reader.find(asked))


def _questions(key: Key) -> list[tuple[Section, Plan]] | None:
    """What a section of the full-text index is asked; one of several will do."""
    if isinstance(key, Header):
        section = _SECTION.get(key.name)
        if not key.value:
            return [(Section.NAME, Plan((b"\n" + octets(key.name) + b"\n",), True))]
        value = plan_value(_header_value(key)) if section else plan(fold(key.value))
        if value is None:
            return None
        return [(section, value)] if section else [(Section.HEADER, value._replace(exact=False))]
    if isinstance(key, Body | Text):
        body = plan(fold(key.value))
        sections = (Section.BODY,) if isinstance(key, Body) else (Section.HEADER, Section.BODY)
        return None if body is None else [(section, body) for section in sections]
    return None


def _verify(view: View, key: Key, uids: set[int]) -> Steps:
    """Those of `uids` that match, by the messages themselves."""
    if not uids:
        return set()
    condition = _TRANSLATE[type(key)](view, key)
    if condition is not None:
        return (yield from _verify_rows(view, condition, uids))
    matcher = _MATCHER[type(key)](key)
    found = set()
    for uid, message in _messages(view, uids):
        try:
            if matcher(message):
                found.add(uid)
        except StoreError:
            pass  # the file is gone or damaged: for verifydata to find; a search goes on
        if view.is_tired():
            yield from view.rest()
    return found


def _verify_rows(view: View, condition: Condition, uids: set[int]) -> Steps:
    if len(uids) > len(view.uids) // 4:
        return _select(view, condition) & uids
    join = "JOIN content c ON c.id = m.content " if "c." in condition.sql else ""
    found: set[int] = set()
    ordered = sorted(uids)
    for start in range(0, len(ordered), _CHUNK):
        keys = json.dumps([view.base + uid for uid in ordered[start : start + _CHUNK]])
        rows = view.database.execute(
            f"SELECT m.key & {UID_MASK} FROM message m {join}"
            f"WHERE m.key IN (SELECT value FROM json_each(?)) AND {condition.sql}",
            (keys, *condition.values),
        )
        found.update(uid for (uid,) in rows.fetchall())
        if view.is_tired():
            yield from view.rest()
    return found


def _select(view: View, condition: Condition) -> set[int]:
    join = "JOIN content c ON c.id = m.content " if "c." in condition.sql else ""
    rows = view.database.execute(
        f"SELECT m.key & {UID_MASK} FROM message m {join}WHERE m.key BETWEEN ? AND ? AND {condition.sql}",
        (*view.bounds, *condition.values),
    )
    return {uid for (uid,) in rows.fetchall()}


# -- what the index answers ------------------------------------------------------


def translate(view: View, key: Key) -> Condition | None:
    """None when the message itself must be read, or the full-text index is faster than the rows."""
    if view.reader is not None and isinstance(key, Header | When) and _is_in_contents(key):
        return None
    return _TRANSLATE[type(key)](view, key)


def _is_in_contents(key: Header | When) -> bool:
    """Whether the answer stands in rows of `content`, of which there are many and long ones."""
    return key.field == "sent" if isinstance(key, When) else bool(key.value) and key.name in _SECTION


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


def _header_value(key: Header) -> str:
    """What is looked for, folded."""
    return fold(key.value.strip() if key.name == "message-id" else key.value)


def _translate_header(_view: View, key: Header) -> Condition | None:
    column = _COLUMN.get(key.name)
    if column is None or not key.value:
        return None
    return Condition(f"instr(fold({column}), ?) > 0", (_header_value(key),))


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


# The list of parts of a message that is one text as it stands: most of them, and not worth to be parsed.
_ONE_TEXT = re.compile(
    r'\[\["1","text/[a-z-]+","(?:us-ascii|utf-8|iso-8859-\d+|windows-125\d|)","(?:7bit|8bit|binary|)",'
    r'"[a-z]*","[^"\\]*",\d+,\d+,(\d+),(\d{1,6}),\d+,0\]\]'
)


class _Message(NamedTuple):
    path: str
    prefix: bytes
    file_size: int
    header_size: int
    parts: str

    def header(self) -> bytes:
        try:
            return self.prefix + self.reader()(0, self.header_size)
        except StoreError:
            return self.prefix

    def reader(self) -> Read:
        """Of the file. A file that is missing or too short raises StoreError, now or when it is read."""
        return text_reader(self.path, self.file_size)

    def list_parts(self) -> tuple[Part, ...]:
        return load_parts(self.parts)


Matcher = Callable[[_Message], bool]


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


def _header_matcher(key: Header) -> Matcher:
    needle = Needle(key.value)
    return lambda message: any(needle.in_text(value) for value in field_values(message.header(), key.name))


def _body_matcher(key: Body) -> Matcher:
    needle = Needle(key.value)
    return lambda message: _is_in_body(needle, message, message.reader())


def _text_matcher(key: Text) -> Matcher:
    needle = Needle(key.value)

    def matches(message: _Message) -> bool:
        if needle.in_header(message.prefix):
            return True
        read = message.reader()
        return needle.in_header(read(0, message.header_size)) or _is_in_body(needle, message, read)

    return matches


def _is_in_body(needle: Needle, message: _Message, read: Read) -> bool:
    if one := _ONE_TEXT.fullmatch(message.parts):
        text = read(int(one[1]), int(one[2]))
        if text.isascii():
            return needle.in_folded(text.lower())
    return needle.in_parts(message.list_parts(), read)


_MATCHER: dict[type, Callable[[Any], Matcher]] = {Header: _header_matcher, Body: _body_matcher, Text: _text_matcher}
