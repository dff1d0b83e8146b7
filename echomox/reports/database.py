"""data/reports/index.db: which reports were sent and which are still to be, and the reports that came in.

A report to be sent is a row of `outgoing`, one for each kind, day and domain: that is why none goes out twice.

    planned  to be sent when `due`
    sending  its mail, known by `message_id`, is being put into the queue: whether it is there the queue knows
    sent     done, to at least one destination
    none     nothing to be done: nobody wants it, or none of those who do may get it (`note`)
    failed   given up (`note`)

Rows that are over are forgotten after KEEP_SENT, long after the results that they were made of. Every change is on disk
when the method returns. Methods open the file for themselves, from any thread; they raise OSError, sqlite3.Error.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from echomox.reports.model import (
    AggregateReport,
    AggregateRow,
    Published,
    TlsFailure,
    TlsPolicy,
    TlsReport,
)

FILE = Path("reports") / "index.db"  # below the data directory
BUSY = 10.0
VERSION = 1
KEEP_SENT = 60 * 86_400.0
LATE = 8 * 86_400.0
"""After so long a report that could not be sent is given up."""
MOST_OF_DAY = 2000
"""Reports that came in on one day and are kept: a flood of them fills no disk."""
MOST_ROWS = 200_000
"""Their rows."""
KINDS = ("dmarc", "tls")
STATES = ("planned", "sending", "sent", "none", "failed")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS outgoing (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('dmarc', 'tls')),
    day TEXT NOT NULL,              -- 2026-11-22, UTC: that it is about
    domain TEXT NOT NULL,           -- likewise
    due REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('planned', 'sending', 'sent', 'none', 'failed')),
    tries INTEGER NOT NULL DEFAULT 0,
    message_id TEXT NOT NULL DEFAULT '',
    mailed INTEGER NOT NULL DEFAULT 0,  -- its mail is in the queue, or there is none to be
    posted TEXT NOT NULL DEFAULT '[]',  -- https URIs that took it
    recipients TEXT NOT NULL DEFAULT '[]',
    size INTEGER NOT NULL DEFAULT 0,    -- compressed
    note TEXT NOT NULL DEFAULT '',
    at REAL NOT NULL DEFAULT 0,         -- of the last change
    UNIQUE (kind, day, domain)
);
CREATE INDEX IF NOT EXISTS outgoing_due ON outgoing (state, due);
CREATE TABLE IF NOT EXISTS received (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('dmarc', 'tls')),
    domain TEXT NOT NULL,           -- that it is about; of TLS that of its first policy
    submitter TEXT NOT NULL,        -- domain that sent it, proved
    organisation TEXT NOT NULL,
    report_id TEXT NOT NULL,
    begin INTEGER NOT NULL,
    end INTEGER NOT NULL,
    arrived REAL NOT NULL,
    good INTEGER NOT NULL,          -- messages that passed, sessions that succeeded
    bad INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    data BLOB NOT NULL,             -- the report as JSON, zlib
    UNIQUE (kind, submitter, report_id, domain)
);
CREATE INDEX IF NOT EXISTS received_end ON received (kind, end);
CREATE INDEX IF NOT EXISTS received_arrived ON received (arrived);
CREATE TABLE IF NOT EXISTS source (
    report INTEGER NOT NULL REFERENCES received (id),
    source_ip TEXT NOT NULL,
    header_from TEXT NOT NULL,
    disposition TEXT NOT NULL,
    dkim TEXT NOT NULL,
    spf TEXT NOT NULL,
    count INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS source_report ON source (report);
"""
_OUTGOING = "id, kind, day, domain, due, state, tries, message_id, mailed, posted, recipients, size, note, at"
_RECEIVED = "id, kind, domain, submitter, organisation, report_id, begin, end, arrived, good, bad, rows"
_SOURCES = """SELECT source_ip, sum(count) AS mails, sum(count * (dkim = 'pass' OR spf = 'pass')) AS passed,
    sum(count * (dkim = 'pass')), sum(count * (spf = 'pass')), sum(count * (disposition = 'quarantine')),
    sum(count * (disposition = 'reject'))
    FROM source WHERE report IN (SELECT id FROM received WHERE {where})
    GROUP BY source_ip ORDER BY mails - passed DESC, mails DESC, source_ip LIMIT ?"""


class TooMany(Exception):
    """More reports came on one day than are kept."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A row of `outgoing`."""

    id: int
    kind: str
    day: str
    domain: str
    due: float
    state: str
    tries: int
    message_id: str
    mailed: bool
    posted: tuple[str, ...]
    recipients: tuple[str, ...]
    size: int
    note: str
    at: float


@dataclass(frozen=True, slots=True)
class Received:
    """A row of `received`, without its report."""

    id: int
    kind: str
    domain: str
    submitter: str
    organisation: str
    report_id: str
    begin: int
    end: int
    arrived: float
    good: int
    bad: int
    rows: int


@dataclass(frozen=True, slots=True)
class Span:
    """Which of the reports that came in: of a domain ("" all), about times from `since` to `until` (0: open)."""

    kind: str
    domain: str = ""
    since: float = 0.0
    until: float = 0.0

    def where(self) -> tuple[str, tuple[Any, ...]]:
        text = "kind = ? AND (? = '' OR domain = ?) AND end >= ? AND (? = 0 OR begin < ?)"
        return text, (self.kind, self.domain, self.domain, self.since, self.until, self.until)


class ReportsDatabase:
    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None)
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                self._make(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()  # what was not committed is taken back

    def _make(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
        self.path.chmod(0o600)
        if os.geteuid() == 0:  # what root makes belongs to whom the data belongs
            owner = self.path.parent.parent.stat()
            for place in (self.path.parent, *self.path.parent.glob(self.path.name + "*")):
                shutil.chown(place, owner.st_uid, owner.st_gid)

    # reports to be sent

    def plan(self, rows: Iterable[tuple[str, str, str, float]]) -> int:
        """(kind, day, domain, due) of each; those that there are stay as they are. How many are new."""
        with self._use() as connection:
            before = connection.total_changes
            connection.executemany(
                "INSERT OR IGNORE INTO outgoing (kind, day, domain, due, state) VALUES (?, ?, ?, ?, 'planned')", rows
            )
            return connection.total_changes - before

    def known(self, kind: str, day: str) -> set[str]:
        """Domains whose report of that day is planned, or over."""
        with self._use() as connection:
            found = connection.execute("SELECT domain FROM outgoing WHERE kind = ? AND day = ?", (kind, day))
            return {domain for (domain,) in found}

    def due(self, now: float, limit: int) -> list[Planned]:
        """Those to be sent now, the earliest first."""
        return self._outgoing("state = 'planned' AND due <= ? ORDER BY due, id LIMIT ?", (now, limit))

    def interrupted(self) -> list[Planned]:
        return self._outgoing("state = 'sending' ORDER BY id", ())

    def outgoing(self, kind: str, domain: str = "", limit: int = 1000, unwanted: bool = True) -> list[Planned]:
        """The latest first. unwanted: with those that nobody wanted."""
        return self._outgoing(
            "kind = ? AND (? = '' OR domain = ?) AND (? OR state != 'none') ORDER BY day DESC, domain LIMIT ?",
            (kind, domain, domain, unwanted, limit),
        )

    def _outgoing(self, where: str, values: Sequence[Any]) -> list[Planned]:
        if not self.path.exists():
            return []
        with self._use() as connection:
            rows = connection.execute(f"SELECT {_OUTGOING} FROM outgoing WHERE {where}", values).fetchall()
        return [_planned(row) for row in rows]

    def begin(self, number: int, message_id: str, recipients: Sequence[str], now: float) -> None:
        """Before its mail goes into the queue."""
        self._change(
            number, "state = 'sending', message_id = ?, recipients = ?, at = ?",
            (message_id, json.dumps(recipients), now),
        )  # fmt: skip

    def mailed(self, number: int, queued: bool, now: float) -> None:
        """Its mail is in the queue; or not, and may be put there."""
        self._change(number, "state = 'planned', mailed = ?, at = ?", (queued, now))

    def posted(self, number: int, uris: Sequence[str], now: float) -> None:
        self._change(number, "posted = ?, at = ?", (json.dumps(uris), now))

    def postpone(self, number: int, due: float, note: str, now: float) -> None:
        """After a try that did not come to an end. One that broke off while its mail was on its way stays "sending"."""
        self._change(number, "tries = tries + 1, due = ?, note = ?, at = ?", (due, note[:500], now))

    def finish(self, number: int, state: str, size: int, note: str, now: float) -> None:
        self._change(number, "state = ?, size = ?, note = ?, at = ?", (state, size, note[:500], now))

    def _change(self, number: int, settings: str, values: Sequence[Any]) -> None:
        with self._use() as connection:
            connection.execute(f"UPDATE outgoing SET {settings} WHERE id = ?", (*values, number))

    # reports that came in

    def keep(self, kind: str, submitter: str, report: AggregateReport | TlsReport, arrived: float) -> int:
        """Its number; 0 when it was there already. Raises TooMany."""
        facts, sources = _facts(report)
        data = zlib.compress(json.dumps(asdict(report), separators=(",", ":")).encode())
        with self._use() as connection:
            number, rows = connection.execute(
                "SELECT count(*), coalesce(sum(rows), 0) FROM received WHERE arrived > ?", (arrived - 86_400,)
            ).fetchone()
            if number >= MOST_OF_DAY or rows + facts[-1] > MOST_ROWS:
                raise TooMany
            cursor = connection.execute(
                "INSERT OR IGNORE INTO received (kind, submitter, arrived, domain, organisation, report_id, begin, end,"
                " good, bad, rows, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (kind, submitter, arrived, *facts, data),
            )
            if not cursor.rowcount:
                return 0
            report_number = cursor.lastrowid or 0
            connection.executemany(
                "INSERT INTO source VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (report_number, one.source_ip, one.header_from, one.disposition, one.dkim, one.spf, one.count)
                    for one in sources
                ),
            )
            return report_number

    def received(self, span: Span, limit: int = 1000) -> list[Received]:
        """The latest first."""
        if not self.path.exists():
            return []
        where, values = span.where()
        with self._use() as connection:
            rows = connection.execute(
                f"SELECT {_RECEIVED} FROM received WHERE {where} ORDER BY end DESC, id DESC LIMIT ?",
                (*values, limit),
            ).fetchall()
        return [Received(*row) for row in rows]

    def show(self, kind: str, number: int) -> tuple[Received, AggregateReport | TlsReport] | None:
        if not self.path.exists():
            return None
        with self._use() as connection:
            row = connection.execute(
                f"SELECT {_RECEIVED}, data FROM received WHERE kind = ? AND id = ?",
                (kind, number),
            ).fetchone()
        if row is None:
            return None
        data = json.loads(zlib.decompress(row[-1]))
        return Received(*row[:-1]), _tls(data) if kind == "tls" else _aggregate(data)

    def sources(self, span: Span, limit: int) -> list[tuple[str, int, int, int, int, int, int]]:
        """(address, messages, those that passed, by DKIM, by SPF, quarantined, rejected), most failures first."""
        if not self.path.exists():
            return []
        where, values = span.where()
        with self._use() as connection:
            return connection.execute(_SOURCES.format(where=where), (*values, limit)).fetchall()

    def forget(self, now: float, keep: float) -> int:
        """What came in longer ago than `keep` seconds, and what was sent long ago. How many reports that were."""
        if not self.path.exists():
            return 0
        with self._use() as connection:
            old = (now - keep,)
            connection.execute("DELETE FROM source WHERE report IN (SELECT id FROM received WHERE arrived < ?)", old)
            gone = connection.execute("DELETE FROM received WHERE arrived < ?", old).rowcount
            connection.execute(
                "UPDATE outgoing SET state = 'failed', note = 'not sent in time', at = ?"
                " WHERE state = 'planned' AND due < ?",
                (now, now - LATE),
            )
            over = "state IN ('sent', 'none', 'failed') AND at < ?"
            connection.execute(f"DELETE FROM outgoing WHERE {over}", (now - KEEP_SENT,))
            return gone


def _planned(row: Sequence[Any]) -> Planned:
    values = list(row)
    values[8] = bool(row[8])
    values[9:11] = tuple(json.loads(row[9])), tuple(json.loads(row[10]))
    return Planned(*values)


def _facts(report: AggregateReport | TlsReport) -> tuple[tuple[Any, ...], Sequence[AggregateRow]]:
    """(domain, organisation, report id, begin, end, good, bad, rows), and the sources."""
    if isinstance(report, AggregateReport):
        good = sum(row.count for row in report.rows if row.passed)
        bad = sum(row.count for row in report.rows) - good
        domain, rows, sources = report.published.domain, len(report.rows), report.rows
    else:
        good = sum(policy.successes for policy in report.policies)
        bad = sum(policy.failures for policy in report.policies)
        domain, sources = report.policies[0].domain, ()
        rows = sum(1 + len(policy.details) for policy in report.policies)
    most = (1 << 63) - 1
    facts = (domain, report.organisation, report.report_id, report.begin, report.end)
    return (*facts, min(good, most), min(bad, most), rows), sources


def _aggregate(data: dict[str, Any]) -> AggregateReport:
    rows = []
    for row in data.pop("rows"):
        for name in ("reasons", "dkim_results", "spf_results"):
            row[name] = tuple(map(tuple, row[name]))
        rows.append(AggregateRow(**row))
    published, errors = Published(**data.pop("published")), tuple(data.pop("errors"))
    return AggregateReport(**data, published=published, rows=tuple(rows), errors=errors)


def _tls(data: dict[str, Any]) -> TlsReport:
    policies = []
    for policy in data.pop("policies"):
        details = tuple(TlsFailure(**one) for one in policy.pop("details"))
        strings, mx = tuple(policy.pop("strings")), tuple(policy.pop("mx"))
        policies.append(TlsPolicy(**policy, strings=strings, mx=mx, details=details))
    return TlsReport(**data, policies=tuple(policies))
