"""AFFECTIVE_STATE: the ten values of what a message feels like, kept with its content (R46).

They come in the JSON of the filter's verdict, as its "profile", so that they take the same way through journal and
replay; `insert` writes them in the transaction that adds the message. A copy shares them with its original; they go
with the content, by a trigger.

The filter gives four digits. Such values stand in `affect` as multiples of 1/SCALE, and the packed verdict does without
them: `cut` takes them out of it and `join` puts them in again. All others, and those of versions before 8, stand in
`affective_state`, and in the verdict. The view v_affective_state has both.
"""

# ruff: noqa: S608  # the texts put into statements are names of this program

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from math import isfinite
from typing import TYPE_CHECKING, Any

from echomox.store.engine import AffectiveState

if TYPE_CHECKING:
    from echomox.store.database import Database

SCALE = 10_000
COLUMNS = tuple(field.name for field in fields(AffectiveState) if field.name != "message_id")
PROFILE = f"(SELECT json_array({', '.join(f'a.{name}' for name in COLUMNS)}) FROM affect a WHERE a.content = c.id)"
"""What `join` wants, as SQL, of content c."""
_MARK = "\0"
"""At the end of a verdict that was cut. One that has it of itself gets a second one."""
_END = re.compile(r', "profile": \[([-0-9., ]*)\]\}')
_PLACES = ",".join("?" * (len(COLUMNS) + 1))
EXACT = f"INSERT OR REPLACE INTO affect (content, {', '.join(COLUMNS)}) VALUES ({_PLACES})"
OTHER = f"INSERT OR REPLACE INTO affective_state (content, {', '.join(COLUMNS)}) VALUES ({_PLACES})"
_SELECT = " UNION ALL ".join(
    f"SELECT m.id, {', '.join(f'a.{name}{scale}' for name in COLUMNS)}"
    f" FROM message m JOIN {table} a ON a.content = m.content WHERE m.id = ?1"
    for table, scale in (("affect", f" / {SCALE}.0"), ("affective_state", ""))
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


def cut(verdict: str) -> tuple[str, tuple[int, ...] | None]:
    """A verdict without its profile, and that in multiples of 1/SCALE; None where `join` could not put it back as it
    was, and the verdict has it still."""
    if verdict[-1:] == _MARK:
        return verdict + _MARK, None
    start = verdict.rfind(', "profile": [')
    found = _END.fullmatch(verdict, start) if start > 0 and verdict[start - 1] != _MARK else None
    if found is None:
        return verdict, None
    try:
        scaled = tuple([round(float(number) * SCALE) for number in found[1].split(", ")])
    except (ValueError, OverflowError):
        return verdict, None
    if len(scaled) != len(COLUMNS) or _written(scaled) != found[1]:
        return verdict, None
    return verdict[:start] + _MARK, scaled


def join(verdict: str, scaled: str | None) -> str:
    """What `cut` has cut, as it was. scaled: PROFILE's."""
    if verdict[-1:] != _MARK:
        return verdict
    verdict = verdict[:-1]
    if verdict[-1:] == _MARK:
        return verdict
    return f'{verdict}, "profile": [{_written(json.loads(scaled))}]}}' if scaled else f"{verdict}}}"


def _written(scaled: list[int] | tuple[int, ...]) -> str:
    return ", ".join([repr(value / SCALE) for value in scaled])


def write(execute: Callable[..., Any], content: int, verdict: str) -> None:
    """The values of a content that is there."""
    scaled = cut(verdict)[1]
    found = scaled or profile(verdict)
    for table in ("affect", "affective_state"):
        execute(f"DELETE FROM {table} WHERE content = ?", (content,))
    if found:
        execute(EXACT if scaled else OTHER, (content, *found))


def load(database: Database, message_id: int) -> AffectiveState | None:
    row = database.execute(_SELECT, (message_id,)).fetchone()
    return None if row is None else AffectiveState(*row)
