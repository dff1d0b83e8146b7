"""The text of documents that are attached: those of office programs that are a ZIP of XML (Office Open XML,
OpenDocument) and of application types that are text. Pure; bounded in time and memory, whatever a
file says of itself.

PDF is left out: the libraries that read it are large, slow, or both, and are fed by strangers here. Images, sounds and
archives have no text.
"""

from __future__ import annotations

import html
import io
import re
import zipfile
import zlib

from echomox.message.structure import Part
from echomox.message.text import decode_bytes

LARGEST = 4 << 20  # bytes of a part in the message file; what is larger is not searched
LONGEST = 2 << 20  # bytes of XML of one document
MEMBERS = 200
_TEXT_TYPES = frozenset(
    ("application/json", "application/xml", "application/xhtml+xml", "application/javascript", "application/x-sh",
     "application/sql", "application/yaml", "application/ld+json", "application/rtf", "application/ics",
     "message/delivery-status", "message/disposition-notification", "message/global-delivery-status")
)  # fmt: skip
_ZIPPED_TYPE = re.compile(r"application/vnd\.(?:openxmlformats-officedocument\.|oasis\.opendocument\.)[a-z.\-]+")
_ZIPPED_NAME = re.compile(r".*\.(?:docx|xlsx|pptx|odt|ods|odp)", re.IGNORECASE | re.DOTALL)
_TEXT_MEMBER = re.compile(
    r"word/(?:document|header\d*|footer\d*|footnotes|comments)\.xml|xl/(?:sharedStrings|worksheets/sheet\d+)\.xml"
    r"|ppt/(?:slides|notesSlides)/[A-Za-z]+\d+\.xml|content\.xml"
)
_LINE_END = re.compile(r"</(?:w:p|a:p|text:p|text:h|si|row|table:table-row)>|<(?:w:br|w:cr|text:line-break)\b[^>]*>")
_GAP = re.compile(r"<(?:w:tab|text:tab|text:s)\b[^>]*>|</(?:c|w:tc|table:table-cell)>")
_TAG = re.compile(r"<[^>]*>")


def is_document(part: Part) -> bool:
    return part.size <= LARGEST and (
        part.content_type in _TEXT_TYPES
        or _ZIPPED_TYPE.fullmatch(part.content_type) is not None
        or (part.content_type.startswith("application/") and _ZIPPED_NAME.fullmatch(part.filename) is not None)
    )


def document_text(part: Part, data: bytes) -> str:
    """data: of the part as it is in the message; "" for what cannot be read."""
    raw = decode_bytes(part._replace(offset=0, size=len(data)), data, LARGEST)
    if part.content_type in _TEXT_TYPES:
        return raw.decode("utf-8", "replace")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return _zipped(archive)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, RuntimeError, NotImplementedError, KeyError):
        return ""


def _zipped(archive: zipfile.ZipFile) -> str:
    left, texts = LONGEST, []
    for info in archive.infolist()[:MEMBERS]:
        if _TEXT_MEMBER.fullmatch(info.filename):
            with archive.open(info) as member:
                xml = member.read(left)  # no more, whatever the directory says
            left -= len(xml)
            texts.append(_xml_text(xml.decode("utf-8", "replace")))
            if left <= 0:
                break
    return "\n".join(texts)


def _xml_text(xml: str) -> str:
    return html.unescape(_TAG.sub("", _GAP.sub(" ", _LINE_END.sub("\n", xml))))
