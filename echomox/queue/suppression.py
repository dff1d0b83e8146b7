"""Recipients that an account sends no more mail to: because they do not exist, or because a person said so.

An address is compared by its base: lower case, without what follows a "+", and without dots where the provider ignores
them. A reply says that there is no such recipient by its enhanced code (RFC
3463 3.2) or, where that says nothing, by words that servers use.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program

from __future__ import annotations

import re
import sqlite3
import time
from dataclasses import dataclass

DOTLESS = frozenset({"gmail.com", "googlemail.com"})
NO_SUCH_USER = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
"""RFC 3463 3.2 and 3.3, RFC 7505 4.2: bad mailbox, system or syntax, moved without an address, null MX, disabled."""
SAYS_NOTHING = frozenset({"", "5.0.0", "5.1.0", "5.5.0"})
_WORDS = re.compile(
    r"user unknown|unknown user|no such (user|mailbox|recipient|person)"
    r"|(user|mailbox|recipient|account) (was )?not found"
    r"|(user|mailbox|account|address|recipient) (does not|doesn't) exist|invalid (recipient|mailbox)|unknown recipient"
    r"|recipient unknown|no mailbox here",
    re.IGNORECASE,
)
_TEXT_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Suppressed:
    account: str
    base: str
    original: str
    manual: bool
    reason: str
    hits: int
    active: bool
    created: float


def base_address(address: str) -> str:
    local, _, domain = address.lower().rpartition("@")
    base = local.partition("+")[0] or local
    if domain in DOTLESS:
        base = base.replace(".", "") or base
    return f"{base}@{domain}"


def is_no_such_user(code: int, enhanced: str, text: str) -> bool:
    """Whether a final refusal means that the recipient does not exist."""
    if code // 100 != 5:
        return False
    if enhanced in NO_SUCH_USER:
        return True
    return enhanced in SAYS_NOTHING and code in (550, 551, 553, 554) and bool(_WORDS.search(text[:_TEXT_LIMIT]))


def is_suppressed(connection: sqlite3.Connection, account: str, address: str) -> bool:
    found = connection.execute(
        "SELECT 1 FROM suppression WHERE account = ? AND base = ? AND active", (account, base_address(address))
    )
    return found.fetchone() is not None


def note_refusal(connection: sqlite3.Connection, account: str, address: str, reason: str, needed: int) -> None:
    """One more answer that there is no such recipient; from the `needed`-th on it is suppressed."""
    connection.execute(
        "INSERT INTO suppression (account, base, original, manual, reason, hits, active, created)"
        " VALUES (?, ?, ?, 0, ?, 1, ?, ?)"
        " ON CONFLICT (account, base) DO UPDATE SET hits = hits + 1, reason = excluded.reason,"
        " active = active OR hits + 1 >= ?",
        (account, base_address(address), address, reason[:_TEXT_LIMIT], needed <= 1, time.time(), needed),
    )


def add(connection: sqlite3.Connection, account: str, address: str, reason: str) -> Suppressed:
    """By hand."""
    connection.execute(
        "INSERT INTO suppression (account, base, original, manual, reason, hits, active, created)"
        " VALUES (?, ?, ?, 1, ?, 0, 1, ?)"
        " ON CONFLICT (account, base) DO UPDATE SET manual = 1, active = 1, reason = excluded.reason",
        (account, base_address(address), address, reason[:_TEXT_LIMIT], time.time()),
    )
    found = lookup(connection, account, address)
    assert found is not None
    return found


def remove(connection: sqlite3.Connection, account: str, address: str) -> bool:
    """Whether it was there."""
    cursor = connection.execute(
        "DELETE FROM suppression WHERE account = ? AND base = ?", (account, base_address(address))
    )
    return cursor.rowcount > 0


_COLUMNS = "account, base, original, manual, reason, hits, active, created"


def lookup(connection: sqlite3.Connection, account: str, address: str) -> Suppressed | None:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM suppression WHERE account = ? AND base = ?", (account, base_address(address))
    ).fetchone()
    return _suppressed(row) if row else None


def listing(connection: sqlite3.Connection, account: str, limit: int) -> list[Suppressed]:
    """account "": of all."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM suppression WHERE ? IN ('', account) ORDER BY account, base LIMIT ?", (account, limit)
    )
    return [_suppressed(row) for row in rows.fetchall()]


def _suppressed(row: tuple[str, str, str, int, str, int, int, float]) -> Suppressed:
    account, base, original, manual, reason, hits, active, created = row
    return Suppressed(account, base, original, bool(manual), reason, hits, bool(active), created)
