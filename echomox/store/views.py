"""Reading: the picture of a mailbox at SELECT, what changed since, rows for FETCH, a message's bytes. Functions
over a Database.

`fetch` reads in chunks, each a complete statement: nothing is left open between two calls, so that the caller may
pause, and write, between rows. Columns of `content` are joined only when asked for.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from echomox.store import mailboxes
from echomox.store.content import FileContent
from echomox.store.database import UID_BITS, UID_MASK, Database, Read, Write
from echomox.store.engine import COLUMNS, ID_DIGITS, Changes, Mailbox, NoSuchMailbox, Selected, StoreError
from echomox.store.flags import SEEN
from echomox.store.rows import backlog, compact, previews

_INSTANCE = f"(SELECT substr(instance, 1, {ID_DIGITS}) || '-' FROM state)"
HOT = {
    "id": "m.id",
    "uid": f"m.key & {UID_MASK}",
    "modseq": "m.modseq",
    "flags": "m.flags",
    "keywords": "m.keywords",
    "size": "m.size",
    "received": "m.received",
    "saved": "m.saved",
    "content": "m.content",
    "email_id": f"{_INSTANCE} || m.content",
    "thread_id": f"{_INSTANCE} || coalesce((SELECT s.thread FROM sorting s WHERE s.content = m.content), m.content)",
}
HOT_CHUNK = 2000  # rows of a statement when only the message table is read
COLD_CHUNK = 200  # with content, some KiB a row
MAX_UID = UID_MASK
Values = tuple[Any, ...]
Chunk = tuple[int, Callable[[Sequence[Any], compact.Lexicon], Values] | None]


def modseq(database: Database) -> int:
    return int(database.execute("SELECT modseq FROM state").fetchone()[0])


def select(database: Database, mailbox_id: int, claim: bool) -> Selected:
    low = mailbox_id << UID_BITS
    whole = (low, low | UID_MASK)
    with Read(database) as connection:
        mailbox = mailboxes.by_id(database, mailbox_id)
        uids = _uids(connection, mailbox)
        first_unseen = 0
        if mailbox.unseen:
            statement = (
                f"SELECT key & {UID_MASK} FROM message WHERE key BETWEEN ? AND ? AND NOT flags & {SEEN}"
                " ORDER BY key LIMIT 1"
            )
            first_unseen = (connection.execute(statement, whole).fetchone() or (0,))[0]
        words = connection.execute("SELECT name FROM mailbox_keyword WHERE mailbox_id = ? ORDER BY name", (mailbox_id,))
        keywords = tuple(word for (word,) in words.fetchall())
        now = modseq(database)
    recent = claim_recent(database, mailbox_id, mailbox.uidnext) if claim else mailbox.recent
    return Selected(mailbox, uids, recent, first_unseen, keywords, now)


def _uids(connection: sqlite3.Connection, mailbox: Mailbox) -> array[int]:
    """All of a mailbox, ascending. Where fewer UIDs are gone than there are messages, these are the ones without a
    tombstone: every UID below UIDNEXT is of a message or has one, or else their numbers do not add up."""
    given = mailbox.uidnext - 1
    if given - mailbox.total < mailbox.total:
        gone = _numbers(connection, "expunged WHERE mailbox_id = ?", (mailbox.id,))
        if given - len(gone) == mailbox.total and (not len(gone) or gone.max() <= given):
            there = np.ones(given + 1, bool)
            there[0] = False
            there[gone] = False
            return array("I", np.flatnonzero(there).astype(np.uint32).tobytes())
    low = mailbox.id << UID_BITS
    found = _numbers(connection, "message WHERE key BETWEEN ? AND ?", (low, low | UID_MASK))
    return array("I", np.sort(found).astype(np.uint32).tobytes())


def _numbers(connection: sqlite3.Connection, table: str, values: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """UIDs of the rows of a table, in any order. As one text: as rows they would take five times as long."""
    (text,) = connection.execute(f"SELECT group_concat(key & {UID_MASK}) FROM {table}", values).fetchone()
    return np.fromstring(text, np.int64, sep=",") if text else np.empty(0, np.int64)


def claim_recent(database: Database, mailbox_id: int, below: int) -> int:
    """Raises `recent` to `below`; returns what it was. A full disk keeps nobody from reading: another session is shown
    the same messages as \\Recent then (RFC 3501 2.3.2)."""
    recent = _recent(database, mailbox_id)
    if recent >= below:
        return recent
    with suppress(OSError), database.write(bell=False) as write:
        recent = _recent(write, mailbox_id)
        write.execute("UPDATE mailbox SET recent = max(recent, ?) WHERE id = ?", (below, mailbox_id))
    return recent


def _recent(database: Database | Write, mailbox_id: int) -> int:
    row = database.execute("SELECT recent FROM mailbox WHERE id = ?", (mailbox_id,)).fetchone()
    if row is None:
        raise NoSuchMailbox("the mailbox was deleted")
    return int(row[0])


def changes(database: Database, mailbox_id: int, since: int) -> Changes:
    now = modseq(database)
    if now <= since:
        return Changes(now, [], [])
    with Read(database) as connection:
        now = modseq(database)
        changed = connection.execute(
            f"SELECT key & {UID_MASK}, flags, keywords, modseq FROM message"
            " WHERE mailbox_id = ? AND modseq > ? ORDER BY key",
            (mailbox_id, since),
        ).fetchall()
        gone = connection.execute(
            f"SELECT key & {UID_MASK} FROM expunged WHERE mailbox_id = ? AND modseq > ? ORDER BY key",
            (mailbox_id, since),
        ).fetchall()
        renamed = mailboxes.renamed_since(connection, mailbox_id, since)
    return Changes(now, changed, [uid for (uid,) in gone], renamed)


def fetch(
    database: Database, mailbox_id: int, low: int, high: int, columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    if any(column not in COLUMNS for column in columns):
        raise ValueError(f"unknown column in {columns}")
    if "preview" in columns:
        return previews.filled(database, _fetch(database, mailbox_id, (low, high), previews.more(columns)), columns)
    return _fetch(database, mailbox_id, (low, high), columns)


def _fetch(
    database: Database, mailbox_id: int, uids: tuple[int, int], columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """columns: as `previews.more` has them."""
    low, high = uids
    hot = all(column in HOT for column in columns)
    chosen, build = compact.shape(columns, {**HOT, **previews.SELECTED})
    join = "" if hot else "JOIN content c ON c.id = m.content "
    size = HOT_CHUNK if hot else COLD_CHUNK
    statement = (
        f"SELECT {', '.join(chosen)}, m.key FROM message m {join}WHERE m.key BETWEEN ? AND ?"
        f" ORDER BY m.key LIMIT {size}"
    )
    base = mailbox_id << UID_BITS
    bounds = (base + min(max(low, 0), MAX_UID), base + min(max(high, 0), MAX_UID))
    chunk = (size, None if hot else build)
    if "thread_id" in columns and backlog.is_unsorted(database):
        return _threads_first(database, statement, bounds, chunk)
    return rows_of(database, statement, bounds, chunk)


def _threads_first(database: Database, statement: str, bounds: tuple[int, int], chunk: Chunk) -> Iterator[Values]:
    """The rows, each piece of them once its messages have their threads."""
    low, high = bounds
    pieces = f"SELECT key, content FROM message WHERE key BETWEEN ? AND ? ORDER BY key LIMIT {backlog.PIECE}"
    while found := database.execute(pieces, (low, high)).fetchall():
        backlog.sort_these(database, sorted({content for _, content in found}))
        yield from rows_of(database, statement, (low, found[-1][0]), chunk)
        low = found[-1][0] + 1


def rows_of(database: Database, statement: str, bounds: tuple[int, int], chunk: Chunk) -> Iterator[Values]:
    """chunk: how many rows the statement gives at most, and what makes values of a row that are not all as kept. The
    last column is what the rows are in the order of."""
    low, high = bounds
    size, build = chunk
    while low <= high:
        rows = database.execute(statement, (low, high)).fetchall()
        if build is None:
            for row in rows:
                yield row[:-1]
        else:
            try:
                yield from map(build, rows, repeat(database.lexicon))
            except compact.DAMAGE as error:
                raise StoreError("a row of the account's index is damaged") from error
        if len(rows) < size:
            return
        low = rows[-1][-1] + 1


def content(database: Database, message_id: int) -> FileContent:
    row = database.execute(
        f"SELECT c.id, {compact.PREFIX}, c.file_size FROM message m JOIN content c ON c.id = m.content WHERE m.id = ?",
        (message_id,),
    ).fetchone()
    if row is None:
        raise StoreError("the message is gone")
    return FileContent(database.file(row[0]), row[1], row[2])
