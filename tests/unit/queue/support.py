"""A queue in a directory, worked on by hand: one connection, a clock that is set, reports that are kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echomox.config.paths import Paths
from echomox.config.schema import Queue
from echomox.queue import database
from echomox.queue.commit import once
from echomox.queue.finish import Context, Finished, finish, put_off
from echomox.queue.insert import Placing, Ways, direct, insert
from echomox.queue.lease import Ask, Leased, lease
from echomox.queue.model import NEVER, Outgoing, QueueRecipient, Report
from echomox.queue.outcome import Outcome

NOW = 1_000_000.0
BODY = b"From: a@here.test\r\nSubject: s\r\n\r\nbody\r\n"


def mail(*to: str, **more: Any) -> Outgoing:
    recipients = tuple(one if isinstance(one, QueueRecipient) else QueueRecipient(one) for one in to)
    values: dict[str, Any] = {"sender": "me@here.test", "body": BODY, "account": "me", "message_id": "<1@here.test>"}
    return Outgoing(recipients=recipients, **{**values, **more})


@dataclass
class Bench:
    root: Path
    queue: Queue = field(default_factory=Queue)
    ways: Ways = direct
    now: float = NOW
    last: str = ""
    reports: list[Report] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.root / "data").mkdir(parents=True, exist_ok=True)
        self.paths = Paths.home(self.root)
        self.directory = database.prepare(self.paths)
        self.connection = database.connect(self.directory, durable=False)

    def add(self, one: Outgoing) -> list[int]:
        return once(self.connection, lambda c: insert(c, one, Placing(self.now, self.ways)))

    def context(self) -> Context:
        return Context(self.queue, self.directory, self.ways, self._compose, self.now, lambda: 0.5)

    def _compose(self, report: Report) -> Outgoing:
        self.reports.append(report)
        return Outgoing("", (QueueRecipient(report.sender, notify=NEVER),), body=b"report\r\n", kind="dsn")

    def lease(self, want: int = 100, holder: str = "w", **more: Any) -> list[Leased]:
        values = {"default_room": 1000, "last": self.last, **more}
        ask = Ask(holder, self.now, self.now + 100, want, self.ways, **values)
        haul = once(self.connection, lambda c: lease(c, ask, self.directory))
        self.last = haul.last
        self.wait_until = haul.wait_until
        return haul.jobs

    def finish(self, *outcomes: Outcome, holder: str = "w") -> Finished:
        return once(self.connection, lambda c: finish(c, holder, outcomes, self.context()))

    def put_off(self, hop: str, outcome: Outcome) -> Finished:
        return once(self.connection, lambda c: put_off(c, hop, outcome, self.context()))

    def rows(self, query: str, *values: Any) -> list[Any]:
        return self.connection.execute(query, values).fetchall()

    def one(self, query: str, *values: Any) -> Any:
        (row,) = self.rows(query, *values)
        return row[0] if len(row) == 1 else row


def outcome(identity: int, kind: str, code: int = 0, enhanced: str = "", **more: Any) -> Outcome:
    usual = {"delivered": (250, "2.0.0"), "relayed": (250, "2.0.0"), "retry": (451, "4.7.1"), "failed": (550, "5.1.1")}
    values = usual.get(kind, (550, "5.1.1"))
    text = more.pop("text", f"said {kind}")
    return Outcome(identity, kind, code or values[0], enhanced or values[1], text, **{"remote_mta": "mx.test", **more})


def run(work: Any) -> Any:
    return asyncio.run(work)
