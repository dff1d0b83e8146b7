"""Folding, terms and plans: what the full-text index rests on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from echomox.store.words import Folded, fold, octets, plan, plan_value, terms

TEXT = st.text(
    st.one_of(
        st.sampled_from("aAbBzZ09_ .-@\r\n\tßẞÄäσςΣİıKéو،ا漢字かなカ。ก้ำ한글😀\u0301\u00a0\u200d\ud800"),
        st.characters(),
    ),
    max_size=20,
)


def as_folded(text: str) -> Folded:
    folded = fold(text)
    return folded.encode() if folded.isascii() else folded


def test_folding() -> None:
    table = {"ABC": "abc", "ÄÖ": "äö", "ΟΔΟΣ": "οδοσ", "οδος": "οδοσ", "Straße": "straße", "ПРИВЕТ": "привет"}
    assert {text: fold(text) for text in table} == table


@given(TEXT, TEXT)
def test_a_part_of_a_folded_text_is_the_folded_part(left: str, right: str) -> None:
    assert fold(left + right) == fold(left) + fold(right)


def test_terms() -> None:
    table = {
        "one two-three, four_5.": {"one", "two", "three", "four_5"},
        "größe «сон»": {"größe", "сон"},
        "漢字かな": {"漢字", "字か", "かな"},
        "漢 x字": {"漢", "x", "字"},
        "한국어 문장。": {"한국어", "문장"},
        "हिन्दी।": {"हिन्दी"},
        "سلام، عليكم؟": {"سلام", "عليكم"},
        "... !": set(),
    }
    assert {text: {term.decode() for term in terms(as_folded(text))} for text in table} == table


def test_plans() -> None:
    assert plan("foo") == ((b"foo",), True)
    assert plan("foo bar.baz") == ((b"foo\n", b"\nbar\n", b"\nbaz"), False)
    assert plan(" foo") == ((b"\nfoo",), False)
    assert plan("漢字") == (("\n漢字\n".encode(),), True)
    assert plan("漢字か") == (("\n漢字\n".encode(), "\n字か\n".encode()), False)
    assert plan("漢") == (("漢".encode(),), True)
    assert plan("-- !") is None
    assert plan_value("-- !") == ((b"-- !",), True)
    assert plan_value("a\nb") is None


@given(TEXT, TEXT, st.integers(0, 20), st.integers(1, 8))
def test_what_is_in_a_text_is_found_and_what_is_found_for_sure_is_in_it(
    text: str, other: str, start: int, size: int
) -> None:
    whole = fold(text)
    have = b"\n" + b"\n".join(terms(as_folded(text))) + b"\n"
    for part in (whole[start : start + size], fold(other)):
        asked = plan(part)
        if asked is None:
            continue
        found = all(needle in have for needle in asked.needles)
        assert found or part not in whole
        if asked.exact:
            assert found == (part in whole)


def test_surrogates_stay() -> None:
    assert octets("\ud800") == b"\xed\xa0\x80"
