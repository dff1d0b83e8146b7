"""GETQUOTA, GETQUOTAROOT, SETQUOTA. RFC 9208 4.

An account is one quota root, named ""; that of another account that shares a mailbox is "Other Users/<account>". An
administrator may set the limits of the own account, which changes domains.toml by way of the control worker; all others
may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import quota as grammar
from echomox.imap.response import quoted
from echomox.imapd.box import Found, find, is_elsewhere, shared_mailboxes
from echomox.imapd.command import AUTHENTICATED, Command, No, Rule
from echomox.imapd.usage import resources
from echomox.ipc.control import ControlError, perform
from echomox.store.engine import SEPARATOR

if TYPE_CHECKING:
    from echomox.imapd.session import Session
    from echomox.store.engine import AccountStore

ROOT = ""
SETTINGS = {"STORAGE": "quota", "MESSAGE": "quota_messages", "MAILBOX": "quota_mailboxes"}
"""Options of an account by resource."""


def quota_line(session: Session, store: AccountStore, root: str) -> bytes:
    """b"" where nothing is limited: there is no quota root then, and no list of nothing (RFC 9208 3.2, 7)."""
    values = " ".join(f"{one.name} {one.used} {one.limit}" for one in resources(session, store))
    return b"* QUOTA %b (%b)\r\n" % (root_form(root), values.encode("ascii")) if values else b""


def root_form(root: str) -> bytes:
    return quoted(root.encode("ascii"))


def root_of(found: Found) -> str:
    """The owner's quota counts for what is shared."""
    return found.prefix.removesuffix(SEPARATOR)


def get_quota(session: Session, arguments: grammar.Root) -> None:
    store = session.store if arguments.root == ROOT else None
    for found in shared_mailboxes(session) if is_elsewhere(arguments.root) else ():
        if root_of(found) == arguments.root and "r" in found.rights:
            store = found.store
            break
    line = quota_line(session, store, arguments.root) if store is not None else b""
    if not line:
        raise No("No such quota root" if store is None else "Nothing is limited here", "NONEXISTENT")
    session.say(line)


def get_quota_root(session: Session, arguments: grammar.OfMailbox) -> None:
    """RFC 9208 4.2.2: the mailbox need not exist."""
    store, root = session.store, ROOT
    if is_elsewhere(arguments.mailbox):
        found = find(session, arguments.mailbox, "r")
        store, root = found.store, root_of(found)
    line = quota_line(session, store, root)
    named = b" " + root_form(root) if line else b""
    session.say(b"* QUOTAROOT %b%b\r\n%b" % (session.mailbox_name(arguments.mailbox), named, line))


async def set_quota(session: Session, arguments: grammar.Limits) -> None:
    """RFC 9208 4.1.3: a resource that is not named loses its limit."""
    if arguments.root != ROOT:
        raise No("No such quota root", "NONEXISTENT")
    if not session.service.is_admin(session.store.name):
        raise No("Quotas are set by administrators", "NOPERM")
    unknown = [name for name in arguments.limits if name not in SETTINGS]
    if unknown:
        raise No(f"No resource {unknown[0]}", "CANNOT")
    scale = {"STORAGE": 1024}
    settings = {option: arguments.limits.get(name, 0) * scale.get(name, 1) for name, option in SETTINGS.items()}
    try:
        await perform(session.service.control, "account.set", {"name": session.store.name, "settings": settings})
    except ControlError as error:
        raise No(str(error), "UNAVAILABLE") from None
    session.say(quota_line(session, session.store, ROOT))


RESOURCES = ("QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", "QUOTA=RES-MAILBOX")
ROWS = (
    Command("GETQUOTA", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("QUOTA", *RESOURCES), grammar.root, get_quota),
    Command("GETQUOTAROOT", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("QUOTA",), grammar.of_mailbox, get_quota_root),
    Command("SETQUOTA", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("QUOTASET",), grammar.limits, set_quota),
)
