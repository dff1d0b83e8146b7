"""Folding, terms and plans: what the full-text index rests on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from echomox.store.text.words import Folded, Plan, fold, marks, octets, plan, plan_marks, plan_pair, plan_value, terms
from tests.unit.store.test_tables import pairs

TEXT = st.text(
    st.one_of(
        st.sampled_from("ab  .-"),
        st.sampled_from("aAbBzZ09_ .-@\r\n\tßẞÄäσςΣİıKéو،ا漢字かなカ。ก้ำ한글😀\u0301\u00a0\u200d\ud800"),
        st.characters(),
    ),
    max_size=20,
)


def as_folded(text: str) -> Folded:
    folded = fold(text)
    return folded.encode() if folded.isascii() else folded


def test_folding() -> None:
    table = {
        "ABC": "abc",
        "ÄÖ": "a\u0308o\u0308",
        "A\u0308o\u0308": "a\u0308o\u0308",
        "ΟΔΟΣ": "οδοσ",
        "οδος": "οδοσ",
        "Straße": "straße",
        "ПРИВЕТ": "привет",
        "ﬁn": "fin",
        "ＡＢ": "ab",
        "ıI": "ii",
        "한국": "한국",
    }
    assert {text: fold(text) for text in table} == table


@given(TEXT, TEXT)
def test_a_part_of_a_folded_text_is_the_folded_part(left: str, right: str) -> None:
    assert fold(left + right) == fold(left) + fold(right)


def test_terms() -> None:
    table = {
        "one two-three, four_5.": {"one", "two", "three", "four_5"},
        "größe «сон»": {"gro\u0308ße", "сон"},
        "漢字かな": {"漢字", "字か", "かな"},
        "漢 x字": {"漢", "x", "字"},
        "한국어 문장。": {"한국어", "문장"},
        "हिन्दी।": {"हिन्दी"},
        "سلام، عليكم؟": {"سلام", "عليكم"},
        "... !": set(),
    }
    assert {text: {term.decode() for term in terms(as_folded(text))} for text in table} == table


def test_plans() -> None:
    assert plan("foo") == Plan((b"foo",), True)
    assert plan("foo bar.baz") == Plan((b"foo\n", b"\nbar\n", b"\nbaz"), False, (b"foo bar\n",))
    assert plan(" foo") == Plan((b"\nfoo",), False)
    assert plan("a most  weird, one of theirs") == Plan(
        (b"a\n", b"\nmost\n", b"\nweird\n", b"\none\n", b"\nof\n", b"\ntheirs"),
        False,
        (b"a most\n", b"\none of\n", b"\nof thei\n"),
    )
    assert plan("\u201cof the\u201d") == Plan((b"\nof\n", b"\nthe\n"), False, (b"of the",))
    assert plan_pair("of the") == Plan((b"of the",), True)
    assert plan_pair("of  the") is plan_pair("of these") is plan_pair("of the ") is plan_pair("of 漢") is None
    assert plan("漢字") == Plan(("\n漢字\n".encode(),), True)
    assert plan("漢字か") == Plan(("\n漢字\n".encode(), "\n字か\n".encode()), False)
    assert plan("漢") == Plan(("漢".encode(),), True)
    assert plan("-- !") is None
    assert plan_marks("-- !") == Plan((b"-- !",), True)
    assert plan_marks("\n> ") == Plan((b"\2> ",), True)
    assert plan_marks("a-") is plan_marks("") is plan_marks("-" * 33) is plan_marks("\2") is None
    assert plan_value("-- !") == Plan((b"-- !",), True)
    assert plan_value("a\nb") is None


@given(TEXT, TEXT, st.integers(0, 20), st.integers(1, 8))
def test_what_is_in_a_text_is_found_and_what_is_found_for_sure_is_in_it(
    text: str, other: str, start: int, size: int
) -> None:
    whole = fold(text)
    folded = as_folded(text)
    tables = [b"\n" + b"\n".join(cut(folded)) + b"\n" for cut in (pairs, terms, marks)]
    for part in (whole[start : start + size], fold(other)):
        for planner, table in zip((plan_pair, plan, plan_marks), tables):
            asked = planner(part)
            if asked is None:
                continue
            found = all(needle in table for needle in asked.needles)
            found = found and all(needle in tables[0] for needle in asked.pairs)
            assert found or part not in whole
            if asked.exact:
                assert found == (part in whole)


def test_surrogates_stay() -> None:
    assert octets("\ud800") == b"\xed\xa0\x80"
