"""Delivery to other servers: a Job of the queue in, one Outcome for each of its recipients out.

    remote = open_remote(Place(static, paths), resolver, log, count)
    outcomes = await remote.deliver(job)          # never raises for what a peer or DNS does; bounded in time
    await remote.close()

`targets` says where to and how safe, `connections` opens and keeps, `client` speaks SMTP, `attempt` puts it together.
One for a process; `deliver` may run many times at once. How many at once, and when again, is the queue's business.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from echomox.clock import SYSTEM, Clock
from echomox.config.paths import Paths
from echomox.config.schema import Outbound, Static, Transport
from echomox.dns.types import Resolver
from echomox.log import Log
from echomox.outbound.attempt import Attempt
from echomox.outbound.client import Session
from echomox.outbound.connections import Connections, Endpoint
from echomox.outbound.security import Contexts, verified_context
from echomox.outbound.targets import RELAYS, Directory
from echomox.outbound.tlsrecord import TlsRecord
from echomox.queue.outcome import Job, Outcome
from echomox.tlspolicy.fetch import Fetcher
from echomox.tlspolicy.policies import Policies

DATABASE = "tlspolicy/index.db"
DESTINATIONS = 5000  # of which the last endpoint is remembered
REMEMBER = 30.0  # seconds

Destination = tuple[str, bool | None, Transport | None]


@dataclass(frozen=True, slots=True)
class Means:
    """What delivery works with. own: our host's name. base: directory of the configuration."""

    settings: Outbound
    own: str
    base: Path
    resolver: Resolver
    policies: Policies | None
    contexts: Contexts
    clock: Clock = SYSTEM


class RemoteDelivery:
    def __init__(self, means: Means, log: Log, count: Callable[[str], None], rng: random.Random | None = None) -> None:
        self.settings = means.settings
        self.clock = means.clock
        self.policies = means.policies
        self.log = log
        self.count = count
        self.record = TlsRecord(means.policies.record if means.policies else lambda _: None)
        self.connections = Connections(means.settings, means.settings.helo or means.own, means.contexts, count)
        self.directory = Directory(
            means.settings, means.own, means.resolver, means.policies, self.record, means.base, rng or random.Random()
        )
        self._last: OrderedDict[Destination, tuple[float, Endpoint]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def deliver(self, job: Job) -> list[Outcome]:
        return await Attempt(self, job).run()

    async def close(self) -> None:
        """Ends kept connections, writes results down. The resolver is the caller's."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.connections.close()
        if self.policies is not None:
            await self.policies.close()

    # for attempts

    def last_endpoints(self, job: Job) -> list[Endpoint]:
        """Where the last message to the same destination went, lately; a kept connection there saves all lookups."""
        known = self._last.get(_destination(job))
        return [known[1]] if known and self.clock.monotonic() < known[0] else []

    def keep_endpoint(self, job: Job, endpoint: Endpoint) -> None:
        if self.settings.idle_time <= 0:
            return
        key = _destination(job)
        self._last[key] = (self.clock.monotonic() + REMEMBER, endpoint)
        self._last.move_to_end(key)
        while len(self._last) > DESTINATIONS:
            self._last.popitem(last=False)

    def give(self, endpoint: Endpoint, session: Session) -> None:
        """Puts a session back, RSET meanwhile."""
        if session.clean:
            self.connections.give(endpoint, session)
            return
        task = asyncio.create_task(self._reset(endpoint, session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reset(self, endpoint: Endpoint, session: Session) -> None:
        try:
            if await session.reset():
                self.connections.give(endpoint, session)
            else:
                session.quit()
        except BaseException:
            session.wire.abort()
            raise


def _destination(job: Job) -> Destination:
    """Messages that may share a connection without another look at DNS."""
    relay = job.transport is not None and job.transport.kind in RELAYS
    demand = None if job.require_tls is None else job.require_tls and job.sender != ""
    return ("" if relay else job.domain, demand, job.transport)


@dataclass(frozen=True, slots=True)
class Place:
    """The configuration that `open_remote` reads."""

    static: Static
    paths: Paths


def open_remote(place: Place, resolver: Resolver, log: Log, count: Callable[[str], None]) -> RemoteDelivery:
    """Delivery as configured. Call it within the running loop."""
    static, paths = place.static, place.paths
    contexts = Contexts(_ca_file(place))
    policies = open_policies(place, resolver, log)
    return RemoteDelivery(
        Means(static.outbound, static.hostname, paths.config, resolver, policies, contexts), log, count
    )


def open_policies(place: Place, resolver: Resolver, log: Log) -> Policies:
    """MTA-STS policies and TLS results of this server; also for the refresh and for reports."""
    return policies_at(place.paths.data / DATABASE, place, resolver, log)


def policies_at(path: Path, place: Place, resolver: Resolver, log: Log) -> Policies:
    """The same with another file."""
    port = place.static.outbound.https_port

    def fetcher() -> Fetcher:
        return Fetcher(verified_context(_ca_file(place)), port)

    return Policies(path, resolver, fetcher, log=log)


def _ca_file(place: Place) -> Path | None:
    name = place.static.outbound.ca_file
    return place.paths.config / name if name else None
