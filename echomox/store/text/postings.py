"""Blocks of the full-text index: terms, and the documents that have them. Pure; arrays instead of loops.

A segment numbers its documents from 0, 65,536 at most. A block holds a range of one section's terms:

    terms      "\nterm\nterm\n", ascending by bytes, so that one search of bytes finds what has, begins with, ends
               with or is a string
    lengths    uint16 a term: bytes of its postings
    postings   for each term either the numbers of its documents as ascending uint16, or, where that is shorter, one
               bit a document (the most significant first); a bitmap has (documents + 7) // 8 bytes, a list is shorter
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

SEGMENT_DOCUMENTS = 65_536
BLOCK_TERMS = 128 << 10  # bytes
BLOCK_POSTINGS = 256 << 10
NEWLINE = 10

Numbers = npt.NDArray[np.signedinteger[Any]]
Documents = npt.NDArray[np.uint16]
Marks = npt.NDArray[np.bool_]


class Block(NamedTuple):
    first: bytes
    last: bytes
    terms: bytes
    lengths: bytes
    postings: bytes


class Entries(NamedTuple):
    """Terms, ascending; how many documents each has; these documents, term after term, each ascending."""

    terms: Sequence[bytes]
    counts: Numbers
    documents: Documents


def parsed(array: str) -> Numbers:
    """A JSON array of numbers, as SQLite makes of a column."""
    return np.fromstring(array[1:-1], np.int64, sep=",") if len(array) > 2 else np.zeros(0, np.int64)


def bitmap_size(documents: int) -> int:
    return (documents + 7) >> 3


# -- writing -----------------------------------------------------------------------


def encode(entries: Entries, documents: int) -> Iterator[Block]:
    """documents: how many the segment has."""
    if not entries.terms:
        return
    full = bitmap_size(documents)
    lengths = np.minimum(2 * entries.counts, full)
    sizes = np.fromiter(map(len, entries.terms), np.int64, len(entries.terms)) + 1
    places = np.cumsum(sizes) // BLOCK_TERMS + np.cumsum(lengths) // BLOCK_POSTINGS
    cuts = [0, *(np.flatnonzero(np.diff(places)) + 1).tolist(), len(entries.terms)]
    ends = np.concatenate(([0], np.cumsum(entries.counts)))
    for start, end in pairwise(cuts):
        terms = entries.terms[start:end]
        flat = entries.documents[ends[start] : ends[end]]
        postings = _pack(lengths[start:end], entries.counts[start:end], flat, documents)
        packed = b"\n" + b"\n".join(terms) + b"\n"
        yield Block(terms[0], terms[-1], packed, lengths[start:end].astype("<u2").tobytes(), postings)


def _pack(lengths: Numbers, counts: Numbers, flat: Documents, documents: int) -> bytes:
    full = bitmap_size(documents)
    out = np.zeros(int(lengths.sum()), np.uint8)
    starts = np.cumsum(lengths) - lengths
    as_bits = lengths == full
    owner = np.repeat(np.arange(len(counts)), counts)
    in_bits = as_bits[owner]
    listed = np.repeat(starts, counts)[~in_bits] + 2 * _ranks(counts)[~in_bits]
    out[listed] = flat[~in_bits] & 255
    out[listed + 1] = flat[~in_bits] >> 8
    if as_bits.any():
        row = np.cumsum(as_bits) - 1
        bits = np.zeros((int(as_bits.sum()), documents), np.bool_)
        bits[row[owner[in_bits]], flat[in_bits]] = True
        out[starts[as_bits][:, None] + np.arange(full)] = np.packbits(bits, axis=1)
    return out.tobytes()


def _ranks(counts: Numbers) -> Numbers:
    """0, 1, … counts[0] - 1, 0, 1, … counts[1] - 1, …"""
    starts = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) - np.repeat(starts, counts)


# -- reading -----------------------------------------------------------------------


def find(terms: bytes, needle: bytes) -> Numbers:
    """Which terms of a block's `terms` have the needle: numbers, ascending. A newline in the needle is a term's
    border."""
    if needle not in terms:
        return np.zeros(0, np.int64)
    codes = np.frombuffer(terms, np.uint8)
    borders = np.flatnonzero(codes == NEWLINE)
    if len(needle) <= 2:
        hits = codes == needle[0]
        if len(needle) == 2:
            hits[:-1] &= codes[1:] == needle[1]
            hits[-1] = False
        return np.flatnonzero(np.logical_or.reduceat(hits, borders[:-1]))
    places = np.array([match.start() for match in re.finditer(re.escape(needle), terms)], np.int64)
    return np.unique(np.searchsorted(borders, places, side="right") - 1)


def mark(marks: Marks, numbers: Numbers, lengths: bytes, postings: bytes) -> None:
    """Sets the marks of all documents that have one of these terms of a block."""
    sizes = np.frombuffer(lengths, "<u2").astype(np.int64)
    starts = (np.cumsum(sizes) - sizes)[numbers]
    sizes = sizes[numbers]
    data = np.frombuffer(postings, np.uint8)
    full = bitmap_size(len(marks))
    as_bits = sizes == full
    if as_bits.any():
        rows = data[starts[as_bits][:, None] + np.arange(full)]
        marks |= np.unpackbits(np.bitwise_or.reduce(rows, axis=0), count=len(marks)).view(np.bool_)
    marks[_listed(data, starts[~as_bits], sizes[~as_bits] >> 1)] = True


def _listed(data: npt.NDArray[np.uint8], starts: Numbers, counts: Numbers) -> Documents:
    places = np.repeat(starts, counts) + 2 * _ranks(counts)
    found: Documents = data[places] | (data[places + 1].astype(np.uint16) << 8)
    return found


def decode(block: Block, documents: int) -> Entries:
    sizes = np.frombuffer(block.lengths, "<u2").astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    data = np.frombuffer(block.postings, np.uint8)
    full = bitmap_size(documents)
    as_bits = sizes == full
    lists = np.flatnonzero(~as_bits)
    counts = sizes >> 1
    owner = np.repeat(lists, counts[lists])
    flat = _listed(data, starts[lists], counts[lists])
    if as_bits.any():
        maps = np.flatnonzero(as_bits)
        bits = np.unpackbits(data[starts[maps][:, None] + np.arange(full)], axis=1, count=documents)
        row, found = np.nonzero(bits)
        counts[maps] = bits.sum(axis=1)
        owner = np.concatenate((owner, maps[row]))
        flat = np.concatenate((flat, found.astype(np.uint16)))
        flat = flat[np.argsort(owner, kind="stable")]
    return Entries(block.terms[1:-1].split(b"\n"), counts, flat)


# -- merging -----------------------------------------------------------------------


def merge(sources: Sequence[Iterator[Entries]], maps: Sequence[Numbers]) -> Iterator[Entries]:
    """Several segments as one. sources: each a section's entries, block after block; maps: for each the new number of
    its documents, -1 for what is gone. New numbers must grow from source to source."""
    cursors = [_Cursor(source, renumber) for source, renumber in zip(sources, maps)]
    while live := [cursor for cursor in cursors if cursor.load()]:
        limit = min(cursor.terms[-1] for cursor in live)
        yield _joined([cursor.take(limit) for cursor in live])


class _Cursor:
    """Where the merge stands in one source."""

    def __init__(self, source: Iterator[Entries], renumber: Numbers) -> None:
        self._source = source
        self._renumber = renumber
        self.terms: Sequence[bytes] = ()
        self._counts = self._documents = np.zeros(0, np.int64)

    def load(self) -> bool:
        """Whether there are terms left."""
        while not self.terms:
            entries = next(self._source, None)
            if entries is None:
                return False
            renumbered = self._renumber[entries.documents]
            owner = np.repeat(np.arange(len(entries.terms)), entries.counts)[renumbered >= 0]
            self._counts = np.bincount(owner, minlength=len(entries.terms))
            self._documents = renumbered[renumbered >= 0]
            self.terms = entries.terms
        return True

    def take(self, limit: bytes) -> tuple[Sequence[bytes], Numbers, Numbers]:
        """The terms up to `limit`, their counts and documents."""
        end = bisect_right(self.terms, limit)
        size = int(self._counts[:end].sum())
        taken = self.terms[:end], self._counts[:end], self._documents[:size]
        self.terms, self._counts, self._documents = self.terms[end:], self._counts[end:], self._documents[size:]
        return taken


def _joined(pieces: list[tuple[Sequence[bytes], Numbers, Numbers]]) -> Entries:
    terms = sorted(set().union(*(piece[0] for piece in pieces)))
    number = {term: place for place, term in enumerate(terms)}
    owners: list[Any] = []
    for names, counts, _ in pieces:
        places = np.fromiter(map(number.__getitem__, names), np.int64, len(names))
        owners.append(np.repeat(places, counts))
    owner = np.concatenate(owners)
    documents = np.concatenate([piece[2] for piece in pieces])[np.argsort(owner, kind="stable")]
    counts = np.bincount(owner, minlength=len(terms))
    if counts.all():
        return Entries(terms, counts, documents.astype(np.uint16))
    kept = [term for term, count in zip(terms, counts) if count]
    return Entries(kept, counts[counts > 0], documents.astype(np.uint16))
