"""EXPUNGE and UID EXPUNGE: remove messages marked \\Deleted. RFC 9051 6.4.3, RFC 4315 2.1 (UIDPLUS), RFC 7162
3.2.7.

Removal and modseq are one store transaction; this session is told as all others are, by store.changes.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imapd.box import require
from echomox.imapd.command import SELECTED, Command, Rule
from echomox.imapd.limit import answered, keep_highest
from echomox.store.engine import Flag

if TYPE_CHECKING:
    from echomox.imapd.session import Session

FLAGS = Rule.BREAKS_SEQUENCES | Rule.WRITES


def expunge(session: Session, _: grammar.Nothing) -> bytes | None:
    view = session.selected
    require(session, "e")
    return answer(session, b"EXPUNGE", *session.box.store.expunge(view.mailbox_id, None))


def uid_expunge(session: Session, arguments: grammar.Messages) -> bytes | None:
    view = session.selected
    require(session, "e")
    uids = view.at(session.positions(arguments.messages, by_uid=True))
    if not uids:
        return None
    uids, lowest = highest_deleted(session, uids)
    outcome = answer(session, b"UID EXPUNGE", *session.box.store.expunge(view.mailbox_id, uids))
    return answered(session, outcome, lowest)


def highest_deleted(session: Session, uids: array[int]) -> tuple[array[int], int]:
    """RFC 9738: what counts are messages with \\Deleted."""
    most = session.service.limits.imap_messages
    if not most or len(uids) <= most:
        return uids, 0
    wanted = set(uids)
    rows = session.box.store.fetch(session.selected.mailbox_id, uids[0], uids[-1], ("uid", "flags"))
    return keep_highest(session, array("I", [uid for uid, flags in rows if flags & Flag.DELETED and uid in wanted]))


def answer(session: Session, name: bytes, uids: list[int], modseq: int) -> bytes | None:
    """RFC 7162 3.2.7: the new HIGHESTMODSEQ, when something went."""
    if uids and "CONDSTORE" in session.enabled:
        return b"[HIGHESTMODSEQ %d] %b completed" % (modseq, name)
    return None


ROWS = (
    Command("EXPUNGE", SELECTED, FLAGS, (), grammar.nothing, expunge),
    Command("UID EXPUNGE", SELECTED, FLAGS | Rule.UIDS, ("UIDPLUS",), grammar.messages, uid_expunge),
)
