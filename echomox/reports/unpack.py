"""The attachments of a report mail, decompressed within bounds: gzip, zip, plain XML or JSON, whatever they are called.

A bomb costs at most SIZE bytes of memory and the time to make them. Pure; raises BadReport for what is broken or too
large.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence

from echomox.message.structure import Part
from echomox.message.text import decode_bytes
from echomox.reports.model import BadReport

SIZE = 25 << 20  # bytes of one report, decompressed, and of an attachment
DOCUMENTS = 5  # of one mail
PARTS = 50  # looked at
MEMBERS = 10  # of one gzip file or zip archive
DIRECTORY = 65_536  # bytes of a zip's directory
_SKIPPED = ("text/plain", "text/html", "message/delivery-status", "text/rfc822-headers", "message/rfc822")
_END = b"PK\x05\x06"
_LOCATOR = b"PK\x06\x07"


def documents(source: bytes, parts: Sequence[Part]) -> Iterator[bytes]:
    """The XML or JSON documents of a mail, in its order. parts: of the parsed message."""
    found = 0
    for part in parts[:PARTS]:
        kind = part.content_type.lower()
        if kind.startswith("multipart/") or kind in _SKIPPED or not part.size:
            continue
        for document in unpack(decode_bytes(part, source, SIZE + 1)):
            yield document
            found += 1
            if found >= DOCUMENTS:
                return


def unpack(data: bytes) -> list[bytes]:
    """The documents in one attachment; [] for what is none."""
    if len(data) > SIZE:
        raise BadReport(f"an attachment is larger than {SIZE} bytes")
    if data[:2] == b"\x1f\x8b":
        found = [_gunzip(data)]
    elif data[:4] == b"PK\x03\x04":
        found = _unzip(data)
    else:
        found = [data]
    return [one for one in found if _is_document(one)]


def _is_document(data: bytes) -> bool:
    start = data[:1000].removeprefix(b"\xef\xbb\xbf").lstrip()
    return start[:1] in (b"<", b"{") or data[:2] in (b"\xff\xfe", b"\xfe\xff")


def _gunzip(data: bytes) -> bytes:
    """All members; what follows them is ignored."""
    made = bytearray()
    for _ in range(MEMBERS):
        member = zlib.decompressobj(31)
        try:
            made += member.decompress(data, SIZE + 1 - len(made))
        except zlib.error as error:
            raise BadReport(f"broken gzip: {error}") from None
        if len(made) > SIZE or (member.unconsumed_tail and not member.eof):
            raise BadReport(f"more than {SIZE} bytes when decompressed")
        if not member.eof:
            raise BadReport("the gzip file is cut short")
        data = member.unused_data
        if data[:2] != b"\x1f\x8b":
            break
    return bytes(made)


def _unzip(data: bytes) -> list[bytes]:
    """Its files, together of at most SIZE bytes."""
    _check_directory(data)
    found, room = [], SIZE
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist()[:MEMBERS]:
                if info.is_dir():
                    continue
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise BadReport("a zip archive with an unusual compression")
                with archive.open(info) as file:
                    made = file.read(room + 1)
                if len(made) > room:
                    raise BadReport(f"more than {SIZE} bytes when decompressed")
                room -= len(made)
                found.append(made)
    except BadReport:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, struct.error, ValueError, RuntimeError) as error:
        raise BadReport(f"broken zip: {error}") from None
    return found


def _check_directory(data: bytes) -> None:
    """zipfile reads the whole directory at once, as large as the archive says it is."""
    place = data.rfind(_END, max(0, len(data) - 65_557))
    if place < 0 or len(data) < place + 22:
        raise BadReport("broken zip: no directory")
    (size,) = struct.unpack_from("<L", data, place + 12)
    if size > DIRECTORY or _LOCATOR in data[max(0, place - 20) : place]:
        raise BadReport("a zip archive with too large a directory")
