"""COPY and MOVE. RFC 9051 6.4.7, 6.4.8; RFC 4315 3 (COPYUID); RFC 6851 (MOVE).

All messages of one command go in one transaction of the store. A move is told as others are: COPYUID first,
then what `store.changes` says has gone."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imap.response import copyuid
from echomox.imapd.command import SELECTED, Command, No, Rule
from echomox.imapd.usage import check_room
from echomox.store.engine import Copied, NoSuchMailbox

if TYPE_CHECKING:
    from echomox.imapd.session import Session


def target_of(session: Session, name: str) -> int:
    try:
        return session.store.mailbox(name).id
    except NoSuchMailbox:
        raise No("No such mailbox", "TRYCREATE") from None


def copy(session: Session, arguments: grammar.Transfer) -> bytes | None:
    return copy_messages(session, arguments, by_uid=False)


def uid_copy(session: Session, arguments: grammar.Transfer) -> bytes | None:
    return copy_messages(session, arguments, by_uid=True)


def copy_messages(session: Session, arguments: grammar.Transfer, by_uid: bool) -> bytes | None:
    view = session.selected
    uids = view.at(session.positions(arguments.messages, by_uid))
    target = target_of(session, arguments.mailbox)
    if not uids:
        return None
    check_copies(session, uids)
    copied = session.store.copy(view.mailbox_id, uids, target)
    code = pairs(copied, by_uid)
    return f"[{code}] {'UID ' if by_uid else ''}COPY completed".encode("ascii") if code else None


def check_copies(session: Session, uids: array[int]) -> None:
    """RFC 9208 5: copies count like any message, though they share their file."""
    if not session.service.quota(session.store.name):
        return
    wanted = set(uids)
    rows = session.store.fetch(session.selected.mailbox_id, uids[0], uids[-1], ("uid", "size"))
    check_room(session, sum(size for uid, size in rows if uid in wanted), len(uids))


def move(session: Session, arguments: grammar.Transfer) -> bytes | None:
    return move_messages(session, arguments, by_uid=False)


def uid_move(session: Session, arguments: grammar.Transfer) -> bytes | None:
    return move_messages(session, arguments, by_uid=True)


def move_messages(session: Session, arguments: grammar.Transfer, by_uid: bool) -> bytes | None:
    view = session.selected
    uids = view.at(session.positions(arguments.messages, by_uid))
    target = target_of(session, arguments.mailbox)
    if not uids:
        return None
    moved = session.store.move(view.mailbox_id, uids, target)
    code = pairs(moved, by_uid)
    if not code:
        return None
    session.say(f"* OK [{code}] Moved\r\n".encode("ascii"))  # RFC 6851 4.3
    if "CONDSTORE" in session.enabled:
        return b"[HIGHESTMODSEQ %d] MOVE completed" % moved.modseq
    return b"MOVE completed"


def pairs(copied: Copied, by_uid: bool) -> str:
    """The COPYUID code. Messages that others have expunged stay out; when none is left, a command that named
    them by number fails (RFC 2180 4.4)."""
    if copied.source:
        return copyuid(copied.uidvalidity, zip(copied.source, copied.target))
    if not by_uid:
        raise No("The messages are gone", "EXPUNGEISSUED")
    return ""


MOVING = Rule.BREAKS_SEQUENCES | Rule.WRITES
ROWS = (
    Command("COPY", SELECTED, Rule.BREAKS_SEQUENCES | Rule.NUMBERS, (), grammar.transfer, copy),
    Command("UID COPY", SELECTED, Rule.BREAKS_SEQUENCES | Rule.UIDS, ("UIDPLUS",), grammar.transfer, uid_copy),
    Command("MOVE", SELECTED, MOVING | Rule.NUMBERS, ("MOVE",), grammar.transfer, move),
    Command("UID MOVE", SELECTED, MOVING | Rule.UIDS, ("MOVE",), grammar.transfer, uid_move),
)
