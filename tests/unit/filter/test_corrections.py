"""The combination where only errors are labelled: what such lessons say of the parts, and what they do not."""

import pytest

from echomox.filter.combine import AGREED, BINS, LEARNER, State, bin_of, combine, heeded, model_of, weights_of
from echomox.filter.context import Context, nothing
from echomox.filter.features import read
from echomox.ipc.schema import Evidence

FEATURES = read(b"")


def lesson(state, good, noise):
    evidence = [Evidence("ngrams", good, 1.0, ()), Evidence("membranes", noise, 1.0, ())]
    return evidence, Context(2, 50, 50, nothing, evidence=evidence)


def mails(count):
    """A part that is right nine times of ten beside one that has less to say."""
    for number in range(count):
        spam, wrong = number % 2 == 1, number % 10 == 3 or number % 10 == 6
        yield spam, 0.9 if spam != wrong else 0.1, 0.35 if spam else 0.15


def taught(only_errors):
    """The state, and the share of mail that was judged rightly in the second half."""
    state, right = LEARNER.fresh(), []
    for spam, good, noise in mails(2000):
        evidence, context = lesson(state, good, noise)
        correct = (combine(evidence, model_of(state)).probability >= 0.5) == spam
        right.append(correct)
        if not (only_errors and correct):
            label = "spam" if spam else "ham"
            LEARNER.add(state, label, LEARNER.contribution(state, FEATURES, context, label))
    return state, sum(right[1000:]) / 1000


def test_a_good_part_is_not_unlearned_by_its_errors_alone():
    state, right = taught(only_errors=True)
    assert weights_of(state)[0]["ngrams"] > 0.4 and right >= 0.8
    assert heeded(state) < 0.5


def test_all_lessons_count_wholly_where_all_mail_is_labelled():
    state, right = taught(only_errors=False)
    assert heeded(state) == 1.0 and right >= 0.8


@pytest.mark.parametrize(
    "agreed, contradicted, share",
    [(0, 0, 1.0), (0, AGREED, 1.0), (0, 3 * AGREED, 0.25), (30, 40, 1.0), (0, 10**6, 0.0)],
)
def test_the_share_is_the_documented_one(agreed, contradicted, share):
    state = State()
    state.spam[bin_of(1.0)], state.ham[bin_of(-1.0)] = agreed, 0
    state.ham[bin_of(3.0)] = contradicted
    assert heeded(state) == pytest.approx(share, abs=1e-4)
    assert len(state.ham) == BINS
