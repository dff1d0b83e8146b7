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

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echomox.filter import hashing
from echomox.filter.hashing import Hashes, Sums
from echomox.filter.tokens import MOST_TOKENS, Text

Places = NDArray[np.int64]
FEW = 16
"""Strings that are looked for one by one, rather than with all others."""
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
    tags = {tag: place for place, tag in enumerate(dict.fromkeys([tag for tag, _ in runs]), 1)}
    strings = [" ", *tags]
    for text in texts:
        strings += text.singles
    first = len(strings)
    for _, words in runs:
        strings += words
    found = hashing.sums(strings)
    plain = Sums(found.values[first:], found.sizes[first:])
    layers = _layers(found, plain, np.repeat([tags[tag] for tag, _ in runs], lengths), lengths, ngrams)
    every = hashing.mix(np.concatenate((found.values[len(tags) + 1 : first], *layers)))
    starts = range(sum(singles), len(every), len(plain.values) or 1)
    out = []
    at = end = 0
    numbers = iter(lengths)
    for text, count in zip(texts, singles):
        length = sum([next(numbers) for _ in text.runs])
        parts = [every[start + end : start + end + length] for start in starts]
        own = np.concatenate((every[at : at + count], *parts, _NONE))
        out.append(Hashed(own, _distinct(own[:-1]), count, length))
        at, end = at + count, end + length
    return out


def _layers(found: Sums, plain: Sums, tags: Places, lengths: Sequence[int], ngrams: int) -> list[Hashes]:
    """The sums of words, pairs, threes. tags: of each word, its place in `found`, of which 0 is the space."""
    if not lengths:
        return []
    space = Sums(found.values[:1], found.sizes[:1])
    word = hashing.join(Sums(found.values.take(tags), found.sizes.take(tags)), plain)
    layers = [word.values]
    run = word
    for more in range(1, ngrams):
        run = hashing.join(hashing.join(run, space), Sums(_later(plain.values, more), _later(plain.sizes, more)))
        made = run.values.copy()
        ends = [end - back for end, size in zip(accumulate(lengths), lengths) for back in range(1, min(more, size) + 1)]
        made[ends] = word.values[ends]
        layers.append(made)
    return layers


def _later(values: NDArray[Any], more: int) -> NDArray[Any]:
    """At each place what stands `more` places behind it; anything at the end."""
    return np.concatenate((values[more:], values[:more]))


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
    made = (_few if len(places) < FEW else _many)(text, found, places)
    every = "".join(made)
    return made if every.isascii() and "\0" not in every else [_storable(token) for token in made]


def _few(text: Text, found: Hashed, places: Places) -> list[str]:
    """Looks for the run of each."""
    ends = list(accumulate([len(run) for _, run in text.runs]))
    out = []
    for place in places.tolist():
        if place < found.at:
            out.append(text.singles[place])
            continue
        more, index = divmod(place - found.at, found.words)
        which = bisect_right(ends, index)
        tag, run = text.runs[which]
        start = index - ends[which] + len(run)
        out.append(tag + (" ".join(run[start : start + more + 1]) if start + more < len(run) else run[start]))
    return out


def _many(text: Text, found: Hashed, places: Places) -> list[str]:
    """Walks over the runs once. Where a run is too short for a layer its words stand alone."""
    layers = [text.singles, [tag + word for tag, run in text.runs for word in run]]
    wanted = places.tolist()
    deepest = (max(wanted) - found.at) // found.words if found.words else 0
    if deepest > 0:
        layers.append([
            made for tag, run in text.runs if run
            for made in (*[f"{tag}{one} {two}" for one, two in pairwise(run)], tag + run[-1])
        ])  # fmt: skip
    if deepest > 1:
        layers.append([
            made for tag, run in text.runs
            for made in (
                *[f"{tag}{one} {two} {three}" for one, two, three in zip(run, run[1:], run[2:])],
                *[tag + word for word in run[-2:]],
            )
        ])  # fmt: skip
    every = [token for layer in layers for token in layer]
    return [every[place] for place in wanted]


def _storable(token: str) -> str:
    """Without NUL, and without halves of surrogate pairs, which come from charsets that are not what they say."""
    return token.replace("\0", "").encode("utf-8", "replace").decode()
