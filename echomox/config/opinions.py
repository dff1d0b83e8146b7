"""What an account's mailboxes say of the messages that are put into them, by their names (F07).

`junk_mailbox`, `neutral_mailbox` and `notjunk_mailbox` of the account are asked in this order; the first that fits
holds. Where two of them are set and none fits, it is what the third would say. The `introbox` comes before all: what is
there waits for the user's word (F14), which is to move it elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from echomox.config.patterns import pattern
from echomox.config.schema import Account
from echomox.config.snapshot import Snapshot

LABELS = ("spam", "", "ham")
WAITS = "waits"


class Host(Protocol):
    def snapshot(self) -> Snapshot: ...


def opinion(account: Account, mailbox: str) -> str | None:
    """"spam", "ham", "" for neither, "waits" of the introbox; None when the options say nothing. Expressions were tried
    when they were read."""
    if mailbox and mailbox == account.introbox:
        return WAITS
    options = (account.junk_mailbox, account.neutral_mailbox, account.notjunk_mailbox)
    if not any(options):
        return None
    for text, label in zip(options, LABELS):
        if text and pattern(text).fits(mailbox):
            return label
    left = [label for text, label in zip(options, LABELS) if not text]
    return left[0] if len(left) == 1 else None


def opinions(host: Host) -> Callable[[str, str], str | None]:
    """For `Engine.opinion`: by the configuration of the moment."""

    def of(account: str, mailbox: str) -> str | None:
        known = host.snapshot().dynamic.accounts.get(account)
        return opinion(known, mailbox) if known else None

    return of
