"""Drift and poisoning: is the filter contradicted more of late than it used to be? (R68)

Every lesson keeps on which side the filter was when the message came (`combine`: the bin of L, its log-odds). A lesson
contradicts the filter when its label is of the other side, and does so surely when the filter was sure: |L| >= SURE.
Of the RECENT lessons taught last the share that contradicts is compared with that of the EARLIER ones before them:

    z = (recent - before) / sqrt(p (1 - p) (1 / RECENT + 1 / n before)),   p the share of both together

an alarm is z >= HIGH with at least LEAST contradictions. So a user who teaches errors only raises none: his share was
the same before.

    drift       lessons contradict: the mail has changed, or what its reader wants
    poisoning   lessons surely contradict: somebody, or a program gone wrong, teaches what is not so

They change nothing but what the administrator is told: the log, the counter filter_alarms, `echomox filter stats`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import NamedTuple

from echomox.filter import combine
from echomox.filter.counts.junkdb import connect
from echomox.filter.counts.words import junk_path
from echomox.log import Log

RECENT, EARLIER = 100, 900
FEWEST = 100
"""Earlier lessons without which nothing is said."""
LEAST = 10
HIGH = 4.0
SURE = 3.0
"""Log-odds; P of 0.047 or 0.953."""
KINDS = ("drift", "poisoning")
_LESSONS = """SELECT label, data FROM trained JOIN contribution ON contribution.message = trained.message
    AND part = ? ORDER BY position DESC LIMIT ?"""


class Lesson(NamedTuple):
    """value: L when the message came, the middle of its bin."""

    spam: bool
    value: float


@dataclass(frozen=True, slots=True)
class Shares:
    """Contradictions among the recent lessons and among those before, of all lessons in percent; kinds: alarms."""

    lessons: int
    recent: dict[str, float]
    before: dict[str, float]
    alarms: tuple[str, ...]


def contradicts(lesson: Lesson, least: float) -> bool:
    return lesson.value <= -least if lesson.spam else lesson.value >= least


def watch(lessons: Sequence[Lesson]) -> Shares:
    """lessons: the latest first."""
    recent, before = lessons[:RECENT], lessons[RECENT : RECENT + EARLIER]
    found = []
    shares: list[dict[str, float]] = [{}, {}]
    for kind, least in zip(KINDS, (0.0, SURE)):
        counts = [sum(contradicts(lesson, least) for lesson in part) for part in (recent, before)]
        for place, part in enumerate((recent, before)):
            shares[place][kind] = round(100 * counts[place] / len(part), 2) if part else 0.0
        if len(before) >= FEWEST and counts[0] >= LEAST and _z(counts, (len(recent), len(before))) >= HIGH:
            found.append(kind)
    return Shares(len(recent) + len(before), shares[0], shares[1], tuple(found))


def _z(counts: Sequence[int], sizes: Sequence[int]) -> float:
    p = sum(counts) / sum(sizes)
    spread = sqrt(p * (1 - p) * (1 / sizes[0] + 1 / sizes[1]))
    return (counts[0] / sizes[0] - counts[1] / sizes[1]) / spread if spread else 0.0


def lessons_of(accounts: Path, account: str) -> list[Lesson]:
    """The latest first; none of an account that was never trained. Raises StoreError, sqlite3.Error."""
    path = junk_path(accounts, account)
    if not path.exists():
        return []
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA query_only=1")
        try:
            rows = connection.execute(_LESSONS, (combine.NAME, RECENT + EARLIER)).fetchall()
        except sqlite3.OperationalError:  # of a version without parts: the trainer upgrades it
            return []
    found = []
    for label, data in rows:
        try:
            value = combine.value_of(data)
        except ValueError:  # of another version of the combination
            continue
        found.append(Lesson(label == "spam", value))
    return found


class Watch:
    """Tells of each alarm once, until it is over. count: the worker's counters."""

    def __init__(self, accounts: Path, log: Log, count: Callable[[str, int], None] = lambda name, n: None) -> None:
        self._accounts = accounts
        self._log = log
        self._count = count
        self._told: dict[str, tuple[str, ...]] = {}

    def look(self, account: str) -> None:
        """After lessons of an account."""
        try:
            found = watch(lessons_of(self._accounts, account))
        except sqlite3.Error as error:
            self._log.warn("not watched", account=account, error=str(error))
            return
        for kind in found.alarms:
            if kind not in self._told.get(account, ()):
                self._count("filter_alarms", 1)
                self._log.error(
                    f"{kind}: the filter is contradicted more than it used to be", account=account,
                    recent=found.recent[kind], before=found.before[kind],
                )  # fmt: skip
        self._told.pop(account, None)
        if found.alarms:
            self._told[account] = found.alarms
