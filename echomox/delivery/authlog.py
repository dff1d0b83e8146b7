"""What DMARC aggregate reports are made of: one row per kind of result and day, with a count, in
data/mailauth/reports.db (RFC 7489 7.2, RFC 9990).

A worker adds rows in memory (`AuthLog.add`, no I/O), equal ones as one, and writes them in a thread every FLUSH
seconds; kill -9 loses at most those seconds. Reports are best effort: when the disk is full or the database is not
to be used, rows wait up to MOST_WAITING kinds, then they are dropped and counted in the log; no mail waits for them.
Several processes write; each transaction is short. A day has at most MOST_OF_DAY kinds: what a flood of invented
senders brings beyond that is not noted.

Readers: `ReportRows` (days, rows of a day by policy domain, removing old days).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from echomox.delivery.authpolicy import Disposition
from echomox.log import Log
from echomox.mailauth.check import AuthResults, MailFacts

FILE = Path("mailauth") / "reports.db"  # below the data directory
FLUSH = 5.0  # seconds
MOST_WAITING = 20_000
MOST_OF_DAY = 200_000
MOST_SIGNATURES = 8
BUSY = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS dmarc_result (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,    -- of all but count, first and last
    day TEXT NOT NULL,              -- 2026-11-22, UTC
    policy_domain TEXT NOT NULL,    -- where the record stands
    row TEXT NOT NULL,              -- JSON of ResultRow
    count INTEGER NOT NULL,
    first REAL NOT NULL,
    last REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS dmarc_result_day ON dmarc_result (day, policy_domain);
"""
_ADD = """INSERT INTO dmarc_result (digest, day, policy_domain, row, count, first, last) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (digest) DO UPDATE SET count = count + excluded.count, last = max(last, excluded.last),
    first = min(first, excluded.first)"""
_COUNT = "SELECT count(*) FROM dmarc_result WHERE day = ?"
_DAYS = "SELECT DISTINCT day, policy_domain FROM dmarc_result ORDER BY 1, 2"


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One kind of result.

    day: UTC, "2026-11-22". policy_domain: where the record was found; record: its text; policy: what it asks of this
    mail ("p", "sp" or "np" as `tag` says). header_from: domain; envelope_from: domain, "" for null. disposition: what
    was done. dkim, spf: "pass" if aligned, else "fail". override, comment: as in `authpolicy.Disposition`.
    dkim_results: (domain, selector, result). spf_result: (domain, scope "mfrom" or "helo", result).
    """

    day: str
    policy_domain: str
    record: str
    policy: str
    tag: str
    header_from: str
    envelope_from: str
    source_ip: str
    disposition: str
    dkim: str
    spf: str
    override: str
    comment: str
    dkim_results: tuple[tuple[str, str, str], ...]
    spf_result: tuple[str, str, str]


def row_of(results: AuthResults, mail: MailFacts, done: Disposition) -> ResultRow | None:
    """None for mail of a domain without a policy, of which nobody wants a report."""
    dmarc, spf = results.dmarc, results.spf
    if dmarc.record is None or dmarc.result not in ("pass", "fail"):
        return None
    return ResultRow(
        day=time.strftime("%Y-%m-%d", time.gmtime(mail.now)),
        policy_domain=dmarc.domain,
        record=dmarc.record.text,
        policy=dmarc.requested,
        tag=dmarc.tag,
        header_from=dmarc.from_domain,
        envelope_from=spf.domain if spf.identity == "mailfrom" else "",
        source_ip=mail.ip,
        disposition=done.what,
        dkim="pass" if dmarc.aligned_dkim else "fail",
        spf="pass" if dmarc.aligned_spf else "fail",
        override=done.override,
        comment=done.comment,
        dkim_results=tuple((each.domain, each.selector, each.result) for each in results.dkim[:MOST_SIGNATURES]),
        spf_result=(spf.domain, "mfrom" if spf.identity == "mailfrom" else "helo", spf.result),
    )


class AuthLog:
    """The writer of one worker process; for one event loop."""

    def __init__(self, file: Path, log: Log) -> None:
        """file: made, with its directory, at the first row."""
        self._file = file
        self._log = log
        self._waiting: dict[ResultRow, list[float]] = {}
        self._dropped = 0
        self._thread = ThreadPoolExecutor(1, "authlog")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Within a running loop."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Writes what there is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.flush()
        self._thread.shutdown(wait=False)

    def add(self, row: ResultRow, now: float) -> None:
        """No I/O, never raises."""
        found = self._waiting.get(row)
        if found is not None:
            found[0] += 1
            found[2] = now
        elif len(self._waiting) < MOST_WAITING:
            self._waiting[row] = [1, now, now]
        else:
            self._dropped += 1

    async def flush(self) -> None:
        """Never raises for trouble of the disk: the rows wait for the next time."""
        if not self._waiting:
            return
        rows, self._waiting = self._waiting, {}
        try:
            refused = await asyncio.get_running_loop().run_in_executor(self._thread, write_rows, self._file, rows)
        except (sqlite3.Error, OSError) as error:
            self._log.error("results for DMARC reports not written", error=str(error), rows=len(rows))
            self._put_back(rows)
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                self._move_aside()
            return
        if refused or self._dropped:
            self._log.warn("too many results for DMARC reports", not_noted=refused + self._dropped)
            self._dropped = 0

    def _move_aside(self) -> None:
        """A damaged database is kept for people, and a new one begun."""
        with suppress(OSError):
            os.replace(self._file, self._file.with_suffix(".damaged"))
            self._log.error("damaged database moved aside", file=str(self._file))

    def _put_back(self, rows: dict[ResultRow, list[float]]) -> None:
        for row, (count, first, last) in rows.items():
            found = self._waiting.get(row)
            if found is not None:
                found[0] += count
                found[1] = min(first, found[1])
            elif len(self._waiting) < MOST_WAITING:
                self._waiting[row] = [count, first, last]
            else:
                self._dropped += int(count)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            await self.flush()


def write_rows(file: Path, rows: Mapping[ResultRow, list[float]]) -> int:
    """Adds (count, first, last) of each row; returns how many kinds were not noted for want of room. Raises OSError,
    sqlite3.Error, and then nothing was written."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    refused = 0
    with closing(_connect(file)) as database:
        database.executescript(_SCHEMA)
        database.execute("BEGIN IMMEDIATE")
        counts: dict[str, int] = {}
        for row, (count, first, last) in rows.items():
            text = _text(row)
            digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()[:16]
            if row.day not in counts:
                counts[row.day] = database.execute(_COUNT, (row.day,)).fetchone()[0]
            if counts[row.day] >= MOST_OF_DAY:
                refused += 1
                continue
            counts[row.day] += 1
            database.execute(_ADD, (digest, row.day, row.policy_domain, text, int(count), first, last))
        database.execute("COMMIT")
    return refused


_NAMES = tuple(field.name for field in fields(ResultRow))
_values = attrgetter(*_NAMES)
_encode = json.JSONEncoder(separators=(",", ":")).encode


def _text(row: ResultRow) -> str:
    """As `asdict` would have it, whose copies of every value take three times as long."""
    return _encode(dict(zip(_NAMES, _values(row))))


def _connect(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=BUSY, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    return database


class ReportRows:
    """For who writes the reports. Every method opens the database for itself; raises sqlite3.Error for a damaged one. A
    database that is not there has nothing."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def days(self) -> list[tuple[str, str]]:
        """(day, policy domain), in order."""
        return [(day, domain) for day, domain in self._all(_DAYS)]

    def rows(self, day: str, policy_domain: str) -> Iterator[tuple[ResultRow, int]]:
        """(row, count), in the order in which they first came."""
        query = "SELECT row, count FROM dmarc_result WHERE day = ? AND policy_domain = ? ORDER BY first, id"
        for text, count in self._all(query, (day, policy_domain)):
            yield _row(json.loads(text)), count

    def remove_before(self, day: str) -> int:
        """Forgets the days before; returns how many rows that were."""
        if not self._file.exists():
            return 0
        with closing(_connect(self._file)) as database:
            database.executescript(_SCHEMA)
            return database.execute("DELETE FROM dmarc_result WHERE day < ?", (day,)).rowcount

    def _all(self, query: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        if not self._file.exists():
            return []
        with closing(_connect(self._file)) as database:
            database.executescript(_SCHEMA)  # its writer may have come no further than the file
            return database.execute(query, values).fetchall()


def _row(data: dict[str, Any]) -> ResultRow:
    data["dkim_results"] = tuple(tuple(each) for each in data["dkim_results"])
    data["spf_result"] = tuple(data["spf_result"])
    return ResultRow(**data)
