"""What a message feels like: from counted terms to emotions, PAD, cognitive values and scores (R41 to R47).

The seven emotions are those of differential emotion theory that a text can show; pleasure, arousal and dominance
(PAD) are drawn from them as the data architecture draws them. docs/affect.md has theory and sources. With c_k the
summed weights of the terms of kind k among n words,

    felt_k   = 1 - exp(-c_k / (2 + n / 50))               k an emotion, pressure, ask
    emotions = geometry.smooth(felt)                      seven values after the Ricci flow
    valence  = joy - sadness                              -1 to 1
    arousal  = 1 - (1 - anger)(1 - fear)
    dominance = disgust                                   who turns from a thing keeps the upper hand over it
    attention = interest
    uncertainty = 1 - (1 - surprise) exp(-(c_hedge + questions / 2) / (2 + n / 50))
    complexity = mean of variety, word length and sentence length, each on its ramp from 0 to 1
    engagement = 0.6 ask + 0.25 pressure + 0.15 attention       how much it asks its reader to do something
    spam     = 1 / (1 + exp(-(BIAS + sum WEIGHTS_k value_k)))

All are 0 to 1 but for valence. A message is a value of its own: nothing is carried from one to the next. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, sqrt
from operator import mul
from typing import NamedTuple

from echomox.reservoir.geometry import EMOTIONS, smooth

KINDS = (*EMOTIONS, "pressure", "ask", "hedge")
"""What terms are counted for, in the order of Counts.terms."""
FEELINGS = len(EMOTIONS)
FIELDS = (*(name.capitalize() for name in EMOTIONS), "Valence", "Arousal", "Dominance")
"""The names of the ten values of `Affect.row`, as in AFFECTIVE_STATE."""
HALF = 2.0
PER_TERM = 50.0
"""A text of n words needs HALF + n / PER_TERM of weight for an intensity of 1 - 1/e."""
VARIETY = (3.0, 7.0)
WORD_LENGTH = (3.0, 7.0)
SENTENCE_LENGTH = (4.0, 30.0)
"""Ramps of complexity: distinct words / sqrt(2 n), characters a word, words a sentence."""
BIAS = -0.6
WEIGHTS: Mapping[str, float] = {
    "joy": 0.8,
    "sadness": -0.6,
    "anger": -0.8,
    "fear": 0.2,
    "disgust": -0.2,
    "interest": 0.8,
    "surprise": 0.6,
    "pressure": 1.6,
    "ask": 1.6,
    "complexity": -0.6,
    "uncertainty": -1.2,
}
"""Cold weights of the spam score, set by what is known of advertising and fraud, not fitted: they promise (joy,
interest, surprise), press and ask, in plain sentences without doubt; anger, grief and doubt are what people write to
each other. A combiner that learns knows better."""
_WEIGHTS = tuple(WEIGHTS.values())
PRESSING = 0.25
FELT = 0.1
"""From here on `pressure` is worth a warning; from here on a feeling is named in it."""


class Counts(NamedTuple):
    """A message as counted by a lexicon. terms: summed weights by kind (KINDS). words: read in all; distinct: of the
    first `sample` of them; word_length: their mean in characters; sentence: mean words a sentence; questions: marks."""

    terms: tuple[float, ...]
    words: int
    sample: int
    distinct: int
    word_length: float
    sentence: float
    questions: int


class Affect(NamedTuple):
    """One message. felt: the seven emotions before the flow; emotions: after it, and all below is drawn from these."""

    felt: tuple[float, ...]
    emotions: tuple[float, ...]
    valence: float
    arousal: float
    dominance: float
    attention: float
    complexity: float
    uncertainty: float
    pressure: float
    ask: float
    engagement: float
    spam: float

    @property
    def row(self) -> tuple[float, ...]:
        """The ten values of AFFECTIVE_STATE in the order of FIELDS."""
        return (*self.emotions, self.valence, self.arousal, self.dominance)


def affect(counts: Counts) -> Affect:
    """The values of a message; see the head of this file."""
    scale = -1.0 / (HALF + counts.words / PER_TERM)
    felt = tuple([1.0 - exp(weight * scale) if weight else 0.0 for weight in counts.terms[: FEELINGS + 2]])
    pressure, ask = felt[FEELINGS:]
    emotions = smooth(felt[:FEELINGS])
    joy, sadness, anger, fear, disgust, interest, surprise = emotions
    doubt = exp((counts.terms[FEELINGS + 2] + counts.questions / 2) * scale)
    complexity = _complexity(counts)
    uncertainty = 1.0 - (1.0 - surprise) * doubt
    values = (*emotions, pressure, ask, complexity, uncertainty)
    return Affect(
        felt[:FEELINGS],
        emotions,
        valence=joy - sadness,
        arousal=1.0 - (1.0 - anger) * (1.0 - fear),
        dominance=disgust,
        attention=interest,
        complexity=complexity,
        uncertainty=uncertainty,
        pressure=pressure,
        ask=ask,
        engagement=0.6 * ask + 0.25 * pressure + 0.15 * interest,
        spam=1.0 / (1.0 + exp(-BIAS - sum(map(mul, _WEIGHTS, values)))),
    )


def _complexity(counts: Counts) -> float:
    """0 for no text. The variety of words is Carroll's corrected type-token ratio, which does not fall with the
    length of a text as the plain one does."""
    if not counts.words:
        return 0.0
    variety = _ramp(counts.distinct / sqrt(2.0 * counts.sample), *VARIETY)
    return (variety + _ramp(counts.word_length, *WORD_LENGTH) + _ramp(counts.sentence, *SENTENCE_LENGTH)) / 3.0


def _ramp(value: float, low: float, high: float) -> float:
    return 0.0 if value <= low else 1.0 if value >= high else (value - low) / (high - low)


class Warning(NamedTuple):
    """What presses a reader. feelings: the names of those that go with it, strongest first; terms: as matched."""

    feelings: tuple[str, ...]
    terms: tuple[str, ...]

    def __str__(self) -> str:
        means = " and ".join(["urgency", *self.feelings])
        return f"this mail presses you with {means}: {', '.join(self.terms)}"


_LURES = ("fear", "joy", "surprise", "anger", "disgust", "sadness", "interest")
MOST_FEELINGS = 2
MOST_TERMS = 5


def warning(found: Affect, matched: Mapping[str, tuple[str, ...]]) -> Warning | None:
    """Whether a mail presses its reader, and with what (R49); None when it does not. matched: terms by kind."""
    if found.pressure < PRESSING:
        return None
    feelings = dict(zip(EMOTIONS, found.felt))
    strong = sorted((name for name in _LURES if feelings[name] >= FELT), key=lambda name: -feelings[name])
    strong = strong[:MOST_FEELINGS]
    terms = [term for kind in ("pressure", *strong) for term in matched.get(kind, ())[:MOST_TERMS]]
    return Warning(tuple(strong), tuple(dict.fromkeys(terms)))
