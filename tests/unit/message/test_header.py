"""Header blocks as fields with offsets (RFC 5322 2.2, 4.5)."""

import pytest

from echomox.message.header import (
    Limits,
    end_of_header,
    oversized,
    read_fields,
    select_fields,
    split_fields,
    unfold,
)


@pytest.mark.parametrize(
    "data, end",
    [
        (b"A: b\r\n\r\nbody", 8),
        (b"A: b\n\nbody", 6),
        (b"A: b\r\n\nbody", 7),
        (b"A: b\n\r\nbody\n\n", 7),
        (b"\r\nbody", 2),
        (b"\nbody", 1),
        (b"A: b\r\n", 6),
        (b"A: b", 4),
        (b"", 0),
        (b"A: b\r\n \r\nC: d\r\n\r\n", 17),
    ],
)
def test_header_ends_after_its_empty_line_or_with_the_data(data, end):
    assert end_of_header(data) == end


def test_end_of_header_stays_in_its_region():
    assert end_of_header(b"A: b\r\nC: d\r\n\r\nx", 0, 6) == 6
    assert end_of_header(b"xx\r\nA: b\r\n\r\nx", 4) == 12


@pytest.mark.parametrize(
    "block, expected",
    [
        (b"From: a\r\nTo: b\r\n", [("From", b" a"), ("To", b" b")]),
        (b"Subject: one\r\n two\r\nTo:b\r\n", [("Subject", b" one\r\n two"), ("To", b"b")]),
        (b"Subject: one\n\ttwo\nTo: b", [("Subject", b" one\n\ttwo"), ("To", b" b")]),
        # RFC 5322 4.5: white space before the colon
        (b"Subject  \t: x\r\n", [("Subject", b" x")]),
        # RFC 5322 4.2, A.6.3: a fold of white space only
        (b"To: Mary\r\n  \r\n  <m@x>\r\n", [("To", b" Mary\r\n  \r\n  <m@x>")]),
        # lines that are no field are stepped over with their continuations
        (b"From alice Sun Nov 22\r\nA: 1\r\njunk\r\n more junk: x\r\nB: 2\r\n", [("A", b" 1"), ("B", b" 2")]),
        (b" continued from nowhere\r\nA: 1\r\n", [("A", b" 1")]),
        # RFC 6532: 8-bit
        (b"Subject: caf\xc3\xa9\r\n", [("Subject", b" caf\xc3\xa9")]),
        (b"X-Empty:\r\nY: \r\n", [("X-Empty", b""), ("Y", b" ")]),
        (b": no name\r\n", []),
    ],
)
def test_fields_are_split_as_they_stand(block, expected):
    assert [(field.name, field.value) for field in split_fields(block)] == expected


def test_offsets_cut_whole_fields_out_of_the_data():
    data = b"xxxx\r\nA: 1\r\nB: 2\r\n 3\r\nC: 4\r\n\r\nbody"
    fields = split_fields(data, 6, 31)
    assert [data[field.start : field.end] for field in fields] == [b"A: 1\r\n", b"B: 2\r\n 3\r\n", b"C: 4\r\n"]


def test_first_field_of_a_name_holds_but_address_lists_are_joined():
    fields = read_fields(b"Subject: 1\nSUBJECT: 2\nTo: a@x\nTo: b@x\n", 0, 39)
    assert fields == {b"subject": b" 1", b"to": b" a@x, b@x"}


def test_limits_bound_number_and_size_of_fields():
    limits = Limits(fields=3, field_size=10, header_size=1000)
    block = b"A: " + b"x" * 50 + b"\nB: 1\nC: 1\nD: 1\n"
    assert read_fields(block, 0, len(block), limits) == {b"a": b" " + b"x" * 9, b"b": b" 1", b"c": b" 1"}
    assert len(split_fields(block, limits=limits)) == 3
    assert oversized(block, 0, len(block), limits)
    assert not oversized(b"A: 1\n", 0, 5, limits)
    assert read_fields(block, 0, len(block), Limits(header_size=5)) == {b"a": b" xx"}


@pytest.mark.parametrize(
    "raw, line",
    [
        (b" a\r\n b\r\n\tc ", b"a b\tc"),
        (b" a\n b", b"a b"),
        (b"x\r", b"x"),
        (b" a\r\n  \r\n b", b"a   b"),
    ],
)
def test_unfold_takes_out_line_ends_only(raw, line):
    assert unfold(raw) == line


def test_select_fields_for_header_fields_and_not():
    block = b"From: a\r\nTo: b\r\nSubject: one\r\n two\r\njunk\r\nTO: c\r\n\r\n"
    assert select_fields(block, ["to", "subject"], True) == b"To: b\r\nSubject: one\r\n two\r\nTO: c\r\n\r\n"
    assert select_fields(block, ["to", "subject"], False) == b"From: a\r\n\r\n"
    assert select_fields(b"From: a", ["FROM"], True) == b"From: a\r\n\r\n"
    assert select_fields(block, ["bcc"], True) == b"\r\n"


@pytest.mark.parametrize(
    "value, expected",
    [
        (b" a\r\n b\n\tc\r\n", b"a b\tc"),
        (b"a\r\r\n b", b"a\r b"),
        (b"a\nb\r\n c", b"a\nb c"),
        (b"a\r\n\r\n b", b"a\r\n b"),
        (b"a\n\r\n b", b"a\n b"),
        (b"a\n ", b"a"),
    ],
)
def test_only_line_ends_before_white_space_are_folds(value, expected):
    assert unfold(value) == expected
