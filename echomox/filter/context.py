"""What a stage is given beside the features, and what a row of `STAGES` is.

A stage reads; it never changes what it is given but for `Context.scratch`, where it may leave under its own
name what its learner would otherwise have to compute again for the same message and account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from echomox.config.schema import JunkFilter
from echomox.filter.features import Features
from echomox.ipc.schema import Evidence

Counts = Mapping[str, tuple[int, int]]
"""word -> (messages of ham, messages of spam) that held it; words in neither are left out."""


DEFAULTS = JunkFilter()


def no_models(name: str) -> Any:
    """An account without learned parts."""
    return None


@dataclass(frozen=True, slots=True)
class Context:
    """One account and one message. ham, spam: messages the account is trained with; counts: looks up many words
    at once; models: the decoded read-out of a learned part by its learner's name, None when it has none;
    evidence: what the stages before this one said, in their order; settings: the account's junk_filter."""

    ngrams: int
    ham: int
    spam: int
    counts: Callable[[Sequence[str]], Counts]
    models: Callable[[str], Any] = no_models
    evidence: list[Evidence] = field(default_factory=list)
    settings: JunkFilter = DEFAULTS
    scratch: dict[str, Any] = field(default_factory=dict)

    def another(self) -> Context:
        """The same account, for another message."""
        return Context(self.ngrams, self.ham, self.spam, self.counts, self.models, settings=self.settings)


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
