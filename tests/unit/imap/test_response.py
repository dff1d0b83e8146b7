"""imap.response: RFC 9051 7 and 9, RFC 3501 7."""

from __future__ import annotations

import pytest

from echomox.imap import response
from echomox.imap.fetch import Item, Section
from echomox.imap.lexer import Bad, Parser

NAMES = {1: "\\Seen", 2: "\\Answered", 4: "\\Flagged", 8: "\\Deleted", 64: "$Junk"}


@pytest.mark.parametrize(
    "value, written",
    [
        (b"", b'""'),
        (b"abc", b'"abc"'),
        (b'a"b\\c', b'"a\\"b\\\\c"'),
        (b"a\r\nb", b"{4}\r\na\r\nb"),
        (b"a\0b", b"{3}\r\na\0b"),
        (b"\xc3\xa4", b"{2}\r\n\xc3\xa4"),
        (b"x" * 1001, b"{1001}\r\n" + b"x" * 1001),
    ],
)
def test_strings(value, written):
    assert response.string(value) == written
    assert Parser(written.replace(b"}\r\n", b"}\n")).string() == value


@pytest.mark.parametrize(
    "value, written", [(b"abc", b"abc"), (b"NIL", b'"NIL"'), (b"", b'""'), (b"a b", b'"a b"'), (b"a]", b"a]")]
)
def test_astrings(value, written):
    assert response.astring(value) == written


def test_nstring():
    assert response.nstring(None) == b"NIL"
    assert response.nstring(b"NIL") == b'"NIL"'


@pytest.mark.parametrize(
    "name, classic, utf8",
    [
        ("INBOX", b"INBOX", b"INBOX"),
        ("a b", b'"a b"', b'"a b"'),
        ("Entwürfe", b"Entw&APw-rfe", '"Entwürfe"'.encode()),
        ("R&D", b"R&-D", b"R&D"),
        ('"\\', b'"\\"\\\\"', b'"\\"\\\\"'),
    ],
)
def test_mailbox_names(name, classic, utf8):
    assert response.mailbox(name) == classic
    assert response.mailbox(name, utf8=True) == utf8
    assert Parser(classic).mailbox() == name
    assert Parser(utf8, utf8=True).mailbox() == name


def test_internal_date():
    assert response.date_time(837596665.9) == b'"17-Jul-1996 09:44:25 +0000"'
    assert response.date_time(0) == b'" 1-Jan-1970 00:00:00 +0000"'
    assert Parser(response.date_time(837596665)).date_time().timestamp() == 837596665


def test_flag_lists():
    flags = response.FlagFormatter(NAMES)
    assert flags.format(0) == b"()"
    assert flags.format(1 | 64, "alpha work") == b"(\\Seen $Junk alpha work)"
    assert flags.format(1, recent=True) == b"(\\Seen \\Recent)"
    assert flags.format(1, "a") is flags.format(1, "a")


def test_flag_lists_remembered_are_bounded():
    flags = response.FlagFormatter(NAMES)
    for number in range(2 * response.FLAG_LISTS):
        flags.format(0, f"k{number}")
    assert len(flags._cache) <= response.FLAG_LISTS


def test_flags_are_split_into_bits_and_keywords():
    flags = response.FlagFormatter(NAMES)
    assert flags.split(("\\SEEN", "$junk", "b", "A", "a", "B")) == (65, ("A", "b"))
    for unknown in ("\\Recent", "\\Foo"):
        with pytest.raises(Bad):
            flags.split((unknown,))


def test_fetch_lines_are_made_by_a_template():
    section = Section((), "HEADER.FIELDS", ("x%y",), True, (0, 5), b"BODY[HEADER.FIELDS (X%Y)]<0>")
    template = response.fetch_template((Item("UID"), Item("FLAGS"), Item("MODSEQ"), section))
    assert template % (3, 17, b"(\\Seen)", 9, response.literal(b"ab\r\n")) == (
        b"* 3 FETCH (UID 17 FLAGS (\\Seen) MODSEQ (9) BODY[HEADER.FIELDS (X%Y)]<0> {4}\r\nab\r\n)\r\n"
    )


@pytest.mark.parametrize(
    "line, expected",
    [
        (response.condition(b"a1", "OK", "Done"), b"a1 OK Done\r\n"),
        (
            response.condition(b"*", "OK", "Predicted next UID", "UIDNEXT 4392"),
            b"* OK [UIDNEXT 4392] Predicted next UID\r\n",
        ),
        (response.condition(b"a", "NO", "a\r\nb OK fooled"), b"a NO a?b OK fooled\r\n"),
        (response.condition(b"a", "NO", ""), b"a NO .\r\n"),
        (response.continuation(), b"+ \r\n"),
        (response.continuation("idling"), b"+ idling\r\n"),
        (response.capability(("IMAP4rev1", "IDLE")), b"* CAPABILITY IMAP4rev1 IDLE\r\n"),
        (response.flags_line(b"(\\Seen)"), b"* FLAGS (\\Seen)\r\n"),
        (
            response.list_line("LIST", ("\\Noselect",), "/", b"~/Mail/foo"),
            b'* LIST (\\Noselect) "/" ~/Mail/foo\r\n',
        ),
        # RFC 5258 5
        (
            response.list_line("LIST", (), "/", b'"Foo"', response.childinfo(("SUBSCRIBED",))),
            b'* LIST () "/" "Foo" ("CHILDINFO" ("SUBSCRIBED"))\r\n',
        ),
        (
            response.status_line(b"blurdybloop", (("MESSAGES", 231), ("UIDNEXT", 44292))),
            b"* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)\r\n",
        ),
        (response.search_line([2, 3, 6]), b"* SEARCH 2 3 6\r\n"),
        (response.search_line([]), b"* SEARCH\r\n"),
        (response.search_line([2, 5], 917162500), b"* SEARCH 2 5 (MODSEQ 917162500)\r\n"),
        (response.search_line([], 917162500), b"* SEARCH\r\n"),
        # RFC 4731 3.1
        (
            response.esearch_line(b"A282", False, [2, 10, 11], ("MIN", "COUNT")),
            b'* ESEARCH (TAG "A282") MIN 2 COUNT 3\r\n',
        ),
        (
            response.esearch_line(b"A283", False, [2, 10, 11], ("ALL",)),
            b'* ESEARCH (TAG "A283") ALL 2,10:11\r\n',
        ),
        (
            response.esearch_line(b"A285", True, [7, 3800], ("MIN", "MAX")),
            b'* ESEARCH (TAG "A285") UID MIN 7 MAX 3800\r\n',
        ),
        (response.esearch_line(b"A286", False, [], ("MIN", "ALL")), b'* ESEARCH (TAG "A286")\r\n'),
        (response.esearch_line(b"A286", False, [], ("COUNT",)), b'* ESEARCH (TAG "A286") COUNT 0\r\n'),
        # RFC 7162
        (
            response.esearch_line(b"a", False, [1, 2, 3, 5], ("ALL",), 1236),
            b'* ESEARCH (TAG "a") ALL 1:3,5 MODSEQ 1236\r\n',
        ),
        (response.vanished_line([41, 43, 44], earlier=True), b"* VANISHED (EARLIER) 41,43:44\r\n"),
        (response.vanished_line([5]), b"* VANISHED 5\r\n"),
        # RFC 4315 3
        (
            response.copyuid(38505, [(304, 3956), (319, 3957), (320, 3958)]),
            "COPYUID 38505 304,319:320 3956:3958",
        ),
        (response.appenduid(38505, [3955]), "APPENDUID 38505 3955"),
    ],
)
def test_lines(line, expected):
    assert line == expected
