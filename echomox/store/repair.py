"""Repairs that somebody asks for by name (T29). Functions over a Database; each says how much it changed.

All are safe beside a running server: they are write transactions as any other, those that go over all messages many
short ones. A mailbox that gets another UIDVALIDITY or other UIDs counts as renamed: sessions that show it look again,
see that what they know is worth nothing, and end (RFC 9051 2.3.1.1: a UIDVALIDITY does not change within a session)."""

# ruff: noqa: S608  # the texts put into statements are constants of this program

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from echomox.message.mime import parse
from echomox.store import mailboxes, muted
from echomox.store.database import UID_BITS, UID_MASK, Database, Write
from echomox.store.engine import StoreError
from echomox.store.insert import structure_values
from echomox.store.rows import compact
from echomox.store.text import fulltext

BATCH = 200
"""Contents of one transaction."""

_COUNTS = """
UPDATE mailbox SET (total, deleted, unread, unseen, size) = (
    SELECT count(*), total(flags & 8 != 0), total(flags & 9 = 0), total(flags & 1 = 0), total(size)
    FROM message WHERE mailbox_id = mailbox.id)
WHERE (total, deleted, unread, unseen, size) != (
    SELECT count(*), CAST(total(flags & 8 != 0) AS INTEGER), CAST(total(flags & 9 = 0) AS INTEGER),
           CAST(total(flags & 1 = 0) AS INTEGER), CAST(total(size) AS INTEGER)
    FROM message WHERE mailbox_id = mailbox.id)"""


def _chosen(write: Write, database: Database, mailbox: str) -> list[int]:
    """Ids of the mailbox of this name, or of all for ""."""
    if mailbox:
        return [mailboxes.by_name(database, mailbox).id]
    return [row[0] for row in write.execute("SELECT id FROM mailbox WHERE name IS NOT NULL").fetchall()]


def _new_validity(write: Write, mailbox_id: int) -> None:
    validity = write.execute(
        "UPDATE state SET uidvalidity = max(uidvalidity + 1, ?) RETURNING uidvalidity", (int(time.time()),)
    ).fetchall()[0][0]
    modseq = write.bump()
    write.execute(
        "UPDATE mailbox SET uidvalidity = ?, named = ?, modseq = ? WHERE id = ?", (validity, modseq, modseq, mailbox_id)
    )


def bump_uidvalidity(database: Database, mailbox: str) -> int:
    """Clients forget what they know of the mailbox, or of all. Returns mailboxes."""
    with database.write() as write:
        chosen = _chosen(write, database, mailbox)
        for mailbox_id in chosen:
            _new_validity(write, mailbox_id)
        return len(chosen)


def reassign_uids(database: Database, mailbox: str) -> int:
    """UIDs from 1 on, in the order that they have; another UIDVALIDITY, and no memory of what was expunged. Returns
    messages."""
    count = 0
    with database.write() as write:
        for mailbox_id in _chosen(write, database, mailbox):
            low = mailbox_id << UID_BITS
            whole = (low, low | UID_MASK)
            _new_validity(write, mailbox_id)
            write.execute("DELETE FROM expunged WHERE key BETWEEN ? AND ?", whole)
            keys = write.execute("SELECT key FROM message WHERE key BETWEEN ? AND ? ORDER BY key", whole).fetchall()
            modseq = write.bump()
            write.executemany(  # ascending, and never above what it was: no two meet
                "UPDATE message SET key = ?, modseq = ? WHERE key = ?",
                ((low + uid, modseq, key) for uid, (key,) in enumerate(keys, 1)),
            )
            write.execute(
                "UPDATE mailbox SET uidnext = ?, recent = min(recent, ?) WHERE id = ?",
                (len(keys) + 1, len(keys) + 1, mailbox_id),
            )
            count += len(keys)
    return count


def recalculate(database: Database, mailbox: str) -> int:
    """Counts of mailboxes, of what there is. Returns mailboxes whose counts were wrong."""
    with database.write() as write:
        if not mailbox:
            return write.execute(_COUNTS).rowcount
        return write.execute(f"{_COUNTS} AND id = ?", (mailboxes.by_name(database, mailbox).id,)).rowcount


def fix_uid_meta(database: Database, mailbox: str) -> int:
    """UIDNEXT above all UIDs there ever were, UIDVALIDITY not above the account's highest, mod-sequences not above the
    account's. Returns values put right."""
    limit = f" AND id = {mailboxes.by_name(database, mailbox).id}" if mailbox else ""
    with database.write() as write:
        fixed = write.execute(
            f"""UPDATE mailbox SET uidnext = 1 + (SELECT max(
                    coalesce((SELECT max(key) FROM message WHERE mailbox_id = mailbox.id) & {UID_MASK}, 0),
                    coalesce((SELECT max(key) FROM expunged WHERE mailbox_id = mailbox.id) & {UID_MASK}, 0)))
                WHERE uidnext <= (SELECT max(
                    coalesce((SELECT max(key) FROM message WHERE mailbox_id = mailbox.id) & {UID_MASK}, 0),
                    coalesce((SELECT max(key) FROM expunged WHERE mailbox_id = mailbox.id) & {UID_MASK}, 0))){limit}"""
        ).rowcount
        fixed += write.execute(f"UPDATE mailbox SET recent = uidnext WHERE recent > uidnext{limit}").rowcount
        fixed += write.execute(
            "UPDATE state SET uidvalidity = (SELECT max(uidvalidity) FROM mailbox)"
            " WHERE uidvalidity < (SELECT max(uidvalidity) FROM mailbox)"
        ).rowcount
        for table in ("message", "expunged", "mailbox"):
            fixed += write.execute(
                f"UPDATE state SET modseq = (SELECT max(modseq) FROM {table})"
                f" WHERE modseq < (SELECT max(modseq) FROM {table})"
            ).rowcount
        return fixed


# -- what goes over all contents --------------------------------------------------------


def _over_contents(database: Database, change: Callable[[Write, int], int]) -> int:
    """Calls `change` with each content's id, BATCH of them a transaction."""
    last, changed = -1, 0
    while True:
        statement = f"SELECT id FROM content WHERE id > ? ORDER BY id LIMIT {BATCH}"
        ids = [row[0] for row in database.execute(statement, (last,)).fetchall()]
        if not ids:
            return changed
        with database.write() as write:
            changed += sum(change(write, content) for content in ids)
        last = ids[-1]


def _structure(write: Write, content: int, source: bytes) -> int:
    """Whether the structure that is kept was another."""
    values: Mapping[str, Any] = structure_values(parse(source))
    try:
        known = compact.read(write.execute, content)
    except compact.DAMAGE:
        known = {}
    if known is None or (known and all(known.get(name, value) == value for name, value in values.items())):
        return 0
    compact.mend(write.execute, content, values)
    return 1


def reparse(database: Database, mailbox: str) -> int:
    """Takes all messages apart anew, as after a better parser; what is searched and sorted by follows. Returns contents
    that are told otherwise now."""

    def change(write: Write, content: int) -> int:
        try:
            with open(database.file(content), "rb") as file:
                return _structure(write, content, file.read())
        except FileNotFoundError:
            return 0  # that is `verifydata`'s

    changed = _over_contents(database, change)
    if changed:
        reassign_threads(database, "")
        fulltext.mark_damaged(database, "messages were parsed anew")
    return changed


def reassign_threads(database: Database, mailbox: str) -> int:
    """What messages are sorted and threaded by, made anew in one transaction; what was muted is. Returns contents."""
    with database.write() as write:
        muted.thread_anew(write.execute)
        write.bump()
        return int(write.execute("SELECT count(*) FROM sorting").fetchone()[0])


def fix_sizes(database: Database, mailbox: str) -> int:
    """Sizes of messages as their files have them; counts follow. Returns messages."""

    def change(write: Write, content: int) -> int:
        path = database.file(content)
        row = write.execute("SELECT file_size FROM content WHERE id = ?", (content,)).fetchone()
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            return 0
        if row is not None and row[0] != size:
            with open(path, "rb") as file:
                source = file.read()
            write.execute(
                "UPDATE content SET file_size = ?, crc = ? WHERE id = ?", (len(source), zlib.crc32(source), content)
            )
            _structure(write, content, source)
        return write.execute(
            f"""UPDATE message SET size = c.file_size + length({compact.PREFIX}) FROM content c
                WHERE (message.id = ?1 OR (message.content = ?1 AND message.content != message.id))
                      AND c.id = message.content AND message.size != c.file_size + length({compact.PREFIX})""",
            (content,),
        ).rowcount

    changed = _over_contents(database, change)
    recalculate(database, "")
    return changed


TASKS: Mapping[str, Callable[[Database, str], int]] = {
    "bumpuidvalidity": bump_uidvalidity,
    "reassignuids": reassign_uids,
    "recalculate": recalculate,
    "fixuidmeta": fix_uid_meta,
    "reparse": reparse,
    "reassignthreads": reassign_threads,
    "fixmsgsize": fix_sizes,
}
"""By the name of their command."""


def repair(database: Database, task: str, mailbox: str) -> int:
    if task not in TASKS:
        raise StoreError(f"no repair {task}")
    return TASKS[task](database, mailbox)
