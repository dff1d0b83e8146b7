"""The Bayes stage, and what is known of words, against a slow reference in fractions."""

from fractions import Fraction
from math import log

import numpy as np
import pytest

from echomox.filter.context import Context
from echomox.filter.counts.known import PRIOR, STRENGTH, UNIT, known, probability
from echomox.filter.counts.known import log_odds as odds_of
from echomox.filter.features import read
from echomox.filter.hashed import strings
from echomox.filter.stages import STAGES, bayes
from tests.unit.filter import support

COUNTS = {"viagra": (0, 8), "meeting": (9, 0), "the": (50, 30), "free": (2, 30), "rare": (0, 1), "odd": (1, 1)}
HAM, SPAM = 100, 60


def reference(ham, spam, all_ham, all_spam):
    """f(w) as the docstring has it, exactly."""
    p = Fraction(spam, all_spam) / (Fraction(spam, all_spam) + Fraction(ham, all_ham))
    s, x = Fraction(STRENGTH), Fraction(PRIOR)
    return (s * x + (ham + spam) * p) / (s + ham + spam)


@pytest.mark.parametrize("ham, spam", COUNTS.values(), ids=COUNTS.keys())
def test_probability_and_log_odds_are_robinsons(ham, spam):
    f = float(reference(ham, spam, HAM, SPAM))
    assert probability(ham, spam, HAM, SPAM) == pytest.approx(f, abs=1e-15)
    (found,) = odds_of(np.array([(ham, spam)]), HAM, SPAM)
    assert found == pytest.approx(log(f / (1 - f)), abs=0.51 / UNIT)
    assert found * UNIT == int(found * UNIT)


def test_what_is_not_known_says_nothing():
    assert odds_of(np.zeros((3, 2), np.int32), HAM, SPAM).tolist() == [0.0, 0.0, 0.0]
    assert probability(0, 0, HAM, SPAM) == 0.5


def mail_of(words):
    return read(b"Subject: x\r\n\r\n" + " ".join(words).encode())


def test_only_words_beyond_the_margin_count():
    features = mail_of(COUNTS)
    found = known(features, context())
    places, odds = bayes.strongest(found)
    wanted = {word for word in COUNTS if abs(float(reference(*COUNTS[word], HAM, SPAM)) - 0.5) >= bayes.MARGIN}
    assert set(strings(features.text, found.tokens, places)) == wanted
    assert 0 < len(odds) == len(wanted) < len(COUNTS)


def test_only_the_strongest_count():
    words = [f"w{number}" for number in range(800)]
    counts = {word: (number % 3, 7 + number % 11) for number, word in enumerate(words)}
    found = known(mail_of(words), context(counts, 1000, 1000))
    _, odds = bayes.strongest(found)
    every = np.sort(np.abs(found.odds[found.tokens.distinct]))[::-1]
    assert len(odds) == bayes.TOP
    assert sorted(np.abs(odds), reverse=True) == every[: bayes.TOP].tolist()


@pytest.mark.parametrize("rarer", [10, 60, 5000])
def test_log_odds_is_the_damped_sum_in_any_order(rarer):
    odds = np.rint(np.array([6.9, -1.4, 0.85, -4.6, 0.45]) * UNIT) / UNIT
    slow = bayes.SCALE * sum(odds) / (5 + bayes.DAMP) ** bayes.POWER
    trust = rarer / (rarer + bayes.YOUTH)
    slow = slow * trust - bayes.DOUBT * (1 - trust * 5 / (5 + bayes.FEW))
    assert bayes.log_odds(odds, rarer) == pytest.approx(slow, rel=1e-12)
    assert bayes.log_odds(odds, rarer) == bayes.log_odds(odds[::-1], rarer)


def test_log_odds_is_bounded():
    assert bayes.log_odds(np.full(bayes.TOP, 36.0), 10_000) == bayes.LIMIT
    assert bayes.log_odds(np.full(bayes.TOP, -36.0), 10_000) == -bayes.LIMIT


MAIL = b"From: a@example.org\r\nSubject: hello\r\n\r\nviagra free the\r\n"


def context(counts=COUNTS, ham=HAM, spam=SPAM):
    return Context(2, ham, spam, support.known(counts))


def test_evidence_says_the_words_that_decided():
    evidence = bayes.run(read(MAIL), context())
    assert evidence.stage == "bayes" and evidence.weight == 1.0
    assert evidence.probability < 0.5  # two words are too few
    assert evidence.reasons == ()
    many = dict.fromkeys(read(MAIL).words(2), (0, 20)) | COUNTS
    evidence = bayes.run(read(MAIL), context(counts=many))
    assert evidence.probability > 0.5
    assert "subject:hello 0/20" in evidence.reasons


@pytest.mark.parametrize("number", [3, bayes.REASONS, bayes.REASONS + 1, 40])
def test_reasons_are_the_words_that_pulled_most_and_of_equal_ones_the_last(number):
    words = [f"word{at}" for at in range(number)]
    counts = {word: (1, (7, 20, 20, 50)[at % 4]) for at, word in enumerate(words)}
    counts[words[1]] = (30, 0)  # pulls to the other side
    evidence = bayes.run(read(b"\r\n\r\n" + " ".join(words).encode()), Context(1, 100, 100, support.known(counts)))
    spam = [(counts[word][1], at, word) for at, word in enumerate(words) if at != 1]
    wanted = [f"{word} 1/{count}" for count, _, word in sorted(spam, reverse=True)]
    wanted = wanted if evidence.probability > 0.5 else ["word1 30/0"]
    assert evidence.reasons == tuple(wanted[: bayes.REASONS])


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
