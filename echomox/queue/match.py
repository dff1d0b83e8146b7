"""A report that came in, matched to the message that was sent (by what only its receivers know), and its consequences.

In this order: the id in the return address that it came to (`from_id`), the envelope id, the Message-ID of the
original; and the recipient must be one of the message's. What matches nothing is somebody else's, or forged: nothing
is done.
"""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import asdict, dataclass

from echomox.queue import suppression
from echomox.queue.dsn import IncomingReport, Told
from echomox.queue.model import Attempt
from echomox.queue.suppression import base_address

# ruff: noqa: S608  # the texts put into statements are constants of this program
_KEYS = ("from_id", "envid", "message_id")


@dataclass(frozen=True, slots=True)
class Match:
    """One recipient of a sent message that a report speaks of. id: of the queue."""

    id: int
    account: str
    recipient: str
    message_id: str
    from_id: str
    action: str
    status: str


def match_dsn(
    connection: sqlite3.Connection, account: str, from_id: str, report: IncomingReport, suppress_after: int = 1
) -> list[Match]:
    """What the report speaks of; noted with the sent messages, and failed recipients that do not exist are suppressed
    (suppress_after 0: not). account: whose address the report came to, "" for the DMARC and TLS reports of the server
    itself. Within one transaction of the caller.
    """
    found = []
    for told in report.told:
        match = _find(connection, account, (from_id, report.envid, report.message_id), told)
        if match is None:
            continue
        found.append(match)
        _note(connection, match, told, report.reporting_mta)
        if told.action == "failed" and suppress_after and _is_permanent(told):
            suppression.note_refusal(connection, account, match.recipient, f"report: {_said(told)}", suppress_after)
    return found


def _is_permanent(told: Told) -> bool:
    return suppression.is_no_such_user(550, told.status, told.diagnostic)


def _said(told: Told) -> str:
    return " ".join(filter(None, (told.status, told.diagnostic)))[:500]


def _find(connection: sqlite3.Connection, account: str, keys: tuple[str, str, str], told: Told) -> Match | None:
    wanted = {base_address(address) for address in (told.final, told.original) if address}
    for column, value in zip(_KEYS, keys):
        if not value:
            continue
        rows = connection.execute(
            f"SELECT id, recipient, message_id, from_id FROM retired WHERE {column} = ? AND account = ?"
            " AND (account != '' OR kind = 'report') LIMIT 1000",
            (value, account),
        ).fetchall()
        same = [row for row in rows if base_address(row[1]) in wanted]
        # A unique return address of one recipient is enough: the address may have been rewritten on its way.
        chosen = same or (rows if column == "from_id" and len(rows) == 1 else [])
        if chosen:
            identity, recipient, message_id, from_id = chosen[0]
            return Match(identity, account, recipient, message_id, from_id, told.action, told.status)
    return None


def _note(connection: sqlite3.Connection, match: Match, told: Told, reporter: str) -> None:
    row = connection.execute("SELECT results, status FROM retired WHERE id = ?", (match.id,)).fetchone()
    attempt = Attempt(time.time(), f"report-{told.action}", 0, told.status, told.diagnostic[:500], reporter, "", "", "")
    results = [*json.loads(row[0])[-19:], asdict(attempt)]
    status = "bounced" if told.action == "failed" else row[1]
    connection.execute(
        "UPDATE retired SET results = ?, status = ? WHERE id = ?", (json.dumps(results), status, match.id)
    )
