"""imap.fetch: RFC 3501 6.4.5 and 6.4.6, RFC 7162, RFC 8970."""

from __future__ import annotations

import pytest

from echomox.imap.fetch import Fetch, Item, Section, Store
from echomox.imap.lexer import Bad
from echomox.imap.seqset import SequenceSet
from tests.unit.imap.rows import parse

ONE = SequenceSet.parse(b"1")


def section(label: bytes, part=(), text="", fields=(), peek=False, partial=None) -> Section:
    return Section(part, text, fields, peek, partial, label)


ITEMS = [
    (b"FLAGS", [Item("FLAGS")]),
    (b"(uid rfc822.size)", [Item("UID"), Item("RFC822.SIZE")]),
    (b"fast", [Item("FLAGS"), Item("INTERNALDATE"), Item("RFC822.SIZE")]),
    (b"ALL", [Item("FLAGS"), Item("INTERNALDATE"), Item("RFC822.SIZE"), Item("ENVELOPE")]),
    (b"full", [Item("FLAGS"), Item("INTERNALDATE"), Item("RFC822.SIZE"), Item("ENVELOPE"), Item("BODY")]),
    (b"BODY", [Item("BODY")]),
    (
        b"(MODSEQ EMAILID THREADID SAVEDATE)",
        [Item("MODSEQ"), Item("EMAILID"), Item("THREADID"), Item("SAVEDATE")],
    ),
    (b"(ENVELOPE PREVIEW (LAZY))", [Item("ENVELOPE"), Item("PREVIEW", ("LAZY",))]),
    (b"(PREVIEW)", [Item("PREVIEW")]),
    (b"body[]", [section(b"BODY[]")]),
    (b"BODY.PEEK[]", [section(b"BODY[]", peek=True)]),
    (b"body[header]", [section(b"BODY[HEADER]", text="HEADER")]),
    (
        b"(FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
        [
            Item("FLAGS"),
            section(b"BODY[HEADER.FIELDS (DATE FROM)]", text="HEADER.FIELDS", fields=("date", "from")),
        ],
    ),
    (
        b"body.peek[header.fields.not (To)]<0.100>",
        [
            section(b"BODY[HEADER.FIELDS.NOT (To)]<0>", (), "HEADER.FIELDS.NOT", ("to",), True, (0, 100)),
        ],
    ),
    (
        b'BODY[1.header.fields ({4}\nDate "x\\"y")]',
        [
            section(b'BODY[1.HEADER.FIELDS ("Date" "x\\"y")]', (1,), "HEADER.FIELDS", ("date", 'x"y')),
        ],
    ),
    # RFC 3501 6.4.5: parts of a message
    (b"BODY[TEXT]", [section(b"BODY[TEXT]", text="TEXT")]),
    (b"BODY[1]", [section(b"BODY[1]", (1,))]),
    (b"BODY[3.1]", [section(b"BODY[3.1]", (3, 1))]),
    (b"BODY[4.1.MIME]", [section(b"BODY[4.1.MIME]", (4, 1), "MIME")]),
    (b"BODY[4.2.HEADER]", [section(b"BODY[4.2.HEADER]", (4, 2), "HEADER")]),
    (b"BODY[4.2.2.1]", [section(b"BODY[4.2.2.1]", (4, 2, 2, 1))]),
    (b"BODY[]<0.2048>", [section(b"BODY[]<0>", partial=(0, 2048))]),
    (b"BODY[]<20>", [section(b"BODY[]<20>", partial=(20, (1 << 63) - 1))]),
    (b"RFC822", [section(b"RFC822")]),
    (b"RFC822.HEADER", [section(b"RFC822.HEADER", text="HEADER", peek=True)]),
    (b"RFC822.TEXT", [section(b"RFC822.TEXT", text="TEXT")]),
]


@pytest.mark.parametrize("text, items", ITEMS)
def test_items(text, items):
    assert parse("FETCH", b" 1 " + text) == Fetch(ONE, tuple(items))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"()",
        b"FOO",
        b"(ALL)",
        b"(FLAGS FAST)",
        b"(FLAGS",
        b"(FLAGS )",
        b"FLAGS UID",
        b"BODY[MIME]",
        b"BODY[0]",
        b"BODY[1.]",
        b"BODY[.1]",
        b"BODY[1.FOO]",
        b"BODY[HEADER.FIELDS]",
        b"BODY[HEADER.FIELDS ()]",
        b'BODY[HEADER.FIELDS ("a b")]',
        b"BODY[HEADER.FIELDS (a:)]",
        b'BODY[HEADER.FIELDS ("\xc3\xa4")]',
        b"BODY[HEADER.FIELDS ({3}\na\r\n)]",
        b"BODY[]<0.0>",
        b"BODY[]<0.>",
        b"BODY[]<-1.5>",
        b"BODY[1.1" + b".1" * 200 + b"]",
        b"BODY[9999999999999]",
        b"FLAGS[]",
        b"PREVIEW (EAGER)",
        b"(" + b" ".join([b"FLAGS"] * 201) + b")",
        b"FLAGS (VANISHED CHANGEDSINCE 1)",  # RFC 7162 3.2.6: UID FETCH only
        b"FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 1)",
        b"FLAGS ()",
    ],
)
def test_what_is_no_item(text):
    with pytest.raises(Bad):
        parse("FETCH", b" 1 " + text)


def test_changes_since_a_modseq():
    """RFC 7162 3.1.4.1 and 3.2.6."""
    every = SequenceSet.parse(b"1:*")
    assert parse("UID FETCH", b" 1:* (FLAGS) (CHANGEDSINCE 12345)") == Fetch(every, (Item("FLAGS"),), 12345)
    assert parse("UID FETCH", b" 1:* (FLAGS) (CHANGEDSINCE 0)") == Fetch(every, (Item("FLAGS"),), 1)
    expected = Fetch(SequenceSet.parse(b"300:500"), (Item("FLAGS"),), 12345, True)
    assert parse("UID FETCH", b" 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)") == expected
    with pytest.raises(Bad):
        parse("UID FETCH", b" 1 FLAGS (VANISHED)")


STORES = [
    (b" 2:4 +FLAGS (\\Deleted)", Store(SequenceSet.parse(b"2:4"), "add", False, ("\\Deleted",))),
    (b" 12 +flags \\deleted", Store(SequenceSet.parse(b"12"), "add", False, ("\\deleted",))),
    (b" 1 FLAGS ()", Store(ONE, "set", False, ())),
    (b" 1 FLAGS.SILENT \\Seen $Junk", Store(ONE, "set", True, ("\\Seen", "$Junk"))),
    (b" $ -FLAGS.SILENT ($MDNSent)", Store(SequenceSet.parse(b"$"), "remove", True, ("$MDNSent",))),
    # RFC 7162 3.1.3
    (
        b" 6,4,8 (UNCHANGEDSINCE 12121230045) +FLAGS.SILENT (\\Deleted)",
        Store(SequenceSet.parse(b"4,6,8"), "add", True, ("\\Deleted",), 12121230045),
    ),
    (
        b" * (UNCHANGEDSINCE 12121230045) +FLAGS.SILENT (\\Deleted $Processed)",
        Store(SequenceSet.parse(b"*"), "add", True, ("\\Deleted", "$Processed"), 12121230045),
    ),
    (
        b" 12 (UNCHANGEDSINCE 0) +FLAGS.SILENT ($MDNSent)",
        Store(SequenceSet.parse(b"12"), "add", True, ("$MDNSent",), 0),
    ),
]


@pytest.mark.parametrize("arguments, value", STORES)
def test_store(arguments, value):
    assert parse("STORE", arguments) == value
    assert parse("UID STORE", arguments) == value


@pytest.mark.parametrize(
    "arguments",
    [
        b" 1",
        b" 1 FLAGS",
        b" 1 *FLAGS (a)",
        b" 1 FLAGS.LOUD (a)",
        b" 1 (FOO 1) FLAGS (a)",
        b" 1 FLAGS (a) b",
        b" 1 FLAGS (a",
    ],
)
def test_what_is_no_store(arguments):
    with pytest.raises(Bad):
        parse("STORE", arguments)
