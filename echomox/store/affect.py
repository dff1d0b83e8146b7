"""AFFECTIVE_STATE: the ten values of what a message feels like, kept with its content (R46).

They come in the JSON of the filter's verdict, as its "profile", so that they take the same way through journal and
replay; `insert` writes them in the transaction that adds the message. A copy shares them with its original; they go
with the content, by a trigger.
"""

from __future__ import annotations

import json
from dataclasses import fields
from math import isfinite
from typing import Any

from echomox.store.database import Database
from echomox.store.engine import AffectiveState

COLUMNS = tuple(field.name for field in fields(AffectiveState) if field.name != "message_id")
_SELECT = (
    f"SELECT m.id, {', '.join(f'a.{name}' for name in COLUMNS)}"  # noqa: S608  # names of this program
    " FROM message m JOIN affective_state a ON a.content = m.content WHERE m.id = ?"
)


def profile(verdict: str) -> tuple[float, ...] | None:
    """The ten values in a verdict's JSON; None when it has none that are finite numbers."""
    if '"profile"' not in verdict:
        return None
    try:
        decoded: Any = json.loads(verdict)
        found = tuple(float(value) for value in decoded["profile"])
    except (ValueError, TypeError, KeyError):
        return None
    return found if len(found) == len(COLUMNS) and all(map(isfinite, found)) else None


def load(database: Database, message_id: int) -> AffectiveState | None:
    row = database.execute(_SELECT, (message_id,)).fetchone()
    return None if row is None else AffectiveState(*row)
