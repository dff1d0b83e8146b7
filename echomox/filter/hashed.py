"""The tokens of a message as hashes, each at its place, so that all stages that read words share one pass.

Places are in reading order, three or four layers of them behind each other:

    0                     singles
    at + i                the i-th word of all runs, with its run's tag
    at + words + i        that word and the next of its run; the word itself where it is the last
    at + 2 words + i      that word and the next two; the word itself where there are not so many
    others                what is counted of the message and stands nowhere in it: whom it is from
    last                  no token: the hash 0

Pure; messages that are hashed together get what each would get alone. The strings of runs of words are made only of
those that are asked for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
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
_SPACE = ord(" ")


class Hashed(NamedTuple):
    """hashes: by place. distinct: the first place of every token, ascending, MOST_TOKENS of them at most. at: place of
    the first word; words: in all runs; others: see the module."""

    hashes: Hashes
    distinct: Places
    at: int
    words: int
    others: int

    @property
    def tokens(self) -> Hashes:
        """Each token once, in reading order."""
        return self.hashes[self.distinct]


def hashed(texts: Sequence[Text], ngrams: int, others: Sequence[Sequence[str]] = ()) -> list[Hashed]:
    """Of each message. ngrams: longest run of words that is a token, 1 to 3. others: of each message."""
    singles = [len(text.singles) for text in texts]
    beside = [len(one) for one in others] or [0] * len(texts)
    runs = [run for text in texts for run in text.runs]
    lengths = [len(words) for _, words in runs]
    tags = {tag: place for place, tag in enumerate(dict.fromkeys([tag for tag, _ in runs]))}
    strings = [*tags]
    for text in texts:
        strings += text.singles
    for one in others:
        strings += one
    first = len(strings)
    for _, words in runs:
        strings += words
    found = hashing.sums(strings)
    plain = Sums(found.values[first:], found.sizes[first:])
    layers = _layers(found, plain, np.array([tags[tag] for tag, _ in runs], np.int64).repeat(lengths), lengths, ngrams)
    if len(texts) == 1:
        middle = len(tags) + singles[0]
        head, behind = found.values[len(tags) : middle], found.values[middle:first]
        own = hashing.mix(np.concatenate((head, *layers, behind, _NONE)))
        return [_of_one(own, len(head), len(plain.values), len(behind))]
    every = hashing.mix(np.concatenate((found.values[len(tags) : first], *layers)))
    starts = range(sum(singles) + sum(beside), len(every), len(plain.values) or 1)
    out = []
    at, which, end = 0, sum(singles), 0
    numbers = iter(lengths)
    for text, count, more in zip(texts, singles, beside):
        length = sum([next(numbers) for _ in text.runs])
        parts = [every[start + end : start + end + length] for start in starts]
        own = np.concatenate((every[at : at + count], *parts, every[which : which + more], _NONE))
        last = len(own) - 1 - more
        out.append(Hashed(own, _distinct(own[:last]), count, length, last))
        at, which, end = at + count, which + more, end + length
    return out


def _of_one(every: Hashes, singles: int, words: int, others: int) -> Hashed:
    """Of a message alone, whose hashes stand in their order already."""
    every[-1] = 0
    last = len(every) - 1 - others
    return Hashed(every, _distinct(every[:last]), singles, words, last)


def _layers(found: Sums, plain: Sums, tags: Places, lengths: Sequence[int], ngrams: int) -> list[Hashes]:
    """The sums of words, pairs, threes. tags: of each word, its place in `found`."""
    if not lengths:
        return []
    word = hashing.join(Sums(found.values.take(tags), found.sizes.take(tags)), plain)
    layers = [word.values]
    ends = list(accumulate(lengths))
    run = word
    for more in range(1, ngrams):
        made = hashing.joined(run, _later(plain.values, more), _SPACE)
        if more + 1 < ngrams:  # the next layer goes on from here
            run = Sums(made.copy(), run.sizes + _later(plain.sizes, more) + 1)
        lone = [end - back for end, size in zip(ends, lengths) for back in range(1, min(more, size) + 1)]
        made[lone] = word.values[lone]
        layers.append(made)
    return layers


def _later(values: NDArray[Any], more: int) -> NDArray[Any]:
    """At each place what stands `more` places behind it; anything at the end."""
    return np.concatenate((values[more:], values[:more]))


def _distinct(hashes: Hashes) -> Places:
    """The first places of the first MOST_TOKENS tokens."""
    if not len(hashes):
        return np.zeros(0, np.int64)
    order = hashes.argsort()
    ascending = hashes.take(order)
    first = np.empty(len(hashes), np.bool_)
    first[0] = True
    np.not_equal(ascending[1:], ascending[:-1], out=first[1:])
    places: Places = np.minimum.reduceat(order, first.nonzero()[0])
    places.sort()
    return places[:MOST_TOKENS]


def strings(text: Text, found: Hashed, places: Places) -> list[str]:
    """The tokens that stand at `places`."""
    made = (_few if len(places) < FEW else _many)(text, found, places)
    every = "".join(made)
    if every.isascii() or every.encode("utf-8", "replace").decode() == every:
        return [token.replace("\0", "") for token in made] if "\0" in every else made
    return [_storable(token) for token in made]


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
    """Lays the words of all runs out once."""
    plain: list[str] = []
    tagged: list[str] = []
    for tag, run in text.runs:
        plain += run
        tagged += [tag + word for word in run] if tag else run
    order = None if (places[1:] >= places[:-1]).all() else np.argsort(places)
    ascending = places if order is None else places[order]
    at, words = found.at, found.words
    first, second, third = np.searchsorted(ascending, [at, at + words, at + 2 * words]).tolist()
    made = [text.singles[place] for place in ascending[:first].tolist()]
    made += [tagged[place] for place in (ascending[first:second] - at).tolist()]
    if second < third:
        last = _last(text, 1)
        made += [
            tagged[place] if place in last else f"{tagged[place]} {plain[place + 1]}"
            for place in (ascending[second:third] - at - words).tolist()
        ]
    if third < len(ascending):
        last = _last(text, 2)
        made += [
            tagged[place] if place in last else f"{tagged[place]} {plain[place + 1]} {plain[place + 2]}"
            for place in (ascending[third:] - at - 2 * words).tolist()
        ]
    return made if order is None else [made[place] for place in np.argsort(order).tolist()]


def _last(text: Text, more: int) -> set[int]:
    """The words, among those of all runs, behind which their run has not so many `more`: they stand alone."""
    lengths = [len(run) for _, run in text.runs]
    return {end - back for end, size in zip(accumulate(lengths), lengths) for back in range(1, min(more, size) + 1)}


def _storable(token: str) -> str:
    """Without NUL, and without halves of surrogate pairs, which come from charsets that are not what they say."""
    return token.replace("\0", "").encode("utf-8", "replace").decode()
