"""The echo state network's stage and its learner (R01-R14): `evidence` read by `reservoir.esn`, judged by the account's
read-out of `reservoir.ridge`.

What a trained message adds is its pooled states, rounded to bytes, as they were before it was learnt, and what the
scale of the read-out learned by it. All accounts learn with the whole reservoir of SIZE neurons; one that is
configured for fewer judges by the first of them, with a read-out solved from the same sums, so that a change of
`reservoir_size` takes effect at the next change of the account's training, without learning anew.

A change of `leak`, `spectral_radius` or `integrator` makes old pooled states worthless: the sums begin anew with the
first message that is trained under the new settings, in a new epoch. What belongs to an older epoch is neither added
nor subtracted any more; `echomox filter retrain` fills the sums from the messages.

An account that has not learnt LEAST messages of both kinds has no opinion; trust grows with their number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp
from typing import Any, NamedTuple

import msgpack
import numpy as np

from echomox.config.schema import JunkFilter
from echomox.filter.context import Context, Question, Stage, no_opinion
from echomox.filter.evidence import INPUTS, inputs, named
from echomox.filter.features import Features
from echomox.ipc.schema import Evidence
from echomox.reservoir import ridge
from echomox.reservoir.esn import POOLS, Dynamics, Reservoir
from echomox.reservoir.matrices import SIZE, Floats, Weights, make

NAME = "esn"
SMALL = 50
SIZES = (SIZE, SMALL)
LEAST = 2
"""Messages of each kind before there is an opinion."""
YOUTH = 10.0
LIMIT = 12.0
"""Bound of the log-odds."""
COST = 0.004

_FORMAT = 1


class BadRecord(ValueError):
    """Bytes that this learner did not write."""


@lru_cache(maxsize=1)
def seed_weights() -> Weights:
    """The weights that every process can make for itself."""
    return make(len(INPUTS))


@lru_cache(maxsize=32)
def reservoir(weights: Weights, size: int, dynamics: Dynamics) -> Reservoir:
    return Reservoir(weights.first(size), dynamics)


def dynamics_of(settings: JunkFilter) -> Dynamics:
    return _dynamics(settings.leak, settings.spectral_radius, settings.integrator)


@lru_cache(maxsize=32)
def _dynamics(leak: float, radius: float, integrator: str) -> Dynamics:
    return Dynamics(leak, radius, integrator)


def size_of(settings: JunkFilter) -> int:
    return SIZE if settings.reservoir_size >= SIZE else SMALL


def columns(size: int) -> list[int]:
    """Of a pooled vector of SIZE neurons, those of the first `size`."""
    return [pool * SIZE + neuron for pool in range(POOLS) for neuron in range(size)]


class ReadOut(NamedTuple):
    """What a classifier needs of an account. weights: size of reservoir -> read-out in fixed point, as of
    `ridge.fixed_point`; empty while one kind is missing."""

    ham: int
    spam: int
    dynamics: Dynamics
    ridge: float
    scale: ridge.Scale
    weights: dict[int, ridge.Integers]

    @property
    def trained(self) -> bool:
        return min(self.ham, self.spam) >= LEAST and bool(self.weights)


class Reading(NamedTuple):
    """What the stage leaves in `Context.scratch`: the pooled states of a message, by a reservoir of `size`."""

    vector: ridge.Bytes
    size: int
    dynamics: Dynamics


@dataclass(frozen=True, slots=True)
class Network:
    """The stage over some weights. weights: asked once for every batch, so that a new generation is noticed."""

    weights: Callable[[], Weights]

    def stage(self) -> Stage:
        """The row of `STAGES`."""
        return Stage(NAME, self.run, COST, self.run_batch)

    def run(self, features: Features, context: Context) -> Evidence:
        return self.run_batch([(features, context)])[0]

    def run_batch(self, questions: Sequence[Question]) -> list[Evidence]:
        """Messages whose accounts have the same settings advance together."""
        found: list[Evidence | None] = [None] * len(questions)
        together: dict[tuple[int, Dynamics], list[int]] = {}
        for at, (_, context) in enumerate(questions):
            model: ReadOut | None = context.models(NAME)
            if model is None or not model.trained:
                ham, spam = (model.ham, model.spam) if model else (0, 0)
                found[at] = no_opinion(NAME, f"untrained {ham}/{spam}")
            elif model.dynamics != dynamics_of(context.settings):
                found[at] = no_opinion(NAME, "settings changed, not trained since")
            else:
                together.setdefault((size_of(context.settings), model.dynamics), []).append(at)
        for (size, dynamics), places in together.items():
            readings = self.read([questions[at] for at in places], size, dynamics)
            for at, reading in zip(places, readings):
                found[at] = judge(questions[at][1].models(NAME), reading)
        return [item for item in found if item is not None]

    def read(self, questions: Sequence[Question], size: int, dynamics: Dynamics) -> list[Reading]:
        """The pooled states of messages, which are left in their contexts too."""
        found: list[Reading | None] = [context.scratch.get(NAME) for _, context in questions]
        new = [at for at, one in enumerate(found) if one is None or one[1:] != (size, dynamics)]
        if new:
            sequences = inputs([questions[at] for at in new])
            weights = self.weights()
            pooled = reservoir(weights, size, dynamics).run(sequences)
            while not weights.intact():  # overwritten under our hands
                weights = self.weights()
                pooled = reservoir(weights, size, dynamics).run(sequences)
            for at, vector in zip(new, ridge.quantise(pooled)):
                questions[at][1].scratch[NAME] = found[at] = Reading(vector, size, dynamics)
        return [one for one in found if one is not None]

    def vector(self, features: Features, context: Context) -> ridge.Bytes:
        """The pooled states that training is about: of all SIZE neurons, with the account's settings."""
        return self.read([(features, context)], SIZE, dynamics_of(context.settings))[0].vector


def judge(model: ReadOut, reading: Reading) -> Evidence:
    """The read-out's opinion of one message."""
    outcome = ridge.outcome(model.weights[reading.size], reading.vector)
    odds = max(-LIMIT, min(LIMIT, model.scale.log_odds(outcome)))
    rarer = min(model.ham, model.spam)
    reasons = (f"read-out {outcome:+.2f}", f"trained {model.ham}/{model.spam}")
    return Evidence(NAME, 1.0 / (1.0 + exp(-odds)), rarer / (rarer + YOUTH), reasons)


# -- learning ------------------------------------------------------------------


class Shape(NamedTuple):
    """What pooled states depend on, and the ridge that is wanted: the settings under which a message was trained."""

    leak: float
    radius: float
    integrator: str
    ridge: float

    @property
    def dynamics(self) -> Dynamics:
        return Dynamics(self.leak, self.radius, self.integrator)


def shape_of(settings: JunkFilter) -> Shape:
    return Shape(settings.leak, settings.spectral_radius, settings.integrator, settings.ridge)


class Lesson(NamedTuple):
    """A contribution. updated: seconds since 1970 when it was made; step: for the scale; vector: (POOLS * SIZE,)."""

    epoch: int
    shape: Shape
    updated: float
    step: tuple[int, int]
    vector: ridge.Bytes

    def pack(self) -> bytes:
        fields = [_FORMAT, self.epoch, *self.shape, self.updated, *self.step, self.vector.tobytes()]
        return bytes(msgpack.packb(fields))

    @property
    def last_state(self) -> list[float]:
        """The state of each neuron at the end of the message, as it was kept."""
        return [int(value) / ridge.UNIT for value in self.vector[SIZE : 2 * SIZE]]


def unpack_lesson(data: bytes) -> Lesson:
    """Raises BadRecord."""
    try:
        version, epoch, leak, radius, integrator, lam, updated, slope, bias, raw = msgpack.unpackb(data)
        if version != _FORMAT or len(raw) != POOLS * SIZE:
            raise BadRecord(f"a contribution of version {version}, {len(raw)} bytes")
        shape = Shape(float(leak), float(radius), integrator, float(lam))
        shape.dynamics  # noqa: B018 - raises for what is no reservoir
        vector = np.frombuffer(raw, np.int8)
        return Lesson(int(epoch), shape, float(updated), (int(slope), int(bias)), vector)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise BadRecord(str(error)) from None


@dataclass(slots=True)
class State:
    """What the trainer keeps for an account; see the module on epochs."""

    epoch: int
    shape: Shape
    statistics: ridge.Statistics

    @property
    def message_count(self) -> int:
        return self.statistics.total


class EsnLearner:
    """network: of the process that trains. prior: read-out for SIZE neurons, constant last, towards which accounts'
    read-outs are drawn; None: zero. clock: seconds since 1970."""

    name = NAME
    version = 1

    def __init__(
        self, network: Network, prior: ridge.Doubles | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._network = network
        self._prior = prior
        self._clock = clock

    def fresh(self) -> State:
        return State(0, shape_of(JunkFilter()), ridge.Statistics(POOLS * SIZE))

    def dump(self, state: State) -> bytes:
        return bytes(msgpack.packb([_FORMAT, state.epoch, *state.shape, state.statistics.dump()]))

    def load(self, data: bytes) -> State:
        try:
            version, epoch, leak, radius, integrator, lam, sums = msgpack.unpackb(data)
            statistics = ridge.Statistics.load(sums)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise BadRecord(str(error)) from None
        if version != _FORMAT or statistics.width != POOLS * SIZE:
            raise BadRecord(f"sums of version {version}, width {statistics.width}")
        return State(epoch, Shape(leak, radius, integrator, lam), statistics)

    def prepare(self, questions: Sequence[Question]) -> None:
        """Messages of one account advance together."""
        if questions:
            self._network.read(questions, SIZE, dynamics_of(questions[0][1].settings))

    def contribution(self, state: State, features: Features, context: Context, label: str) -> bytes:
        shape = shape_of(context.settings)
        epoch = state.epoch if shape.dynamics == state.shape.dynamics else state.epoch + 1
        vector = self._network.vector(features, context)
        model: ReadOut | None = context.models(NAME)
        step = (0, 0)
        if model is not None and model.weights and model.dynamics == shape.dynamics:
            step = model.scale.lesson(ridge.outcome(model.weights[SIZE], vector), label == "spam")
        return Lesson(epoch, shape, self._clock(), step, vector).pack()

    def add(self, state: State, label: str, contribution: bytes) -> None:
        lesson = unpack_lesson(contribution)
        if lesson.epoch > state.epoch:
            state.epoch, state.statistics = lesson.epoch, ridge.Statistics(POOLS * SIZE)
        if lesson.epoch == state.epoch:
            state.shape = lesson.shape
            self._apply(state.statistics, label, lesson, 1)

    def subtract(self, state: State, label: str, contribution: bytes) -> None:
        lesson = unpack_lesson(contribution)
        if lesson.epoch == state.epoch:
            self._apply(state.statistics, label, lesson, -1)

    @staticmethod
    def _apply(statistics: ridge.Statistics, label: str, lesson: Lesson, sign: int) -> None:
        statistics.add(ridge.KINDS.index(label), lesson.vector, sign)
        statistics.scale.add(lesson.step, sign)

    def publish(self, state: State) -> bytes:
        statistics = state.statistics
        prior = self._prior
        wanted = [
            (None if size == SIZE else columns(size), None if prior is None else prior[[*columns(size), -1]])
            for size in SIZES
        ]
        weights = {}
        for size, solved in zip(SIZES, ridge.solve_parts(statistics, state.shape.ridge, wanted)):
            if solved is not None:
                weights[size] = ridge.fixed_point(solved).astype("<i8").tobytes()
        scale = statistics.scale
        fields = [_FORMAT, *statistics.counts, *state.shape, scale.slope, scale.bias, weights]
        return bytes(msgpack.packb(fields))

    def decode(self, data: bytes) -> ReadOut:
        try:
            version, ham, spam, leak, radius, integrator, lam, slope, bias, packed = msgpack.unpackb(
                data, strict_map_key=False
            )
            weights = {int(size): np.frombuffer(raw, "<i8") for size, raw in packed.items()}
        except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
            raise BadRecord(str(error)) from None
        if version != _FORMAT or any(len(found) != POOLS * size + 1 for size, found in weights.items()):
            raise BadRecord(f"a read-out of version {version}")
        return ReadOut(ham, spam, Dynamics(leak, radius, integrator), lam, ridge.Scale(slope, bias), weights)


# -- for people ----------------------------------------------------------------


def describe(model: ReadOut | None, settings: JunkFilter, weights: Weights) -> dict[str, Any]:
    """An account's row of RESERVOIR, with what else says how its network is made."""
    own = weights.first(size_of(settings))
    dynamics = dynamics_of(settings)
    return {
        "ReservoirSize": own.size,
        "SpectralRadius": dynamics.radius,
        "LeakRate": dynamics.leak,
        "Trained": bool(model and model.trained and model.dynamics == dynamics),
        "MessageCount": model.ham + model.spam if model else 0,
        "Integrator": dynamics.integrator,
        "Ridge": settings.ridge,
        "Density": round(own.density, 4),
        "Inputs": own.inputs,
        "WeightsChecksum": f"{weights.checksum:08x}",
        "ReadOutBytes": sum(found.nbytes for found in model.weights.values()) if model else 0,
    }


def explain(features: Features, context: Context, network: Network) -> dict[str, Any]:
    """One message as the network sees it: each step's inputs by name, the state of every neuron after each step."""
    dynamics, size = dynamics_of(context.settings), size_of(context.settings)
    u: Floats = inputs([(features, context)])[0]
    states = reservoir(network.weights(), size, dynamics).states(u)
    model: ReadOut | None = context.models(NAME)
    found = network.run(features, context)
    return {
        "inputs": named(u),
        "states": [[round(float(value), 4) for value in row] for row in states],
        "probability": found.probability,
        "weight": found.weight,
        "reasons": list(found.reasons),
        "reservoir": describe(model, context.settings, network.weights()),
    }


NETWORK = Network(seed_weights)
LEARNER = EsnLearner(NETWORK)
run = NETWORK.run
run_batch = NETWORK.run_batch
