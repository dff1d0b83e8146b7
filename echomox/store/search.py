"""SEARCH over one mailbox (RFC 9051 6.4.4, RFC 5032, RFC 7162 3.1.5).

A key that the index can answer becomes an SQL condition; AND runs all of those first, in one statement. What is
left (BODY, TEXT, other header fields) reads, message by message, only what still is a candidate. The full-text
index (fulltext.py) says which candidates there are, and of most strings, which messages have them for sure; header
fields that have a column it answers alone. Without it, everything is answered all the same, later.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Callable, Generator

from echomox.imap.search import And, Body, Fuzzy, Header, Key, Not, ObjectId, Or, Text, When
from echomox.store.database import UID_MASK, Database
from echomox.store.engine import StoreError
from echomox.store.rows import backlog
from echomox.store.text import fulltext, fuzzy
from echomox.store.text.fulltext import UNLISTED, Found, Reader, Section
from echomox.store.text.matching import CHUNK, MATCHER, messages
from echomox.store.text.words import Plan, fold, octets, plan, plan_marks, plan_pair, plan_value
from echomox.store.translate import ALL, SECTIONS, TRANSLATE, Condition, Steps, View, header_value, join, translate

FEW = 100  # messages that are sooner read than looked up
WORK = 50_000  # rows of a statement, by the weight of its condition
LEAST = 50


_PLANNERS = (
    (plan_pair, Section.HEADER_PAIRS, Section.BODY_PAIRS),
    (plan, Section.HEADER, Section.BODY),
    (plan_marks, Section.HEADER_MARKS, Section.BODY_MARKS),
)


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
    if _asks(key, _is_thread):
        yield from backlog.sort_all(database)
    view = View(database, mailbox_id, uids, time.time())
    if len(uids) >= FEW and _asks(key, _is_text):
        view.reader = fulltext.opened(database)
    try:
        found = yield from _evaluate(view, key, None)
        return sorted(found.intersection(uids))
    finally:
        view.drop_reader()


def scoring(database: Database, mailbox_id: int, key: Key, uids: array[int]) -> Generator[None, None, dict[int, int]]:
    """How relevant each of `uids` is by the FUZZY keys of a program: 1 to 100 (RFC 6203 4)."""
    if not uids:
        return {}
    view = View(database, mailbox_id, uids, time.time())
    if len(uids) >= FEW:
        view.reader = fulltext.opened(database)
    try:
        scores = yield from fuzzy.scores_of(view, key, set(uids), _evaluate)
        return {uid: max(1, round(100 * score)) for uid, score in scores.items()}
    finally:
        view.drop_reader()


def _asks(key: Key, what: Callable[[Key], bool]) -> bool:
    """Whether there is such a key in a program."""
    if isinstance(key, And):
        return any(_asks(part, what) for part in key.keys)
    if isinstance(key, Or):
        return _asks(key.left, what) or _asks(key.right, what)
    if isinstance(key, Not | Fuzzy):
        return _asks(key.key, what)
    return what(key)


def _is_text(key: Key) -> bool:
    return isinstance(key, Body | Text | Header) or (isinstance(key, When) and key.field == "sent")


def _is_thread(key: Key) -> bool:
    return isinstance(key, ObjectId) and key.field != "content"


def _evaluate(view: View, key: Key, among: set[int] | None) -> Steps:
    """UIDs that match; among: the candidates, None for all of the view."""
    condition = translate(view, key)
    if condition is not None:
        found = yield from _select(view, condition)
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
        return (candidates & (yield from _select(view, Condition(ALL)))) - inner
    if isinstance(key, Fuzzy):
        return set((yield from _evaluate_fuzzy(view, key, candidates)))
    return (yield from _evaluate_text(view, key, candidates))


def _evaluate_fuzzy(view: View, key: Fuzzy, candidates: set[int]) -> fuzzy.Steps:
    try:
        return (yield from fuzzy.evaluate(view, key.key, candidates, _evaluate))
    except fulltext.TROUBLE as error:
        view.drop_reader()
        fulltext.mark_damaged(view.database, f"{type(error).__name__}: {error}")
    return (yield from fuzzy.evaluate(view, key.key, candidates, _evaluate))


def _evaluate_and(view: View, key: And, among: set[int] | None) -> Steps:
    translated = [(part, translate(view, part)) for part in key.keys]
    cheap = [condition for _, condition in translated if condition is not None]
    if cheap:
        found = yield from _select(view, join(cheap, " AND "))
        among = found if among is None else found & among
    # First what the full-text index answers alone, so that fewer messages are read for the others.
    for part in sorted((part for part, condition in translated if condition is None), key=_is_costly):
        among = yield from _evaluate(view, part, among)
    return set(view.uids) if among is None else among


def _is_costly(key: Key) -> bool:
    if _is_listed(key):
        return False
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
    if _is_listed(key):
        assert isinstance(key, Header)
        return (yield from reader.field(octets(key.name), octets(fold(key.value))))
    asked = _questions(key)
    return None if asked is None else (yield from reader.find(asked))


def _is_listed(key: Key) -> bool:
    """A header field whose values the index has."""
    if not isinstance(key, Header) or not key.value or key.name in SECTIONS or octets(key.name) in UNLISTED:
        return False
    return not any(sign in key.name + key.value for sign in "\n\1\2")


def _questions(key: Key) -> list[tuple[Section, Plan]] | None:
    """What a section of the full-text index is asked; one of several will do."""
    if isinstance(key, Header):
        section = SECTIONS.get(key.name)
        if not key.value:
            return [(Section.NAME, Plan((b"\n" + octets(key.name) + b"\n",), True))]
        value = plan_value(header_value(key)) if section else plan(fold(key.value))
        if value is None:
            return None
        return [(section, value)] if section else [(Section.HEADER, value._replace(exact=False))]
    if isinstance(key, Body | Text):
        folded = fold(key.value)
        for planner, header, body in _PLANNERS:
            found = planner(folded)
            if found is not None:
                return [(section, found) for section in ((body,) if isinstance(key, Body) else (header, body))]
    return None


def _verify(view: View, key: Key, uids: set[int]) -> Steps:
    """Those of `uids` that match, by the messages themselves."""
    if not uids:
        return set()
    condition = TRANSLATE[type(key)](view, key)
    if condition is not None:
        return (yield from _verify_rows(view, condition, uids))
    matcher = MATCHER[type(key)](key)
    found = set()
    for uid, message in messages(view, uids):
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
        return (yield from _select(view, condition)) & uids
    join = "JOIN content c ON c.id = m.content " if "c." in condition.sql else ""
    found: set[int] = set()
    ordered = sorted(uids)
    for start in range(0, len(ordered), CHUNK):
        keys = json.dumps([view.base + uid for uid in ordered[start : start + CHUNK]])
        rows = view.database.execute(
            f"SELECT m.key & {UID_MASK} FROM message m {join}"
            f"WHERE m.key IN (SELECT value FROM json_each(?)) AND {condition.sql}",
            (keys, *condition.values),
        )
        found.update(uid for (uid,) in rows.fetchall())
        if view.is_tired():
            yield from view.rest()
    return found


def _select(view: View, condition: Condition) -> Steps:
    """UIDs by SQL; in pieces of the mailbox that take some milliseconds each, however long the condition is."""
    join = "JOIN content c ON c.id = m.content " if "c." in condition.sql else ""
    statement = (
        f"SELECT json_group_array(m.key & {UID_MASK}) FROM message m {join}"
        f"WHERE m.key BETWEEN ? AND ? AND {condition.sql}"
    )
    size = max(LEAST, WORK // condition.weight)
    found: set[int] = set()
    uids = view.uids
    for start in range(0, len(uids), size):
        bounds = view.base + uids[start], view.base + uids[min(start + size, len(uids)) - 1]
        row = view.database.execute(statement, (*bounds, *condition.values)).fetchone()
        found.update(json.loads(row[0]))
        if view.is_tired():
            yield from view.rest()
    return found
