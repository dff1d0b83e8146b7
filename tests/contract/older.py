"""An account as version 6 of its index left it: all rows in the plain form, no columns for another."""

from __future__ import annotations

from pathlib import Path

from echomox.store import compact
from echomox.store.database import connect
from echomox.store.packing import REST

ADDED = {"content": ("form", "rest"), "state": ("older", "sorted", "packed")}


def to_version_6(path: Path) -> None:
    """path: of index.db; nobody has it open."""
    connection = connect(str(path))
    for (identity,) in connection.execute("SELECT id FROM content").fetchall():
        values = compact.read(connection.execute, identity)
        assert values is not None
        prefix, verdict = compact.trace(connection.execute, identity)
        names = ("envelope", *REST)
        connection.execute(
            f"UPDATE content SET {', '.join(f'{name} = ?' for name in names)}, prefix = ?, verdict = ? WHERE id = ?",
            (*(values[name] for name in names), prefix, verdict, identity),
        )
    for table, columns in ADDED.items():
        for column in columns:
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.execute("PRAGMA user_version=6")
    connection.close()
