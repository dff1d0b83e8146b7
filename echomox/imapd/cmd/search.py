"""SEARCH and UID SEARCH. RFC 9051 6.4.4; RFC 4731 (ESEARCH); RFC 5032 (WITHIN); RFC 5182
(SEARCHRES); RFC 9585 (INPROGRESS); RFC 9394 (PARTIAL); RFC 7162 3.1.5 and 3.1.6
(MODSEQ).

Sets of messages in the program are turned into UIDs of this view before the store sees them: the store knows
no numbers of ours. A search that takes long gives way every few milliseconds, and others run in between.
"""

from __future__ import annotations

from array import array
from time import monotonic
from typing import TYPE_CHECKING

from echomox.imap import response
from echomox.imap.search import And, HasFlag, Key, Not, Or, Sequence
from echomox.imap.searching import SAVED_RANGES, Search
from echomox.imap.searching import search as parse
from echomox.imap.seqset import SAVED, STAR, SequenceSet, partial_slice
from echomox.imapd.command import SELECTED, BadCommand, Command, Rule
from echomox.imapd.session import NOTHING_SAVED

if TYPE_CHECKING:
    from echomox.imapd.session import Session


PROGRESS = 10.0  # seconds of a search after which the client is told that it goes on (RFC 9585 3)


async def search(session: Session, arguments: Search) -> None:
    await answer(session, arguments, by_uid=False)


async def uid_search(session: Session, arguments: Search) -> None:
    await answer(session, arguments, by_uid=True)


async def answer(session: Session, arguments: Search, by_uid: bool) -> None:
    view = session.selected
    if arguments.modseq:
        session.enable_condstore()
    key = resolve(session, arguments.key)
    returning = arguments.returning
    if returning is None and session.rev2:
        returning = ("ALL",)  # RFC 9051 6.4.4
    saving = returning is not None and "SAVE" in returning
    if saving:
        session.saved = NOTHING_SAVED  # what stays, if the search fails (RFC 5182 2.1)
    found = await run(session, key)
    if saving and returning is not None:
        session.saved = to_save(found, returning, arguments.partial)
        if len(returning) == 1:
            return
    modseq = highest_modseq(session, found) if arguments.modseq and found else 0
    numbers = view.numbers(found, by_uid)
    if returning is None:
        session.say(response.search_line(numbers, modseq))
    else:
        session.say(response.esearch_line(session.tag, by_uid, numbers, returning, modseq, arguments.partial))


def to_save(found: list[int], returning: tuple[str, ...], partial: tuple[int, int] | None) -> array[int]:
    """RFC 5182 2.4: with MIN or MAX, and neither ALL nor COUNT, only those. RFC 9394 3.1: with PARTIAL its part."""
    if partial:
        return array("I", found[partial_slice(partial, len(found))])
    if not found or {"ALL", "COUNT"} & set(returning) or len(returning) == 1:
        return array("I", found)
    ends = {"MIN": found[0], "MAX": found[-1]}
    return array("I", sorted({ends[option] for option in returning if option in ends}))


async def run(session: Session, key: Key) -> list[int]:
    """The UIDs that match. Others have their turn between the steps of a long search."""
    view = session.selected
    steps = session.store.searching(view.mailbox_id, key, view.uids[:])
    due = monotonic() + PROGRESS
    try:
        while True:
            next(steps)
            if monotonic() > due:
                due = monotonic() + PROGRESS
                session.say(b"* OK [INPROGRESS (%b NIL NIL)] Still searching\r\n" % response.quoted(session.tag))
            await session.breathe()
    except StopIteration as end:
        found: list[int] = end.value
        return found
    finally:
        steps.close()


def resolve(session: Session, key: Key) -> Key:
    """The same program with UIDs of this view for sets, "$" and \\Recent."""
    if isinstance(key, And):
        return And(tuple(resolve(session, part) for part in key.keys))
    if isinstance(key, Or):
        return Or(resolve(session, key.left), resolve(session, key.right))
    if isinstance(key, Not):
        return Not(resolve(session, key.key))
    if isinstance(key, Sequence):
        return resolve_set(session, key)
    if isinstance(key, HasFlag) and key.flag.lower() == "\\recent":
        return Sequence(((session.selected.recent_from, STAR),), uid=True)
    return key


def resolve_set(session: Session, key: Sequence) -> Sequence:
    if session.uid_only and not key.uid and key.ranges != SAVED_RANGES:
        raise BadCommand("UIDONLY is enabled", "UIDREQUIRED")
    messages = SAVED if key.ranges == SAVED_RANGES else SequenceSet(key.ranges)
    positions = session.positions(messages, key.uid)
    uids = session.selected.uids
    return Sequence(tuple((uids[part.start], uids[part.stop - 1]) for part in positions), uid=True)


def highest_modseq(session: Session, found: list[int]) -> int:
    """Of the messages found (RFC 7162 3.1.5)."""
    wanted = set(array("I", found))
    rows = session.store.fetch(session.selected.mailbox_id, found[0], found[-1], ("uid", "modseq"))
    return max((modseq for uid, modseq in rows if uid in wanted), default=0)


CAPABILITY = ("ESEARCH", "SEARCHRES", "WITHIN", "INPROGRESS", "PARTIAL")
ROWS = (
    Command("SEARCH", SELECTED, Rule.NUMBERS, CAPABILITY, parse, search),
    Command("UID SEARCH", SELECTED, Rule.UIDS | Rule.BREAKS_SEQUENCES, CAPABILITY, parse, uid_search),
)
