"""The learned parts of the filter beside the word counts, in the order in which they learn. A new one is a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from echomox.filter import combine
from echomox.filter.context import Stage
from echomox.filter.learning.learner import Learner
from echomox.filter.stages import STAGES, esn, ngrams
from echomox.reservoir.ridge import Doubles

LEARNERS: tuple[Learner, ...] = (ngrams.LEARNER, esn.LEARNER, combine.LEARNER)


class Method(NamedTuple):
    """How a server teaches its accounts: what learns, and the stages whose evidence it learns from."""

    learners: Sequence[Learner] = LEARNERS
    stages: Sequence[Stage] = STAGES


METHOD = Method()


def with_prior(prior: Doubles | None) -> tuple[Learner, ...]:
    """The learners where accounts share the server's read-out `prior`, if there is one."""
    shared = esn.EsnLearner(esn.NETWORK, prior)
    return tuple(shared if learner is esn.LEARNER else learner for learner in LEARNERS)


def decode(name: str, version: int, data: bytes) -> Any:
    """What the learner `name` published, as stages get it; None of another version, or when there is no such
    learner. Raises ValueError."""
    for learner in LEARNERS:
        if learner.name == name:
            return learner.decode(data) if learner.version == version else None
    return None
