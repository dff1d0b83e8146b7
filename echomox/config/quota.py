"""What an account may hold (RFC 9208's resources STORAGE, MESSAGE and MAILBOX): the account's own limits, else those of
the domain of its first address, else the server's."""

from __future__ import annotations

from typing import NamedTuple

from echomox.config.names import domain_key
from echomox.config.schema import Account, Dynamic, Limits


class Quota(NamedTuple):
    """Bytes of mail, messages, mailboxes. 0: no limit."""

    size: int
    messages: int
    mailboxes: int

    def __bool__(self) -> bool:
        return any(self)


def home_domain(dynamic: Dynamic, account: Account) -> str:
    """The domain of an account's first address, however that is spelt; "" without one."""
    name = account.addresses[0].rpartition("@")[2] if account.addresses else ""
    if not name or name in dynamic.domains:
        return name
    try:
        return domain_key(name)
    except ValueError:
        return ""


def quota_of(dynamic: Dynamic, limits: Limits, account: str) -> Quota:
    """account: a configured one; KeyError else."""
    own = dynamic.accounts[account]
    domain = dynamic.domains.get(home_domain(dynamic, own))
    return Quota(
        own.quota or (domain.quota if domain else 0) or limits.quota,
        own.quota_messages or (domain.quota_messages if domain else 0) or limits.quota_messages,
        own.quota_mailboxes,
    )
