"""imap.seqset: RFC 9051 9 (sequence-set, seq-range, seq-number)."""

from __future__ import annotations

from array import array

import pytest

from echomox.imap.seqset import ELEMENTS, LARGEST, SAVED, STAR, SequenceSet, format_numbers


@pytest.mark.parametrize(
    "text, ranges",
    [
        (b"1", ((1, 1),)),
        (b"4294967295", ((LARGEST, LARGEST),)),
        (b"2:4", ((2, 4),)),
        (b"4:2", ((2, 4),)),  # "the example is equivalent to 2:4"
        (b"*", ((STAR, STAR),)),
        (b"*:4", ((4, STAR),)),
        (b"3291:*", ((3291, STAR),)),
        (b"*:*", ((STAR, STAR),)),
        (b"2,4:7,9,12:*", ((2, 2), (4, 7), (9, 9), (12, STAR))),
        (b"5:3,4,9,6", ((3, 6), (9, 9))),
        (b"1,1,1", ((1, 1),)),
        (b"*,1", ((1, 1), (STAR, STAR))),
    ],
)
def test_sets_are_sorted_and_merged(text, ranges):
    assert SequenceSet.parse(text).ranges == ranges


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0",
        b"01",
        b"1:",
        b":1",
        b"1,",
        b",1",
        b"1,,2",
        b"1:2:3",
        b"**",
        b"4294967296",
        b"1 ",
        b"$,1",
        b"0:*",
    ],
)
def test_what_is_no_set(text):
    with pytest.raises(ValueError):
        SequenceSet.parse(text)


def test_a_set_has_at_most_20000_elements():
    assert SequenceSet.parse(b",".join(b"%d" % (2 * n + 1) for n in range(ELEMENTS))).count() == ELEMENTS
    with pytest.raises(ValueError, match="20000"):
        SequenceSet.parse(b",".join([b"1"] * (ELEMENTS + 1)))


@pytest.mark.parametrize(
    "text, highest, resolved",
    [
        # "2,4:7,9,12:* ... for a mailbox of 15 is 2,4,5,6,7,9,12,13,14,15"
        (b"2,4:7,9,12:*", 15, ((2, 2), (4, 7), (9, 9), (12, 15))),
        # "*:4,5:7 of a mailbox with 10 could be reordered and coalesced to 4,5,6,7,8,9,10"
        (b"*:4,5:7", 10, ((4, 10),)),
        (b"*", 3, ((3, 3),)),
        (b"5:*", 3, ((3, 3),)),
        (b"*:5", 3, ((3, 3),)),
        (b"5:7", 3, ()),
        (b"1:2,*", 3, ((1, 3),)),
        (b"1,*", 3, ((1, 1), (3, 3))),
        (b"1,5:*", 3, ((1, 1), (3, 3))),
        (b"*", 0, ()),
        (b"1:*", 0, ()),
        (b"1", 0, ()),
    ],
)
def test_star_is_the_highest_number(text, highest, resolved):
    assert SequenceSet.parse(text).resolve(highest) == resolved


@pytest.mark.parametrize(
    "text, count, exceeds",
    [
        (b"3", 3, False),
        (b"4", 3, True),
        (b"1:4", 3, True),
        (b"*", 3, False),
        (b"*", 0, True),
        (b"1:*", 0, False),
        (b"7:*", 3, False),
        (b"5,*", 3, True),
        (b"1", 0, True),
        (b"$", 0, False),
    ],
)
def test_message_numbers_that_are_not_there(text, count, exceeds):
    assert SequenceSet.parse(text).exceeds(count) is exceeds


@pytest.mark.parametrize(
    "text, chosen",
    [
        (b"1:*", [3, 5, 6, 9]),
        (b"*", [9]),
        (b"100:*", [9]),
        (b"4", []),
        (b"1:2", []),
        (b"5:6,9", [5, 6, 9]),
        (b"3,4:5", [3, 5]),
        (b"10:20", []),
    ],
)
def test_uids_of_a_mailbox(text, chosen):
    uids = array("I", [3, 5, 6, 9])
    found = SequenceSet.parse(text)
    assert list(found.uids(uids)) == chosen
    assert [uids[place] for part in found.uid_positions(uids) for place in part] == chosen
    assert [uid for uid in uids if found.contains(uid, 9)] == chosen


def test_no_uids_in_an_empty_mailbox():
    assert list(SequenceSet.parse(b"1:*").uids(array("I"))) == []


def test_positions_begin_with_nought():
    assert SequenceSet.parse(b"1,3:*").positions(4) == [range(1), range(2, 4)]


def test_saved_result():
    assert SequenceSet.parse(b"$") is SAVED
    assert bytes(SAVED) == b"$"
    assert SAVED.resolve(10) == ()


@pytest.mark.parametrize(
    "numbers, text",
    [([], b""), ([7], b"7"), ([1, 2, 3, 4, 5, 7], b"1:5,7"), ([1, 3, 4], b"1,3:4"), ([1, 2], b"1:2")],
)
def test_numbers_are_written_in_runs(numbers, text):
    assert format_numbers(numbers) == text
    assert bytes(SequenceSet.of(numbers)) == text
