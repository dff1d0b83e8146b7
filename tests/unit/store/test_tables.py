"""Gathering a batch: the pairs that are found at once are those a pattern finds in each text."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from echomox.store.text import tables
from echomox.store.text.tables import Pairs, Terms
from echomox.store.text.words import PAIR, Folded, fold, octets

PATTERN = re.compile(rb"(?<![0-9a-z_\x80-\xff])([0-9a-z_\x80-\xff]+) (?=([0-9a-z_\x80-\xff]{1,4}))")
TEXTS = (
    b"one of the",
    b"a  b c",
    b" a b ",
    b"x",
    b"",
    b"-- of -- the_end of",
    fold("Das Schönste für ἄνθρωπος 漢字 kana"),
    b"longest shortest\nnext line, and so",
    b"\0\1 a \2b \xff",
)


def pairs(text: Folded) -> set[bytes]:
    """The last octets of a word and the first ones of the next, where one blank stands between."""
    data = text if isinstance(text, bytes) else octets(text)
    return {b"%b %b" % (first[-PAIR:], second) for first, second in PATTERN.findall(data)}


def listed(table: Terms | Pairs) -> dict[bytes, list[int]]:
    entries = table.entries()
    assert list(entries.terms) == sorted(entries.terms)
    found, place = {}, 0
    for term, count in zip(entries.terms, entries.counts.tolist()):
        found[term] = entries.documents[place : place + count].tolist()
        place += count
    assert place == len(entries.documents)
    return found


def expected(owned: list[tuple[int, Folded]]) -> dict[bytes, list[int]]:
    found: dict[bytes, set[int]] = {}
    for document, text in owned:
        for term in pairs(text):
            found.setdefault(term, set()).add(document)
    return {term: sorted(documents) for term, documents in found.items()}


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(TEXTS) | st.binary(max_size=40)), max_size=12))
def test_pairs_of_all_texts(owned: list[tuple[int, Folded]]) -> None:
    table = Pairs(b"\1")
    for document, text in owned:
        table.add(document, text)
    assert listed(table) == expected(owned)


def test_pairs_piece_by_piece(monkeypatch) -> None:
    monkeypatch.setattr(tables, "PIECE", 12)
    table = Pairs(b"\1")
    owned = [(number % 7, text) for number, text in enumerate(TEXTS * 3)]
    for document, text in owned:
        table.add(document, text)
    table.add_partial(3)
    table.add_partial(65_535)
    assert listed(table) == expected(owned) | {b"\1": [3, 65_535]}


def test_nothing_at_all() -> None:
    assert listed(Pairs(b"\1")) == listed(Terms()) == {}


def test_terms() -> None:
    table = Terms()
    for document, terms in ((0, {b"b", b"a"}), (1, set()), (5, {b"a"}), (65_535, {b"c", b"a"})):
        table.add(document, terms)
    assert listed(table) == {b"a": [0, 5, 65_535], b"b": [0], b"c": [65_535]}
