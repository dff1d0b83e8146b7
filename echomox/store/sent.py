"""Whom an account has written to, and how much of late (U14, and F08 and F23 for the filter).

`correspondent` has each address once, in the form in which addresses are compared; `outgoing` counts by pieces of five
minutes, which is how exact "24 hours" is. Who has been written to is known for good, up to CORRESPONDENTS; then the one
longest not written to goes.
"""

from __future__ import annotations

# ruff: noqa: S608  # the texts put into statements are question marks
from collections.abc import Collection, Sequence

from echomox.store.database import Database
from echomox.store.engine import Correspondent, SendLimits

PIECE = 300.0
DAY = 86_400.0
CORRESPONDENTS = 100_000
_PRUNE_EVERY = 1024  # rows between two looks for too many
_BATCH = 400  # of SQLite's 999 variables


def note_sent(database: Database, outside: Sequence[str], local: Sequence[str], now: float, limits: SendLimits) -> str:
    """Notes that a message goes to these addresses, if the limits allow: "" then, else the limit that does not,
    "messages" or "recipients", and nothing is noted. Local recipients are known afterwards, and count for no limit.
    """
    outside = list(dict.fromkeys(outside))
    everybody = list(dict.fromkeys((*outside, *local)))
    if not everybody:
        return ""
    with database.write(bell=False) as write:
        known = set()
        for start in range(0, len(everybody), _BATCH):
            part = everybody[start : start + _BATCH]
            marks = ",".join("?" * len(part))
            known |= {
                row[0] for row in write.execute(f"SELECT address FROM correspondent WHERE address IN ({marks})", part)
            }
        new = sum(address not in known for address in outside)
        if outside:
            piece = int(now // PIECE)
            row = write.execute(
                "SELECT total(recipients), total(first_time) FROM outgoing WHERE piece > ?",
                (int((now - DAY) // PIECE),),
            ).fetchone()
            if limits.messages and row[0] + len(outside) > limits.messages:
                return "messages"
            if new and limits.first_time and row[1] + new > limits.first_time:
                return "recipients"
            write.execute(
                "INSERT INTO outgoing VALUES (?, ?, ?) ON CONFLICT (piece) DO UPDATE SET"
                " recipients = recipients + excluded.recipients, first_time = first_time + excluded.first_time",
                (piece, len(outside), new),
            )
            write.execute("DELETE FROM outgoing WHERE piece <= ?", (int((now - DAY) // PIECE),))
        write.executemany(
            "INSERT INTO correspondent (address, first, last, times) VALUES (?, ?, ?, 1)"
            " ON CONFLICT (address) DO UPDATE SET last = excluded.last, times = times + 1",
            ((address, now, now) for address in everybody),
        )
        newest = write.execute("SELECT max(id) FROM correspondent").fetchone()[0]
        if newest > CORRESPONDENTS and newest % _PRUNE_EVERY < len(everybody):
            write.execute(
                "DELETE FROM correspondent WHERE id IN"
                " (SELECT id FROM correspondent ORDER BY last DESC LIMIT -1 OFFSET ?)",
                (CORRESPONDENTS,),
            )
    return ""


def sent_today(database: Database, now: float) -> tuple[int, int]:
    """(recipients outside, those of them never written to before) of the last 24 hours."""
    row = database.execute(
        "SELECT total(recipients), total(first_time) FROM outgoing WHERE piece > ?", (int((now - DAY) // PIECE),)
    ).fetchone()
    return int(row[0]), int(row[1])


def correspondents(database: Database, addresses: Collection[str]) -> dict[str, Correspondent]:
    """Those of the addresses (in comparison form) that the account has written to; never one with octets that are no
    UTF-8, which a From field may have."""
    wanted = [address for address in addresses if _is_utf8(address)][:_BATCH]
    marks = ",".join("?" * len(wanted))
    rows = database.execute(f"SELECT address, first, last, times FROM correspondent WHERE address IN ({marks})", wanted)
    return {row[0]: Correspondent(*row) for row in rows.fetchall()}


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
