"""Previews (RFC 8970) of messages whose index keeps none: made from the file when they are asked for, as parsing does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from echomox.message.structure import Part
from echomox.message.text import preview
from echomox.store.content import text_reader
from echomox.store.database import Database
from echomox.store.engine import StoreError

_NEEDED = ("content", "file_size", "parts")
SELECTED = {"file_size": "c.file_size"}
"""Of them what is no column of the interface, as SQL."""


def more(columns: Sequence[str]) -> Sequence[str]:
    """With what `filled` needs, where previews are wanted."""
    return (*columns, *(name for name in _NEEDED if name not in columns)) if "preview" in columns else columns


class _Text:
    """What `preview` wants of a message: pieces."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read

    def __getitem__(self, piece: slice) -> bytes:
        return self._read(piece.start, max(piece.stop - piece.start, 0))


def of_file(path: str, size: int, parts: Sequence[Part]) -> str:
    """ "" for a file that is not as it should be: the message's text says so."""
    try:
        text = preview(parts, cast(bytes, _Text(text_reader(path, size))))
    except StoreError:
        return ""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def filled(database: Database, rows: Iterator[tuple[Any, ...]], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """rows: of `more(columns)`. Gives those of `columns`."""
    every = more(columns)
    place, (content, size, parts) = every.index("preview"), map(every.index, _NEEDED)
    for row in rows:
        values = list(row[: len(columns)])
        if values[place] is None:
            values[place] = of_file(database.file(row[content]), row[size], row[parts])
        yield tuple(values)
