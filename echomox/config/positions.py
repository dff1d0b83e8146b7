"""Which lines of a TOML text each key has.

`tomllib` gives values without positions. This scanner knows just enough of the grammar (TOML 1.0: strings,
comments, brackets, table headers) to say for a path such as ("domains", "example.com", "dkim", 0, "key")
where its key stands. A key inside of an inline table or an array has the line of what holds it. Pure; never
raises.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|' + r"'''.*?'''|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'|#[^\n]*|\n|[^\n\"'#\[\]{}]+|.",
    re.DOTALL,
)
_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_NAME = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_KEY = re.compile(rf"[ \t]*({_NAME})[ \t]*=")
_TABLE = re.compile(rf"[ \t]*\[[ \t]*({_NAME})[ \t]*\]")
_ARRAY = re.compile(rf"[ \t]*\[\[[ \t]*({_NAME})[ \t]*\]\]")


@dataclass(frozen=True, slots=True)
class Statement:
    """Lines `first` to `last`, from 1. kind: "table", "array" (an element of one), "key", or "" for a blank
    line, a comment, or what cannot be read. path: of the table, with indexes, or of the key, its table's
    included.
    """

    first: int
    last: int
    kind: str
    path: Path


def statements(text: str) -> list[Statement]:
    """All of them, in order; together they have every line once."""
    found = []
    arrays: dict[Path, int] = {}
    table: Path = ()
    starts = list(_starts(text))
    ends = [number - 1 for number, _ in starts[1:]] + [text.count("\n") + 1]
    for (number, line), last in zip(starts, ends, strict=True):
        kind = ""
        path: Path = ()
        if match := _ARRAY.match(line):
            name = _resolve(split_key(match[1]), arrays)
            arrays[name] = arrays.get(name, -1) + 1
            kind, path = "array", (*name, arrays[name])
            table = path
        elif match := _TABLE.match(line):
            kind, path = "table", _resolve(split_key(match[1]), arrays)
            table = path
        elif match := _KEY.match(line):
            kind, path = "key", table + split_key(match[1])
        found.append(Statement(number, last, kind, path))
    return found


def positions(text: str) -> dict[Path, int]:
    """Lines, from 1, by path; each prefix of a path has the line where it is first named."""
    lines: dict[Path, int] = {}
    for statement in statements(text):
        for end in range(1, len(statement.path) + 1):
            lines.setdefault(statement.path[:end], statement.first)
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of a path, or of the nearest that holds it; 1 for the whole file."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _starts(text: str) -> Iterator[tuple[int, str]]:
    """(line number, rest of the text's line) at each line that begins a statement, not a value's
    continuation.
    """
    number, depth = 1, 0
    source = text.split("\n")
    yield 1, source[0]
    for token in _TOKEN.finditer(text):
        piece = token[0]
        if piece == "\n":
            number += 1
            if depth <= 0:
                depth = 0
                yield number, source[number - 1]
        elif piece in "[{":
            depth += 1
        elif piece in "]}":
            depth -= 1
        else:
            number += piece.count("\n")


def key_of(line: str) -> Path:
    """The parts of the key that a statement of kind "key" begins with."""
    match = _KEY.match(line)
    return split_key(match[1]) if match else ()


def split_key(name: str) -> Path:
    """The parts of a dotted key, quotes and escapes taken away."""
    try:
        value: object = tomllib.loads(name + " = 0")
    except (ValueError, RecursionError):
        return (name,)
    parts: list[str | int] = []
    while isinstance(value, dict):
        key = next(iter(value))
        parts.append(key)
        value = value[key]
    return tuple(parts)


def _resolve(name: Path, arrays: dict[Path, int]) -> Path:
    """A header's name with the index of the latest element after each array of tables it goes through."""
    path: Path = ()
    for place, part in enumerate(name):
        path = (*path, part)
        if path in arrays and place + 1 < len(name):
            path = (*path, arrays[path])
    return path
