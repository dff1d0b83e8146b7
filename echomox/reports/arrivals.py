"""Reports that come to an address for them: read once their mail is in the mailbox, and kept in data/reports/index.db.

Only what is proved to come from the domain in From counts (of TLS reports by a signature, RFC 8460 3 and 5.3), or what
this server sent itself; and only reports about our own domains. The mail itself is kept whatever it is; nothing here
refuses or loses one. One mail is read at a time, in a thread, bounded in size; the sender waits for it, so that one
who was not told that the mail is accepted sends it again, and a report that comes twice is kept once.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

from echomox.config.snapshot import Snapshot
from echomox.delivery.placement import Facts
from echomox.delivery.rulesets import Seen, look
from echomox.dns.psl import organisational_domain
from echomox.dns.types import canonical_name
from echomox.log import Log
from echomox.reports.database import ReportsDatabase, TooMany
from echomox.reports.dmarcxml import parse_aggregate
from echomox.reports.model import AggregateReport, BadReport, TlsReport
from echomox.reports.tlsjson import parse_tls
from echomox.reports.unpack import documents

SIZE = 36 << 20
"""Bytes of a mail that is read: what 25 MiB are in base64, and some."""
WAIT = 30.0
"""Seconds; who waits longer is told that the mail is accepted, while it is still being read."""


class Domains(Protocol):
    def is_local_domain(self, domain: str) -> bool: ...


class Arrivals:
    """One per process. database: its path. count: of the scoreboard."""

    def __init__(self, database: Path, log: Log, count: Callable[[str, int], None]) -> None:
        self._database = ReportsDatabase(database)
        self._log = log
        self._count = count
        self._thread: ThreadPoolExecutor | None = None

    async def note(self, facts: Facts) -> int:
        """How many reports of this mail were kept. Never raises."""
        mail = facts.mail
        kinds = {kind for to in mail.destinations for kind in to.reports}
        seen = look(facts)
        submitter = self._submitter(facts, seen, kinds)
        if not submitter or mail.size > SIZE:
            self._log.info("report mail not read", cid=mail.cid, from_domain=seen.from_domain, size=mail.size)
            return 0
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "reports")
        work = partial(self._read, facts, submitter, frozenset(kinds))
        try:
            running = asyncio.get_running_loop().run_in_executor(self._thread, work)
            kept, refused = await asyncio.wait_for(asyncio.shield(running), WAIT)
            for counter, number in (("reports_received", kept), ("reports_refused", refused)):
                if number:
                    self._count(counter, number)
            return kept
        except TimeoutError:
            self._log.warn("a report takes long to read", cid=mail.cid, size=mail.size)
        except Exception:
            self._log.exception("report not read", cid=mail.cid)
            self._count("exceptions", 1)
        return 0

    def _submitter(self, facts: Facts, seen: Seen, kinds: set[str]) -> str:
        """The domain of From, if it is proved; "" if not. Without a proof of a signature no TLS report is read."""
        if facts.mail.login:  # a user's
            return ""
        if facts.auth is None:  # of our own queue, unless the checks broke off
            return facts.snapshot.hostname if not facts.mail.remote_ip else ""
        if not seen.from_proved:
            return ""
        owner = organisational_domain(seen.from_domain)
        signed = any(
            one.result == "pass" and not one.testing and organisational_domain(one.domain.lower()) == owner
            for one in facts.auth.dkim
        )
        if not signed:
            kinds.discard("tls")
        return seen.from_domain if kinds else ""

    def _read(self, facts: Facts, submitter: str, kinds: frozenset[str]) -> tuple[int, int]:
        """In a thread: (kept, refused)."""
        mail = facts.mail
        kept = refused = 0
        try:
            for document in documents(mail.read(), facts.structure.parts):
                kind, report = read_document(document, kinds)
                check_domains(report, facts.snapshot)
                number = self._database.keep(kind, submitter, report, mail.received)
                self._log.info(
                    "report received" if number else "report known already", cid=mail.cid, number=number, kind=kind,
                    submitter=submitter, organisation=report.organisation, report_id=report.report_id,
                )  # fmt: skip
                kept += bool(number)
        except BadReport as error:
            self._log.info("report not usable", cid=mail.cid, submitter=submitter, error=str(error))
            refused += 1
        except TooMany:
            self._log.warn("too many reports today, not kept", cid=mail.cid, submitter=submitter)
            refused += 1
        except (sqlite3.Error, OSError) as error:
            self._log.error("report not kept", cid=mail.cid, submitter=submitter, error=str(error))
        return kept, refused

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=False)


def read_document(data: bytes, kinds: frozenset[str]) -> tuple[str, AggregateReport | TlsReport]:
    """(kind, report) of a document, if it is of one of these kinds. Raises BadReport."""
    start = data[:1000].removeprefix(b"\xef\xbb\xbf").lstrip()
    kind = "tls" if start.startswith(b"{") else "dmarc"
    if kind not in kinds:
        raise BadReport(f"this address takes no {kind} reports, or not unsigned")
    return kind, parse_tls(data) if kind == "tls" else parse_aggregate(data)


def check_domains(report: AggregateReport | TlsReport, snapshot: Snapshot) -> None:
    """Reports about others are not for us. A TLS report may speak of a host of ours by its name. Raises BadReport."""
    if isinstance(report, AggregateReport):
        domains = [report.published.domain]
    else:
        domains = [policy.domain for policy in report.policies] or [""]
    for domain in domains:
        if not is_ours(domain, snapshot):
            raise BadReport(f"it is about {domain or 'no domain'}, which is not ours")


def is_ours(domain: str, snapshot: Snapshot) -> bool:
    """A domain of ours, one below it, or the host."""
    name = canonical_name(domain)
    if not name:
        return False
    labels = name.split(".")
    return name == snapshot.hostname or any(
        snapshot.is_local_domain(".".join(labels[place:])) for place in range(len(labels) - 1)
    )
