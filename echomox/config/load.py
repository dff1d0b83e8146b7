"""TOML files to the dataclasses of `schema`; all that is wrong is named: file, line, key, what is allowed.

    config/echomox.toml:12: limits.recipients: 5 is not allowed; a whole number, at least 100
    config/domains.toml:3: domains."example.com".seperators: no such key; did you mean `separators`?

The fields' types and metadata drive the reading; what takes more than one field to see is in `checks`. Any
bytes give a value or a ConfigError, nothing else. Files are read here and nowhere else.
"""

from __future__ import annotations

import codecs
import difflib
import os
import re
import tomllib
import typing
from collections.abc import Callable, Hashable, Mapping
from dataclasses import Field, fields, is_dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from echomox.config.paths import Paths
from echomox.config.positions import Path as KeyPath
from echomox.config.positions import line_of, positions
from echomox.config.schema import Dynamic, Static
from echomox.errors import ConfigError

T = TypeVar("T")
SIZE_LIMIT = 16 * 1024 * 1024  # bytes of a file; 100,000 accounts take about 10 MB
NESTING_LIMIT = 60  # of brackets; the schema needs 3
_WRONG = object()  # in place of a value that was reported
_AT_LINE = re.compile(r" ?\(at line (\d+), column \d+\)")


class ConfigProblems(ConfigError):
    """All problems of a file: (file, line from 1, key or "", text). str() has one a line."""

    def __init__(self, problems: list[tuple[str, int, str, str]]) -> None:
        self.problems = problems
        super().__init__(
            "\n".join(f"{file}:{line}: {key + ': ' if key else ''}{text}" for file, line, key, text in problems)
        )


class Reader:
    """One file being read: its values, and what was found wrong so far. `problem` may be called by any
    check.
    """

    def __init__(self, file: Path | str, data: bytes) -> None:
        """file: for messages, and its directory for names relative to it. Raises ConfigProblems."""
        self.file = str(file)
        self.directory = Path(os.path.abspath(file)).parent
        self.problems: list[tuple[str, int, str, str]] = []
        self._lines: dict[KeyPath, int] | None = None
        self.text = self._decode(data)
        self.table = self._parse()

    def problem(self, path: KeyPath, text: str) -> None:
        """Something wrong at a key; () is the whole file."""
        if self._lines is None:
            self._lines = positions(self.text)
        self.problems.append((self.file, line_of(self._lines, path), key_text(path), text))

    def finish(self) -> None:
        """Raises ConfigProblems if there are any, ordered by line."""
        if self.problems:
            raise ConfigProblems(sorted(self.problems, key=lambda problem: problem[1]))

    def _fail(self, line: int, text: str) -> ConfigProblems:
        return ConfigProblems([(self.file, line, "", text)])

    def _decode(self, data: bytes) -> str:
        if len(data) > SIZE_LIMIT:
            raise self._fail(1, f"larger than {SIZE_LIMIT} bytes")
        try:
            return data.removeprefix(codecs.BOM_UTF8).decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise self._fail(line, f"byte {data[error.start]:#04x} is not UTF-8; a file is UTF-8 text") from None

    def _parse(self) -> dict[str, Any]:
        if line := _too_deep(self.text):
            raise self._fail(line, f"brackets nested deeper than {NESTING_LIMIT}")
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            found = _AT_LINE.search(str(error))
            line = int(found[1]) if found else self.text.count("\n") + 1
            reason = _AT_LINE.sub("", str(error)).replace(" (at end of document)", ", the file ends too early")
            raise self._fail(line, f"not TOML: {reason}") from None
        except (ValueError, RecursionError, OverflowError):
            # What tomllib hands on from int() and from its own depth: a number or a dotted key without end.
            longest = max(enumerate(self.text.split("\n"), 1), key=lambda item: len(item[1]))[0]
            raise self._fail(longest, "not TOML: a number or key that is too long") from None


def _too_deep(text: str) -> int:
    """The line where brackets nest too deep, strings not looked at; 0 for nowhere."""
    depth = 0
    for found in re.finditer(r"[\[{\]}]", text):
        depth = depth + 1 if found[0] in "[{" else max(0, depth - 1)
        if depth > NESTING_LIMIT:
            return text.count("\n", 0, found.start()) + 1
    return 0


def key_text(path: KeyPath) -> str:
    """A path as it is written in TOML: domains."example.com".dkim[0].key"""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = bool(re.fullmatch(r"[A-Za-z0-9_-]+", part))
            text += ("." if text else "") + (part if plain else '"' + "".join(map(_printable, part)) + '"')
    return text


def _printable(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\u{ord(character):04x}"


# -- values by the schema's types -----------------------------------------------


def layout(cls: Any) -> Mapping[str, tuple[Any, Field[Any]]]:
    """(type, field) of a schema class by name."""
    return _layout(cls)


@cache
def _layout(cls: Hashable) -> Mapping[str, tuple[Any, Field[Any]]]:
    table = typing.cast(Any, cls)
    hints = typing.get_type_hints(table)
    return {item.name: (hints[item.name], item) for item in fields(table)}


def read_table(reader: Reader, cls: type[T], table: Mapping[str, Any], path: KeyPath) -> T:
    """A dataclass from a table; what is wrong goes to the reader and leaves the default."""
    known = layout(cls)
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            reader.problem((*path, name), f"no such key; {_nearest(name, list(known))}")
            continue
        kind, item = known[name]
        converted = _read(reader, kind, value, (*path, name), item.metadata)
        if converted is not _WRONG:
            values[name] = converted
    return cls(**values)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.6)
    return f"did you mean `{close[0]}`?" if close else f"allowed here: {', '.join(sorted(known))}"


def _read(reader: Reader, kind: Any, value: Any, path: KeyPath, limits: Mapping[str, Any]) -> Any:
    if is_dataclass(kind):
        if not isinstance(value, dict):
            return _wrong(reader, path, value, "a table")
        return read_table(reader, typing.cast(type[Any], kind), value, path)
    origin = typing.get_origin(kind)
    if origin is tuple:
        if not isinstance(value, list):
            return _wrong(reader, path, value, f"a list of {_kind_word(typing.get_args(kind)[0], many=True)}")
        inner = typing.get_args(kind)[0]
        items = [_read(reader, inner, item, (*path, place), limits) for place, item in enumerate(value)]
        return tuple(item for item in items if item is not _WRONG)
    if origin is dict:
        if not isinstance(value, dict):
            return _wrong(reader, path, value, "a table")
        inner = typing.get_args(kind)[1]
        named = {name: _read(reader, inner, item, (*path, name), limits) for name, item in value.items()}
        return {name: item for name, item in named.items() if item is not _WRONG}
    return _read_plain(reader, kind, value, path, limits)


def _read_plain(reader: Reader, kind: Any, value: Any, path: KeyPath, limits: Mapping[str, Any]) -> Any:
    right = type(value) is kind or (kind is float and type(value) is int)
    if right and kind is str:
        right = value.isprintable() and value in limits.get("choices", (value,))
    elif right and kind in (int, float):
        low, high = limits.get("low"), limits.get("high")
        right = isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
    if not right:
        return _wrong(reader, path, value, allowed(kind, limits))
    return float(value) if kind is float else value


def allowed(kind: Any, limits: Mapping[str, Any]) -> str:
    """What a plain value may be, in words: "a whole number from 1 to 3"."""
    if "choices" in limits:
        return "one of " + ", ".join(f'"{choice}"' for choice in limits["choices"])
    low, high = limits.get("low"), limits.get("high")
    if low is not None and high is not None:
        return f"{_kind_word(kind)} from {low} to {high}"
    return _kind_word(kind) + ("" if low is None else f", at least {low}")


def _kind_word(kind: Any, many: bool = False) -> str:
    words = {
        str: ("one line of text in quotes", "texts in quotes"),
        bool: ("true or false", "true or false"),
        int: ("a whole number", "whole numbers"),
        float: ("a number", "numbers"),
    }
    return words.get(kind, ("a table", "tables"))[many]


def _wrong(reader: Reader, path: KeyPath, value: Any, right: str) -> object:
    shown = {bool: lambda: str(value).lower(), str: lambda: key_text((value + " ",))[:-2] + '"'}
    describe: Callable[[], str] = shown.get(type(value), lambda: str(value))
    if isinstance(value, (list, dict)):
        text = "a list" if isinstance(value, list) else "a table"
    else:
        text = describe()
    reader.problem(path, f"{text if len(text) <= 80 else text[:80] + '…'} is not allowed; {right}")
    return _WRONG


# -- files ------------------------------------------------------------------------


def parse_static(file: Path | str, data: bytes) -> Static:
    """echomox.toml from bytes; raises ConfigProblems."""
    from echomox.config.checks import check_static

    reader = Reader(file, data)
    static = check_static(reader, read_table(reader, Static, reader.table, ()))
    reader.finish()
    return static


def parse_dynamic(file: Path | str, data: bytes) -> Dynamic:
    """domains.toml from bytes; raises ConfigProblems."""
    from echomox.config.checks import check_dynamic

    reader = Reader(file, data)
    dynamic = check_dynamic(reader, read_table(reader, Dynamic, reader.table, ()))
    reader.finish()
    return dynamic


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigProblems([(str(path), 1, "", f"not readable: {reason}")]) from None


def load_static(path: Path | str) -> Static:
    return parse_static(path, _content(Path(path)))


def load_dynamic(path: Path | str) -> Dynamic:
    return parse_dynamic(path, _content(Path(path)))


def load_all(paths: Paths) -> tuple[Static, Dynamic]:
    """Both files and what must agree between them; the problems of all are in one ConfigProblems."""
    from echomox.config.checks import check_together

    problems: list[tuple[str, int, str, str]] = []
    static, dynamic = Static(), Dynamic()
    try:
        static = load_static(paths.static)
    except ConfigProblems as error:
        problems += error.problems
    try:
        dynamic = load_dynamic(paths.dynamic)
    except ConfigProblems as error:
        problems += error.problems
    if not problems:
        reader = Reader(paths.static, _content(paths.static))
        check_together(reader, static, dynamic)
        problems = reader.problems
    if problems:
        raise ConfigProblems(problems)
    return static, dynamic


SYSTEM = Path("/etc/echomox")


def find_config(explicit: str | None = None) -> Paths:
    """--config (echomox.toml, its directory, or a root that has it), $ECHOMOX_CONFIG, ./config, /etc/echomox.

    The layout follows from the name: `config` is the home layout, `etc/echomox` the fhs layout under its
    prefix.
    """
    given = explicit or os.environ.get("ECHOMOX_CONFIG")
    if given:
        found = _paths_of(Path(os.path.abspath(given)))
        if found is None:
            source = "--config" if explicit else "$ECHOMOX_CONFIG"
            raise ConfigError(
                f"{given}: no echomox.toml there ({source}); give a directory named `config`, one that ends in "
                "etc/echomox, or the one above. `echomox quickstart you@example.com` writes one"
            )
        return found
    closed: ConfigError | None = None
    for candidate in (Path.cwd() / "config", SYSTEM):
        try:
            found = _paths_of(candidate)
        except ConfigError as error:  # as where root was before `sudo -u echomox`
            closed = closed or error
            continue
        if found is not None:
            return found
    if closed:
        raise closed
    raise ConfigError(
        "no configuration: looked at --config, $ECHOMOX_CONFIG, ./config and /etc/echomox; "
        "`echomox quickstart you@example.com` writes one"
    )


def _paths_of(place: Path) -> Paths | None:
    if place.name == "echomox.toml":
        place = place.parent
    for directory in (place, place / "config", place / "etc/echomox"):
        if _is_file(directory / "echomox.toml"):
            return layout_of(directory)
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        raise ConfigError(f"{path.parent}: not open to you; run this as root or as the server's own user") from None
    except (OSError, ValueError):
        return False


def layout_of(directory: Path) -> Paths | None:
    """The paths that belong to a configuration directory; None when its name says no layout."""
    if directory.parts[-2:] == ("etc", "echomox"):
        return Paths.fhs(directory.parent.parent)
    return Paths.home(directory.parent) if directory.name == "config" else None
