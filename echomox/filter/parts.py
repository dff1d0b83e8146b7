"""The learned parts of one account in the trainer's hands: their states, loaded once, changed in memory, dumped
once, within the writer's transaction.

A state that cannot be read, or of another version, is started afresh: what messages added to it is forgotten, and
the account is marked for a retraining.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from echomox.filter.context import Context
from echomox.filter.features import Features
from echomox.filter.learner import Learner, State
from echomox.filter.learners import LEARNERS
from echomox.filter.words import READ, Writer
from echomox.log import Log


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
        trained = writer.totals().total > 0
        for learner in learners:
            self._load(learner, trained)

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

    def clear(self) -> None:
        """All untrained."""
        for name, learner in self._learners.items():
            self._states[name] = learner.fresh()
        self._models.clear()
        self._stale = set(self._learners)
        self._changed = set(self._learners)

    def model(self, name: str) -> Any:
        """The read-out as of the last `refresh`, as a classifier would have it."""
        if name in self._stale and name in self._learners:
            learner = self._learners[name]
            self._models[name] = learner.decode(learner.publish(self._states[name]))
            self._stale.discard(name)
        return self._models.get(name)

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
        return dict(self._apply(label, contributions, False))

    def subtract(self, label: str, contributions: Mapping[str, bytes]) -> None:
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

    def save(self) -> None:
        """Puts changed states and what they publish into the file; within a transaction."""
        for name in sorted(self._changed):
            learner, state = self._learners[name], self._states[name]
            published = learner.publish(state)
            self._writer.put_part(name, learner.version, learner.dump(state))
            self._writer.put_part(name + READ, learner.version, published)
            self._models[name] = learner.decode(published)
            self._stale.discard(name)
        self._changed.clear()
