"""The weights of the echo state network: two matrices from one seed, and the bytes that they are kept and shared as
(R03, R12, R13).

They come from the seed through SHAKE-256, so that they do not depend on a library's random generator.
Neurons stand in blocks of BLOCK. W is block lower triangular:

    W = [A 0]       A, B: (BLOCK, BLOCK), DENSITY of the entries not zero, scaled to spectral radius 1
        [C B]       C: what the first block tells the second

so a block is driven by itself and by those before it: the first BLOCK neurons alone are a reservoir, whose states
are those of the large one to the last place that arithmetic gives. That is how an account can change its reservoir's
size without learning anew. The eigenvalues of W are those of A and of B. Pure.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import shake_256

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

BLOCK = 50
SIZE = 100
DENSITY = 0.2
COUPLING = 0.1
COUPLING_SCALE = 0.25
"""C: share of its entries that are not zero, and their standard deviation."""
INPUT_SCALE = 0.6
SEED = 20240101

_MAGIC = b"EchoESN2"
_FORMER = (b"EchoESN1",)
_HEAD = struct.Struct("<8sQHH")


class BadWeights(ValueError):
    """Bytes that `pack` did not give."""


class OtherVersion(BadWeights):
    """Bytes that another version's `pack` gave."""


def _always() -> bool:
    return True


@dataclass(frozen=True, eq=False)
class Weights:
    """w: (size, size) of spectral radius 1, w_in: (size, inputs); read-only float32 by columns, perhaps in memory that
    others write. Compared by identity. intact: asked after a use, whether they were these weights all the while."""

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
    made = np.asfortranarray(matrix, dtype=np.float32)
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
    """magic, seed, size, inputs, W, W_in (column by column, little-endian float32), CRC-32 of all that."""
    head = _HEAD.pack(_MAGIC, weights.seed, weights.size, weights.inputs)
    body = head + weights.w.T.astype("<f4").tobytes() + weights.w_in.T.astype("<f4").tobytes()
    return body + struct.pack("<I", zlib.crc32(body))


def packed_size(size: int, inputs: int) -> int:
    """Bytes of `pack`."""
    return _HEAD.size + 4 * size * (size + inputs) + 4


def unpack(data: bytes | memoryview, intact: Callable[[], bool] = _always) -> Weights:
    """What was packed; the matrices are views of `data`, which `intact` tells of. Raises BadWeights."""
    if len(data) < _HEAD.size:
        raise BadWeights("cut short")
    magic, seed, size, inputs = _HEAD.unpack_from(data)
    if magic in _FORMER:
        raise OtherVersion("of an earlier version")
    if magic != _MAGIC:
        raise BadWeights("not the weights of a reservoir, or of a later version")
    if len(data) != packed_size(size, inputs):
        raise BadWeights(f"{len(data)} bytes for {size} neurons and {inputs} inputs")
    if zlib.crc32(data[:-4]) != struct.unpack_from("<I", data, len(data) - 4)[0]:
        raise BadWeights("wrong checksum")
    w = np.frombuffer(data, "<f4", size * size, _HEAD.size).reshape(size, size).T
    w_in = np.frombuffer(data, "<f4", size * inputs, _HEAD.size + 4 * size * size).reshape(inputs, size).T
    w.flags.writeable = w_in.flags.writeable = False
    return Weights(seed, w, w_in, intact)
