"""GETMETADATA and SETMETADATA, for mailboxes and (the empty name) for the account. RFC 5464 4; RFC 9590 3
(LIST-METADATA) uses `tell_metadata`.

/private and /shared entries are both the account's own; those of /shared are seen by whom a mailbox is shared with, and
set by whom has the right "w". Those below /shared of the account itself are what an administrator says to all, and only
one with `admin` may set them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from echomox.imap import metadata as grammar
from echomox.imap.response import literal, string
from echomox.imapd.box import Found, find
from echomox.imapd.command import AUTHENTICATED, Command, No, Rule
from echomox.store.engine import ANNOTATION_SIZE, LimitExceeded

if TYPE_CHECKING:
    from echomox.imapd.session import Session

SERVER = 0
"""Stands for the account itself."""
READING = frozenset("rswip")
"""Besides "l", one of them is needed to see the annotations of a mailbox (RFC 5464 3.3)."""


def readable(found: Found) -> dict[str, bytes]:
    """Entries of a mailbox that this session may see: of another account's, those below /shared."""
    kept = found.store.annotations(found.mailbox.id)
    if not found.prefix:
        return kept
    if not READING.intersection(found.rights):
        return {}
    return {name: value for name, value in kept.items() if name.startswith("/shared/")}


def get(session: Session, arguments: grammar.Get) -> bytes | None:
    if arguments.mailbox:
        kept = readable(find(session, arguments.mailbox, "l"))
    else:
        kept = session.store.annotations(SERVER)
    found = chosen(kept, arguments.entries, arguments.depth)
    longest = 0
    if arguments.maxsize >= 0:
        longest = max((len(value) for value in found.values() if len(value) > arguments.maxsize), default=0)
        found = {name: value for name, value in found.items() if len(value) <= arguments.maxsize}
    if found:
        tell_metadata(session, arguments.mailbox, found)
    return b"[METADATA LONGENTRIES %d] GETMETADATA completed" % longest if longest else None


def chosen(kept: Mapping[str, bytes], entries: Iterable[str], depth: int) -> dict[str, bytes]:
    """RFC 5464 4.2.2: with DEPTH 1 the entries right below those named too, with infinity all below."""
    found = {}
    for entry in entries:
        below = entry.count("/") + depth
        for name, value in kept.items():
            if name == entry or (depth and name.startswith(entry + "/") and name.count("/") <= below):
                found[name] = value
    return found


def tell_metadata(session: Session, mailbox: str, values: Mapping[str, bytes]) -> None:
    name = session.mailbox_name(mailbox) if mailbox else b'""'
    pairs = b" ".join(entry.encode("ascii") + b" " + value_form(value) for entry, value in values.items())
    session.say(b"* METADATA %b (%b)\r\n" % (name, pairs))


def value_form(value: bytes) -> bytes:
    return b"~" + literal(value) if b"\0" in value else string(value)


def set_(session: Session, arguments: grammar.Set) -> None:
    store, target = session.store, SERVER
    if arguments.mailbox:
        found = find(session, arguments.mailbox, "lw")
        store, target = found.store, found.mailbox.id
        if found.prefix and any(name.startswith("/private/") for name in arguments.values):
            raise No("Private entries are the owner's", "METADATA NOPRIVATE")
    shared = any(name.startswith("/shared/") for name in arguments.values)
    if target == SERVER and shared and not session.service.is_admin(session.store.name):
        raise No("Shared entries of the server are set by administrators", "NOPERM")
    if any(value is not None and len(value) > ANNOTATION_SIZE for value in arguments.values.values()):
        raise No("A value is too large", f"METADATA MAXSIZE {ANNOTATION_SIZE}")
    try:
        store.set_annotations(target, arguments.values)
    except LimitExceeded as error:
        raise No(str(error), "METADATA TOOMANY") from None


ROWS = (
    Command("GETMETADATA", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("METADATA",), grammar.get, get),
    Command("SETMETADATA", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("METADATA",), grammar.set_, set_),
)
