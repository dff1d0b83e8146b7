"""Damaged files of the filter's counts: refused or read, never a crash, never without end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from echomox.filter.counts import wordmap
from echomox.filter.counts.wordmap import Damaged, Totals, WordMap, table_of, write
from echomox.filter.hashing import hashes
from echomox.filter.learning.learn import BadRecord, Delta, pack, unpack, unpack_strings

WORDS = hashes([f"word {n}" for n in range(60)])


def good(directory: Path) -> Path:
    path = directory / "words.map"
    write(path, table_of(WORDS, np.ones((len(WORDS), 2), np.int32)), Totals(4, 2, 2, 0.3), 5)
    return path


@given(st.lists(st.tuples(st.integers(0, 60_000), st.binary(min_size=1, max_size=40)), min_size=1, max_size=6))
def test_a_damaged_map_is_refused_found_or_harmless(tmp_path_factory, damage):
    path = good(tmp_path_factory.mktemp("map"))
    data = bytearray(path.read_bytes())
    for at, new in damage:
        at %= len(data)
        data[at : at + len(new)] = new[: len(data) - at]
    path.write_bytes(data)
    try:
        found = WordMap(path)
        whole = found.check()
        counts = found.lookup(WORDS)
    except Damaged:
        return
    assert counts.shape == (len(WORDS), 2) and isinstance(whole, bool)


@given(st.binary(max_size=300))
def test_records_are_read_or_refused(data):
    for read in (unpack, Delta.load, unpack_strings):
        try:
            read(data)
        except BadRecord:
            pass


@given(st.integers(0, 400), st.integers(0, 7))
def test_a_flipped_bit_is_noticed(at, bit):
    delta = Delta()
    delta.add("spam", WORDS, 1)
    for record, read in ((pack(WORDS), unpack), (delta.dump(), Delta.load)):
        data = bytearray(record)
        data[at % len(data)] ^= 1 << bit
        try:
            read(bytes(data))
        except BadRecord:
            continue
        raise AssertionError(wordmap.FILE)
