"""What is judged together gets the bits it gets alone: every stage, any batch, several accounts."""

from __future__ import annotations

import random

import pytest

from echomox.filter.context import Context
from echomox.filter.features import read
from echomox.filter.stages import STAGES, esn, ngrams
from tests.unit.filter import support
from tests.unit.filter.test_stage_esn import message, taught
from tests.unit.filter.test_tokens import HEAD, HTML, NASTY, mail

LEARNER = ngrams.LEARNER


@pytest.fixture(scope="module")
def accounts():
    """(messages learnt, look-up, models) of two that have learned different things, and one without."""
    made = []
    for number in (30, 75):
        account = taught(number)
        state = LEARNER.fresh()
        for place in range(number):
            features = message(place, place % 3 == 0)
            context = Context(2, 0, 0, support.known({}))
            label = "spam" if place % 3 == 0 else "ham"
            LEARNER.add(state, label, LEARNER.contribution(state, features, context, label))
        models = {esn.NAME: account.model, ngrams.NAME: LEARNER.decode(LEARNER.publish(state))}
        made.append((account.ham, account.spam, support.known(account.words), models.get))
    return [*made, (0, 0, support.known({}), {}.get)]


def messages():
    nasty = [mail("Subject: x y", body=HTML, kind="text/html"), HEAD, *NASTY]
    return [message(seed, seed % 2 == 0) for seed in range(200, 250)] + [read(data) for data in nasty]


def questions(accounts):
    """A message and an account each; of one account all share its look-up."""
    draw = random.Random(5)
    return [(features, Context(2, *draw.choice(accounts))) for features in messages()]


@pytest.mark.parametrize("size", [1, 2, 7, 8, 31, 64])
def test_any_batch_gives_the_same_bits(accounts, size):
    alone = []
    for features, context in questions(accounts):
        for stage in STAGES:
            context.evidence.append(stage.run(features, context))
        alone.append(context.evidence)
    asked = questions(accounts)
    random.Random(size).shuffle(order := list(range(len(asked))))
    for start in range(0, len(order), size):
        batch = [asked[place] for place in order[start : start + size]]
        for stage in STAGES:
            found = stage.run_batch(batch) if stage.run_batch else [stage.run(*one) for one in batch]
            for (_, context), evidence in zip(batch, found):
                context.evidence.append(evidence)
    assert [context.evidence for _, context in asked] == alone


def test_something_was_said(accounts):
    said = {stage.name: 0 for stage in STAGES}
    for features, context in questions(accounts):
        for stage in STAGES:
            said[stage.name] += stage.run(features, context).weight > 0.0
    assert all(said[name] > 20 for name in ("bayes", "ngrams", "esn", "membranes"))
