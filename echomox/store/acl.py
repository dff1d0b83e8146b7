"""Whom the mailboxes of an account are shared with (ACL, RFC 4314). Functions over a Database.

A change of a list raises the account's modseq and marks the mailbox as renamed: sessions that have it selected look
again whether they may. What an account shares is its own index's matter; `data/shares/<who>/<owner>`, an empty file,
only says where to look for what is shared with somebody. It is made before the right is given, and left when rights
are taken away: it may say too much, never too little. An account that shares nothing and has nothing shared with it
costs one look at a directory that is not there."""

from __future__ import annotations

import os
from collections.abc import Mapping

from echomox.imap.acl import ANYONE
from echomox.store import names
from echomox.store.database import Database
from echomox.store.disk import Disk
from echomox.store.engine import ACL_ENTRIES, LimitExceeded, NoSuchMailbox


def read_acl(database: Database, mailbox_id: int) -> dict[str, str]:
    rows = database.execute("SELECT who, rights FROM acl WHERE mailbox_id = ? ORDER BY who", (mailbox_id,))
    return dict(rows.fetchall())


def shared(database: Database) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for mailbox_id, who, rights in database.execute("SELECT mailbox_id, who, rights FROM acl").fetchall():
        found.setdefault(mailbox_id, {})[who] = rights
    return found


def set_acl(database: Database, mailbox_id: int, changes: Mapping[str, str | None]) -> None:
    for who, rights in changes.items():
        names.account_name(who.removeprefix("-"))
        if rights is not None and not who.startswith("-"):
            note(database.disk, data_of(database), who, database.name)
    with database.write() as write:
        if write.execute("SELECT 1 FROM mailbox WHERE id = ? AND name IS NOT NULL", (mailbox_id,)).fetchone() is None:
            raise NoSuchMailbox("the mailbox was deleted")
        for who, rights in changes.items():
            if rights is None:
                write.execute("DELETE FROM acl WHERE mailbox_id = ? AND who = ?", (mailbox_id, who))
            else:
                write.execute("INSERT OR REPLACE INTO acl VALUES (?, ?, ?)", (mailbox_id, who, rights))
        if write.execute("SELECT count(*) FROM acl WHERE mailbox_id = ?", (mailbox_id,)).fetchone()[0] > ACL_ENTRIES:
            raise LimitExceeded(f"More than {ACL_ENTRIES} identifiers")
        write.execute("UPDATE mailbox SET named = ? WHERE id = ?", (write.bump(), mailbox_id))
    database.sync()  # what was taken away does not come back with the power


# -- where to look


def data_of(database: Database) -> str:
    return os.path.dirname(os.path.dirname(database.directory))


def note(disk: Disk, data: str, who: str, owner: str) -> None:
    directory = f"{data}/shares/{who}"
    path = f"{directory}/{owner}"
    if os.path.exists(path):
        return
    disk.make_directory(directory)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    disk.sync_directory(directory)


def owners(data: str, account: str, everybody: bool = True) -> list[str]:
    """Accounts that may share something with this one, sorted; without itself. everybody: also what is anyone's."""
    found: set[str] = set()
    for who in (account, ANYONE) if everybody else (account,):
        try:
            found.update(os.listdir(f"{data}/shares/{who}"))
        except FileNotFoundError:
            continue
    return sorted(found - {account})


def forget(data: str, account: str) -> None:
    """The account is gone: what was shared with it may not be a later one's of its name."""
    directory = f"{data}/shares/{account}"
    for owner in owners(data, account, everybody=False):
        try:
            os.unlink(f"{directory}/{owner}")
        except FileNotFoundError:
            continue
    try:
        os.rmdir(directory)
    except OSError:
        return
