"""Rows that an older version of the program left: brought up to date some at a time, each piece a transaction.

Up to state.older there may be contents that have no row in `sorting` (of versions before 5) and contents in the plain
form (of versions before 7). Both are worked off by ascending ids; state.sorted and state.packed say how far. A kill
leaves a piece done or not. Everything reads both forms, so that packing can wait for the indexer; whoever wants to sort
or to see threads has the keys made first, in steps.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress

from echomox.store import sortkeys
from echomox.store.database import Database, Write
from echomox.store.rows import compact, vocabulary
from echomox.store.rows.packing import PLAIN

PIECE = 50
"""Rows of a transaction: some milliseconds."""
TURN = 2000
"""Rows after which the indexer looks at what else there is."""
GAP = 0.002
"""Seconds between two transactions, in which others get the lock."""
SETTLED = "(c.id > (SELECT older FROM state) OR c.id <= (SELECT sorted FROM state))"
"""Contents c that have their keys."""
_BEHIND = "c.id > (SELECT sorted FROM state) AND c.id <= (SELECT older FROM state)"


def is_unsorted(database: Database) -> bool:
    return bool(database.execute("SELECT sorted < older FROM state").fetchone()[0])


def sort_all(database: Database) -> Generator[None, None, None]:
    """Every content has its keys when this has ended."""
    while is_unsorted(database):
        with database.write(bell=False) as write:
            _sort_some(write)
        yield


def sort_these(database: Database, contents: Iterable[int]) -> None:
    """These contents have their keys, whatever the others have."""
    with database.write(bell=False) as write:
        for content in contents:
            sortkeys.fill_some(write.execute, "c.id = ?", (content,), 1)


def _sort_some(write: Write) -> int:
    last = sortkeys.fill_some(write.execute, _BEHIND, (), PIECE)
    write.execute("UPDATE state SET sorted = CASE WHEN ?1 THEN ?1 ELSE older END", (last,))
    return PIECE


def _pack_some(write: Write) -> int:
    rows = write.execute(
        "SELECT id, form FROM content WHERE id > (SELECT packed FROM state) AND id <= (SELECT older FROM state)"
        f" ORDER BY id LIMIT {PIECE}"
    ).fetchall()
    for content, form in rows:
        if form == PLAIN:
            with suppress(*compact.DAMAGE):  # a row that is not as it should be stays as it is
                compact.write(write.execute, content, compact.read(write.execute, content) or {})
    write.execute("UPDATE state SET packed = CASE WHEN ?1 THEN ?1 ELSE older END", (rows[-1][0] if rows else 0,))
    return PIECE


def work(database: Database, stopped: Callable[[], bool]) -> int:
    """Brings about TURN rows up to date, in the indexer's thread; returns how many at the most, 0 when all are. And
    makes a vocabulary when it is time."""
    if not stopped() and vocabulary.is_due(database.execute):
        words = vocabulary.make(*vocabulary.samples(database.execute))
        with database.write(bell=False) as write:
            vocabulary.keep(write.execute, words)
    done = 0
    while done < TURN and not stopped():
        unsorted, plain = database.execute("SELECT sorted < older, packed < older FROM state").fetchone()
        if not (unsorted or plain):
            break
        with database.write(bell=False) as write:
            done += _sort_some(write) if unsorted else _pack_some(write)
        time.sleep(GAP)
    if done:
        # What was rewritten is several times what mail writes: the WAL is not to grow by all of it.
        database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return done
