"""The Bayes stage against a slow reference in fractions."""

from fractions import Fraction
from math import log

import pytest

from echomox.filter.context import Context
from echomox.filter.features import read
from echomox.filter.stages import STAGES, bayes

COUNTS = {"viagra": (0, 8), "meeting": (9, 0), "the": (50, 30), "free": (2, 30), "rare": (0, 1), "odd": (1, 1)}
HAM, SPAM = 100, 60


def reference(ham, spam, all_ham, all_spam):
    """f(w) as the docstring has it, exactly."""
    p = Fraction(spam, all_spam) / (Fraction(spam, all_spam) + Fraction(ham, all_ham))
    s, x = Fraction(bayes.STRENGTH), Fraction(bayes.PRIOR)
    return (s * x + (ham + spam) * p) / (s + ham + spam)


@pytest.mark.parametrize("ham, spam", COUNTS.values(), ids=COUNTS.keys())
def test_word_probability_is_robinsons(ham, spam):
    assert bayes.word_probability(ham, spam, HAM, SPAM) == pytest.approx(
        float(reference(ham, spam, HAM, SPAM)), abs=1e-15
    )


def test_strongest_gives_the_same_probabilities_and_leaves_out_what_says_nothing():
    words = {word[1]: word for word in bayes.strongest(COUNTS, HAM, SPAM)}
    for name, (probability, _, *counts) in words.items():
        assert probability == pytest.approx(float(reference(*COUNTS[name], HAM, SPAM)), abs=1e-15)
        assert tuple(counts) == COUNTS[name]
    for name, counts in COUNTS.items():
        assert (name in words) == (abs(float(reference(*counts, HAM, SPAM)) - 0.5) >= bayes.MARGIN)


def test_only_the_strongest_count():
    counts = {f"w{n:04}": (n % 7, 1 + n % 11) for n in range(3 * bayes.TOP)}
    words = bayes.strongest(counts, 1000, 1000)
    assert len(words) == bayes.TOP
    left = min(abs(word[0] - 0.5) for word in words)
    out = set(counts) - {word[1] for word in words}
    assert all(abs(bayes.word_probability(*counts[word], 1000, 1000) - 0.5) <= left for word in out)


@pytest.mark.parametrize("rarer", [10, 60, 5000])
def test_log_odds_is_the_damped_sum_in_any_order(rarer):
    probabilities = [0.999, 0.2, 0.7, 0.01, 0.61]
    slow = bayes.SCALE * sum(log(p / (1 - p)) for p in probabilities) / (5 + bayes.DAMP) ** bayes.POWER
    trust = rarer / (rarer + bayes.YOUTH)
    slow = slow * trust - bayes.DOUBT * (1 - trust * 5 / (5 + bayes.FEW))
    assert bayes.log_odds(probabilities, rarer) == pytest.approx(slow, rel=1e-12)
    assert bayes.log_odds(probabilities, rarer) == bayes.log_odds(probabilities[::-1], rarer)


def test_log_odds_is_bounded():
    assert bayes.log_odds([1 - 1e-16] * bayes.TOP, 10_000) == bayes.LIMIT
    assert bayes.log_odds([1e-16] * bayes.TOP, 10_000) == -bayes.LIMIT


MAIL = b"From: a@example.org\r\nSubject: hello\r\n\r\nviagra free the\r\n"


def context(counts=COUNTS, ham=HAM, spam=SPAM):
    return Context(2, ham, spam, lambda words: {word: counts[word] for word in words if word in counts})


def test_evidence_says_the_words_that_decided():
    evidence = bayes.run(read(MAIL), context())
    assert evidence.stage == "bayes" and evidence.weight == 1.0
    assert evidence.probability < 0.5  # two words are too few
    assert evidence.reasons == ()
    many = dict.fromkeys(read(MAIL).words(2), (0, 20)) | COUNTS
    evidence = bayes.run(read(MAIL), context(counts=many))
    assert evidence.probability > 0.5
    assert "subject:hello 0/20" in evidence.reasons


def test_few_known_words_are_the_benefit_of_the_doubt():
    assert 0.25 < bayes.run(read(MAIL), context()).probability < 0.5


@pytest.mark.parametrize("ham, spam", [(0, 1000), (9, 1000), (1000, 9), (1000, 0)])
def test_an_account_taught_one_kind_only_has_no_opinion(ham, spam):
    assert bayes.run(read(MAIL), context(ham=ham, spam=spam)).weight == 0.0


@pytest.mark.parametrize("ham, spam", [(0, 0), (9, 9), (0, 9)])
def test_an_account_taught_too_little_has_no_opinion(ham, spam):
    assert bayes.run(read(MAIL), context(ham=ham, spam=spam)).weight == 0.0


def test_the_same_bits_twice():
    assert [bayes.run(read(MAIL), context()) for _ in range(2)] == [bayes.run(read(MAIL), context())] * 2


def test_a_mail_of_unknown_words_only_is_no_opinion():
    assert bayes.run(read(MAIL), context(counts={})).weight == 0.0


def test_stages_have_names_of_their_own_and_a_cost():
    assert len({stage.name for stage in STAGES}) == len(STAGES)
    assert all(0 < stage.cost < 1 for stage in STAGES)
