"""Tokens as 64-bit numbers: what the account's counts are looked up by, and what evidence is computed on.

    h(token) = mix(sum of byte[i] * BASE ** i)        mod 2 ** 64, over the bytes of its UTF-8

The sum is a polynomial, so that a whole message is hashed by a handful of array operations, and that the hash of
"word word" follows from those of the two words without the string being made (`join`). `mix` is a bijection that
makes every bit depend on all. The same token has the same hash on every machine, for ever: counts are stored by it.

Two tokens of one hash are taken for one. By chance that is one pair in 2 ** 64; made on purpose it wins nothing that
writing the other word would not. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Sizes = NDArray[np.int64]

BASE = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse."""
CHUNK = 1 << 15
"""Bytes hashed at once: what fits into the cache. What a token has beyond them does not count."""
_MASK = (1 << 64) - 1
_BASE = np.uint64(BASE)
_SHIFT = np.uint64(32)
_STIR = np.uint64(0xD6E8FEB86659FD93)


class Sums(NamedTuple):
    """Tokens before `mix`. values: the polynomials; sizes: bytes of each."""

    values: Hashes
    sizes: Sizes


@cache
def _powers() -> tuple[Hashes, Hashes]:
    """BASE ** i and BASE ** -i for i below CHUNK."""
    inverse = pow(BASE, -1, 1 << 64)
    return _progression(BASE), _progression(inverse)


def _progression(base: int) -> Hashes:
    made = np.full(CHUNK, base, np.uint64)
    made[0] = 1
    return np.multiply.accumulate(made)


def sums(tokens: Sequence[str]) -> Sums:
    """Of any number of tokens; NUL in a token does not count, and half a surrogate pair counts as "?"."""
    if not tokens:
        return Sums(np.zeros(0, np.uint64), np.zeros(0, np.int64))
    data = "\0".join(tokens).encode("utf-8", "replace") + b"\0"
    pieces = [_sums(piece) for piece in _pieces(data)]
    found = pieces[0]
    if len(pieces) > 1:
        found = Sums(np.concatenate([one.values for one in pieces]), np.concatenate([one.sizes for one in pieces]))
    if len(found.sizes) == len(tokens):
        return found
    return sums([token.replace("\0", "") for token in tokens])


def _pieces(data: bytes) -> Iterator[bytes]:
    """data: tokens with a NUL after each, to be cut behind such into pieces of at most CHUNK bytes."""
    if len(data) <= CHUNK:
        yield data
        return
    start = 0
    while start < len(data):
        end = data.rfind(0, start, start + CHUNK) + 1
        if end:
            yield data[start:end]
        else:
            yield data[start : start + CHUNK - 1] + b"\0"
            end = data.index(0, start) + 1
        start = end


def _sums(data: bytes) -> Sums:
    """data: tokens with a NUL after each, at most CHUNK bytes."""
    up, down = _powers()
    letters = np.frombuffer(data, np.uint8)
    ends = (letters == 0).nonzero()[0]
    starts = np.empty_like(ends)
    starts[0] = 0
    np.add(ends[:-1], 1, out=starts[1:])
    values: Hashes = np.add.reduceat(letters * up[: len(data)], starts)
    values *= down.take(starts)
    return Sums(values, ends - starts)


def join(first: Sums, second: Sums, letter: int = 0) -> Sums:
    """Of each token of `first` with the one of `second` behind it. letter: the byte between them, 0 for none."""
    sizes = first.sizes + second.sizes
    if letter:
        sizes += 1
    return Sums(joined(first, second.values, letter), sizes)


def joined(first: Sums, second: Hashes, letter: int = 0) -> Hashes:
    """The values of `join`."""
    up, _ = _powers()
    made = up.take(first.sizes)
    if letter:
        behind = second * _BASE
        behind += np.uint64(letter)
        made *= behind
    else:
        made *= second
    made += first.values
    return made


def mix(values: Hashes) -> Hashes:
    """The hashes of sums; never 0, which may stand for no token."""
    made = values >> _SHIFT
    made ^= values
    for _ in range(2):
        made *= _STIR
        made ^= made >> _SHIFT
    if np.count_nonzero(made) != len(made):
        made[made == 0] = 1
    return made


def hashes(tokens: Sequence[str]) -> Hashes:
    """The hash of each token."""
    return mix(sums(tokens).values)
