"""imap.lexer: RFC 3501 9, RFC 9051 9."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from echomox.imap.lexer import NESTING, Bad, Literal, Parser, Streamed, decode_base64

GOOD = [
    ("atom", b"a.b-c[1", b"a.b-c[1"),
    ("astring", b"a]b", b"a]b"),
    ("astring", b'"a b"', b"a b"),
    ("astring", b"{3}\na b", b"a b"),
    ("astring", b'""', b""),
    ("string", rb'"a\"b\\c"', rb'a"b\c'),
    ("string", b"{0}\n", b""),
    ("string", b"{5}\n{1}\r\n", b"{1}\r\n"),
    ("string", b'"\xc3\xa4"', b"\xc3\xa4"),
    ("nstring", b"NIL", None),
    ("nstring", b"nil", None),
    ("nstring", b'"NIL"', b"NIL"),
    ("literal", b"~{2}\n\0\1", Literal(b"\0\1", True)),
    ("literal", b"{70000@3}\n", Streamed(3, 70000, False)),
    ("number", b"4294967295", 4294967295),
    ("number", b"0", 0),
    ("number64", b"9223372036854775807", 9223372036854775807),
    ("text_string", b'"\xc3\xa4"', "ä"),
    ("date", b"1-Feb-1994", date(1994, 2, 1)),
    ("date", b'"01-fEB-1994"', date(1994, 2, 1)),
    (
        "date_time",
        b'" 7-Feb-1994 21:52:25 -0800"',
        datetime(1994, 2, 7, 21, 52, 25, tzinfo=timezone(timedelta(hours=-8))),
    ),
    ("date_time", b'"31-Dec-2016 23:59:60 +0000"', datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
    (
        "date_time",
        b'"7-Feb-1994 21:52:25 +0545"',
        datetime(1994, 2, 7, 21, 52, 25, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    ),
    ("flag", b"\\Seen", "\\Seen"),
    ("flag", b"$Junk", "$Junk"),
    ("flag_list", b"()", ()),
    ("flag_list", b"(\\Seen $Forwarded work)", ("\\Seen", "$Forwarded", "work")),
    ("mailbox", b"iNbOx", "INBOX"),
    ("mailbox", b"Entw&APw-rfe", "Entwürfe"),
    ("mailbox", b'"a b"', "a b"),
    ("reference", b'""', ""),
    ("pattern", b"a/%*]", "a/%*]"),
    ("pattern", b'"a b*"', "a b*"),
    ("pattern", b"&APw-%", "ü%"),
    ("base64", b"=", b""),
    ("base64", b"", b""),
    ("base64", b"AHRpbQA=", b"\0tim\0"),
]


@pytest.mark.parametrize("method, text, value", GOOD)
def test_words_are_read_to_their_end(method, text, value):
    parser = Parser(text)
    assert getattr(parser, method)() == value
    assert parser.at_end()


BAD = [
    ("atom", b""),
    ("atom", b"(a"),
    ("atom", b"]"),
    ("atom", b"\x00"),
    ("astring", b"\xc3\xa4"),
    ("string", b"atom"),
    ("string", b'"open'),
    ("string", rb'"a\b"'),
    ("string", b'"a\nb"'),
    ("string", b'"a\0b"'),
    ("string", b"{5}\nabc"),
    ("string", b"{3}abc"),
    ("string", b"{3@0}"),
    ("string", b"{3@0}\n"),
    ("string", b"~{3}\nabc"),
    ("nstring", b"atom"),
    ("number", b"4294967296"),
    ("number", b"-1"),
    ("number", b"9" * 30),
    ("number64", b"9223372036854775808"),
    ("text_string", b'"\xe4"'),
    ("date", b"31-Feb-1994"),
    ("date", b"1-Foo-1994"),
    ("date", b'"1-Feb-1994'),
    ("date", b"1-Feb-94"),
    ("date", b"1-Feb-0000"),
    ("date_time", b'" 7-Feb-1994 25:52:25 -0800"'),
    ("date_time", b'" 7-Feb-1994 21:52:25 -2500"'),
    ("date_time", b'" 7-Feb-1994 21:52:25"'),
    ("flag", b"\\"),
    ("flag", b"\\*"),
    ("flag_list", b"(\\Seen"),
    ("flag_list", b"(\\Seen  x)"),
    ("flag_list", b"(\\Seen )"),
    ("mailbox", b"a&b"),
    ("mailbox", b'"\xc3\xa4"'),
    ("mailbox", b"{3}\na\r\n"),
    ("base64", b"A"),
    ("base64", b"A==="),
    ("base64", b"A b="),
    ("known_set", b"1:*"),
    ("known_set", b"$"),
]


@pytest.mark.parametrize("method, text", BAD)
def test_what_is_not_the_word(method, text):
    with pytest.raises(Bad):
        getattr(Parser(text), method)()


def test_mailbox_names_in_utf8():
    assert Parser(b'"\xc3\xa4 & &APw-"', utf8=True).mailbox() == "ä & &APw-"
    for text in (b'"\xe4"', b'"a\x01"', b'"a\x7f"', b'"\xed\xa0\xbd"'):
        with pytest.raises(Bad, match="UTF-8"):
            Parser(text, utf8=True).mailbox()


def test_an_error_does_not_repeat_the_input():
    with pytest.raises(Bad) as caught:
        Parser(b" secret{").end()
    assert caught.value.text == "Expected the end of the command at octet 0 of the arguments"
    assert str(caught.value.reply) == "500 5.5.2 " + caught.value.text


def test_parentheses_nest_fifty_deep():
    parser = Parser(b"(" * 51)
    for _ in range(NESTING):
        parser.open()
    with pytest.raises(Bad, match="50"):
        parser.open()


def test_blanks_at_the_end_of_a_command_are_let_pass():
    parser = Parser(b"  ")
    parser.end()
    assert parser.at_end()


def test_sasl_lines_are_strict_base64():
    assert decode_base64(b"") == b""
    with pytest.raises(Bad, match="Not base64"):
        decode_base64(b"AHRp\xffbQA=")
