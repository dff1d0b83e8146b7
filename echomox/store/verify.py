"""`verifydata`: does the store on disk agree with itself? And, with fix, make it so.

Per account: the database's own integrity check; each content has its file, of the right size and checksum, with
parts that lie within it; each message has its content and the right size; counts of mailboxes; UIDs below UIDNEXT,
ids below next_id, no modseq above the account's; no UID both alive and expunged; no files nobody speaks of.

Works on a running server too: files are read first, without a lock; then all else, and the files that did not look
right, within one write transaction, so that nothing changes meanwhile. Files of expunged messages that wait for the
next checkpoint (table erase) are no faults.

The full-text index, if there is one, must be readable and know all contents up to its watermark.

fix: counts and counters are set right, strange files are moved to data/lost+found/<account>/, messages without a
whole file are removed (a damaged file goes to lost+found too), structures that do not fit are parsed anew; a
full-text index with a fault is given up, for the indexer to make it anew. A database that fails its own check is
reported only.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import dataclass

from echomox.config.paths import Paths
from echomox.message.mime import parse
from echomox.store import messages, sortkeys
from echomox.store.database import FILES_PER_DIRECTORY, Database, Write
from echomox.store.engine import NoSuchAccount, StoreError
from echomox.store.insert import structure_values
from echomox.store.recover import is_whole
from echomox.store.rows import backlog, compact
from echomox.store.rows.packing import unpack_parts
from echomox.store.sqlite import SqliteEngine
from echomox.store.text import fulltext


@dataclass(frozen=True, slots=True)
class Fault:
    """kind: one word for programs, of KINDS. fixed: it was there, and is not any more."""

    account: str
    kind: str
    detail: str
    fixed: bool


KINDS = (
    "database", "file", "content", "size", "parts", "counts", "uid", "counter", "tombstone", "orphan", "directory",
    "search", "filter",
)  # fmt: skip
"""filter: its files, which `echomox verifydata` looks at beside the store's."""

_LOOKED_AT = f"file_size, crc, header_size, parts, {compact.WHOLE}"
_COUNTS = """
SELECT b.id, b.name, b.total, b.deleted, b.unread, b.unseen, b.size,
       count(m.key), total(m.flags & 8 != 0), total(m.flags & 9 = 0), total(m.flags & 1 = 0), total(m.size)
FROM mailbox b LEFT JOIN message m ON m.mailbox_id = b.id GROUP BY b.id"""


def verify(paths: Paths, account: str | None = None, fix: bool = False) -> list[Fault]:
    """The faults found, in one account or all. Raises NoSuchAccount. A process without other use of the store calls
    this.
    """
    engine = SqliteEngine(paths)
    try:
        if account is not None and account not in engine.accounts():
            raise NoSuchAccount(f"no account {account}")
        faults: list[Fault] = []
        for name in [account] if account is not None else engine.accounts():
            faults += _verify_account(engine, name, fix)
        return faults
    finally:
        engine.close()


def _verify_account(engine: SqliteEngine, name: str, fix: bool) -> list[Fault]:
    try:
        database = engine.database(name)
        broken = [line for (line,) in database.execute("PRAGMA integrity_check").fetchall() if line != "ok"]
        if broken:
            return [Fault(name, "database", line, False) for line in broken]
        suspects = _suspects(database)
        with database.write() as write:
            check = _Check(database, write, fix, f"{engine.data}/lost+found/{name}", [])
            check.run(suspects)
        return check.faults + _verify_search(database, fix, any(fault.kind == "parts" for fault in check.faults))
    except (sqlite3.Error, StoreError) as error:
        return [Fault(name, "database", str(error), False)]
    except OSError as error:
        return [Fault(name, "directory", str(error), False)]


def _verify_search(database: Database, fix: bool, outdated: bool) -> list[Fault]:
    """The full-text index; outdated: it was made of structures that were wrong. What is wrong with it is not used any
    more, and the indexer makes it anew.
    """
    trouble = fulltext.verify(database)
    if outdated and fix and not trouble:
        fulltext.mark_damaged(database, "messages were parsed anew")
    if trouble and fix:
        fulltext.mark_damaged(database, trouble)
    return [Fault(database.name, "search", f"the full-text index: {trouble}", fix)] if trouble else []


@dataclass(slots=True)
class _Check:
    database: Database
    write: Write
    fix: bool
    lost_found: str
    faults: list[Fault]

    def run(self, suspects: list[int]) -> None:
        self.files(suspects)
        self.rows()
        self.sorting()
        self.counts()
        self.counters()
        self.orphans()

    def fault(self, kind: str, detail: str, fixable: bool = True) -> bool:
        """Notes a fault; True when it is to be fixed now."""
        fixed = self.fix and fixable
        self.faults.append(Fault(self.database.name, kind, detail, fixed))
        return fixed

    # -- contents and files

    def files(self, suspects: list[int]) -> None:
        for identity in suspects:
            for size, crc, header_size, parts, whole in self.write.execute(
                f"SELECT {_LOOKED_AT} FROM content c WHERE id = ?", (identity,)
            ).fetchall():
                self._file(identity, size, crc)
                self._parts(identity, whole and _parts_fit(parts, size, header_size))

    def _file(self, identity: int, size: int, crc: int) -> None:
        path = self.database.file(identity)
        if is_whole(path, size, crc):
            return
        there = os.path.exists(path)
        if self.fault("file", f"message file {identity} is {'damaged' if there else 'missing'}; its messages go"):
            if there:
                self._keep_aside(path)
            self._remove_messages(identity)

    def _remove_messages(self, content: int) -> None:
        rows = self.write.execute("SELECT mailbox_id, key FROM message WHERE content = ?", (content,)).fetchall()
        for mailbox_id, key in rows:
            messages.bury(self.write, mailbox_id, [key])
        self.write.execute("DELETE FROM content WHERE id = ?", (content,))

    def _parts(self, identity: int, fit: bool) -> None:
        if fit:
            return
        path = self.database.file(identity)
        if os.path.exists(path) and self.fault("parts", f"the structure of message {identity} does not fit its file"):
            self._parse_again(identity, path)

    def _parse_again(self, identity: int, path: str) -> None:
        with open(path, "rb") as file:
            values = structure_values(parse(file.read()))
        compact.mend(self.write.execute, identity, values)
        self.write.execute("DELETE FROM sorting WHERE content = ?", (identity,))

    def _keep_aside(self, path: str) -> None:
        self.database.disk.make_directory(self.lost_found)
        target = f"{self.lost_found}/{os.path.basename(path)}"
        number = 0
        while os.path.exists(target):
            number += 1
            target = f"{self.lost_found}/{os.path.basename(path)}.{number}"
        self.database.disk.rename(path, target)

    # -- rows

    def rows(self) -> None:
        bare = self.write.execute(
            "SELECT mailbox_id, key, id FROM message WHERE content NOT IN (SELECT id FROM content)"
        ).fetchall()
        for mailbox_id, key, identity in bare:
            if self.fault("content", f"message {identity} has no content; it goes"):
                messages.bury(self.write, mailbox_id, [key])
        self._lonely()
        wrong = self.write.execute(
            f"""SELECT m.key, m.id, m.size, c.file_size + length({compact.PREFIX}) FROM message m
                JOIN content c ON c.id = m.content
                WHERE m.size != c.file_size + length({compact.PREFIX})"""
        ).fetchall()
        for key, identity, size, right in wrong:
            if self.fault("size", f"message {identity} has {right} bytes, its row says {size}"):
                self.write.execute("UPDATE message SET size = ? WHERE key = ?", (right, key))
        strange = self.write.execute(
            "SELECT key, id FROM message WHERE key >> 32 != mailbox_id OR mailbox_id NOT IN (SELECT id FROM mailbox)"
        ).fetchall()
        for _, identity in strange:
            self.fault("uid", f"message {identity} is in a mailbox that is not there", fixable=False)
        both = self.write.execute("SELECT key, id FROM expunged WHERE key IN (SELECT key FROM message)").fetchall()
        for key, identity in both:
            if self.fault("tombstone", f"message {identity} is both there and expunged"):
                self.write.execute("DELETE FROM expunged WHERE key = ?", (key,))

    def _lonely(self) -> None:
        lonely = self.write.execute("SELECT id FROM content WHERE id NOT IN (SELECT content FROM message)").fetchall()
        for (identity,) in lonely:
            if self.fault("content", f"content {identity} belongs to no message; its file is kept aside"):
                self.write.execute("DELETE FROM content WHERE id = ?", (identity,))

    def sorting(self) -> None:
        """Every content has a row to be sorted by; those that were parsed again get theirs here."""
        (missing,) = self.write.execute(
            f"SELECT count(*) FROM content c WHERE {backlog.SETTLED} AND id NOT IN (SELECT content FROM sorting)"
        ).fetchone()
        parsed_again = self.fix and any(fault.kind == "parts" for fault in self.faults)
        if missing and (parsed_again or self.fault("sorting", f"{missing} messages have nothing to be sorted by")):
            sortkeys.fill(self.write.execute)

    def counts(self) -> None:
        for identity, name, *numbers in self.write.execute(_COUNTS).fetchall():
            kept, right = numbers[:5], [int(number) for number in numbers[5:]]
            if kept != right and self.fault("counts", f"mailbox {name} counts {kept}, there are {right}"):
                self.write.execute(
                    "UPDATE mailbox SET total = ?, deleted = ?, unread = ?, unseen = ?, size = ? WHERE id = ?",
                    (*right, identity),
                )

    def counters(self) -> None:
        rows = self.write.execute(
            """SELECT b.id, b.name, b.uidnext, max(coalesce((SELECT max(key) FROM message WHERE key >> 32 = b.id), 0),
                      coalesce((SELECT max(key) FROM expunged WHERE key >> 32 = b.id), 0)) & 4294967295
               FROM mailbox b"""
        ).fetchall()
        for identity, name, uidnext, highest in rows:
            if highest >= uidnext and self.fault("uid", f"mailbox {name} has UID {highest}, UIDNEXT is {uidnext}"):
                self.write.execute("UPDATE mailbox SET uidnext = ? WHERE id = ?", (highest + 1, identity))
        for column, statement, step in (
            (
                "next_id",
                "SELECT max(coalesce((SELECT max(id) FROM content), 0), coalesce((SELECT max(id) FROM message), 0))",
                1,
            ),
            ("modseq", "SELECT coalesce(max(modseq), 0) FROM message", 0),
            ("modseq", "SELECT coalesce(max(modseq), 0) FROM expunged", 0),
            ("modseq", "SELECT coalesce(max(modseq), 0) FROM mailbox", 0),
        ):
            least = self.write.execute(statement).fetchone()[0] + step
            value = self.write.execute(f"SELECT {column} FROM state").fetchone()[0]
            if value < least and self.fault("counter", f"{column} is {value}, must be at least {least}"):
                self.write.execute(f"UPDATE state SET {column} = ?", (least,))

    # -- files nobody speaks of

    def orphans(self) -> None:
        known = {
            row[0] for row in self.write.execute("SELECT id FROM content UNION SELECT content FROM erase").fetchall()
        }
        root = f"{self.database.directory}/msg"
        for folder in sorted(os.listdir(root)) if os.path.isdir(root) else []:
            for name in sorted(os.listdir(f"{root}/{folder}")):
                right = name.isdigit() and folder == f"{int(name) // FILES_PER_DIRECTORY:05d}" and int(name) in known
                if not right and self.fault("orphan", f"file msg/{folder}/{name} belongs to no message"):
                    self._keep_aside(f"{root}/{folder}/{name}")


def _parts_fit(text: str, size: int, header_size: int) -> bool:
    try:
        return 0 <= header_size <= size and all(
            part[6] >= 0
            and part[6] + part[7] <= size
            and part[8] >= 0
            and part[8] + part[9] <= size
            and part[11] <= part[9]
            for part in json.loads(unpack_parts(text, header_size, size))
        )
    except (ValueError, TypeError, IndexError):
        return False


def _suspects(database: Database) -> list[int]:
    """Contents whose file or structure does not look right, found without a lock: to be looked at again with it."""
    found, last = [], -1
    statement = f"SELECT id, {_LOOKED_AT} FROM content c WHERE id > ? ORDER BY id LIMIT 500"
    while rows := database.execute(statement, (last,)).fetchall():
        for identity, size, crc, header_size, parts, whole in rows:
            if not (whole and is_whole(database.file(identity), size, crc) and _parts_fit(parts, size, header_size)):
                found.append(identity)
        last = rows[-1][0]
    return found
