"""imap.grammar: arguments of commands, mostly the examples of RFC 3501, 7162, 6154, 3502, 2971, 5161."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from echomox.imap.grammar import (
    Append,
    Authenticate,
    Create,
    Enable,
    Id,
    Login,
    Message,
    Messages,
    Nothing,
    OfMailbox,
    Qresync,
    Rename,
    Select,
    Transfer,
    append_mailbox,
)
from echomox.imap.lexer import Bad, Parser, Streamed
from echomox.imap.seqset import SequenceSet
from echomox.imapd.commands import BY_NAME
from tests.unit.imap.rows import parse

PACIFIC = timezone(timedelta(hours=-8))


def some(text: bytes) -> SequenceSet:
    return SequenceSet.parse(text)


CASES = [
    ("NOOP", b"", Nothing()),
    ("LOGOUT", b" ", Nothing()),
    ("LOGIN", b" SMITH SESAME", Login("SMITH", "SESAME")),
    ("LOGIN", b" {11}\nFRED FOOBAR {7}\nfat man", Login("FRED FOOBAR", "fat man")),
    ("LOGIN", rb' "u" "p\"\\"', Login("u", 'p"\\')),
    ("LOGIN", b' u "\xc3\xa4"', Login("u", "ä")),
    ("LOGIN", b' u ""', Login("u", "")),
    ("AUTHENTICATE", b" GSSAPI", Authenticate("GSSAPI")),
    ("AUTHENTICATE", b" PLAIN ", Authenticate("PLAIN")),
    ("AUTHENTICATE", b" plain =", Authenticate("PLAIN", b"")),
    (
        "AUTHENTICATE",
        b" PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm",
        Authenticate("PLAIN", b"\0tim\0tanstaaftanstaaf"),
    ),
    ("DELETE", b" foo/bar", OfMailbox("foo/bar")),
    ("SUBSCRIBE", b" #news.comp.mail.mime", OfMailbox("#news.comp.mail.mime")),
    ("CREATE", b" owatagusiam/", Create("owatagusiam/")),
    ("CREATE", rb" MySpecial (USE (\Drafts \Sent))", Create("MySpecial", ("\\Drafts", "\\Sent"))),
    ("CREATE", b" x (USE ())", Create("x")),
    ("RENAME", b" inbox old-mail", Rename("INBOX", "old-mail")),
    ("SELECT", b" inbox", Select("INBOX")),
    ("EXAMINE", b" blurdybloop", Select("blurdybloop")),
    ("SELECT", b" INBOX (CONDSTORE)", Select("INBOX", condstore=True)),
    # RFC 7162 3.2.5
    (
        "SELECT",
        b" INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))",
        Select("INBOX", qresync=Qresync(67890007, 20050715194045000, some(b"41,43:211,214:541"))),
    ),
    (
        "SELECT",
        b" INBOX (QRESYNC (67890007 90060115194045000 41:211,214:541))",
        Select("INBOX", qresync=Qresync(67890007, 90060115194045000, some(b"41:211,214:541"))),
    ),
    (
        "SELECT",
        b" INBOX (QRESYNC (67890007 90060115194045000 1:29997 (5000,7500,9000,9990:9999 15000,22500,27000,"
        b"29970,29973,29976,29979,29982,29985,29988,29991,29994,29997)))",
        Select(
            "INBOX",
            qresync=Qresync(
                67890007,
                90060115194045000,
                some(b"1:29997"),
                (
                    some(b"5000,7500,9000,9990:9999"),
                    some(b"15000,22500,27000,29970,29973,29976,29979,29982,29985,29988,29991,29994,29997"),
                ),
            ),
        ),
    ),
    ("SELECT", b" a (QRESYNC (1 2) CONDSTORE)", Select("a", True, Qresync(1, 2))),
    ("SELECT", b" a (QRESYNC (1 0))", Select("a", qresync=Qresync(1, 0))),
    ("SELECT", b' ""', Select("")),
    (
        "SELECT",
        b" a (QRESYNC (1 2 (1 3)))",
        Select("a", qresync=Qresync(1, 2, None, (some(b"1"), some(b"3")))),
    ),
    ("COPY", b" 2:4 MEETING", Transfer(some(b"2:4"), "MEETING")),
    ("UID MOVE", b" $ inbox", Transfer(some(b"$"), "INBOX")),
    ("UID EXPUNGE", b" 3000:3002", Messages(some(b"3000:3002"))),
    ("ENABLE", b" CONDSTORE x-good-idea condstore", Enable(("CONDSTORE", "X-GOOD-IDEA"))),
    ("ID", b" NIL", Id(())),
    ("ID", b" ()", Id(())),
    (
        "ID",
        b' ("name" "sodr" "Version" "19.34" "vendor" NIL)',
        Id((("name", "sodr"), ("version", "19.34"), ("vendor", ""))),
    ),
    (
        "APPEND",
        b" saved-messages (\\Seen) {5}\nhello",
        Append("saved-messages", (Message(("\\Seen",), None, b"hello"),)),
    ),
    ("APPEND", b" b {0}\n", Append("b", (Message((), None, b""),))),
    ("APPEND", b" b {70000@0}\n", Append("b", (Message((), None, Streamed(0, 70000, False)),))),
    ("APPEND", b" b UTF8 (~{2}\n\xc3\xa4)", Append("b", (Message((), None, b"\xc3\xa4", utf8=True),))),
    # RFC 3502 6.3.11
    (
        "APPEND",
        b' saved-messages (\\Seen) {3}\nabc (\\Seen) " 7-Feb-1994 22:43:04 -0800" {2}\nde',
        Append(
            "saved-messages",
            (
                Message(("\\Seen",), None, b"abc"),
                Message(("\\Seen",), datetime(1994, 2, 7, 22, 43, 4, tzinfo=PACIFIC), b"de"),
            ),
        ),
    ),
]


@pytest.mark.parametrize("name, arguments, value", CASES)
def test_arguments_become_values(name, arguments, value):
    assert parse(name, arguments) == value


BAD = [
    ("NOOP", b" x"),
    ("LOGIN", b""),
    ("LOGIN", b" user"),
    ("LOGIN", b" user pass word"),
    ("LOGIN", b' user "\xe4"'),
    ("LOGIN", b"  user pass"),
    ("AUTHENTICATE", b" PLAIN x"),
    ("SELECT", b" a ()"),
    ("SELECT", b" a (FOO)"),
    ("SELECT", b" a (QRESYNC (0 1))"),
    ("SELECT", b" a (QRESYNC (1 1 *))"),
    ("SELECT", b" a (QRESYNC (1 1 1:5 (1:2 1:3)))"),
    ("SELECT", b" a (QRESYNC (1 1) QRESYNC (1 1))"),
    ("CREATE", b" a (USE Sent)"),
    ("CREATE", b" a (USE (Sent))"),
    ("RENAME", b" a"),
    ("COPY", b" 0 a"),
    ("COPY", b" 1"),
    ("UID EXPUNGE", b""),
    ("ENABLE", b""),
    ("ID", b" (name x)"),
    ("ID", b' ("name")'),
    ("ID", b" (" + b" ".join([b'"a" "b"'] * 31) + b")"),
    ("ID", b' ("' + b"n" * 31 + b'" "x")'),
    ("APPEND", b" a"),
    ("APPEND", b" a (\\Seen)"),
    ("APPEND", b' a "hello"'),
    ("APPEND", b" a UTF8 ({2}\nab)"),
    ("APPEND", b" a UTF8 (~{2}\nab"),
    ("APPEND", b" a {2}\nab{2}\ncd"),
    ("APPEND", b" {70000@0}\n {2}\nab"),
]


@pytest.mark.parametrize("name, arguments", BAD)
def test_what_the_grammar_does_not_allow(name, arguments):
    with pytest.raises(Bad):
        parse(name, arguments)


@pytest.mark.parametrize("name", sorted(BY_NAME))
@pytest.mark.parametrize(
    "arguments", [b"x", b" (", b" \xff", b" \0", b' "', b" {", b" {9}\n", b" " * 3 + b"x"]
)
def test_every_parser_refuses_garbage(name, arguments):
    with pytest.raises(Bad):
        parse(name, arguments)


def test_secrets_do_not_show():
    assert "SESAME" not in repr(parse("LOGIN", b" SMITH SESAME"))
    assert "tim" not in repr(parse("AUTHENTICATE", b" PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"))


def test_the_mailbox_of_an_append_is_known_before_its_message():
    assert append_mailbox(Parser(b" {5}\ninbox (\\Seen) {12@0}\n")) == "INBOX"


def test_names_are_utf8_when_enabled():
    assert parse("SELECT", b' "\xc3\xa4"', utf8=True) == Select("ä")
