"""Names, flags and text matching: tables of cases."""

from __future__ import annotations

import pytest

from echomox.store import flags, names
from echomox.store.engine import BadMailboxName, FlagOp, LimitExceeded, NoSuchAccount
from echomox.store.text.match import Needle, field_values


@pytest.mark.parametrize(
    "given, kept",
    [
        ("InBoX", "INBOX"),
        ("inbox/A", "INBOX/A"),
        ("a/inbox", "a/inbox"),
        ("e\u0301", "\u00e9"),
        ("Ümlaut/ß", "Ümlaut/ß"),
    ],
)
def test_mailbox_name(given: str, kept: str) -> None:
    assert names.mailbox_name(given) == kept


@pytest.mark.parametrize(
    "given, reason",
    [
        ("a//b", "empty level"),
        ("a\x07", "control character"),
        ("a\u2028b", "line separator"),
        ("a\ud800", "surrogate"),
        ("é" * 101, "longer"),
        ("%", "reserved"),
        ("#x", "reserved"),
    ],
)
def test_bad_mailbox_name_says_why(given: str, reason: str) -> None:
    with pytest.raises(BadMailboxName, match=reason):
        names.mailbox_name(given)


def test_parents() -> None:
    assert names.parents("a/b/c") == ["a", "a/b"]
    assert names.parents("a") == []


@pytest.mark.parametrize("name", ["a@example.test", "A-1_x+y", "x" * 200])
def test_account_name_that_can_be_a_directory(name: str) -> None:
    assert names.account_name(name) == name


@pytest.mark.parametrize("name", [".", "..", "a/b", "a\x00", "", "x" * 201, "ä", "a\n"])
def test_account_name_that_cannot(name: str) -> None:
    with pytest.raises(NoSuchAccount):
        names.account_name(name)


@pytest.mark.parametrize("word", ["a b", "a(", "a]", 'a"', "a\\b", "a%", "a*", "a{", "é", "", "x" * 101])
def test_keyword_that_is_no_atom_is_refused(word: str) -> None:
    with pytest.raises(LimitExceeded):
        names.check_keywords([word])


def test_keywords_are_sorted_without_case() -> None:
    names.check_keywords(["$Forwarded", "a.b-c_d[", "<x>"])
    assert names.join_keywords(["b", "C", "a"]) == "a b C"


@pytest.mark.parametrize(
    "op, put, before, after",
    [
        (FlagOp.SET, 5, 255, 5),
        (FlagOp.ADD, 64, 128 | 1, 64 | 1),
        (FlagOp.ADD, 128, 64, 128),
        (FlagOp.ADD, 192, 1, 193),
        (FlagOp.ADD, 8, 192, 200),
        (FlagOp.REMOVE, 64, 192, 128),
    ],
)
def test_masks(op: FlagOp, put: int, before: int, after: int) -> None:
    mask = flags.masks(op, put)
    assert before & mask.keep | mask.put == after


@pytest.mark.parametrize("bits, label", [
    (0, ""), (64, "spam"), (128, "ham"), (192, ""), (65, "spam"), (2, "ham"), (66, "spam"), (130, "ham"), (194, ""),
    (1 | 4 | 8 | 16 | 32 | 256 | 512, ""),
])
def test_label(bits: int, label: str) -> None:
    assert flags.label(bits) == label


def test_counts() -> None:
    assert flags.counts([(0, 10), (1, 20), (8, 30), (9, 40)]) == (4, 2, 1, 2, 100)


HEADER = b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nX-Long: one\r\n two\r\nx-long: Three\r\n\r\n"


@pytest.mark.parametrize("value, expected", [("GRÜSSE", False), ("grüße", True), ("one two", True), ("utf-8", False)])
def test_needle_in_header(value: str, expected: bool) -> None:
    assert Needle(value).in_header(HEADER) is expected


def test_field_values_are_decoded_and_unfolded() -> None:
    assert list(field_values(HEADER, "x-long")) == ["one two", "Three"]
