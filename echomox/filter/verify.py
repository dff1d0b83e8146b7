"""Are the filter's own files whole? For `echomox verifydata`; nothing is changed, whoever else has them open."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from echomox.filter import weights
from echomox.filter.counts import wordmap, words


class Wrong(NamedTuple):
    """account: "" for what belongs to all of them. detail: file, what is wrong, and what mends it."""

    account: str
    detail: str


def verify(data: Path, accounts: Path, account: str | None = None) -> list[Wrong]:
    """data, accounts: of the server. account: the files of this one only. What is not there is not wrong."""
    if account is not None:
        return _accounts(accounts, [account])
    names = sorted(path.parent.name for path in accounts.glob(f"*/{words.FILE}"))
    told = "; the trainer makes the weights again when it starts, and state.db when the file is gone"
    shared = [f"{weights.DIRECTORY}/{line}{told}" for line in weights.verify(data / weights.DIRECTORY)]
    return _accounts(accounts, names) + [Wrong("", line) for line in shared]


def _accounts(accounts: Path, names: Iterable[str]) -> list[Wrong]:
    told = "; take it from a backup, or remove it: the filter then learns from nothing again"
    copy = "; the trainer makes it again when it starts"
    out = []
    for name in names:
        path = words.junk_path(accounts, name)
        out += [Wrong(name, f"{words.FILE}: {line}{told}") for line in junk(path)]
        out += [Wrong(name, f"{wordmap.FILE}: {line}{copy}") for line in table(words.map_path(path))]
    return out


def table(path: Path) -> list[str]:
    """What is wrong with a words.map."""
    try:
        return [] if wordmap.WordMap(path).check() else ["wrong checksum"]
    except FileNotFoundError:
        return []
    except (OSError, wordmap.Damaged) as error:
        return [str(error)]


def junk(path: Path) -> list[str]:
    """What SQLite finds wrong with a junk.db, without a look at each index entry."""
    if not path.exists():
        return []
    try:
        with closing(words.connect(path)) as connection:
            connection.execute("PRAGMA query_only=1")
            lines = [str(row[0]) for row in connection.execute("PRAGMA quick_check") if row[0] != "ok"]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            known = version in range(words.VERSION + 1)
            return lines if known else [*lines, f"version {version}; this program knows {words.VERSION}"]
    except sqlite3.Error as error:
        return [str(error)]
