"""ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 7.4.2, 8; RFC 9051 7.5.2, 8)."""

import pytest

from echomox.message.mime import parse
from echomox.message.wire import imap_string, nstring


def wire(text):
    return text.replace("\n", "\r\n").encode("utf-8")


RFC3501_8 = wire("""\
Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)
From: Terry Gray <gray@cac.washington.edu>
Subject: IMAP4rev1 WG mtg summary and minutes
To: imap@cac.washington.edu
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>
Message-Id: <B27397-0100000@cac.washington.edu>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

""")


def test_example_session_of_rfc3501_8():
    data = RFC3501_8 + b"x" * (3028 - 2 * 92) + b"\r\n" * 92
    structure = parse(data)
    assert structure.header_size == 342
    assert structure.envelope == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) '
        b'((NIL NIL "imap" "cac.washington.edu")) '
        b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL '
        b'"<B27397-0100000@cac.washington.edu>")'
    )
    assert structure.body == b'("TEXT" "PLAIN" ("charset" "US-ASCII") NIL NIL "7bit" 3028 92)'
    assert structure.bodystructure == structure.body[:-1] + b" NIL NIL NIL NIL)"


def test_two_part_message_of_rfc3501_7_4_2():
    attached = b"x" * (4554 - 2 * 73) + b"\r\n" * 73
    text = b"x" * (1152 - 2 * 23) + b"\r\n" * 23
    data = b"\r\n".join(
        [
            b"Content-Type: MULTIPART/MIXED; BOUNDARY=b",
            b"",
            b"--b",
            b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII",
            b"Content-Transfer-Encoding: 7BIT",
            b"",
            text,
            b"--b",
            b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII; NAME=cc.diff",
            b"Content-ID: <960723163407.20117h@cac.washington.edu>",
            b"Content-Description: Compiler diff",
            b"Content-Transfer-Encoding: BASE64",
            b"",
            attached,
            b"--b--",
            b"",
        ]
    )
    assert parse(data).body == (
        b'(("TEXT" "PLAIN" ("charset" "US-ASCII") NIL NIL "7BIT" 1152 23)'
        b'("TEXT" "PLAIN" ("charset" "US-ASCII" "name" "cc.diff") '
        b'"<960723163407.20117h@cac.washington.edu>" "Compiler diff" "BASE64" 4554 73) "MIXED")'
    )


@pytest.mark.parametrize(
    "header, envelope",
    [
        ("", b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"),
        # RFC 9051 7.5.2: present but empty is the empty string, address fields NIL
        ("Subject:\nDate: \nTo:\n", b'("" "" NIL NIL NIL NIL NIL NIL NIL NIL)'),
        # RFC 9051 7.5.2: sender and reply-to default to from
        (
            "From: a@x.test\nSender:\n",
            b'(NIL NIL ((NIL NIL "a" "x.test")) ((NIL NIL "a" "x.test")) ((NIL NIL "a" "x.test")) NIL NIL NIL NIL NIL)',
        ),
        (
            "From: a@x.test\nSender: s@x.test\nReply-To: r@x.test, Group: q@x.test;\n",
            b'(NIL NIL ((NIL NIL "a" "x.test")) ((NIL NIL "s" "x.test")) '
            b'((NIL NIL "r" "x.test")(NIL NIL "Group" NIL)(NIL NIL "q" "x.test")(NIL NIL NIL NIL)) '
            b"NIL NIL NIL NIL NIL)",
        ),
        # folded values on one line, raw: encoded words stay
        (
            "Subject: =?utf-8?q?caf=C3=A9?=\n =?utf-8?q?x?=\nIn-Reply-To: <a@b>\n",
            b'(NIL "=?utf-8?q?caf=C3=A9?= =?utf-8?q?x?=" NIL NIL NIL NIL NIL NIL "<a@b>" NIL)',
        ),
        ("Subject: café\n", b"(NIL {5}\r\ncaf\xc3\xa9 NIL NIL NIL NIL NIL NIL NIL NIL)"),
        ('Subject: "a\\b"\n', b'(NIL "\\"a\\\\b\\"" NIL NIL NIL NIL NIL NIL NIL NIL)'),
    ],
)
def test_envelope(header, envelope):
    assert parse(wire(header + "\n")).envelope == envelope


@pytest.mark.parametrize(
    "header, structure",
    [
        # RFC 2045 5.2: defaults
        ("", b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 1 NIL NIL NIL NIL)'),
        ("Content-Type: text/html\n", b'("text" "html" ("charset" "us-ascii") NIL NIL "7bit" 3 1 NIL NIL NIL NIL)'),
        ("Content-Type: image/png\n", b'("image" "png" NIL NIL NIL "7bit" 3 NIL NIL NIL NIL)'),
        (
            "Content-Type: image/png; name=x\nContent-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\n"
            "Content-Disposition: attachment; filename=x; size=1\nContent-Language: en (English), de\n"
            "Content-Location: http://x.test/y\nContent-ID: <i@x>\nContent-Description: d\n",
            b'("image" "png" ("name" "x") "<i@x>" "d" "7bit" 3 "Q2hlY2sgSW50ZWdyaXR5IQ==" '
            b'("attachment" ("filename" "x" "size" "1")) ("en" "de") "http://x.test/y")',
        ),
        (
            "Content-Type: application/x; x\nContent-Disposition: inline\nContent-Language: mi\n",
            b'("application" "x" NIL NIL NIL "7bit" 3 NIL ("inline" NIL) "mi" NIL)',
        ),
        # RFC 2231 6: continuations are joined, charset and percent signs stay
        (
            "Content-Type: a/b; x*0=one; x*1=two; t*0*=utf-8''%C3; t*1*=%A9\n",
            b'("a" "b" ("x" "onetwo" "t*" "utf-8\'\'%C3%A9") NIL NIL "7bit" 3 NIL NIL NIL NIL)',
        ),
        (
            "Content-Type: a/b; name=café\n",
            b'("a" "b" ("name" {5}\r\ncaf\xc3\xa9) NIL NIL "7bit" 3 NIL NIL NIL NIL)',
        ),
    ],
)
def test_leaf(header, structure):
    found = parse(wire(header + "\nx\n"))
    assert found.bodystructure == structure


def test_enclosed_message_has_envelope_structure_and_lines():
    data = wire("""\
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: message/rfc822
Content-Disposition: attachment

Subject: in
From: a@x.test

one
two
--b--
""")
    inner = b'(NIL "in" ((NIL NIL "a" "x.test")) ((NIL NIL "a" "x.test")) ((NIL NIL "a" "x.test")) NIL NIL NIL NIL NIL)'
    plain = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 8 1'
    structure = parse(data)
    assert structure.body == (b'(("message" "rfc822" NIL NIL NIL "7bit" 39 ' + inner + b" " + plain + b') 4) "mixed")')
    assert structure.bodystructure == (
        b'(("message" "rfc822" NIL NIL NIL "7bit" 39 ' + inner + b" " + plain + b" NIL NIL NIL NIL) 4 NIL "
        b'("attachment" NIL) NIL NIL) "mixed" ("boundary" "b") NIL NIL NIL)'
    )


def test_delivery_status_is_a_basic_part():
    data = wire("Content-Type: message/delivery-status\n\nx\n")
    assert parse(data).body == b'("message" "delivery-status" NIL NIL NIL "7bit" 3)'


@pytest.mark.parametrize(
    "value, string",
    [
        (b"", b'""'),
        (b"abc", b'"abc"'),
        (b"a\tb", b'"a\tb"'),
        (b'a"b\\', b'"a\\"b\\\\"'),
        (b"a\r\nb", b"{4}\r\na\r\nb"),
        (b"\xff", b"{1}\r\n\xff"),
        (b"a\0b", b"{3}\r\na\x80b"),
        (b"x" * 1001, b"{1001}\r\n" + b"x" * 1001),
    ],
)
def test_imap_string(value, string):
    assert imap_string(value) == string


def test_nstring_of_nothing_is_nil():
    assert nstring(None) == b"NIL"
    assert nstring(b" a\r\n b\r") == b'"a b"'
