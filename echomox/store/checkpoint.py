"""Checkpoints: what was written becomes synced, so that journals and the files of expunged messages can go.

    1  read, for each touched account, the next id and the contents to erase
    2  syncfs: all of that is on disk now
    3  copy the accounts' WALs into their databases, unlink the erased contents' files, note both
    4  remove the journals that were closed before step 1

Runs in a thread, with connections of its own. The WAL is copied while the writers' lock is held: SQLite before
3.51.3 can lose a commit that restarts the WAL just when a checkpoint begins ("WAL-reset bug"); after step 2 little
is left to sync.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass

from echomox.log import logger
from echomox.store.database import FILES_PER_DIRECTORY, connect
from echomox.store.disk import Disk

LOG = logger("store")


@dataclass(frozen=True, slots=True)
class _State:
    next_id: int
    erase: list[int]


def checkpoint(disk: Disk, data: str, directories: list[str], journals: list[str]) -> None:
    """directories: of the accounts touched. Raises OSError when syncfs fails: then nothing was removed. An account
    that is gone or busy is left for the next time."""
    states = {directory: state for directory in directories if (state := _read(directory)) is not None}
    disk.sync_filesystem(data)
    for path in journals:
        disk.unlink(path)
    for directory, state in states.items():
        try:
            _settle(disk, directory, state)
        except (sqlite3.Error, OSError) as error:
            LOG.warn("account not checkpointed", directory=directory, error=str(error))


def _read(directory: str) -> _State | None:
    if not os.path.exists(f"{directory}/index.db"):
        return None  # the account was removed
    try:
        with closing(connect(f"{directory}/index.db")) as connection:
            next_id = connection.execute("SELECT next_id FROM state").fetchone()[0]
            erase = connection.execute("SELECT content FROM erase").fetchall()
            return _State(next_id, [content for (content,) in erase])
    except sqlite3.Error as error:
        LOG.warn("account not checkpointed", directory=directory, error=str(error))
        return None


def _settle(disk: Disk, directory: str, state: _State) -> None:
    folders = set()
    for content in state.erase:
        folder = f"{directory}/msg/{content // FILES_PER_DIRECTORY:05d}"
        disk.unlink(f"{folder}/{content}")
        folders.add(folder)
    for folder in folders:
        with suppress(FileNotFoundError):
            disk.sync_directory(folder)  # or a file may come back that no row speaks of any more
    path = f"{directory}/index.db"
    with closing(connect(path)) as writer:
        with closing(connect(path)) as copier:
            disk.step("checkpoint", path)
            writer.execute("BEGIN IMMEDIATE")
            copier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            writer.execute("COMMIT")
        # This transaction is the one that starts the WAL anew, and waits for that to be synced.
        writer.execute("BEGIN IMMEDIATE")
        if state.erase:
            writer.execute(
                "DELETE FROM erase WHERE content IN (SELECT value FROM json_each(?))", (json.dumps(state.erase),)
            )
        writer.execute("UPDATE state SET synced_id = max(synced_id, ?)", (state.next_id,))
        disk.step("commit", path)
        writer.execute("COMMIT")
