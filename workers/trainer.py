"""The trainer: the only writer of junk.db. Applies what users say of messages, within a second or two (F06), and
fills the learned parts of accounts whose junk.db is older than they are.

It hears all bells; each `learn_interval` it looks into the outbox of the accounts that rang. Bells can be
lost, so all accounts are looked at when it starts, when the notifier comes back, and every `SCAN` seconds,
and `RETRY` seconds after trouble.
learn.sock answers `Learned` (how far an account has come) and `Retrain`, of which it tells how far it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from echomox.config.schema import JunkFilter
from echomox.dns.psl import load as load_suffixes
from echomox.filter.learning.alarm import Watch
from echomox.filter.learning.desk import BATCH, Applied, Desk, mend, state
from echomox.filter.learning.learners import Method, with_prior
from echomox.filter.lexicon import lexicon
from echomox.filter.stages import esn, membranes, with_own
from echomox.filter.weights import DIRECTORY, StateFile, mend_state, publish, record, share
from echomox.ipc.bells import Bells
from echomox.ipc.channel import Link, Server
from echomox.ipc.frame import Frame
from echomox.ipc.schema import Failed, Learned, LearnState, Retrain, Retraining
from echomox.log import Log, logger
from echomox.store import open_engine
from echomox.store.engine import FEW_OPEN, AccountStore, Engine, NoSuchAccount, StoreError
from workers.classifier import settle

if TYPE_CHECKING:
    from workers.base import Worker

SCAN = 300.0
RETRY = 15.0


class Trainer:
    """The service without its process. settings(account): its filter's settings; count: the worker's
    counters; learned(account): called after lessons were applied.
    """

    def __init__(
        self,
        engine: Engine,
        accounts: Path,
        settings: Callable[[str], JunkFilter],
        log: Log,
        count: Callable[[str, int], None] = lambda name, n: None,
        learned: Callable[[str], None] = lambda account: None,
    ) -> None:
        self._engine = engine
        self._learned = learned
        self._accounts = accounts
        self._settings = settings
        self._log = log
        self._count = count
        self._rung: set[str] = set()
        self._scan = True
        self._next_scan = 0.0
        self._failed = False
        self.desk = Desk(accounts, log)
        self._mended: set[str] = set()
        self._wake = asyncio.Event()
        self._busy = asyncio.Lock()
        self.server = Server(self._frame, log, dropped=lambda: count("ipc_dropped", 1))
        self._answers: set[asyncio.Task[None]] = set()

    def rung(self, account: str, modseq: int) -> None:
        """A bell; account "": bells may have been lost."""
        if account:
            self._rung.add(account)
        else:
            self._scan = True
        self._wake.set()

    async def run(self, interval: float) -> None:
        """Learns until cancelled; a pass takes up what rang meanwhile."""
        loop = asyncio.get_running_loop()
        while True:
            await self.turn(loop.time())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.1, self._next_scan - loop.time()))
            await asyncio.sleep(interval)

    async def turn(self, now: float) -> None:
        """Looks into the outbox of every account that rang, or of all when it is time."""
        self._wake.clear()
        accounts, self._rung = self._rung, set()
        if self._scan or now >= self._next_scan:
            self._scan, self._next_scan = False, now + SCAN
            accounts |= set(self._engine.accounts())
        for account in sorted(accounts):
            async with self._busy:
                await self._account(account)
        if self._failed:
            self._failed, self._next_scan = False, min(self._next_scan, now + RETRY)

    async def _account(self, account: str) -> None:
        try:
            store = self._engine.open(account)
            if account not in self._mended:
                self._mended.add(account)
                if mend(store, self._accounts, self._log):
                    await self._retrain(store)
            items, total = BATCH, 0
            while items == BATCH:
                applied = await self._learn(store)
                items = applied.items
                total += items
                self._tell(account, applied.spam, applied.ham, applied.unlearned)
                if applied.retrain:
                    await self._retrain(store)
                await asyncio.sleep(0)  # the heartbeat's turn
            if total:
                self._learned(account)
                await asyncio.sleep(0)
                self.desk.settle(account)
        except NoSuchAccount:
            self.desk.forget(account)
            self._mended.discard(account)
            return
        except (StoreError, OSError, sqlite3.Error) as error:
            self._log.warn("not learnt yet", account=account, error=f"{type(error).__name__}: {error}")
            self._failed = True
        except Exception:
            self._log.exception("learning failed", account=account)
            self._count("exceptions", 1)

    async def _learn(self, store: AccountStore) -> Applied:
        """A batch of the outbox; the heartbeat has its turn in between."""
        with contextlib.closing(self.desk.learning(store, self._settings(store.name))) as steps:
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    applied: Applied = end.value
                    return applied
                await asyncio.sleep(0)

    def close(self) -> None:
        """Closes the files of accounts."""
        self.desk.close()

    async def _retrain(self, store: AccountStore, asking: Link | None = None) -> None:
        """Everything the account has learned, anew; others wait for it, the heartbeat does not."""
        for done, of in self.desk.retraining(store, self._settings(store.name)):
            self._log.debug("retraining", account=store.name, done=done, of=of)
            if asking:
                asking.send(Retraining(store.name, done, of))
            await asyncio.sleep(0)

    def _tell(self, account: str, spam: int, ham: int, unlearned: int) -> None:
        for name, number in (("learned_spam", spam), ("learned_ham", ham), ("unlearned", unlearned)):
            if number:
                self._count(name, number)
        if spam or ham or unlearned:
            self._log.info("learnt", account=account, spam=spam, ham=ham, unlearned=unlearned)

    def _frame(self, link: Link, frame: Frame) -> None:
        message = frame.message
        if not isinstance(message, Learned | Retrain):
            link.send(Failed("not for the trainer"), frame.request)
            return
        task = asyncio.create_task(self._serve(link, frame.request, message))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _serve(self, link: Link, request: int, message: Learned | Retrain) -> None:
        answer: LearnState | Failed
        try:
            async with self._busy:
                store = self._engine.open(message.account)
                if isinstance(message, Retrain):
                    await self._retrain(store, link)
                    self._learned(store.name)
                answer = state(store, self._accounts)
        except NoSuchAccount:
            answer = Failed("no such account")
        except (StoreError, OSError, sqlite3.OperationalError) as error:  # as when the disk is full
            self._log.warn("request not served", account=message.account, error=f"{type(error).__name__}: {error}")
            answer = Failed(str(error))
        except Exception as error:
            self._log.exception("request failed", account=message.account)
            answer = Failed(f"error {type(error).__name__}")
        link.send(answer, request)


def warm() -> None:
    """Makes what would otherwise be made with the first lesson, as far as the supervisor has not made it for all; what
    lives then is left out of the search for cycles. The processes that read ahead have it too."""
    load_suffixes()
    lexicon()
    esn.seed_weights()
    settle()


async def run(worker: Worker) -> None:
    """The body of the process."""
    log = logger("trainer")

    def settings(account: str) -> JunkFilter:
        found = worker.snapshot().dynamic.accounts.get(account)
        return found.junk_filter if found else JunkFilter()

    engine = open_engine(worker.paths)
    engine.open_limit = FEW_OPEN
    reservoir = worker.paths.data / DIRECTORY
    mend_state(reservoir, log)
    share(reservoir, worker.paths.accounts, engine.accounts(), worker.static.filter.shared_prior, log)
    shared = publish(reservoir, worker.weights, log)
    states = StateFile(reservoir)

    watch = Watch(worker.paths.accounts, log, worker.count)

    def learned(account: str) -> None:
        record(states, worker.paths.accounts, account, settings(account))
        watch.look(account)

    rules = membranes.rules_of(worker.static.filter.rules)
    method = Method(with_prior(shared.prior), with_own(membranes.stage(lambda: rules)))
    trainer = Trainer(engine, worker.paths.accounts, settings, log, worker.count, learned)
    trainer.desk = Desk(worker.paths.accounts, log, method)
    bells = Bells(worker.paths.socket("change"), log, worker.name)
    bells.listen_to_all(trainer.rung)
    await bells.start()
    await trainer.server.serve(worker.listeners["learn"])
    warm()
    worker.ready()
    learning = asyncio.create_task(trainer.run(worker.static.filter.learn_interval))
    try:
        await worker.stopping(learning)
    finally:
        learning.cancel()
        await asyncio.gather(learning, return_exceptions=True)
        await trainer.server.close()
        trainer.close()
        await bells.close()
        states.close()
        engine.close()
