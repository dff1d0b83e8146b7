"""What an administrator may ask of the queue and do with it; each function is one transaction of its caller.

What is leased (being delivered this moment) is shown, and left alone by every change: states.TRANSITIONS says so. The
four fields of Q10 and the nine of Q11 have the names of the seed's tables.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from echomox.queue.database import file_path
from echomox.queue.insert import Ways, flow_of, settle_flow
from echomox.queue.routes import Question
from echomox.queue.states import QUEUED, STATES, states_for

MOST = 10_000
"""Messages that one request lists or changes."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What is not given says nothing. Domains are compared whole, `sender`, `recipient` and `subject` by a part.
    before: queued before that time. after: ids above it, for paging.
    """

    ids: tuple[int, ...] = ()
    account: str | None = None
    sender: str = ""
    sender_domain: str = ""
    recipient: str = ""
    recipient_domain: str = ""
    subject: str = ""
    state: str = ""
    transport: str | None = None
    kind: str = ""
    before: float = 0.0
    after: int = 0

    def is_empty(self) -> bool:
        return all(getattr(self, field.name) == field.default for field in fields(self))


_JOINED = "message m JOIN content c ON c.id = m.content"
_COLUMNS = (
    "m.id, c.message_id, c.sender, m.recipient, c.queued, c.size, c.tls, m.require_tls, m.transport, m.attempts,"
    " m.next_attempt, m.state, c.account, m.last_error, c.kind, m.hold, c.from_id, c.subject, m.domain, m.content"
)
_NAMES = (
    "ID", "MessageID", "Sender", "RcptTo", "Queued", "Size", "IsTLS", "RequireTLS", "Transport", "Attempts",
    "NextAttempt", "Status", "Account", "LastError", "Kind", "Hold", "FromID", "Subject", "Domain", "Content",
)  # fmt: skip


def _where(wanted: Filter) -> tuple[str, list[Any]]:
    parts: list[str] = ["m.id > ?"]
    values: list[Any] = [wanted.after]
    if wanted.ids:
        parts.append("m.id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(wanted.ids))
    exact = (("c.account", wanted.account), ("m.transport", wanted.transport))
    for column, value in exact:
        if value is not None:
            parts.append(f"{column} = ?")
            values.append(value)
    for column, text in (
        ("m.state", wanted.state),
        ("c.kind", wanted.kind),
        ("m.domain", wanted.recipient_domain.lower()),
    ):
        if text:
            parts.append(f"{column} = ?")
            values.append(text)
    for column, text in (("c.sender", wanted.sender), ("m.recipient", wanted.recipient), ("c.subject", wanted.subject)):
        if text:
            parts.append(f"instr(lower({column}), ?)")
            values.append(text.lower())
    if wanted.sender_domain:
        parts.append("lower(c.sender) LIKE ? ESCAPE '\\'")
        values.append("%@" + _like(wanted.sender_domain.lower()))
    if wanted.before:
        parts.append("c.queued < ?")
        values.append(wanted.before)
    return " AND ".join(parts), values


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def listing(connection: sqlite3.Connection, wanted: Filter, limit: int, max_attempts: int) -> list[dict[str, Any]]:
    where, values = _where(wanted)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM {_JOINED} WHERE {where} ORDER BY m.id LIMIT ?", (*values, min(limit, MOST))
    ).fetchall()
    return [_shown(row, max_attempts) for row in rows]


def _shown(row: Sequence[Any], max_attempts: int) -> dict[str, Any]:
    found = dict(zip(_NAMES, row))
    found["MaxAttempts"] = max_attempts
    found["IsTLS"] = bool(found["IsTLS"])
    found["RequireTLS"] = None if found["RequireTLS"] is None else bool(found["RequireTLS"])
    return found


def show(connection: sqlite3.Connection, identity: int, max_attempts: int) -> dict[str, Any] | None:
    """All that is known of one message, its tries included."""
    row = connection.execute(
        f"SELECT {_COLUMNS}, m.results, m.orcpt, m.notify, c.envid, c.ret, c.smtputf8, c.extra, c.received_from,"
        f" c.log_id, m.holder FROM {_JOINED} WHERE m.id = ?",
        (identity,),
    ).fetchone()
    if row is None:
        return None
    found = _shown(row, max_attempts)
    rest = ("Results", "ORCPT", "Notify", "EnvID", "Ret", "SMTPUTF8", "Extra", "ReceivedFrom", "LogID", "Holder")
    found.update(zip(rest, row[len(_NAMES) :]))
    found["Results"] = json.loads(found["Results"])
    found["Extra"] = json.loads(found["Extra"])
    found["Notify"] = found["Notify"].split(",")
    found["SMTPUTF8"] = bool(found["SMTPUTF8"])
    return found


def piece(
    connection: sqlite3.Connection, directory: Path, identity: int, span: tuple[int, int]
) -> tuple[int, bytes] | None:
    """(size of the whole message as it will be sent, the bytes of it from span[0], at most span[1]); None when there
    is no such message. Raises OSError."""
    query = f"SELECT c.prefix, c.file, c.id, c.size FROM {_JOINED} WHERE m.id = ?"
    row = connection.execute(query, (identity,)).fetchone()
    if row is None:
        return None
    prefix, name, number, size = row
    start, length = span
    if not name:
        body = connection.execute("SELECT data FROM body WHERE content = ?", (number,)).fetchone()[0]
        return size, (prefix + body)[start : start + length]
    found = prefix[start : start + length]
    with open(file_path(directory, name), "rb") as file:
        file.seek(max(0, start - len(prefix)))
        return size, found + file.read(length - len(found))


def select(connection: sqlite3.Connection, wanted: Filter, event: str) -> list[int]:
    """Ids of the messages that fit and that the event may happen to, at most MOST."""
    where, values = _where(wanted)
    rows = connection.execute(
        f"SELECT m.id FROM {_JOINED} WHERE {where} AND m.state IN (SELECT value FROM json_each(?))"
        " ORDER BY m.id LIMIT ?",
        (*values, json.dumps(states_for(event)), MOST),
    ).fetchall()
    return [row[0] for row in rows]


def hold(connection: sqlite3.Connection, ids: Sequence[int], reason: str) -> int:
    flows = _flows(connection, ids)
    changed = _update(connection, ids, "hold", "state = 'held', hold = ?, flow = 0", (reason,))
    _settle(connection, flows)
    return changed


def unhold(connection: sqlite3.Connection, ids: Sequence[int], ways: Ways) -> int:
    changed = _update(connection, ids, "unhold", "state = 'queued', hold = ''", ())
    _place(connection, ids, ways)
    return changed


def reschedule(connection: sqlite3.Connection, ids: Sequence[int], when: tuple[str, float], ways: Ways) -> int:
    """when: ("at", seconds since 1970) or ("by", seconds more than now planned)."""
    kind, seconds = when
    value = "next_attempt = ?" if kind == "at" else "next_attempt = next_attempt + ?"
    changed = _update(connection, ids, "change", value, (seconds,))
    _place(connection, ids, ways)
    return changed


def set_transport(connection: sqlite3.Connection, ids: Sequence[int], name: str, ways: Ways) -> int:
    """name "": by the routes again."""
    changed = _update(connection, ids, "change", "transport = ?", (name,))
    _place(connection, ids, ways)
    return changed


def set_require_tls(connection: sqlite3.Connection, ids: Sequence[int], value: bool | None) -> int:
    return _update(connection, ids, "change", "require_tls = ?", (value,))


def _update(
    connection: sqlite3.Connection, ids: Sequence[int], event: str, change: str, values: tuple[Any, ...]
) -> int:
    cursor = connection.execute(
        f"UPDATE message SET {change} WHERE id IN (SELECT value FROM json_each(?))"
        " AND state IN (SELECT value FROM json_each(?))",
        (*values, json.dumps(list(ids)), json.dumps(states_for(event))),
    )
    return cursor.rowcount


def _flows(connection: sqlite3.Connection, ids: Sequence[int]) -> set[int]:
    rows = connection.execute(
        "SELECT DISTINCT flow FROM message WHERE id IN (SELECT value FROM json_each(?)) AND state = ?",
        (json.dumps(list(ids)), QUEUED),
    ).fetchall()
    return {row[0] for row in rows}


def _settle(connection: sqlite3.Connection, flows: set[int]) -> None:
    for flow in flows:
        settle_flow(connection, flow, 0.0)


def _place(connection: sqlite3.Connection, ids: Sequence[int], ways: Ways) -> None:
    """Queued ones of them into their flows, which have their turn when the messages are due."""
    before = _flows(connection, ids)
    rows = connection.execute(
        "SELECT m.id, c.account, c.sender, m.domain, m.attempts, m.transport, m.next_attempt"
        f" FROM {_JOINED} WHERE m.id IN (SELECT value FROM json_each(?)) AND m.state = ?",
        (json.dumps(list(ids)), QUEUED),
    ).fetchall()
    touched = set()
    for identity, account, sender, domain, attempts, transport, due in rows:
        hop = ways(Question(account, sender, domain, attempts + 1, transport)).hop
        flow = flow_of(connection, account, hop, due)
        touched.add(flow)
        connection.execute("UPDATE message SET flow = ? WHERE id = ?", (flow, identity))
    _settle(connection, (before | touched) - {0})


# -- what is over ------------------------------------------------------------------------

_RETIRED = (
    "ID", "MessageID", "Sender", "RcptTo", "Queued", "Size", "IsTLS", "RequireTLS", "Transport", "Attempts", "Status",
    "Account", "Kind", "FromID", "Subject", "Retired", "KeepUntil", "EnvID",
)  # fmt: skip
_RETIRED_COLUMNS = (
    "id, message_id, sender, recipient, queued, size, tls, require_tls, transport, attempts, status, account, kind,"
    " from_id, subject, retired, keep_until, envid"
)


def retired_listing(
    connection: sqlite3.Connection, account: str | None, status: str, recipient: str, limit: int
) -> list[dict[str, Any]]:
    """The newest first."""
    rows = connection.execute(
        f"SELECT {_RETIRED_COLUMNS} FROM retired WHERE (? IS NULL OR account = ?) AND ? IN ('', status)"
        " AND (? = '' OR instr(lower(recipient), ?)) ORDER BY id DESC LIMIT ?",
        (account, account, status, recipient, recipient.lower(), min(limit, MOST)),
    ).fetchall()
    return [_retired(row) for row in rows]


def _retired(row: Sequence[Any]) -> dict[str, Any]:
    found = dict(zip(_RETIRED, row))
    found["IsTLS"] = bool(found["IsTLS"])
    found["RequireTLS"] = None if found["RequireTLS"] is None else bool(found["RequireTLS"])
    return found


def retired_show(connection: sqlite3.Connection, identity: int) -> dict[str, Any] | None:
    row = connection.execute(
        f"SELECT {_RETIRED_COLUMNS}, results, extra FROM retired WHERE id = ?", (identity,)
    ).fetchone()
    if row is None:
        return None
    return {**_retired(row), "Results": json.loads(row[-2]), "Extra": json.loads(row[-1])}


# -- hold rules --------------------------------------------------------------------------


def rules(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    names = ("ID", "Account", "SenderDomain", "RecipientDomain", "Created")
    rows = connection.execute("SELECT id, account, sender_domain, recipient_domain, created FROM hold_rule ORDER BY id")
    return [dict(zip(names, row)) for row in rows.fetchall()]


def add_rule(connection: sqlite3.Connection, rule: tuple[str, str, str], now: float) -> tuple[int, int]:
    """(its number, messages that it holds from now on). rule: account, sender's and recipient's domain, "" for any."""
    cursor = connection.execute(
        "INSERT INTO hold_rule (account, sender_domain, recipient_domain, created) VALUES (?, ?, ?, ?)", (*rule, now)
    )
    number = cursor.lastrowid
    assert number is not None
    wanted = Filter(account=rule[0] or None, sender_domain=rule[1], recipient_domain=rule[2], state=QUEUED)
    held = 0
    while ids := select(connection, wanted, "hold"):
        held += hold(connection, ids, f"hold rule {number}")
    return number, held


def remove_rule(connection: sqlite3.Connection, number: int) -> bool:
    """What it holds stays held."""
    return connection.execute("DELETE FROM hold_rule WHERE id = ?", (number,)).rowcount > 0


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Messages by state."""
    found = dict(connection.execute("SELECT state, count(*) FROM message GROUP BY state").fetchall())
    return {state: found.get(state, 0) for state in STATES}
