"""Rows of a new message, and its place in the line; within somebody's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from echomox.queue import states
from echomox.queue.model import Outgoing, QueueRecipient
from echomox.queue.routes import Question, Way, domain_of

Ways = Callable[[Question], Way]


def direct(question: Question) -> Way:
    """Where nothing is known of routes: the queue runner puts it right when its turn comes."""
    return Way(question.domain)


@dataclass(frozen=True, slots=True)
class Placing:
    """now: when it came. file: name of the large body that is on disk already, "" when the bytes go into the database.
    size: of the body.
    """

    now: float
    ways: Ways = direct
    file: str = ""
    size: int = 0


def insert(connection: sqlite3.Connection, mail: Outgoing, placing: Placing) -> list[int]:
    """One row per recipient; their ids, in their order."""
    content = _content(connection, mail, placing)
    rules = connection.execute("SELECT id, account, sender_domain, recipient_domain FROM hold_rule").fetchall()
    due = max(placing.now, mail.hold_until)
    flows: dict[str, int] = {}
    return [
        _recipient(connection, mail, recipient, (content, placing, rules, due, flows)) for recipient in mail.recipients
    ]


def _content(connection: sqlite3.Connection, mail: Outgoing, placing: Placing) -> int:
    body = mail.body if mail.body is not None and not placing.file else b""
    length = placing.size if placing.file else len(body)
    cursor = connection.execute(
        "INSERT INTO content (account, sender, message_id, subject, size, prefix, file, ret, envid, smtputf8, eightbit,"
        " binary, tls, kind, from_id, extra, log_id, received_from, queued, recipients)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            mail.account, mail.sender, mail.message_id, mail.subject, len(mail.prefix) + length, mail.prefix,
            placing.file, mail.ret, mail.envid, mail.smtputf8, mail.eightbit, mail.binary, mail.tls, mail.kind,
            mail.from_id, json.dumps(mail.extra), mail.id, mail.received_from, placing.now, len(mail.recipients),
        ),
    )  # fmt: skip
    assert cursor.lastrowid is not None
    if not placing.file:
        connection.execute("INSERT INTO body (content, data) VALUES (?, ?)", (cursor.lastrowid, body))
    return cursor.lastrowid


_Common = tuple[int, Placing, list[tuple[int, str, str, str]], float, dict[str, int]]


def _recipient(connection: sqlite3.Connection, mail: Outgoing, recipient: QueueRecipient, common: _Common) -> int:
    content, placing, rules, due, flows = common
    domain = domain_of(recipient.address)
    hold = _held_by(rules, mail, domain)
    state = states.after("", "add-held" if hold else "add")
    flow = 0
    if state == states.QUEUED:
        hop = placing.ways(Question(mail.account, mail.sender, domain, 1, mail.transport)).hop
        flow = flows.get(hop, 0)
        if not flow:
            flow = flows[hop] = flow_of(connection, mail.account, hop, due)
    cursor = connection.execute(
        "INSERT INTO message (content, flow, recipient, domain, orcpt, notify, state, hold, next_attempt, transport,"
        " require_tls) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            content, flow, recipient.address, domain, recipient.orcpt, ",".join(sorted(recipient.notify)), state, hold,
            due, mail.transport, mail.require_tls,
        ),
    )  # fmt: skip
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _held_by(rules: list[tuple[int, str, str, str]], mail: Outgoing, domain: str) -> str:
    for number, account, sender_domain, recipient_domain in rules:
        if (
            account in ("", mail.account)
            and sender_domain in ("", domain_of(mail.sender))
            and recipient_domain in ("", domain)
        ):
            return f"hold rule {number}"
    return ""


def flow_of(connection: sqlite3.Connection, account: str, hop: str, due: float) -> int:
    """The id of the flow, which has its turn at `due` at the latest."""
    rows: list[tuple[int]] = connection.execute(
        "INSERT INTO flow (account, hop, turn) VALUES (?, ?, ?)"
        " ON CONFLICT (account, hop) DO UPDATE SET turn = min(turn, excluded.turn) RETURNING id",
        (account, hop, due),
    ).fetchall()
    return rows[0][0]


def settle_flow(connection: sqlite3.Connection, flow: int, not_before: float) -> None:
    """After messages left the flow: its next turn, at the end of the line; without messages it goes."""
    earliest = connection.execute(
        "SELECT next_attempt FROM message WHERE flow = ? AND state = 'queued' ORDER BY next_attempt LIMIT 1", (flow,)
    ).fetchone()
    if earliest is None:
        connection.execute("DELETE FROM flow WHERE id = ?", (flow,))
    else:
        connection.execute("UPDATE flow SET turn = ? WHERE id = ?", (max(not_before, earliest[0]), flow))
