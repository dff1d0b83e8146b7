"""The learned parts of one account in the trainer's hands: their states, loaded once, changed in memory, and put into
the file within the writer's transaction.

What classifiers read is put there with every change; a whole state only after OFTEN lessons, or when a message was
taken back, or anything but lessons happened: until then it is what the file has and what the messages that were trained
since have added to it, which is kept with each of them.

A state that cannot be read, or of another version, is started afresh: what messages added to it is forgotten, and
the account is marked for a retraining.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from echomox.filter.context import Context, Question
from echomox.filter.counts.words import READ, Writer
from echomox.filter.features import Features
from echomox.filter.learning.learner import Learner, State
from echomox.filter.learning.learners import LEARNERS
from echomox.log import Log

OFTEN = 16
SAVED = "saved"
"""The number in junk.db of the place in the order of training up to which the file's states are whole."""


class Parts:
    """To be made within a transaction of the writer."""

    def __init__(self, writer: Writer, log: Log, learners: Sequence[Learner] = LEARNERS) -> None:
        self._writer = writer
        self._log = log
        self._learners = {learner.name: learner for learner in learners}
        self._states: dict[str, State] = {}
        self._models: dict[str, Any] = {}
        self._stale: set[str] = set()
        """Parts whose model is not of their state."""
        self._changed: set[str] = set()
        """Parts whose state is not in the file."""
        self._whole = False
        """Whether the file's states cannot be brought up to date by adding lessons."""
        trained = writer.totals().total > 0
        for learner in learners:
            self._load(learner, trained)
        self._catch_up()

    def _catch_up(self) -> None:
        """Adds what was trained since the states were put into the file."""
        for label, name, data in self._writer.added_since(self._writer.number(SAVED)):
            learner = self._learners.get(name)
            if learner is None or name in self._changed:
                continue
            try:
                learner.add(self._states[name], label, data)
            except ValueError as error:
                self._log.error("contribution not readable", part=name, error=str(error))

    def _load(self, learner: Learner, trained: bool) -> None:
        name = learner.name
        row = self._writer.part(name)
        if row is not None and row[0] == learner.version:
            try:
                self._states[name] = learner.load(row[1])
                published = self._writer.part(name + READ)
                self._models[name] = learner.decode(published[1]) if published else None
                return
            except ValueError as error:
                self._log.error("learned part not readable", part=name, error=str(error))
        if trained:
            self._writer.drop_contributions(name)
            self._writer.set_number("retrain", 1)
        self._states[name] = learner.fresh()
        self._stale.add(name)
        self._changed.add(name)
        self._whole = True

    def clear(self) -> None:
        """All untrained."""
        for name, learner in self._learners.items():
            self._states[name] = learner.fresh()
        self._models.clear()
        self._whole = True
        self._stale = set(self._learners)
        self._changed = set(self._learners)

    def model(self, name: str) -> Any:
        """The read-out as of the last `refresh`, as a classifier would have it."""
        if name in self._stale and name in self._learners:
            learner = self._learners[name]
            self._models[name] = learner.decode(learner.publish(self._states[name]))
            self._stale.discard(name)
        return self._models.get(name)

    def prepare(self, questions: Sequence[Question]) -> None:
        """Before `teach` of each: what is done faster for many at once."""
        for name, learner in self._learners.items():
            try:
                learner.prepare(questions)
            except Exception:  # it is tried again with each alone
                self._log.exception("part not prepared", part=name)

    def teach(self, label: str, features: Features, context: Context) -> dict[str, bytes]:
        """Adds a message to every part; returns what it added. A part that fails learns nothing of it."""
        added = {}
        for name, learner in self._learners.items():
            state = self._states[name]
            try:
                contribution = learner.contribution(state, features, context, label)
                if contribution:
                    learner.add(state, label, contribution)
            except Exception:
                self._log.exception("part not taught", part=name)
                continue
            if contribution:
                added[name] = contribution
                self._changed.add(name)
        return added

    def add(self, label: str, contributions: Mapping[str, bytes]) -> dict[str, bytes]:
        """What a message had added, once more; returns what was understood."""
        self._whole = True
        return dict(self._apply(label, contributions, False))

    def subtract(self, label: str, contributions: Mapping[str, bytes]) -> None:
        self._whole = True
        for _ in self._apply(label, contributions, True):
            pass

    def _apply(self, label: str, contributions: Mapping[str, bytes], back: bool) -> Iterator[tuple[str, bytes]]:
        for name, contribution in contributions.items():
            learner = self._learners.get(name)
            if learner is None:
                continue
            try:
                (learner.subtract if back else learner.add)(self._states[name], label, contribution)
            except ValueError as error:
                self._log.error("contribution not readable", part=name, error=str(error))
                continue
            self._changed.add(name)
            yield name, contribution

    def refresh(self) -> None:
        """Lets models follow their states."""
        self._stale |= self._changed

    def save_whole(self) -> None:
        """The next `save` is to put all states into the file."""
        self._whole = True

    def save(self) -> None:
        """Puts what changed into the file; within a transaction, after the messages themselves."""
        last = self._writer.last_position()
        whole = self._whole or last - self._writer.number(SAVED) >= OFTEN
        for name in sorted(self._learners if whole else self._changed):
            learner, state = self._learners[name], self._states[name]
            if whole:
                self._writer.put_part(name, learner.version, learner.dump(state))
            if name in self._changed:
                published = learner.publish(state)
                self._writer.put_part(name + READ, learner.version, published)
                self._models[name] = learner.decode(published)
                self._stale.discard(name)
        if whole:
            self._writer.set_number(SAVED, last)
        self._changed.clear()
        self._whole = False
