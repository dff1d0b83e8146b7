"""Searching, sorting and threading in one large mailbox, and what the indexes cost in space (T10).

    python -m tests.bench.search [--messages 20000] [--dir DIR]

Messages are those of the corpus (tests/bench/corpus.py), again and again under other ids and times until there are
enough. With --dir an account that was made there before is used again. "cpu" is processor time of this process,
"longest" that of the longest step: for so long all other sessions of a worker wait.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from echomox.config.paths import Paths
from echomox.imap import threads
from echomox.imap.search import Body, Fuzzy, HasFlag, Header, Key, Not, Text, When
from echomox.imap.sorting import Criterion
from echomox.message.mime import parse
from echomox.store.engine import AccountStore, Addition, Target
from echomox.store.sqlite import SqliteEngine
from tests.bench.corpus import find, mails

ACCOUNT = "big@example.test"
LARGEST = 40_000
_ID = re.compile(rb"<([^<>@\s]+)@([^<>\s]+)>")
_TIME = re.compile(rb"(\r\nDate: [^\r\n]*)\d\d:\d\d:\d\d", re.IGNORECASE)
KEYS: tuple[tuple[str, Key], ...] = (
    ("FLAGGED", HasFlag("\\Flagged")),
    ("UNSEEN", Not(HasFlag("\\Seen"))),
    ("SUBJECT razor", Header("subject", "razor")),
    ("FROM example", Header("from", "example")),
    ("SENTSINCE", When("sent", "since", date(2002, 9, 1))),
    ("HEADER X-Mailer outlook", Header("x-mailer", "outlook")),
    ("TEXT spam", Text("spam")),
    ("BODY razor", Body("razor")),
    ("TEXT of the", Text("of the")),
    ("TEXT one of the", Text("one of the")),
    ("TEXT --", Text("--")),
    ("FUZZY TEXT mesage", Fuzzy(Text("mesage"))),
)
ORDERS = ("ARRIVAL", "SIZE", "DATE", "SUBJECT", "FROM", "DISPLAYTO")


def messages(count: int) -> Iterator[bytes]:
    archive = find()
    if archive is None:
        raise SystemExit("corpus: not here (see tests/bench/corpus.py)")
    base = [data for _, data in mails(archive) if len(data) < LARGEST]
    chance = random.Random(7)
    for number in range(count):
        data, turn = base[number % len(base)], number // len(base)
        head, gap, body = data.partition(b"\r\n\r\n")
        clock = b"%02d:%02d:%02d" % (chance.randrange(24), chance.randrange(60), chance.randrange(60))
        head = _TIME.sub(rb"\g<1>" + clock, _ID.sub(rb"<\1.%d@\2>" % turn, head))
        yield head + gap + body


async def fill(engine: SqliteEngine, count: int) -> None:
    committer = engine.committer("bench.0")
    numbered = enumerate(messages(count))
    while piece := list(islice(numbered, 400)):
        targets = [Target(ACCOUNT, "INBOX", flags=number % 5) for number, _ in piece]
        made = [
            Addition(data, parse(data), [target], f"b{number}", 1.5e9 + 37 * number)
            for (number, data), target in zip(piece, targets)
        ]
        await asyncio.gather(*map(committer.add, made))
    await committer.close()


def timed(make: Callable[[], Generator[None, None, Any]]) -> tuple[Any, float, float]:
    """(value, milliseconds, those of the longest step)"""
    steps = make()
    start = last = time.process_time()
    longest = 0.0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            now = time.process_time()
            return end.value, 1000 * (now - start), 1000 * max(longest, now - last)
        now = time.process_time()
        longest, last = max(longest, now - last), now


def show(name: str, make: Callable[[], Generator[None, None, Any]]) -> Any:
    value, cpu, longest = min((timed(make) for _ in range(3)), key=lambda one: one[1])
    print(f"{name:28} {len(value):>9,} {cpu:9.1f} ms cpu {longest:7.1f} ms longest")
    return value


def measure(store: AccountStore) -> None:
    inbox = store.mailbox("INBOX").id
    uids = store.select(inbox, False).uids
    for name, key in KEYS:
        show(name, partial(store.searching, inbox, key, uids[:]))
    for name in ORDERS:
        show(f"SORT ({name})", partial(store.ordering, inbox, uids, [Criterion(name)], {}))
    show("THREAD, reading", lambda: store.thread_items(inbox, uids))
    items = timed(lambda: store.thread_items(inbox, uids))[0]
    for name, algorithm in threads.ALGORITHMS.items():
        show(f"THREAD {name}", partial(algorithm, items))


def sizes(root: Path) -> None:
    files = {path.name: path.stat().st_size for path in root.rglob("*.db")}
    mail = sum(path.stat().st_size for path in root.rglob("msg/*/*"))
    for name in ("index.db", "fts.db"):
        print(
            f"{name:28} {files.get(name, 0):>13,} bytes, {100 * files.get(name, 0) / mail:5.1f} % of {mail:,} of mail"
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--messages", type=int, default=20_000)
    arguments.add_argument("--dir")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="echomox-bench-") as scratch:
        root = Path(chosen.dir or scratch)
        engine = SqliteEngine(Paths.home(root))
        engine.recover()
        if ACCOUNT not in engine.accounts():
            engine.create(ACCOUNT)
            asyncio.run(fill(engine, chosen.messages))
        store = engine.open(ACCOUNT)
        start, done = time.process_time(), 0
        while count := store.index_texts(1, lambda: False):
            done += count
        if done:
            print(
                f"{'full-text index':28} {done:>9,} {1000 * (time.process_time() - start) / done:9.2f} ms cpu a message"
            )
        measure(store)
        engine.close()
        sizes(root)
        print(f"cores: {os.cpu_count()}, load: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
