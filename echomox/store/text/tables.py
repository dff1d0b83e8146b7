"""What a batch of contents has, gathered for a segment of the full-text index: terms and who has them. Pure; the work
of each term is one look-up in a table, all else is done for the batch at once.

`Terms` takes sets of terms, a document at a time. `Pairs` takes texts and finds, in all of them together, where two
words meet with one blank between: the last octets of the first and the first ones of the second, here a number of
eight octets. So a text is not asked for words that are in it, but not side by side; and not for "of the" at all.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Collection
from itertools import count

import numpy as np
import numpy.typing as npt

from echomox.store.text.postings import Entries, Numbers
from echomox.store.text.words import PAIR, WORD_OCTETS, Folded, octets

PIECE = 1 << 20
"""Octets of text that are looked at together; working memory is some thirty times that."""
_BLANK = 32
_WORD = np.array([code if chr(code).encode("latin-1") in WORD_OCTETS else 0 for code in range(256)], np.uint8)
_GAP = bytes(PAIR)  # between texts: nothing in it is part of a word
_PLACES = np.array([*range(-PAIR, 0), *range(1, PAIR + 1)], np.int64)
_DOCUMENT_BITS = 16


class Terms:
    """Documents must come in ascending order, each once."""

    def __init__(self) -> None:
        self._numbers: defaultdict[bytes, int] = defaultdict(count().__next__)
        self._found = array("q")
        self._sizes: list[tuple[int, int]] = []

    def add(self, document: int, terms: Collection[bytes]) -> None:
        self._found.extend(map(self._numbers.__getitem__, terms))
        self._sizes.append((document, len(terms)))

    def entries(self) -> Entries:
        sizes = np.array(self._sizes, np.int64).reshape(-1, 2)
        return _sorted(list(self._numbers), np.array(self._found, np.int64), np.repeat(sizes[:, 0], sizes[:, 1]))


class Pairs:
    """The same of pairs; a document may be given several texts. unknown: what is told of documents with more than is
    indexed."""

    def __init__(self, unknown: bytes) -> None:
        self._unknown = unknown
        self._partial: set[int] = set()
        self._texts: list[bytes] = []
        self._owners: list[int] = []
        self._size = 0
        self._found: list[tuple[npt.NDArray[np.uint64], Numbers]] = []

    def add(self, document: int, text: Folded) -> None:
        data = text if isinstance(text, bytes) else octets(text)
        self._texts.append(data)
        self._owners.append(document)
        self._size += len(data)
        if self._size >= PIECE:
            self._look()

    def add_partial(self, document: int) -> None:
        self._partial.add(document)

    def _look(self) -> None:
        codes = np.frombuffer(_GAP + _GAP.join(self._texts) + _GAP, np.uint8)
        ends = np.cumsum(np.array([len(text) + PAIR for text in self._texts], np.int64)) + PAIR
        places, keys = pair_keys(codes)
        owners = np.array(self._owners, np.int64)[np.searchsorted(ends, places, side="right")]
        self._found.append(_unique(keys, owners))
        self._texts, self._owners, self._size = [], [], 0

    def entries(self) -> Entries:
        if self._texts:
            self._look()
        keys = np.concatenate([np.zeros(0, np.uint64), *(piece[0] for piece in self._found)])
        owners = np.concatenate([np.zeros(0, np.int64), *(piece[1] for piece in self._found)])
        names, numbers = np.unique(keys, return_inverse=True)
        terms = [*map(_term, names.astype(">u8").tobytes().hex(" ", 2 * PAIR).split())]
        partial = np.array(sorted(self._partial), np.int64)
        if len(partial):
            terms.append(self._unknown)
            numbers = np.concatenate((numbers, np.full(len(partial), len(terms) - 1)))
            owners = np.concatenate((owners, partial))
        return _sorted(terms, numbers, owners)


def pair_keys(codes: npt.NDArray[np.uint8]) -> tuple[Numbers, npt.NDArray[np.uint64]]:
    """codes: text, with PAIR octets of no word before and after. Where one blank stands between two words, and the
    octets beside it as a number: PAIR of the word before and PAIR of the one after, 0 for what is not there."""
    word = _WORD[codes]
    inner = (codes[1:-1] == _BLANK) & (word[:-2] != 0) & (word[2:] != 0)
    places = np.flatnonzero(inner) + 1
    near = word[places[:, None] + _PLACES]
    for place in range(PAIR - 1):
        near[:, PAIR - 2 - place] *= near[:, PAIR - 1 - place] != 0
        near[:, PAIR + 1 + place] *= near[:, PAIR + place] != 0
    return places, near.view(">u8")[:, 0].astype(np.uint64)


def _term(key: str) -> bytes:
    raw = bytes.fromhex(key)
    return b"%b %b" % (raw[:PAIR].lstrip(b"\0"), raw[PAIR:].rstrip(b"\0"))


def _unique(keys: npt.NDArray[np.uint64], owners: Numbers) -> tuple[npt.NDArray[np.uint64], Numbers]:
    """Each pair of a key and an owner once."""
    names, numbers = np.unique(keys, return_inverse=True)
    both = _distinct(numbers.astype(np.int64) << _DOCUMENT_BITS | owners)
    return names[both >> _DOCUMENT_BITS], both & (1 << _DOCUMENT_BITS) - 1


def _distinct(numbers: Numbers) -> Numbers:
    """Ascending, each once. The sort is faster here than the hash table of np.unique."""
    numbers.sort()
    kept = np.ones(len(numbers), np.bool_)
    kept[1:] = numbers[1:] != numbers[:-1]
    return numbers[kept]


def _sorted(terms: list[bytes], numbers: Numbers, documents: Numbers) -> Entries:
    """numbers: for each of documents, which of terms it has."""
    order = sorted(range(len(terms)), key=terms.__getitem__)
    rank = np.zeros(len(terms), np.int64)
    rank[order] = np.arange(len(terms))
    both = _distinct(rank[numbers] << _DOCUMENT_BITS | documents)
    counts = np.bincount(both >> _DOCUMENT_BITS, minlength=len(terms))
    flat = (both & (1 << _DOCUMENT_BITS) - 1).astype(np.uint16)
    return Entries([terms[place] for place in order], counts, flat)
