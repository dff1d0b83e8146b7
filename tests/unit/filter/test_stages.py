"""What every row of STAGES must give, whatever the message and the account."""

from math import isfinite

import numpy as np
import pytest

from echomox.filter.context import Context, nothing
from echomox.filter.features import read
from echomox.filter.stages import STAGES
from tests.unit.filter.test_tokens import HEAD, HTML, NASTY, mail

MESSAGES = [HEAD, mail("Subject: x", body=HTML, kind="text/html"), *NASTY]


def context(ham, spam):
    return Context(2, ham, spam, lambda wanted: np.stack((wanted % 3, 1 + wanted % 2), 1).astype(np.int32))


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
@pytest.mark.parametrize("taught", [(0, 0), (3, 3), (10, 10), (5000, 20), (20, 5000)])
def test_a_stage_gives_bounded_evidence_and_the_same_twice(stage, taught):
    for data in MESSAGES:
        found = stage.run(read(data), context(*taught))
        assert found.stage == stage.name
        assert 0.0 <= found.probability <= 1.0
        assert isfinite(found.weight) and found.weight >= 0.0
        assert all(isinstance(reason, str) for reason in found.reasons)
        assert stage.run(read(data), context(*taught)) == found


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage.learned], ids=lambda stage: stage.name)
def test_a_learned_stage_has_no_opinion_for_an_account_that_knows_nothing(stage):
    assert all(stage.run(read(data), Context(2, 0, 0, nothing)).weight == 0.0 for data in MESSAGES)
