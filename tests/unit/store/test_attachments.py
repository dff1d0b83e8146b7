"""Text of attached documents, and the names of attachments, as the search sees them."""

from __future__ import annotations

import base64
import io
import zipfile

import pytest

from echomox.message.mime import parse
from echomox.store.text import attachments
from echomox.store.text.match import Needle

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODT = "application/vnd.oasis.opendocument.text"


def zipped(members: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return out.getvalue()


def message(content_type: str, data: bytes, name: str) -> bytes:
    body = base64.encodebytes(data).replace(b"\n", b"\r\n")
    head = (
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nSee below.\r\n--x\r\n"
        f'Content-Type: {content_type}\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n"
    )
    return head.encode() + body + b"--x--\r\n"


CASES = [
    (WORD, {"word/document.xml": "<w:p><w:r><w:t>Annual &amp; fi</w:t></w:r><w:t>nal</w:t></w:p><w:p>next</w:p>"},
     "a.docx", ["annual & final", "final\nnext", "a.docx"], ["w:t", "rels"]),
    ("application/octet-stream", {"word/document.xml": "<w:t>by its name</w:t>"}, "a.DOCX", ["by its name"], []),
    (SHEET, {"xl/sharedStrings.xml": "<si><t>Turnover</t></si><si><t>Gr\u00fc\u00dfe</t></si>",
             "xl/worksheets/sheet1.xml": "<row><c><v>47</v></c><c><v>11</v></c></row>", "xl/styles.xml": "<x>nope</x>"},
     "b.xlsx", ["turnover", "Gr\u00dc\u00dfe", "47 11"], ["nope"]),
    (ODT, {"content.xml": "<text:p>Der<text:s/>Plan<text:line-break/>B</text:p>", "meta.xml": "<a>author</a>"}, "c.odt",
     ["der plan\nb"], ["author"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "members", "name", "there", "absent"), CASES)
def test_documents(kind: str, members: dict[str, str], name: str, there: list[str], absent: list[str]) -> None:
    data = message(kind, zipped(members), name)
    parts = parse(data).parts
    assert [one for one in there if not Needle(one).in_parts(parts, data)] == []
    assert [one for one in absent if Needle(one).in_parts(parts, data)] == []


def test_other_attachments() -> None:
    data = message("application/json", b'{"key": "V\xc3\xa4lue"}', "d.json")
    assert Needle('"v\u00e4lue"').in_parts(parse(data).parts, data)
    data = message("text/csv", b"one;two", "e.csv")
    assert Needle("one;two").in_parts(parse(data).parts, data) and Needle("E.CSV").in_parts(parse(data).parts, data)
    data = message("image/png", b"text in it", "holiday.png")
    assert not Needle("text in it").in_parts(parse(data).parts, data)
    assert Needle("holiday.png").in_parts(parse(data).parts, data)


BROKEN = [b"", b"PK\3\4", b"x" * 100, zipped({"word/document.xml": "<w:t>a"})[:60]]


@pytest.mark.parametrize("data", BROKEN, ids=["empty", "magic", "garbage", "cut"])
def test_broken_ones_have_no_text(data: bytes) -> None:
    part = parse(message(WORD, data, "x.docx")).parts[-1]
    assert attachments.document_text(part, base64.encodebytes(data)) == ""
