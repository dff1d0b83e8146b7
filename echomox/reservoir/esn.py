"""The echo state network: a sequence of inputs becomes the states of leaky tanh neurons, pooled over time (R01-R07).

    dx/dt = leak (-x + tanh(W_in u + W x))           the leaky integrator in continuous time

u is held for one unit of time, the state is zero at the start of each sequence, and one unit is `steps` steps, usually
one, of the classical Runge-Kutta method of order 4 ("rk4") or of Euler's ("euler"), which is the usual discrete form

    x' = (1 - leak) x + leak tanh(W_in u + W x)      Lukosevicius 2012, eqs. 2 and 3

What a sequence leaves behind is, for each neuron, the mean over its steps, the last state, and the spread
(standard deviation) over its steps.

Weights come from one seed, through SHAKE-256, so that they do not depend on a library's random generator.
Neurons stand in blocks of BLOCK. W is block lower triangular:

    W = [A 0]       A, B: (BLOCK, BLOCK), DENSITY of the entries not zero, scaled to spectral radius 1
        [C B]       C: what the first block tells the second

so a block is driven by itself and by those before it: the first BLOCK neurons alone are a reservoir, whose states
are those of the large one to the last place that arithmetic gives. That is how an account can change its reservoir's
size without learning anew. The eigenvalues of W are those of A and of B; W is multiplied by the spectral radius that
is asked for when a Reservoir is made of it.

Sequences advance together, but every matrix product is of one row, whatever the number of sequences (BLAS has other
ways, with other last bits, for several), and no row looks at another; so a sequence has the same bits in any batch.
One row at a time costs no more than eight at once, for W fits into the fastest cache. Pure.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import shake_256

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Product = Callable[[Floats, Floats, Floats], object]
"""x, W transposed, where to put the product of each row of x."""

BLOCK = 50
SIZE = 100
DENSITY = 0.2
COUPLING = 0.1
COUPLING_SCALE = 0.25
"""C: share of its entries that are not zero, and their standard deviation."""
INPUT_SCALE = 0.6
SEED = 20240101
INTEGRATORS = ("rk4", "euler")
POOLS = 3
"""mean, last, spread."""
LONGEST = 32
"""Steps; what is longer is cut."""

_MAGIC = b"EchoESN1"
_HEAD = struct.Struct("<8sQHH")


class BadWeights(ValueError):
    """Bytes that `pack` did not give."""


def _always() -> bool:
    return True


@dataclass(frozen=True, eq=False)
class Weights:
    """w: (size, size) of spectral radius 1, w_in: (size, inputs); read-only float32, perhaps in memory that others
    write. Compared by identity. intact: asked after a use, whether they were these weights all the while."""

    seed: int
    w: Floats
    w_in: Floats
    intact: Callable[[], bool] = _always

    @property
    def size(self) -> int:
        return len(self.w)

    @property
    def inputs(self) -> int:
        return self.w_in.size // len(self.w_in)

    @property
    def density(self) -> float:
        """Share of W that is not zero."""
        return float(np.count_nonzero(self.w) / self.w.size)

    @cached_property
    def checksum(self) -> int:
        """CRC-32 of the two matrices."""
        return zlib.crc32(self.w_in.tobytes(), zlib.crc32(self.w.tobytes()))

    def first(self, size: int) -> Weights:
        """The reservoir of the first `size` neurons, a multiple of BLOCK."""
        if size == self.size:
            return self
        if size % BLOCK or not 0 < size < self.size:
            raise ValueError(f"no reservoir of {size} neurons in one of {self.size}")
        return Weights(self.seed, self.w[:size, :size], self.w_in[:size], self.intact)


def _frozen(matrix: NDArray[np.floating]) -> Floats:
    made = np.ascontiguousarray(matrix, dtype=np.float32)
    made.flags.writeable = False
    return made


def _uniform(seed: int, name: str, count: int) -> Doubles:
    """`count` numbers in [0, 1), the same on every machine."""
    stream = shake_256(f"{seed} {name}".encode()).digest(4 * count)
    return np.frombuffer(stream, "<u4") / 2.0**32


def _normal(seed: int, name: str, count: int) -> Doubles:
    """As good as normal, mean 0, variance 1: sums of twelve uniform numbers, which need no rounded function."""
    sums: Doubles = _uniform(seed, name, 12 * count).reshape(count, 12).sum(axis=1)
    return sums - 6.0


def _sparse(seed: int, name: str, rows: int, columns: int, density: float) -> Doubles:
    kept = _uniform(seed, name + " kept", rows * columns) < density
    return np.where(kept, _normal(seed, name, rows * columns), 0.0).reshape(rows, columns)


def spectral_radius(matrix: NDArray[np.floating]) -> float:
    """The largest absolute eigenvalue, by LAPACK's QR algorithm for general matrices: complex pairs are no trouble."""
    return float(np.max(np.abs(np.linalg.eigvals(matrix.astype(np.float64)))))


def make(inputs: int, size: int = SIZE, seed: int = SEED) -> Weights:
    """The weights of a seed. size: a multiple of BLOCK."""
    if size < BLOCK or size % BLOCK:
        raise ValueError(f"reservoir of {size} neurons; only multiples of {BLOCK}")
    w = np.zeros((size, size))
    for start in range(0, size, BLOCK):
        rows = slice(start, start + BLOCK)
        own = _sparse(seed, f"W {start}", BLOCK, BLOCK, DENSITY)
        # Rounded, so that the last places of an eigenvalue routine do not make two machines differ.
        w[rows, rows] = own * round(1.0 / spectral_radius(own), 9)
        if start:
            w[rows, :start] = COUPLING_SCALE * _sparse(seed, f"C {start}", BLOCK, start, COUPLING)
    w_in = (2.0 * _uniform(seed, "W_in", size * inputs) - 1.0).reshape(size, inputs) * INPUT_SCALE
    return Weights(seed, _frozen(w), _frozen(w_in))


def pack(weights: Weights) -> bytes:
    """magic, seed, size, inputs, W, W_in (row by row, little-endian float32), CRC-32 of all that."""
    head = _HEAD.pack(_MAGIC, weights.seed, weights.size, weights.inputs)
    body = head + weights.w.astype("<f4").tobytes() + weights.w_in.astype("<f4").tobytes()
    return body + struct.pack("<I", zlib.crc32(body))


def packed_size(size: int, inputs: int) -> int:
    """Bytes of `pack`."""
    return _HEAD.size + 4 * size * (size + inputs) + 4


def unpack(data: bytes | memoryview, intact: Callable[[], bool] = _always) -> Weights:
    """What was packed; the matrices are views of `data`, which `intact` tells of. Raises BadWeights."""
    if len(data) < _HEAD.size:
        raise BadWeights("cut short")
    magic, seed, size, inputs = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise BadWeights("not the weights of a reservoir, or of another version")
    if len(data) != packed_size(size, inputs):
        raise BadWeights(f"{len(data)} bytes for {size} neurons and {inputs} inputs")
    if zlib.crc32(data[:-4]) != struct.unpack_from("<I", data, len(data) - 4)[0]:
        raise BadWeights("wrong checksum")
    w = np.frombuffer(data, "<f4", size * size, _HEAD.size).reshape(size, size)
    w_in = np.frombuffer(data, "<f4", size * inputs, _HEAD.size + 4 * size * size).reshape(size, inputs)
    w.flags.writeable = w_in.flags.writeable = False
    return Weights(seed, w, w_in, intact)


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


class Reservoir:
    """Weights that move: `run` takes sequences to pooled states."""

    def __init__(self, weights: Weights, dynamics: Dynamics = Dynamics()) -> None:
        self.weights = weights
        self.dynamics = dynamics
        self.size = weights.size
        leak = dynamics.leak / dynamics.steps  # a step of length h with leak a is one of length 1 with leak h a
        # Arrays, for NumPy takes longer to make them of numbers than to multiply a hundred of those.
        self._radius, self._half, self._whole, self._sixth = (
            np.array(factor, np.float32) for factor in (dynamics.radius, leak / 2.0, leak, leak / 6.0)
        )
        self._wt, self._wt_in = weights.w.T, weights.w_in.T  # where they stand: shared with other processes
        # Both are BLAS's matrix times vector; of a part of a matrix `dot` would make a copy, in another order.
        self._product: Product = np.dot if weights.w.flags.c_contiguous else np.matmul

    def run(self, sequences: Sequence[Floats]) -> Floats:
        """(sequences, POOLS * size): mean, last and spread of each; all 0 for one without steps.

        sequences: each (steps, inputs) float32; steps past LONGEST are left out.
        """
        pooled = np.zeros((len(sequences), POOLS * self.size), np.float32)
        lengths = [min(len(sequence), LONGEST) for sequence in sequences]
        order = sorted((i for i, length in enumerate(lengths) if length), key=lambda i: -lengths[i])
        if order:
            states = self._advance([sequences[i] for i in order], [lengths[i] for i in order])
            pooled[order] = _pool(states, np.array([lengths[i] for i in order]))
        return pooled

    def states(self, sequence: Floats, start: Floats | None = None) -> Floats:
        """(steps, size): the state after each step of one sequence. start: (size,), zero if none."""
        steps = min(len(sequence), LONGEST)
        if not steps:
            return np.zeros((0, self.size), np.float32)
        made: Floats = self._advance([sequence], [steps], start)[:, 0]
        return made

    def _advance(self, sequences: Sequence[Floats], lengths: Sequence[int], start: Floats | None = None) -> Floats:
        """(steps, rows, size); 0 past the end of a row. lengths: falling, none 0."""
        rows, steps = len(sequences), lengths[0]
        u = np.zeros((steps, rows, 1, self.weights.inputs), np.float32)
        for row, (sequence, length) in enumerate(zip(sequences, lengths)):
            u[:length, row, 0] = sequence[:length]
        drive = np.matmul(u, self._wt_in)
        states = np.zeros((steps + 1, rows, 1, self.size), np.float32)
        if start is not None:
            states[0, 0, 0] = start
        step = self._rk4 if self.dynamics.integrator == "rk4" else self._euler
        work = np.empty((3, rows, 1, self.size), np.float32)
        active, t = rows, 0
        while t < steps:
            while lengths[active - 1] <= t:
                active -= 1
            until = lengths[active - 1]
            if active > 1:
                moved, driven, spare = states[:, :active], drive[:, :active], work[:, :active]
            else:  # the same without the other axes, which cost more than what stands in them
                moved, driven, spare = states[:, 0, 0], drive[:, 0, 0], work[:, 0, 0]
            product = np.matmul if active > 1 else self._product
            step(moved[t : until + 1], driven[t:until], tuple(spare), product)
            t = until
        return states[1:, :, 0]

    def _euler(self, states: Floats, drive: Floats, work: tuple[Floats, ...], product: Product) -> None:
        """As _rk4."""
        wt, radius, leak = self._wt, self._radius, self._whole
        multiply, add, subtract, tanh = np.multiply, np.add, np.subtract, np.tanh
        k = work[0]
        x = states[0]
        for driven, after in zip(drive, states[1:]):
            for _ in range(self.dynamics.steps):
                product(x, wt, k)
                multiply(k, radius, k)
                add(k, driven, k)
                tanh(k, k)
                subtract(k, x, k)
                multiply(k, leak, k)
                add(x, k, after)
                x = after

    def _rk4(self, states: Floats, drive: Floats, work: tuple[Floats, ...], product: Product) -> None:
        """Fills states[1:], of which the first is that before, and drive[i] belongs to states[i + 1].

            x' = x + leak / 6 (k1 + 2 k2 + 2 k3 + k4)        k = -y + tanh(drive + radius W y)

        with y = x for k1, x + leak / 2 k1 for k2, x + leak / 2 k2 for k3 and x + leak k3 for k4. total: their sum. It
        is written out, for with few rows the number of calls is what costs.
        """
        wt, radius, half, whole, sixth = self._wt, self._radius, self._half, self._whole, self._sixth
        multiply, add, subtract, tanh = np.multiply, np.add, np.subtract, np.tanh
        total, k, y = work
        x = states[0]
        for driven, after in zip(drive, states[1:]):
            for _ in range(self.dynamics.steps):
                product(x, wt, total)
                multiply(total, radius, total)
                add(total, driven, total)
                tanh(total, total)
                subtract(total, x, total)
                multiply(total, half, y)
                for factor in (half, whole):
                    add(y, x, y)
                    product(y, wt, k)
                    multiply(k, radius, k)
                    add(k, driven, k)
                    tanh(k, k)
                    subtract(k, y, k)
                    add(total, k, total)
                    add(total, k, total)
                    multiply(k, factor, y)
                add(y, x, y)
                product(y, wt, k)
                multiply(k, radius, k)
                add(k, driven, k)
                tanh(k, k)
                subtract(k, y, k)
                add(total, k, total)
                multiply(total, sixth, total)
                add(x, total, after)
                x = after


def _pool(states: Floats, lengths: NDArray[np.int64]) -> Floats:
    """(sequences, POOLS * size) of states (steps, sequences, size), which are overwritten."""
    number, size = states.shape[1:]
    count = lengths.astype(np.float32)[:, None]
    pooled = np.empty((number, POOLS * size), np.float32)
    mean, last, spread = pooled[:, :size], pooled[:, size : 2 * size], pooled[:, 2 * size :]
    last[:] = states[lengths - 1, np.arange(number)]
    np.divide(np.add.reduce(states, axis=0), count, out=mean)
    np.multiply(states, states, out=states)
    square = np.add.reduce(states, axis=0)
    square /= count
    square -= mean * mean
    np.maximum(square, 0.0, out=square)
    np.sqrt(square, out=spread)
    return pooled
