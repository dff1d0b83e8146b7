"""Training accounts: the learn_outbox of each applied to its junk.db (F06). Only the trainer calls this.

An outbox item says what a message is now: spam, ham, or neither. A batch of them is one transaction, with its place in
the outbox, and may be applied twice, as after a crash between the commit here and the store's forgetting of it.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from echomox.config.schema import JunkFilter
from echomox.filter.counts.words import Writer, junk_path
from echomox.filter.learning.learners import METHOD, Method
from echomox.filter.learning.training import Pupil, StoreSource
from echomox.ipc.schema import LearnState
from echomox.log import Log
from echomox.store.engine import AccountStore, LearnItem

BATCH = 1000
"""Items of an outbox that are one transaction, at most."""
OPEN = 8
"""Accounts whose files and parts stay in memory, about 2 MB each."""
WAITS = 300_000
"""Changes of words that may wait for `Desk.settle` before a lesson has to do it itself."""


class Applied(NamedTuple):
    """items: taken from the outbox; the others: messages newly counted, or not counted any more. retrain: the
    learned parts wait for `retrain`."""

    items: int = 0
    spam: int = 0
    ham: int = 0
    unlearned: int = 0
    retrain: bool = False


class Desk:
    """The accounts that are taught; those taught last stay open. What fails, or was changed by another, is opened
    anew. Every call may raise StoreError, OSError, sqlite3.Error; then nothing was changed."""

    def __init__(self, accounts: Path, log: Log, method: Method = METHOD, most: int = OPEN) -> None:
        self._method = method
        self._accounts = accounts
        self._log = log
        self._most = most
        self._open: OrderedDict[str, Pupil] = OrderedDict()

    def close(self) -> None:
        for account in list(self._open):
            self.forget(account)

    def forget(self, account: str) -> None:
        pupil = self._open.pop(account, None)
        if pupil is not None:
            pupil.writer.close()

    def learn(self, store: AccountStore, settings: JunkFilter) -> Applied:
        """`learning` in one go."""
        steps = self.learning(store, settings)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                done: Applied = end.value
                return done

    def learning(self, store: AccountStore, settings: JunkFilter) -> Generator[None, None, Applied]:
        """Applies the first BATCH items of the outbox, in steps; items == BATCH: there may be more."""
        items = store.learn_outbox(0, BATCH)
        if not items:
            return Applied()
        with self._teaching(store, settings) as pupil:
            yield from pupil.setting(_last_words(items))
            pupil.finish(settings.junk)
            pupil.writer.set_number("outbox", items[-1].id)
            due = bool(pupil.writer.number("retrain"))
            done = Applied(len(items), pupil.spam, pupil.ham, pupil.unlearned, due)
        store.learned(items[-1].id)
        if pupil.writer.waits > WAITS:
            self.settle(store.name)
        return done

    def retraining(self, store: AccountStore, settings: JunkFilter) -> Iterator[tuple[int, int]]:
        """Everything the account has learned, anew from its trained messages, as after damage or an upgrade (F30).
        One transaction, in steps: yields (done, of); readers keep what was before until it is over."""
        self.forget(store.name)
        with self._teaching(store, settings) as pupil:
            yield from pupil.relearn()
            pupil.finish(settings.junk)
            spam, ham = pupil.spam, pupil.ham
        self.forget(store.name)
        self._log.info("retrained", account=store.name, spam=spam, ham=ham)

    def settle(self, account: str) -> None:
        """What nobody waits for: WORD, and the log into the file."""
        pupil = self._open.get(account)
        if pupil is None or not pupil.writer.alone:
            self.forget(account)
            return
        if pupil.writer.waits:
            with pupil.writer.transaction():
                pupil.writer.settle()
        pupil.writer.checkpoint()

    @contextmanager
    def _teaching(self, store: AccountStore, settings: JunkFilter) -> Iterator[Pupil]:
        """A transaction on the account's file."""
        source = StoreSource(store, self._log)
        pupil = self._known(store.name)
        writer = pupil.writer if pupil else Writer(junk_path(self._accounts, store.name))
        try:
            with writer.transaction():
                if pupil is None:
                    pupil = Pupil(writer, source, settings, self._log, self._method)
                pupil.source, pupil.settings = source, settings
                pupil.spam = pupil.ham = pupil.unlearned = 0
                yield pupil
        except BaseException:
            self._open.pop(store.name, None)
            writer.close()
            raise
        self._open[store.name] = pupil
        self._open.move_to_end(store.name)
        if len(self._open) > self._most:
            self.forget(next(iter(self._open)))

    def _known(self, account: str) -> Pupil | None:
        pupil = self._open.get(account)
        if pupil is None:
            return None
        path = junk_path(self._accounts, account)
        if path.exists() and path.stat().st_ino == pupil.writer.inode and pupil.writer.alone:
            return pupil
        self.forget(account)
        return None


def _last_words(items: list[LearnItem]) -> dict[int, str]:
    """message -> its last label, in the order in which messages were first named."""
    labels: dict[int, str] = {}
    for item in items:
        labels[item.message_id] = item.label
    return labels


def learn(store: AccountStore, accounts: Path, settings: JunkFilter, log: Log) -> Applied:
    """`Desk.learn` and `settle` by itself."""
    desk = Desk(accounts, log)
    try:
        done = desk.learn(store, settings)
        desk.settle(store.name)
    finally:
        desk.close()
    return done


def state(store: AccountStore, accounts: Path) -> LearnState:
    """How far learning has come; makes the account's junk.db if there is none, upgrades an old one."""
    writer = Writer(junk_path(accounts, store.name))
    try:
        totals = writer.totals()
        waiting = len(store.learn_outbox(0, 1000))
        return LearnState(store.name, totals.total, totals.ham, totals.spam, writer.number("outbox"), waiting)
    finally:
        writer.close()


def mend(store: AccountStore, accounts: Path, log: Log) -> bool:
    """What a trainer that was killed left undone: WORD, words.map. True: the account's learned parts wait for
    `Desk.retraining` too. Nothing for an account that was never trained."""
    path = junk_path(accounts, store.name)
    if not path.exists():
        return False
    writer = Writer(path)
    try:
        try:
            if writer.waits:
                with writer.transaction():
                    writer.settle()
        except sqlite3.DatabaseError as error:
            log.error("changes of word counts not readable, all is learnt anew", account=store.name, error=str(error))
            with writer.transaction():
                writer.set_number("retrain", 1)
        else:
            writer.mend()
        return bool(writer.number("retrain"))
    finally:
        writer.close()


def due(store: AccountStore, accounts: Path) -> bool:
    """Whether the account's learned parts wait for `retrain`."""
    path = junk_path(accounts, store.name)
    if not path.exists():
        return False
    writer = Writer(path)
    try:
        return bool(writer.number("retrain"))
    finally:
        writer.close()


def retrain(
    store: AccountStore,
    accounts: Path,
    settings: JunkFilter,
    log: Log,
    progress: Callable[[int, int], None] = lambda done, of: None,
    method: Method = METHOD,
) -> LearnState:
    """`Desk.retraining` in one go."""
    desk = Desk(accounts, log, method)
    try:
        for done, of in desk.retraining(store, settings):
            progress(done, of)
    finally:
        desk.close()
    return state(store, accounts)
