"""The tokens of a message as hashes, each at its place, so that all stages that read words share one pass.

Places are in reading order, three or four layers of them behind each other:

    0                     singles
    at + i                the i-th word of all runs, with its run's tag
    at + words + i        that word and the next of its run; the word itself where it is the last
    at + 2 words + i      that word and the next two; the word itself where there are not so many
    last                  no token: the hash 0

Pure; messages that are hashed together get what each would get alone. The strings of runs of words are made only of
those that are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echomox.filter import hashing
from echomox.filter.hashing import Hashes, Sums
from echomox.filter.tokens import MOST_TOKENS, Text

Places = NDArray[np.int64]
_NONE = np.zeros(1, np.uint64)
_TRUE = np.ones(1, np.bool_)


class Hashed(NamedTuple):
    """hashes: by place. distinct: the first place of every token, ascending, MOST_TOKENS of them at most. at: place of
    the first word; words: in all runs."""

    hashes: Hashes
    distinct: Places
    at: int
    words: int

    @property
    def tokens(self) -> Hashes:
        """Each token once, in reading order."""
        return self.hashes[self.distinct]


def hashed(texts: Sequence[Text], ngrams: int) -> list[Hashed]:
    """Of each message. ngrams: longest run of words that is a token, 1 to 3."""
    singles = [len(text.singles) for text in texts]
    runs = [run for text in texts for run in text.runs]
    lengths = [len(words) for _, words in runs]
    tags = list(dict.fromkeys(tag for tag, _ in runs))
    strings = [" ", *tags]
    for text in texts:
        strings += text.singles
    first = len(strings)
    for _, words in runs:
        strings += words
    found = hashing.sums(strings)
    plain = Sums(found.values[first:], found.sizes[first:])
    layers = _layers(found, plain, np.repeat([tags.index(tag) + 1 for tag, _ in runs], lengths), lengths, ngrams)
    alone = hashing.mix(found.values[len(tags) + 1 : first])
    out = []
    at = end = 0
    numbers = iter(lengths)
    for text, count in zip(texts, singles):
        length = sum([next(numbers) for _ in text.runs])
        own = np.concatenate((alone[at : at + count], *[one[end : end + length] for one in layers], _NONE))
        out.append(Hashed(own, _distinct(own[:-1]), count, length))
        at, end = at + count, end + length
    return out


def _layers(found: Sums, plain: Sums, tags: Places, lengths: Sequence[int], ngrams: int) -> list[Hashes]:
    """The hashes of words, pairs, threes. tags: of each word, its place in `found`, of which 0 is the space."""
    if not lengths:
        return [plain.values] * ngrams
    space = Sums(found.values[:1], found.sizes[:1])
    word = hashing.join(Sums(found.values[tags], found.sizes[tags]), plain)
    layers = [hashing.mix(word.values)]
    run = word
    for more in range(1, ngrams):
        run = hashing.join(hashing.join(run, space), Sums(np.roll(plain.values, -more), np.roll(plain.sizes, -more)))
        made = hashing.mix(run.values)
        ends = [end - back for end, size in zip(accumulate(lengths), lengths) for back in range(1, min(more, size) + 1)]
        made[ends] = layers[0][ends]
        layers.append(made)
    return layers


def _distinct(hashes: Hashes) -> Places:
    """The first places of the first MOST_TOKENS tokens."""
    if not len(hashes):
        return np.zeros(0, np.int64)
    order = np.argsort(hashes)
    ascending = hashes[order]
    starts = np.flatnonzero(np.concatenate((_TRUE, ascending[1:] != ascending[:-1])))
    return np.sort(np.minimum.reduceat(order, starts))[:MOST_TOKENS]


def strings(text: Text, found: Hashed, places: Places) -> list[str]:
    """The tokens that stand at `places`."""
    tags: list[str] = []
    words: list[str] = []
    rests: list[int] = []
    for tag, run in text.runs:
        tags += [tag] * len(run)
        words += run
        rests += range(len(run), 0, -1)
    out = []
    for place in places.tolist():
        if place < found.at:
            token = text.singles[place]
        else:
            more, index = divmod(place - found.at, found.words)
            token = tags[index] + " ".join(words[index : index + (more + 1 if rests[index] > more else 1)])
        out.append(token if token.isascii() and "\0" not in token else _storable(token))
    return out


def _storable(token: str) -> str:
    """Without NUL, and without halves of surrogate pairs, which come from charsets that are not what they say."""
    return token.replace("\0", "").encode("utf-8", "replace").decode()
