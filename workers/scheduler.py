"""The scheduler: jobs that are due by the clock, one at a time. A job is a row of JOBS and a function of a `Desk`.

When a job was last run stands in `data/scheduler.json`, so that a restart neither repeats nor forgets it. A job is due
`interval` after its last run, sooner or later by up to a tenth of it, so that many servers do not ask others at the
same moment; one that never ran is due within MINUTES of the start. A job that takes longer than its `limit` is given
up until its next time; what it does in a thread asks `Desk.stopped` between its steps. Each run is logged, with what it
did; a failed one is tried again after RETRY at the latest. It runs in the process of `workers.housekeeper`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from echomox.clock import SYSTEM, Clock
from echomox.config.files import write_atomic
from echomox.config.hostcheck import own_addresses
from echomox.config.paths import Paths
from echomox.config.schema import Static
from echomox.config.snapshot import Snapshot
from echomox.delivery.dnsbl import DnsLists
from echomox.dns import open_resolver
from echomox.dns.types import Resolver
from echomox.ipc.bells import Bells
from echomox.log import Log, logger
from echomox.outbound.remote import Place, open_policies
from echomox.reports import sending
from echomox.reports.run import Means
from echomox.store import open_engine
from echomox.store.engine import FEW_OPEN, AccountStore, Engine, Mailbox, NoSuchAccount, StoreError

if TYPE_CHECKING:
    from workers.base import Worker

FILE = "scheduler.json"
MINUTES = 300.0
RETRY = 3600.0
JITTER = 0.1
DAY = 86_400.0
MAX_UID = (1 << 32) - 1
RETENTION = "/private/vendor/echomox/retention"
"""Entry of METADATA (RFC 5464): days after which messages are removed from a mailbox."""
AT_ONCE = 500
"""Messages removed in one transaction."""


@dataclass(slots=True)
class Desk:
    """What jobs work with."""

    static: Static
    paths: Paths
    engine: Engine
    resolver: Resolver
    snapshot: Callable[[], Snapshot]
    log: Log
    clock: Clock = SYSTEM
    addresses: Callable[[], Iterable[str]] = own_addresses
    stopped: Callable[[], bool] = lambda: False


class Job(NamedTuple):
    """interval, limit: seconds. run: what it did, for the log; may raise."""

    name: str
    interval: float
    limit: float
    run: Callable[[Desk], Awaitable[Mapping[str, Any]]]


@dataclass(slots=True)
class Last:
    """Of one job. at: Unix seconds, 0 for never. error: "" when it went well."""

    at: float = 0.0
    seconds: float = 0.0
    error: str = ""
    did: dict[str, Any] = field(default_factory=dict)


# -- the jobs -------------------------------------------------------------------


async def expire_mail(desk: Desk) -> Mapping[str, Any]:
    """Rejects by age and number (F13), Trash and Junk by age where the account wants it, and any mailbox by age that
    has the annotation RETENTION (T16)."""
    return await asyncio.to_thread(_expire_mail, desk)


def _expire_mail(desk: Desk) -> Mapping[str, Any]:
    removed = {"rejects": 0, "trash": 0, "junk": 0, "others": 0}
    now = desk.clock.now()
    for name, account in desk.snapshot().accounts.items():
        if desk.stopped():
            break
        try:
            store = desk.engine.open(name)
            kinds = (
                ("rejects", _named(store, "Rejects"), account.rejects_days, account.rejects_messages),
                ("trash", store.special_mailbox("\\Trash"), account.trash_days, 0),
                ("junk", store.special_mailbox("\\Junk"), account.junk_days, 0),
            )
            for kind, mailbox, days, most in kinds:
                if mailbox is not None and mailbox.total and days:
                    removed[kind] += expire(store, mailbox, now - days * DAY, most, desk.stopped)
            for mailbox in store.mailboxes():
                if mailbox.total and (days := retention(store, mailbox)):
                    removed["others"] += expire(store, mailbox, now - days * DAY, 0, desk.stopped)
        except NoSuchAccount:
            continue
        except (StoreError, OSError) as error:
            desk.log.warn("mail not expired", account=name, error=f"{type(error).__name__}: {error}")
    return removed


def retention(store: AccountStore, mailbox: Mailbox) -> int:
    """Days, by the annotation that a client has set; 0 for none, and for what is no number."""
    value = store.annotations(mailbox.id).get(RETENTION, b"")
    return int(value) if value.isdigit() and len(value) <= 5 else 0


def _named(store: AccountStore, name: str) -> Mailbox | None:
    return next((mailbox for mailbox in store.mailboxes() if mailbox.name == name), None)


def expire(store: AccountStore, mailbox: Mailbox, before: float, most: int, stopped: Callable[[], bool]) -> int:
    """Removes what was saved in the mailbox before a moment, and the oldest beyond `most` (0: any number)."""
    rows = list(store.fetch(mailbox.id, 1, MAX_UID, ("uid", "saved")))
    beyond = len(rows) - most if most else 0
    doomed = [uid for place, (uid, saved) in enumerate(rows) if place < beyond or saved < before]
    removed = 0
    for start in range(0, len(doomed), AT_ONCE):
        if stopped():
            break
        removed += len(store.remove(mailbox.id, doomed[start : start + AT_ONCE])[0])
    return removed


async def refresh_mta_sts(desk: Desk) -> Mapping[str, Any]:
    """Policies of MTA-STS that are used, and half through their time (RFC 8461 10.2)."""
    policies = open_policies(Place(desk.static, desk.paths), desk.resolver, desk.log)
    try:
        return {"fetched": await policies.refresh()}
    finally:
        await policies.close()


async def watch_dnsbl(desk: Desk) -> Mapping[str, Any]:
    """F17: whether our own addresses stand on a list; and lists that are not well are told of."""
    settings = desk.static.filter
    if not settings.dnsbl or not settings.dnsbl_watch:
        return {"lists": 0}
    lists = DnsLists(desk.resolver, desk.clock)
    listed, ill = [], []
    for zone in settings.dnsbl:
        health = await lists.health(zone)
        if not health.well:
            ill.append(zone)
            desk.log.warn("DNS list is not well and is not asked", zone=zone, why=health.why)
            continue
        for address in desk.addresses():
            found = await lists.ask(address, zone)
            if found is not None:
                listed.append(f"{address}@{zone}")
                desk.log.error("our own address is listed", address=address, zone=zone, text=found.text)
    return {"lists": len(settings.dnsbl), "listed": listed, "ill": ill}


async def send_reports(desk: Desk) -> Mapping[str, Any]:
    """D11, Q16: DMARC aggregate reports and TLS reports about the days that are over."""
    return await sending.send_reports(
        Means(desk.static, desk.paths, desk.resolver, desk.snapshot, desk.log, desk.clock, lambda: desk.stopped())
    )


JOBS = (
    Job("expire-mail", 3600.0, 1800.0, expire_mail),
    Job("refresh-mta-sts", DAY / 2, 1800.0, refresh_mta_sts),
    Job("watch-dnsbl", DAY, 600.0, watch_dnsbl),
    Job("send-reports", sending.INTERVAL, sending.LIMIT, send_reports),
)


# -- when ------------------------------------------------------------------------


class Scheduler:
    """The service without its process. chance: numbers from 0 to 1."""

    def __init__(
        self, desk: Desk, jobs: tuple[Job, ...] = JOBS, chance: Callable[[], float] = random.random
    ) -> None:
        self._desk = desk
        self._jobs = jobs
        self._path = desk.paths.data / FILE
        self._stop = asyncio.Event()
        self.last = read_last(self._path, desk.log)
        now = desk.clock.now()
        self._due = {job.name: self._first(job, now, chance()) for job in jobs}
        self._chance = chance

    def _first(self, job: Job, now: float, chance: float) -> float:
        last = self.last.get(job.name)
        if last is None or not 0 < last.at <= now:  # never, or the clock was set back
            return now + MINUTES * chance
        wait = min(job.interval, RETRY) if last.error else job.interval
        return max(last.at + wait, now + MINUTES * chance * JITTER)

    def due(self) -> tuple[float, Job]:
        """The next job, and when."""
        return min(((self._due[job.name], job) for job in self._jobs), key=lambda pair: pair[0])

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Until `stop`."""
        while not self._stop.is_set():
            when, job = self.due()
            wait = when - self._desk.clock.now()
            if wait > 0:
                with contextlib.suppress(TimeoutError):
                    # Looked at once a minute at least: the clock may be set.
                    await asyncio.wait_for(self._stop.wait(), min(wait, 60.0))
                continue
            await self.run_one(job)

    async def run_one(self, job: Job) -> Last:
        """Now; notes how it went."""
        given_up = threading.Event()
        desk = replace(self._desk, stopped=lambda: given_up.is_set() or self._stop.is_set())
        began = time.monotonic()
        did: Mapping[str, Any] = {}
        error = ""
        work = asyncio.ensure_future(job.run(desk))
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((work, stopping), timeout=job.limit, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not work.done():
            given_up.set()  # threads see it; then there is no more to wait for than one step of theirs
            error = "stopped" if self._stop.is_set() else f"not done within {job.limit:g} s"
            work.cancel()
        try:
            done = await work
            did = {} if error else done
        except asyncio.CancelledError:
            pass
        except Exception as trouble:
            error = f"{type(trouble).__name__}: {trouble}"
            desk.log.exception("job failed", job=job.name)
        now = desk.clock.now()
        last = self.last[job.name] = Last(now, time.monotonic() - began, error, dict(did))
        wait = job.interval * (1 + JITTER * (2 * self._chance() - 1))
        self._due[job.name] = now + (min(wait, RETRY) if error else wait)
        if error:
            desk.log.warn("job not done", job=job.name, seconds=last.seconds, error=error)
        else:
            desk.log.info("job done", job=job.name, seconds=last.seconds, **_shown(did))
        self._keep()
        return last

    def _keep(self) -> None:
        try:
            found = {name: asdict(last) for name, last in self.last.items()}
            write_atomic(self._path, json.dumps(found, indent=1).encode() + b"\n")
        except OSError as error:
            self._desk.log.error("last runs not kept", error=error)


def _shown(did: Mapping[str, Any]) -> dict[str, Any]:
    return {name: ",".join(value) if isinstance(value, list) else value for name, value in did.items()}


def read_last(path: Any, log: Log) -> dict[str, Last]:
    """What was kept; nothing, and a word in the log, when it cannot be read."""
    try:
        found = json.loads(path.read_bytes())
        return {
            str(name): Last(float(one["at"]), float(one["seconds"]), str(one["error"]), dict(one["did"]))
            for name, one in found.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        log.error("last runs not read, all jobs run anew", file=str(path), error=error)
        return {}


@contextlib.asynccontextmanager
async def scheduling(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """Jobs are run within the `with`; gives the task that does, which ends before only by an exception."""
    log = logger("scheduler")
    engine = open_engine(worker.paths)
    engine.open_limit = FEW_OPEN
    bells = Bells(worker.paths.socket("change"), log)
    loop = asyncio.get_running_loop()

    def changed(account: str, modseq: int) -> None:  # jobs write from threads
        loop.call_soon_threadsafe(bells.ring, account, modseq)

    engine.on_change = changed
    await bells.start()
    resolver = open_resolver(worker.static.dns)
    scheduler = Scheduler(Desk(worker.static, worker.paths, engine, resolver, worker.snapshot, log))
    running = asyncio.create_task(scheduler.run())
    try:
        yield running
    finally:
        scheduler.stop()
        await asyncio.gather(running, return_exceptions=True)
        await resolver.close()
        await bells.close()
        engine.close()
