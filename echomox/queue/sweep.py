"""Keeping the queue tidy: the WAL into the database, files without a row, space that is free again."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

WAL_SIZE = 4 << 20
ORPHAN_AGE = 3600.0
FREE_PAGES = 2000
PAGES_AT_ONCE = 500


def checkpoint(connection: sqlite3.Connection, directory: Path, least: int = WAL_SIZE) -> bool:
    """Moves the WAL into the database when it has grown; writers go on meanwhile. Whether it was due."""
    try:
        size = os.stat(directory / "index.db-wal").st_size
    except FileNotFoundError:
        return False
    if size < least:
        return False
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return True


def give_back_space(connection: sqlite3.Connection) -> int:
    """Some of the pages that nothing uses any more, to the filesystem. Returns how many are left."""
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    if free > FREE_PAGES:
        connection.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})").fetchall()
    return free


def remove_orphans(connection: sqlite3.Connection, directory: Path, age: float = ORPHAN_AGE) -> int:
    """Files whose addition was never committed, or whose message is gone; a young one may belong to an addition on its
    way. Returns how many.
    """
    removed = 0
    for path in _files(directory):
        try:
            if time.time() - path.stat().st_ctime < age:  # not mtime: a linked file has that of its spool
                continue
            known = connection.execute(
                "SELECT 1 FROM content WHERE file = ? AND file != '' LIMIT 1", (path.name,)
            ).fetchone()
            if known is None:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue
    return removed


def _files(directory: Path) -> Iterator[Path]:
    for folder in sorted((directory / "msg").iterdir()):
        if folder.is_dir():
            yield from folder.iterdir()
