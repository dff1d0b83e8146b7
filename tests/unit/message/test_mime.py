"""The splitter: parts, offsets, what is malformed, what is too much (RFC 2045, RFC 2046)."""

import pytest

from echomox.message.header import Limits
from echomox.message.mime import parse


def wire(text):
    return text.replace("\n", "\r\n").encode("utf-8")


def outline(structure):
    return [(part.path, part.content_type) for part in structure.parts]


def content(structure, data, path):
    (part,) = [part for part in structure.parts if part.path == path]
    return data[part.offset : part.offset + part.size]


def mime_header(structure, data, path):
    (part,) = [part for part in structure.parts if part.path == path]
    return data[part.header_offset : part.header_offset + part.header_size]


RFC2046_5_1_1 = wire("""\
From: Nathaniel Borenstein <nsb@bellcore.com>
To: Ned Freed <ned@innosoft.com>
Date: Sun, 21 Mar 1993 23:56:48 -0800 (PST)
Subject: Sample message
MIME-Version: 1.0
Content-type: multipart/mixed; boundary="simple boundary"

This is the preamble.  It is to be ignored, though it
is a handy place for composition agents to include an
explanatory note to non-MIME conformant readers.

--simple boundary

This is implicitly typed plain US-ASCII text.
It does NOT end with a linebreak.
--simple boundary
Content-type: text/plain; charset=us-ascii

This is explicitly typed plain US-ASCII text.
It DOES end with a linebreak.

--simple boundary--

This is the epilogue.  It is also to be ignored.
""")


@pytest.mark.parametrize("data", [RFC2046_5_1_1, RFC2046_5_1_1.replace(b"\r\n", b"\n")])
def test_simple_multipart_of_rfc2046_5_1_1(data):
    end = b"\r\n" if b"\r\n" in data else b"\n"
    structure = parse(data)
    assert outline(structure) == [("", "multipart/mixed"), ("1", "text/plain"), ("2", "text/plain")]
    assert content(structure, data, "1") == (
        b"This is implicitly typed plain US-ASCII text." + end + b"It does NOT end with a linebreak."
    )
    assert content(structure, data, "2") == (
        b"This is explicitly typed plain US-ASCII text." + end + b"It DOES end with a linebreak." + end
    )
    assert mime_header(structure, data, "1") == end
    assert mime_header(structure, data, "2") == b"Content-type: text/plain; charset=us-ascii" + end + end
    assert mime_header(structure, data, "") == data[: data.index(b"This is the preamble")]
    assert structure.parts[1].lines == 1 and structure.parts[2].lines == 2
    assert structure.defects == ()
    assert structure.subject == "Sample message"
    assert structure.from_text == "Nathaniel Borenstein <nsb@bellcore.com>"
    assert structure.sent == 732787008.0 and structure.sent_day == "1993-03-21"


RFC2046_5_1_5 = wire("""\
From: Moderator-Address
To: Recipient-List
Date: Mon, 22 Mar 1994 13:34:51 +0000
Subject: Internet Digest, volume 42
MIME-Version: 1.0
Content-Type: multipart/mixed;
              boundary="---- main boundary ----"

------ main boundary ----

...Introductory text or table of contents...

------ main boundary ----
Content-Type: multipart/digest;
              boundary="---- next message ----"

------ next message ----

From: someone-else
Date: Fri, 26 Mar 1993 11:13:32 +0200
Subject: my opinion

...body goes here ...

------ next message ----

From: someone-else-again
Date: Fri, 26 Mar 1993 10:07:13 -0500
Subject: my different opinion

... another body goes here ...

------ next message ------

------ main boundary ------
""")


def test_digest_of_rfc2046_5_1_5():
    structure = parse(RFC2046_5_1_5)
    assert outline(structure) == [
        ("", "multipart/mixed"),
        ("1", "text/plain"),
        ("2", "multipart/digest"),
        ("2.1", "message/rfc822"),
        ("2.1.1", "text/plain"),
        ("2.2", "message/rfc822"),
        ("2.2.1", "text/plain"),
    ]
    data = RFC2046_5_1_5
    assert content(structure, data, "2.1.1") == b"...body goes here ...\r\n"
    (part,) = [part for part in structure.parts if part.path == "2.2"]
    # BODY[2.2.HEADER] and BODY[2.2.TEXT]
    header = data[part.offset : part.offset + part.inner_header_size]
    assert header.startswith(b"From: someone-else-again\r\n") and header.endswith(b"opinion\r\n\r\n")
    text = data[part.offset + part.inner_header_size : part.offset + part.size]
    assert text == b"... another body goes here ...\r\n"
    assert structure.defects == ()


def test_section_numbers_of_rfc9051_6_4_5_1():
    """The example of part specifiers: 4 is multipart inside, 4.2 a message with parts 4.2.2.1 …"""

    def multipart(boundary, subtype, *parts):
        lines = [f"Content-Type: multipart/{subtype}; boundary={boundary}", ""]
        for part in parts:
            lines += [f"--{boundary}", part]
        return "\n".join([*lines, f"--{boundary}--"])

    plain, png = "Content-Type: text/plain\n\nx", "Content-Type: image/gif\n\nx"
    octets, rich = "Content-Type: application/octet-stream\n\nx", "Content-Type: text/richtext\n\nx"
    inner3 = "Content-Type: message/rfc822\n\nSubject: i\n" + multipart("b3", "mixed", plain, octets)
    inner42 = "Content-Type: message/rfc822\n\nSubject: j\n" + multipart(
        "b42", "mixed", plain, multipart("b422", "alternative", plain, rich)
    )
    data = wire(multipart("b0", "mixed", plain, octets, inner3, multipart("b4", "mixed", png, inner42)))
    assert [path for path, _ in outline(parse(data))] == [
        "", "1", "2", "3", "3.1", "3.2", "4", "4.1", "4.2", "4.2.1", "4.2.2", "4.2.2.1", "4.2.2.2",
    ]  # fmt: skip
    assert dict(outline(parse(data)))["4.2.2.2"] == "text/richtext"
    assert mime_header(parse(data), data, "4.2") == b"Content-Type: message/rfc822\r\n\r\n"


def test_message_that_is_no_multipart_is_part_1():
    data = wire("Subject: x\n\nhello\n")
    structure = parse(data)
    assert outline(structure) == [("1", "text/plain")]
    assert content(structure, data, "1") == b"hello\r\n"
    assert mime_header(structure, data, "1") == b"Subject: x\r\n\r\n"
    assert (structure.size, structure.header_size, structure.parts[0].lines) == (21, 14, 1)


def test_enclosed_message_without_multipart_has_part_1_too():
    data = wire("Content-Type: message/rfc822\n\nSubject: in\nContent-Type: text/html\n\n<p>\n")
    structure = parse(data)
    assert outline(structure) == [("1", "message/rfc822"), ("1.1", "text/html")]
    assert mime_header(structure, data, "1.1") == b"Subject: in\r\nContent-Type: text/html\r\n\r\n"
    assert structure.parts[0].inner_header_size == structure.parts[1].header_size


MIXED = "Content-Type: multipart/mixed; boundary=b\n\n"
MALFORMED = {
    "end delimiter missing": (
        MIXED + "--b\n\none\n--b\n\ntwo\n",
        {"1": b"one", "2": b"two\r\n"},
        ("multipart-not-closed",),
    ),
    "inner end delimiter missing": (
        MIXED + "--b\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\none\n--b\n\ntwo\n--b--\n",
        {"1.1": b"one", "2": b"two"},
        ("multipart-not-closed",),
    ),
    "outer boundary a prefix of the inner": (
        MIXED + "--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\n\none\n--bb--\n--b\n\ntwo\n--b--\n",
        {"1.1": b"one", "2": b"two"},
        (),
    ),
    "inner boundary a prefix of the outer": (
        "Content-Type: multipart/mixed; boundary=bb\n\n--bb\n"
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n--bb\n\ntwo\n--bb--\n",
        {"1.1": b"one", "2": b"two"},
        (),
    ),
    "the same boundary twice": (
        MIXED + "--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n--b\n\ntwo\n--b--\n",
        {"1.1": b"one", "2": b"two"},
        (),
    ),
    "more on the delimiter line": (MIXED + "--b  \n\none\n--b junk\n\ntwo\n--b-- \n", {"1": b"one", "2": b"two"}, ()),
    "delimiter at once": (MIXED + "--b\n--b\n\ntwo\n--b--\n", {"1": b"", "2": b"two"}, ()),
    "delimiter in a header": (
        MIXED + "--b\nContent-Type: text/html\n--b\n\ntwo\n--b--\n",
        {"1": b"", "2": b"two"},
        (),
    ),
    "delimiter without line end": (MIXED + "--b\n\none\n--b--", {"1": b"one"}, ()),
    "text ends with the delimiter": (MIXED + "--b\n\none\n--b", {"1": b"one", "2": b""}, ("multipart-not-closed",)),
    "delimiter not at the start of a line": (MIXED + "--b\n\nx --b\n --b\n--b--\n", {"1": b"x --b\r\n --b"}, ()),
    "delimiter after the end": (MIXED + "--b\n\none\n--b--\n--b\n\ntwo\n", {"1": b"one"}, ()),
    "end delimiter first": (MIXED + "--b--\n--b\n\none\n--b--\n", {"1": b"one"}, ()),
    "no boundary parameter": (
        "Content-Type: multipart/mixed\n\n--b\n\none\n--b--\n",
        {"1": b"--b\r\n\r\none\r\n--b--\r\n"},
        ("multipart-without-boundary",),
    ),
    "boundary never occurs": (
        MIXED + "--c\n\none\n--c--\n",
        {"1": b"--c\r\n\r\none\r\n--c--\r\n"},
        ("multipart-not-closed", "multipart-without-parts"),
    ),
    "quoted boundary with spaces behind": (
        'Content-Type: multipart/mixed; boundary="b  "\n\n--b\n\none\n--b--\n',
        {"1": b"one"},
        (),
    ),
    "content type unreadable": ("Content-Type: foo\n\none\n", {"1": b"one\r\n"}, ("content-type-unreadable",)),
    "header only": ("Subject: x\n", {"1": b""}, ()),
    "header only, no line end": ("Subject: x", {"1": b""}, ()),
    "nothing": ("", {"1": b""}, ()),
    "body only": ("\nbody\n", {"1": b"body\r\n"}, ()),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    text, contents, defects = MALFORMED[name]
    data = wire(text)
    structure = parse(data)
    leaves = {
        part.path: data[part.offset : part.offset + part.size]
        for part in structure.parts
        if not part.content_type.startswith("multipart/")
    }
    assert leaves == contents
    assert structure.defects == defects


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_with_bare_line_feeds_has_the_same_parts(name):
    text, contents, _ = MALFORMED[name]
    data = text.encode()
    found = [part for part in parse(data).parts if not part.content_type.startswith("multipart/")]
    assert {part.path: data[part.offset : part.offset + part.size] for part in found} == {
        path: body.replace(b"\r\n", b"\n") for path, body in contents.items()
    }


def test_unreadable_multipart_is_text_plain():
    structure = parse(wire("Content-Type: multipart/mixed\nContent-Transfer-Encoding: 8bit\n\nHello there\n"))
    assert outline(structure) == [("1", "text/plain")]
    assert structure.preview == "Hello there"


def nested(count, boundary):
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n" % (boundary(n), boundary(n)) for n in range(count)
    )


@pytest.mark.parametrize(
    "data",
    [
        nested(3000, lambda n: b"b%d" % n),
        nested(3000, lambda n: b"b"),
        nested(3000, lambda n: b"b" * (n % 200 + 1)),
        nested(3000, lambda n: b"b" * (200 - n % 200)),
        b"Content-Type: message/rfc822\r\n\r\n" * 3000,
    ],
    ids=["different", "same", "growing", "shrinking", "messages"],
)
def test_deep_nesting_is_opaque_beyond_the_limit(data):
    structure = parse(data)
    assert "too-deep" in structure.defects
    assert len(structure.parts) <= Limits().parts
    assert max(part.path.count(".") for part in structure.parts) <= Limits().depth


def test_many_parts_end_at_the_limit():
    data = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 5000
    structure = parse(data)
    assert len(structure.parts) == 1000
    assert structure.defects == ("too-many-parts",)
    assert len(parse(data, Limits(parts=10)).parts) == 10


def test_too_deep_part_is_octet_stream():
    data = wire(MIXED + "--b\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\none\n--i--\n--b--\n")
    structure = parse(data, Limits(depth=1))
    assert outline(structure) == [("", "multipart/mixed"), ("1", "application/octet-stream")]
    assert structure.defects == ("too-deep",)
    assert content(structure, data, "1") == b"--i\r\n\r\none\r\n--i--"


def test_oversized_header_is_noted_and_offsets_hold():
    data = b"X: " + b"y" * 300_000 + b"\r\nSubject: late\r\n\r\nbody"
    structure = parse(data)
    assert structure.defects == ("header-too-large",)
    assert structure.header_size == len(data) - 4
    assert structure.subject == ""


def test_details_of_parts():
    data = wire("""\
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: Text/HTML; Charset="ISO-8859-1"
Content-Transfer-Encoding: Quoted-Printable
Content-Disposition: INLINE

x
--b
Content-Type: application/pdf; name="other.pdf"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename*=utf-8''r%C3%A9sum%C3%A9.pdf; filename=resume.pdf

eA==
--b
Content-Type: image/png; name==?utf-8?q?=C3=A9.png?=

x
--b--
""")
    _, html, pdf, png = parse(data).parts
    assert (html.content_type, html.charset, html.encoding, html.disposition) == (
        "text/html",
        "iso-8859-1",
        "quoted-printable",
        "inline",
    )
    assert (pdf.disposition, pdf.filename, pdf.encoding, pdf.lines) == ("attachment", "résumé.pdf", "base64", 0)
    assert (png.filename, png.charset) == ("é.png", "")


def test_facts_of_a_message():
    data = (
        b"Date: Sun, 22 Nov 2026 23:40:46 -0800\r\nFrom: =?utf-8?q?Ren=C3=A9?= <r@x.test>\r\n"
        b"To: a@x.test\r\nTo: B <b@x.test>\r\nCc: Team: c@x.test;\r\n"
        b"Bcc: d@x.test\r\nSubject: =?iso-8859-1?q?caf=E9?=\r\n =?iso-8859-1?q?_bar?=\r\n"
        b"Message-ID:\r\n <id@x.test>\r\nIn-Reply-To: your mail <a@b> of Monday\r\n"
        b"References: <r1@x>\r\n <r2@x> (comment)<r3@x>\r\n\r\nH\xe4llo\r\n"
    )
    structure = parse(data)
    assert structure.message_id == "<id@x.test>"
    assert structure.in_reply_to == "<a@b>"
    assert structure.references == ("<r1@x>", "<r2@x>", "<r3@x>")
    assert structure.subject == "café bar"
    assert structure.from_text == "René <r@x.test>"
    assert structure.to_text == "a@x.test, B <b@x.test>"
    assert structure.cc_text == "Team: c@x.test;"
    assert structure.bcc_text == "d@x.test"
    assert structure.sent_day == "2026-11-22"
    assert structure.sent == 1795419646.0
    assert structure.preview == "Hällo"
    assert structure.eight_bit


def test_no_facts():
    structure = parse(b"\r\n")
    assert (structure.message_id, structure.in_reply_to, structure.references, structure.subject) == ("", "", (), "")
    assert (structure.from_text, structure.sent, structure.sent_day, structure.preview) == ("", 0.0, "", "")
    assert not structure.eight_bit


@pytest.mark.parametrize(
    "value, found",
    [
        (b"<a@b>", "<a@b>"),
        # RFC 5322 A.6.3
        (b"<1234   @   local(blah)  .machine .example>", "<1234@local.machine.example>"),
        (b"no-brackets@x", "no-brackets@x"),
        (b"", ""),
        (b"<a@b> <c@d>", "<a@b>"),
        (b"<long-\r\n folded@x>", "<long-folded@x>"),
    ],
)
def test_message_ids(value, found):
    assert parse(b"Message-ID: " + value + b"\r\n\r\n").message_id == found


def test_references_are_bounded():
    data = b"References:" + b" <a@b>" * 2000 + b"\r\n\r\n"
    assert len(parse(data).references) == 200


def test_a_message_is_read_alike_however_often_its_types_and_addresses_came():
    data = b"From: A <a@b.example>\r\nTo: c@d.example, E <e@f.example>\r\nContent-Type: text/html\r\n\r\n<p>x</p>"
    first = parse(data, shown=False)
    shown = parse(data)
    assert parse(data, shown=False) == first and parse(data) == shown
    assert shown.bodystructure.count(b"charset") == 1
    assert (first.from_text, first.to_text) == (shown.from_text, shown.to_text)
