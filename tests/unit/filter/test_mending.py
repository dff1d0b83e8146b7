"""Mail that is none by its form: what of it is read as text."""

import pytest

from echomox.filter.features import read
from echomox.filter.mending import is_whole, mended
from echomox.message.mime import parse_with_fields

MAIL = b"From: a@example.org\r\nSubject: one\r\nX-Long: a\r\n b\r\n\r\nthe text\r\n"
SENT = b"From: a@example.org\r\nthis is rubbish\r\nSubject: one\r\nmore rubbish\r\n\r\nthe text\r\n"


def words(data):
    found = {"": [], "subject:": []}
    for tag, run in read(data).text.runs:
        found[tag] += run
    return " ".join(found["subject:"]), " ".join(found[""])


@pytest.mark.parametrize(
    "data, subject, text",
    [
        (b"hello there, call me", "", "hello there call me"),
        (b"one paragraph\r\n\r\nand one more\r\n", "", "one paragraph and one more"),
        (b"Urgent: call 0800 1234\r\n", "", "urgent call 0800 1234"),
        (b"note: this\r\nthat: too\r\n\r\nrest", "", "note this that too rest"),
        (b"Subject: a word\r\nand the text\r\nof it\r\n", "a word", "and the text of it"),
        (b"Subject: re : x\r\nto : ann\r\ncc : bob\r\nhello\r\n\r\nthere", "re x", "to ann cc bob hello there"),
        (b"Subject: a\r\n\r\ntext", "a", "text"),
        (b"From: a@example.org\r\nSubject: a\r\nthe text\r\nSender: no field", "a", "the text sender no field"),
        (b"From a@example.org Mon Jan  5 08:00:00 2026\r\nSubject: a\r\n\r\ntext", "a", "text"),
        (b"From a@example.org Mon Jan  5 08:00:00 2026\r\nhello\r\n\r\ntext", "", "hello text"),
        (b"\r\nonly a text", "", "only a text"),
        (b"From: a@example.org\r\nSubject: a\r\n", "a", ""),
        (b"", "", ""),
        (SENT, "one", "the text"),
    ],
)
def test_text_is_read_where_no_header_or_no_empty_line_is(data, subject, text):
    assert words(data) == (subject, text)


def test_a_mail_that_was_sent_is_left_as_it_is():
    structure, fields = parse_with_fields(MAIL)
    assert is_whole(MAIL, structure, fields)
    structure, fields = parse_with_fields(SENT)
    assert not is_whole(SENT, structure, fields)
    assert mended(SENT, structure) is SENT


def test_line_feeds_alone_are_line_ends_too():
    assert words(b"Subject: a\nthe text\nof it\n") == ("a", "the text of it")


@pytest.mark.parametrize("line", [b"a", b" \n", b":", b"a\n", b"a:\n", b"x-a:\n", b"\xff", b"\x00:", b"From a\n"])
def test_any_long_block_is_taken(line):
    data = line * 100_000
    structure, _ = parse_with_fields(data)
    assert mended(data, structure) in (data, b"\r\n" + data, b"\r\n" + data.removeprefix(b"From a\n"))
