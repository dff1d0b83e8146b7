"""imap.searching: RFC 3501 6.4.4, RFC 4731, RFC 5032, RFC 7162 3.1.5, RFC 8514."""

from __future__ import annotations

from datetime import date

import pytest

from echomox.imap.lexer import Bad
from echomox.imap.search import (
    Age,
    All,
    And,
    Body,
    HasFlag,
    Header,
    Modseq,
    Not,
    Or,
    Sequence,
    Size,
    Text,
    When,
)
from echomox.imap.searching import SAVED_RANGES, BadCharset, Search
from echomox.imap.seqset import STAR
from tests.unit.imap.rows import parse

SEEN = HasFlag("\\Seen")
RECENT = HasFlag("\\Recent")
CASES = [
    # RFC 3501 6.4.4
    (
        b'FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"',
        Search(
            And(
                (
                    HasFlag("\\Flagged"),
                    When("received", "since", date(1994, 2, 1)),
                    Not(Header("from", "Smith")),
                )
            )
        ),
    ),
    (b'TEXT "string not in mailbox"', Search(Text("string not in mailbox"))),
    ("CHARSET UTF-8 TEXT {6}\nПри".encode(), Search(Text("При"), charset="UTF-8")),
    # RFC 5032 4
    (b"UNSEEN YOUNGER 259200", Search(And((Not(SEEN), Age(259200, True))))),
    (b"OLDER 1", Search(Age(1, False))),
    # RFC 7162 3.1.5
    (b'MODSEQ "/flags/\\\\draft" all 620162338', Search(Modseq(620162338), modseq=True)),
    (
        b"OR NOT MODSEQ 720162338 LARGER 50000",
        Search(Or(Not(Modseq(720162338)), Size(50000, True)), modseq=True),
    ),
    (b"RETURN (ALL) MODSEQ 1234", Search(Modseq(1234), ("ALL",), modseq=True)),
    # RFC 4731 3.1
    (b"RETURN (MIN COUNT) FLAGGED", Search(HasFlag("\\Flagged"), ("MIN", "COUNT"))),
    (b"RETURN () FLAGGED", Search(HasFlag("\\Flagged"), ("ALL",))),
    (b"RETURN (MIN MAX) 1:5000", Search(Sequence(((1, 5000),), False), ("MIN", "MAX"))),
    # RFC 8514 4.3
    (b"SAVEDON 28-Dec-2014", Search(When("saved", "on", date(2014, 12, 28)))),
    # each kind of key
    (b"ALL", Search(All())),
    (b"all all", Search(And((All(), All())))),
    (b"ANSWERED", Search(HasFlag("\\Answered"))),
    (b"UNDRAFT", Search(Not(HasFlag("\\Draft")))),
    (b"NEW", Search(And((RECENT, Not(SEEN))))),
    (b"OLD", Search(Not(RECENT))),
    (b"KEYWORD $Junk", Search(HasFlag("$Junk"))),
    (b"UNKEYWORD work", Search(Not(HasFlag("work")))),
    (b"bcc a cc b", Search(And((Header("bcc", "a"), Header("cc", "b"))))),
    (b'HEADER X-Foo ""', Search(Header("x-foo", ""))),
    (b"SUBJECT {3}\na\r\n", Search(Header("subject", "a\r\n"))),
    (b"BODY a", Search(Body("a"))),
    (b"SMALLER 10", Search(Size(10, False))),
    (b'SENTBEFORE "01-Jan-2000"', Search(When("sent", "before", date(2000, 1, 1)))),
    (b"BEFORE 1-Jan-2000 ON 2-Jan-2000", None),
    (b"2,4:*", Search(Sequence(((2, 2), (4, STAR)), False))),
    (b"*", Search(Sequence(((STAR, STAR),), False))),
    (b"$", Search(Sequence(SAVED_RANGES, False))),
    (b"UID 5:3", Search(Sequence(((3, 5),), True))),
    (b"UID $", Search(Sequence(SAVED_RANGES, True))),
    (b"(SEEN)", Search(SEEN)),
    (b"(SEEN (OR 1 (ALL 2)))", None),
    (b"NOT (SEEN RECENT)", Search(Not(And((SEEN, RECENT))))),
    (b"OR OR 1 2 3", None),
    (b'TEXT "\xc3\xa4"', Search(Text("ä"))),
    (b'CHARSET iso-8859-1 TEXT "\xe4"', Search(Text("ä"), charset="ISO-8859-1")),
    (b'CHARSET "US-ASCII" ALL', Search(All(), charset="US-ASCII")),
]


@pytest.mark.parametrize("text, value", CASES)
@pytest.mark.parametrize("name", ["SEARCH", "UID SEARCH"])
def test_programs(name, text, value):
    found = parse(name, b" " + text)
    assert value is None or found == value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"FOO",
        b"()",
        b"(ALL",
        b"ALL)",
        b"NOT",
        b"OR ALL",
        b"TEXT",
        b"SINCE 1-Foo-2000",
        b"KEYWORD \\Seen",
        b"LARGER -1",
        b"YOUNGER 0",
        b"HEADER a",
        b"MODSEQ x",
        b'MODSEQ "/vendor/x" all 1',
        b'MODSEQ "/flags/x" some 1',
        b"RETURN (FOO) ALL",
        b"RETURN ALL",
        b'TEXT "\xe4"',
        b'CHARSET US-ASCII TEXT "\xc3\xa4"',
        b"0",
        b"1:",
        b"ALL ",
        b" ALL",
        b"SEENALL",
    ],
)
def test_what_is_no_program(text):
    with pytest.raises(Bad):
        parse("SEARCH", b" " + text)


def test_an_unknown_charset_has_an_answer_of_its_own():
    with pytest.raises(BadCharset):
        parse("SEARCH", b" CHARSET KOI8-X ALL")


@pytest.mark.parametrize(
    "text", [b"(" * 51 + b"ALL" + b")" * 51, b"NOT " * 51 + b"ALL", b"OR " * 200 + b"ALL " * 201]
)
def test_programs_nest_fifty_deep(text):
    with pytest.raises(Bad, match="50"):
        parse("SEARCH", b" " + text.strip())


def test_fifty_levels_are_taken():
    parse("SEARCH", b" " + b"(" * 50 + b"ALL" + b")" * 50)
    parse("SEARCH", b" " + b"NOT " * 50 + b"ALL")
    parse("SEARCH", b" " + b" ".join([b"(NOT ALL)"] * 300))


def test_a_program_has_at_most_a_thousand_keys():
    with pytest.raises(Bad, match="1000"):
        parse("SEARCH", b" ALL" * 1001)
