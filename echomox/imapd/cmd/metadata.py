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
RETENTION = "/private/vendor/echomox/retention"
"""Days after which messages are removed from a mailbox (docs/mailboxes.md); who removes them reads a number only."""
USE = "/private/specialuse"
"""What LIST shows as the special use (RFC 6154 4); CREATE alone sets it."""
TOPS = ("/private", "/shared")
"""These are not entries themselves."""
READING = frozenset("rswip")
"""Besides "l", one of them is needed to see the annotations of a mailbox (RFC 5464 3.3)."""


def readable(found: Found) -> dict[str, bytes]:
    """Entries of a mailbox that this session may see: of another account's, those below /shared."""
    kept = found.store.annotations(found.mailbox.id)
    if not found.prefix:
        use = found.mailbox.special_use
        return {**kept, USE: use.encode("ascii")} if use else {name: kept[name] for name in kept if name != USE}
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
        large = {name: len(value) for name, value in found.items() if value and len(value) > arguments.maxsize}
        longest = max(large.values(), default=0)
        found = {name: value for name, value in found.items() if name not in large}
    if found:
        tell_metadata(session, arguments.mailbox, found)
    return b"[METADATA LONGENTRIES %d] GETMETADATA completed" % longest if longest else None


def chosen(kept: Mapping[str, bytes], entries: Iterable[str], depth: int) -> dict[str, bytes | None]:
    """RFC 5464 4.2.2: with DEPTH 1 the entries right below those named too, with infinity all below. Without, None for
    those that have no value (3.2; RFC 9590 4)."""
    found: dict[str, bytes | None] = {}
    for entry in entries:
        if not depth and entry not in TOPS:
            found[entry] = kept.get(entry)
            continue
        below = entry.count("/") + depth
        for name, value in kept.items():
            if depth and (name == entry or (name.startswith(entry + "/") and name.count("/") <= below)):
                found[name] = value
    return found


def tell_metadata(session: Session, mailbox: str, values: Mapping[str, bytes | None]) -> None:
    name = session.mailbox_name(mailbox) if mailbox else b'""'
    pairs = b" ".join(entry.encode("ascii") + b" " + value_form(value) for entry, value in values.items())
    session.say(b"* METADATA %b (%b)\r\n" % (name, pairs))


def value_form(value: bytes | None) -> bytes:
    if value is None:
        return b"NIL"
    return b"~" + literal(value) if b"\0" in value else string(value)


def set_(session: Session, arguments: grammar.Set) -> None:
    store, target, values = session.store, SERVER, dict(arguments.values)
    if session.annotated is not None:
        session.annotated.look(session)  # what others did before is told; this is not
    if arguments.mailbox:
        found = find(session, arguments.mailbox, "lw")
        store, target = found.store, found.mailbox.id
        if found.prefix and any(name.startswith("/private/") for name in values):
            raise No("Private entries are the owner's", "METADATA NOPRIVATE")
        if USE in values and (values.pop(USE) or b"").lower() != found.mailbox.special_use.lower().encode("ascii"):
            raise No("The special use is given by CREATE", "USEATTR")
    shared = any(name.startswith("/shared/") for name in values)
    if target == SERVER and shared and not session.service.is_admin(session.store.name):
        raise No("Shared entries of the server are set by administrators", "NOPERM")
    if any(value is not None and len(value) > ANNOTATION_SIZE for value in values.values()):
        raise No("A value is too large", f"METADATA MAXSIZE {ANNOTATION_SIZE}")
    days = values.get(RETENTION)
    if days is not None and not (days.isdigit() and len(days) <= 5):
        raise No("How long messages are kept is a number of days, or NIL", "CANNOT")
    try:
        store.set_annotations(target, values)
    except LimitExceeded as error:
        raise No(str(error), "METADATA TOOMANY") from None


ROWS = (
    Command("GETMETADATA", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("METADATA",), grammar.get, get),
    Command("SETMETADATA", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("METADATA",), grammar.set_, set_),
)
