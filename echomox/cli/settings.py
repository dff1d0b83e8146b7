"""OPTION=VALUE words of a command line as values of the schema's types: quota=5 is a number, mode=off a
text.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any

from echomox.cli.console import CommandError
from echomox.config.load import allowed, layout

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def parse_settings(cls: type[Any], words: Sequence[str]) -> dict[str, Any]:
    """{"junk_filter.mode": "off"}; raises CommandError that says what there is. A list is written a,b,c."""
    settings = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise CommandError(f"{word}: give OPTION=VALUE; options are {', '.join(options(cls))}", 2)
        kinds = options(cls)
        if name not in kinds:
            raise CommandError(f"no option {name}; there are {', '.join(kinds)}", 2)
        settings[name] = _value(name, kinds[name], text)
    return settings


def options(cls: type[Any], prefix: str = "") -> dict[str, Any]:
    """Types of all plain options by dotted name; lists of tables (DKIM keys) are left out."""
    found: dict[str, Any] = {}
    for name, (kind, _) in layout(cls).items():
        if is_dataclass(kind):
            found |= options(typing.cast(type[Any], kind), f"{prefix}{name}.")
        elif not any(map(is_dataclass, typing.get_args(kind))):
            found[prefix + name] = kind
    return found


def _value(name: str, kind: Any, text: str) -> Any:
    try:
        if kind is bool:
            if text.lower() not in _TRUE + _FALSE:
                raise ValueError
            return text.lower() in _TRUE
        if kind in (int, float):
            return kind(text)
    except ValueError:
        raise CommandError(f"{name}={text}: to be {allowed(kind, {})}", 2) from None
    if typing.get_origin(kind) is tuple:
        return [part for part in text.split(",") if part]
    return text
