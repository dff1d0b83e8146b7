"""One account's index.db: the connection, its pragmas, the schema's versions, and the write transaction.

Any number of processes and threads use one account, each with a connection of its own. WAL with synchronous=NORMAL:
a commit is atomic, and on disk with the next checkpoint (checkpoint.py); what must be on disk earlier stands in a
journal. Automatic checkpoints are off: an fsync has no place in a statement.

Writers queue for SQLite's lock (BEGIN IMMEDIATE waits up to BUSY_TIMEOUT); transactions are short, and no read
statement is left open between calls, so that no snapshot is too old to write on.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from echomox.store.disk import Disk
from echomox.store.engine import DEFAULT_MAILBOXES, StoreError
from echomox.store.rows.compact import Lexicon, functions
from echomox.store.text.words import fold
from echomox.store.upgrades import VERSION, upgrade

BUSY_TIMEOUT = 5.0
PATIENT = f"PRAGMA busy_timeout={1000 * BUSY_TIMEOUT:.0f}"
FIRST_PAUSE, LAST_PAUSE = 0.0002, 0.005  # seconds between looks whether the writers' lock is free
CACHE_KIB = 1024
WAL_LIMIT = 4 << 20  # a WAL file that was larger is cut back when it starts anew
FILES_PER_DIRECTORY = 8192
UID_BITS = 32
UID_MASK = (1 << UID_BITS) - 1
SCHEMA = Path(__file__).with_name("schema.sql")
CommitHook = Callable[["Database", int], None]


class Busy(StoreError):
    """Another process has held the account's lock for BUSY_TIMEOUT; try later."""


def translate(error: sqlite3.Error) -> Exception:
    """SQLite's trouble as what the interface promises: OSError for the disk, Busy for the lock, else StoreError."""
    text = str(error)
    if "is full" in text:
        return OSError(errno.ENOSPC, text)
    if "disk I/O" in text or "unable to open" in text:
        return OSError(errno.EIO, text)
    if "locked" in text or "busy" in text:
        return Busy(text)
    return StoreError(f"the account's index: {text}")


def connect(path: str) -> sqlite3.Connection:
    """A connection to a database that exists, with the pragmas of the house."""
    connection = sqlite3.connect(
        f"file:{path.replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode=rw",
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,  # the engine keeps to one thread at a time; a connection may be closed in another
        cached_statements=256,
        uri=True,
    )
    for pragma in (
        "synchronous=NORMAL",
        "wal_autocheckpoint=0",
        f"journal_size_limit={WAL_LIMIT}",
        f"cache_size=-{CACHE_KIB}",
        "temp_store=MEMORY",
        "secure_delete=FAST",
    ):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function("fold", 1, fold, deterministic=True)
    for name, function in functions(Lexicon(connection.execute)).items():
        connection.create_function(name, -1, function, deterministic=True)
    return connection


def build(directory: str, name: str, epoch: int) -> None:
    """Writes a new index.db with the default mailboxes into `directory`; nothing is synced."""
    path = os.path.join(directory, "index.db")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    now = time.time()
    validity = int(now)
    connection.executescript(f"BEGIN; {SCHEMA.read_text(encoding='utf-8')}; PRAGMA user_version={VERSION}; COMMIT")
    connection.execute("BEGIN")
    for use in DEFAULT_MAILBOXES.items():
        validity += 1
        connection.execute(
            "INSERT INTO mailbox (name, special_use, uidvalidity, modseq) VALUES (?, ?, ?, 1)", (*use, validity)
        )
        # Clients that show subscribed mailboxes only would show nothing else.
        connection.execute("INSERT INTO subscription (name) VALUES (?)", use[:1])
    connection.execute(
        "INSERT INTO state (one, modseq, next_id, synced_id, uidvalidity, epoch, name, instance, created)"
        " VALUES (1, 1, 1, 1, ?, ?, ?, ?, ?)",
        (validity, epoch, name, secrets.token_hex(8), now),
    )
    connection.execute("COMMIT")
    connection.close()


class Database:
    """The connection of this process to one account; closed when the engine's list of open ones is full, reopened
    on use.

    committed: called after each commit with the modseq to ring the bell for, 0 for none. opened: called with each
    new connection. opinion: what it says of a message to be in a mailbox of that name; see Engine.opinion.
    """

    __slots__ = (
        "_connection", "committed", "directory", "disk", "inode", "lexicon", "name", "opened", "opinion", "path",
    )  # fmt: skip

    def __init__(self, directory: str, name: str, disk: Disk) -> None:
        self.name = name
        self.directory = directory
        self.path = os.path.join(directory, "index.db")
        self.disk = disk
        self.inode = os.stat(self.path).st_ino
        self.committed: CommitHook = lambda database, modseq: None
        self.opened: Callable[[Database], None] = lambda database: None
        self.opinion: Callable[[str], str | None] = lambda mailbox: None
        self.lexicon = Lexicon(self.execute)
        self._connection: sqlite3.Connection | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        return self._connection or self._connect()

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = self._connection = connect(self.path)
            upgrade(connection, self.name)
            self.opened(self)
        except BaseException as error:
            self._connection = None
            if isinstance(error, sqlite3.Error):
                raise translate(error) from error
            raise
        return connection

    def execute(self, statement: str, values: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        """For reading; writes go through `write`."""
        try:
            return self.connection.execute(statement, values)
        except sqlite3.Error as error:
            raise translate(error) from error

    def sync(self) -> None:
        """All that is committed is on disk when this returns."""
        wal = f"{self.path}-wal"
        if os.path.exists(wal):
            self.disk.sync_file(wal)
        self.disk.sync_directory(self.directory)

    def write(self, bell: bool = True) -> Write:
        """bell False: the caller rings for this transaction himself."""
        return Write(self, bell)

    def read(self) -> Read:
        return Read(self)

    def is_connected(self) -> bool:
        return self._connection is not None

    def release(self) -> sqlite3.Connection | None:
        """Takes the connection away, for the caller to close."""
        connection, self._connection = self._connection, None
        return connection

    def file(self, content_id: int) -> str:
        return f"{self.directory}/msg/{content_id // FILES_PER_DIRECTORY:05d}/{content_id}"


class Read:
    """`with database.read():` one snapshot for several SELECTs."""

    __slots__ = ("connection",)

    def __init__(self, database: Database) -> None:
        self.connection = database.connection

    def __enter__(self) -> sqlite3.Connection:
        self.connection.execute("BEGIN")
        return self.connection

    def __exit__(self, *exception: object) -> None:
        self.connection.execute("COMMIT")


class Write:
    """`with database.write() as write:` one transaction; rolled back when the block raises. SQLite's errors come
    out as OSError or Busy. The modseq is taken by the first call of `bump` and is the same for the whole
    transaction."""

    __slots__ = ("bell", "connection", "database", "execute", "executemany", "modseq")

    def __init__(self, database: Database, bell: bool) -> None:
        self.database = database
        self.bell = bell
        self.modseq = 0

    def __enter__(self) -> Write:
        connection = self.connection = self.database.connection
        self.execute = connection.execute
        self.executemany: Callable[[str, Iterable[Sequence[Any]]], sqlite3.Cursor] = connection.executemany
        self._begin()
        return self

    def _begin(self) -> None:
        """SQLite itself would wait 1, 2, 5, 10 and more milliseconds; another's transaction takes less than one."""
        end, pause = 0.0, FIRST_PAUSE
        while True:
            try:
                self.execute("PRAGMA busy_timeout=0")
                self.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.Error as error:
                trouble = translate(error)
                now = time.monotonic()
                end = end or now + BUSY_TIMEOUT
                if not isinstance(trouble, Busy) or now >= end:
                    raise trouble from error
            finally:
                self.execute(PATIENT)
            time.sleep(pause)
            pause = min(1.5 * pause, LAST_PAUSE)

    def bump(self) -> int:
        if not self.modseq:
            row = self.execute("UPDATE state SET modseq = modseq + 1 RETURNING modseq").fetchall()
            self.modseq = row[0][0]
        return self.modseq

    def current_modseq(self) -> int:
        return self.modseq or self.execute("SELECT modseq FROM state").fetchone()[0]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self.database.disk.step("commit", self.database.path)
                self.execute("COMMIT")
            except BaseException as trouble:
                self.rollback()
                if isinstance(trouble, sqlite3.Error):
                    raise translate(trouble) from trouble
                raise
            self.database.disk.step("committed", self.database.path)
            self.database.committed(self.database, self.modseq if self.bell else 0)
            return
        self.rollback()
        if isinstance(error, sqlite3.Error):
            raise translate(error) from error

    def rollback(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
