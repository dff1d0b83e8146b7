"""Arguments of FETCH and STORE. RFC 9051 6.4.5 and 6.4.6, RFC 3501 6.4.5, RFC 3516 4.2, RFC 7162 3.1.3 and 3.1.4
(CONDSTORE).

The RFC822 items are sections under another label: RFC822.HEADER is BODY.PEEK[HEADER], RFC822.TEXT is
BODY[TEXT].
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from echomox.imap.lexer import NUMBER64, Bad, Parser
from echomox.imap.seqset import SequenceSet

PARTS = 100
"""Deepest part number that is taken."""
FIELDS = 500
"""Most header fields named in one section."""
ITEMS = 200
"""Most items of one FETCH."""

_PLAIN = frozenset(
    (
        "BODY", "BODYSTRUCTURE", "ENVELOPE", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "UID",
        "MODSEQ", "EMAILID", "THREADID", "SAVEDATE",
    )
)  # fmt: skip
_BINARY = frozenset(("BINARY", "BINARY.PEEK", "BINARY.SIZE"))
_MACROS = {
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
_PART = re.compile(rb"[1-9][0-9]{0,9}(?:\.[1-9][0-9]{0,9})*")
_TEXT = re.compile(rb"HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME", re.IGNORECASE)
_PARTIAL = re.compile(rb"<([0-9]{1,19})(?:\.([0-9]{1,19}))?>")
_OPERATION = re.compile(rb"([+-]?)FLAGS(\.SILENT)?(?= )", re.IGNORECASE)
_OPERATIONS = {b"": "set", b"+": "add", b"-": "remove"}


@dataclass(frozen=True, slots=True)
class Item:
    """name: upper case. options: PREVIEW (LAZY)."""

    name: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """BODY[...]. part: () for the message itself; text: "" (all), HEADER, HEADER.FIELDS,
    HEADER.FIELDS.NOT, TEXT, MIME; fields: lower case; partial: (first octet, most octets); label: how the
    response names it, with `<first octet>`."""

    part: tuple[int, ...]
    text: str
    fields: tuple[str, ...]
    peek: bool
    partial: tuple[int, int] | None
    label: bytes


@dataclass(frozen=True, slots=True)
class Binary:
    """BINARY[...] and BINARY.SIZE[...] (RFC 3516 4.2, RFC 9051 6.4.5): a part without its transfer encoding. part: ()
    for the whole message; size: how many octets only; partial, label: as of Section. section: of which the size is
    asked, if it is none that has an encoding."""

    part: tuple[int, ...]
    peek: bool
    size: bool
    partial: tuple[int, int] | None
    label: bytes
    section: Section | None = None


FetchItem = Item | Section | Binary

_RFC822 = {
    "RFC822": Section((), "", (), False, None, b"RFC822"),
    "RFC822.HEADER": Section((), "HEADER", (), True, None, b"RFC822.HEADER"),
    "RFC822.TEXT": Section((), "TEXT", (), False, None, b"RFC822.TEXT"),
}


@dataclass(frozen=True, slots=True)
class Fetch:
    """changed_since: 0 for none; vanished: report what was expunged since then (UID FETCH only)."""

    messages: SequenceSet
    items: tuple[FetchItem, ...]
    changed_since: int = 0
    vanished: bool = False
    partial: tuple[int, int] | None = None
    """Only this part of the messages (RFC 9394 3.3)."""


@dataclass(frozen=True, slots=True)
class Store:
    """operation: "set", "add" or "remove". unchanged_since: None for none; 0 is possible and fails for all
    (RFC 7162 3.1.3)."""

    messages: SequenceSet
    operation: str
    silent: bool
    flags: tuple[str, ...]
    unchanged_since: int | None = None


def fetch(parser: Parser) -> Fetch:
    found = _fetch(parser)
    if found.vanished:
        raise Bad("VANISHED is for UID FETCH only")  # RFC 7162 3.2.6
    return found


def uid_fetch(parser: Parser) -> Fetch:
    return _fetch(parser)


def _fetch(parser: Parser) -> Fetch:
    parser.space()
    messages = parser.sequence_set()
    parser.space()
    found = items(parser)
    changed_since, vanished, partial = 0, False, None
    if parser.accept(b" "):
        changed_since, vanished, partial = _fetch_modifiers(parser)
    parser.end()
    return Fetch(messages, found, changed_since, vanished, partial)


def items(parser: Parser) -> tuple[FetchItem, ...]:
    macro = _MACROS.get(parser.next_word())
    if macro:
        parser.word()
        return tuple(map(Item, macro))
    if not parser.next_is(b"("):
        return (_item(parser),)
    parser.open()
    items = [_item(parser)]
    while parser.accept(b" "):
        if len(items) == ITEMS:
            raise Bad(f"More than {ITEMS} items")
        items.append(_item(parser))
    parser.close()
    return tuple(items)


def _item(parser: Parser) -> FetchItem:
    name = parser.word()
    if parser.next_is(b"[") and name in ("BODY", "BODY.PEEK"):
        return _section(parser, name)
    if name in _BINARY:
        return _binary(parser, name)
    if name in _PLAIN:
        return Item(name)
    if name in _RFC822:
        return _RFC822[name]
    if name == "PREVIEW":
        return Item(name, _preview_options(parser))
    raise Bad("Unknown item to fetch")


def _preview_options(parser: Parser) -> tuple[str, ...]:
    """RFC 8970 7: PREVIEW [SP "(" LAZY ")"]."""
    if not parser.accept(b" ("):
        return ()
    if parser.word() != "LAZY":
        raise Bad("Unknown modifier of PREVIEW")
    parser.expect(b")")
    return ("LAZY",)


def _section(parser: Parser, name: str) -> Section:
    """From "[" to the end of a partial. name: what stands before it."""
    parser.expect(b"[")
    start = parser.pos
    part: tuple[int, ...] = ()
    text = ""
    fields: tuple[str, ...] = ()
    if _PART.match(parser.text, parser.pos):
        part = _part(parser)
    if part and not parser.accept(b"."):
        pass
    elif part or not parser.next_is(b"]"):
        text = parser.take(_TEXT, "a section")[0].decode("ascii").upper()
    if text == "MIME" and not part:
        raise Bad("MIME needs a part number")
    if text.startswith("HEADER.FIELDS"):
        parser.space()
        fields = _field_names(parser)
    label = name.removesuffix(".PEEK").encode("ascii") + _label(parser, start)
    parser.expect(b"]")
    partial = None if name == "BINARY.SIZE" else _partial(parser)
    if partial:
        label += b"<%d>" % partial[0]
    return Section(part, text, fields, name.endswith(".PEEK"), partial, label)


def _binary(parser: Parser, name: str) -> Binary | Section:
    """RFC 3516 7 has part numbers only between the brackets. ImapTest, and so Dovecot, have all sections there: HEADER,
    MIME and TEXT have no encoding, so they are what BODY[...] gives."""
    section = _section(parser, name)
    size = name == "BINARY.SIZE"
    if section.text and not size:
        return section
    return Binary(
        section.part, size or section.peek, size, section.partial, section.label, section if section.text else None
    )


def _part(parser: Parser) -> tuple[int, ...]:
    numbers = parser.take(_PART, "a part number")[0].split(b".")
    if len(numbers) > PARTS:
        raise Bad("Part number too deep")
    return tuple(map(int, numbers))


def _field_names(parser: Parser) -> tuple[str, ...]:
    parser.open()
    names = [_field_name(parser)]
    while parser.accept(b" "):
        if len(names) == FIELDS:
            raise Bad(f"More than {FIELDS} header fields")
        names.append(_field_name(parser))
    parser.close()
    return tuple(names)


def _field_name(parser: Parser) -> str:
    """RFC 5322 3.6.8: printing US-ASCII without the colon; others cannot be there, and cannot be echoed in
    a label."""
    name = parser.astring()
    if not name or any(octet < 33 or octet > 126 or octet == 58 for octet in name):
        raise parser.bad("the name of a header field")
    return name.decode("ascii").lower()


def _label(parser: Parser, start: int) -> bytes:
    """In brackets, as the client wrote it, but that literals come back quoted and keywords in upper case."""
    written = parser.text[start : parser.pos]
    if b"{" in written:
        probe = Parser(parser.text)
        probe.pos = start + written.index(b"(") + 1
        names = [probe.astring()]
        while probe.accept(b" "):
            names.append(probe.astring())
        quoted = (b'"%b"' % name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') for name in names)
        written = written[: written.index(b"(")] + b"(" + b" ".join(quoted) + b")"
    head, paren, names_text = written.partition(b"(")
    return b"[" + head.upper() + paren + names_text + b"]"


def _partial(parser: Parser) -> tuple[int, int] | None:
    """<first.count>, count > 0 (RFC 9051 9, partial). <first> alone, as ImapTest says it, is all from there on."""
    if not parser.next_is(b"<"):
        return None
    match = parser.take(_PARTIAL, "<first octet.number of octets>")
    first, count = int(match[1]), NUMBER64 if match[2] is None else int(match[2])
    if not count:
        raise Bad("A partial fetch of no octets")
    return first, count


def _fetch_modifiers(parser: Parser) -> tuple[int, bool, tuple[int, int] | None]:
    """(CHANGEDSINCE n [VANISHED]) (RFC 7162 3.1.4, 3.2.6), PARTIAL range (RFC 9394 3.3), in any order."""
    parser.open()
    changed_since, vanished, partial = 0, False, None
    while True:
        name = parser.word()
        if name == "CHANGEDSINCE" and not changed_since:
            parser.space()
            changed_since = parser.number64() or 1  # 0 is sent for "everything", and no message has 1
        elif name == "VANISHED" and not vanished:
            vanished = True
        elif name == "PARTIAL" and not partial:
            parser.space()
            partial = parser.partial_range()
        else:
            raise Bad("Unknown or repeated modifier of FETCH")
        if not parser.accept(b" "):
            break
    parser.close()
    if vanished and not changed_since:
        raise Bad("VANISHED needs CHANGEDSINCE")
    return changed_since, vanished, partial


def store(parser: Parser) -> Store:
    """STORE and UID STORE. Flags may stand without parentheses (RFC 9051 9, store-att-flags)."""
    parser.space()
    messages = parser.sequence_set()
    parser.space()
    unchanged_since = None
    if parser.next_is(b"("):
        parser.open()
        if parser.word() != "UNCHANGEDSINCE":
            raise Bad("Unknown modifier of STORE")
        parser.space()
        unchanged_since = parser.number64()
        parser.close()
        parser.space()
    match = parser.take(_OPERATION, "FLAGS, +FLAGS or -FLAGS")
    parser.space()
    if parser.next_is(b"("):
        flags = parser.flag_list()
    else:
        several = [parser.flag()]
        while parser.accept(b" "):
            several.append(parser.flag())
        flags = tuple(several)
    parser.end()
    return Store(messages, _OPERATIONS[match[1]], match[2] is not None, flags, unchanged_since)
