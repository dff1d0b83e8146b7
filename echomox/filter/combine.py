"""Evidence of several stages to one probability: a weighted sum in log-odds, calibrated. Pure.

Each part with an opinion gives its log-odds, clipped to CLIP, times its own trust t (`Evidence.weight`, at most 1:
how far the amount of its training lets it be believed; 0 for a part without an opinion, which changes nothing):

    x_i = t_i * logit(p_i)              L = (bias + sum of w_i x_i) / N          P = sigmoid(calibrate(L))
    N   = min(1, sum of w_i t_i / largest t_i)

N makes a part that speaks alone count fully, whatever its weight w_i among others would be. The weights start at
WEIGHTS and are learned per account, by online logistic regression, from each message's evidence as it was when the
message was judged; what it is when the label comes is better than that, for the parts have learned from its like
meanwhile. So are the two boundaries of `calibrate`, which keeps what is 0.8 or more for mail of which an account's ham
has (almost) never looked like, and opens the band of Junk downwards where its spam comes near ham:

    low  -> logit 0.3     so that at most MISSED of the spam lies below, but HELD of the ham above, at most
    0    -> 0
    high -> logit 0.8     so that at most LOST of the ham lies above; few ham seen: as if by PRIOR_* more

and beyond them, over REJOIN, back to L itself. Without any opinion P is 0: doubt never costs mail. A part of trust
DECIDES or more (a list the user wrote) decides alone.

Who labels only what the filter got wrong shows it nothing of what the parts get right: a part that is mostly right
would be unlearned. So what was learned of the parts counts by the share of lessons that said what L had said, a
(AGREED such lessons are taken to have been before the first):

    w_i = WEIGHTS_i + learned_i * min(1, 2 a)^2         the bias too

that is wholly, where half of the lessons or more agree, as they do when all mail is labelled.

WEIGHTS count the words once: the network reads what Bayes reads, and where good words are appended to a spam it is
deceived least, so the starting weight of Bayes beside it is small.

Weights that the account's settings fix (`junk_filter.weights`) hold in place of those learned, also while it learns.

The learner's state is integers (weights in 2 ** -FRACTION, counts of L in bins), so taking back is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import exp, fsum, log
from typing import Any, NamedTuple

import msgpack

from echomox.filter.context import Context, Question
from echomox.filter.features import Features
from echomox.ipc.schema import Evidence

NAME = "combine"
LEAST = 1e-7
"""A stage's probability is kept this far from 0 and 1."""
_MOST = 1.0 - LEAST
ROUNDED = 5e-5
"""What 0.0000 in the header stands for, and 1 less that."""
CLIP = 12.0
DECIDES = 4.0
WEIGHTS = {
    "bayes": 0.25,
    "ngrams": 0.65,
    "esn": 0.65,
    "membranes": 0.2,
    "affect": 0.05,
    "reputation": 0.1,
    "auth": 0.2,
}
OTHER_WEIGHT = 0.2
MOST_WEIGHT = 2.0
RATE = 0.05
FRACTION = 20
LOW, HIGH = log(0.3 / 0.7), log(0.8 / 0.2)
"""The log-odds of the usual boundaries of Junk and of refusal (F11)."""
LOWEST, HIGHEST = -2.0, 6.0
MISSED, HELD, LOST = 0.002, 0.025, 0.0008
PRIOR_HAM, PRIOR_TAIL = 500, 0.04
"""So many ham of which PRIOR_TAIL * exp(-L) lie above L are taken to have been seen before the first."""
REJOIN = 2.0
AGREED = 10
BIN = 0.25
BINS = 80
"""Of L, from -10 to 10."""


class Model(NamedTuple):
    """What an account has learned of its parts. low, high: see the module."""

    weights: dict[str, float]
    bias: float = 0.0
    low: float = LOW
    high: float = HIGH


class Outcome(NamedTuple):
    """evidence: as given, with each part's share in the sum, w_i t_i / N, as weight. decisive: the part that
    pulled most to the side that won, "" when there was none."""

    probability: float
    evidence: tuple[Evidence, ...]
    decisive: str


def logit(probability: float) -> float:
    p = LEAST if probability < LEAST else _MOST if probability > _MOST else probability
    value = log(p / (1.0 - p))
    return -CLIP if value < -CLIP else CLIP if value > CLIP else value


def sigmoid(value: float) -> float:
    return 1.0 / (1.0 + exp(-value)) if value > -700.0 else 0.0


def calibrate(value: float, low: float, high: float) -> float:
    """L to log-odds; increasing, piecewise linear. low < 0 < high."""
    if value >= 0.0:
        if value <= high:
            return value * HIGH / high
        return max(value, HIGH + (value - high) * (high + REJOIN - HIGH) / REJOIN) if value < high + REJOIN else value
    if value >= low:
        return value * LOW / low
    return LOW + (value - low) * (LOW - low + REJOIN) / REJOIN if value > low - REJOIN else value


class Shares(NamedTuple):
    """names, their log-odds, inputs x and factors w t / N; total: L without the bias."""

    names: list[str]
    odds: list[float]
    inputs: list[float]
    factors: list[float]
    total: float


def shares(evidence: Sequence[Evidence], weights: dict[str, float]) -> Shares:
    names, trusts, odds, wanted = [], [], [], []
    for item in evidence:
        if item.weight > 0.0:
            name = item.stage
            names.append(name)
            trusts.append(item.weight if item.weight < 1.0 else 1.0)
            odds.append(logit(item.probability))
            wanted.append(weights[name] if name in weights else WEIGHTS.get(name, OTHER_WEIGHT))
    if not names:
        return Shares([], [], [], [], 0.0)
    full = fsum([w * t for w, t in zip(wanted, trusts)])
    norm = min(1.0, full / max(trusts)) or 1.0
    inputs = [t * value for value, t in zip(odds, trusts)]
    total = fsum([w * x for w, x in zip(wanted, inputs)]) / norm
    return Shares(names, odds, inputs, [w * t / norm for w, t in zip(wanted, trusts)], total)


def combine(evidence: Sequence[Evidence], model: Model | None = None) -> Outcome:
    """P(spam) by all stages that have an opinion; 0.0 when none has."""
    model = model or DEFAULT
    found = shares(evidence, model.weights)
    if not found.names:
        return Outcome(0.0, tuple(evidence), "")
    for item in evidence:
        if item.weight >= DECIDES:
            return Outcome(item.probability, tuple(evidence), item.stage)
    value = found.total + model.bias
    pulls = [factor * odds for factor, odds in zip(found.factors, found.odds)]
    decisive = found.names[pulls.index(max(pulls) if value >= 0 else min(pulls))]
    factors = dict(zip(found.names, found.factors))
    weighed = [Evidence(item.stage, item.probability, factors.get(item.stage, 0.0), item.reasons) for item in evidence]
    return Outcome(sigmoid(calibrate(value, model.low, model.high)), tuple(weighed), decisive)


@lru_cache(64)
def given(said: tuple[str, ...]) -> dict[str, float]:
    """Of `junk_filter.weights`: {"affect": 0.0} for ("affect=0",)."""
    return {part: float(weight) for part, _, weight in (text.partition("=") for text in said)}


def fixed(model: Model | None, said: tuple[str, ...]) -> Model | None:
    """With the weights that the settings fix."""
    if not said:
        return model
    model = model or DEFAULT
    return model._replace(weights=model.weights | given(said))


# -- learning ------------------------------------------------------------------


@dataclass(slots=True)
class State:
    """weights: what was added to each part's starting weight, "" to the bias, in 2 ** -FRACTION. ham, spam: how
    many of L fell into each bin."""

    weights: dict[str, int] = field(default_factory=dict)
    ham: list[int] = field(default_factory=lambda: [0] * BINS)
    spam: list[int] = field(default_factory=lambda: [0] * BINS)


def bin_of(value: float) -> int:
    return max(0, min(BINS - 1, int((value + BIN * BINS / 2) / BIN)))


def edge(index: int) -> float:
    """The lower end of a bin."""
    return index * BIN - BIN * BINS / 2


def high_of(ham: Sequence[int]) -> float:
    allowed = LOST * (sum(ham) + PRIOR_HAM)
    above = 0
    for index in range(BINS - 1, -1, -1):
        above += ham[index]
        lower = edge(index)
        if lower < HIGH or above + PRIOR_HAM * PRIOR_TAIL * exp(-lower) > allowed:
            return min(HIGHEST, max(HIGH, lower + BIN))
    return HIGH


def low_of(ham: Sequence[int], spam: Sequence[int]) -> float:
    missed, held = MISSED * sum(spam), HELD * sum(ham)
    index = bin_of(LOW) + 1  # its lower end is the first at or above LOW
    below, above = sum(spam[:index]), sum(ham[index:])
    while below > missed and edge(index - 1) >= LOWEST and above + ham[index - 1] <= held:
        index -= 1
        below -= spam[index]
        above += ham[index]
    return min(LOW, edge(index))


def heeded(state: State) -> float:
    """How far what was learned of the parts counts, 0 to 1; see the module."""
    zero = BINS // 2
    agreed = AGREED + sum(state.spam[zero:]) + sum(state.ham[:zero])
    contradicted = sum(state.spam[:zero]) + sum(state.ham[zero:])
    return min(1.0, 2.0 * max(0, agreed) / max(1, agreed + contradicted)) ** 2


def weights_of(state: State) -> tuple[dict[str, float], float]:
    """(weight of each part, bias)."""
    names = dict.fromkeys((*WEIGHTS, *state.weights))
    names.pop("", None)
    unit = heeded(state) / (1 << FRACTION)
    weights = {
        name: max(0.0, min(MOST_WEIGHT, WEIGHTS.get(name, OTHER_WEIGHT) + state.weights.get(name, 0) * unit))
        for name in names
    }
    return weights, state.weights.get("", 0) * unit


def model_of(state: State) -> Model:
    weights, bias = weights_of(state)
    return Model(weights, bias, low_of(state.ham, state.spam), high_of(state.ham))


DEFAULT = model_of(State())
"""Of an account that has learned nothing yet."""


TOLD = "told"
"""Under this name the trainer leaves in Context.scratch what `Envelope.told` says of a message it is taught."""
TIMES = "times"
"""Under this one for how many messages it stands, where others are not shown to the combination."""


def as_told(context: Context) -> list[Evidence]:
    """The evidence of now with the probabilities of when the message was judged, where that is known: of the stages
    that had an opinion then and have one now, whose trust is that of now."""
    told: dict[str, float] = dict(context.scratch.get(TOLD) or ())
    if not told:
        return context.evidence
    return [
        Evidence(item.stage, min(1.0 - ROUNDED, max(ROUNDED, told[item.stage])), item.weight, ())
        for item in context.evidence
        if item.stage in told
    ]


class CombineLearner:
    """Learns from the evidence of messages that have any; a message's label moves each weight by

    RATE * (label - sigmoid(L)) * x / (1 + |x|)
    """

    name = NAME
    version = 1

    def fresh(self) -> State:
        return State()

    def load(self, data: bytes) -> State:
        weights, ham, spam = _unpacked(data, 3)
        if len(ham) != BINS or len(spam) != BINS:
            raise ValueError("not a combination")
        return State(dict(weights), list(ham), list(spam))

    def dump(self, state: State) -> bytes:
        return _packed([state.weights, state.ham, state.spam])

    def prepare(self, questions: Sequence[Question]) -> None:
        """Nothing: what it learns from is the evidence."""

    def contribution(self, state: State, features: Features, context: Context, label: str) -> bytes:
        opinions = [item for item in as_told(context) if item.weight < DECIDES]
        if not opinions:
            return b""
        weights, bias = weights_of(state)
        if context.settings.weights:
            weights |= given(context.settings.weights)
        found = shares(opinions, weights)
        if not found.names:
            return b""
        value = found.total + bias
        error = context.scratch.get(TIMES, 1) * RATE * ((label == "spam") - sigmoid(max(-CLIP, min(CLIP, value))))
        length = 1.0 + fsum(x * x for x in found.inputs) ** 0.5
        unit = error / length * (1 << FRACTION)
        steps = {name: round(unit * x) for name, x in zip(found.names, found.inputs)}
        steps[""] = round(unit)
        return _packed([steps, bin_of(value)])

    def add(self, state: State, label: str, contribution: bytes) -> None:
        self._apply(state, label, contribution, 1)

    def subtract(self, state: State, label: str, contribution: bytes) -> None:
        self._apply(state, label, contribution, -1)

    def _apply(self, state: State, label: str, contribution: bytes, sign: int) -> None:
        steps, place = _unpacked(contribution, 2)
        if not isinstance(steps, dict) or not isinstance(place, int) or not 0 <= place < BINS:
            raise ValueError("not a contribution")
        for name, step in steps.items():
            total = state.weights.get(name, 0) + sign * step
            if total:
                state.weights[name] = total
            else:
                state.weights.pop(name, None)  # so that taking back all leaves the fresh state
        counts = state.spam if label == "spam" else state.ham
        counts[place] += sign

    def publish(self, state: State) -> bytes:
        return _packed(list(model_of(state)))

    def decode(self, data: bytes) -> Model:
        weights, bias, low, high = _unpacked(data, 4)
        return Model(dict(weights), bias, low, high)


def value_of(contribution: bytes) -> float:
    """L of the message that added it, as the middle of its bin. Raises ValueError."""
    _, place = _unpacked(contribution, 2)
    if not isinstance(place, int) or not 0 <= place < BINS:
        raise ValueError("not a contribution")
    return edge(place) + BIN / 2


def _packed(value: object) -> bytes:
    data: bytes = msgpack.packb(value)
    return data


def _unpacked(data: bytes, length: int) -> list[Any]:
    try:
        value = msgpack.unpackb(data)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(str(error)) from None
    if not isinstance(value, list) or len(value) != length:
        raise ValueError("not of the combination")
    return value


LEARNER = CombineLearner()
