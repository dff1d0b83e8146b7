"""Rows of `content` in either form (packing.py): columns for SELECT with what makes values of them, and the one way to
read and write all of a row that is there.

`shape` is for FETCH, a function from row to values; the functions of `FUNCTIONS` are for conditions in SQL.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from echomox.message.structure import Part
from echomox.store import packing
from echomox.store.packing import COMPACT, EMPTY, PLAIN, REST

Row = Sequence[Any]
Execute = Callable[..., Any]
DAMAGE = (ValueError, TypeError, LookupError, zlib.error)
"""What unpacking a damaged row may raise."""
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "envelope": ("subject", "message_id"),
    "verdict": ("prefix",),
    "prefix": (),
    **dict.fromkeys(REST, ("rest", "envelope")),
}
"""What else a row must have to give a column of the compact form."""
STORED = ("message_id", "subject", "sent", "sent_day", "header_size", "eight_bit", "parts", "envelope", *REST)
"""What `read` gives: the columns that come from parsing, and those of the delivery that are kept with them."""


class Shape(NamedTuple):
    """select: what stands after SELECT; build: makes the wanted values of such a row, which may have more at its
    end."""

    select: tuple[str, ...]
    build: Callable[[Row], tuple[Any, ...]]


def load_parts(text: str) -> tuple[Part, ...]:
    return tuple(Part(*values) for values in json.loads(text))


def shape(columns: Sequence[str], hot: Mapping[str, str], parsed: bool = True) -> Shape:
    """columns: of engine.COLUMNS; hot: those that are not of content, as SQL. parsed: parts as tuples of Part, else as
    the text that is kept."""
    select = [hot.get(column, f"c.{column}") for column in columns]
    count = len(columns)
    packed = [(place, column) for place, column in enumerate(columns) if column in _NEEDS]
    parts = [place for place, column in enumerate(columns) if column == "parts" and parsed]
    if not packed:
        return Shape(tuple(select), _with_parts(count, parts) if parts else lambda row: tuple(row[:count]))
    where = {column: place for place, column in enumerate(columns) if column not in hot}
    for name in ("form", *(need for _, column in packed for need in _NEEDS[column])):
        if name not in where:
            where[name] = len(select)
            select.append(f"c.{name}")
    return Shape(tuple(select), _builder(count, where, parts))


def _with_parts(count: int, places: list[int]) -> Callable[[Row], tuple[Any, ...]]:
    def build(row: Row) -> tuple[Any, ...]:
        values = list(row[:count])
        for place in places:
            values[place] = load_parts(values[place])
        return tuple(values)

    return build


def _builder(count: int, where: Mapping[str, int], parts: list[int]) -> Callable[[Row], tuple[Any, ...]]:
    """where: places of columns in the row; the first `count` are wanted."""
    form = where["form"]
    wanted = {name: place for name, place in where.items() if place < count}
    envelope, prefix, verdict = (wanted.get(name, -1) for name in ("envelope", "prefix", "verdict"))
    rest = [(wanted[name], number) for number, name in enumerate(REST) if name in wanted]
    title, own, trace, bulk, packed = (
        where.get(name, -1) for name in ("subject", "message_id", "prefix", "rest", "envelope")
    )

    def build(row: Row) -> tuple[Any, ...]:
        values = list(row[:count])
        if row[form] == COMPACT:
            if envelope >= 0:
                values[envelope] = packing.unpack_envelope(row[envelope], row[title], row[own])
            if prefix >= 0:
                values[prefix] = packing.unpack_prefix(row[prefix])
            if verdict >= 0:
                values[verdict] = packing.unpack_verdict(row[verdict], packing.unpack_prefix(row[trace]))
            if rest:
                found = packing.unpack_rest(row[bulk], row[packed])
                for place, number in rest:
                    values[place] = found[number]
        for place in parts:
            values[place] = load_parts(values[place])
        return tuple(values)

    return build


# -- in SQL -------------------------------------------------------------------------


def _prefix_of(form: int, prefix: bytes) -> bytes:
    """Nothing for one that is damaged: the message is shown without, and verifydata finds it."""
    try:
        return packing.unpack_prefix(prefix) if form == COMPACT else prefix
    except DAMAGE:
        return b""


def _rest_of(rest: bytes, envelope: bytes, number: int) -> Any:
    """A row that is damaged has nothing, and is for verifydata to find."""
    try:
        return packing.unpack_rest(rest, envelope)[number]
    except DAMAGE:
        return ""


def _is_whole(form: int, rest: bytes, envelope: bytes, prefix: bytes) -> bool:
    """What is packed can be read."""
    if form == PLAIN:
        return True
    try:
        packing.unpack_prefix(prefix)
        if len(packing.unpack_rest(rest, envelope)) != len(REST):
            return False
        return bool(packing.unpack_envelope(envelope, "", ""))
    except DAMAGE:
        return False


FUNCTIONS: Mapping[str, Callable[..., Any]] = {"prefix_of": _prefix_of, "rest_of": _rest_of, "row_is_whole": _is_whole}
"""Of every connection of this program."""
PREFIX = "prefix_of(c.form, c.prefix)"
WHOLE = "row_is_whole(c.form, c.rest, c.envelope, c.prefix)"


def text_sql(name: str) -> str:
    """A column of REST as SQL, of content c."""
    return f"CASE c.form WHEN {PLAIN} THEN c.{name} ELSE rest_of(c.rest, c.envelope, {REST.index(name)}) END"


# -- whole rows -----------------------------------------------------------------------

_SHAPE = shape(STORED, {}, parsed=False)
_READ = f"SELECT {', '.join(_SHAPE.select)} FROM content c WHERE c.id = ?"
_EMPTIED = ", ".join(f"{name} = {'x' if isinstance(value, bytes) else ''}''" for name, value in zip(REST, EMPTY))
_KEPT = tuple(name for name in STORED if name not in REST and name != "envelope")
_WRITE = (
    f"UPDATE content SET {', '.join(f'{name} = ?' for name in _KEPT)}, envelope = ?, rest = ?, form = {COMPACT},"
    f" {_EMPTIED}, prefix = ?, verdict = ? WHERE id = ?"
)


def read(execute: Execute, content: int) -> dict[str, Any] | None:
    """The values of STORED, parts as JSON; None when there is no such row. Raises one of DAMAGE."""
    row = execute(_READ, (content,)).fetchone()
    return None if row is None else dict(zip(STORED, _SHAPE.build(row)))


def trace(execute: Execute, content: int) -> tuple[bytes, str]:
    """(prefix, verdict)"""
    form, prefix, verdict = execute("SELECT form, prefix, verdict FROM content WHERE id = ?", (content,)).fetchone()
    if form != COMPACT:
        return prefix, verdict
    plain = _prefix_of(form, prefix)
    try:
        return plain, packing.unpack_verdict(verdict, plain)
    except DAMAGE:
        return plain, ""


def write(execute: Execute, content: int, values: Mapping[str, Any]) -> None:
    """Puts a row that is there into the compact form. values: of STORED."""
    prefix, verdict = trace(execute, content)
    envelope = packing.pack_envelope(values["envelope"], values["subject"], values["message_id"])
    packed = packing.pack_rest([values[name] for name in REST], envelope)
    kept = [values[name] for name in _KEPT]
    ends = packing.pack_prefix(prefix), packing.pack_verdict(verdict, prefix), content
    execute(_WRITE, (*kept, envelope, packed, *ends))


def mend(execute: Execute, content: int, parsed: Mapping[str, Any]) -> None:
    """Puts in what parsing gave; what the delivery said is kept as far as it can be read."""
    try:
        known = read(execute, content) or {}
    except DAMAGE:
        known = {}
    write(execute, content, {**dict.fromkeys(STORED, ""), **known, **parsed})
