"""How many messages one command may be about: MESSAGELIMIT and SAVELIMIT. RFC 9738; limits.imap_messages, imap_saves.

FETCH, STORE, SEARCH, MOVE and UID EXPUNGE take the messages with the highest UIDs and say in a MESSAGELIMIT code which
was the lowest; COPY, APPEND, SORT and THREAD, of which a part is worth nothing, are refused. EXPUNGE, CLOSE and STATUS
know no limit."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from echomox.imap.search import And, Key, Sequence
from echomox.imapd.command import No

if TYPE_CHECKING:
    from echomox.imapd.command import Outcome
    from echomox.imapd.session import Session


def keep_highest(session: Session, uids: array[int]) -> tuple[array[int], int]:
    """Those that the command may be about; and the lowest UID of them if others were left out, else 0."""
    most = session.service.limits.imap_messages
    if not most or len(uids) <= most:
        return uids, 0
    kept = uids[len(uids) - most :]
    return kept, kept[0]


def cut_positions(session: Session, positions: list[range]) -> tuple[list[range], int]:
    """The same for positions in the view."""
    most = session.service.limits.imap_messages
    if not most or sum(map(len, positions)) <= most:
        return positions, 0
    kept: list[range] = []
    left = most
    for part in reversed(positions):
        kept.insert(0, part[max(0, len(part) - left) :])
        left -= len(kept[0])
        if not left:
            break
    return kept, session.selected.uids[kept[0].start]


def answered(session: Session, outcome: Outcome, lowest: int) -> Outcome:
    """With the code, if something was left out; untagged when the answer has another code (RFC 9738 3.1)."""
    if not lowest:
        return outcome
    code = b"[MESSAGELIMIT %d %d]" % (session.service.limits.imap_messages, lowest)
    text = outcome or session.row.name.encode("ascii") + b" completed"
    if text.startswith(b"["):
        session.say(b"* NO %b Messages were left out\r\n" % code)
        return outcome
    return code + b" " + text


def refuse_more(session: Session, count: int) -> None:
    """Raises No when so many are not to be appended by one command."""
    most = most_saved(session)
    if most and count > most:
        raise too_many(most, 0)


def refuse_saving(session: Session, uids: array[int]) -> None:
    """The same for COPY of these."""
    most = most_saved(session)
    if most and len(uids) > most:
        raise too_many(most, uids[len(uids) - most])


def most_saved(session: Session) -> int:
    limits = session.service.limits
    return min(filter(None, (limits.imap_messages, limits.imap_saves)), default=0)


def too_many(most: int, lowest: int) -> No:
    return No("Too many messages, name fewer", f"MESSAGELIMIT {most} {lowest}" if lowest else f"MESSAGELIMIT {most}")


def searched(session: Session, key: Key, uids: array[int], whole: bool = False) -> tuple[array[int], int]:
    """The messages that a search has to look at (RFC 9738 3.1 counts these), those with the highest UIDs if there are
    too many; whole: then raises No. key: with UIDs for sets."""
    most = session.service.limits.imap_messages
    if not most or len(uids) <= most:
        return uids, 0
    for part in key.keys if isinstance(key, And) else (key,):
        if isinstance(part, Sequence) and part.uid:
            chosen: array[int] = array("I")
            for low, high in part.ranges:
                chosen += uids[bisect_left(uids, low) : bisect_right(uids, high)]
            uids = array("I", sorted(set(chosen)))
    kept, lowest = keep_highest(session, uids)
    if lowest and whole:
        raise too_many(most, lowest)
    return kept, lowest


def keywords(messages: int, saves: int) -> str:
    """Of CAPABILITY; RFC 9738 4: never both."""
    if messages:
        return f"MESSAGELIMIT={messages}"
    return f"SAVELIMIT={saves}" if saves else ""
