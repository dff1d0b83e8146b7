"""What is known of a message after it was parsed once: offsets for BODY[...], IMAP strings, text for search and
preview.

Offsets are into the message file (the bytes received), without the prefix of trace headers that the index keeps beside
it. `parse` (message.mime) makes a Structure from bytes; the store keeps it; FETCH never parses again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Part(NamedTuple):
    """One MIME part, in the order of the file; kept as a JSON array in the index (T04).

    path: section number as in BODY[path]: "1", "2.1"; "" for the message itself if it is a multipart (the root of the
    tree). A multipart that is not a message's root has its own path too. header_*: the part's MIME header block with
    its empty line (for a part that is the root of a message: that message's header). inner_header_size: for
    message/rfc822 and message/global, the size of the header block at `offset`; else 0. lines: of the body, for text
    and message parts.
    """

    path: str
    content_type: str
    charset: str
    encoding: str
    disposition: str
    filename: str
    header_offset: int
    header_size: int
    offset: int
    size: int
    lines: int
    inner_header_size: int


@dataclass(frozen=True, slots=True)
class Structure:
    """size: of the file. header_size: of the top header block with its empty line. envelope, body, bodystructure: ready
    for the wire, as IMAP4rev1 quoted strings and literals, 7-bit. addresses: decoded text of From, To, Cc, Bcc fields
    ("Name <a@b>, …") for search. sent: Unix seconds of the Date field and sent_day its own calendar day ("2026-11-22",
    "" when unreadable)."""

    size: int
    header_size: int
    envelope: bytes
    body: bytes
    bodystructure: bytes
    parts: tuple[Part, ...]
    message_id: str
    in_reply_to: str
    references: tuple[str, ...]
    subject: str
    from_text: str
    to_text: str
    cc_text: str
    bcc_text: str
    sent: float
    sent_day: str
    preview: str
    eight_bit: bool = False
    defects: tuple[str, ...] = ()
