"""STATUS. RFC 9051 6.3.11; RFC 3501 (RECENT); RFC 7162 3.1.7; RFC 8438 (SIZE); RFC 7889 (APPENDLIMIT); RFC
8474 4.3 (MAILBOXID)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from echomox.imap import listing, response
from echomox.imapd.box import Found, find
from echomox.imapd.command import AUTHENTICATED, BadCommand, Command, Rule
from echomox.imapd.objectid import MAILBOX, object_id
from echomox.store.engine import Flag

if TYPE_CHECKING:
    from echomox.imapd.session import Session


def recent(session: Session, found: Found) -> int:
    """Messages that no session has been shown as \\Recent."""
    mailbox = found.mailbox
    if mailbox.recent >= mailbox.uidnext:
        return 0
    return sum(1 for _ in found.store.fetch(mailbox.id, mailbox.recent, mailbox.uidnext, ("uid",)))


def deleted_storage(session: Session, found: Found) -> int:
    """RFC 9208 4.1.4: octets that EXPUNGE would free."""
    mailbox = found.mailbox
    if not mailbox.deleted:
        return 0
    rows = found.store.fetch(mailbox.id, 1, mailbox.uidnext, ("flags", "size"))
    return sum(size for flags, size in rows if flags & Flag.DELETED)


ITEMS: Mapping[str, Callable[[Session, Found], int | str]] = {
    "MESSAGES": lambda session, found: found.mailbox.total,
    "RECENT": recent,
    "UIDNEXT": lambda session, found: found.mailbox.uidnext,
    "UIDVALIDITY": lambda session, found: found.mailbox.uidvalidity,
    "UNSEEN": lambda session, found: found.mailbox.unseen,
    "DELETED": lambda session, found: found.mailbox.deleted,
    "DELETED-STORAGE": deleted_storage,
    "SIZE": lambda session, found: found.mailbox.size,
    "HIGHESTMODSEQ": lambda session, found: found.mailbox.modseq,
    "MAILBOXID": lambda session, found: f"({object_id(MAILBOX, found.store, found.mailbox.id)})",
    "APPENDLIMIT": lambda session, found: session.service.limits.message_size,
}


def check_items(session: Session, items: tuple[str, ...]) -> None:
    """Before anything is said. HIGHESTMODSEQ enables CONDSTORE (RFC 7162 3.1)."""
    for item in items:
        if item not in ITEMS:
            raise BadCommand(f"Unknown STATUS item {item}")
    if "HIGHESTMODSEQ" in items:
        session.enable_condstore()


def tell_status(session: Session, found: Found, items: tuple[str, ...]) -> None:
    values = [(item, ITEMS[item](session, found)) for item in items]
    session.say(response.status_line(session.mailbox_name(found.mailbox.name), values))


def status(session: Session, arguments: listing.Status) -> None:
    check_items(session, arguments.items)
    tell_status(session, find(session, arguments.mailbox, "r"), arguments.items)


ROWS = (Command("STATUS", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("STATUS=SIZE", "OBJECTID"), listing.status, status),)
