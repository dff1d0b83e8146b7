"""Annotations of mailboxes and of the account (METADATA, RFC 5464). Functions over a Database; mailbox 0 is the account
itself. A deleted mailbox takes its annotations with it (a trigger of the schema)."""

from __future__ import annotations

from collections.abc import Mapping

from echomox.store.database import Database
from echomox.store.engine import ANNOTATION_SIZE, ANNOTATIONS, LimitExceeded


def read_annotations(database: Database, mailbox_id: int) -> dict[str, bytes]:
    """By entry name, as it was written; sorted."""
    rows = database.execute("SELECT entry, value FROM annotation WHERE mailbox_id = ? ORDER BY entry", (mailbox_id,))
    return dict(rows.fetchall())


def set_annotations(database: Database, mailbox_id: int, values: Mapping[str, bytes | None]) -> None:
    check(values)
    with database.write() as write:
        write.bump()
        for entry, value in values.items():
            write.execute("DELETE FROM annotation WHERE mailbox_id = ? AND entry = ?", (mailbox_id, entry))
            if value is not None:
                write.execute("INSERT INTO annotation VALUES (?, ?, ?)", (mailbox_id, entry, value))
        if write.execute("SELECT count(*) FROM annotation").fetchone()[0] > ANNOTATIONS:
            raise LimitExceeded("Too many annotations")


def check(values: Mapping[str, bytes | None]) -> None:
    """Raises LimitExceeded for a value that is too large."""
    if any(value is not None and len(value) > ANNOTATION_SIZE for value in values.values()):
        raise LimitExceeded("An annotation is too large")
