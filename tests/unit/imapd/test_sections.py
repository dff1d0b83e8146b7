"""Which octets BODY[...] is, on the example of RFC 9051 6.4.5.1."""

from __future__ import annotations

import pytest

from echomox.imap.fetch import Section
from echomox.imap.fetch import fetch as parse_fetch
from echomox.imap.lexer import Parser
from echomox.imapd.sections import Extent, cut, extent
from echomox.message.mime import parse

PREFIX = b"Return-Path: <>\r\n"
HEADER = b"From: a@b.c\r\nSubject: mixed\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
TEXT_MIME = b"Content-Type: text/plain\r\n\r\n"
TEXT = b"first part\r\nsecond line"
MESSAGE_MIME = b"Content-Type: message/rfc822\r\n\r\n"
INNER_HEADER = b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n"
INNER_1_MIME = b"Content-Type: text/plain\r\n\r\n"
INNER_1 = b"inner one"
INNER_2_MIME = b"\r\n"
INNER_2 = b"inner two"
INNER_TEXT = b"--y\r\n" + INNER_1_MIME + INNER_1 + b"\r\n--y\r\n" + INNER_2_MIME + INNER_2 + b"\r\n--y--\r\nepilogue"
BODY = b"--x\r\n" + TEXT_MIME + TEXT + b"\r\n--x\r\n" + MESSAGE_MIME + INNER_HEADER + INNER_TEXT + b"\r\n--x--\r\n"
FILE = HEADER + BODY
WHOLE = PREFIX + FILE

SECTIONS = [
    ("BODY[]", WHOLE),
    ("BODY[HEADER]", PREFIX + HEADER),
    ("BODY[TEXT]", BODY),
    ("BODY[1]", TEXT),
    ("BODY[1.MIME]", TEXT_MIME),
    ("BODY[2]", INNER_HEADER + INNER_TEXT),
    ("BODY[2.MIME]", MESSAGE_MIME),
    ("BODY[2.HEADER]", INNER_HEADER),
    ("BODY[2.TEXT]", INNER_TEXT),
    ("BODY[2.1]", INNER_1),
    ("BODY[2.1.MIME]", INNER_1_MIME),
    ("BODY[2.2]", INNER_2),
    ("BODY[2.2.MIME]", INNER_2_MIME),
    ("BODY[1.HEADER]", None),
    ("BODY[1.TEXT]", None),
    ("BODY[3]", None),
    ("BODY[2.3]", None),
    ("BODY[1.1]", None),
    ("RFC822", WHOLE),
    ("RFC822.HEADER", PREFIX + HEADER),
    ("RFC822.TEXT", BODY),
    ("BODY[]<0.7>", WHOLE[:7]),
    ("BODY[1]<6.100>", TEXT[6:]),
    ("BODY[1]<5000.1>", b""),
    ("BODY[TEXT]<3.4>", BODY[3:7]),
]


def section(text: str) -> Section:
    item = parse_fetch(Parser(b" 1 " + text.encode())).items[0]
    assert isinstance(item, Section)
    return item


@pytest.mark.parametrize("text, expected", SECTIONS)
def test_section(text: str, expected: bytes | None) -> None:
    structure = parse(FILE)
    wanted = section(text)
    found = extent(wanted, structure.parts, len(PREFIX), len(WHOLE))
    if found is None:
        assert expected is None
        return
    offset, length, _ = cut(wanted, found)
    assert WHOLE[offset : offset + length] == expected


def test_a_message_without_parts_has_its_body_as_part_one() -> None:
    data = b"Subject: x\r\n\r\nhello"
    parts = parse(data).parts
    assert extent(section("BODY[1]"), parts, 0, len(data)) == Extent(14, 5)
    assert extent(section("BODY[1.MIME]"), parts, 0, len(data)) == Extent(0, 14)
    assert extent(section("BODY[2]"), parts, 0, len(data)) is None
