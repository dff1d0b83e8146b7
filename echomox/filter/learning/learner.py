"""What a learned part of the filter is: a state of integers that trained messages are added to and taken from.

The trainer alone changes states. For each message it trains it asks every row of `learners.LEARNERS` for the
message's contribution, keeps that beside the message, and adds it; taking the message back subtracts the very
same bytes, whatever the program, the settings or the other messages have become since. All sums are integers,
so add then subtract restores the bits, in any order of messages.

What classifiers need is published beside the state, small; `decode` makes of it the object that stages get
from `Context.models(name)`, once per account and change.

In junk.db: `part(name)` holds `dump`, `part(name + ".read")` what `publish` gives, `contribution(message, part)`
the contributions. A part of another `version` than the learner's starts afresh, and so does one that cannot be
read; `echomox filter retrain` fills it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from echomox.filter.context import Context, Question
from echomox.filter.features import Features

State = Any
"""What one learner keeps for one account; only that learner looks inside. `add` and `subtract` change it in place."""


class Learner(Protocol):
    """One learned part; has no state of its own and may be shared by all accounts."""

    @property
    def name(self) -> str:
        """The part's name in junk.db: "ngrams", "esn"."""

    @property
    def version(self) -> int:
        """A change of what dump, publish or contribution mean is a new version."""

    def fresh(self) -> State:
        """The untrained state."""

    def load(self, data: bytes) -> State:
        """What `dump` gave. Raises ValueError for anything else."""

    def dump(self, state: State) -> bytes: ...

    def prepare(self, questions: Sequence[Question]) -> None:
        """Leaves in each context.scratch what `contribution` would otherwise compute for one message alone. Need not be
        called, and need not do anything."""

    def contribution(self, state: State, features: Features, context: Context, label: str) -> bytes:
        """What the message is to add as "spam" or "ham". Called before the message is added anywhere, so that
        its evidence does not contain itself; state is the live one, not to be changed. context.evidence: what
        every stage said of the message, and context.scratch what they left there; for messages that are trained
        in bulk these are a little older than state. b"": the message adds nothing to this part."""

    def add(self, state: State, label: str, contribution: bytes) -> None: ...

    def subtract(self, state: State, label: str, contribution: bytes) -> None:
        """The exact reverse of add. Raises ValueError for what is no contribution, and then changes nothing."""

    def publish(self, state: State) -> bytes:
        """What a classifier needs of the state."""

    def decode(self, data: bytes) -> Any:
        """What stages get as context.models(name). Raises ValueError for what `publish` did not give."""
