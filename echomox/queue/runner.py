"""The queue runner without its process: leases what is due, has it delivered, writes down what came of it.

One turn: as many jobs as there is room for are leased (lease.py, fair), each becomes a task: deliver, then its outcomes
go into the queue with whatever else has ended meanwhile, one fsync for all (commit.py). The place at the destination is
free as soon as the delivery has ended, the place in this process when its outcome is on disk. Then the next turn: at
once when something ended or a bell rang, else when something is due, and after LOOK seconds in any case.

Memory: the jobs under way (each body up to spool.INLINE), never the queue. An outcome that cannot be written, as on a
full disk, waits with its lease until it can: what was delivered is not sent again.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from echomox.config.schema import Queue
from echomox.log import Log
from echomox.queue import sweep
from echomox.queue.commit import Committer
from echomox.queue.database import QueueError, connect, translate
from echomox.queue.destinations import Destinations, asked_to_retry
from echomox.queue.finish import Compose, Context, Finished, finish, forget_retired, put_off
from echomox.queue.insert import Ways
from echomox.queue.lease import Ask, Haul, Leased, lease, next_turn, release, release_lost
from echomox.queue.outcome import Job, Outcome
from echomox.store.disk import Disk

LOOK = 1.0
GATHER = 0.002
"""Seconds, while deliveries are under way: what ends meanwhile makes room in one look."""
PAUSE = 0.01
"""Seconds, after a look that has moved messages for changed routes: what is under way comes first."""
TIDY = 30.0
SWEEP = 3600.0
"""Seconds between two looks for files without a message; what a crash has left just now is too young at the start."""
LEASE_TIME = 6 * 3600.0
JOB_TIME = 2 * 3600.0
"""No delivery lasts so long: who delivers has time limits of his own."""
TROUBLE = Outcome(0, "retry", 451, "4.3.0", "Local error, it is tried again later")
SUPPRESSED = Outcome(0, "suppressed", 550, "5.1.1", "The address is on your list of recipients that do not exist")

Deliver = Callable[[Job], Awaitable[Sequence[Outcome]]]


@dataclass(frozen=True, slots=True)
class Means:
    """What the runner works with. deliver: for mail to others; deliver_local: answers for recipients that are ours,
    asked when is_local(domain) and no transport is set. ways: see routes. count: the process's counters. runners: how
    many processes share the queue.
    """

    directory: Path
    holder: str
    queue: Queue
    ways: Ways
    deliver: Deliver
    deliver_local: Deliver
    is_local: Callable[[str], bool]
    compose: Compose
    log: Log
    count: Callable[[str, int], None]
    chance: Callable[[], float] = random.random
    runners: int = 1


class Runner:
    """Made in its loop."""

    def __init__(self, means: Means, disk: Disk | None = None) -> None:
        self._means = means
        self._disk = disk or Disk()
        queue = means.queue
        self.destinations = Destinations(
            queue.destination_concurrency, queue.dead_time, queue.dead_time_most, means.runners
        )
        self._leases = Committer(means.directory, durable=False, disk=disk)
        self._outcomes = Committer(means.directory, disk=disk)
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._last = ""
        self._next_tidy = 0.0
        self._next_sweep = 0.0
        self._asked = asked_to_retry(means.directory)

    @property
    def active(self) -> int:
        return len(self._tasks)

    def ring(self) -> None:
        """There is something new."""
        self._wake.set()

    def stop(self) -> None:
        """Leases no more; what is under way goes on."""
        self._stopped = True
        self._wake.set()

    async def run(self) -> None:
        """Until `stop`."""
        await self._guarded(self._start)
        tidying = asyncio.create_task(self._tidy())
        try:
            while not self._stopped:
                self._wake.clear()
                if self._tasks:
                    await asyncio.sleep(GATHER)
                    self._wake.clear()
                wait = await self._guarded(self._turn)
                if self._wake.is_set() or self._stopped:
                    continue
                try:
                    await asyncio.wait_for(self._wake.wait(), LOOK if wait is None else wait)
                except TimeoutError:
                    pass
        finally:
            tidying.cancel()

    async def _guarded(self, work: Callable[[], Awaitable[float | None]]) -> float | None:
        try:
            return await work()
        except (OSError, QueueError) as error:
            self._means.log.error("the queue cannot be worked on", error=error)
        except sqlite3.OperationalError as error:  # of `_tidy`, as when the disk is full
            self._means.log.error("the queue cannot be worked on", error=translate(error))
        except Exception:
            self._means.log.exception("queue runner failed")
            self._means.count("exceptions", 1)
        return LOOK

    async def _start(self) -> None:
        means = self._means
        given = await self._leases.run(lambda connection: release_lost(connection, time.time(), means.ways))
        if given:
            means.log.warn("messages of a runner that is gone are taken over", count=given)

    # -- leasing

    async def _turn(self) -> float | None:
        """Seconds until there is something to do by the clock."""
        means = self._means
        asked = asked_to_retry(means.directory)
        if asked != self._asked:
            self._asked = asked
            self.destinations.forget_all()
        want = means.queue.concurrency - self.active
        now = time.time()
        clock = time.monotonic()
        if want <= 0:
            return LOOK
        full, room = self.destinations.room(clock)
        ask = Ask(
            means.holder, now, now + LEASE_TIME, want, means.ways, full, room, self.destinations.initial, self._last
        )
        first = await self._leases.look(lambda connection: next_turn(connection, full))
        haul = Haul([], first, self._last)
        if first is not None and first <= now:
            haul = await self._leases.run(lambda connection: lease(connection, ask, means.directory))
        self._last = haul.last
        for leased in haul.jobs:
            self._begin(leased)
        await self._put_off_dead()
        times = [LOOK]
        if haul.wait_until is not None:
            times.append(haul.wait_until - time.time())
        if (revival := self.destinations.revival(clock)) is not None:
            times.append(revival - time.monotonic())
        if len(haul.jobs) == want:  # something will end before that
            return LOOK
        return max(PAUSE if haul.moved else 0.0, min(times))

    def _begin(self, leased: Leased) -> None:
        self.destinations.take(leased.hop, time.monotonic())
        task = asyncio.create_task(self._job(leased))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()

    # -- one job

    async def _job(self, leased: Leased) -> None:
        means = self._means
        told = False
        try:
            outcomes = await self._delivered(leased)
            self._tell_destination(leased.hop, outcomes)
            told = True
            self._wake.set()
            await self._write_down(leased.job, outcomes)
        except Exception:
            means.log.exception("job failed", id=leased.job.id)
            means.count("exceptions", 1)
        finally:
            if not told:
                self.destinations.abandoned(leased.hop)

    async def _delivered(self, leased: Leased) -> list[Outcome]:
        """One outcome per recipient, whatever happens."""
        job, means = leased.job, self._means
        now = time.time()
        ids = [recipient.id for recipient in job.recipients]
        if leased.missing:
            text = f"the transport {leased.missing} is not configured"
            return [Outcome(one, "retry", 451, "4.3.5", text, when=now) for one in ids]
        if job.transport is not None and job.transport.kind == "fail":
            code, text = job.transport.code, job.transport.text
            kind = "failed" if code >= 500 else "retry"
            return [Outcome(one, kind, code, f"{code // 100}.7.1", text, when=now) for one in ids]
        stopped = [replace(SUPPRESSED, recipient=one, when=now) for one in ids if one in leased.suppressed]
        left = _without(job, leased.suppressed)
        if not left.recipients:
            return stopped
        local = job.transport is None and means.is_local(job.domain)
        try:
            async with asyncio.timeout(JOB_TIME):
                found = await (means.deliver_local(left) if local else means.deliver(left))
        except TimeoutError:
            means.log.error("delivery took too long", id=job.id, domain=job.domain)
            found = []
        except Exception:
            means.log.exception("delivery failed", id=job.id, domain=job.domain)
            means.count("exceptions", 1)
            found = []
        return [*stopped, *_complete(left, found)]

    def _tell_destination(self, hop: str, outcomes: Sequence[Outcome]) -> None:
        trouble = next((one for one in outcomes if one.unreachable), None)
        now = time.monotonic()
        if trouble is None:
            self.destinations.succeeded(hop, now)
        elif self.destinations.failed(hop, now, f"{trouble.code} {trouble.enhanced} {trouble.text}"):
            self._means.log.info("destination left alone for now", hop=hop, why=trouble.text)

    async def _write_down(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        means = self._means
        context = self._context()
        while True:
            try:
                done = await self._outcomes.run(lambda connection: finish(connection, means.holder, outcomes, context))
                break
            except (OSError, QueueError) as error:
                means.log.error("outcome not written down yet", id=job.id, error=error)
                await asyncio.sleep(LOOK)  # the lease is kept: what was delivered is not sent again
        self._after(done)
        for outcome in outcomes:
            means.count(_COUNTERS.get(outcome.kind, "queue_failed"), 1)
        self._log(job, outcomes, done)

    def _context(self) -> Context:
        means = self._means
        return Context(means.queue, means.directory, means.ways, means.compose, time.time(), means.chance)

    def _after(self, done: Finished) -> None:
        for path in done.files:
            self._disk.unlink(str(path))
        if done.reports:
            self._means.count("queue_reports", len(done.reports))
            self._wake.set()

    def _log(self, job: Job, outcomes: Sequence[Outcome], done: Finished) -> None:
        log = self._means.log
        addresses = {recipient.id: recipient.address for recipient in job.recipients}
        became = dict(done.statuses)
        for outcome in outcomes:
            log.info(
                "delivery", id=job.id, message=outcome.recipient, to=addresses.get(outcome.recipient, ""),
                account=job.account, sender=job.sender, attempt=job.attempt, outcome=outcome.kind,
                became=became.get(outcome.recipient, "lost"), code=outcome.code, enhanced=outcome.enhanced,
                said=outcome.text, mta=outcome.remote_mta, remote=outcome.remote_ip, tls=outcome.tls,
                policy=outcome.policy, transport=job.transport_name,
            )  # fmt: skip

    # -- dead destinations

    async def _put_off_dead(self) -> None:
        """What is due for destinations that are dead: a try each, without trying."""
        dead = self.destinations.dead(time.monotonic())
        for hop in list(dead):
            if not await self._has_due(hop):
                continue
            text = f"not tried, the destination is left alone for now; before: {dead[hop]}"
            outcome = Outcome(0, "retry", 451, "4.4.1", text, when=time.time())
            context = self._context()
            done = await self._outcomes.run(partial(self._put_off, hop=hop, outcome=outcome, context=context))
            self._wake.set()
            if done is None:
                return
            self._after(done)
            self._means.log.info("messages put off", hop=hop, count=len(done.statuses), why=dead[hop])

    def _put_off(self, connection: sqlite3.Connection, hop: str, outcome: Outcome, context: Context) -> Finished | None:
        """In a transaction. None when somebody has asked for a try since this turn began: what is due may be theirs."""
        if asked_to_retry(self._means.directory) != self._asked:
            return None
        return put_off(connection, hop, outcome, context)

    async def _has_due(self, hop: str) -> bool:
        query = "SELECT 1 FROM flow WHERE hop = ? AND turn <= ? LIMIT 1"
        found = await self._leases.look(lambda connection: connection.execute(query, (hop, time.time())).fetchone())
        return found is not None

    # -- housekeeping

    async def _tidy(self) -> None:
        connection = await self._opened()
        try:
            while True:
                if time.monotonic() >= self._next_sweep:
                    self._next_sweep = time.monotonic() + SWEEP
                    await self._guarded(lambda: self._sweep(connection))
                await asyncio.sleep(LOOK)
                await self._guarded(lambda: self._tidy_once(connection))
        finally:
            connection.close()

    async def _opened(self) -> sqlite3.Connection:
        """As soon as that is possible: without this connection nobody would keep the WAL short."""
        while True:
            try:
                return await asyncio.to_thread(connect, self._means.directory, durable=True)
            except (OSError, QueueError) as error:
                self._means.log.error("the queue cannot be worked on", error=error)
            await asyncio.sleep(LOOK)

    async def _sweep(self, connection: sqlite3.Connection) -> float | None:
        removed = await asyncio.to_thread(sweep.remove_orphans, connection, self._means.directory)
        if removed:
            self._means.log.info("files without a message removed", count=removed)
        return None

    async def _tidy_once(self, connection: sqlite3.Connection) -> float | None:
        means = self._means
        await asyncio.to_thread(sweep.checkpoint, connection, means.directory)
        if time.monotonic() < self._next_tidy:
            return None
        self._next_tidy = time.monotonic() + TIDY
        await self._start()
        await self._leases.run(lambda found: forget_retired(found, time.time()))
        await asyncio.to_thread(sweep.give_back_space, connection)
        return None

    # -- the end

    async def finish(self) -> None:
        """Waits for what is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Ends what is still under way; its leases are given back."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        means = self._means
        try:
            await self._leases.run(lambda connection: _give_back(connection, means))
        except (OSError, QueueError) as error:
            means.log.error("leases not given back", error=error)
        await self._leases.close()
        await self._outcomes.close()


_COUNTERS = {"delivered": "queue_delivered", "relayed": "queue_delivered", "retry": "queue_deferred"}


def _give_back(connection: sqlite3.Connection, means: Means) -> int:
    query = "SELECT id FROM message WHERE state = 'leased' AND holder = ?"
    rows = connection.execute(query, (means.holder,)).fetchall()
    return release(connection, means.holder, [row[0] for row in rows], time.time(), means.ways)


def _without(job: Job, ids: frozenset[int]) -> Job:
    return replace(job, recipients=tuple(one for one in job.recipients if one.id not in ids)) if ids else job


def _complete(job: Job, found: Sequence[Outcome]) -> list[Outcome]:
    """Exactly one outcome per recipient of the job: what was not answered for is tried again."""
    now = time.time()
    by_id = {outcome.recipient: outcome for outcome in found}
    return [by_id.get(one.id) or replace(TROUBLE, recipient=one.id, when=now) for one in job.recipients]
