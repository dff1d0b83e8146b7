"""Object identifiers. RFC 8474 4, 5 and 8.1.

A letter for the kind (F a mailbox, M a message, T a thread), eight digits of the account's instance, so that the
mailboxes that a client sees of several accounts have different ids, and the number that the store never gives twice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from echomox.store.engine import ID_DIGITS

if TYPE_CHECKING:
    from echomox.store.engine import AccountStore

NOBODY = -1
MAILBOX, EMAIL, THREAD = "F", "M", "T"
KINDS = {"content": EMAIL, "thread": THREAD}
_FORM = re.compile(r"([FMT])([0-9a-f]{8})-([1-9][0-9]{0,17})")


def object_id(kind: str, store: AccountStore, number: int) -> str:
    return f"{kind}{store.instance()[:ID_DIGITS]}-{number}"


def mailbox_code(store: AccountStore, mailbox_id: int) -> bytes:
    """The response code without its brackets (RFC 8474 4.1 and 4.2)."""
    return b"MAILBOXID (%b)" % object_id(MAILBOX, store, mailbox_id).encode("ascii")


def number_of(store: AccountStore, field: str, value: str) -> int:
    """Of an EMAILID (field "content") or THREADID ("thread"); NOBODY for what is none of this account."""
    match = _FORM.fullmatch(value)
    if match is None or match[1] != KINDS[field] or match[2] != store.instance()[:ID_DIGITS]:
        return NOBODY
    return int(match[3])
