"""What a stage is given beside the features, and what a row of `STAGES` is.

A stage reads; it never changes what it is given but for `Context.scratch`, where it may leave under its own
name what its learner would otherwise have to compute again for the same message and account.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echomox.config.schema import JunkFilter
from echomox.filter.features import Features
from echomox.filter.hashing import Hashes
from echomox.ipc.schema import Evidence

Counts = NDArray[np.int32]
"""(tokens, 2): messages of ham, messages of spam that held each; 0, 0 for a token that is not known."""
LookUp = Callable[[Hashes], Counts]
"""The counts of any number of tokens, in their order; of the hash 0, which is no token's, 0, 0."""

DEFAULTS = JunkFilter()


def nothing(hashes: Hashes) -> Counts:
    """The counts of an account that has learned nothing."""
    return np.zeros((len(hashes), 2), np.int32)


def no_models(name: str) -> Any:
    """An account without learned parts."""
    return None


@dataclass(frozen=True, slots=True)
class Context:
    """One account and one message. ham, spam: messages the account is trained with; lookup: the same object for all
    messages of one account that are judged together, so that they are looked up at once; models: the decoded read-out
    of a learned part by its learner's name, None when it has none; evidence: what the stages before this one said, in
    their order; settings: the account's junk_filter; brief: reasons are not wanted."""

    ngrams: int
    ham: int
    spam: int
    lookup: LookUp
    models: Callable[[str], Any] = no_models
    evidence: list[Evidence] = field(default_factory=list)
    settings: JunkFilter = DEFAULTS
    scratch: dict[str, Any] = field(default_factory=dict)
    brief: bool = False

    def another(self) -> Context:
        """The same account, for another message."""
        return Context(self.ngrams, self.ham, self.spam, self.lookup, self.models, settings=self.settings)


Question = tuple[Features, Context]


@dataclass(frozen=True, slots=True)
class Stage:
    """A row of `STAGES`. run: may raise, then the other stages decide. cost: seconds it may take at most; a
    request that has less time left goes without it. run_batch: many at once, of any accounts, one Evidence each
    in their order, the same bits as `run` would give for each, whatever their number. learned: whether it speaks
    from what the account was taught."""

    name: str
    run: Callable[[Features, Context], Evidence]
    cost: float
    run_batch: Callable[[Sequence[Question]], list[Evidence]] | None = None
    learned: bool = True


def no_opinion(stage: str, why: str) -> Evidence:
    """Evidence of weight 0: it changes nothing."""
    return Evidence(stage, 0.5, 0.0, (why,))
