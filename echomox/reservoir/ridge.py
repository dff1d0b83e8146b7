"""The read-out: ridge regression in closed form from sums of integers, with exact undo (R08, R14).

A message leaves a vector x of pooled states behind, rounded to multiples of 1 / UNIT; a constant 1 is appended. Kept
are whole numbers only: of each kind c (ham, spam) how many n_c and the sum of x, and of both together the sum of x x^T.
Adding a message and taking it back restores every bit, in any order.

The read-out w is asked for -1 on the average ham and +1 on the average spam, both kinds weighing the same however
unequal their numbers, and for as little spread as can be around those averages m_c; and it is drawn by `ridge` towards
a prior read-out w0, which is zero or that of the server:

    minimise  1/N sum_i (w (x_i - m_c(i)))^2  +  1/2 sum_c (w m_c - t_c)^2  +  ridge/N |w - w0|^2          t = -1, +1

whose normal equations, with the scatter S_w = sum_i x_i x_i^T - sum_c n_c m_c m_c^T, are

    (S_w / N + 1/2 sum_c m_c m_c^T + ridge/N I) w = 1/2 sum_c t_c m_c + ridge/N w0

The scatter is one for both kinds: half the bytes of one for each, and half as many numbers to be learnt. An account's
read-out and its sums stand on disk in at most 200 KB up to 130,000 messages of 100 neurons.

`Scale` makes log-odds of the outcome w x: slope and bias are learnt online by the gradient of the log-loss on outcomes
of messages that the read-out has not seen yet, as whole numbers that each message can take back.

Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.int8]
Integers = NDArray[np.int64]
Doubles = NDArray[np.float64]

UNIT = 127
PENDING = 64
"""So many messages are gathered before their products are summed, in one matrix product that is exact."""
KINDS = ("ham", "spam")
TARGETS = (-1.0, 1.0)

_LOWEST, _HIGHEST, _UNIT = (np.array(number, np.float32) for number in (-1, 1, UNIT))
_HEAD = struct.Struct("<4sHqqqq")
_MAGIC = b"RDG1"
_FIXED = 1 << 20
"""Slope and bias count in units of 1 / _FIXED, weights of a read-out too."""
SLOPE = 4.5
RATE = 0.05


class BadStatistics(ValueError):
    """Bytes that `Statistics.dump` did not give, or a vector that does not belong here."""


def quantise(pooled: NDArray[np.floating]) -> Bytes:
    """Values in [-1, 1] as whole numbers of 1 / UNIT."""
    made: NDArray[np.floating] = np.maximum(pooled, _LOWEST)  # for one message np.clip takes longer than all the rest
    np.minimum(made, _HIGHEST, out=made)
    made *= _UNIT
    np.rint(made, made)
    return made.astype(np.int8)


@dataclass(slots=True)
class Scale:
    """log-odds = slope * outcome + bias, by the sums of what messages have added."""

    slope: int = 0
    bias: int = 0

    def log_odds(self, outcome: float) -> float:
        return (SLOPE + self.slope / _FIXED) * outcome + self.bias / _FIXED

    def lesson(self, outcome: float, spam: bool) -> tuple[int, int]:
        """What a message adds to (slope, bias), given the outcome before it was learnt."""
        odds = max(-30.0, min(30.0, self.log_odds(outcome)))
        error = RATE * (spam - 1.0 / (1.0 + exp(-odds)))
        return round(error * outcome * _FIXED), round(error * _FIXED)

    def add(self, lesson: tuple[int, int], sign: int) -> None:
        self.slope += sign * lesson[0]
        self.bias += sign * lesson[1]


@dataclass(slots=True)
class Statistics:
    """Sums over messages. width: of x without its constant. counts: (ham, spam)."""

    width: int
    counts: list[int] = field(default_factory=lambda: [0, 0])
    scale: Scale = field(default_factory=Scale)
    _sums: Integers = field(init=False)
    _products: Integers = field(init=False)
    _pending: list[tuple[Bytes, int]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._sums = np.zeros((2, self.width), np.int64)
        self._products = np.zeros((self.width, self.width), np.int64)

    @property
    def total(self) -> int:
        return self.counts[0] + self.counts[1]

    def add(self, kind: int, vector: Bytes, sign: int = 1) -> None:
        """kind: index in KINDS. vector: (width,) of `quantise`. sign: 1 to learn, -1 to take back."""
        if vector.shape != (self.width,):
            raise BadStatistics(f"a vector of {vector.shape} for sums of width {self.width}")
        self.counts[kind] += sign
        self._sums[kind] += sign * vector.astype(np.int64)
        self._pending.append((vector, sign))
        if len(self._pending) >= PENDING:
            self._gather()

    def _gather(self) -> None:
        if self._pending:
            # Exact: whole numbers below 2^53 in doubles.
            rows = np.array([vector for vector, _ in self._pending], np.float64)
            signs = np.array([sign for _, sign in self._pending], np.float64)[:, None]
            self._products += (rows.T @ (rows * signs)).astype(np.int64)
            self._pending.clear()

    def sums(self) -> tuple[Integers, Integers]:
        """(sums of x (2, width), sum of x x^T (width, width)), in units of 1/UNIT and 1/UNIT^2."""
        self._gather()
        return self._sums, self._products

    def merge(self, other: Statistics) -> None:
        """Adds the sums of another account, as for the server's read-out; its scale is not taken over."""
        if other.width != self.width:
            raise BadStatistics(f"width {other.width} into {self.width}")
        sums, products = other.sums()
        self._gather()
        self._sums += sums
        self._products += products
        self.counts[0] += other.counts[0]
        self.counts[1] += other.counts[1]

    def dump(self) -> bytes:
        self._gather()
        head = _HEAD.pack(_MAGIC, self.width, *self.counts, self.scale.slope, self.scale.bias)
        upper = self._products[np.triu_indices(self.width)]
        return head + _pack(self._sums.reshape(-1)) + _pack(upper)

    @classmethod
    def load(cls, data: bytes) -> Statistics:
        """What `dump` gave. Raises BadStatistics."""
        try:
            magic, width, ham, spam, slope, bias = _HEAD.unpack_from(data)
            if magic != _MAGIC:
                raise BadStatistics("not the sums of a read-out")
            made = cls(width, [ham, spam], Scale(slope, bias))
            sums, at = _unpack(data, _HEAD.size, 2 * width)
            upper, at = _unpack(data, at, width * (width + 1) // 2)
        except (struct.error, ValueError) as error:
            raise BadStatistics(str(error)) from None
        if at != len(data):
            raise BadStatistics("too long")
        made._sums = sums.reshape(2, width)
        rows, columns = np.triu_indices(width)
        made._products[rows, columns] = upper
        made._products[columns, rows] = upper
        return made


def _pack(numbers: Integers) -> bytes:
    """One byte that says how many bytes each number takes, then the numbers, little-endian, two's complement."""
    most = int(np.abs(numbers).max(initial=0))
    size = (most.bit_length() + 8) // 8
    return bytes([size]) + numbers.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :size].tobytes()


def _unpack(data: bytes, at: int, count: int) -> tuple[Integers, int]:
    if at >= len(data) or not 1 <= data[at] <= 8 or len(data) < at + 1 + data[at] * count:
        raise BadStatistics("cut short")
    size = data[at]
    wide = np.zeros((count, 8), np.uint8)
    wide[:, 8 - size :] = np.frombuffer(data, np.uint8, size * count, at + 1).reshape(count, size)
    return wide.view("<i8").reshape(-1) >> (8 * (8 - size)), at + 1 + size * count


def equations(
    statistics: Statistics, ridge: float, columns: Sequence[int] | Integers | None = None, prior: Doubles | None = None
) -> tuple[Doubles, Doubles]:
    """(A, b) of the normal equations A w = b; see the module. columns: of x that are used, all if None; the constant
    is the last of w. prior: w0. Both kinds must have been seen."""
    sums, products = statistics.sums()
    width, number = statistics.width, statistics.total
    a = np.empty((width + 1, width + 1))
    np.divide(products, UNIT * UNIT * number, out=a[:-1, :-1])
    a[-1, :-1] = a[:-1, -1] = sums.sum(axis=0) / (UNIT * number)
    a[-1, -1] = 1.0
    b = np.zeros(width + 1)
    square = np.empty_like(a)
    for kind, count in enumerate(statistics.counts):
        mean = np.append(sums[kind] / (UNIT * count), 1.0)
        np.multiply(mean[:, None], mean, out=square)
        square *= 0.5 - count / number
        a += square
        b += 0.5 * TARGETS[kind] * mean
    a.flat[:: width + 2] += ridge / number
    if columns is not None:
        a, b = part(a, b, columns)
    return a, b if prior is None else b + ridge / number * prior


def part(a: Doubles, b: Doubles, columns: Sequence[int] | Integers) -> tuple[Doubles, Doubles]:
    """Of the equations for all columns, those for some and the constant: the same bits as made for these alone."""
    kept = np.append(np.asarray(columns, np.int64), -1)
    return a[kept[:, None], kept], b[kept]


def solve(
    statistics: Statistics, ridge: float, columns: Sequence[int] | Integers | None = None, prior: Doubles | None = None
) -> Doubles | None:
    """The read-out w, the constant's weight last. None while one kind has never been seen, unless there is a prior:
    then the prior."""
    return solve_parts(statistics, ridge, [(columns, prior)])[0]


def solve_parts(
    statistics: Statistics, ridge: float, wanted: Sequence[tuple[Sequence[int] | Integers | None, Doubles | None]]
) -> list[Doubles | None]:
    """`solve` for several (columns, prior)."""
    if min(statistics.counts) < 1:
        return [prior for _, prior in wanted]
    whole, right = equations(statistics, ridge)
    found: list[Doubles | None] = []
    for columns, prior in wanted:
        a, b = (whole, right) if columns is None else part(whole, right, columns)
        if prior is not None:
            b = b + ridge / statistics.total * prior
        found.append(np.linalg.solve(a, b).astype(np.float64, copy=False))
    return found


def fixed_point(weights: Doubles) -> Integers:
    """Weights as whole numbers, with which `outcomes` is exact and so the same in any order of summing."""
    rounded: Integers = np.rint(np.clip(weights, -1e4, 1e4) * _FIXED).astype(np.int64)
    return rounded


def outcome(weights: Integers, vector: Bytes) -> float:
    """w x of one quantised vector."""
    return (int(weights[:-1] @ vector.astype(np.int64)) / UNIT + int(weights[-1])) / _FIXED
