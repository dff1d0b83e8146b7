"""EXPUNGE and UID EXPUNGE: remove messages marked \\Deleted. RFC 9051 6.4.3, RFC 4315 2.1 (UIDPLUS), RFC 7162
3.2.7.

Removal and modseq are one store transaction; this session is told as all others are, by store.changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imapd.command import SELECTED, Command, Rule

if TYPE_CHECKING:
    from echomox.imapd.session import Session

FLAGS = Rule.BREAKS_SEQUENCES | Rule.WRITES


def expunge(session: Session, _: grammar.Nothing) -> bytes | None:
    view = session.selected
    return answer(session, b"EXPUNGE", *session.store.expunge(view.mailbox_id, None))


def uid_expunge(session: Session, arguments: grammar.Messages) -> bytes | None:
    view = session.selected
    uids = view.at(session.positions(arguments.messages, by_uid=True))
    if not uids:
        return None
    return answer(session, b"UID EXPUNGE", *session.store.expunge(view.mailbox_id, uids))


def answer(session: Session, name: bytes, uids: list[int], modseq: int) -> bytes | None:
    """RFC 7162 3.2.7: the new HIGHESTMODSEQ, when something went."""
    if uids and "CONDSTORE" in session.enabled:
        return b"[HIGHESTMODSEQ %d] %b completed" % (modseq, name)
    return None


ROWS = (
    Command("EXPUNGE", SELECTED, FLAGS, (), grammar.nothing, expunge),
    Command("UID EXPUNGE", SELECTED, FLAGS | Rule.UIDS, ("UIDPLUS",), grammar.messages, uid_expunge),
)
