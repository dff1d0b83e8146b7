"""What an account may hold (RFC 9208's resources STORAGE, MESSAGE and MAILBOX): the account's own limits, else those of
the domain of its first address, else the server's."""

from __future__ import annotations

from typing import NamedTuple

from echomox.config.schema import Dynamic, Limits


class Quota(NamedTuple):
    """Bytes of mail, messages, mailboxes. 0: no limit."""

    size: int
    messages: int
    mailboxes: int

    def __bool__(self) -> bool:
        return any(self)


def quota_of(dynamic: Dynamic, limits: Limits, account: str) -> Quota:
    """account: a configured one; KeyError else."""
    own = dynamic.accounts[account]
    address = own.addresses[0] if own.addresses else ""
    domain = dynamic.domains.get(address.rpartition("@")[2])
    return Quota(
        own.quota or (domain.quota if domain else 0) or limits.quota,
        own.quota_messages or (domain.quota_messages if domain else 0) or limits.quota_messages,
        own.quota_mailboxes,
    )
