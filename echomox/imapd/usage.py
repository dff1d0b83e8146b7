"""Quotas of an account, where IMAP asks for them: what there is, and whether more may come. RFC 9208 3 and 5."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from echomox.imapd.command import No

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echomox.imapd.session import Session
    from echomox.store.engine import AccountStore, Mailbox


class Resource(NamedTuple):
    """STORAGE counts units of 1,024 octets."""

    name: str
    used: int
    limit: int


def resources(session: Session, store: AccountStore) -> list[Resource]:
    """Those with a limit."""
    quota = session.service.quota(store.name)
    mailboxes = real(store.mailboxes())
    size, messages = used(mailboxes)
    every = (
        Resource("STORAGE", -(-size // 1024), quota.size // 1024),
        Resource("MESSAGE", messages, quota.messages),
        Resource("MAILBOX", len(mailboxes), quota.mailboxes),
    )
    return [resource for resource in every if resource.limit]


def real(mailboxes: Sequence[Mailbox]) -> list[Mailbox]:
    """Without those that only show what is in others."""
    return [mailbox for mailbox in mailboxes if mailbox.id > 0]


def used(mailboxes: Sequence[Mailbox]) -> tuple[int, int]:
    """(bytes, messages)"""
    return sum(mailbox.size for mailbox in mailboxes), sum(mailbox.total for mailbox in mailboxes)


def check_room(session: Session, store: AccountStore, size: int, messages: int) -> None:
    """Raises No [OVERQUOTA] when so much more does not fit into the account; less always does."""
    quota = session.service.quota(store.name)
    if not (quota.size or quota.messages):
        return
    old_size, old_messages = used(real(store.mailboxes()))
    if quota.size and size > 0 and old_size + size > quota.size:
        raise No("Over quota: there is no room for so many octets", "OVERQUOTA")
    if quota.messages and messages > 0 and old_messages + messages > quota.messages:
        raise No("Over quota: there may be no more messages", "OVERQUOTA")


def check_mailbox_room(session: Session, store: AccountStore) -> None:
    quota = session.service.quota(store.name)
    if quota.mailboxes and len(real(store.mailboxes())) >= quota.mailboxes:
        raise No("There may be no more mailboxes", "OVERQUOTA")
