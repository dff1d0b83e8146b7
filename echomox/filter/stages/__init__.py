"""The stages of the filter, in the order in which they run. A new one is a file here and a row in STAGES."""

from __future__ import annotations

from echomox.filter.context import Stage
from echomox.filter.stages import affect, auth, bayes, esn, membranes, ngrams, reputation

STAGES: tuple[Stage, ...] = (
    Stage(bayes.NAME, bayes.run, 0.02, bayes.run_batch),
    Stage(ngrams.NAME, ngrams.run, cost=0.005),
    esn.NETWORK.stage(),
    membranes.stage(membranes.default_rules),
    Stage(affect.NAME, affect.run, cost=0.02, learned=False),
    Stage(reputation.NAME, reputation.run, 0.005, reputation.run_batch),
    Stage(auth.NAME, auth.run, cost=0.001, learned=False),
)


def with_own(*own: Stage) -> tuple[Stage, ...]:
    """STAGES, with some of the rows replaced by those of the same name."""
    named = {stage.name: stage for stage in own}
    return tuple([named.get(stage.name, stage) for stage in STAGES])
