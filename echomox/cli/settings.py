"""OPTION=VALUE words of a command line as values of the schema's types: quota=5G is a number, mode=off a text."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from echomox.cli.console import CommandError
from echomox.cli.parser import nearest
from echomox.config.load import allowed, layout

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT])(?:iB|B)?", re.IGNORECASE)
LARGEST = (1 << 63) - 1  # TOML v1.0.0, Integer
WHERE = "`echomox config describe dynamic` tells of each"


def parse_settings(cls: type[Any], words: Sequence[str]) -> dict[str, Any]:
    """{"junk_filter.mode": "off"}; raises CommandError that says what there is. A list is written a,b,c; sizes may have
    K, M, G or T, of 1024 each.
    """
    known = options(cls)
    settings = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise CommandError(f"{word}: give OPTION=VALUE; options are {', '.join(known)}; {WHERE}", 2)
        if name not in known:
            near = nearest(name, known)
            raise CommandError(f"no option {name}; {near}{' ' if near.endswith('?') else '; '}{WHERE}", 2)
        settings[name] = _value(name, *known[name], text)
    return settings


def options(cls: type[Any], prefix: str = "") -> dict[str, tuple[Any, Mapping[str, Any]]]:
    """Types and limits of all plain options by dotted name; lists of tables (DKIM keys) are left out."""
    found: dict[str, tuple[Any, Mapping[str, Any]]] = {}
    for name, (kind, item) in layout(cls).items():
        if is_dataclass(kind):
            found |= options(typing.cast(type[Any], kind), f"{prefix}{name}.")
        elif not any(map(is_dataclass, typing.get_args(kind))):
            found[prefix + name] = kind, item.metadata
    return found


def _value(name: str, kind: Any, limits: Mapping[str, Any], text: str) -> Any:
    try:
        if kind is bool:
            if text.lower() not in _TRUE + _FALSE:
                raise ValueError
            return text.lower() in _TRUE
        if kind is int and limits.get("unit") == "bytes":
            return size(text)
        if kind in (int, float):
            return kind(text)
    except ValueError:
        also = ", or as 500M or 5G" if limits.get("unit") == "bytes" else ""
        raise CommandError(f"{name}={text}: not allowed; {allowed(kind, limits)}{also}", 2) from None
    if typing.get_origin(kind) is tuple:
        return [part for part in text.split(",") if part]
    return text


def size(text: str) -> int:
    """Bytes of "5G", "1.5 MiB", "500"; a unit is 1024 of the one before. Raises ValueError, for what no file of the
    configuration can hold too."""
    found = _SIZE.fullmatch(text)
    octets = float(found[1]) * 1024 ** (1 + "KMGT".index(found[2].upper())) if found else int(text)
    if octets > LARGEST:
        raise ValueError
    return int(octets)
