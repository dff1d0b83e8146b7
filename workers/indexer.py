"""The indexer: the only writer of the full-text indexes (fts.db), so that searches need not read every message.

It hears all bells. An account that rang is looked at, and a batch indexed when LEAST messages wait: fewer are found
without an index just as well, and many small batches would have to be merged. Bells can be lost, so all accounts are
looked at when it starts, when the notifier comes back, and every `SCAN` seconds, and then everything that waits is
indexed and what is gone is taken out. No account waits for another's backlog: each gets one batch in turn.

Rows of index.db that an older version of the program left are brought up to date here too (store.backlog), some at a
time.

The work is done in a thread, one batch at a time; TERM ends it at the next block. It runs in the process of
`workers.housekeeper`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from echomox.ipc.bells import Bells
from echomox.log import Log, logger
from echomox.store import open_engine
from echomox.store.engine import FEW_OPEN, Engine, NoSuchAccount, StoreError

if TYPE_CHECKING:
    from workers.base import Worker

SCAN = 300.0
PAUSE = 2.0  # seconds between looks at what rang
LEAST = 32


class Indexer:
    """The service without its process. count: the worker's counters."""

    def __init__(self, engine: Engine, log: Log, count: Callable[[str, int], None] = lambda name, n: None) -> None:
        self._engine = engine
        self._log = log
        self._count = count
        self._rung: set[str] = set()
        self._modseqs: dict[str, int] = {}
        self._scan = True
        self._next_scan = 0.0
        self._wake = asyncio.Event()
        self._stopped = False

    def rung(self, account: str, modseq: int) -> None:
        """A bell; account "": bells may have been lost."""
        if account:
            self._rung.add(account)
        else:
            self._scan = True
        self._wake.set()

    def stop(self) -> None:
        """Ends what is under way soon."""
        self._stopped = True
        self._wake.set()

    async def run(self) -> None:
        """Indexes until `stop`."""
        loop = asyncio.get_running_loop()
        while not self._stopped:
            await self.turn(loop.time())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.1, self._next_scan - loop.time()))
            if not self._stopped:
                await asyncio.sleep(PAUSE)

    async def turn(self, now: float) -> None:
        """Looks at every account that rang, or at all when it is time, until nothing waits there."""
        self._wake.clear()
        rung, self._rung = self._rung, set()
        waiting = dict.fromkeys(rung, LEAST)
        scan = self._scan or now >= self._next_scan
        if scan:
            self._scan, self._next_scan = False, now + SCAN
            waiting = dict.fromkeys(self._engine.accounts(), 1)
            self._modseqs = {account: n for account, n in self._modseqs.items() if account in waiting}
        every = sorted(waiting)
        while waiting and not self._stopped:
            for account in sorted(waiting):
                done = await asyncio.to_thread(self._guarded, self._index, account, waiting[account])
                older = await asyncio.to_thread(self._guarded, self._modernize, account, 0)
                if done and not self._stopped:
                    self._count("texts_indexed", done)
                elif not older or self._stopped:
                    del waiting[account]
        for account in every if scan else ():
            if not self._stopped:
                await asyncio.to_thread(self._guarded, self._tidy, account, 0)

    def _index(self, account: str, least: int) -> int:
        return self._engine.open(account).index_texts(least, lambda: self._stopped)

    def _modernize(self, account: str, _least: int) -> int:
        return self._engine.open(account).modernize(lambda: self._stopped)

    def _tidy(self, account: str, _least: int) -> int:
        """Only where something has changed since the last time."""
        store = self._engine.open(account)
        modseq = store.modseq()
        if self._modseqs.get(account) != modseq:
            store.tidy_texts(lambda: self._stopped)
            self._modseqs[account] = modseq
        return 0

    def _guarded(self, work: Callable[[str, int], int], account: str, least: int) -> int:
        """0 when there was trouble: the next scan comes back to it."""
        try:
            return work(account, least)
        except NoSuchAccount:
            pass
        except (StoreError, OSError) as error:
            self._log.warn("not indexed yet", account=account, error=f"{type(error).__name__}: {error}")
        except Exception:
            self._log.exception("indexing failed", account=account)
            self._count("exceptions", 1)
        return 0


@contextlib.asynccontextmanager
async def indexing(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """Indexes within the `with`; gives the task that does, which ends before only by an exception."""
    log = logger("indexer")
    engine = open_engine(worker.paths)
    engine.open_limit = FEW_OPEN
    indexer = Indexer(engine, log, worker.count)
    bells = Bells(worker.paths.socket("change"), log, worker.name)
    bells.listen_to_all(indexer.rung)
    await bells.start()
    running = asyncio.create_task(indexer.run())
    try:
        yield running
    finally:
        indexer.stop()
        await asyncio.gather(running, return_exceptions=True)
        await bells.close()
        engine.close()
