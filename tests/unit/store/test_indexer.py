"""The indexer as a service, in one process, on a scratch directory: bells, scans, trouble, the stop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from echomox.config.paths import Paths
from echomox.log import logger
from echomox.store.engine import NoSuchAccount
from echomox.store.sqlite import SqliteEngine
from echomox.store.text import fulltext
from tests.contract.stores import ALICE, BOB, fill
from workers.indexer import LEAST, SCAN, Indexer


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqliteEngine]:
    made = SqliteEngine(Paths.home(tmp_path))
    made.recover()
    made.create(ALICE)
    made.create(BOB)
    yield made
    made.close()


def watermark(engine: SqliteEngine, account: str = ALICE) -> int:
    reader = fulltext.opened(engine.open(account).database)
    if reader is None:
        return -1
    try:
        return reader.watermark
    finally:
        reader.close()


def test_bells_and_scans(engine: SqliteEngine) -> None:
    counts: Counter[str] = Counter()

    async def main() -> None:
        indexer = Indexer(engine, logger("test"), lambda name, n: counts.update({name: n}))
        await indexer.turn(0.0)
        assert watermark(engine) == 0
        fill_more = LEAST - 1
        await asyncio.to_thread(fill, engine, fill_more)
        indexer.rung(ALICE, 5)
        indexer.rung("nobody@example.test", 1)
        await indexer.turn(1.0)
        assert watermark(engine) == 0  # too few to be worth it
        await asyncio.to_thread(fill, engine, 1)
        await indexer.turn(2.0)
        assert watermark(engine) == 0  # nothing rang
        indexer.rung(ALICE, 6)
        await indexer.turn(3.0)
        assert watermark(engine) == LEAST
        await asyncio.to_thread(fill, engine, 1)
        await indexer.turn(SCAN)
        assert watermark(engine) == LEAST + 1
        await asyncio.to_thread(fill, engine, 1)
        indexer.rung("", 0)
        await indexer.turn(SCAN + 1)
        assert watermark(engine) == LEAST + 2
        assert counts == {"texts_indexed": LEAST + 2}

    asyncio.run(main())


class Accounts:
    """Of the store's engine, what the indexer asks; each account has a backlog in batches."""

    def __init__(self, **backlog: Any) -> None:
        self.backlog = backlog
        self.done: list[str] = []
        self.older: dict[str, int] = {}

    def accounts(self) -> list[str]:
        return list(self.backlog)

    def open(self, account: str) -> SimpleNamespace:
        def index(least: int, stopped: Callable[[], bool]) -> int:
            left = self.backlog[account]
            if isinstance(left, Exception):
                raise left
            self.backlog[account] = max(left - 1, 0)
            self.done.append(account)
            return min(left, 1)

        def modernize(stopped: Callable[[], bool]) -> int:
            self.older[account] = max(self.older.get(account, 0) - 1, 0)
            return self.older[account]

        return SimpleNamespace(
            index_texts=index, modernize=modernize, modseq=lambda: 1, tidy_texts=lambda stopped: None
        )


def test_batches_in_turn_and_trouble_stops_nobody() -> None:
    engine = Accounts(a=2, b=OSError("disk"), c=1, d=NoSuchAccount("gone"), e=ValueError("what"))
    counts: Counter[str] = Counter()
    indexer = Indexer(engine, logger("test"), lambda name, n: counts.update({name: n}))
    asyncio.run(indexer.turn(0.0))
    assert engine.done == ["a", "c", "a", "c", "a"]
    assert counts == {"texts_indexed": 3, "exceptions": 1}


def test_what_an_older_version_left_is_worked_off_in_one_turn() -> None:
    engine = Accounts(a=0, c=1)
    engine.older = {"a": 7, "c": 3}
    asyncio.run(Indexer(engine, logger("test")).turn(0.0))
    assert engine.older == {"a": 0, "c": 0}


def test_a_stop_ends_a_backlog() -> None:
    engine = Accounts(a=10**9)

    async def main() -> None:
        indexer = Indexer(engine, logger("test"))
        running = asyncio.create_task(indexer.run())
        while not engine.done:
            await asyncio.sleep(0)
        indexer.stop()
        await asyncio.wait_for(running, 60)

    asyncio.run(main())
