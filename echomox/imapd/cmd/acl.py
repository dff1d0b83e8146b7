"""SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS. RFC 4314 3; RFC 8440 (LIST-MYRIGHTS) uses `tell_rights`.

An identifier is an account, by its name or by one of its addresses, or "anyone"; it is kept as the account's name. "-"
before it takes rights away. The owner always has all rights, which no list can change, and "anyone" is every account of
this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import acl as grammar
from echomox.imap.acl import ALL, ANYONE, changed, granted, shown
from echomox.imap.response import astring
from echomox.imapd.box import Found, find
from echomox.imapd.command import AUTHENTICATED, Command, No, Rule
from echomox.store.engine import LimitExceeded

if TYPE_CHECKING:
    from echomox.imapd.session import Session


def canonical(session: Session, identifier: str) -> str:
    """As access lists have it; raises No for nobody."""
    name = identifier.removeprefix("-")
    sign = identifier[: len(identifier) - len(name)]
    if name.lower() == ANYONE:
        return sign + ANYONE
    account = session.service.account_named(name)
    if account is None:
        raise No("There is no such account", "CANNOT")
    return sign + account


def owned(session: Session, mailbox: str) -> Found:
    """A mailbox whose list may be seen and changed."""
    found = find(session, mailbox, "a")
    if found.mailbox.id < 0:
        raise No("A virtual mailbox cannot be shared", "CANNOT")
    return found


def set_acl(session: Session, arguments: grammar.SetAcl) -> None:
    found = owned(session, arguments.mailbox)
    who = canonical(session, arguments.identifier)
    if who.removeprefix("-") == found.store.name:
        raise No("The owner has all rights", "CANNOT")
    rights = changed(found.store.acl(found.mailbox.id).get(who, ""), arguments.change, arguments.rights)
    try:
        found.store.set_acl(found.mailbox.id, {who: rights or None})
    except LimitExceeded as error:
        raise No(str(error), "LIMIT") from None


def delete_acl(session: Session, arguments: grammar.OfIdentifier) -> None:
    found = owned(session, arguments.mailbox)
    kept = found.store.acl(found.mailbox.id)
    who = arguments.identifier if arguments.identifier in kept else canonical(session, arguments.identifier)
    if who.removeprefix("-") == found.store.name:
        raise No("The owner has all rights", "CANNOT")
    if who in kept:
        found.store.set_acl(found.mailbox.id, {who: None})


def get_acl(session: Session, arguments: grammar.OfMailbox) -> None:
    found = owned(session, arguments.mailbox)
    entries = {found.store.name: ALL, **found.store.acl(found.mailbox.id)}
    pairs = b"".join(b" %b %b" % (astring(who.encode()), shown(rights).encode()) for who, rights in entries.items())
    session.say(b"* ACL %b%b\r\n" % (session.mailbox_name(found.mailbox.name), pairs))


def list_rights(session: Session, arguments: grammar.OfIdentifier) -> None:
    """RFC 4314 3.4: the identifier comes back as it was written; rights are granted one by one."""
    found = owned(session, arguments.mailbox)
    who = canonical(session, arguments.identifier)
    rights = shown(ALL) if who == found.store.name else '"" ' + " ".join(shown(ALL))
    identifier = astring(arguments.identifier.encode())
    session.say(b"* LISTRIGHTS %b %b %b\r\n" % (session.mailbox_name(found.mailbox.name), identifier, rights.encode()))


def my_rights(session: Session, arguments: grammar.OfMailbox) -> None:
    tell_rights(session, find(session, arguments.mailbox))


def rights_of(session: Session, found: Found) -> str:
    """Of this session."""
    if found.mailbox.id < 0:
        return "lrswte"
    return ALL if not found.prefix else granted(found.store.acl(found.mailbox.id), session.store.name)


def tell_rights(session: Session, found: Found) -> None:
    rights = shown(rights_of(session, found)).encode()
    session.say(b"* MYRIGHTS %b %b\r\n" % (session.mailbox_name(found.mailbox.name), rights))


FLAGS = Rule.BREAKS_SEQUENCES
CAPABILITY = ("ACL", "RIGHTS=texk")
ROWS = (
    Command("SETACL", AUTHENTICATED, FLAGS, CAPABILITY, grammar.set_acl, set_acl),
    Command("DELETEACL", AUTHENTICATED, FLAGS, CAPABILITY, grammar.of_identifier, delete_acl),
    Command("GETACL", AUTHENTICATED, FLAGS, CAPABILITY, grammar.of_mailbox, get_acl),
    Command("LISTRIGHTS", AUTHENTICATED, FLAGS, CAPABILITY, grammar.of_identifier, list_rights),
    Command("MYRIGHTS", AUTHENTICATED, FLAGS, CAPABILITY, grammar.of_mailbox, my_rights),
)
