"""Messages to the flow they belong in, after routes have changed: a few at a time.

A flow is named by the hop of its messages when they were placed; a change of routes leaves all as it is. Who comes upon
a message that goes another way now delivers it that way at once (lease.py); only where there is no room for it, or its
old hop is not to be tried (finish.put_off), it is moved. So a change of routes with 100,000 messages in the queue costs
nothing at the time, and no message waits for others to be moved.
"""

from __future__ import annotations

import json
import sqlite3

from echomox.queue.insert import Ways, flow_of
from echomox.queue.routes import Question

Flow = tuple[int, str, str]
"""id, account, hop."""


def move_strays(connection: sqlite3.Connection, flow: Flow, ways: Ways, now: float, limit: int) -> int:
    """Of the first `limit` messages of a flow those that go another way now, into their flows. Returns how many. The
    flow's turn is the caller's to settle."""
    identity, account, hop = flow
    rows = connection.execute(
        "SELECT m.id, c.sender, m.domain, m.attempts, m.transport, m.next_attempt FROM message m"
        " JOIN content c ON c.id = m.content WHERE m.flow = ? AND m.state = 'queued' ORDER BY m.next_attempt LIMIT ?",
        (identity, limit),
    ).fetchall()
    known: dict[Question, str] = {}
    strays: dict[str, list[tuple[int, float]]] = {}
    for message, sender, domain, attempts, transport, due in rows:
        question = Question(account, sender, domain, attempts + 1, transport)
        right = known.get(question)
        if right is None:
            right = known[question] = ways(question).hop
        if right != hop:
            strays.setdefault(right, []).append((message, due))
    for right, found in strays.items():
        other = flow_of(connection, account, right, max(now, found[0][1]))
        ids = json.dumps([message for message, _ in found])
        connection.execute("UPDATE message SET flow = ? WHERE id IN (SELECT value FROM json_each(?))", (other, ids))
    return sum(map(len, strays.values()))
