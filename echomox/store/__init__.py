"""Accounts, mailboxes, messages. engine.py has the interface, ENGINES what stands behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from echomox.config.paths import Paths
from echomox.store.engine import Engine
from echomox.store.sqlite import SqliteEngine


class EngineRow(NamedTuple):
    name: str
    make: Callable[[Paths], Engine]


ENGINES: tuple[EngineRow, ...] = (EngineRow("sqlite", SqliteEngine),)


def open_engine(paths: Paths, name: str = "sqlite") -> Engine:
    """An engine of ENGINES over the directories of `paths`; raises ValueError for a name that is none."""
    for row in ENGINES:
        if row.name == name:
            return row.make(paths)
    raise ValueError(f"unknown store engine {name}; there are {', '.join(row.name for row in ENGINES)}")
