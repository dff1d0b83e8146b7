"""Rows of `content` in all their forms (packing.py): columns for SELECT with what makes values of them, and the one way
to read and write all of a row that is there.

`shape` is for FETCH, a function from row to values; `functions` are for conditions in SQL. Both look up in a `Lexicon`
what a form was packed with.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from echomox.message.structure import Part
from echomox.store.rows import affect, close, packing
from echomox.store.rows.packing import COMPACT, DENSE, EMPTY, PLAIN, REST

Row = Sequence[Any]
Execute = Callable[..., Any]
DAMAGE = (ValueError, TypeError, LookupError, zlib.error)
"""What unpacking a damaged row may raise."""
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "envelope": ("subject", "message_id"),
    "verdict": ("prefix", "profile", "envelope"),
    "prefix": ("envelope",),
    "parts": ("header_size", "file_size"),
    **dict.fromkeys(REST, ("rest", "envelope")),
}
"""What else a row must have to give a column of the packed forms."""
_SELECTED = {
    "profile": affect.PROFILE,
    **{
        name: f"CASE WHEN c.form IN ({PLAIN}, {COMPACT}) THEN c.{name}"
        f" ELSE (SELECT {name} FROM bulk WHERE content = c.id) END"
        for name in ("rest", "verdict")
    },
}
"""What is not always a column of content, as SQL."""
STORED = ("message_id", "subject", "sent", "sent_day", "header_size", "eight_bit", "parts", "envelope", *REST)
"""What `read` gives: the columns that come from parsing, and those of the delivery that are kept with them."""


class Older:
    """How rows of a form from COMPACT on are read. words: what it was packed with."""

    def __init__(self, words: packing.Words) -> None:
        self._words = words

    def prefix(self, packed: bytes, envelope: bytes) -> bytes:
        return packing.unpack_prefix(packed, self._words)

    def verdict(self, packed: bytes | str, prefix: bytes) -> str:
        """prefix: not packed."""
        return packing.unpack_verdict(packed, prefix, self._words)

    def rest(self, packed: bytes, envelope: bytes) -> tuple[Any, ...]:
        """envelope: packed."""
        return packing.unpack_rest(packed, envelope, self._words)


class Newer:
    """The same of the forms of close.py; and how they are packed."""

    def __init__(self, words: close.Words) -> None:
        self.words = words

    def prefix(self, packed: bytes, envelope: bytes) -> bytes:
        return close.unpack_prefix(packed, envelope, self.words)

    def verdict(self, packed: bytes | str, prefix: bytes) -> str:
        return close.unpack_verdict(packed, prefix, self.words)

    def rest(self, packed: bytes, envelope: bytes) -> tuple[Any, ...]:
        return close.unpack_rest(packed, envelope, self.words)


class Lexicon:
    """What the forms are packed with, of one account; read once, for it never changes. execute: of its connection."""

    __slots__ = ("_execute", "_known")

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._known: dict[int, Older | Newer] = {form: Older(words) for form, words in packing.WORDS.items()}
        self._known[close.FIRST] = Newer(close.Words(b"", b""))

    def __getitem__(self, form: int) -> Older | Newer:
        """Raises LookupError for a form that is none."""
        found = self._known.get(form)
        if found is None:
            number = close.FIRST - form if form < PLAIN else form - DENSE
            row = self._execute("SELECT rest, trace FROM vocabulary WHERE id = ?", (number,)).fetchone()
            if row is None:
                raise LookupError(f"no vocabulary {number}")
            found = Newer(close.Words(*row)) if form < PLAIN else Older(packing.words_of(*row))
            self._known[form] = found
        return found

    def newest(self, form: int) -> close.Words:
        """Of a form that rows are written in now."""
        found = self[form]
        if not isinstance(found, Newer):
            raise LookupError(f"form {form} is not written any more")
        return found.words


class Shape(NamedTuple):
    """select: what stands after SELECT; build: makes the wanted values of such a row, which may have more at its
    end."""

    select: tuple[str, ...]
    build: Callable[[Row, Lexicon], tuple[Any, ...]]


def load_parts(text: str) -> tuple[Part, ...]:
    """text: JSON"""
    return tuple(Part(*values) for values in json.loads(text))


def shape(columns: Sequence[str], hot: Mapping[str, str], parsed: bool = True) -> Shape:
    """columns: of engine.COLUMNS; hot: those that are not of content, as SQL. parsed: parts as tuples of Part, else as
    JSON."""
    select = [hot.get(column) or _SELECTED.get(column, f"c.{column}") for column in columns]
    count = len(columns)
    packed = [column for column in columns if column in _NEEDS]
    if not packed:
        return Shape(tuple(select), lambda row, lexicon: tuple(row[:count]))
    where = {column: place for place, column in enumerate(columns) if column not in hot}
    for name in ("form", *(need for column in packed for need in _NEEDS[column])):
        if name not in where:
            where[name] = len(select)
            select.append(_SELECTED.get(name, f"c.{name}"))
    return Shape(tuple(select), _builder(count, where, parsed))


def _builder(count: int, where: Mapping[str, int], parsed: bool) -> Callable[[Row, Lexicon], tuple[Any, ...]]:
    """where: places of columns in the row; the first `count` are wanted."""
    form = where["form"]
    wanted = {name: place for name, place in where.items() if place < count}
    envelope, prefix, verdict, parts = (wanted.get(name, -1) for name in ("envelope", "prefix", "verdict", "parts"))
    rest = [(wanted[name], number) for number, name in enumerate(REST) if name in wanted]
    title, own, trace, bulk, packed, head, size, profile = (
        where.get(name, -1)
        for name in ("subject", "message_id", "prefix", "rest", "envelope", "header_size", "file_size", "profile")
    )
    list_parts = _list_parts if parsed else packing.unpack_parts
    deflated = bool(rest) or prefix >= 0 or verdict >= 0

    def build(row: Row, lexicon: Lexicon) -> tuple[Any, ...]:
        values = list(row[:count])
        if row[form] != PLAIN:
            if envelope >= 0:
                unpack = packing.longer_envelope if row[form] == COMPACT else packing.unpack_envelope
                values[envelope] = unpack(row[envelope], row[title], row[own])
            if deflated:
                how = lexicon[row[form]]
                if prefix >= 0:
                    values[prefix] = how.prefix(row[prefix], row[packed])
                if verdict >= 0:
                    values[verdict] = _verdict((row[verdict], row[trace], row[packed], row[profile]), how)
                if rest:
                    found = how.rest(row[bulk], row[packed])
                    for place, number in rest:
                        values[place] = found[number]
        if parts >= 0:
            values[parts] = list_parts(row[parts], row[head], row[size])
        return tuple(values)

    return build


def _verdict(row: tuple[bytes | str, bytes, bytes, str | None], how: Older | Newer) -> str:
    """row: verdict, prefix, envelope, profile"""
    text = how.verdict(row[0], how.prefix(row[1], row[2])) if row[0] else ""
    return affect.join(text, row[3])


def _list_parts(text: str, header_size: int, file_size: int) -> tuple[Part, ...]:
    if text[:1] == "[":
        return load_parts(text)
    return (packing.one_part(text, header_size, file_size),)


# -- in SQL -------------------------------------------------------------------------


def functions(lexicon: Lexicon) -> Mapping[str, Callable[..., Any]]:
    """For every connection of this program."""

    def prefix_of(form: int, prefix: bytes, envelope: bytes) -> bytes:
        """Nothing for one that is damaged: the message is shown without, and verifydata finds it."""
        try:
            return prefix if form == PLAIN else lexicon[form].prefix(prefix, envelope)
        except DAMAGE:
            return b""

    def rest_of(form: int, rest: bytes, envelope: bytes, number: int) -> Any:
        """A row that is damaged has nothing, and is for verifydata to find."""
        try:
            return lexicon[form].rest(rest, envelope)[number]
        except DAMAGE:
            return ""

    def row_is_whole(form: int, rest: bytes, envelope: bytes, prefix: bytes) -> bool:
        """What is packed can be read."""
        if form == PLAIN:
            return True
        try:
            how = lexicon[form]
            how.prefix(prefix, envelope)
            return len(how.rest(rest, envelope)) == len(REST) and bool(packing.longer_envelope(envelope, "", ""))
        except DAMAGE:
            return False

    return {"prefix_of": prefix_of, "rest_of": rest_of, "row_is_whole": row_is_whole}


FORM = f"{close.FIRST} - vocabulary"
"""`newest`, of state."""
PREFIX = "prefix_of(c.form, c.prefix, c.envelope)"
WHOLE = f"row_is_whole(c.form, {_SELECTED['rest']}, c.envelope, c.prefix)"


def text_sql(name: str) -> str:
    """A column of REST as SQL, of content c."""
    packed = f"rest_of(c.form, {_SELECTED['rest']}, c.envelope, {REST.index(name)})"
    return f"CASE c.form WHEN {PLAIN} THEN c.{name} ELSE {packed} END"


# -- whole rows -----------------------------------------------------------------------

_SHAPE = shape(STORED, {}, parsed=False)
_READ = f"SELECT {', '.join(_SHAPE.select)} FROM content c WHERE c.id = ?"
_TRACE = f"SELECT form, prefix, envelope, {_SELECTED['verdict']}, {_SELECTED['profile']} FROM content c WHERE id = ?"
_EMPTIED = ", ".join(f"{name} = {'x' if isinstance(value, bytes) else ''}''" for name, value in zip(REST, EMPTY))
_KEPT = tuple(name for name in STORED if name not in (*REST, "envelope", "parts"))
_WRITE = (
    f"UPDATE content SET {', '.join(f'{name} = ?' for name in _KEPT)}, parts = ?, envelope = ?, form = ?, prefix = ?,"
    f" {_EMPTIED}, rest = x'', verdict = '' WHERE id = ?"
)
BULK = "INSERT OR REPLACE INTO bulk (content, rest, verdict) VALUES (?, ?, ?)"


def read(execute: Execute, content: int) -> dict[str, Any] | None:
    """The values of STORED, parts as JSON, but for a preview that is not kept; None when there is no such row. Raises
    one of DAMAGE."""
    row = execute(_READ, (content,)).fetchone()
    if row is None:
        return None
    values = dict(zip(STORED, _SHAPE.build(row, Lexicon(execute))))
    if values["preview"] is None:
        del values["preview"]
    return values


def trace(execute: Execute, content: int) -> tuple[bytes, str]:
    """(prefix, verdict)"""
    form, prefix, envelope, verdict, profile = execute(_TRACE, (content,)).fetchone()
    if form == PLAIN:
        return prefix, verdict
    plain = b""
    try:
        how = Lexicon(execute)[form]
        plain = how.prefix(prefix, envelope)
        return plain, _verdict((verdict, prefix, envelope, profile), how)
    except DAMAGE:
        return plain, ""


def newest(execute: Execute) -> int:
    """The form of rows that are written now."""
    return int(execute(f"SELECT {FORM} FROM state").fetchone()[0])


def write(execute: Execute, content: int, values: Mapping[str, Any]) -> None:
    """Puts a row that is there into the newest form. values: of STORED; no preview is needed."""
    prefix, verdict = trace(execute, content)
    form = newest(execute)
    words = Lexicon(execute).newest(form)
    envelope = packing.pack_envelope(values["envelope"], values["subject"], values["message_id"])
    packed = close.pack_rest([values.get(name) for name in REST], envelope, words)
    (file_size,) = execute("SELECT file_size FROM content WHERE id = ?", (content,)).fetchone()
    parts = packing.pack_parts(values["parts"], values["header_size"], file_size)
    affect.write(execute, content, verdict)
    short, _ = affect.cut(verdict)
    kept = [values[name] for name in _KEPT]
    execute(_WRITE, (*kept, parts, envelope, form, close.pack_prefix(prefix, envelope, words), content))
    execute(BULK, (content, packed, close.pack_verdict(short, prefix, words)))


def mend(execute: Execute, content: int, parsed: Mapping[str, Any]) -> None:
    """Puts in what parsing gave; what the delivery said is kept as far as it can be read."""
    try:
        known = read(execute, content) or {}
    except DAMAGE:
        known = {}
    write(execute, content, {**dict.fromkeys(STORED, ""), **known, **parsed})
