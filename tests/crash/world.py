"""What the crash tests share: a server's data directory, a child that works in it, and the check of what must be there.

The child prints a line for each promise as soon as it has been given: "ACK <delivery> <account> <crc>" after an
addition was answered; "TRY <delivery>" before it is asked for; "GONE <delivery>" before its removal is asked for.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from echomox.config.paths import Paths
from echomox.message.mime import parse
from echomox.store.disk import Disk
from echomox.store.engine import Addition, FlagOp, Target
from echomox.store.rows.packing import delivery_mark
from echomox.store.sqlite import SqliteEngine
from echomox.store.verify import verify

ACCOUNTS = ("alice", "bob")
NAMES = {delivery_mark(f"d{number}"): f"d{number}" for number in range(10_000)}
"""Of deliveries, by what the index has of them."""
Say = Callable[[str], None]


def source(number: int, size: int = 300) -> bytes:
    return f"From: a@example.org\r\nSubject: n{number}\r\n\r\n".encode() + f"line {number}\r\n".encode() * (size // 8)


def addition(number: int, accounts: tuple[str, ...], size: int = 300) -> Addition:
    data = source(number, size)
    targets = [Target(account, "INBOX", f"Delivered-To: {account}\r\n".encode()) for account in accounts]
    return Addition(data, parse(data), targets, f"d{number}", 1_700_000_000.0)


async def add(engine_committer, say: Say, one: Addition) -> None:
    say(f"TRY {one.delivery}")
    await engine_committer.add(one)
    for target in one.targets:
        say(f"ACK {one.delivery} {target.account} {zlib.crc32(one.source)}")


def remove(engine: SqliteEngine, say: Say, account: str, delivery: str) -> None:
    """Marks and expunges one message by its delivery id."""
    store = engine.open(account)
    row = store.database.execute(
        "SELECT m.mailbox_id, m.key & 4294967295 FROM message m JOIN content c ON c.id = m.content"
        " WHERE c.delivery = ?",
        (delivery_mark(delivery),),
    ).fetchone()
    say(f"GONE {delivery} {account}")
    store.store_flags(row[0], [row[1]], FlagOp.ADD, 8, ())
    store.expunge(row[0], [row[1]])


async def work(engine: SqliteEngine, say: Say, first: int = 0) -> None:
    """A bit of everything; deliveries are numbered from `first`."""
    committer = engine.committer("test.0")
    for n in range(3):
        await add(committer, say, addition(first + n, ("alice",)))
    await asyncio.gather(
        add(committer, say, addition(first + 3, ACCOUNTS)),
        add(committer, say, addition(first + 4, ("bob",))),
        add(committer, say, addition(first + 5, ("alice",), size=1_200_000)),
    )
    alice = engine.open("alice")
    inbox, archive, junk = (alice.mailbox(name).id for name in ("INBOX", "Archive", "Junk"))
    newest = alice.mailbox("INBOX").uidnext - 1
    alice.move(inbox, [newest], archive)
    alice.copy(inbox, [newest - 1], archive)
    alice.move(inbox, [newest - 2], junk)
    remove(engine, say, "alice", f"d{first}")
    remove(engine, say, "bob", f"d{first + 4}")
    committer._rotate = True  # the journal counts as full
    await add(committer, say, addition(first + 6, ACCOUNTS))
    while committer._journal.old:
        await asyncio.sleep(0.002)
    alice.create_mailbox(f"New/One{first}")
    await add(committer, say, addition(first + 7, ("alice",)))
    remove(engine, say, "alice", f"d{first + 1}")
    await add(committer, say, addition(first + 8, ("alice",)))
    await committer.close()


def prepare(root: Path) -> None:
    engine = SqliteEngine(Paths.home(root))
    engine.recover()
    for account in ACCOUNTS:
        engine.create(account)
    engine.close()


@dataclass
class Promises:
    """acked: (delivery, account) -> CRC; tried: deliveries asked for; gone: (delivery, account) that may have been
    removed.
    """

    acked: dict[tuple[str, str], int] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)
    gone: set[tuple[str, str]] = field(default_factory=set)

    def hear(self, text: str) -> Promises:
        for line in text.splitlines():
            match line.split():
                case ["ACK", delivery, account, crc]:
                    self.acked[delivery, account] = int(crc)
                case ["TRY", delivery]:
                    self.tried.add(delivery)
                case ["GONE", delivery, account]:
                    self.gone.add((delivery, account))
        return self


def found(root: Path) -> dict[tuple[str, str], list[int]]:
    """(delivery, account) -> CRC of the file's bytes, for each content that has messages."""
    result: dict[tuple[str, str], list[int]] = {}
    for account in ACCOUNTS:
        directory = root / "data/accounts" / account
        with sqlite3.connect(directory / "index.db") as connection:
            rows = connection.execute(
                "SELECT c.delivery, c.id FROM content c WHERE EXISTS (SELECT 1 FROM message m WHERE m.content = c.id)"
            ).fetchall()
        connection.close()
        for mark, identity in rows:
            delivery = NAMES[mark]
            data = (directory / f"msg/{identity // 8192:05d}/{identity}").read_bytes()
            result.setdefault((delivery, account), []).append(zlib.crc32(data))
    return result


def check(root: Path, promises: Promises, boot_id: str = "") -> dict[str, int]:
    """Recovers and holds the store to its promises; what was not answered may be there, once, or not at all."""
    engine = SqliteEngine(Paths.home(root), boot_id=boot_id)
    report = engine.recover()
    for account in ACCOUNTS:
        engine.open(account).mailboxes()
    engine.close()
    faults = verify(Paths.home(root))
    assert not faults, faults
    there = found(root)
    for key, crc in promises.acked.items():
        if key not in promises.gone:
            assert there.get(key) == [crc], (key, there.get(key), report)
    for key, crcs in there.items():
        assert len(crcs) == 1, key
        assert key[0] in promises.tried, key
    assert report["lost"] == report["corrupt"] == 0, report
    assert not list((root / "data/spool").glob("*.journal"))
    return report


def again(root: Path, first: int) -> Promises:
    """After recovery the store works on: more of the same, and no UID given twice."""
    said: list[str] = []
    engine = SqliteEngine(Paths.home(root))
    asyncio.run(work(engine, said.append, first))
    engine.close()
    assert not verify(Paths.home(root))
    return Promises().hear("\n".join(said))


class Killed(Disk):
    """Ends the process at the `at`-th call; counts them when at is 0."""

    def __init__(self, at: int = 0) -> None:
        super().__init__(self._count)
        self.at = at
        self.calls: Counter[str] = Counter()

    def _count(self, call: str, path: str) -> None:
        self.calls[call] += 1
        if self.at and sum(self.calls.values()) == self.at:
            os._exit(99)
