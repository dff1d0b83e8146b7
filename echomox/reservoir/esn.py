"""The echo state network: a sequence of inputs becomes the states of leaky tanh neurons, pooled over time (R01-R07).

    dx/dt = leak (-x + tanh(W_in u + W x))           the leaky integrator in continuous time

u is held for one unit of time, the state is zero at the start of each sequence, and one unit is `steps` steps, usually
one, of the classical Runge-Kutta method of order 4 ("rk4") or of Euler's ("euler"), which is the usual discrete form

    x' = (1 - leak) x + leak tanh(W_in u + W x)      Lukosevicius 2012, eqs. 2 and 3

What a sequence leaves behind is, for each neuron, the mean over its steps, the last state, and the spread
(standard deviation) over its steps. W and W_in are those of `matrices`, W multiplied by the spectral radius that is
asked for.

With few neurons the number of calls is what costs, so a step is written with as few as there can be. With
h = leak / steps, d = W_in u, A = radius W and t_i = tanh(p_i), every k_i is t_i - y_i, so every point y_i at which the
right side is asked is a sum of x and the t before it, with factors that depend on h alone; and so is

    p_i = d + A y_i = d + a_i0 W x + a_i1 W t_1 + ... + a_i,i-1 W t_i-1            x' = b_0 x + b_1 t_1 + ... + b_4 t_4

(`factors`). The rows d, W x, W t_1 ... stand below each other, x, t_1 ... in another table: a stage is one product with
W, one of its factors with the first rows, one tanh.

Sequences advance together, but every such product is of one row, whatever the number of sequences (BLAS has other
ways, with other last bits, for several), d of all steps of one sequence, and no sequence looks at another; so each has
the same bits in any batch. One row at a time costs no more than eight at once, for W fits into the fastest cache. W
stands by columns, which BLAS multiplies fastest. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from echomox.reservoir.matrices import Doubles, Floats, Weights

Sum = Callable[[Floats, Floats], object]
"""What is multiplied and summed, where to put that."""
Move = tuple[Floats, ...]
"""A step of the integrator: x; for each stage where the product of what came last with W goes, the rows that are
summed, where the tanh of that goes; the rows of which the next state is made, and where that goes. All of one sequence,
or of several with one more axis in front, and with an axis of 1 before the neurons of a row that stands alone."""


class Tools(NamedTuple):
    """product: x, where to put W x. sums: for each stage, then for the next state: rows, where to put their sum with
    its factors."""

    product: Sum
    sums: Sequence[Sum]


INTEGRATORS = ("rk4", "euler")
POOLS = 3
"""mean, last, spread."""
LONGEST = 32
"""Steps; what is longer is cut."""
FEW = 4
"""So many sequences cost less one after the other than together."""
SLOW = 0.1
"""Leak of one step below which a step is short."""

_ZERO = np.zeros((), np.float32)  # NumPy takes longer to make an array of a number than to compare a hundred of those


@dataclass(frozen=True, slots=True)
class Dynamics:
    """How a reservoir moves. leak in (0, 1]; radius: of W, below 1 for the echo-state property; steps: of the
    integrator for each input. One of "rk4" is off the equation's solution by some 3e-4 at leak 0.3, by 1e-6 at 0.05.
    """

    leak: float = 0.3
    radius: float = 0.95
    integrator: str = "rk4"
    steps: int = 1

    def __post_init__(self) -> None:
        right = 0.0 < self.leak <= 1.0 and 0.0 <= self.radius <= 2.0 and 1 <= self.steps <= 1000
        if not right or self.integrator not in INTEGRATORS:
            raise ValueError(f"no such dynamics: {self}")


def factors(leak: float, radius: float, integrator: str) -> tuple[list[Floats], Doubles]:
    """(for each stage 1 and a_i; b): see the module. h = leak: that of one step. Euler's has y_1 only, of Runge-Kutta's

        y_1 = x      y_2 = x + h / 2 k_1      y_3 = x + h / 2 k_2      y_4 = x + h k_3        k_i = t_i - y_i
        x'  = x + h / 6 (k_1 + 2 k_2 + 2 k_3 + k_4)

    each is a row: how much of x, t_1, t_2 ... is in it.
    """
    stages = 4 if integrator == "rk4" else 1
    x, *t = np.eye(stages + 1)
    y, k = [x], [t[0] - x]
    for part, own in zip((leak / 2.0, leak / 2.0, leak), t[1:]):
        y.append(x + part * k[-1])
        k.append(own - y[-1])
    shares = np.array((1.0, 2.0, 2.0, 1.0) if stages == 4 else (1.0,))
    after = x + leak / shares.sum() * (shares @ k)
    return [np.append(1.0, radius * point[:stage]).astype(np.float32) for stage, point in enumerate(y, 1)], after


def _next(after: Doubles) -> tuple[Sum, Sum]:
    """The next state of the rows x, t_1, ...: of one sequence, of several."""
    row = after.astype(np.float32)
    return row.dot, partial(np.matmul, row[None])


def _next_slowly(after: Doubles) -> tuple[Sum, Sum]:
    """As _next, for short steps, over which the rounding of b_0, near 1, would add up: what is new is summed, and
    then added."""
    row = (after - np.eye(len(after))[0]).astype(np.float32)

    def one(rows: Floats, out: Floats) -> None:
        np.add(rows[0], row.dot(rows), out)

    def several(rows: Floats, out: Floats) -> None:
        np.add(rows[:, :1], np.matmul(row[None], rows), out)

    return one, several


def _move(drives: Floats, states: Floats, after: Floats) -> Move:
    """drives: (stages + 1, size), the rows d, W x, W t_1, ...; states: (stages + 1, size), the rows x, t_1, ...; of
    several sequences with one more axis in front. after: where the next state goes."""
    several = drives.ndim == 3
    known = [(states[:, at : at + 1] if several else states[at]) for at in range(states.shape[-2])]
    products = [(drives[:, at : at + 1] if several else drives[at]) for at in range(1, drives.shape[-2])]
    made = [known[0]]
    for at, product in enumerate(products, 1):
        made += (product, drives[..., : at + 1, :], known[at])
    return (*made, states, after)


class _Work:
    """What one sequence at a time is worked out in, with all the views of it that are needed, which take longer to make
    than to use. drive: (LONGEST, size), d of each step, and first: (size,), are to be filled in; states: (LONGEST,
    size)."""

    def __init__(self, size: int, stages: int, steps: int) -> None:
        drives = np.zeros((LONGEST, stages + 1, size), np.float32)
        states = np.zeros((LONGEST + 1, stages + 1, size), np.float32)
        self.drive, self.first, self.states = drives[:, 0], states[0, 0], states[1:, 0]
        self.point = np.empty(size, np.float32)
        self.moves: list[Move] = []
        spare = np.zeros((stages + 1, size), np.float32)
        for own, first, after in zip(drives, states, states[1:]):
            if steps > 1:
                self.moves += [_move(own, first, spare[0]), *[_move(own, spare, spare[0])] * (steps - 2)]
                first = spare
            self.moves.append(_move(own, first, after[0]))


class Reservoir:
    """Weights that move: `run` takes sequences to pooled states."""

    def __init__(self, weights: Weights, dynamics: Dynamics = Dynamics()) -> None:
        self.weights = weights
        self.dynamics = dynamics
        self.size = weights.size
        # Where they stand, shared with other processes; of a few neurons of many a copy, 10 KB for a block.
        self._wt, self._wt_in = wt, _ = np.ascontiguousarray(weights.w.T), np.ascontiguousarray(weights.w_in.T)
        leak = dynamics.leak / dynamics.steps  # a step of length h with leak a is one of length 1 with leak h a
        summed, after = factors(leak, dynamics.radius, dynamics.integrator)
        self._stages = len(summed)
        self._step = _rk4 if dynamics.integrator == "rk4" else _euler

        def product(x: Floats, out: Floats) -> None:
            np.matmul(x, wt, out)

        # All these are BLAS's matrix times vector.
        next_one, next_of_several = _next(after) if leak >= SLOW else _next_slowly(after)
        self._of_one = Tools(wt.T.dot, [*[row.dot for row in summed], next_one])
        self._of_several = Tools(product, [*[partial(np.matmul, row[None]) for row in summed], next_of_several])
        self._idle: list[_Work] = []

    def run(self, sequences: Sequence[Floats]) -> Floats:
        """(sequences, POOLS * size): mean, last and spread of each; all 0 for one without steps.

        sequences: each (steps, inputs) float32; steps past LONGEST are left out.
        """
        pooled = np.zeros((len(sequences), POOLS * self.size), np.float32)
        lengths = [min(len(sequence), LONGEST) for sequence in sequences]
        order = sorted((i for i, length in enumerate(lengths) if length), key=lambda i: -lengths[i])
        if len(order) > FEW:
            falling = [lengths[i] for i in order]
            states = self._together([sequences[i] for i in order], falling)
            last = states[np.array(falling) - 1, np.arange(len(order))]
            made = np.empty((len(order), POOLS * self.size), np.float32)
            _pool(states, np.array(falling, np.float32)[:, None], last, made)
            pooled[order] = made
        elif order:
            work = self._work()
            for place in order:
                states = self._alone(work, sequences[place], lengths[place])
                _pool(states, np.float32(lengths[place]), states[-1], pooled[place])
            self._idle.append(work)
        return pooled

    def states(self, sequence: Floats, start: Floats | None = None) -> Floats:
        """(steps, size): the state after each step of one sequence. start: (size,), zero if none."""
        steps = min(len(sequence), LONGEST)
        work = self._work()
        made = self._alone(work, sequence, steps, start).copy()
        self._idle.append(work)
        return made

    def _work(self) -> _Work:
        """One that nobody uses, in this thread or another."""
        try:
            return self._idle.pop()
        except IndexError:
            return _Work(self.size, self._stages, self.dynamics.steps)

    def _alone(self, work: _Work, sequence: Floats, steps: int, start: Floats | None = None) -> Floats:
        """(steps, size), which stands in `work`."""
        np.matmul(sequence[:steps], self._wt_in, work.drive[:steps])
        return self._onward(work, steps, start)

    def _onward(self, work: _Work, steps: int, start: Floats | None) -> Floats:
        """As _alone; the drive is in its place."""
        work.first[:] = 0.0 if start is None else start
        self._step(work.moves[: steps * self.dynamics.steps], self._of_one, work.point)
        return work.states[:steps]

    def _together(self, sequences: Sequence[Floats], lengths: Sequence[int]) -> Floats:
        """(steps, rows, size); 0 past the end of a row. lengths: falling, none 0. The last FEW go on one by one."""
        rows, steps = len(sequences), lengths[0]
        drive = np.empty((steps, rows, 1, self.size), np.float32)
        for row, (sequence, length) in enumerate(zip(sequences, lengths)):
            np.matmul(sequence[:length], self._wt_in, drive[:length, row, 0])
        made = np.zeros((steps + 1, rows, 1, self.size), np.float32)
        drives, states = np.empty((2, rows, self._stages + 1, self.size), np.float32)
        point = np.empty((rows, 1, self.size), np.float32)
        active, t = rows, 0
        while active > FEW:
            x, d = states[:active, :1], drives[:active, :1]
            within = _move(drives[:active], states[:active], x)
            until = lengths[active - 1]
            for at in range(t, until):
                d[:] = drive[at, :active]
                x[:] = made[at, :active]
                moves = [within] * (self.dynamics.steps - 1) + [(*within[:-1], made[at + 1, :active])]
                self._step(moves, self._of_several, point[:active])
            t = until
            while active and lengths[active - 1] <= t:
                active -= 1
        work = self._work()
        for row, length in enumerate(lengths[:active]):
            work.drive[: length - t] = drive[t:length, row, 0]
            made[t + 1 : length + 1, row, 0] = self._onward(work, length - t, made[t, row, 0])
        self._idle.append(work)
        return made[1:, :, 0]


def _euler(moves: Iterable[Move], tools: Tools, point: Floats) -> None:
    """One step after the other; point: where each point of the right side is worked out."""
    product, (sum_1, sum_x) = tools
    tanh = np.tanh
    for x, wx, to_1, t_1, every, after in moves:
        product(x, wx)
        sum_1(to_1, point)
        tanh(point, t_1)
        sum_x(every, after)


def _rk4(moves: Iterable[Move], tools: Tools, point: Floats) -> None:
    """As _euler."""
    product, (sum_1, sum_2, sum_3, sum_4, sum_x) = tools
    tanh = np.tanh
    for x, wx, to_1, t_1, w_1, to_2, t_2, w_2, to_3, t_3, w_3, to_4, t_4, every, after in moves:
        product(x, wx)
        sum_1(to_1, point)
        tanh(point, t_1)
        product(t_1, w_1)
        sum_2(to_2, point)
        tanh(point, t_2)
        product(t_2, w_2)
        sum_3(to_3, point)
        tanh(point, t_3)
        product(t_3, w_3)
        sum_4(to_4, point)
        tanh(point, t_4)
        sum_x(every, after)


def _pool(states: Floats, count: Any, last: Floats, pooled: Floats) -> None:
    """Fills pooled, (POOLS * size,), from states (steps, size), which are overwritten; of several sequences (sequences,
    POOLS * size) from (steps, sequences, size), 0 past their ends. count: of steps. last: the last states."""
    size = states.shape[-1]
    mean, spread = pooled[..., :size], pooled[..., 2 * size :]
    pooled[..., size : 2 * size] = last
    np.divide(np.add.reduce(states), count, mean)
    np.multiply(states, states, states)
    square = np.add.reduce(states)
    square /= count
    square -= mean * mean
    np.maximum(square, _ZERO, out=square)
    np.sqrt(square, spread)
