"""FETCH answers: a list of items is compiled once per command into columns of the store and a function from
row to bytes.

RFC 9051 6.4.5, 7.5.2. Two shapes: `Plan.line` when every item stands in the index (one `%` per message, no
file is touched), and `Plan.pieces` when sections of messages are wanted: these are read in pieces, so that a
large message never stands in memory as a whole. Nothing is parsed here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echomox.imap import response
from echomox.imap.fetch import Binary, FetchItem, Item, Section
from echomox.imap.response import FETCH_FORMS, date_time, fetch_template, literal
from echomox.imapd.command import BadCommand
from echomox.imapd.flags import FLAGS
from echomox.imapd.sections import cut, extent, needs_parts
from echomox.message.header import select_fields
from echomox.store.engine import AccountStore, Content

if TYPE_CHECKING:
    from echomox.imapd.view import View

Row = Sequence[Any]
Whole = Callable[[int, Row, AccountStore], Sequence[bytes]]
PIECE = 128 * 1024  # bytes read from a message at once
UID, BITS, KEYWORDS, MODSEQ = "uid", "flags", "keywords", "modseq"

SOURCE = ("size", "content", "prefix")
"""Columns that give a message's octets without asking the store once more."""
DIRECT: Mapping[str, str] = {
    "UID": UID,
    "MODSEQ": MODSEQ,
    "RFC822.SIZE": "size",
    "ENVELOPE": "envelope",
    "BODY": "body",
    "BODYSTRUCTURE": "bodystructure",
}
"""Items that are a column as it stands."""


def saved_date(row: Row, place: int) -> bytes:
    return date_time(row[place])


def preview(row: Row, place: int) -> bytes:
    """RFC 8970 3.1: UTF-8, at most 200 characters; known since delivery, so that LAZY makes no difference."""
    return response.nstring(row[place].encode("utf-8"))


def email_id(row: Row, place: int) -> bytes:
    """RFC 8474 5.1; see `imapd.objectid`."""
    return b"M%b" % row[place].encode("ascii")


def thread_id(row: Row, place: int) -> bytes:
    """RFC 8474 5.2."""
    return b"(T%b)" % row[place].encode("ascii")


CONVERTED: Mapping[str, tuple[str, Callable[[Row, int], bytes]]] = {
    "INTERNALDATE": ("received", saved_date),
    "SAVEDATE": ("saved", saved_date),
    "PREVIEW": ("preview", preview),
    "EMAILID": ("email_id", email_id),
    "THREADID": ("thread_id", thread_id),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """columns: of `AccountStore.fetch`; uid is always the first. line: when no file is needed. sections: `pieces` is to
    be used, or, for one that is BODY[] and a message of at most PIECE octets, `whole`."""

    columns: tuple[str, ...]
    items: tuple[FetchItem, ...]
    line: Callable[[int, Row], bytes]
    whole: Whole | None
    sections: bool
    binary: tuple[Binary, ...]
    """Items whose values `imapd.binary` makes beforehand."""
    seen: bool
    """Some section sets \\Seen."""
    recent_from: int
    by_uid: bool
    """UIDFETCH responses (RFC 9586): the number is the UID."""

    def column(self, name: str) -> int:
        return self.columns.index(name)

    @property
    def tells_flags(self) -> bool:
        return Item("FLAGS") in self.items

    def content(self, row: Row, store: AccountStore) -> Content:
        """Of a plan with sections."""
        size, content, prefix = (row[self.columns.index(name)] for name in SOURCE)
        return store.content_of(content, prefix, size)

    def pieces(
        self, number: int, row: Row, content: Content, told_flags: bool, binaries: Mapping[Binary, bytes]
    ) -> Iterator[bytes]:
        """The response with sections, in the order asked for; closes `content`. told_flags: FLAGS are added, for
        \\Seen is new. binaries: of `imapd.binary.values`."""
        try:
            yield (b"* %d UIDFETCH (" if self.by_uid else b"* %d FETCH (") % number
            space = b""
            for item in self.items:
                if isinstance(item, Section):
                    yield from section_pieces(item, space, row, self, content)
                elif isinstance(item, Binary):
                    yield b"%b%b %b" % (space, item.label, binaries[item])
                else:
                    yield space + FETCH_FORMS[item.name] % getter(item, self.columns, self.recent_from)(row)
                space = b" "
            if told_flags and not self.tells_flags:
                yield b" FLAGS " + flags_value(self.columns, self.recent_from)(row)
            yield b")\r\n"
        finally:
            content.close()


def responses(plan: Plan, view: View, store: AccountStore, uids: Sequence[int]) -> Iterator[bytes]:
    """Of these messages (ascending), as far as they are there and the client knows them; new ones are few."""
    wanted = set(uids)
    for row in list(store.fetch(view.mailbox_id, uids[0], uids[-1], plan.columns)):
        number = view.number(row[0]) if row[0] in wanted else 0
        if not number:
            continue
        number = row[0] if plan.by_uid else number
        if plan.sections:
            yield b"".join(plan.pieces(number, row, plan.content(row, store), False, {}))
        else:
            yield plan.line(number, row)


def section_pieces(section: Section, space: bytes, row: Row, plan: Plan, content: Content) -> Iterator[bytes]:
    parts = row[plan.column("parts")] if "parts" in plan.columns else ()
    found = extent(section, parts, content.prefix_size, content.size)
    if found is None:
        yield space + section.label + b" NIL"
        return
    if found.fields:
        block = content.read(found.offset, found.length)
        data = select_fields(block, section.fields, section.text == "HEADER.FIELDS")
        if section.partial:
            first, count = section.partial
            data = data[first : first + count]
        yield space + section.label + b" " + literal(without_nul(data))
        return
    offset, length, _ = cut(section, found)
    yield space + section.label + b" {%d}\r\n" % length
    while length > PIECE:
        yield without_nul(content.read(offset, PIECE))
        offset += PIECE
        length -= PIECE
    if length:
        yield without_nul(content.read(offset, length))


def without_nul(data: bytes) -> bytes:
    """RFC 9051 9, rule 3: NUL stands nowhere but in a literal8. Mail that has it in spite of all comes with the octet
    that other servers show in its place, in the same length; BINARY[...] has the mail as it is."""
    return data.replace(b"\0", b"\x80") if b"\0" in data else data


def compile_plan(items: Sequence[FetchItem], recent_from: int, sets_seen: bool, by_uid: bool = False) -> Plan:
    """items: each once. sets_seen: the mailbox is open for writing. Raises BadCommand for an item we do not
    have."""
    names = [UID]
    for item in items:
        for column in columns_of(item):
            if column not in names:
                names.append(column)
    sections = [item for item in items if isinstance(item, Section)]
    binary = tuple(item for item in items if isinstance(item, Binary))
    peeking = all(section.peek for section in sections) and all(item.peek for item in binary)
    seen = sets_seen and not peeking
    if seen:
        names += [column for column in (BITS, KEYWORDS, MODSEQ) if column not in names]
    columns = tuple(names)
    by_pieces = bool(sections or binary)
    line = no_line if by_pieces else compile_line(items, columns, recent_from, by_uid)
    alone = sections == [section_of_all(sections)] and not binary
    whole = compile_whole(items, columns, recent_from, by_uid) if alone else None
    return Plan(columns, tuple(items), line, whole, by_pieces, binary, seen, recent_from, by_uid)


def columns_of(item: FetchItem) -> tuple[str, ...]:
    if isinstance(item, Section):
        return (*SOURCE, "parts") if needs_parts(item) else SOURCE
    if isinstance(item, Binary):
        return (*SOURCE, "parts")
    if item.name in DIRECT:
        return (DIRECT[item.name],)
    if item.name in CONVERTED:
        return (CONVERTED[item.name][0],)
    if item.name == "FLAGS":
        return (BITS, KEYWORDS)
    raise BadCommand(f"Unknown item to fetch: {item.name}")


def section_of_all(sections: Sequence[Section]) -> Section | None:
    """The first that is all of the message, whatever its name: BODY[], BODY.PEEK[], RFC822."""
    return next((one for one in sections if not needs_parts(one) and one.partial is None), None)


def compile_whole(items: Sequence[FetchItem], columns: tuple[str, ...], recent_from: int, by_uid: bool) -> Whole:
    """As `compile_line`, with the octets of the one section: these stand by themselves among the pieces, so that they
    are copied once only."""
    place = next(n for n, item in enumerate(items) if isinstance(item, Section))
    head = fetch_template(items[: place + 1], by_uid).removesuffix(b"%b)\r\n") + b"{%d}\r\n"
    tail = b"".join(b" " + FETCH_FORMS[item.name] for item in items[place + 1 :] if isinstance(item, Item)) + b")\r\n"
    before = tuple(getter(item, columns, recent_from) for item in items[:place])
    after = tuple(getter(item, columns, recent_from) for item in items[place + 1 :])
    size_at, content_at, prefix_at = map(columns.index, SOURCE)

    def whole(number: int, row: Row, store: AccountStore) -> Sequence[bytes]:
        size = row[size_at]
        content = store.content_of(row[content_at], row[prefix_at], size)
        try:
            data = without_nul(content.read())
        finally:
            content.close()
        first = head % (number, *[get(row) for get in before], size)
        return first, data, tail % tuple([get(row) for get in after])

    return whole


def no_line(number: int, row: Row) -> bytes:
    raise AssertionError("a plan with sections gives pieces")


def compile_line(
    items: Sequence[FetchItem], columns: tuple[str, ...], recent_from: int, by_uid: bool
) -> Callable[[int, Row], bytes]:
    """One function for the whole response; the two shapes that clients ask for in masses have one of their
    own."""
    template = fetch_template(items, by_uid)
    names = tuple(item.name for item in items if isinstance(item, Item))
    format_flags = FLAGS.format
    if names == ("UID", "FLAGS"):

        def uid_flags(number: int, row: Row) -> bytes:
            uid, bits, keywords = row
            return template % (number, uid, format_flags(bits, keywords, uid >= recent_from))

        return uid_flags
    if len(names) == 2 and names[0] == "FLAGS" and names[1] in DIRECT and len(columns) == 4:

        def flags_value_(number: int, row: Row) -> bytes:
            uid, bits, keywords, value = row
            return template % (number, format_flags(bits, keywords, uid >= recent_from), value)

        return flags_value_
    getters = tuple(getter(item, columns, recent_from) for item in items)

    def values(number: int, row: Row) -> bytes:
        return template % (number, *[get(row) for get in getters])

    return values


def getter(item: FetchItem, columns: tuple[str, ...], recent_from: int) -> Callable[[Row], Any]:
    """From a row to the value that the item's form takes."""
    assert isinstance(item, Item), "sections have pieces"
    if item.name == "FLAGS":
        return flags_value(columns, recent_from)
    if item.name in DIRECT:
        place = columns.index(DIRECT[item.name])
        return lambda row: row[place]
    column, convert = CONVERTED[item.name]
    place = columns.index(column)
    return lambda row: convert(row, place)


def flags_value(columns: tuple[str, ...], recent_from: int) -> Callable[[Row], bytes]:
    bits, keywords = columns.index(BITS), columns.index(KEYWORDS)
    return lambda row: FLAGS.format(row[bits], row[keywords], row[0] >= recent_from)
