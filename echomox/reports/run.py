"""What the sending of one report works with: `Means` of the job, `Run` of the reports that one run of it sends."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from echomox.clock import Clock
from echomox.config.paths import Paths
from echomox.config.schema import Static
from echomox.config.snapshot import Snapshot
from echomox.dns.types import Resolver
from echomox.log import Log
from echomox.reports.database import Planned, ReportsDatabase
from echomox.reports.mail import Envelope
from echomox.reports.model import DAY, begin_of
from echomox.reports.sender import Sender
from echomox.tlspolicy.tlsrpt import Counted

TRIES = 12
RETRY = 1200.0  # seconds, doubled up to RETRY_MOST
RETRY_MOST = 14_400.0


class Later(Exception):
    """A report cannot be sent now. str() says why."""


@dataclass(slots=True)
class Means:
    """What the job works with. chance: numbers from 0 to 1."""

    static: Static
    paths: Paths
    resolver: Resolver
    snapshot: Callable[[], Snapshot]
    log: Log
    clock: Clock
    stopped: Callable[[], bool] = lambda: False
    chance: Callable[[], float] = random.random


@dataclass(slots=True)
class Run:
    """One run of the job, with what it learned. tls: results by day, and by domain in it."""

    means: Means
    database: ReportsDatabase
    sender: Sender
    tls: dict[str, dict[str, list[Counted]]] = field(default_factory=dict)
    sent: int = 0

    @property
    def now(self) -> float:
        return self.means.clock.now()

    def envelope(self, item: Planned, recipients: tuple[str, ...]) -> Envelope:
        begin = begin_of(item.day)
        return Envelope(
            self.sender.address, recipients, self.sender.domain, item.domain, self.report_id(item),
            self.sender.new_id(), begin, begin + DAY - 1, self.now,
        )  # fmt: skip

    def report_id(self, item: Planned) -> str:
        """The same at each try."""
        words = " ".join((item.kind, item.day, item.domain, self.sender.hostname))
        return f"{item.day}.{hashlib.sha256(words.encode()).hexdigest()[:16]}@{self.sender.domain}"

    async def mail(self, item: Planned, envelope: Envelope, source: bytes, *, require_tls: bool | None = None) -> None:
        """Into the queue, once and for all."""
        await self._note(self.database.begin, item.id, envelope.message_id, envelope.recipients, self.now)
        await self.sender.send(envelope, source, require_tls=require_tls)
        await self._note(self.database.mailed, item.id, True, self.now)
        self.sent += 1

    async def finish(self, item: Planned, state: str, size: int = 0, note: str = "") -> None:
        await self._note(self.database.finish, item.id, state, size, note, self.now)
        if state != "none":
            self.means.log.info("report over", kind=item.kind, domain=item.domain, day=item.day, state=state, note=note)

    async def postpone(self, item: Planned, why: str) -> None:
        if self.is_last(item):
            await self.finish(item, "failed", note=f"given up: {why}")
            return
        due = self.now + min(RETRY * 2**item.tries, RETRY_MOST)
        await self._note(self.database.postpone, item.id, due, why, self.now)
        self.means.log.warn("report put off", kind=item.kind, domain=item.domain, day=item.day, why=why)

    @staticmethod
    def is_last(item: Planned) -> bool:
        """Whether this try of it is the last one."""
        return item.tries + 1 >= TRIES

    async def posted(self, item: Planned, uris: tuple[str, ...]) -> None:
        await self._note(self.database.posted, item.id, uris, self.now)

    async def _note(self, change: Callable[..., None], *values: Any) -> None:
        await asyncio.to_thread(change, *values)
