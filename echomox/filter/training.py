"""Training one account: its learn_outbox applied to its junk.db (F06). Only the trainer calls this.

An outbox item says what a message is now: spam, ham, or neither. Applying it takes back exactly what the message
has added so far and adds it anew under its label, so items may be applied twice, as after a crash between the
commit here and the store's forgetting of them. A batch is one transaction with its place in the outbox.

Messages are taught in order, each by what was known before it; in bulk, up to one in `STEP` of what was learnt so
far are examined together, so that a long outbox or a retraining runs in batches and a young account does not.

What a message added is kept for the KEEP messages trained last, about 6 KB each, so that an account stays bounded.
Older ones are folded: what they added stays in the sums for good. Taking one back later changes nothing then, and
another label for it counts as a new message. A retraining reads folded messages from the store again, and leaves
out those that are gone from there too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from echomox.config.schema import JunkFilter
from echomox.filter.context import Context, Counts, Stage
from echomox.filter.features import READ_BYTES, Envelope, Features, read
from echomox.filter.learn import LABELS, BadRecord, Delta
from echomox.filter.parts import Parts
from echomox.filter.pipeline import Run
from echomox.filter.stages import STAGES, reputation
from echomox.filter.words import Trained, Writer, junk_path
from echomox.ipc.schema import LearnState
from echomox.log import Log
from echomox.store.engine import AccountStore, LearnItem, StoreError

BATCH = 50
STEP = 16
KEEP = 10_000
FLUSH = 200_000
"""Words that wait in memory at most, while an account is retrained."""

Source = Callable[[int], Features | None]
"""A message's features by its id; None when it is gone or cannot be read. An OSError goes up: the disk may recover."""


class Applied(NamedTuple):
    """items: taken from the outbox; the others: messages newly counted, or not counted any more. retrain: the
    learned parts wait for `retrain`."""

    items: int = 0
    spam: int = 0
    ham: int = 0
    unlearned: int = 0
    retrain: bool = False


class Pupil:
    """One account's junk.db, open for training. Every call but `close` is to be within `writer.transaction()`."""

    def __init__(self, writer: Writer, source: Source, settings: JunkFilter, log: Log) -> None:
        self.writer = writer
        self.spam = self.ham = self.unlearned = 0
        self._source = source
        self._settings = settings
        self._log = log
        self._parts = Parts(writer, log)
        self._delta = Delta()
        self._base = writer.totals()
        self._empty = self._base.total == 0

    # -- lessons

    def set_labels(self, labels: Mapping[int, str]) -> None:
        """labels: message -> one of LABELS, or anything else for none."""
        wanted = []
        for message, label in labels.items():
            label = label if label in LABELS else ""
            known = self._known(message)
            if known and known.label == label:
                continue
            if known:
                self._take_back(message, known)
            if label:
                wanted.append((message, label))
        while wanted:
            size = self._chunk()
            self._teach([(*item, self._source(item[0])) for item in wanted[:size]])
            del wanted[:size]

    def finish(self, threshold: float | None = None) -> None:
        """Puts everything into the file."""
        self._flush()
        self._parts.save()
        self.writer.fold(KEEP)
        if threshold is not None:
            self.writer.set_threshold(threshold)

    def relearn(self) -> Iterator[tuple[int, int]]:
        """All sums anew from the trained messages, in the order of their training: from the messages themselves,
        or from what they added when they are gone. Yields (done, of) after each step."""
        order = self.writer.in_order()
        self.writer.clear()
        self.writer.set_number("retrain", 0)
        self._parts.clear()
        self._delta, self._base, self._empty = Delta(), self.writer.totals(), True
        done = 0
        while done < len(order):
            size = self._chunk()
            chunk = [(message, label, self._source(message)) for message, label in order[done : done + size]]
            self._teach([item for item in chunk if item[2] is not None])
            for message, label, features in chunk:
                if features is None:
                    self._again(message, label)
            if len(self._delta.words) > FLUSH:
                self._flush()
            done += len(chunk)
            yield done, len(order)

    # -- how

    def _chunk(self) -> int:
        total = self._base.total + self._delta.ham + self._delta.spam
        return max(1, min(BATCH, total // STEP))

    def _known(self, message: int) -> Trained | None:
        try:
            return self.writer.trained(message)
        except BadRecord:
            self._log.error("trained message not readable", message=message)
            self.writer.forget(message)
            return None

    def _take_back(self, message: int, known: Trained) -> None:
        if known.tokens is not None:
            self._delta.add(known.label, known.tokens, -1)
            self._parts.subtract(known.label, self.writer.contributions(message))
            self._parts.refresh()
        self.writer.forget(message)
        self.unlearned += 1

    def _again(self, message: int, label: str) -> None:
        """A trained message that is gone: what it has added, as it was."""
        known = self._known(message)
        if known is None or known.tokens is None:
            self.writer.forget(message)
            return
        self._delta.add(label, known.tokens, 1)
        self._parts.add(label, self.writer.contributions(message))
        self._parts.refresh()
        self.writer.remember(message, label, known.tokens)

    def _teach(self, chunk: Sequence[tuple[int, str, Features | None]]) -> None:
        taught = [(message, label, features) for message, label, features in chunk if features is not None]
        questions = [(features, self._context()) for _, _, features in taught]

        def failed(stage: Stage, place: int, error: Exception) -> None:
            self._log.error("stage failed", stage=stage.name, message=taught[place][0], error=repr(error))

        Run(STAGES, failed).examine(questions)
        for (message, label, features), (_, context) in zip(taught, questions):
            added = self._parts.teach(label, features, context)
            tokens = (*features.words(self._settings.ngrams), *reputation.words(features))
            self._delta.add(label, tokens, 1)
            self.writer.remember(message, label, tokens)
            self.writer.put_contributions(message, added)
            self.spam += label == "spam"
            self.ham += label == "ham"
        self._parts.refresh()

    def _context(self) -> Context:
        ham, spam = self._base.ham + self._delta.ham, self._base.spam + self._delta.spam
        return Context(self._settings.ngrams, ham, spam, self._counts, self._parts.model, settings=self._settings)

    def _counts(self, words: Sequence[str]) -> Counts:
        """Of the file, and what waits to be put there."""
        waiting = self._delta.words
        found = {} if self._empty else dict(self.writer.counts(words))
        for word in words:
            more = waiting.get(word)
            if more is not None:
                ham, spam = found.get(word, (0, 0))
                found[word] = (ham + more[0], spam + more[1])
                if found[word] == (0, 0):
                    del found[word]
        return found

    def _flush(self) -> None:
        self.writer.apply(self._delta)
        self._delta, self._base = Delta(), self.writer.totals()
        self._empty = self._base.total == 0


class StoreSource:
    """Messages of an account's store, with the envelope our own trace fields tell."""

    def __init__(self, store: AccountStore, log: Log) -> None:
        self._store = store
        self._log = log

    def __call__(self, message: int) -> Features | None:
        try:
            content = self._store.content(message)
        except StoreError:
            return None
        try:
            trace = content.read(0, content.prefix_size) if content.prefix_size else b""
            data = content.read(content.prefix_size, READ_BYTES)
            return read(data, envelope_of(trace))
        except StoreError as error:
            self._log.warn("not learnt", account=self._store.name, message=message, error=str(error))
        except OSError:
            raise
        except Exception:  # one message that cannot be read must not stop the account's learning
            self._log.exception("not learnt", account=self._store.name, message=message)
        finally:
            content.close()
        return None


_PATH = re.compile(rb"^Return-Path: <([^>\r\n]*)>", re.M)
_FROM = re.compile(rb"^Received: from (\S+)\s+\((?:\S+\s+)?\[(?:IPv6:)?([0-9A-Fa-f.:]+)\]\)", re.M)
_WITH = re.compile(rb"\bwith (?:UTF8SMTP|ESMTP)S", re.M)
_AUTH = re.compile(rb"^Authentication-Results:(?:[^\n]*\n[ \t])*[^\n]*", re.M)
_RESULT = re.compile(rb"[;\s](spf|dkim|dmarc|arc|iprev)=([a-z]+)")


def envelope_of(trace: bytes) -> Envelope:
    """How a message came, by the trace fields that we put before it (`delivery`)."""
    path, hop, auth = _PATH.search(trace), _FROM.search(trace), _AUTH.search(trace)
    results = _RESULT.findall(auth[0]) if auth else []
    return Envelope(
        path[1].decode("utf-8", "replace") if path else "",
        hop[2].decode("ascii") if hop else "",
        hop[1].decode("ascii", "replace") if hop else "",
        bool(_WITH.search(trace)),
        tuple((method.decode(), result.decode()) for method, result in results),
    )


# -- the trainer's calls -------------------------------------------------------


def learn(store: AccountStore, accounts: Path, settings: JunkFilter, log: Log) -> Applied:
    """Applies the first BATCH items of the outbox; items == BATCH: there may be more."""
    items = store.learn_outbox(0, BATCH)
    if not items:
        return Applied()
    writer = Writer(junk_path(accounts, store.name))
    try:
        with writer.transaction():
            pupil = Pupil(writer, StoreSource(store, log), settings, log)
            pupil.set_labels(_last_words(items))
            pupil.finish(settings.junk)
            writer.set_number("outbox", items[-1].id)
            due = bool(writer.number("retrain"))
    finally:
        writer.close()
    store.learned(items[-1].id)
    return Applied(len(items), pupil.spam, pupil.ham, pupil.unlearned, due)


def _last_words(items: list[LearnItem]) -> dict[int, str]:
    """message -> its last label, in the order in which messages were first named."""
    labels: dict[int, str] = {}
    for item in items:
        labels[item.message_id] = item.label
    return labels


def state(store: AccountStore, accounts: Path) -> LearnState:
    """How far learning has come; makes the account's junk.db if there is none, upgrades an old one."""
    writer = Writer(junk_path(accounts, store.name))
    try:
        totals = writer.totals()
        waiting = len(store.learn_outbox(0, 1000))
        return LearnState(store.name, totals.total, totals.ham, totals.spam, writer.number("outbox"), waiting)
    finally:
        writer.close()


def retraining(store: AccountStore, accounts: Path, settings: JunkFilter, log: Log) -> Iterator[tuple[int, int]]:
    """Everything the account has learned, anew from its trained messages, as after damage or an upgrade (F30). One
    transaction, in steps: yields (done, of); readers keep what was before until it is over."""
    writer = Writer(junk_path(accounts, store.name))
    try:
        with writer.transaction():
            pupil = Pupil(writer, StoreSource(store, log), settings, log)
            yield from pupil.relearn()
            pupil.finish(settings.junk)
    finally:
        writer.close()
    log.info("retrained", account=store.name, spam=pupil.spam, ham=pupil.ham)


def due(store: AccountStore, accounts: Path) -> bool:
    """Whether the account's learned parts wait for `retraining`; False for one that was never trained."""
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
) -> LearnState:
    """`retraining` in one go."""
    for done, of in retraining(store, accounts, settings, log):
        progress(done, of)
    return state(store, accounts)
