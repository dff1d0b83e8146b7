"""An account's junk.db: word counts and totals (F04, F05), the learned parts, and what each trained message has
added to all of them.

    JUNKFILTER    one row: MessageTotal, MessageHam, MessageSpam, Threshold
    WORD          Word, Ham, Spam: in how many trained messages of either kind the word stands; Hash: by `hashing`
    trained       message id -> label, its words' hashes, and its place in the order of training; tokens NULL: folded
    contribution  (message id, part) -> what the message added to a learned part
    part          name -> a learner's state; "<name>.read" what it publishes to classifiers
    waiting       changes of the counts that are not in WORD yet: WORD and these together are what counts
    state         outbox: the last learn_outbox id that was applied; retrain: 1 when parts wait to be filled;
                  commits: goes up by one with each change of the counts

One writer, the trainer (`words.Writer`); any number of readers (`readers.Reader`). A lesson changes hundreds of rows
all over WORD; so it is written to `waiting`, in one piece, and to WORD when nobody waits for it (`Writer.settle`).
Counts are looked up by hash in words.map beside junk.db (`wordmap`), which the writer brings up to date after each
commit; one that is missing, damaged or of another commit is made again when the trainer opens the account, and until
then a reader makes its own in memory. WAL: a reader sees one commit of the trainer or the next, never half of one, and
nobody waits.

A file of version 1 (words only) or 2 (words without hashes) is upgraded where it stands; parts that are not there are
filled by a retraining.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from echomox.filter.counts import wordmap
from echomox.filter.counts.wordmap import Counts, Hashes, Table, Totals
from echomox.filter.hashing import hashes
from echomox.filter.learning.learn import BadRecord, Delta, pack, unpack_strings
from echomox.store.names import account_name

FILE = "junk.db"
VERSION = 3
SCHEMA = """
CREATE TABLE JUNKFILTER (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    MessageTotal INTEGER NOT NULL,
    MessageHam INTEGER NOT NULL,
    MessageSpam INTEGER NOT NULL,
    Threshold REAL NOT NULL
);
INSERT INTO JUNKFILTER VALUES (1, 0, 0, 0, 0.3);
CREATE TABLE WORD (Word TEXT NOT NULL, Ham INTEGER NOT NULL, Spam INTEGER NOT NULL, Hash INTEGER PRIMARY KEY);
CREATE TABLE waiting (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
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
UPGRADE_2 = """
ALTER TABLE WORD RENAME TO WORD_2;
CREATE TABLE WORD (Word TEXT NOT NULL, Ham INTEGER NOT NULL, Spam INTEGER NOT NULL, Hash INTEGER PRIMARY KEY);
CREATE TABLE waiting (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""
READ = ".read"
CACHE_KIB = 2048
BULK_CACHE_KIB = 64 * 1024
"""While an account is retrained."""
CHECKPOINT = 4096
"""Pages of the write-ahead log before it is copied into the file by whoever commits; the trainer does so earlier, when
nobody waits."""
OPEN_ACCOUNTS = 64
ROWS = 20_000
"""That an upgrade has in hand at once."""

Decode = Callable[[str, int, bytes], Any]
"""(part, version, published) -> what stages get; None for a version it does not know."""

_TOTALS = "SELECT MessageTotal, MessageHam, MessageSpam, Threshold FROM JUNKFILTER"
NEW_WORD = """
INSERT INTO WORD (Hash, Word, Ham, Spam) VALUES (?1, ?2, max(0, ?3), max(0, ?4))
ON CONFLICT (Hash) DO UPDATE SET Ham = max(0, Ham + ?3), Spam = max(0, Spam + ?4)"""
IN_ORDER = "SELECT message, label FROM trained ORDER BY position, message"
SIGNED = np.int64


def no_parts(name: str, version: int, data: bytes) -> Any:
    """The Decode of one who asks for words only."""
    return None


def junk_path(accounts: Path, account: str) -> Path:
    """Where an account's junk.db stands; raises StoreError for what is no account name."""
    return accounts / account_name(account) / FILE


def map_path(junk: Path) -> Path:
    """Where the words.map of a junk.db stands."""
    return junk.with_name(wordmap.FILE)


def connect(path: Path) -> sqlite3.Connection:
    quoted = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(f"file:{quoted}?mode=rw", timeout=5.0, isolation_level=None, uri=True)
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def read_totals(connection: sqlite3.Connection) -> Totals:
    return Totals(*connection.execute(_TOTALS).fetchone())


def number(connection: sqlite3.Connection, name: str) -> int:
    row = connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def word_table(connection: sqlite3.Connection) -> Table:
    """The counts of a junk.db, of any version."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version < VERSION:
        rows = connection.execute("SELECT Word, Ham, Spam FROM WORD").fetchall()
        found = hashes([row[0] for row in rows])
        counts = np.array([row[1:] for row in rows], np.int32).reshape(-1, 2)
        keys, first = np.unique(found, return_index=True)
        return wordmap.table_of(keys, counts[first])
    table = wordmap.table_of(*word_rows(connection))
    for delta in waiting(connection):
        table.add(*delta.changes())
    return table


def waiting(connection: sqlite3.Connection) -> list[Delta]:
    """The changes that are not in WORD yet. Raises sqlite3.DatabaseError."""
    try:
        return [Delta.load(data) for (data,) in connection.execute("SELECT data FROM waiting ORDER BY id")]
    except BadRecord as error:
        raise sqlite3.DatabaseError(f"waiting: {error}") from None


def word_rows(connection: sqlite3.Connection) -> tuple[Hashes, Counts]:
    """(hashes, counts) of all rows of WORD."""
    numbers = chain.from_iterable(connection.execute("SELECT Hash, Ham, Spam FROM WORD"))
    rows = np.fromiter(numbers, SIGNED).reshape(-1, 3)
    return rows[:, 0].copy().view(np.uint64), rows[:, 1:].astype(np.int32)


def upgrade(connection: sqlite3.Connection) -> None:
    """Makes the tables, or those of VERSION from older ones. Raises sqlite3.Error."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:
        return
    if version not in (0, 1, 2):
        raise sqlite3.DatabaseError(f"junk.db has version {version}; this program knows {VERSION}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in {0: SCHEMA + PARTS, 1: UPGRADE_1 + PARTS + UPGRADE_2, 2: UPGRADE_2}[version].split(";"):
            connection.execute(statement)
        if version:
            _hash_words(connection)
            _hash_trained(connection)
        # A number that no other file, as one from a backup, has had too.
        connection.execute("INSERT INTO state VALUES ('commits', ?)", (secrets.randbits(60),))
        connection.execute(f"PRAGMA user_version={VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _hash_words(connection: sqlite3.Connection) -> None:
    cursor = connection.execute("SELECT Word, Ham, Spam FROM WORD_2")
    while rows := cursor.fetchmany(ROWS):
        keys = hashes([row[0] for row in rows]).view(SIGNED).tolist()
        connection.executemany(NEW_WORD, [(key, *row) for key, row in zip(keys, rows)])
    connection.execute("DROP TABLE WORD_2")


def _hash_trained(connection: sqlite3.Connection) -> None:
    for (message,) in connection.execute("SELECT message FROM trained WHERE tokens IS NOT NULL").fetchall():
        query = "SELECT tokens FROM trained WHERE message = ?"
        (record,) = connection.execute(query, (message,)).fetchone()
        try:
            packed: bytes | None = pack(np.unique(hashes(unpack_strings(record))))
        except BadRecord:
            packed = None  # as if it was folded
        connection.execute("UPDATE trained SET tokens = ? WHERE message = ?", (packed, message))
