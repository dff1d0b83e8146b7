"""Outcomes into the queue: retry, retire, suppress, and the reports that they cause, all in the caller's transaction.

So a report is added exactly once: with the outcome, or not at all. An outcome for a message whose lease was lost is
ignored (another process has it now), and said to the caller.

RFC 3464 2.3.3 (actions), RFC 3461 5.2 (which notifications), RFC 5321 4.5.5 and 6.1 (no report about a report).
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from echomox.config.schema import Queue
from echomox.queue import states, suppression
from echomox.queue.database import file_path
from echomox.queue.insert import Placing, Ways, flow_of, insert, settle_flow
from echomox.queue.model import Attempt, Fate, Outgoing, Report
from echomox.queue.moves import move_strays
from echomox.queue.outcome import Outcome
from echomox.queue.routes import Question
from echomox.queue.schedule import give_up_time, is_delay_due, next_attempt

RESULTS_KEPT = 20
TEXT_KEPT = 500
STEPS_KEPT, STEP_KEPT = 20, 200
PLAIN_STEPS = 2  # the host, and that it is connected
HEADER_RETURNED = 64 << 10
REPORT = "report"
"""Kind of mail of which nobody is told that it could not be delivered."""
REPORT_REFUSALS = 5  # for other reasons than that there is no such address
BULK = 500  # messages of a dead destination that one transaction puts off
Compose = Callable[[Report], Outgoing | None]


@dataclass(slots=True)
class Context:
    """What outcomes are judged by. chance: of the jitter. compose: makes the report, None: none is to be sent."""

    queue: Queue
    directory: Path
    ways: Ways
    compose: Compose
    now: float
    chance: Callable[[], float]


@dataclass(slots=True)
class Finished:
    """lost: ids whose lease was not ours any more. reports: ids of the new messages. files: to be removed when the
    transaction is on disk. statuses: (id, what became of it).
    """

    lost: list[int] = field(default_factory=list)
    reports: list[int] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    statuses: list[tuple[int, str]] = field(default_factory=list)


_COLUMNS = (
    "id", "content", "flow", "recipient", "domain", "orcpt", "notify", "state", "attempts", "transport", "require_tls",
    "delay_told", "results",
)  # fmt: skip
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM message"
_CONTENT = (
    "id", "account", "sender", "message_id", "subject", "size", "file", "ret", "envid", "smtputf8", "kind", "from_id",
    "extra", "tls", "queued", "log_id",
)  # fmt: skip
Row = dict[str, Any]


def finish(connection: sqlite3.Connection, holder: str, outcomes: Sequence[Outcome], context: Context) -> Finished:
    """Outcomes of one job or of several."""
    done = Finished()
    told: dict[int, list[Fate]] = {}
    for outcome in outcomes:
        values = connection.execute(
            f"{_SELECT} WHERE id = ? AND state = 'leased' AND holder = ?", (outcome.recipient, holder)
        ).fetchone()
        if values is None:
            done.lost.append(outcome.recipient)
            continue
        _settle(connection, dict(zip(_COLUMNS, values)), outcome, (context, done, told))
    _report(connection, told, context, done)
    _tidy(connection, told, context, done)
    return done


def put_off(connection: sqlite3.Connection, hop: str, outcome: Outcome, context: Context) -> Finished:
    """Up to BULK messages that are due for a destination that is known to be dead: a try each, without trying. Those
    that have another way by now are moved there instead."""
    done = Finished()
    told: dict[int, list[Fate]] = {}
    query = "SELECT id, account FROM flow WHERE hop = ? AND turn <= ?"
    flows = connection.execute(query, (hop, context.now)).fetchall()
    moved = 0
    for flow, account in flows:
        moved += move_strays(connection, (flow, account, hop), context.ways, context.now, BULK)
        rows = connection.execute(
            f"{_SELECT} WHERE flow = ? AND state = 'queued' AND next_attempt <= ? ORDER BY next_attempt LIMIT ?",
            (flow, context.now, BULK - len(done.statuses)),
        ).fetchall()
        for values in rows:
            row = dict(zip(_COLUMNS, values))
            _settle(connection, row, replace(outcome, recipient=row["id"]), (context, done, told))
        settle_flow(connection, flow, context.now)
        if len(done.statuses) + moved >= BULK:
            break
    _report(connection, told, context, done)
    _tidy(connection, told, context, done)
    return done


def fail(connection: sqlite3.Connection, ids: Iterable[int], text: str, context: Context) -> Finished:
    """Given up by hand: with a report, like a refusal. What is under way is left alone."""
    return _by_hand(connection, ids, Outcome(0, "failed", 550, "5.4.7", text, when=context.now), context)


def drop(connection: sqlite3.Connection, ids: Iterable[int], context: Context) -> Finished:
    """Given up by hand without a word to the sender."""
    outcome = Outcome(0, "drop", 250, "2.0.0", "removed by the administrator", when=context.now)
    return _by_hand(connection, ids, outcome, context)


def _by_hand(connection: sqlite3.Connection, ids: Iterable[int], outcome: Outcome, context: Context) -> Finished:
    done = Finished()
    told: dict[int, list[Fate]] = {}
    event = "drop" if outcome.kind == "drop" else "fail"
    for identity in ids:
        values = connection.execute(f"{_SELECT} WHERE id = ?", (identity,)).fetchone()
        row = dict(zip(_COLUMNS, values)) if values else {}
        if not row or row["state"] not in states.states_for(event):
            done.lost.append(identity)
            continue
        _settle(connection, row, replace(outcome, recipient=identity), (context, done, told))
        if row["flow"]:
            settle_flow(connection, row["flow"], 0.0)
    _report(connection, told, context, done)
    _tidy(connection, told, context, done)
    return done


# -- one recipient ---------------------------------------------------------------------

_Run = tuple[Context, Finished, dict[int, list[Fate]]]
_EVENTS = {name: name for name in ("delivered", "relayed", "suppressed", "failed", "drop")}


def _settle(connection: sqlite3.Connection, row: Row, outcome: Outcome, run: _Run) -> None:
    context, done, told = run
    told.setdefault(row["content"], [])
    results = _results(row, outcome)
    attempts = row["attempts"] + (outcome.kind != "drop")
    if outcome.kind == "retry":
        due = next_attempt(
            attempts, context.queue.schedule, context.now, jitter=context.queue.jitter, chance=context.chance()
        )
        if due is not None:
            _again(connection, row, outcome, (run, results, attempts, due))
            done.statuses.append((row["id"], "retry"))
            return
        outcome = replace(outcome, kind="failed", text=f"given up after {attempts} tries, the last: {outcome.text}")
    event = _EVENTS.get(outcome.kind, "failed")
    if row["state"] != states.LEASED and event == "failed":
        event = "fail"
    states.after(row["state"], event)
    content = _content(connection, row["content"])
    _retire(connection, row, content, (context, outcome, results, attempts))
    if outcome.kind == "failed" and (content["account"] or content["kind"] == REPORT) and context.queue.suppress:
        _remember(connection, content, (row["recipient"], outcome), context)
    fate = _final_fate(row, outcome) if content["kind"] != REPORT else None
    if fate is not None:
        told[row["content"]].append(fate)
    done.statuses.append((row["id"], outcome.kind))


def _remember(connection: sqlite3.Connection, content: Row, refused: tuple[str, Outcome], context: Context) -> None:
    """The server's own list (account "") is of addresses that take no DMARC and TLS reports, whatever their reason."""
    recipient, outcome = refused
    said = f"{outcome.code} {outcome.enhanced} {outcome.text}"
    if suppression.is_no_such_user(outcome.code, outcome.enhanced, outcome.text):
        suppression.note_refusal(connection, content["account"], recipient, said, context.queue.suppress_after)
    elif content["kind"] == REPORT and outcome.code // 100 == 5:
        suppression.note_refusal(connection, content["account"], recipient, said, REPORT_REFUSALS)


def _results(row: Row, outcome: Outcome) -> list[dict[str, Any]]:
    attempt = Attempt(
        outcome.when, outcome.kind, outcome.code, outcome.enhanced, outcome.text[:TEXT_KEPT], outcome.remote_mta,
        outcome.remote_ip, outcome.tls, outcome.policy, _steps(outcome),
    )  # fmt: skip
    found: list[dict[str, Any]] = json.loads(row["results"])
    return [*found[-(RESULTS_KEPT - 1) :], asdict(attempt)]


def _steps(outcome: Outcome) -> tuple[str, ...]:
    """None of a try that came through at the first host: the other fields say it all."""
    lines = outcome.log[:STEPS_KEPT]
    return tuple(line[:STEP_KEPT] for line in lines) if len(lines) > PLAIN_STEPS else ()


def _again(
    connection: sqlite3.Connection, row: Row, outcome: Outcome, more: tuple[_Run, list[dict[str, Any]], int, float]
) -> None:
    (context, _, told), results, attempts, due = more
    content = _content(connection, row["content"])
    notify = row["notify"].split(",")
    tell = (
        not row["delay_told"]
        and "delay" in notify
        and is_delay_due(
            attempts, context.now - content["queued"], context.queue.delay_attempt, context.queue.delay_after
        )
    )
    if tell:
        fate = _fate(row, outcome, "delayed")
        until = give_up_time(attempts, context.queue.schedule, context.now)
        told[row["content"]].append(replace(fate, until=until))
    question = Question(content["account"], content["sender"], row["domain"], attempts + 1, row["transport"])
    flow = flow_of(connection, content["account"], context.ways(question).hop, due)
    state = states.after(row["state"], "retry" if row["state"] == states.LEASED else "postpone")
    connection.execute(
        "UPDATE message SET state = ?, flow = ?, attempts = ?, next_attempt = ?, delay_told = ?, last_ip = ?,"
        " last_error = ?, results = ?, holder = '', lease_until = 0, interrupted = 0 WHERE id = ?",
        (
            state, flow, attempts, due, bool(row["delay_told"] or tell), outcome.remote_ip,
            f"{outcome.code} {outcome.enhanced} {outcome.text}"[:TEXT_KEPT], json.dumps(results), row["id"],
        ),
    )  # fmt: skip


def _retire(
    connection: sqlite3.Connection, row: Row, content: Row, more: tuple[Context, Outcome, list[dict[str, Any]], int]
) -> None:
    context, outcome, results, attempts = more
    status = "dropped" if outcome.kind == "drop" else outcome.kind
    well = status in ("delivered", "relayed")
    keep = context.queue.keep_delivered if well else context.queue.keep_failed
    connection.execute("DELETE FROM message WHERE id = ?", (row["id"],))
    connection.execute("UPDATE content SET recipients = recipients - 1 WHERE id = ?", (row["content"],))
    if keep <= 0:
        return
    connection.execute(
        "INSERT INTO retired (id, content, account, sender, recipient, message_id, subject, size, from_id, envid, kind,"
        " tls, require_tls, transport, extra, queued, attempts, status, results, retired, keep_until)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row["id"], row["content"], content["account"], content["sender"], row["recipient"], content["message_id"],
            content["subject"], content["size"], content["from_id"], content["envid"], content["kind"], content["tls"],
            row["require_tls"], row["transport"], content["extra"], content["queued"], attempts, status,
            json.dumps(results), context.now, context.now + keep,
        ),
    )  # fmt: skip


# -- reports -----------------------------------------------------------------------------


def _final_fate(row: Row, outcome: Outcome) -> Fate | None:
    """What the sender is to be told, None for nothing (RFC 3461 5.2.1 to 5.2.7)."""
    notify = row["notify"].split(",")
    if outcome.kind in ("delivered", "relayed"):
        # RFC 3461 5.2.2: a peer that does DSN reports the delivery itself; what we put into a mailbox is ours to tell.
        ours = outcome.kind == "relayed" or not outcome.remote_mta
        return _fate(row, outcome, outcome.kind) if ours and "success" in notify else None
    if outcome.kind == "drop" or "failure" not in notify:
        return None
    return _fate(row, outcome, "failed")


def _fate(row: Row, outcome: Outcome, action: str) -> Fate:
    return Fate(
        row["recipient"], row["orcpt"], action, outcome.code, outcome.enhanced, outcome.text[:TEXT_KEPT],
        outcome.remote_mta, outcome.when, require_tls=bool(row["require_tls"]),
    )  # fmt: skip


def _report(connection: sqlite3.Connection, told: dict[int, list[Fate]], context: Context, done: Finished) -> None:
    """One report per message and kind of news."""
    for number, fates in told.items():
        if not fates:
            continue
        content = _content(connection, number)
        if not content["sender"]:  # RFC 5321 4.5.5
            continue
        header, body = _original(connection, content, context)
        for actions in (("failed",), ("delayed",), ("delivered", "relayed", "expanded")):
            chosen = tuple(fate for fate in fates if fate.action in actions)
            if not chosen:
                continue
            report = Report(
                content["sender"], content["account"], content["envid"], content["ret"], bool(content["smtputf8"]),
                content["queued"], content["message_id"], header, body if actions == ("failed",) else b"", chosen,
            )  # fmt: skip
            mail = context.compose(report)
            if mail is not None:
                done.reports += insert(connection, mail, Placing(context.now, context.ways))


def _original(connection: sqlite3.Connection, content: Row, context: Context) -> tuple[bytes, bytes]:
    """(header, body), both bounded; the body only when it may be returned whole (RFC 3461 4.3)."""
    prefix: bytes = connection.execute("SELECT prefix FROM content WHERE id = ?", (content["id"],)).fetchone()[0]
    if content["file"]:
        try:
            with open(file_path(context.directory, content["file"]), "rb") as file:
                data = file.read(max(HEADER_RETURNED, context.queue.return_size) + 4)
        except OSError:
            data = b""  # the report says more than silence
    else:
        data = connection.execute("SELECT data FROM body WHERE content = ?", (content["id"],)).fetchone()[0]
    head, _, rest = data.partition(b"\r\n\r\n")
    header = (prefix + head)[:HEADER_RETURNED]
    if len(prefix) + len(head) > HEADER_RETURNED:
        header = header[: header.rfind(b"\r\n")]
    complete = len(prefix) + len(head) == len(header)
    whole = content["size"] <= context.queue.return_size and content["ret"] != "hdrs" and complete
    return header + b"\r\n", rest if whole else b""


def _content(connection: sqlite3.Connection, number: int) -> Row:
    values = connection.execute(f"SELECT {', '.join(_CONTENT)} FROM content WHERE id = ?", (number,)).fetchone()
    return dict(zip(_CONTENT, values))


def _tidy(connection: sqlite3.Connection, numbers: Iterable[int], context: Context, done: Finished) -> None:
    """Contents that nobody waits for any more go."""
    for number in numbers:
        row = connection.execute(
            "DELETE FROM content WHERE id = ? AND recipients <= 0 RETURNING file", (number,)
        ).fetchone()
        if row is None:
            continue
        connection.execute("DELETE FROM body WHERE content = ?", (number,))
        if row[0]:
            done.files.append(file_path(context.directory, row[0]))


def forget_retired(connection: sqlite3.Connection, now: float, limit: int = 1000) -> int:
    """Removes what was kept long enough. Returns how many."""
    cursor = connection.execute(
        "DELETE FROM retired WHERE id IN (SELECT id FROM retired WHERE keep_until < ? ORDER BY keep_until LIMIT ?)",
        (now, limit),
    )
    return cursor.rowcount
