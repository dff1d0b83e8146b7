"""Searching, sorting and threading in one large mailbox, and what the indexes cost in space (T10).

    python -m tests.bench --only search:
    python -m tests.bench.search [--messages 100000] [--dir DIR]

Messages are those of the corpus (tests/bench/corpus.py), again and again under other ids and times until there are
enough. With --dir an account that was made there before is used again; to make 100,000 takes some minutes. "cpu" is
processor time of this process, "longest" that of the longest step: for so long all other sessions of a worker wait.
Nothing but the processor bounds them: the indexes are read from the page cache.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
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
LARGE = 100_000
Result = dict[str, Any]
LARGEST = 40_000
_ID = re.compile(rb"<([^<>@\s]+)@([^<>\s]+)>")
_TIME = re.compile(rb"(\r\nDate: [^\r\n]*)\d\d:\d\d:\d\d", re.IGNORECASE)
HEADERS, TEXTS, SORTS, THREADS = 100, 1000, 200, 500
"""Milliseconds that are aimed at, with 100,000 messages."""
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
        engine.open(ACCOUNT).modernize(lambda: False)  # as the indexer does beside a server
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


def show(name: str, make: Callable[[], Generator[None, None, Any]], aim: int, found: str = "found") -> Result:
    """The best of three. found: what the value has so many of."""
    value, cpu, longest = min((timed(make) for _ in range(3)), key=lambda one: one[1])
    print(f"{name:34}{cpu:9.1f} ms cpu {longest:7.1f} ms longest{len(value):>10,} {found:8}aim {aim} ms", flush=True)
    return {"row": name, "cpu_ms": round(cpu, 1), "longest_ms": round(longest, 1), "count": len(value), "aim_ms": aim}


def measure(store: AccountStore) -> list[Result]:
    inbox = store.mailbox("INBOX").id
    uids = store.select(inbox, False).uids
    results = []
    for name, key in KEYS:
        aim = TEXTS if isinstance(key, Text | Body | Fuzzy) else HEADERS
        results.append(show(f"search: {name}", partial(store.searching, inbox, key, uids[:]), aim))
    for name in ORDERS:
        sort = partial(store.ordering, inbox, uids, [Criterion(name)], {})
        results.append(show(f"search: SORT ({name})", sort, SORTS))

    def thread(algorithm: Callable[[threads.Items], threads.Steps]) -> Generator[None, None, bytes]:
        items = yield from store.thread_items(inbox, uids)
        return (yield from algorithm(items))

    for name, algorithm in threads.ALGORITHMS.items():
        results.append(show(f"search: THREAD {name}", partial(thread, algorithm), THREADS, "octets"))
    return results


def sizes(root: Path) -> None:
    files = {path.name: path.stat().st_size for path in root.rglob("*.db")}
    mail = sum(path.stat().st_size for path in root.rglob("msg/*/*"))
    for name in ("index.db", "fts.db"):
        print(
            f"{name:34}{files.get(name, 0):>13,} bytes, {100 * files.get(name, 0) / mail:5.1f} % of {mail:,} of mail"
        )


def run(words: Sequence[str]) -> list[Result]:
    """For `make bench`: with 100,000 messages, if there is a corpus."""
    if words and not any(word.startswith("search:") for word in words):
        return []
    if find() is None:
        print("search: no corpus, left out (see tests/bench/corpus.py)")
        return []
    return bench(LARGE)


def bench(count: int, directory: str = "") -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="echomox-bench-") as scratch:
        root = Path(directory or scratch)
        engine = SqliteEngine(Paths.home(root))
        engine.recover()
        if ACCOUNT not in engine.accounts():
            engine.create(ACCOUNT)
            asyncio.run(fill(engine, count))
        store = engine.open(ACCOUNT)
        start, done = time.process_time(), 0
        while count := store.index_texts(1, lambda: False):
            done += count
        if done:
            print(
                f"{'full-text index':34}{done:>9,} {1000 * (time.process_time() - start) / done:9.2f} ms cpu a message"
            )
        results = measure(store)
        engine.close()
        sizes(root)
        print(f"cores: {os.cpu_count()}, load: {os.getloadavg()[0]:.1f}")
    return results


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--messages", type=int, default=LARGE)
    arguments.add_argument("--dir", default="")
    chosen = arguments.parse_args()
    bench(chosen.messages, chosen.dir)


if __name__ == "__main__":
    main()
