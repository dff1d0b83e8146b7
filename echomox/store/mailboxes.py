"""Mailboxes: list, make, rename, delete, subscribe. Functions over a Database; names are checked by names.py.

A deleted mailbox keeps its row without a name; its messages become tombstones and their files are erased later.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from echomox.store import messages, names
from echomox.store.database import UID_BITS, UID_MASK, Database, Write
from echomox.store.engine import (
    SEPARATOR,
    SPECIAL_USES,
    BadMailboxName,
    LimitExceeded,
    Mailbox,
    MailboxExists,
    NoSuchMailbox,
)

_MAILBOX = """
SELECT id, name, uidvalidity, uidnext, special_use, EXISTS (SELECT 1 FROM subscription s WHERE s.name = mailbox.name),
       total, deleted, unread, unseen, size, modseq, recent
FROM mailbox WHERE name IS NOT NULL"""
_BY_NAME = f"{_MAILBOX} AND name = ?"
_BY_ID = f"{_MAILBOX} AND id = ?"
_BY_USE = f"{_MAILBOX} AND special_use = ?"
_SORTED = f"{_MAILBOX} ORDER BY name != 'INBOX', name"


def _mailbox(row: tuple[Any, ...]) -> Mailbox:
    identity, name, validity, uidnext, use, subscribed, *counts = row
    return Mailbox(identity, name, validity, uidnext, use, bool(subscribed), *counts)


def all_mailboxes(database: Database) -> list[Mailbox]:
    return [_mailbox(row) for row in database.execute(_SORTED).fetchall()]


def by_name(database: Database, name: str) -> Mailbox:
    name = names.mailbox_name(name)
    row = database.execute(_BY_NAME, (name,)).fetchone()
    if row is None:
        raise NoSuchMailbox(f"no mailbox {name}")
    return _mailbox(row)


def by_id(database: Database, mailbox_id: int) -> Mailbox:
    row = database.execute(_BY_ID, (mailbox_id,)).fetchone()
    if row is None:
        raise NoSuchMailbox("the mailbox was deleted")
    return _mailbox(row)


def by_use(database: Database, use: str) -> Mailbox | None:
    row = database.execute(_BY_USE, (use,)).fetchone()
    return None if row is None else _mailbox(row)


def new_validity(write: Write) -> int:
    """Higher than any before in this account."""
    statement = "UPDATE state SET uidvalidity = max(uidvalidity + 1, ?) RETURNING uidvalidity"
    return int(write.execute(statement, (int(time.time()),)).fetchall()[0][0])


def give_up(write: Write, name: str, validity: int) -> None:
    """A mailbox, or a virtual one, has the name no more: a row without a name says which UIDVALIDITY was its last, as
    the row of a deleted mailbox does; the name stands where others have their special use."""
    modseq = write.bump()
    known = write.execute(
        "UPDATE mailbox SET uidvalidity = max(uidvalidity, ?) WHERE name IS NULL AND special_use = ?",
        (validity, former(name)),
    )
    if not known.rowcount:
        write.execute(
            "INSERT INTO mailbox (name, special_use, uidvalidity, named, modseq) VALUES (NULL, ?, ?, ?, ?)",
            (former(name), validity, modseq, modseq),
        )


def former(name: str) -> str:
    return SEPARATOR + name


def validity_for(write: Write, name: str, validity: int) -> int:
    """What a mailbox has after it is given the name: `validity`, its own, unless another one had the name with a higher
    one, for a name's may only grow (RFC 9051 2.3.1.1). What old rows without a name were called nobody knows."""
    higher = write.execute(
        "SELECT 1 FROM mailbox WHERE name IS NULL AND special_use IN ('', ?) AND uidvalidity > ?",
        (former(name), validity),
    ).fetchone()
    return validity if higher is None else new_validity(write)


def insert(write: Write, name: str, special_use: str = "") -> int:
    """A row for a mailbox with this (checked) name; its UIDVALIDITY is higher than any before. Returns its id."""
    validity = new_validity(write)
    modseq = write.bump()
    cursor = write.execute(
        "INSERT INTO mailbox (name, special_use, uidvalidity, modseq) VALUES (?, ?, ?, ?)",
        (name, special_use, validity, modseq),
    )
    return int(cursor.lastrowid or 0)


def _exists(write: Write, name: str) -> bool:
    """A mailbox, or a virtual one."""
    statement = "SELECT 1 FROM mailbox WHERE name = ?1 UNION ALL SELECT 1 FROM virtual WHERE name = ?1"
    return write.execute(statement, (name,)).fetchone() is not None


def _insert_parents(write: Write, name: str) -> None:
    for parent in names.parents(name):
        if not _exists(write, parent):
            _inherit(write, insert(write, parent), parent)


def _inherit(write: Write, mailbox_id: int, name: str) -> None:
    """RFC 4314 4: a new mailbox is shared as its parent is."""
    parent = name.rpartition(SEPARATOR)[0]
    if parent:
        write.execute(
            "INSERT INTO acl SELECT ?, who, rights FROM acl WHERE mailbox_id = (SELECT id FROM mailbox WHERE name = ?)",
            (mailbox_id, parent),
        )


def create(database: Database, name: str, special_use: str) -> Mailbox:
    # RFC 9051 6.3.4: a separator at the end only says that children are meant to follow.
    name = names.mailbox_name(name.removesuffix(SEPARATOR))
    if special_use and special_use not in SPECIAL_USES:
        raise BadMailboxName(f"unknown special use {special_use}")
    with database.write() as write:
        if _exists(write, name):
            raise MailboxExists(f"mailbox {name} exists")
        if write.execute("SELECT count(name) FROM mailbox").fetchone()[0] >= names.MAILBOXES_PER_ACCOUNT:
            raise LimitExceeded(f"more than {names.MAILBOXES_PER_ACCOUNT} mailboxes")
        if special_use:
            taken = write.execute(
                "SELECT name FROM mailbox WHERE special_use = ?1 UNION SELECT name FROM virtual WHERE special_use = ?1",
                (special_use,),
            ).fetchone()
            if taken:
                raise BadMailboxName(f"{special_use} is the use of mailbox {taken[0]}")
        _insert_parents(write, name)
        _inherit(write, insert(write, name, special_use), name)
    return by_name(database, name)


def rename(database: Database, old: str, new: str) -> None:
    old, new = names.mailbox_name(old), names.mailbox_name(new.removesuffix(SEPARATOR))
    with database.write() as write:
        row = write.execute("SELECT id FROM mailbox WHERE name = ?", (old,)).fetchone()
        if row is None:
            raise NoSuchMailbox(f"no mailbox {old}")
        if _exists(write, new):
            raise MailboxExists(f"mailbox {new} exists")
        if old == "INBOX":
            _insert_parents(write, new)
            target = insert(write, new)
            low = row[0] << UID_BITS
            keys = write.execute("SELECT key FROM message WHERE key BETWEEN ? AND ?", (low, low | UID_MASK)).fetchall()
            messages.relocate(write, row[0], [key for (key,) in keys], target)
            return
        below = old + SEPARATOR
        if new.startswith(below):
            raise BadMailboxName("a mailbox cannot become its own child")
        _insert_parents(write, new)
        _rename_tree(write, old, new)


def _rename_tree(write: Write, old: str, new: str) -> None:
    below = old + SEPARATOR
    tree = write.execute(
        "SELECT id, name, uidvalidity FROM mailbox WHERE name = ? OR substr(name, 1, ?) = ?", (old, len(below), below)
    ).fetchall()
    modseq = write.bump()
    for identity, name, validity in tree:
        wanted = names.mailbox_name(new + name[len(old) :])
        if _exists(write, wanted):
            raise MailboxExists(f"mailbox {wanted} exists")
        give_up(write, name, validity)
        write.execute(
            "UPDATE mailbox SET name = ?, uidvalidity = ?, named = ? WHERE id = ?",
            (wanted, validity_for(write, wanted, validity), modseq, identity),
        )


def delete(database: Database, name: str) -> None:
    name = names.mailbox_name(name)
    if name == "INBOX":
        raise BadMailboxName("INBOX cannot be deleted")
    with database.write() as write:
        row = write.execute("SELECT id FROM mailbox WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise NoSuchMailbox(f"no mailbox {name}")
        low = row[0] << UID_BITS
        keys = write.execute("SELECT key FROM message WHERE key BETWEEN ? AND ?", (low, low | UID_MASK)).fetchall()
        messages.bury(write, row[0], [key for (key,) in keys])
        modseq = write.bump()
        write.execute(
            "UPDATE mailbox SET name = NULL, special_use = ?, named = ?, modseq = ? WHERE id = ?",
            (former(name), modseq, modseq, row[0]),
        )
        write.execute("DELETE FROM mailbox_keyword WHERE mailbox_id = ?", (row[0],))


def subscribe(database: Database, name: str, on: bool) -> None:
    name = names.mailbox_name(name)
    statement = "INSERT OR IGNORE INTO subscription VALUES (?)" if on else "DELETE FROM subscription WHERE name = ?"
    with database.write() as write:
        if write.execute(statement, (name,)).rowcount:
            write.bump()  # who watches subscriptions is to hear of it


def subscriptions(database: Database) -> list[str]:
    return [name for (name,) in database.execute("SELECT name FROM subscription ORDER BY name").fetchall()]


def renamed_since(connection: sqlite3.Connection, mailbox_id: int, since: int) -> bool:
    """Whether the mailbox was renamed or deleted after `since`; True for one that never was."""
    row = connection.execute("SELECT named FROM mailbox WHERE id = ?", (mailbox_id,)).fetchone()
    return row is None or row[0] > since
