"""SEARCH and UID SEARCH. RFC 9051 6.4.4; RFC 4731 (ESEARCH); RFC 5032 (WITHIN); RFC 7162 3.1.5 and 3.1.6
(MODSEQ).

Sets of messages in the program are turned into UIDs of this view before the store sees them: the store knows
no numbers of ours. A search that takes long gives way every few milliseconds, and others run in between.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from echomox.imap import response
from echomox.imap.search import And, HasFlag, Key, Not, Or, Sequence
from echomox.imap.searching import SAVED_RANGES, Search
from echomox.imap.searching import search as parse
from echomox.imap.seqset import STAR, SequenceSet
from echomox.imapd.command import SELECTED, BadCommand, Command, Rule
from echomox.imapd.view import View

if TYPE_CHECKING:
    from echomox.imapd.session import Session


async def search(session: Session, arguments: Search) -> None:
    await answer(session, arguments, by_uid=False)


async def uid_search(session: Session, arguments: Search) -> None:
    await answer(session, arguments, by_uid=True)


async def answer(session: Session, arguments: Search, by_uid: bool) -> None:
    view = session.selected
    if arguments.returning is not None and "SAVE" in arguments.returning:
        raise BadCommand("Unknown RETURN option SAVE")
    if arguments.modseq:
        session.enable_condstore()
    key = resolve(arguments.key, view)
    found = await run(session, key)
    modseq = highest_modseq(session, found) if arguments.modseq and found else 0
    numbers = view.numbers(found, by_uid)
    if arguments.returning is None:
        session.say(response.search_line(numbers, modseq))
    else:
        session.say(response.esearch_line(session.tag, by_uid, numbers, arguments.returning, modseq))


async def run(session: Session, key: Key) -> list[int]:
    """The UIDs that match. Others have their turn between the steps of a long search."""
    view = session.selected
    steps = session.store.searching(view.mailbox_id, key, view.uids[:])
    try:
        while True:
            next(steps)
            await session.breathe()
    except StopIteration as end:
        found: list[int] = end.value
        return found
    finally:
        steps.close()


def resolve(key: Key, view: View) -> Key:
    """The same program with UIDs of this view for sets and for \\Recent."""
    if isinstance(key, And):
        return And(tuple(resolve(part, view) for part in key.keys))
    if isinstance(key, Or):
        return Or(resolve(key.left, view), resolve(key.right, view))
    if isinstance(key, Not):
        return Not(resolve(key.key, view))
    if isinstance(key, Sequence):
        return resolve_set(key, view)
    if isinstance(key, HasFlag) and key.flag.lower() == "\\recent":
        return Sequence(((view.recent_from, STAR),), uid=True)
    return key


def resolve_set(key: Sequence, view: View) -> Sequence:
    if key.ranges == SAVED_RANGES:
        raise BadCommand("No search result was saved")
    positions = view.positions(SequenceSet(key.ranges), key.uid)
    uids = view.uids
    return Sequence(tuple((uids[part.start], uids[part.stop - 1]) for part in positions), uid=True)


def highest_modseq(session: Session, found: list[int]) -> int:
    """Of the messages found (RFC 7162 3.1.5)."""
    wanted = set(array("I", found))
    rows = session.store.fetch(session.selected.mailbox_id, found[0], found[-1], ("uid", "modseq"))
    return max((modseq for uid, modseq in rows if uid in wanted), default=0)


ROWS = (
    Command("SEARCH", SELECTED, Rule.NONE, ("ESEARCH", "WITHIN"), parse, search),
    Command("UID SEARCH", SELECTED, Rule.UIDS | Rule.BREAKS_SEQUENCES, ("ESEARCH", "WITHIN"), parse, uid_search),
)
