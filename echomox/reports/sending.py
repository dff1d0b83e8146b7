"""The job that sends reports: DMARC aggregate reports (RFC 7489 7.2) and TLS reports (RFC 8460) about the days that are
over, UTC.

Each run plans what is new, one report for a day, domain and kind, at a moment of its own in the hours after midnight;
and sends what is due, not more than the rate allows. What is done stands in `database`, so that a report whose sending
was cut short is finished by the next run and none goes out twice: a mail is known to the queue by its Message-ID, and
whether it came that far is asked there. Trouble with DNS, the queue or a host puts a report off, TRIES times.

Who gets one is asked of DNS anew. Addresses elsewhere must agree (RFC 7489 7.1); those on the server's own suppression
list, which a refused report puts them on, get none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any

from echomox.delivery.authlog import FILE as RESULTS
from echomox.delivery.authlog import ReportRows
from echomox.dns.types import DnsTemporary, canonical_name
from echomox.errors import MailError
from echomox.ipc.queuebell import QueueBell
from echomox.outbound.remote import DATABASE as POLICIES
from echomox.queue.database import QueueError
from echomox.queue.routes import ways_of
from echomox.queue.spool import QueueSpool
from echomox.reports.database import FILE, Planned, ReportsDatabase
from echomox.reports.dmarcsend import send_dmarc
from echomox.reports.model import DAY, begin_of, day_of
from echomox.reports.run import Later, Means, Run
from echomox.reports.sender import NoSender, find_sender
from echomox.reports.tlssend import send_tls, tls_results

INTERVAL = 600.0  # seconds between runs
LIMIT = 540.0  # of one run
GRACE = 300.0  # after midnight: results are written some seconds after they are met
DAYS = 3  # that are looked back: what could not be planned by then is not reported
KEPT_DAYS = 8  # of results
LOOKED_AT = 2000  # reports of one run, most of which nobody wants


async def send_reports(means: Means) -> Mapping[str, Any]:
    """What was done, for the log. Raises sqlite3.Error, OSError when the databases cannot be used."""
    began = time.monotonic()
    database = ReportsDatabase(means.paths.data / FILE)
    now = means.clock.now()
    did = {"planned": await asyncio.to_thread(_plan, means, database, now), "sent": 0, "looked_at": 0}
    await asyncio.to_thread(database.forget, now, means.static.reports.keep)
    interrupted = await asyncio.to_thread(database.interrupted)
    due = await asyncio.to_thread(database.due, now, LOOKED_AT)
    if not due and not interrupted:
        return did
    spool = QueueSpool(means.paths, ways=ways_of(means.snapshot), min_free=means.static.queue.min_free)
    bell = QueueBell(means.paths.socket("queue"))
    try:
        run = Run(means, database, find_sender(means.static, means.snapshot(), means.paths, spool))
        await _resume(run, interrupted)
        most = max(1, round(means.static.reports.rate * INTERVAL / 3600))
        for item in await asyncio.to_thread(database.due, now, LOOKED_AT):
            if means.stopped() or run.sent >= most or time.monotonic() - began > LIMIT * 0.8:
                break
            did["looked_at"] += 1
            before = run.sent
            await _one(run, item)
            if run.sent > before:
                bell.ring()
        did["sent"] = run.sent
        await asyncio.sleep(0)  # the bell is sent in the next turn of the loop
    except NoSender as error:  # they wait: a key may be mended
        did["waiting"] = len(due)
        if did["planned"]:
            means.log.warn("reports not sent", why=str(error), reports=len(due))
    finally:
        bell.close()
        await spool.close()
    return did


async def _resume(run: Run, interrupted: list[Planned]) -> None:
    """Mails that were on their way into the queue when the last run ended: are they there?"""
    for item in interrupted:
        queued = await asyncio.to_thread(run.sender.is_queued, item.message_id)
        await asyncio.to_thread(run.database.mailed, item.id, queued, run.now)
        run.means.log.info("report resumed", kind=item.kind, domain=item.domain, day=item.day, queued=queued)


async def _one(run: Run, item: Planned) -> None:
    """To its end, or put off; never raises for what others do."""
    settings = run.means.static.reports
    try:
        if not getattr(settings, item.kind):
            await run.finish(item, "none", note="reports are switched off")
        elif canonical_name(item.domain) != item.domain:
            await run.finish(item, "none", note="no domain name")
        else:
            await (send_dmarc if item.kind == "dmarc" else send_tls)(run, item)
    except DnsTemporary as error:
        await run.postpone(item, f"DNS: {error.reason}")
    except Later as error:
        await run.postpone(item, str(error))
    except (MailError, QueueError, OSError) as error:
        run.means.log.error("report not queued", kind=item.kind, domain=item.domain, error=str(error))
        await run.postpone(item, f"the queue: {error}")


# -- what is to be sent -----------------------------------------------------------


def _plan(means: Means, database: ReportsDatabase, now: float) -> int:
    """Notes what there is about days that are over; forgets results that are old. How many are new."""
    today = day_of(now)
    oldest = day_of(now - DAYS * DAY)
    rows = ReportRows(means.paths.data / RESULTS)
    wanted: dict[tuple[str, str], set[str]] = {}
    if means.static.reports.dmarc:
        for day, domain in rows.days():
            if oldest <= day < today:
                wanted.setdefault(("dmarc", day), set()).add(domain)
    if means.static.reports.tls:
        for day in (day_of(now - back * DAY) for back in range(1, DAYS + 1)):
            wanted["tls", day] = set(tls_results(means.paths.data / POLICIES, day))
    new = list(_new(means, database, now, wanted))
    planned = database.plan(new) if new else 0
    rows.remove_before(day_of(now - KEPT_DAYS * DAY))
    return planned


def _new(
    means: Means, database: ReportsDatabase, now: float, wanted: Mapping[tuple[str, str], set[str]]
) -> Iterator[tuple[str, str, str, float]]:
    """(kind, day, domain, when) of each that is not known yet."""
    spread = means.static.reports.hours * 3600
    for (kind, day), domains in wanted.items():
        if not domains:
            continue
        earliest = max(now, begin_of(day) + DAY + GRACE)
        for domain in sorted(domains - database.known(kind, day)):
            yield kind, day, domain, earliest + spread * means.chance()
