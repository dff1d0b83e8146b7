"""Blocks of the full-text index: what is written is read, found and merged."""

from __future__ import annotations

import random

import numpy as np
import pytest

from echomox.store.text import postings
from echomox.store.text.postings import Entries, decode, encode, find, mark, merge

Table = dict[bytes, list[int]]


def entries(table: Table) -> Entries:
    names = sorted(table)
    flat = [number for name in names for number in table[name]]
    return Entries(names, np.array([len(table[name]) for name in names], np.int64), np.array(flat, np.uint16))


def table_of(pieces: list[Entries]) -> Table:
    found: Table = {}
    for piece in pieces:
        place = 0
        for term, count in zip(piece.terms, piece.counts.tolist()):
            assert term not in found
            found[term] = piece.documents[place : place + count].tolist()
            place += count
    assert list(found) == sorted(found)
    return found


def random_table(rng: random.Random, documents: int, size: int = 60) -> Table:
    words = {bytes(rng.choices(b"abc\xc3", k=rng.randint(1, 6))) for _ in range(size)}
    return {word: sorted(rng.sample(range(documents), rng.randint(1, documents))) for word in words}


@pytest.mark.parametrize("documents", [1, 2, 7, 8, 9, 33, 300, 65_536])
def test_blocks_hold_what_they_were_given(documents: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "BLOCK_TERMS", 64)
    monkeypatch.setattr(postings, "BLOCK_POSTINGS", 16_384)
    rng = random.Random(documents)
    table = random_table(rng, documents, 60 if documents < 1000 else 10)
    table[b"one"] = [documents - 1]
    blocks = list(encode(entries(table), documents))
    assert len(blocks) > 1
    assert table_of([decode(block, documents) for block in blocks]) == table
    for needle in (b"a", b"ab", b"\na", b"c\n", b"bca", b"\none\n", b"zz"):
        marks = np.zeros(documents, np.bool_)
        for block in blocks:
            mark(marks, find(block.terms, needle), block.lengths, block.postings)
        with_it = {n for term, numbers in table.items() if needle in b"\n" + term + b"\n" for n in numbers}
        assert set(np.flatnonzero(marks).tolist()) == with_it


def test_nothing_makes_no_block() -> None:
    assert list(encode(entries({}), 5)) == []


def test_merge_renumbers_and_leaves_out_what_is_gone() -> None:
    rng = random.Random(1)
    sizes = [40, 3, 700]
    tables = [random_table(rng, size) for size in sizes]
    maps, expected, start = [], {}, 0
    for table, size in zip(tables, sizes):
        kept = np.array([rng.random() < 0.7 for _ in range(size)])
        renumber = np.where(kept, np.cumsum(kept) - 1 + start, -1)
        start += int(kept.sum())
        maps.append(renumber)
        for term, numbers in table.items():
            new = [int(renumber[n]) for n in numbers if renumber[n] >= 0]
            if new:
                expected.setdefault(term, []).extend(new)
    pieces = ([decode(block, size) for block in encode(entries(table), size)] for table, size in zip(tables, sizes))
    assert table_of(list(merge([iter(piece) for piece in pieces], maps))) == expected
