"""SEARCH and UID SEARCH. RFC 9051 6.4.4; RFC 4731 (ESEARCH); RFC 5032 (WITHIN); RFC 7162 3.1.5 and 3.1.6
(MODSEQ).

Sets of messages in the program are turned into UIDs of this view before the store sees them: the store knows
no numbers of ours. A program that reads text goes over the mailbox piece by piece, and others run in between.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from echomox.imap import response
from echomox.imap.search import And, Body, HasFlag, Header, Key, Not, Or, Sequence, Text
from echomox.imap.searching import SAVED_RANGES, Search
from echomox.imap.searching import search as parse
from echomox.imap.seqset import STAR, SequenceSet
from echomox.imapd.command import SELECTED, BadCommand, Command, Rule
from echomox.imapd.view import View

if TYPE_CHECKING:
    from echomox.imapd.session import Session

PIECE = 200  # messages whose text is searched before others have their turn


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
    found: list[int] = []
    step = PIECE if reads_text(key) else max(len(view.uids), 1)
    for start in range(0, len(view.uids), step):
        found += session.store.search(view.mailbox_id, key, view.uids[start : start + step])
        if step == PIECE:
            await session.breathe()
    modseq = highest_modseq(session, found) if arguments.modseq and found else 0
    numbers = view.numbers(found, by_uid)
    if arguments.returning is None:
        session.say(response.search_line(numbers, modseq))
    else:
        session.say(response.esearch_line(session.tag, by_uid, numbers, arguments.returning, modseq))


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


def reads_text(key: Key) -> bool:
    """Whether message files may have to be read."""
    if isinstance(key, And):
        return any(map(reads_text, key.keys))
    if isinstance(key, Or):
        return reads_text(key.left) or reads_text(key.right)
    if isinstance(key, Not):
        return reads_text(key.key)
    return isinstance(key, Body | Text | Header)


def highest_modseq(session: Session, found: list[int]) -> int:
    """Of the messages found (RFC 7162 3.1.5)."""
    wanted = set(array("I", found))
    rows = session.store.fetch(session.selected.mailbox_id, found[0], found[-1], ("uid", "modseq"))
    return max((modseq for uid, modseq in rows if uid in wanted), default=0)


ROWS = (
    Command("SEARCH", SELECTED, Rule.NONE, ("ESEARCH", "WITHIN"), parse, search),
    Command("UID SEARCH", SELECTED, Rule.UIDS | Rule.BREAKS_SEQUENCES, ("ESEARCH", "WITHIN"), parse, uid_search),
)
