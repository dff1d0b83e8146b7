"""What the crash tests of the queue share: a child that adds to the queue and delivers from it, and the check.

The child says on standard output: "TRY <subject> <kind>" before an addition is asked for, "ACK <subject>" when it was
answered, "BEGIN <name>" when a delivery begins and "DONE <name>" when the other server has said yes. The name is the
subject, or for a report "report:<recipient it is about>:<id of the report>". Kinds: "ok" is taken, "bad" refused for
good (its sender has to get one report), "big" is taken and larger than what stands in the database.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from echomox.config.paths import Paths
from echomox.config.schema import Queue
from echomox.delivery.bounce import Maker
from echomox.log import logger
from echomox.queue import database, sweep
from echomox.queue.dsn import parse_report
from echomox.queue.holder import holder_name
from echomox.queue.insert import direct
from echomox.queue.model import Outgoing, QueueRecipient
from echomox.queue.outcome import Job, Outcome
from echomox.queue.runner import Means, Runner
from echomox.queue.spool import INLINE, QueueSpool
from echomox.store.disk import Disk

Say = Callable[[str], None]
KINDS = ("ok", "bad", "big", "ok", "bad", "ok")


def mail(number: int) -> Outgoing:
    kind = KINDS[number % len(KINDS)]
    body = f"Subject: m{number}\r\n\r\n".encode() + b"line\r\n" * (INLINE // 4 if kind == "big" else 20)
    recipient = QueueRecipient(f"{kind}{number}@far.test")
    return Outgoing("me@here.test", (recipient,), body=body, account="me", subject=f"m{number}", id=f"m{number}")


async def add(spool: QueueSpool, say: Say, numbers: range) -> None:
    async def one(number: int) -> None:
        say(f"TRY m{number} {KINDS[number % len(KINDS)]}")
        await spool.add(mail(number))
        say(f"ACK m{number}")

    await one(numbers[0])
    await asyncio.gather(*map(one, numbers[1:]))


def runner(root: Path, say: Say, disk: Disk | None = None) -> Runner:
    """One whose other side is this function: it says what it took."""

    async def deliver(job: Job) -> list[Outcome]:
        source = job.body if job.body is not None else job.file.read_bytes() if job.file else b""
        found = []
        for recipient in job.recipients:
            bad = recipient.address.startswith("bad")
            name = name_of(job, source)
            say(f"BEGIN {name}")
            await asyncio.sleep(0.001)
            if not bad:
                say(f"DONE {name}")
            found.append(
                Outcome(recipient.id, "failed", 550, "5.1.1", "no such user", "mx", when=time.time())
                if bad
                else Outcome(recipient.id, "delivered", 250, "2.0.0", "ok", "mx", when=time.time())
            )
        return found

    maker = Maker("mail.here.test", Random(7))
    directory = database.prepare(Paths.home(root), disk)
    return Runner(
        Means(
            directory=directory,
            holder=holder_name("test"),  # for whoever comes next, of a process that is gone
            queue=Queue(suppress=False),
            ways=direct,
            deliver=deliver,
            deliver_local=deliver,
            is_local=lambda domain: False,
            compose=lambda report: maker.compose(report, 1_700_000_000.0),
            log=logger("test"),
            count=lambda name, n: None,
        ),
        disk,
    )


def name_of(job: Job, source: bytes) -> str:
    if job.kind != "dsn":
        return source.partition(b"\r\n")[0].decode().removeprefix("Subject: ")
    report = parse_report(source)
    assert report is not None
    return f"report:{','.join(told.final for told in report.told)}:{job.id}"


async def work(root: Path, say: Say, disk: Disk | None = None, first: int = 0) -> None:
    """Additions and deliveries at once, to the end."""
    spool = QueueSpool(Paths.home(root), disk=disk)
    running = runner(root, say, disk)
    task = asyncio.create_task(running.run())
    await add(spool, say, range(first, first + 6))
    running.ring()
    await add(spool, say, range(first + 6, first + 9))
    running.ring()
    await until_empty(root, running)
    running.stop()
    await task
    await running.close()
    await spool.close()


async def until_empty(root: Path, running: Runner, limit: float = 300.0) -> None:
    connection = database.connect(database.directory_of(Paths.home(root)), durable=False)
    end = time.monotonic() + limit
    while connection.execute("SELECT count(*) FROM message WHERE state != 'held'").fetchone()[0]:
        assert time.monotonic() < end, connection.execute("SELECT * FROM message").fetchall()
        running.ring()
        await asyncio.sleep(0.003)
    connection.close()


@dataclass
class Promises:
    tried: dict[str, str] = field(default_factory=dict)
    acked: set[str] = field(default_factory=set)
    begun: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)

    def hear(self, text: str) -> Promises:
        for line in text.splitlines():
            match line.split(" "):
                case ["TRY", name, kind]:
                    self.tried[name] = kind
                case ["ACK", name]:
                    self.acked.add(name)
                case ["BEGIN", name]:
                    self.begun[name] += 1
                case ["DONE", name]:
                    self.done[name] += 1
        return self


def prepare(root: Path) -> None:
    (root / "data").mkdir(parents=True)
    database.prepare(Paths.home(root))


def finish(root: Path, said: str) -> Promises:
    """The next process works everything off; returns all that was said from the beginning."""
    more: list[str] = []

    async def rest() -> None:
        running = runner(root, more.append)
        task = asyncio.create_task(running.run())
        await asyncio.sleep(0.01)
        await until_empty(root, running)
        running.stop()
        await task
        await running.close()

    asyncio.run(rest())
    return Promises().hear(said + "\n".join(["", *more]))


def check(root: Path, said: str) -> Promises:
    """Each answered message is delivered or bounced; twice only what was under way; nothing is left lying."""
    before = Promises().hear(said)
    after = finish(root, said)
    reports: dict[str, set[str]] = {}
    for name in after.begun:
        if name.startswith("report:"):
            _, about, identity = name.split(":")
            reports.setdefault(about, set()).add(identity)
    for name in after.acked:
        kind, number = after.tried[name], name[1:]
        if kind == "bad":
            about = f"bad{number}@far.test"
            assert len(reports.get(about, ())) == 1, (name, reports)  # added exactly once
            assert sum(after.done[one] for one in after.done if f":{about}:" in one) >= 1, name
            assert after.done[name] == 0
        else:
            assert after.done[name] >= 1, name
    for name, count in after.done.items():
        again = count - 1
        assert again <= 1, (name, count)
        assert again == 0 or before.done[name] == 1, (name, "was delivered twice without a crash in between")
        subject = name.split(":")[1].partition("@")[0].replace("bad", "m") if name.startswith("report:") else name
        assert subject in after.tried
    tidy(root)
    return after


def tidy(root: Path) -> None:
    directory = database.directory_of(Paths.home(root))
    connection = database.connect(directory, durable=False)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for table in ("message", "content", "body", "flow"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    sweep.remove_orphans(connection, directory, age=-1)
    assert not [path for path in (directory / "msg").rglob("*") if path.is_file()]
    connection.close()
