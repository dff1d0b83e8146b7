"""An account's junk.db and words.map in the hands of the trainer (`Writer`); those who classify have `readers`. What
stands in them, and why, is told in `junkdb` and `wordmap`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from echomox.filter.counts import wordmap
from echomox.filter.counts.junkdb import (
    BULK_CACHE_KIB,
    CHECKPOINT,
    FILE,
    IN_ORDER,
    NEW_WORD,
    PARTS,
    READ,
    SCHEMA,
    SIGNED,
    VERSION,
    connect,
    junk_path,
    map_path,
    number,
    read_totals,
    upgrade,
    waiting,
    word_rows,
    word_table,
)  # fmt: skip
from echomox.filter.counts.wordmap import NOTHING, Counts, Hashes, Table, Totals, WordMap
from echomox.filter.learning.learn import Delta, pack, unpack

__all__ = [
    "FILE", "NOTHING", "PARTS", "READ", "SCHEMA", "VERSION", "Trained", "Writer", "connect",
    "junk_path", "map_path",
]  # fmt: skip

_REMEMBER = """
INSERT INTO trained VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (message) DO UPDATE SET label = ?2, tokens = ?3, position = ?4"""
_ADDED_SINCE = """
SELECT label, part, data FROM trained CROSS JOIN contribution USING (message) WHERE position > ? ORDER BY position"""
_PUT_PART = "INSERT INTO part VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE SET version = ?2, data = ?3"
_ADD_WORD = "UPDATE WORD SET Ham = max(0, Ham + ?2), Spam = max(0, Spam + ?3) WHERE Hash = ?1"
_SET_WORD = "UPDATE WORD SET Ham = ?2, Spam = ?3 WHERE Hash = ?1"
_ADD_TOTALS = """
UPDATE JUNKFILTER SET MessageHam = max(0, MessageHam + ?1), MessageSpam = max(0, MessageSpam + ?2),
                      MessageTotal = max(0, MessageHam + ?1) + max(0, MessageSpam + ?2)"""


_ASKED = 500
"""Messages that are asked for at once."""


class Trained(NamedTuple):
    """A message the counts hold. tokens: hashes of its words; None when it was folded, see `Writer.fold`."""

    label: str
    tokens: Hashes | None


def _rows(keys: Hashes, counts: Counts, chosen: wordmap.Flags) -> Iterator[tuple[int, int, int]]:
    """(hash as SQLite has it, ham, spam)."""
    found = counts[chosen]
    return zip(keys[chosen].view(SIGNED).tolist(), found[:, 0].tolist(), found[:, 1].tolist())


def _named(
    rows: Iterator[tuple[int, int, int]], words: Sequence[str | None]
) -> Iterator[tuple[int, str, int, int]]:
    """Rows of new words that count; one of which only the hash is left is named by that."""
    for (key, ham, spam), word in zip(rows, words):
        if ham > 0 or spam > 0:
            yield key, word or f"#{key % (1 << 64):016x}", ham, spam


class Writer:
    """The trainer's hand on one account. Not to be used by two processes at once."""

    def __init__(self, path: Path) -> None:
        """Makes the file when there is none; its directory must be there. Raises OSError, sqlite3.Error."""
        fresh = not path.exists()
        if fresh:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._map_path = map_path(path)
        self._connection = connect(path)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT}")
        try:
            upgrade(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self.inode = path.stat().st_ino
        self._version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        self._changed: tuple[Hashes, Counts] | None = None
        """What a transaction has added to the counts."""
        self._replaced: Table | None = None
        self._before: Table | None = None
        waits = self._connection.execute("SELECT coalesce(sum(length(data)), 0) FROM waiting").fetchone()[0]
        self._waits = int(waits) // 16
        self._words: WordMap | Table | None = None
        """Opened when it is asked for; a Table when no file could be written."""

    def close(self) -> None:
        self._words = None
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Readers see the whole of it when it is over, or nothing of it when it raises."""
        self._changed = self._replaced = None
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._stamp()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._publish()

    def _stamp(self) -> None:
        if self._changed is not None or self._replaced is not None:
            self._connection.execute("UPDATE state SET value = value + 1 WHERE name = 'commits'")

    @property
    def alone(self) -> bool:
        """Whether no other connection has changed the file since it was opened."""
        return bool(self._connection.execute("PRAGMA data_version").fetchone()[0] == self._version)

    def totals(self) -> Totals:
        return read_totals(self._connection)

    # -- counts by hash

    def lookup(self, wanted: Hashes) -> Counts:
        """The counts of words as of the last commit; 0, 0 for those that are not known."""
        return self._map().lookup(wanted)

    def _map(self) -> WordMap | Table:
        if self._words is None:
            found = wordmap.opened(self._map_path, True, self._commits)
            if found is not None and found.check():
                self._words = found
            else:
                return self._write_map(word_table(self._connection))
        return self._words

    def mend(self) -> None:
        """Makes words.map when it is missing, damaged, or of another commit."""
        self._map()

    def _commits(self) -> int:
        return number(self._connection, "commits")

    def _write_map(self, table: Table) -> WordMap | Table:
        """A new file, of what is committed; the table itself when the disk is full, as readers do then."""
        self._words = None
        try:
            wordmap.write(self._map_path, table, self.totals(), self._commits())
            self._words = wordmap.opened(self._map_path, True)
        except OSError:
            self._map_path.unlink(missing_ok=True)
        if self._words is None:
            self._words = table
        return self._words

    def _publish(self) -> None:
        """Lets words.map follow the commit."""
        changed, replaced = self._changed, self._replaced
        self._changed = self._replaced = None
        words = self._words
        if replaced is not None:
            self._write_map(replaced)
        elif changed is not None and words is None:
            self.mend()
        elif changed is not None and words is not None:
            keys, more = changed
            counts = np.maximum(words.lookup(keys) + more, 0)
            if isinstance(words, Table):
                words.add(keys, counts - words.lookup(keys))
            elif not words.change(keys, counts, self.totals(), self._commits()):
                table = words.table.copy()
                table.add(keys, counts - table.lookup(keys))
                self._write_map(table)

    def checkpoint(self) -> None:
        """Copies the log into the file, as far as readers let it."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def in_bulk(self) -> None:
        """Memory for many changes in one transaction."""
        self._connection.execute(f"PRAGMA cache_size=-{BULK_CACHE_KIB}")

    def number(self, name: str) -> int:
        """A row of `state`: "outbox", the last outbox id that was applied, or "retrain"."""
        return number(self._connection, name)

    def set_number(self, name: str, value: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO state VALUES (?2, ?1)", (value, name))

    def set_threshold(self, threshold: float) -> None:
        self._connection.execute("UPDATE JUNKFILTER SET Threshold = ? WHERE Threshold != ?", (threshold, threshold))

    # -- trained messages

    def trained(self, message: int) -> Trained | None:
        """What a message the counts hold has added to them; None for one they do not. Raises BadRecord."""
        found = self._connection.execute("SELECT label, tokens FROM trained WHERE message = ?", (message,))
        row = found.fetchone()
        return Trained(row[0], None if row[1] is None else unpack(row[1])) if row else None

    def which(self, messages: Collection[int]) -> set[int]:
        """Those of them that the counts hold."""
        every = list(messages)
        found: set[int] = set()
        for start in range(0, len(every), _ASKED):
            some = every[start : start + _ASKED]
            query = f"SELECT message FROM trained WHERE message IN ({','.join('?' * len(some))})"  # noqa: S608 - marks
            found.update(row[0] for row in self._connection.execute(query, some))
        return found

    def remember(self, lessons: Sequence[tuple[int, str, Hashes]]) -> None:
        """(message, label, its words) in the order of training."""
        last = self.last_position()
        rows = [(message, label, pack(words), last + at) for at, (message, label, words) in enumerate(lessons, 1)]
        self._connection.executemany(_REMEMBER, rows)

    def forget(self, message: int) -> None:
        self._connection.execute("DELETE FROM trained WHERE message = ?", (message,))
        self._connection.execute("DELETE FROM contribution WHERE message = ?", (message,))

    def in_order(self) -> list[tuple[int, str]]:
        """(message, label) of all trained messages in the order of their training."""
        return self._connection.execute(IN_ORDER).fetchall()

    def fold(self, keep: int, last: int) -> int:
        """Forgets what the oldest trained messages have added, all but the `keep` newest, up to the one at the place
        `last`: it stays in the sums for good. Returns how many."""
        run = self._connection
        newest = "SELECT position FROM trained ORDER BY position DESC LIMIT 1 OFFSET ?"
        found = run.execute(newest, (keep,)).fetchone()
        if found is None:
            return 0
        limit = (min(last, found[0]),)
        old = "SELECT message FROM trained WHERE position <= ? AND tokens IS NOT NULL"
        run.execute(f"DELETE FROM contribution WHERE message IN ({old})", limit)  # noqa: S608 - a constant
        done = run.execute("UPDATE trained SET tokens = NULL WHERE position <= ? AND tokens IS NOT NULL", limit)
        return done.rowcount

    # -- counts

    def apply(self, delta: Delta) -> None:
        """Adds to the counts; words that nothing holds any more are gone. Once in a transaction."""
        assert self._changed is None
        changed = delta.changes()
        if len(changed[0]):
            self._connection.execute("INSERT INTO waiting (data) VALUES (?)", (delta.dump(changed),))
            self._waits += len(changed[0])
        self._connection.execute(_ADD_TOTALS, (delta.ham, delta.spam))
        self._changed = changed

    @property
    def waits(self) -> int:
        """How many changes of words `settle` has to do, about."""
        return self._waits

    def settle(self) -> None:
        """Puts what waits into WORD; within a transaction of its own. Nobody sees a difference."""
        total = Delta()
        total.reserve(self._waits)
        for delta in waiting(self._connection):
            total.merge(delta)
        self._put_words(total)
        self._connection.execute("DELETE FROM waiting")
        self._waits = 0

    def _put_words(self, total: Delta) -> None:
        """Changes WORD; of a word that is not there, and whose spelling is not known, nothing is kept."""
        keys, more = total.changes()
        if not len(keys):
            return
        place = np.argsort(keys.view(SIGNED))  # as the table keeps them
        keys, more = keys[place], more[place]
        words = total.spelled.of(keys)
        named = np.array([word is not None for word in words], np.bool_)
        gone = more.min(axis=1) < 0
        named &= more.max(axis=1) > 0  # a word may be spelled anew, and yet be held by fewer messages than before
        self._connection.executemany(_ADD_WORD, _rows(keys, more, ~named))
        self._connection.executemany(NEW_WORD, _named(_rows(keys, more, named), list(compress(words, named))))
        less = [(key,) for key in keys[gone].view(SIGNED).tolist()]
        self._connection.executemany("DELETE FROM WORD WHERE Hash = ? AND Ham <= 0 AND Spam <= 0", less)

    def replace(self, delta: Delta) -> None:
        """Makes the counts what delta says, whatever they were. Once in a transaction, with `clear` before."""
        assert self._before is not None
        before, self._before = self._before, None
        keys = before.hashes[before.hashes != 0]
        known, wanted = before.lookup(keys), delta.lookup(keys)
        other = np.abs(wanted - known).max(axis=1, initial=0) > 0
        gone = wanted.max(axis=1, initial=0) == 0
        self._connection.executemany(_SET_WORD, _rows(keys, wanted, other & ~gone))
        less = [(key,) for key in keys[gone].view(SIGNED).tolist()]
        self._connection.executemany("DELETE FROM WORD WHERE Hash = ?", less)
        all_keys, counts = delta.changes()
        fresh = np.flatnonzero(before.find(all_keys) < 0)
        fresh = fresh[np.argsort(all_keys[fresh].view(SIGNED))]
        every = np.ones(len(fresh), np.bool_)
        words = delta.spelled.of(all_keys[fresh])
        self._connection.executemany(NEW_WORD, _named(_rows(all_keys[fresh], counts[fresh], every), words))
        self._connection.execute(_ADD_TOTALS, (delta.ham, delta.spam))
        self._connection.execute("DELETE FROM waiting")
        self._waits = 0
        self._replaced = wordmap.table_of(all_keys, counts)

    def clear(self) -> Table:
        """The order of training begins anew, the learned parts and totals are empty; the trained messages stay, and
        the words until `replace`: the rows of WORD are returned. Within a transaction."""
        run = self._connection
        self._before = wordmap.table_of(*word_rows(run))
        run.execute("DELETE FROM part")
        run.execute("UPDATE trained SET position = 0")
        run.execute("UPDATE JUNKFILTER SET MessageTotal = 0, MessageHam = 0, MessageSpam = 0")
        return self._before

    # -- learned parts

    def part(self, name: str) -> tuple[int, bytes] | None:
        """(version, data)."""
        row = self._connection.execute("SELECT version, data FROM part WHERE name = ?", (name,)).fetchone()
        return (row[0], row[1]) if row else None

    def put_part(self, name: str, version: int, data: bytes) -> None:
        self._connection.execute(_PUT_PART, (name, version, data))

    def contributions(self, message: int) -> dict[str, bytes]:
        """By part."""
        found = self._connection.execute("SELECT part, data FROM contribution WHERE message = ?", (message,))
        return dict(found.fetchall())

    def put_contributions(self, added: Sequence[tuple[int, Mapping[str, bytes]]]) -> None:
        """(message, what it added by part)."""
        rows = [(message, name, data) for message, contributions in added for name, data in contributions.items()]
        self._connection.executemany("INSERT OR REPLACE INTO contribution VALUES (?, ?, ?)", rows)

    def added_since(self, position: int) -> list[tuple[str, str, bytes]]:
        """(label, part, contribution) of the messages trained after that place in the order of training."""
        return self._connection.execute(_ADDED_SINCE, (position,)).fetchall()

    def last_position(self) -> int:
        """Of the message trained last; 0 when there is none."""
        return int(self._connection.execute("SELECT coalesce(max(position), 0) FROM trained").fetchone()[0])

    def drop_contributions(self, part: str) -> None:
        self._connection.execute("DELETE FROM contribution WHERE part = ?", (part,))
