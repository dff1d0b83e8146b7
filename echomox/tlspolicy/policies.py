"""The memory of transport security: policies of MTA-STS that were fetched, and results for TLS reports.

One SQLite file, `data/tlspolicy/index.db`, of all processes; a process keeps what it asked a minute ago. A policy is
got when the domain's id in DNS is new; when DNS or HTTPS fail, one that has not run out goes on (RFC 8461 5.1); a
fetch that failed is not repeated for five minutes (RFC 8461 3.3). Results are added up in memory and written every
few seconds: a crash loses some counts, never mail.

    policies = Policies(path, resolver, fetcher, clock)
    sts = await policies.find("example.org")         # never raises for what DNS, HTTPS or the disk do
    policies.record(Result(...)); await policies.refresh(); await policies.close()
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from echomox.clock import SYSTEM, Clock
from echomox.dns.types import DnsTemporary, Resolver
from echomox.log import Log, logger
from echomox.tlspolicy.fetch import Fetcher, FetchError
from echomox.tlspolicy.mtasts import BadPolicy, Policy, parse_record
from echomox.tlspolicy.tlsrpt import TEXT_LIMIT, Counted, Result

REMEMBER = 60.0  # seconds that an answer is used without asking DNS again
REMEMBERED = 10_000  # domains in memory
RETRY = 300.0  # seconds between fetches for a domain after one that failed
FLUSH = 5.0  # seconds between writes of results
KINDS_LIMIT = 2000  # different results held in memory
DAY_LIMIT = 200  # different failures of one domain and day on disk
UNUSED = 30 * 86_400.0  # seconds after which a policy that no mail asked for is no longer refreshed
RESULTS_KEPT = 30  # days
_RESULT = tuple(field.name for field in fields(Result))
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS sts (
    domain TEXT PRIMARY KEY, id TEXT NOT NULL, policy TEXT NOT NULL, fetched REAL NOT NULL, expires REAL NOT NULL,
    used REAL NOT NULL, tried REAL NOT NULL, error TEXT NOT NULL, result TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS result (
    day TEXT NOT NULL, {", ".join(f"{name} TEXT NOT NULL" for name in _RESULT)}, count INTEGER NOT NULL,
    PRIMARY KEY (day, {", ".join(_RESULT)})
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of a domain. policy: None when none ever came. error, result: of the last try, "" if it went well;
    result is a type of RFC 8460. Times are seconds since 1970, 0 for never."""

    domain: str
    id: str
    policy: Policy | None
    fetched: float
    expires: float
    used: float
    tried: float
    error: str
    result: str

    def valid(self, now: float) -> bool:
        return self.policy is not None and now < self.expires


@dataclass(frozen=True, slots=True)
class Found:
    """policy: in force for the domain, None without one. error, result: why it could not be got or renewed."""

    policy: Policy | None
    id: str = ""
    error: str = ""
    result: str = ""


NOTHING = Found(None)


class Policies:
    """fetcher: made at the first fetch, for a context with the system's authorities takes 0.1 s to make."""

    def __init__(
        self,
        path: Path,
        resolver: Resolver,
        fetcher: Callable[[], Fetcher],
        clock: Clock = SYSTEM,
        log: Log | None = None,
    ) -> None:
        self.database = Database(path)
        self.resolver = resolver
        self.clock = clock
        self.log = log or logger("tlspolicy")
        self._make_fetcher = fetcher
        self._fetcher: Fetcher | None = None
        self._known: OrderedDict[str, tuple[float, Found]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Found]] = {}
        self._counts: dict[tuple[str, Result], int] = {}
        self._flushing: asyncio.Task[None] | None = None

    # policies of other domains

    async def find(self, domain: str) -> Found:
        """The policy for mail to a domain (A-labels, lower case). Never raises for trouble outside."""
        known = self._known.get(domain)
        if known is not None and self.clock.monotonic() < known[0]:
            return known[1]
        task = self._asking.get(domain)
        if task is None:
            task = self._asking[domain] = asyncio.create_task(self._find(domain))
            task.add_done_callback(lambda _: self._asking.pop(domain, None))
        return await asyncio.shield(task)

    async def _find(self, domain: str) -> Found:
        found = await self._ask(domain, force=False)
        self._known[domain] = (self.clock.monotonic() + REMEMBER, found)
        self._known.move_to_end(domain)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found

    async def _ask(self, domain: str, *, force: bool) -> Found:
        now = self.clock.now()
        entry = await self._read(domain)
        try:
            wanted = await self._dns_id(domain)
        except (DnsTemporary, BadPolicy) as error:
            reason = error.reason if isinstance(error, DnsTemporary) else str(error)
            # RFC 8461 5.1: a policy that was got before holds until it runs out.
            return self._kept(entry, now, reason, "sts-policy-fetch-error") if entry and entry.valid(now) else NOTHING
        if wanted is None:
            return self._kept(entry, now) if entry and entry.valid(now) else NOTHING
        if entry is not None and not force:
            if entry.valid(now) and entry.id == wanted:
                if now - entry.used > 3600:
                    await self._write(self.database.used, domain, now)
                return self._kept(entry, now)
            if now < entry.tried + RETRY and entry.error:
                return self._kept(entry, now, entry.error, entry.result)
        return await self._renew(domain, wanted, entry, used=now if not force else entry.used if entry else now)

    @staticmethod
    def _kept(entry: Entry, now: float, error: str = "", result: str = "") -> Found:
        policy = entry.policy if entry.valid(now) else None
        return Found(policy if policy and policy.mode != "none" else None, entry.id, error, result)

    async def _dns_id(self, domain: str) -> str | None:
        answer = await self.resolver.lookup("_mta-sts." + domain, "TXT")
        return parse_record(answer.values)

    # A file that cannot be read or written costs memory of policies, never a policy that can be got.

    async def _read(self, domain: str) -> Entry | None:
        try:
            return await asyncio.to_thread(self.database.entry, domain)
        except (OSError, ValueError, sqlite3.Error) as error:
            self.log.error("policies not read", domain=domain, error=error)
            return None

    async def _write(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            await asyncio.to_thread(function, *arguments)
        except (OSError, sqlite3.Error) as error:
            self.log.error("policies or TLS results not written", error=error)

    async def _renew(self, domain: str, wanted: str, entry: Entry | None, used: float) -> Found:
        try:
            policy = await self._fetch(domain)
        except FetchError as error:
            now = self.clock.now()
            old = entry or Entry(domain, "", None, 0.0, 0.0, used, now, "", "")
            self.log.warn("policy not got", domain=domain, error=error)
            failed = Entry(
                domain, old.id, old.policy, old.fetched, old.expires, used, now, str(error)[:TEXT_LIMIT], error.result
            )
            await self._write(self.database.keep, failed)
            return self._kept(failed, now, failed.error, failed.result)
        now = self.clock.now()
        fresh = Entry(domain, wanted, policy, now, now + policy.max_age, used, now, "", "")
        await self._write(self.database.keep, fresh)
        self.log.info("policy got", domain=domain, id=wanted, mode=policy.mode, max_age=policy.max_age)
        return self._kept(fresh, now)

    async def fetch_now(self, domain: str, wanted: str) -> Found:
        """The policy as it stands at its host at this moment, whatever is remembered. wanted: its id in DNS."""
        entry = await self._read(domain)
        return await self._renew(domain, wanted, entry, self.clock.now())

    async def _fetch(self, domain: str) -> Policy:
        host, trouble = "mta-sts." + domain, ""
        addresses: list[str] = []
        for kind in ("A", "AAAA"):
            try:
                addresses += (await self.resolver.lookup(host, kind)).values
            except DnsTemporary as error:
                trouble = error.reason
        if not addresses:
            raise FetchError("sts-policy-fetch-error", f"{host}: {trouble or 'no address'}")
        if self._fetcher is None:
            self._fetcher = await asyncio.to_thread(self._make_fetcher)
        return await self._fetcher.fetch(domain, addresses)

    async def refresh(self) -> int:
        """Gets anew what half of its time has passed of or whose id changed (RFC 8461 3.3, 10.2), and forgets what has
        run out and nothing asks for. Returns how many were got. For the scheduler, once a day or more often.
        """
        now, got = self.clock.now(), 0
        for entry in await asyncio.to_thread(self.database.entries):
            if entry.expires < now and entry.used + UNUSED < now:
                await asyncio.to_thread(self.database.forget, entry.domain)
                continue
            if entry.policy is None or entry.used + UNUSED < now:
                continue
            half = entry.fetched + entry.policy.max_age / 2 < now
            try:
                if half or await self._dns_id(entry.domain) not in (None, entry.id):
                    got += not (await self._ask(entry.domain, force=True)).error
                    self._known.pop(entry.domain, None)
            except (DnsTemporary, BadPolicy) as error:
                self.log.debug("policy not looked at", domain=entry.domain, error=error)
        await asyncio.to_thread(self.database.expire, _day(now - RESULTS_KEPT * 86_400))
        return got

    # results

    def record(self, result: Result) -> None:
        """Counts a result; it is on disk some seconds later, or when `flush` or `close` returns."""
        key = _day(self.clock.now()), result
        if key not in self._counts and len(self._counts) >= KINDS_LIMIT:
            return
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_later())

    async def _flush_later(self) -> None:
        await asyncio.sleep(FLUSH)
        await self._write_counts()

    async def _write_counts(self) -> None:
        counts, self._counts = self._counts, {}
        if counts:
            await self._write(self.database.add, [Counted(day, r, n) for (day, r), n in counts.items()])

    async def flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._flushing
            self._flushing = None
        await self._write_counts()

    async def close(self) -> None:
        for task in list(self._asking.values()):
            task.cancel()
        await self.flush()
        await asyncio.to_thread(self.database.close)


class Database:
    """The file, opened at first use; may be used from any thread, by one at a time. Raises OSError, sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._opened: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            with self._opened:
                yield self._opened

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=10.0, check_same_thread=False)
        self.path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
        return connection

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def entry(self, domain: str) -> Entry | None:
        with self._use() as connection:
            row = connection.execute("SELECT * FROM sts WHERE domain = ?", (domain,)).fetchone()
        return _entry(row) if row else None

    def entries(self) -> list[Entry]:
        with self._use() as connection:
            return [_entry(row) for row in connection.execute("SELECT * FROM sts ORDER BY domain")]

    def keep(self, entry: Entry) -> None:
        policy = entry.policy
        text = json.dumps([policy.mode, policy.mx, policy.max_age]) if policy else ""
        with self._use() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO sts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (entry.domain, entry.id, text, entry.fetched, entry.expires, entry.used, entry.tried, entry.error,
                 entry.result),
            )  # fmt: skip

    def used(self, domain: str, now: float) -> None:
        with self._use() as connection:
            connection.execute("UPDATE sts SET used = ? WHERE domain = ?", (now, domain))

    def forget(self, domain: str) -> None:
        with self._use() as connection:
            connection.execute("DELETE FROM sts WHERE domain = ?", (domain,))

    def add(self, counted: Sequence[Counted]) -> None:
        """Adds to the counts. Of one domain and day at most DAY_LIMIT different results are kept."""
        names = ", ".join(("day", *_RESULT))
        marks = ", ".join("?" * (len(_RESULT) + 2))
        upsert = f"INSERT INTO result ({names}, count) VALUES ({marks}) ON CONFLICT DO UPDATE SET count = count + ?"  # noqa: S608
        room = "SELECT count(*) FROM result WHERE day = ? AND domain = ?"
        with self._use() as connection:
            for item in counted:
                if item.result.failure:
                    (number,) = connection.execute(room, (item.day, item.result.domain)).fetchone()
                    if number >= DAY_LIMIT:
                        item = Counted(item.day, _without_details(item.result), item.count)
                connection.execute(upsert, (item.day, *_texts(item.result), item.count, item.count))

    def results(self, day: str = "") -> list[Counted]:
        """Of one day (YYYY-MM-DD), or of all."""
        names = ", ".join(("day", *_RESULT, "count"))
        query = f"SELECT {names} FROM result WHERE day = ? OR ? = '' ORDER BY day, domain"  # noqa: S608
        with self._use() as connection:
            rows: list[Any] = connection.execute(query, (day, day)).fetchall()
        return [Counted(row[0], _result(row[1:-1]), row[-1]) for row in rows]

    def expire(self, before: str) -> None:
        """Forgets results of days before this one."""
        with self._use() as connection:
            connection.execute("DELETE FROM result WHERE day < ?", (before,))


def _without_details(result: Result) -> Result:
    return Result(
        result.domain, result.recipient_domain, result.policy, result.strings, result.patterns, result.failure
    )


def _texts(result: Result) -> list[str]:
    return [json.dumps(value) if isinstance(value, tuple) else value[:1000] for value in astuple(result)]


def _result(row: Sequence[str]) -> Result:
    values: list[Any] = list(row)
    for place in (_RESULT.index("strings"), _RESULT.index("patterns")):
        values[place] = tuple(json.loads(values[place]))
    return Result(*values)


def _entry(row: Sequence[Any]) -> Entry:
    domain, id, text, *rest = row
    policy = None
    if text:
        mode, mx, max_age = json.loads(text)
        policy = Policy(mode, tuple(mx), max_age)
    return Entry(domain, id, policy, *rest)


def _day(now: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(now))
