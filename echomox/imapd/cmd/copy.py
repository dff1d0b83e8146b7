"""COPY and MOVE. RFC 9051 6.4.7, 6.4.8; RFC 4315 3 (COPYUID); RFC 6851 (MOVE).

All messages of one command go in one transaction of the store, but for those that go to another account, which `imapd.
transfer` adds there. A move is told as others are: COPYUID first,
then what `store.changes` says has gone."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imap.response import copyuid
from echomox.imapd.box import Found, require
from echomox.imapd.cmd.append import target_of
from echomox.imapd.command import SELECTED, Command, No, Outcome, Rule
from echomox.imapd.limit import answered, keep_highest, refuse_saving
from echomox.imapd.transfer import is_simple, transfer
from echomox.imapd.usage import check_room
from echomox.store.engine import Copied

if TYPE_CHECKING:
    from echomox.imapd.session import Session


def copy(session: Session, arguments: grammar.Transfer) -> Outcome | Awaitable[Outcome]:
    return copy_messages(session, arguments, by_uid=False)


def uid_copy(session: Session, arguments: grammar.Transfer) -> Outcome | Awaitable[Outcome]:
    return copy_messages(session, arguments, by_uid=True)


def copy_messages(session: Session, arguments: grammar.Transfer, by_uid: bool) -> Outcome | Awaitable[Outcome]:
    view = session.selected
    uids = view.at(session.positions(arguments.messages, by_uid))
    target = target_of(session, arguments.mailbox)
    if not uids:
        return None
    refuse_saving(session, uids)
    check_copies(session, target, uids)
    if not is_simple(session, target):
        return copy_elsewhere(session, uids, target, by_uid)
    copied = session.box.store.copy(view.mailbox_id, uids, target.mailbox.id)
    session.brought(target.store, target.mailbox.id, copied.target)
    return copy_answer(copied, by_uid)


async def copy_elsewhere(session: Session, uids: array[int], target: Found, by_uid: bool) -> Outcome:
    copied = await transfer(session, uids, target, move=False)
    session.brought(target.store, target.mailbox.id, copied.target)
    return copy_answer(copied, by_uid)


def copy_answer(copied: Copied, by_uid: bool) -> Outcome:
    code = pairs(copied, by_uid)
    return f"[{code}] {'UID ' if by_uid else ''}COPY completed".encode("ascii") if code else None


def check_copies(session: Session, target: Found, uids: array[int]) -> None:
    """RFC 9208 5: copies count like any message, though they share their file."""
    if not session.service.quota(target.store.name):
        return
    wanted = set(uids)
    rows = session.box.store.fetch(session.selected.mailbox_id, uids[0], uids[-1], ("uid", "size"))
    check_room(session, target.store, sum(size for uid, size in rows if uid in wanted), len(uids))


def move(session: Session, arguments: grammar.Transfer) -> Outcome | Awaitable[Outcome]:
    return move_messages(session, arguments, by_uid=False)


def uid_move(session: Session, arguments: grammar.Transfer) -> Outcome | Awaitable[Outcome]:
    return move_messages(session, arguments, by_uid=True)


def move_messages(session: Session, arguments: grammar.Transfer, by_uid: bool) -> Outcome | Awaitable[Outcome]:
    """RFC 6851 3.3 and RFC 4314: "t" and "e" where they were, "i" where they go."""
    require(session, "te")
    view = session.selected
    uids = view.at(session.positions(arguments.messages, by_uid))
    target = target_of(session, arguments.mailbox)
    if not uids:
        return None
    uids, lowest = keep_highest(session, uids)
    if not is_simple(session, target):
        if target.store is not session.box.store:
            check_copies(session, target, uids)
        return move_elsewhere(session, uids, target, by_uid, lowest)
    moved = session.box.store.move(view.mailbox_id, uids, target.mailbox.id)
    session.brought(target.store, target.mailbox.id, moved.target)
    outcome = move_answer(session, moved, by_uid)
    return answered(session, outcome, lowest)


async def move_elsewhere(session: Session, uids: array[int], target: Found, by_uid: bool, lowest: int) -> Outcome:
    moved = await transfer(session, uids, target, move=True)
    session.brought(target.store, target.mailbox.id, moved.target)
    outcome = move_answer(session, moved, by_uid)
    return answered(session, outcome, lowest)


def move_answer(session: Session, moved: Copied, by_uid: bool) -> Outcome:
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
