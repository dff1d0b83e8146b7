"""FETCH and UID FETCH. RFC 9051 6.4.5, 6.4.9; RFC 3516 (BINARY); RFC 7162 3.1.4 (CHANGEDSINCE, MODSEQ),
3.2.6 (VANISHED); RFC 2180 4.1.

Rows come from the store in the order of UIDs, numbers from the view; what others have expunged is missing in
the rows and passed over. Output goes out in chunks, and others run in between."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from echomox.imap import fetch as grammar
from echomox.imap.fetch import FetchItem, Item
from echomox.imap.response import vanished_line
from echomox.imap.seqset import SequenceSet, partial_slice
from echomox.imapd import binary
from echomox.imapd.command import SELECTED, BadCommand, Command, No, Outcome, Rule
from echomox.imapd.limit import answered, cut_positions
from echomox.imapd.render import KEYWORDS, MODSEQ, PIECE, Plan, Row, compile_plan
from echomox.imapd.session import CHUNK
from echomox.imapd.tell import tell_keywords
from echomox.store.engine import Flag, FlagOp

if TYPE_CHECKING:
    from echomox.imapd.session import Session
    from echomox.imapd.view import View

GAP = 64  # messages not asked for that are read over rather than asking the store once more
NUMBERS = 2000  # lines that tell but a UID, joined
BATCH = 100  # messages that get \Seen in one transaction


async def fetch(session: Session, arguments: grammar.Fetch) -> Outcome:
    return await fetch_messages(session, arguments, by_uid=False)


async def uid_fetch(session: Session, arguments: grammar.Fetch) -> Outcome:
    return await fetch_messages(session, arguments, by_uid=True)


async def fetch_messages(session: Session, arguments: grammar.Fetch, by_uid: bool) -> Outcome:
    view = session.selected
    if arguments.vanished and "QRESYNC" not in session.enabled:
        raise BadCommand("QRESYNC is to be enabled first")
    items = complete(arguments, by_uid and not session.uid_only)
    if Item("MODSEQ") in items:
        session.enable_condstore()
    sets_seen = not view.read_only and "s" in session.box.rights
    plan = compile_plan(items, view.recent_from, sets_seen, by_uid=session.uid_only)
    if plan.seen and "CONDSTORE" in session.enabled:
        plan = compile_plan(with_modseq(session, items), view.recent_from, sets_seen, by_uid=session.uid_only)
    positions = session.positions(arguments.messages, by_uid)
    if arguments.partial:
        positions = part_of(positions, arguments.partial)
    positions, lowest = cut_positions(session, positions)
    if arguments.vanished:
        tell_vanished(session, arguments)
    if arguments.changed_since and view.told - arguments.changed_since < len(view):
        positions = changed_of(session, positions, arguments.changed_since)
    if plan.columns == ("uid",):  # a number keeps its UID until the client is told that the message is gone
        await fetch_numbers(session, plan, positions)
        return answered(session, None, lowest)
    rows = Rows(session, positions, plan, arguments.changed_since)
    if plan.sections:
        await fetch_sections(session, plan, rows)
    else:
        await fetch_lines(session, plan, rows)
    if rows.missing and not by_uid:
        raise No("Some of the messages have been deleted meanwhile", "EXPUNGEISSUED")
    return answered(session, None, lowest)


def part_of(positions: list[range], partial: tuple[int, int]) -> list[range]:
    """The messages at these places among those named (RFC 9394 3.3)."""
    chosen = partial_slice(partial, sum(map(len, positions)))
    found, place = [], 0
    for part in positions:
        inner = part[max(chosen.start - place, 0) : max(chosen.stop - place, 0)]
        if inner:
            found.append(inner)
        place += len(part)
    return found


def changed_of(session: Session, positions: list[range], since: int) -> list[range]:
    """Those of the messages at these positions that the store knows to have changed, for few of many."""
    view = session.selected
    changes = session.box.store.changes(view.mailbox_id, since)
    changed = SequenceSet.of(change[0] for change in changes.changed)
    found, others = [], iter(changed.uid_positions(view.uids))
    other = next(others, None)
    for part in positions:
        while other is not None and other.start < part.stop:
            both = range(max(part.start, other.start), min(part.stop, other.stop))
            if both:
                found.append(both)
            if other.stop > part.stop:
                break
            other = next(others, None)
    return found


def complete(arguments: grammar.Fetch, by_uid: bool) -> list[FetchItem]:
    """Each item once, with UID in UID FETCH (RFC 9051 6.4.9), MODSEQ with CHANGEDSINCE (RFC 7162 3.1.4.1)."""
    items: dict[FetchItem, None] = {}
    if by_uid and Item("UID") not in arguments.items:
        items[Item("UID")] = None
    for item in arguments.items:
        items[Item("PREVIEW") if isinstance(item, Item) and item.name == "PREVIEW" else item] = None
    if arguments.changed_since:
        items[Item("MODSEQ")] = None
    return list(items)


def tell_vanished(session: Session, arguments: grammar.Fetch) -> None:
    view = session.selected
    changes = session.box.store.changes(view.mailbox_id, arguments.changed_since)
    highest = max(view.uids[-1] if view.uids else 0, changes.expunged[-1] if changes.expunged else 0)
    asked = SequenceSet.of(session.saved) if arguments.messages.saved else arguments.messages
    gone = [uid for uid in changes.expunged if not view.number(uid) and asked.contains(uid, highest)]
    if gone:
        session.say(vanished_line(gone, earlier=True))


class Rows:
    """(number, row) of the messages at these positions; with UIDONLY the number is the UID. missing: some were not
    there, once all have been taken."""

    def __init__(self, session: Session, positions: list[range], plan: Plan, changed_since: int) -> None:
        self.session = session
        self.view: View = session.selected
        self.store = session.box.store
        self.positions = positions
        self.columns = plan.columns
        self.changed_since = changed_since
        self.by_uid = plan.by_uid
        self.missing = False
        # Up to `told` all keywords are announced.
        self.announces = KEYWORDS in plan.columns and self.store.modseq() != self.view.told

    def __iter__(self) -> Iterator[tuple[int, Row]]:
        for group in joined(self.positions):
            rows = self._all(group) if len(group) == 1 else self._some(group)
            if self.changed_since:
                rows = self._changed(rows)
            if self.announces:
                rows = self._announced(rows)
            yield from ((row[0], row) for row in rows_only(rows)) if self.by_uid else rows

    def _store_rows(self, group: list[range]) -> Iterator[tuple[Any, ...]]:
        uids = self.view.uids
        return self.store.fetch(self.view.mailbox_id, uids[group[0].start], uids[group[-1].stop - 1], self.columns)

    def _all(self, group: list[range]) -> Iterator[tuple[int, Row]]:
        """Every message from the first to the last."""
        place, end = group[0].start, group[0].stop
        uids = self.view.uids
        for row in self._store_rows(group):
            if uids[place] != row[0]:
                self.missing = True
                while uids[place] < row[0]:
                    place += 1
                if uids[place] != row[0]:
                    continue
            place += 1
            yield place, row
        if place < end:
            self.missing = True

    def _some(self, group: list[range]) -> Iterator[tuple[int, Row]]:
        """Those in the ranges of the group."""
        uids = self.view.uids
        wanted = {uids[place]: place + 1 for part in group for place in part}
        for row in self._store_rows(group):
            number = wanted.pop(row[0], 0)
            if number:
                yield number, row
        if wanted:
            self.missing = True

    def _announced(self, rows: Iterator[tuple[int, Row]]) -> Iterator[tuple[int, Row]]:
        """A keyword that others have brought in is in a FLAGS response before it is in a FETCH (RFC 9051 7.3.5)."""
        place, known = self.columns.index(KEYWORDS), {""}
        for item in rows:
            words = item[1][place]
            if words not in known:
                known.add(words)
                tell_keywords(self.session, self.view, (words,))
            yield item

    def _changed(self, rows: Iterator[tuple[int, Row]]) -> Iterator[tuple[int, Row]]:
        place = self.columns.index(MODSEQ)
        return ((number, row) for number, row in rows if row[place] > self.changed_since)


def rows_only(rows: Iterator[tuple[int, Row]]) -> Iterator[Row]:
    return (row for _, row in rows)


def joined(positions: list[range]) -> Iterator[list[range]]:
    """Ranges with small gaps between them, together."""
    group: list[range] = []
    for part in positions:
        if group and part.start - group[-1].stop > GAP:
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def with_modseq(session: Session, items: list[FetchItem]) -> list[FetchItem]:
    """What a FETCH that may set \\Seen has to tell besides (RFC 7162 3.1 and 3.2.4)."""
    more = [Item("UID")] if "QRESYNC" in session.enabled and not session.uid_only else []
    return list(dict.fromkeys((*items, *more, Item("MODSEQ"))))


async def fetch_numbers(session: Session, plan: Plan, positions: list[range]) -> None:
    """UID and nothing else: the view knows it, also of a message that another has just expunged (RFC 2180 4.1.1)."""
    uids = session.selected.uids
    for part in positions:
        for first in range(part.start, part.stop, NUMBERS):
            places = range(first, min(first + NUMBERS, part.stop))
            numbers = ((uids[place] if plan.by_uid else place + 1, uids[place]) for place in places)
            session.say(b"".join([plan.line(number, (uid,)) for number, uid in numbers]))
            if session.out_size >= CHUNK:
                await session.breathe()


async def fetch_lines(session: Session, plan: Plan, rows: Rows) -> None:
    """Everything is in the index."""
    line = plan.line
    lines: list[bytes] = []
    size = 0
    for number, row in rows:
        text = line(number, row)
        lines.append(text)
        size += len(text)
        if size >= CHUNK:
            session.say(b"".join(lines))
            lines.clear()
            size = 0
            await session.breathe()
    session.say(b"".join(lines))


async def fetch_sections(session: Session, plan: Plan, rows: Rows) -> None:
    """Octets of messages are wanted; those not \\Seen get it before they are told, many in one
    transaction."""
    if not plan.seen:
        for number, row in rows:
            await tell_message(session, plan, number, row, False)
        return
    batch: list[tuple[int, Row]] = []
    for number, row in rows:
        batch.append((number, row))
        if len(batch) >= BATCH:
            await tell_batch(session, plan, batch)
            batch = []
    await tell_batch(session, plan, batch)


async def tell_message(session: Session, plan: Plan, number: int, row: Row, told_flags: bool) -> None:
    if plan.whole is not None and row[plan.column("size")] <= PIECE and (not told_flags or plan.tells_flags):
        for piece in plan.whole(number, row, session.box.store):
            session.say(piece)
        if session.out_size >= CHUNK:
            await session.breathe()
        return
    content = plan.content(row, session.box.store)
    try:
        binaries = await binary.values(session, plan.binary, row[plan.column("parts")], content) if plan.binary else {}
    except BaseException:
        content.close()
        raise
    for piece in plan.pieces(number, row, content, told_flags, binaries):
        session.say(piece)
        if session.out_size >= CHUNK:
            await session.breathe()


async def tell_batch(session: Session, plan: Plan, batch: list[tuple[int, Row]]) -> None:
    changed = set_seen(session, plan, [row for _, row in batch])
    for number, row in batch:
        patched = changed.get(row[0])
        await tell_message(session, plan, number, patched or row, patched is not None)


def set_seen(session: Session, plan: Plan, rows: Sequence[Row]) -> dict[int, Row]:
    """Rows by UID as they are after \\Seen was set: those in which it is new."""
    bits = plan.column("flags")
    unseen = array("I", [row[0] for row in rows if not row[bits] & Flag.SEEN])
    if not unseen:
        return {}
    view = session.selected
    try:
        stored = session.box.store.store_flags(view.mailbox_id, unseen, FlagOp.ADD, Flag.SEEN, ())
    except OSError as error:  # a full disk: the mail can still be read
        session.log("\\Seen not stored", error=str(error))
        return {}
    now = {uid: (flags, keywords) for uid, flags, keywords in stored.changed}
    changed: dict[int, Row] = {}
    for row in rows:
        if row[0] in now:
            new = list(row)
            new[bits], new[plan.column("keywords")] = now[row[0]]
            new[plan.column(MODSEQ)] = stored.modseq
            changed[row[0]] = new
            session.told(row[0], stored.modseq)
    return changed


CAPABILITY = ("BINARY", "PARTIAL", "PREVIEW", "SAVEDATE")
ROWS = (
    Command("FETCH", SELECTED, Rule.NUMBERS, CAPABILITY, grammar.fetch, fetch),
    Command("UID FETCH", SELECTED, Rule.UIDS | Rule.BREAKS_SEQUENCES, CAPABILITY, grammar.uid_fetch, uid_fetch),
)
