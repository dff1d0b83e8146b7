"""The accounting at the end: what was promised is there, once and whole; what is learnt is what was said; nothing is
left over; the log tells of no error in the program."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from tests.soak import watch
from tests.soak.imap import Imap
from tests.soak.ledger import spread
from tests.soak.letters import FIELD, token_of
from tests.soak.sink import Sink
from tests.soak.site import ACCOUNTS
from tests.soak.smtp import OUTSIDE, REPORT
from tests.soak.users import VIRTUAL, check, joined, session
from tests.soak.world import World

DRAIN = 240.0
PIECE = 200
EVENT = re.compile(r'^\S+ (\w+) ([\w.]+)\[([\w.]+)/\d+\] event=("(?:[^"\\]|\\.)*"|\S+)')
SETTLED = ("SELECT Word, Ham, Spam FROM WORD WHERE Ham > 0 OR Spam > 0 ORDER BY Word",
           "SELECT MessageTotal, MessageHam, MessageSpam FROM JUNKFILTER")  # fmt: skip


# -- while it runs -----------------------------------------------------------------------


async def drain(world: World, sink: Sink) -> None:
    """Nothing waits any more: in the queue, to be learnt, to be indexed."""
    await sink.be("well")
    end = time.monotonic() + DRAIN
    while time.monotonic() < end:
        await world.site.ask("queue", "unhold", "--all")
        await world.site.ask("queue", "schedule", "now", "--all")
        code, out, _ = await world.site.ask("--json", "queue", "list")
        if not code and '"id"' not in out and not waiting(world):
            break
        await asyncio.sleep(2)
    else:
        world.trouble(f"after {DRAIN:.0f} s there are lessons {waiting(world)} and in the queue {out[:1500]}")
    await asyncio.sleep(2)


async def counters(world: World) -> None:
    """Those of the server since its last start."""
    found = (await world.site.json("counters"))["counters"]
    for name in ("exceptions", "ipc_dropped", "classify_fallbacks", "learned_spam", "learned_ham", "unlearned"):
        world.counts[f"counter: {name}"] = found[name]
    if found["exceptions"]:
        world.trouble(f"{found['exceptions']} exceptions are counted")


def waiting(world: World) -> dict[str, int]:
    """Lessons that the trainer has not taken yet, by account."""
    found = {}
    for number in range(ACCOUNTS):
        ((count,),) = query(account(world, number) / "index.db", "SELECT count(*) FROM learn_outbox")
        if count:
            found[f"u{number}"] = int(count)
    return found


def account(world: World, number: int) -> Path:
    return world.site.root / f"data/accounts/u{number}"


def query(path: Path, statement: str) -> list[tuple[int, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        return list(connection.execute(statement))


async def mail(world: World) -> None:
    """Each account's letters against the ledger, and their bytes."""
    for number in range(ACCOUNTS):
        found: Counter[int] = Counter()
        reports: Counter[int] = Counter()
        async with session(world, number) as client:
            listed = await client.run(b'LIST "" "*"')
            names = [line.partition(b'"/" ')[2] for line in listed if b"\\Noselect" not in line]
            for box in names:
                if box == VIRTUAL.encode() or b"/" in box:
                    continue
                tokens, about = await letters(world, client, box, number)
                reports += spread(about)
                if box == b"Rejects":
                    reject(world, number, tokens)
                else:
                    found += spread(tokens)
        wrong = world.ledger.wrong(f"u{number}", found) + world.ledger.wrong(f"{REPORT}u{number}", reports)
        for one in wrong:
            world.trouble(str(one))
        world.counts["audit: letters found"] += found.total()


async def letters(world: World, client: Imap, box: bytes, number: int) -> tuple[list[int], list[int]]:
    """The tokens of what is in a mailbox, 0 for a report; and of what reports are about."""
    await client.select(box)
    uids = await client.uids()
    tokens: list[int] = []
    about: list[int] = []
    for start in range(0, len(uids), PIECE):
        lines = await client.run(b"UID FETCH %b (UID BODY.PEEK[])" % joined(uids[start : start + PIECE]))
        lines = [line for line in lines if b"BODY[] {" in line]
        check(world, lines, number)
        datas = [line.partition(b"}\r\n")[2] for line in lines]
        tokens += [token_of(data) for data in datas]
        about += [int(found[1]) for data in datas if not token_of(data) and (found := FIELD.search(data))]
    if len(tokens) != len(uids):
        world.trouble(f"u{number} {box!r}: {len(tokens)} of {len(uids)} could be fetched")
    return tokens, about


def reject(world: World, number: int, tokens: list[int]) -> None:
    for token, count in spread(tokens).items():
        if (f"u{number}", token) not in world.ledger.refused or count > 1:
            world.trouble(f"u{number}: letter {token} is in Rejects {count} times, and was not refused")
    world.counts["audit: letters in Rejects"] += len(tokens)


def outside(world: World, sink: Sink) -> None:
    """What was relayed has come. Twice is counted: a runner killed before it noted an answer sends again."""
    wanted = {recipient for recipient, _ in world.ledger.promised() if recipient.endswith("@" + OUTSIDE)}
    for recipient in sorted(wanted):
        found = {token: count for (name, token), count in sink.arrived.items() if name == recipient and token}
        for wrong in world.ledger.wrong(recipient, found):
            if wrong.found < wrong.least:
                world.trouble(str(wrong))
            else:
                world.counts["audit: relayed twice"] += 1
    world.counts["audit: letters relayed"] += sum(1 for _, token in sink.arrived if token)


def lessons(world: World) -> None:
    """What each account's filter has learnt is what its owner's moves have said, and what the flags of its mail say."""
    for number in range(ACCOUNTS):
        directory = account(world, number)
        labels = opinions(directory)
        path = directory / "junk.db"
        rows = query(path, "SELECT message, label FROM trained") if path.exists() else []
        trained = {int(id): str(label) for id, label in rows}
        for id, label in labels.items():
            if trained.get(id, "") != label:
                world.trouble(f"u{number}: message {id} is {label or 'neither'} and was learnt as {trained.get(id)}")
        world.counts["audit: lessons"] += len(trained)


def opinions(directory: Path) -> dict[int, str]:
    """What the flags of each message say that is no copy of another: a copy teaches only what is new in it."""
    from echomox.store.flags import label

    rows = query(directory / "index.db", "SELECT id, flags FROM message WHERE content = id")
    return {int(id): label(int(flags)) for id, flags in rows}


async def moves(world: World) -> None:
    """The flags that moves have left are those that the user's moves stand for."""
    for number in range(5):
        said = world.ledger.lessons(f"u{number}")
        async with session(world, number) as client:
            for box in (b"INBOX", b"Junk", b"Archive"):
                await client.select(box)
                for line in await client.run(b"FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (X-SOAK)])"):
                    token = token_of(line.partition(b"\r\n")[2]) if b"\r\n" in line else 0
                    if token in said:
                        head = line.partition(b"\r\n")[0]
                        now = "spam" if b"$Junk" in head else "ham" if b"$NotJunk" in head else ""
                        world.counts["audit: moves compared"] += 1
                        if now != said[token]:
                            world.trouble(f"u{number}: letter {token} was moved as {said[token]!r} and is {now!r}")


async def retrained(world: World) -> None:
    """Learning all anew comes to the same sums."""
    for number in range(5):
        path = account(world, number) / "junk.db"
        if not path.exists():
            continue
        before = [query(path, statement) for statement in SETTLED]
        code, _, err = await world.site.ask("filter", "retrain", f"u{number}", limit=300)
        if code:
            world.trouble(f"retrain of u{number}: {err}")
        after = [query(path, statement) for statement in SETTLED]
        if before != after:
            odd = sorted(set(before[0]) ^ set(after[0]), key=str)
            world.trouble(f"u{number}: {before[1]} became {after[1]}, {len(odd)} words differ: {odd[:4]}")
        world.counts["audit: words compared"] += len(after[0])


# -- when it has stopped -----------------------------------------------------------------


async def leftovers(world: World) -> None:
    root = world.site.root
    for path in [*watch.spooled_files(root), *(path for path in (root / "tmp").rglob("*") if path.is_file())]:
        world.trouble(f"left over: {path.relative_to(root)}, {path.stat().st_size} octets")
    for path in (root / "data/run").iterdir():
        world.counts[f"left in run/: {path.suffix}"] += 1
    queue = root / "data/queue"
    ((leased,),) = query(queue / "index.db", "SELECT count(*) FROM message WHERE state = 'leased'")
    if leased:
        world.trouble(f"{leased} leases are left in the queue")
    named = {row[0] for row in query(queue / "index.db", "SELECT file FROM content WHERE file != ''")}
    there = {path.name for path in (queue / "msg").rglob("*") if path.is_file()}
    if lost := sorted(there - named):  # a killed worker's; queue runners remove them when they are an hour old
        world.counts["audit: files without a message in the queue"] = len(lost)
        if not any(name.startswith(("killed", "whole server: SIGKILL")) for name in world.counts):
            world.trouble(f"files without a message in the queue: {lost[:5]}")
    code, out, err = await world.site.ask("verifydata", limit=600)
    if code:
        world.trouble(f"verifydata: {out[-1500:]} {err[-500:]}")


def log_lines(world: World) -> list[str]:
    """Events by level and number; what has a traceback is trouble."""
    events: Counter[tuple[str, str, str]] = Counter()
    for path in sorted(world.site.log.parent.glob("echomox*")):
        for line in path.read_text(errors="replace").splitlines():
            if "traceback=" in line:
                world.trouble(f"log: {line[:1500]}")
            found = EVENT.match(line)
            if not found:  # what a full disk has cut short, and the empty line before what came next
                world.counts["log: lines cut short"] += bool(line)
            elif found[1] in ("warn", "error"):
                events[found[1], found[2], found[4]] += 1
    return [f"{count:6} {level:6}{package:14}{event}" for (level, package, event), count in sorted(events.items())]
