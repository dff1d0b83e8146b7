"""Giving out what is due: fair between accounts and destinations, at a cost that does not grow with the queue.

Accounts take turns; within an account its flows (one per next hop) do, by their `turn`: a flow that was served goes to
the end of the line. So neither ten thousand messages of one account nor those to one destination keep others waiting.
Every step is one search in an index. A hop in `full` is passed over: it has no room, or is not to be tried now.

A flow is named by the hop of its messages when they were last placed. When routes have changed since, a message goes
its new way when its turn comes; if there is no room on that way now, it and those behind it are moved (moves.py).
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echomox.queue import holder as holders
from echomox.queue.database import file_path
from echomox.queue.insert import Ways, flow_of, settle_flow
from echomox.queue.moves import move_strays
from echomox.queue.outcome import Job, JobRecipient
from echomox.queue.routes import Question, Way
from echomox.queue.states import LEASED, QUEUED, after
from echomox.queue.suppression import is_suppressed

STEP = 1e-5  # seconds
GROUP = 100  # recipients of one transaction
SIBLINGS = 1000  # recipients of a message that are looked through for those that go together by a new way
MOVES = 40  # of messages to other flows, in one look
STRAYS = 40  # of one flow at once
_MESSAGE = "id, content, flow, recipient, domain, orcpt, notify, attempts, transport, require_tls, last_ip, interrupted"


@dataclass(slots=True)
class Ask:
    """holder: who leases. want: jobs. room: how many more jobs a hop may have now, by hop; hops that are not in it have
    `default_room`. full: hops to pass over. last: the account that had the last turn, in and out.
    """

    holder: str
    now: float
    until: float
    want: int
    ways: Ways
    full: set[str] = field(default_factory=set)
    room: dict[str, int] = field(default_factory=dict)
    default_room: int = 5
    last: str = ""
    moves: int = 0
    line: float = 0.0
    left: dict[int, None] = field(default_factory=dict)
    """Other flows that messages were taken from, to be settled."""

    def __post_init__(self) -> None:
        self.line = self.now

    def step(self) -> float:
        """The end of the line: each place in it is a little later than the one before, also within one look."""
        self.line += STEP
        return self.line


@dataclass(frozen=True, slots=True)
class Leased:
    """A job with its next hop. suppressed: ids of recipients that are on the account's suppression list. missing: the
    transport that the configuration does not have.
    """

    job: Job
    hop: str
    suppressed: frozenset[int] = frozenset()
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Haul:
    """wait_until: when there is something to do again, None: not by itself. last: for the next Ask. moved: whether this
    look has moved as many messages as one may, and there may be more.
    """

    jobs: list[Leased]
    wait_until: float | None
    last: str
    moved: bool = False


def lease(connection: sqlite3.Connection, ask: Ask, directory: Path) -> Haul:
    """Leases up to `want` jobs, in one transaction of the caller."""
    jobs: list[Leased] = []
    first = next_turn(connection, ask.full)
    if first is not None and first <= ask.now:
        idle = 0
        while len(jobs) < ask.want and ask.moves < MOVES:
            account, wrapped = _next_account(connection, ask.last)
            if account is None:
                break
            idle += wrapped
            ask.last = account
            found = _serve(connection, ask, account, directory)
            if found is not None:
                jobs.append(found)
                idle = 0
            elif idle > 1:
                break
        first = ask.now if len(jobs) >= ask.want or ask.moves >= MOVES else next_turn(connection, ask.full)
    return Haul(jobs, first, ask.last, ask.moves >= MOVES)


def next_turn(connection: sqlite3.Connection, full: Iterable[str]) -> float | None:
    """When the next flow has its turn."""
    row = connection.execute(
        "SELECT turn FROM flow WHERE hop NOT IN (SELECT value FROM json_each(?)) ORDER BY turn LIMIT 1",
        (json.dumps(list(full)),),
    ).fetchone()
    return row[0] if row else None


def _next_account(connection: sqlite3.Connection, last: str) -> tuple[str | None, bool]:
    """(the account after `last` that has flows, whether the round began anew)"""
    query = "SELECT account FROM flow WHERE account > ? ORDER BY account LIMIT 1"
    row = connection.execute(query, (last,)).fetchone()
    if row is not None:
        return row[0], False
    row = connection.execute("SELECT account FROM flow ORDER BY account LIMIT 1").fetchone()
    return (row[0] if row else None), True


def _serve(connection: sqlite3.Connection, ask: Ask, account: str, directory: Path) -> Leased | None:
    """One job of the account; None when it has nothing for now."""
    while ask.moves < MOVES:
        flow = connection.execute(
            "SELECT id, hop FROM flow WHERE account = ? AND turn <= ? AND hop NOT IN (SELECT value FROM json_each(?))"
            " ORDER BY turn LIMIT 1",
            (account, ask.line, json.dumps(list(ask.full))),
        ).fetchone()
        if flow is None:
            return None
        job = _take(connection, ask, account, flow, directory)
        settle_flow(connection, flow[0], ask.step())
        for other in ask.left:
            settle_flow(connection, other, ask.step())
        ask.left.clear()
        if job is not None:
            left = ask.room.get(job.hop, ask.default_room) - 1
            ask.room[job.hop] = left
            if left <= 0:
                ask.full.add(job.hop)
            return job
    return None


def _take(
    connection: sqlite3.Connection, ask: Ask, account: str, flow: tuple[int, str], directory: Path
) -> Leased | None:
    """The flow's first job; None when it has nothing due, or its messages have been moved."""
    row = connection.execute(
        f"SELECT {_MESSAGE} FROM message WHERE flow = ? AND state = 'queued' AND next_attempt <= ?"
        " ORDER BY next_attempt LIMIT 1",
        (flow[0], ask.line),
    ).fetchone()
    if row is None:
        ask.moves += 1
        return None
    content = connection.execute("SELECT * FROM content WHERE id = ?", (row[1],)).fetchone()
    names = [column[0] for column in connection.execute("SELECT * FROM content WHERE 0").description]
    values = dict(zip(names, content))
    way = ask.ways(Question(account, values["sender"], row[4], row[7] + 1, row[8]))
    if way.hop != flow[1] and way.hop in ask.full:
        ask.moves += 1 + move_strays(connection, (flow[0], account, flow[1]), ask.ways, ask.now, STRAYS)
        return None
    if way.hop == flow[1]:
        rows = _together(connection, ask, row)
    else:
        rows = _by_new_way(connection, ask, row, (account, values["sender"], way.hop))
    connection.execute(
        f"UPDATE message SET state = '{after(QUEUED, 'lease')}', holder = ?, lease_until = ?"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (ask.holder, ask.until, json.dumps([one[0] for one in rows])),
    )
    listed = account or values["kind"] == "report"
    suppressed = frozenset(one[0] for one in rows if listed and is_suppressed(connection, account, one[3]))
    return Leased(make_job(connection, directory, values, rows, way), way.hop, suppressed, way.missing)


def _together(connection: sqlite3.Connection, ask: Ask, first: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """The recipients that go in one transaction with `first`: of the same message, by the same way, due."""
    return connection.execute(
        f"SELECT {_MESSAGE} FROM message INDEXED BY message_content"
        " WHERE content = ? AND flow = ? AND state = 'queued' AND next_attempt <= ?"
        " AND transport = ? AND require_tls IS ? AND attempts = ? ORDER BY id != ?, id LIMIT ?",
        (first[1], first[2], ask.line, first[8], first[9], first[7], first[0], GROUP),
    ).fetchall()


def _by_new_way(
    connection: sqlite3.Connection, ask: Ask, first: tuple[Any, ...], by: tuple[str, str, str]
) -> list[tuple[Any, ...]]:
    """The same after a change of routes: whatever flows they stand in. by: account, sender, hop."""
    account, sender, hop = by
    found = connection.execute(
        f"SELECT {_MESSAGE} FROM message INDEXED BY message_content"
        " WHERE content = ? AND state = 'queued' AND next_attempt <= ?"
        " AND transport = ? AND require_tls IS ? AND attempts = ? ORDER BY id != ?, id LIMIT ?",
        (first[1], ask.line, first[8], first[9], first[7], first[0], SIBLINGS),
    ).fetchall()
    hops = {one[4]: "" for one in found}
    for domain in hops:
        hops[domain] = ask.ways(Question(account, sender, domain, first[7] + 1, first[8])).hop
    rows = [one for one in found if hops[one[4]] == hop][:GROUP]
    for flow in {one[2] for one in rows} - {first[2]}:
        ask.left[flow] = None
    return rows


def make_job(
    connection: sqlite3.Connection, directory: Path, content: dict[str, Any], rows: list[tuple[Any, ...]], way: Way
) -> Job:
    first = rows[0]
    body, file = None, None
    if content["file"]:
        file = file_path(directory, content["file"])
    else:
        body = connection.execute("SELECT data FROM body WHERE content = ?", (content["id"],)).fetchone()[0]
    return Job(
        id=f"{content['log_id'] or 'q'}/{content['id']}",
        domain=first[4],
        sender=content["sender"],
        recipients=tuple(JobRecipient(row[0], row[3], row[5], frozenset(row[6].split(","))) for row in rows),
        prefix=content["prefix"],
        body=body,
        file=file,
        size=content["size"],
        ret=content["ret"],
        envid=content["envid"],
        smtputf8=bool(content["smtputf8"]),
        eightbit=bool(content["eightbit"]),
        binary=bool(content["binary"]),
        require_tls=None if first[9] is None else bool(first[9]),
        transport=way.transport,
        attempt=first[7] + 1,
        last_ip=first[10],
        account=content["account"],
        kind=content["kind"],
        message_id=content["message_id"],
        transport_name=way.name,
        extra=json.loads(content["extra"]),
        interrupted=any(row[11] for row in rows),
    )


# -- the end of a lease that nobody finished ------------------------------------------


def release(connection: sqlite3.Connection, holder: str, ids: Iterable[int], now: float, ways: Ways) -> int:
    """Gives back what was leased and not tried. Returns how many."""
    where = "m.holder = ? AND m.id IN (SELECT value FROM json_each(?))"
    return _give_back(connection, where, (holder, json.dumps(list(ids))), (now, ways, False))


def release_lost(
    connection: sqlite3.Connection, now: float, ways: Ways, gone: Callable[[str], bool] = holders.is_gone
) -> int:
    """Ends the leases of processes that are gone, and those whose time is over. Returns how many."""
    owners = connection.execute("SELECT DISTINCT holder FROM message WHERE state = 'leased'").fetchall()
    lost = [owner for (owner,) in owners if gone(owner)]
    return _give_back(
        connection,
        "(m.holder IN (SELECT value FROM json_each(?)) OR m.lease_until < ?)",
        (json.dumps(lost), now),
        (now, ways, True),
    )


def _give_back(
    connection: sqlite3.Connection, where: str, values: tuple[Any, ...], place: tuple[float, Ways, bool]
) -> int:
    """Back to the state it had, with no try counted; the flow is made again if it has gone meanwhile."""
    now, ways, interrupted = place
    rows = connection.execute(
        "SELECT m.id, c.account, c.sender, m.domain, m.attempts, m.transport, m.next_attempt"
        f" FROM message m JOIN content c ON c.id = m.content WHERE m.state = '{LEASED}' AND {where}",
        values,
    ).fetchall()
    for identity, account, sender, domain, attempts, transport, due in rows:
        hop = ways(Question(account, sender, domain, attempts + 1, transport)).hop
        flow = flow_of(connection, account, hop, max(due, now))
        connection.execute(
            "UPDATE message SET state = ?, flow = ?, holder = '', lease_until = 0, interrupted = interrupted OR ?"
            " WHERE id = ?",
            (after(LEASED, "release"), flow, interrupted, identity),
        )
    return len(rows)
