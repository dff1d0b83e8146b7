"""An account's junk.db and words.map in the hands of those who classify: `Reader` of one account, `Readers` of a
process. They write nothing; the trainer has `words`. What stands in the files, and why, is told in `junkdb` and
`wordmap`.
"""

from __future__ import annotations

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echomox.filter.counts import wordmap
from echomox.filter.counts.junkdb import (
    IN_ORDER,
    OPEN_ACCOUNTS,
    READ,
    Decode,
    connect,
    junk_path,
    map_path,
    no_parts,
    number,
    read_totals,
    word_table,
)  # fmt: skip
from echomox.filter.counts.wordmap import NOTHING, Counts, Hashes, Table, Totals, WordMap
from echomox.filter.hashing import hashes


class Reader:
    """One account for a classifier: totals, counts and decoded parts, remembered until the trainer commits."""

    def __init__(self, path: Path, decode: Decode = no_parts) -> None:
        """Raises OSError when there is none, sqlite3.Error when it cannot be read."""
        self.path = str(path)
        self.inode = path.stat().st_ino
        self._map_path = map_path(path)
        self._map_name = str(self._map_path)
        self._connection = connect(path)
        self._connection.execute("PRAGMA query_only=1")
        self._decode = decode
        self._version = -1
        self._models: dict[str, Any] = {}
        self._totals = NOTHING
        self._words: WordMap | Table | None = None

    def close(self) -> None:
        self._words = None
        self._connection.close()

    def has_tables(self) -> bool:
        """False while the trainer makes the file."""
        return bool(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def totals(self) -> Totals:
        """Looks whether the account has changed; what `lookup` and `model` give belongs to these totals."""
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        words = self._words
        if version != self._version or (isinstance(words, WordMap) and words.inode != self._inode()):
            self._models = {}
            self._version = version
            self._open()
        if isinstance(self._words, WordMap):
            self._totals = self._words.totals()
        return self._totals

    def _inode(self) -> int:
        try:
            return os.stat(self._map_name).st_ino
        except OSError:
            return 0

    def _open(self) -> None:
        """The mapped counts if they will do, else the reader's own."""
        self._totals = read_totals(self._connection)
        words = self._words if isinstance(self._words, WordMap) else None
        if words is None or words.inode != self._inode():
            words = wordmap.opened(self._map_path)
            if words is not None and not words.check():
                words = None
        # The trainer publishes just after it commits; a file of another account, or from a backup, is far off.
        commits = number(self._connection, "commits")
        if words is not None and commits and int(words.head["stamp"]) in (commits, commits - 1, commits + 1):
            self._words = words
        else:
            self._words = word_table(self._connection)

    def lookup(self, wanted: Hashes) -> Counts:
        """The counts of words, (n, 2): messages of ham, of spam; zeros for those that are not known. Raises
        wordmap.Damaged."""
        if self._words is None:
            self._open()
        assert self._words is not None
        return self._words.lookup(wanted)

    def counts(self, words: Sequence[str]) -> dict[str, tuple[int, int]]:
        """The known ones of `words`, in their order."""
        rows = zip(words, self.lookup(hashes(words)).tolist())
        return {word: (ham, spam) for word, (ham, spam) in rows if ham or spam}

    def model(self, name: str) -> Any:
        """The read-out of a learned part, decoded; None when there is none. Raises ValueError when it is broken."""
        if name not in self._models:
            self._models[name] = self._read(name)
        return self._models[name]

    def _read(self, name: str) -> Any:
        try:
            found = self._connection.execute("SELECT version, data FROM part WHERE name = ?", (name + READ,)).fetchone()
        except sqlite3.OperationalError:  # of version 1: the trainer has not opened it yet
            return None
        return self._decode(name, found[0], found[1]) if found else None

    def word(self, word: str) -> tuple[int, int]:
        """Messages of ham, of spam that held it."""
        return self.counts([word]).get(word, (0, 0))

    def in_order(self) -> list[tuple[int, str]]:
        """(message, label) of all trained messages in the order of their training."""
        return self._connection.execute(IN_ORDER).fetchall()

    def size(self) -> tuple[int, int]:
        """(words, last outbox id applied); reads the whole table, for people only."""
        words = len(word_table(self._connection).items()[0])
        outbox = self._connection.execute("SELECT value FROM state WHERE name = 'outbox'").fetchone()[0]
        return words, outbox

    def sizes(self) -> dict[str, int]:
        """Bytes by name: of each part, and of all contributions; for people only."""
        found = dict(self._connection.execute("SELECT name, length(data) FROM part ORDER BY name").fetchall())
        total = self._connection.execute("SELECT coalesce(sum(length(data)), 0) FROM contribution").fetchone()[0]
        return found | {"contributions": total}


class Readers:
    """The readers a process has open, by account; the longest unused one is closed."""

    def __init__(self, accounts: Path, decode: Decode = no_parts, most: int = OPEN_ACCOUNTS) -> None:
        self._accounts = accounts
        self._decode = decode
        self._most = most
        self._open: OrderedDict[str, Reader] = OrderedDict()

    def get(self, account: str) -> Reader | None:
        """None for an account that has not been trained. Raises sqlite3.Error, StoreError for a bad name."""
        reader = self._open.get(account)
        path = reader.path if reader else junk_path(self._accounts, account)
        try:
            inode = os.stat(path).st_ino
        except (FileNotFoundError, NotADirectoryError):
            self.forget(account)
            return None
        if reader is not None and reader.inode == inode:
            self._open.move_to_end(account)
            return reader
        self.forget(account)
        reader = Reader(Path(path), self._decode)
        if not reader.has_tables():
            reader.close()
            return None
        self._open[account] = reader
        if len(self._open) > self._most:
            self._open.popitem(last=False)[1].close()
        return reader

    def forget(self, account: str) -> None:
        """Closes an account's reader, as after an error."""
        reader = self._open.pop(account, None)
        if reader:
            reader.close()

    def close(self) -> None:
        for account in list(self._open):
            self.forget(account)
