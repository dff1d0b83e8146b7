"""A message taken apart, once: `parse` makes the Structure that the store keeps (RFC 5322, RFC 2045, RFC
2046).

The splitter looks for delimiter lines only, with bytes.find, and notes offsets; nothing is decoded or copied
but header values. Every multipart on the way down keeps the place of its own next delimiter, never beyond
that of the one around it. So each byte is looked at once per level of nesting, and a level ends wherever an
outer delimiter stands.

What is malformed is read as Dovecot reads it, as far as that is known:
- a delimiter is any line that begins with "--" and the boundary (RFC 2046 5.1.1 asks for no more); where
several boundaries
  fit the longest is meant, and of equal ones the innermost;
- a missing end delimiter is replaced by the next outer one or the end of the data; after the end delimiter a
boundary is
  forgotten, so that what follows is epilogue;
- lines end in CRLF or LF, mixed if need be; the line end before a delimiter belongs to it;
- a header without its empty line ends at the next delimiter or the end of the data;
- a part without Content-Type, or with one that cannot be read, is text/plain, in a digest message/rfc822.
Other than there: a multipart without a usable boundary, or whose boundary never occurs, is shown as
text/plain (RFC 2045 5.2), not as an empty multipart, so that its text can be read and searched. Beyond
`Limits` a part is application/octet-stream, and multiparts are split no further. All this is noted in
`Structure.defects`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from echomox.message import bodystructure
from echomox.message.address import address_text, display, parse_addresses
from echomox.message.date import parse_date
from echomox.message.encoded import decode_parameter, decode_words
from echomox.message.entity import Entity
from echomox.message.header import DEFAULT, Limits, by_name, end_of_header, oversized, pairs_of, unfold
from echomox.message.parameters import parse_type, parse_value, token
from echomox.message.structure import Part, Structure
from echomox.message.text import preview

MAX_BOUNDARY = 250  # RFC 2046 5.1.1 allows 70
MAX_REFERENCES = 200
REPEATED = 120
"""Bytes of the value of a field that is remembered when it was read: correspondents and types of text come again."""

_MESSAGE_ID = re.compile(r"<[^<>]++>")
Pairs = list[tuple[bytes, bytes]]

_FILLING = re.compile(r"\([^()]*+\)|\s+")


def parse(data: bytes, limits: Limits = DEFAULT, *, shown: bool = True) -> Structure:
    """The Structure of a message. Takes any bytes and never raises on them; time is linear in len(data) times
    depth. shown: with what IMAP shows of it (envelope, body, bodystructure, preview), which takes half of the time."""
    splitter = _Splitter(data, limits)
    return _structure(splitter, splitter.message(0, "", 0), shown)


def parse_with_fields(data: bytes, limits: Limits = DEFAULT) -> tuple[Structure, Pairs]:
    """`parse` without what is shown, and the fields of the message's header as `header.pairs_of` finds them."""
    splitter = _Splitter(data, limits)
    root = splitter.message(0, "", 0)
    return _structure(splitter, root, False), splitter.first


def _structure(splitter: _Splitter, root: Entity, shown: bool) -> Structure:
    data, limits = splitter.data, splitter.limits
    fields = root.fields
    lists = bodystructure.address_lists(fields, limits) if shown else {}
    body, full = bodystructure.structure_of(root, limits) if shown else (b"", b"")
    addresses = [
        "" if name not in fields else display(lists[name]) if shown else _addresses(fields[name], limits.addresses)
        for name in (b"from", b"to", b"cc", b"bcc")
    ]
    parts: list[Part] = []
    _collect(root, True, parts)
    if oversized(data, 0, root.header_end, limits):
        splitter.note("header-too-large")
    sent = parse_date(unfold(fields[b"date"]).decode("latin-1")) if b"date" in fields else None
    message_ids = _message_ids(fields, b"message-id")
    replied = _message_ids(fields, b"in-reply-to")
    return Structure(
        size=len(data),
        header_size=root.header_end,
        envelope=bodystructure.envelope(fields, lists) if shown else b"",
        body=body,
        bodystructure=full,
        parts=tuple(parts),
        message_id=message_ids[0] if message_ids else "",
        in_reply_to=replied[0] if replied else "",
        references=tuple(_message_ids(fields, b"references")[-MAX_REFERENCES:]),
        subject=decode_words(unfold(fields[b"subject"])) if b"subject" in fields else "",
        from_text=addresses[0],
        to_text=addresses[1],
        cc_text=addresses[2],
        bcc_text=addresses[3],
        sent=sent.seconds if sent else 0.0,
        sent_day=sent.day if sent else "",
        preview=preview(parts, data) if shown else "",
        eight_bit=not data.isascii(),
        defects=tuple(splitter.defects),
    )


def _addresses(value: bytes, limit: int) -> str:
    """The text of an address list."""
    return _known_addresses(value, limit) if len(value) <= REPEATED else _read_addresses(value, limit)


def _read_addresses(value: bytes, limit: int) -> str:
    return display(parse_addresses(address_text(value), limit))


_known_addresses = lru_cache(maxsize=2048)(_read_addresses)
_known_type = lru_cache(maxsize=512)(parse_type)


def _message_ids(fields: dict[bytes, bytes], name: bytes) -> list[str]:
    """The <…> of a field; a value without any is one id as it stands, so that broken ids still thread."""
    if name not in fields:
        return []
    value = unfold(fields[name]).decode("utf-8", "replace")
    found = _MESSAGE_ID.findall(value)
    if " " in value or "\t" in value:  # RFC 5322 4.5.4, and folds inside long ids
        found = [_FILLING.sub("", item) for item in found]
    if found or not value or len(value) > 1000 or name != b"message-id":
        return found
    return [decode_words(value)]


class _Level:
    """A multipart that is open. at: offset of the line of the next delimiter that ends something here: its
    own (owner is this level's index) or that of a level around it; the end of the data if there is none
    (owner -1)."""

    __slots__ = ("at", "needle", "owner", "size")

    def __init__(self, boundary: bytes) -> None:
        self.needle = b"\n--" + boundary
        self.size = len(boundary) + 2
        self.at = 0
        self.owner = -1


class _Splitter:
    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.levels: list[_Level] = []
        self.parts = 0
        self.first: Pairs = []
        """The fields of the message's own header."""
        self.defects: list[str] = []

    def note(self, defect: str) -> None:
        if defect not in self.defects:
            self.defects.append(defect)

    def message(self, start: int, prefix: str, depth: int) -> Entity:
        """The message at `start`; prefix: "" or the path of the message/rfc822 part around it with a dot."""
        return self.entity(start, prefix, 0, depth)

    def entity(self, start: int, prefix: str, number: int, depth: int, digest: bool = False) -> Entity:
        """The entity at `start`, which ends before the next delimiter of the levels open now. number: of the
        part in its multipart; 0 for the root of a message, which is part 1 unless it is a multipart."""
        data, limits = self.data, self.limits
        self.parts += 1
        limit = self.levels[-1].at if self.levels else len(data)
        header_end = end_of_header(data, start, limit)
        pairs = pairs_of(data, start, header_end, limits)
        if self.parts == 1:
            self.first = pairs
        entity = Entity(f"{prefix}{number or 1}", start, header_end, by_name(pairs, limits))
        self._describe(entity, digest)
        kind = entity.type.lower()
        if kind == b"multipart":
            self._multipart(entity, prefix, number, depth)
            kind = entity.type
        elif kind == b"message" and entity.subtype.lower() in bodystructure.MESSAGES:
            self._enclosed(entity, depth)
        entity.end = self._end(header_end)
        if kind == b"text":
            _default_charset(entity)
            entity.lines = data.count(b"\n", header_end, entity.end)
        elif entity.inner is not None:
            entity.lines = data.count(b"\n", header_end, entity.end)
        return entity

    def _end(self, start: int) -> int:
        """Where a body that began at `start` ends: the line end before a delimiter is not of the body."""
        if not self.levels:
            return len(self.data)
        level = self.levels[-1]
        end = level.at
        if level.owner >= 0 and end > start:
            end -= 1
            if end > start and self.data[end - 1] == 13:
                end -= 1
        return end

    def _describe(self, entity: Entity, digest: bool) -> None:
        fields = entity.fields
        value = fields.get(b"content-type")
        known = None
        if value is not None:
            known = _known_type(value) if len(value) <= REPEATED else parse_type(value)
        if known is not None:
            entity.type, entity.subtype, parameters = known
            entity.parameters = parameters.copy()
        elif digest and value is None:
            entity.type, entity.subtype = b"message", b"rfc822"  # RFC 2046 5.1.5
        elif value is not None and value.strip():
            self.note("content-type-unreadable")
        encoding = fields.get(b"content-transfer-encoding")
        if encoding is not None:
            entity.encoding = token(encoding)
        disposition = fields.get(b"content-disposition")
        if disposition is not None:
            entity.disposition, entity.disposition_parameters = parse_value(disposition)

    def _leaf(
        self, entity: Entity, defect: str, as_type: tuple[bytes, bytes] = (b"application", b"octet-stream")
    ) -> None:
        """What cannot be shown with its parts becomes a leaf."""
        self.note(defect)
        entity.type, entity.subtype = as_type
        entity.parameters = []

    def _enclosed(self, entity: Entity, depth: int) -> None:
        if depth >= self.limits.depth or self.parts >= self.limits.parts:
            self._leaf(entity, "too-deep" if depth >= self.limits.depth else "too-many-parts")
            return
        if entity.encoding.lower() in (b"base64", b"quoted-printable"):
            self.note("message-encoded")  # RFC 2046 5.2.1 forbids it; the tree below is that of the bytes as they stand
        entity.inner = self.entity(entity.header_end, entity.path + ".", 0, depth + 1)

    def _multipart(self, entity: Entity, prefix: str, number: int, depth: int) -> None:
        boundary = next((value for name, value in entity.parameters if name == b"boundary"), b"").rstrip()
        if not boundary or len(boundary) > MAX_BOUNDARY or b"\n" in boundary:
            self._leaf(entity, "multipart-without-boundary", (b"text", b"plain"))
            return
        if depth >= self.limits.depth or self.parts >= self.limits.parts:
            self._leaf(entity, "too-deep" if depth >= self.limits.depth else "too-many-parts")
            return
        inside = prefix if number == 0 else entity.path + "."
        self.levels.append(_Level(boundary))
        self._advance(len(self.levels) - 1, entity.header_end)
        self._children(entity, inside, depth)
        self.levels.pop()
        if not entity.children:
            self._leaf(entity, "multipart-without-parts", (b"text", b"plain"))
        elif number == 0:
            entity.path = ""

    def _children(self, entity: Entity, inside: str, depth: int) -> None:
        data, mine = self.data, len(self.levels) - 1
        level = self.levels[mine]
        digest = entity.subtype.lower() == b"digest"
        while level.owner == mine:
            after = level.at + level.size
            line_end = data.find(b"\n", after) + 1 or len(data)
            closing = data.startswith(b"--", after)
            if closing and entity.children:
                return
            if self.parts >= self.limits.parts:
                self.note("too-many-parts")
                return
            self._advance(mine, line_end)
            if not closing:  # an end delimiter before any part is taken for nothing
                entity.children.append(self.entity(line_end, inside, len(entity.children) + 1, depth + 1, digest))
        self.note("multipart-not-closed")

    def _advance(self, index: int, position: int) -> None:
        """Finds the next delimiter of a level at or after `position`, the start of a line."""
        data, level = self.data, self.levels[index]
        limit, owner = len(data), -1
        if index:
            outer = self.levels[index - 1]
            limit, owner = outer.at, outer.owner
        if data.startswith(level.needle[1:], position):
            at = position
        else:
            at = data.find(level.needle, position, limit + level.size) + 1
        if not at or at > limit:
            level.at, level.owner = limit, owner
        elif at == limit and owner >= 0:
            self._settle(index, owner)
        else:
            level.at, level.owner = at, index

    def _settle(self, index: int, owner: int) -> None:
        """One line is a delimiter of two levels: the longer boundary has it, of equal ones the inner; an
        outer one that loses looks on behind the line."""
        level, other = self.levels[index], self.levels[owner]
        level.at, level.owner = other.at, owner
        if level.size < other.size:
            return
        behind = self.data.find(b"\n", level.at) + 1 or len(self.data)
        at = level.at
        for loser in range(owner, index):
            self._advance(loser, behind)
        level.at, level.owner = at, index


def _default_charset(entity: Entity) -> None:
    """RFC 2045 5.2: text without a charset is US-ASCII."""
    for name, _ in entity.parameters:
        if name in (b"charset", b"charset*"):
            return
    entity.parameters.append((b"charset", b"us-ascii"))


def _collect(entity: Entity, root: bool, out: list[Part]) -> None:
    """The parts of a tree in the order of the file. The multipart root of an enclosed message has no section
    number of its own (RFC 9051 6.4.5.1), so it is not there."""
    if entity.path or root:
        out.append(_part(entity))
    for child in entity.children:
        _collect(child, False, out)
    if entity.inner is not None:
        _collect(entity.inner, False, out)


def _part(entity: Entity) -> Part:
    charset = filename = None
    if entity.parameters:
        charset = decode_parameter("charset", entity.parameters)
        filename = decode_parameter("name", entity.parameters)
    if entity.disposition_parameters:
        filename = decode_parameter("filename", entity.disposition_parameters) or filename
    return Part(
        path=entity.path,
        content_type=f"{_lower(entity.type)}/{_lower(entity.subtype)}",
        charset=(charset or "").lower(),
        encoding=_lower(entity.encoding),
        disposition=_lower(entity.disposition),
        filename=filename or "",
        header_offset=entity.start,
        header_size=entity.header_end - entity.start,
        offset=entity.header_end,
        size=entity.end - entity.header_end,
        lines=entity.lines,
        inner_header_size=entity.inner.header_end - entity.header_end if entity.inner else 0,
    )


def _lower(value: bytes) -> str:
    return value.decode("latin-1").lower()
