"""STATUS. RFC 9051 6.3.11; RFC 3501 (RECENT); RFC 7162 3.1.7; RFC 8438 (SIZE); RFC 7889 (APPENDLIMIT)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from echomox.imap import listing, response
from echomox.imapd.command import AUTHENTICATED, BadCommand, Command, Rule
from echomox.store.engine import Flag, Mailbox

if TYPE_CHECKING:
    from echomox.imapd.session import Session


def recent(session: Session, mailbox: Mailbox) -> int:
    """Messages that no session has been shown as \\Recent."""
    if mailbox.recent >= mailbox.uidnext:
        return 0
    return sum(1 for _ in session.store.fetch(mailbox.id, mailbox.recent, mailbox.uidnext, ("uid",)))


def deleted_storage(session: Session, mailbox: Mailbox) -> int:
    """RFC 9208 4.1.4: octets that EXPUNGE would free."""
    if not mailbox.deleted:
        return 0
    rows = session.store.fetch(mailbox.id, 1, mailbox.uidnext, ("flags", "size"))
    return sum(size for flags, size in rows if flags & Flag.DELETED)


ITEMS: Mapping[str, Callable[[Session, Mailbox], int]] = {
    "MESSAGES": lambda session, mailbox: mailbox.total,
    "RECENT": recent,
    "UIDNEXT": lambda session, mailbox: mailbox.uidnext,
    "UIDVALIDITY": lambda session, mailbox: mailbox.uidvalidity,
    "UNSEEN": lambda session, mailbox: mailbox.unseen,
    "DELETED": lambda session, mailbox: mailbox.deleted,
    "DELETED-STORAGE": deleted_storage,
    "SIZE": lambda session, mailbox: mailbox.size,
    "HIGHESTMODSEQ": lambda session, mailbox: mailbox.modseq,
    "APPENDLIMIT": lambda session, mailbox: session.service.limits.message_size,
}


def check_items(session: Session, items: tuple[str, ...]) -> None:
    """Before anything is said. HIGHESTMODSEQ enables CONDSTORE (RFC 7162 3.1)."""
    for item in items:
        if item not in ITEMS:
            raise BadCommand(f"Unknown STATUS item {item}")
    if "HIGHESTMODSEQ" in items:
        session.enable_condstore()


def tell_status(session: Session, mailbox: Mailbox, items: tuple[str, ...]) -> None:
    values = [(item, ITEMS[item](session, mailbox)) for item in items]
    session.say(response.status_line(session.mailbox_name(mailbox.name), values))


def status(session: Session, arguments: listing.Status) -> None:
    check_items(session, arguments.items)
    tell_status(session, session.store.mailbox(arguments.mailbox), arguments.items)


ROWS = (Command("STATUS", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("STATUS=SIZE",), listing.status, status),)
