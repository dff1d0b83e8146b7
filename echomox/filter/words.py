"""An account's junk.db: word counts and totals (F04, F05), the learned parts, and what each trained message has
added to all of them.

    JUNKFILTER    one row: MessageTotal, MessageHam, MessageSpam, Threshold
    WORD          Word, Ham, Spam: in how many trained messages of either kind the word stands
    trained       message id -> label, packed tokens, and its place in the order of training; tokens NULL: folded
    contribution  (message id, part) -> what the message added to a learned part
    part          name -> a learner's state; "<name>.read" what it publishes to classifiers
    state         outbox: the last learn_outbox id that was applied; retrain: 1 when parts wait to be filled

One writer, the trainer (`Writer`); any number of readers (`Reader`), which remember counts and decoded parts until
the file changes. WAL: a reader sees one commit of the trainer or the next, never half of one, and nobody waits.
A file of version 1 (words only) is upgraded where it stands; its learned parts are filled by a retraining.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

from echomox.filter.context import Counts
from echomox.filter.learn import Delta, pack, unpack
from echomox.store.names import account_name

FILE = "junk.db"
VERSION = 2
SCHEMA = """
CREATE TABLE JUNKFILTER (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    MessageTotal INTEGER NOT NULL,
    MessageHam INTEGER NOT NULL,
    MessageSpam INTEGER NOT NULL,
    Threshold REAL NOT NULL
);
INSERT INTO JUNKFILTER VALUES (1, 0, 0, 0, 0.3);
CREATE TABLE WORD (Word TEXT PRIMARY KEY, Ham INTEGER NOT NULL, Spam INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE trained (
    message INTEGER PRIMARY KEY, label TEXT NOT NULL, tokens BLOB, position INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO state VALUES ('outbox', 0), ('retrain', 0);
"""
PARTS = """
CREATE INDEX trained_position ON trained (position);
CREATE TABLE part (name TEXT PRIMARY KEY, version INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE contribution (
    message INTEGER NOT NULL, part TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (message, part)
);
"""
UPGRADE_1 = """
ALTER TABLE trained RENAME TO trained_1;
CREATE TABLE trained (
    message INTEGER PRIMARY KEY, label TEXT NOT NULL, tokens BLOB, position INTEGER NOT NULL DEFAULT 0
);
INSERT INTO trained SELECT message, label, tokens, message FROM trained_1;
DROP TABLE trained_1;
INSERT INTO state VALUES ('retrain', 1);
"""
READ = ".read"
CACHE_KIB = 2048
REMEMBERED_WORDS = 20_000
"""So many words of one account a reader remembers, and those of the time before that it still has use for."""
OPEN_ACCOUNTS = 64

Decode = Callable[[str, int, bytes], Any]
"""(part, version, published) -> what stages get; None for a version it does not know."""

_TOTALS = "SELECT MessageTotal, MessageHam, MessageSpam, Threshold FROM JUNKFILTER"
_LOOK_UP = "SELECT Word, Ham, Spam FROM json_each(?) AS wanted CROSS JOIN WORD ON Word = wanted.value"
_REMEMBER = """
INSERT INTO trained VALUES (?1, ?2, ?3, (SELECT coalesce(max(position), 0) + 1 FROM trained))
ON CONFLICT (message) DO UPDATE SET label = ?2, tokens = ?3, position = excluded.position"""
_PUT_PART = "INSERT INTO part VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE SET version = ?2, data = ?3"
_ADD_WORD = """
INSERT INTO WORD VALUES (?1, max(0, ?2), max(0, ?3))
ON CONFLICT (Word) DO UPDATE SET Ham = max(0, Ham + ?2), Spam = max(0, Spam + ?3)"""
_ADD_TOTALS = """
UPDATE JUNKFILTER SET MessageHam = max(0, MessageHam + ?1), MessageSpam = max(0, MessageSpam + ?2),
                      MessageTotal = max(0, MessageHam + ?1) + max(0, MessageSpam + ?2)"""


def no_parts(name: str, version: int, data: bytes) -> Any:
    """The Decode of one who asks for words only."""
    return None


def junk_path(accounts: Path, account: str) -> Path:
    """Where an account's junk.db stands; raises StoreError for what is no account name."""
    return accounts / account_name(account) / FILE


def connect(path: Path) -> sqlite3.Connection:
    quoted = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(f"file:{quoted}?mode=rw", timeout=5.0, isolation_level=None, uri=True)
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


class Totals(NamedTuple):
    """The row of JUNKFILTER."""

    total: int
    ham: int
    spam: int
    threshold: float


NOTHING = Totals(0, 0, 0, 0.3)


def _totals(connection: sqlite3.Connection) -> Totals:
    row = connection.execute("SELECT MessageTotal, MessageHam, MessageSpam, Threshold FROM JUNKFILTER").fetchone()
    return Totals(*row)


_UNASKED: tuple[int, int] = (-1, -1)
"""Stands for a word that was not looked up yet; compared by identity."""


class Counter:
    """Looks words up in one connection and remembers them, known or not."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[str, tuple[int, int] | None] = {}
        self._older = self._known

    def forget(self) -> None:
        self._known, self._older = {}, {}

    def counts(self, words: Sequence[str]) -> Counts:
        """The known ones of `words`, in their order."""
        known = self._known
        values = list(map(known.get, words, repeat(_UNASKED)))
        if _UNASKED in values:
            self._learn([word for word, value in zip(words, values) if value is _UNASKED])
            values = list(map(known.get, words))
        found = {word: value for word, value in zip(words, values) if value}
        if len(known) > REMEMBERED_WORDS:
            self._known, self._older = {}, known
        return found

    def _learn(self, words: list[str]) -> None:
        """Makes `words` known, from what was known before or from the file."""
        known, older = self._known, self._older
        unknown = []
        for word in words:
            if word in older:
                known[word] = older[word]
            else:
                known[word] = None
                unknown.append(word)
        if unknown:
            # ensure_ascii=False: half the bytes; tokens are valid UTF-8
            wanted = json.dumps(unknown, ensure_ascii=False)
            for word, ham, spam in self._connection.execute(_LOOK_UP, (wanted,)):
                known[word] = (ham, spam)


class Trained(NamedTuple):
    """A message the counts hold. tokens: None when it was folded, see `Writer.fold`."""

    label: str
    tokens: list[str] | None


class Writer:
    """The trainer's hand on one account. Not to be used by two processes at once."""

    def __init__(self, path: Path) -> None:
        """Makes the file when there is none; its directory must be there. Raises OSError, sqlite3.Error."""
        fresh = not path.exists()
        if fresh:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._connection = connect(path)
        self._connection.execute("PRAGMA journal_mode=WAL")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._connection.executescript(f"BEGIN; {SCHEMA} {PARTS} PRAGMA user_version={VERSION}; COMMIT;")
        elif version == 1:
            self._connection.executescript(f"BEGIN; {UPGRADE_1} {PARTS} PRAGMA user_version={VERSION}; COMMIT;")
        elif version != VERSION:
            self._connection.close()
            raise sqlite3.DatabaseError(f"junk.db has version {version}; this program knows {VERSION}")
        self._counter = Counter(self._connection)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._counter.forget()
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def totals(self) -> Totals:
        return _totals(self._connection)

    def counts(self, words: Sequence[str]) -> Counts:
        """The known ones of `words`, as the file has them; remembered until `apply`."""
        return self._counter.counts(words)

    def number(self, name: str) -> int:
        """A row of `state`: "outbox", the last outbox id that was applied, or "retrain"."""
        row = self._connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def set_number(self, name: str, value: int) -> None:
        self._connection.execute("UPDATE state SET value = ? WHERE name = ?", (value, name))

    def set_threshold(self, threshold: float) -> None:
        self._connection.execute("UPDATE JUNKFILTER SET Threshold = ? WHERE Threshold != ?", (threshold, threshold))

    # -- trained messages

    def trained(self, message: int) -> Trained | None:
        """What a message the counts hold has added to them; None for one they do not. Raises BadRecord."""
        found = self._connection.execute("SELECT label, tokens FROM trained WHERE message = ?", (message,))
        row = found.fetchone()
        return Trained(row[0], None if row[1] is None else unpack(row[1])) if row else None

    def remember(self, message: int, label: str, tokens: Sequence[str]) -> None:
        self._connection.execute(_REMEMBER, (message, label, pack(tokens)))

    def forget(self, message: int) -> None:
        self._connection.execute("DELETE FROM trained WHERE message = ?", (message,))
        self._connection.execute("DELETE FROM contribution WHERE message = ?", (message,))

    def in_order(self) -> list[tuple[int, str]]:
        """(message, label) of all trained messages in the order of their training."""
        return self._connection.execute("SELECT message, label FROM trained ORDER BY position, message").fetchall()

    def fold(self, keep: int) -> int:
        """Forgets what the oldest trained messages have added, all but the `keep` newest: it stays in the sums for
        good. Returns how many."""
        run = self._connection
        last = run.execute("SELECT position FROM trained ORDER BY position DESC LIMIT 1 OFFSET ?", (keep,)).fetchone()
        if last is None:
            return 0
        old = "SELECT message FROM trained WHERE position <= ? AND tokens IS NOT NULL"
        run.execute(f"DELETE FROM contribution WHERE message IN ({old})", last)  # noqa: S608 - a constant
        return run.execute("UPDATE trained SET tokens = NULL WHERE position <= ? AND tokens IS NOT NULL", last).rowcount

    # -- counts

    def apply(self, delta: Delta) -> None:
        """Adds to the counts; words that nothing holds any more are gone. Within a transaction."""
        run = self._connection
        rows = delta.rows()
        run.executemany(_ADD_WORD, rows)
        less = [(word,) for word, ham, spam in rows if ham < 0 or spam < 0]
        run.executemany("DELETE FROM WORD WHERE Word = ? AND Ham <= 0 AND Spam <= 0", less)
        run.execute(_ADD_TOTALS, (delta.ham, delta.spam))
        self._counter.forget()

    def clear(self) -> None:
        """All sums empty, the order of training begins anew; the trained messages stay. Within a transaction."""
        run = self._connection
        run.execute("DELETE FROM WORD")
        run.execute("DELETE FROM part")
        run.execute("UPDATE trained SET position = 0")
        run.execute("UPDATE JUNKFILTER SET MessageTotal = 0, MessageHam = 0, MessageSpam = 0")
        self._counter.forget()

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

    def put_contributions(self, message: int, contributions: Mapping[str, bytes]) -> None:
        rows = [(message, name, data) for name, data in contributions.items()]
        self._connection.executemany("INSERT OR REPLACE INTO contribution VALUES (?, ?, ?)", rows)

    def drop_contributions(self, part: str) -> None:
        self._connection.execute("DELETE FROM contribution WHERE part = ?", (part,))


class Reader:
    """One account for a classifier: totals, counts and decoded parts, remembered until the trainer commits."""

    def __init__(self, path: Path, decode: Decode = no_parts) -> None:
        """Raises OSError when there is none, sqlite3.Error when it cannot be read."""
        self.inode = path.stat().st_ino
        self._connection = connect(path)
        self._connection.execute("PRAGMA query_only=1")
        self._decode = decode
        self._version = -1
        self._counter = Counter(self._connection)
        self._models: dict[str, Any] = {}
        self._totals = NOTHING

    def close(self) -> None:
        self._connection.close()

    def totals(self) -> Totals:
        """Looks whether the file has changed; what `counts` and `model` give belongs to these totals."""
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._counter.forget()
            self._models = {}
            self._totals = _totals(self._connection)
            self._version = version
        return self._totals

    def counts(self, words: Sequence[str]) -> Counts:
        """The known ones of `words`, in their order."""
        return self._counter.counts(words)

    def model(self, name: str) -> Any:
        """The read-out of a learned part, decoded; None when there is none. Raises ValueError when it is broken."""
        if name not in self._models:
            self._models[name] = self._read(name)
        return self._models[name]

    def _read(self, name: str) -> Any:
        try:
            found = self._connection.execute("SELECT version, data FROM part WHERE name = ?", (name + READ,)).fetchone()
        except sqlite3.OperationalError:  # of version 1: the trainer has not opened it yet
            return None
        return self._decode(name, found[0], found[1]) if found else None

    def word(self, word: str) -> tuple[int, int]:
        row = self._connection.execute("SELECT Ham, Spam FROM WORD WHERE Word = ?", (word,)).fetchone()
        return (row[0], row[1]) if row else (0, 0)

    def size(self) -> tuple[int, int]:
        """(words, last outbox id applied); counts the table, for people only."""
        words = self._connection.execute("SELECT count(*) FROM WORD").fetchone()[0]
        outbox = self._connection.execute("SELECT value FROM state WHERE name = 'outbox'").fetchone()[0]
        return words, outbox

    def sizes(self) -> dict[str, int]:
        """Bytes by name: of each part, and of all contributions; for people only."""
        found = dict(self._connection.execute("SELECT name, length(data) FROM part ORDER BY name").fetchall())
        total = self._connection.execute("SELECT coalesce(sum(length(data)), 0) FROM contribution").fetchone()[0]
        return found | {"contributions": total}


class Readers:
    """The readers a process has open, by account; the longest unused one is closed."""

    def __init__(self, accounts: Path, decode: Decode = no_parts, most: int = OPEN_ACCOUNTS) -> None:
        self._accounts = accounts
        self._decode = decode
        self._most = most
        self._open: OrderedDict[str, Reader] = OrderedDict()

    def get(self, account: str) -> Reader | None:
        """None for an account that has not been trained. Raises sqlite3.Error, StoreError for a bad name."""
        path = junk_path(self._accounts, account)
        reader = self._open.get(account)
        try:
            inode = os.stat(path).st_ino
        except (FileNotFoundError, NotADirectoryError):
            self.forget(account)
            return None
        if reader is not None and reader.inode == inode:
            self._open.move_to_end(account)
            return reader
        self.forget(account)
        reader = self._open[account] = Reader(path, self._decode)
        if len(self._open) > self._most:
            self._open.popitem(last=False)[1].close()
        return reader

    def forget(self, account: str) -> None:
        """Closes an account's reader, as after an error."""
        reader = self._open.pop(account, None)
        if reader:
            reader.close()

    def close(self) -> None:
        for account in list(self._open):
            self.forget(account)
