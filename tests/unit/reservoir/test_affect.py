"""From counts to the profile: the written equations, bounds, and what moves what."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.reservoir.affect import (
    BIAS,
    EMOTIONS,
    FIELDS,
    KINDS,
    PRESSING,
    WEIGHTS,
    Counts,
    affect,
    warning,
)
from echomox.reservoir.geometry import smooth


def counts(words=100, questions=0, variety=(100, 70), lengths=(5.0, 15.0), **terms):
    return Counts(tuple(terms.get(kind, 0.0) for kind in KINDS), words, *variety, *lengths, questions)


def test_the_names_are_those_of_the_data_architecture():
    assert FIELDS == (
        "Joy", "Sadness", "Anger", "Fear", "Disgust", "Interest", "Surprise", "Valence", "Arousal", "Dominance",
    )  # fmt: skip
    found = affect(counts(joy=1.0, anger=2.0))
    assert found.row == (*found.emotions, found.valence, found.arousal, found.dominance)


def test_intensities_by_the_written_equation():
    found = affect(counts(words=100, fear=3.0, pressure=4.0, ask=1.0))
    assert found.felt == pytest.approx([0, 0, 0, 1 - math.exp(-3 / 4), 0, 0, 0])
    assert found.pressure == pytest.approx(1 - math.exp(-1))
    assert found.ask == pytest.approx(1 - math.exp(-1 / 4))
    assert found.emotions == smooth(found.felt)


def test_drawn_values_by_the_written_equations():
    found = affect(counts(joy=2.0, sadness=1.0, anger=1.5, fear=0.5, disgust=1.0, interest=2.0, surprise=1.0, hedge=2.0,
                          questions=2, ask=1.0, pressure=0.5))  # fmt: skip
    joy, sadness, anger, fear, disgust, interest, surprise = found.emotions
    assert found.valence == joy - sadness
    assert found.arousal == 1 - (1 - anger) * (1 - fear)
    assert found.dominance == disgust
    assert found.attention == interest
    assert found.uncertainty == pytest.approx(1 - (1 - surprise) * math.exp(-3 / 4))
    assert found.engagement == pytest.approx(0.6 * found.ask + 0.25 * found.pressure + 0.15 * interest)
    values = {**dict(zip(EMOTIONS, found.emotions)), **{k: getattr(found, k) for k in WEIGHTS if k not in EMOTIONS}}
    total = BIAS + sum(weight * values[name] for name, weight in WEIGHTS.items())
    assert found.spam == pytest.approx(1 / (1 + math.exp(-total)))


MOVES = [
    ("joy", "valence", 1),
    ("sadness", "valence", -1),
    ("anger", "arousal", 1),
    ("fear", "arousal", 1),
    ("disgust", "dominance", 1),
    ("interest", "attention", 1),
    ("surprise", "uncertainty", 1),
    ("hedge", "uncertainty", 1),
    ("ask", "engagement", 1),
    ("pressure", "engagement", 1),
    ("pressure", "spam", 1),
    ("ask", "spam", 1),
    ("hedge", "spam", -1),
    ("anger", "spam", -1),
]


@pytest.mark.parametrize("kind, value, sign", MOVES)
def test_more_of_a_kind_moves_what_is_drawn_from_it(kind, value, sign):
    steps = [getattr(affect(counts(**{kind: weight})), value) for weight in (0.0, 1.0, 2.0, 8.0)]
    assert all((b - a) * sign > 0.0 for a, b in itertools.pairwise(steps))


@pytest.mark.parametrize(
    "change",
    [{"variety": (100, 90)}, {"lengths": (6.5, 15.0)}, {"lengths": (5.0, 25.0)}],
    ids=["variety", "word length", "sentence length"],
)
def test_complexity_changes_with_the_text(change):
    assert affect(counts(**change)).complexity > affect(counts()).complexity + 0.05


def test_the_same_weight_in_a_longer_text_says_less():
    assert affect(counts(words=500, joy=2.0)).emotions[0] < affect(counts(words=50, joy=2.0)).emotions[0]


def test_a_message_without_words_feels_nothing():
    found = affect(Counts((0.0,) * len(KINDS), 0, 0, 0, 0.0, 0.0, 0))
    assert found.row == (0.0,) * 10
    assert found.complexity == found.uncertainty == found.engagement == 0.0


COUNTS = st.builds(
    Counts,
    st.tuples(*[st.floats(0.0, 1e4)] * len(KINDS)),
    st.integers(1, 10_000),
    st.integers(1, 200),
    st.integers(0, 200),
    st.floats(0.0, 40.0),
    st.floats(0.0, 100.0),
    st.integers(0, 10_000),
)


@settings(deadline=None)
@given(COUNTS)
def test_all_values_are_bounded_and_the_same_each_time(found):
    one = affect(found)
    assert all(0.0 <= value <= 1.0 for value in (*one.felt, *one.emotions, *one[3:]))
    assert -1.0 <= one.valence <= 1.0
    assert affect(found) == one


MATCHED = {"pressure": ("act now", "expires"), "fear": ("danger", "expires"), "joy": ("prize",)}


@pytest.mark.parametrize(
    "terms, expected",
    [
        ({}, None),
        ({"fear": 9.0}, None),
        ({"pressure": 0.5}, None),
        ({"pressure": 3.0}, "this mail presses you with urgency: act now, expires"),
        (
            {"pressure": 3.0, "fear": 3.0, "joy": 0.1},
            "this mail presses you with urgency and fear: act now, expires, danger",
        ),
        (
            {"pressure": 3.0, "fear": 1.0, "joy": 3.0},
            "this mail presses you with urgency and joy and fear: act now, expires, prize, danger",
        ),
    ],
)
def test_who_is_pressed_is_warned_with_the_terms(terms, expected):
    found = affect(counts(**terms))
    assert (found.pressure >= PRESSING) == (expected is not None)
    told = warning(found, MATCHED)
    assert (str(told) if told else None) == expected
