"""What submission changes in a header, and what it leaves."""

import re

import pytest

from echomox.smtpd.fixup import TooMuchExtra, fix_header

NOW = 1_000_000_000.0
WHOLE = b"Date: x\r\nMessage-ID: <a@b>\r\n"

# (before, after; what is there already is left)
HEADERS = [
    (b"From: a@b\r\n", b"From: a@b\r\n"),
    (b"Bcc: c@d\r\nFrom: a@b\r\n", b"From: a@b\r\n"),
    (b"From: a@b\r\nBcc: c@d,\r\n e@f,\r\n\tg@h\r\nTo: x@y\r\n", b"From: a@b\r\nTo: x@y\r\n"),
    (b"From: a@b\r\nbcc:\r\nBCC : c@d\r\nResent-Bcc: c@d\r\n", b"From: a@b\r\n"),
    (b"Return-Path: <x@y>\r\nDelivered-To: x@y\r\nFrom: a@b\r\n", b"From: a@b\r\n"),
    (b"From: a@b\r\nSubject: x\r\n Bcc: y\r\n", b"From: a@b\r\nSubject: x\r\n Bcc: y\r\n"),
    (b"From: a@b\r\nX-Bcc: y\r\nBccc: z\r\n", b"From: a@b\r\nX-Bcc: y\r\nBccc: z\r\n"),
    (b"From: a@b\r\nno field at all\r\n", b"From: a@b\r\nno field at all\r\n"),
    (b"From: a@b\r\nBcc: c@d", b"From: a@b\r\n"),
    (b"X-EchoMox-Extra-Job: 17\r\nFrom: a@b\r\n", b"From: a@b\r\n"),
    (b"", b""),
]  # fmt: skip


@pytest.mark.parametrize("before, after", HEADERS)
def test_fields_that_are_removed(before, after):
    fixed = fix_header(WHOLE + before, NOW, "example.org")
    assert fixed.header == WHOLE + after
    assert fixed.changed is (before != after)
    assert fixed.message_id == "<a@b>"


def test_fields_that_are_added():
    fixed = fix_header(b"From: a@b\r\n", NOW, "example.org")
    assert re.fullmatch(
        rb"Message-ID: <[a-z2-9]{24}@example\.org>\r\nDate: Sun, 9 Sep 2001 01:46:40 \+0000\r\nFrom: a@b\r\n",
        fixed.header,
    )
    assert fixed.message_id.encode() in fixed.header
    assert fix_header(b"From: a@b\r\n", NOW, "example.org").message_id != fixed.message_id


def test_what_is_read():
    header = (
        WHOLE + b"Subject: one\r\n two\r\nTLS-Required: no \r\nX-EchoMox-Extra-Job: 17\r\n"
        b"x-echomox-extra-Kind: \xc3\xa4\r\n b\r\n"
    )
    fixed = fix_header(header, NOW, "example.org")
    assert (fixed.subject, fixed.no_tls, fixed.extra) == ("one two", True, {"job": "17", "kind": "ä b"})
    assert b"TLS-Required" in fixed.header
    assert not fix_header(WHOLE + b"TLS-Required: yes\r\n", NOW, "example.org").no_tls


def test_extras_are_bounded():
    with pytest.raises(TooMuchExtra):
        fix_header(b"".join(b"X-EchoMox-Extra-%d: x\r\n" % n for n in range(21)), NOW, "example.org")
    with pytest.raises(TooMuchExtra):
        fix_header(b"X-EchoMox-Extra-a: " + b"x" * 5000 + b"\r\n", NOW, "example.org")
