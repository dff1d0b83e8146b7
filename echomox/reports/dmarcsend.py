"""One DMARC aggregate report on its way: who gets it, what is in it, how large it may be (RFC 7489 6.2, 7.1, 7.2)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

from echomox.delivery.authlog import FILE as RESULTS
from echomox.delivery.authlog import ReportRows
from echomox.mailauth.dmarc import ReportUri, find_record, verify_report_destination
from echomox.reports.aggregate import make_report, packed
from echomox.reports.database import Planned
from echomox.reports.mail import dmarc_mail, too_large_mail
from echomox.reports.run import Run

ADDRESSES = 10


async def send_dmarc(run: Run, item: Planned) -> None:
    """To its end. Raises DnsTemporary, QueueFull, QueueError, OSError to be tried again."""
    if item.mailed:
        await run.finish(item, "sent", item.size, item.note)
        return
    uris, note = await _wanted_by(run, item.domain)
    if not uris:
        await run.finish(item, "none", note=note)
        return
    made = await asyncio.to_thread(_make, run, item)
    if made is None:
        await run.finish(item, "none", note="no results any more")
        return
    fitting = tuple(one.address for one in uris if not one.size or len(made) <= one.size)
    envelope = run.envelope(item, fitting or tuple(one.address for one in uris))
    source_of_random = random.SystemRandom()
    if fitting:
        source = dmarc_mail(envelope, made, source_of_random)
        left = len(uris) - len(fitting)
        note = _joined((note, f"too large for {left} addresses" if left else ""))
    else:
        source = too_large_mail(envelope, len(made), [one.uri for one in uris], source_of_random)
        note = _joined((note, "too large for all addresses, which were told so"))
    await run.mail(item, envelope, source)
    await run.finish(item, "sent", len(made), note)


async def _wanted_by(run: Run, domain: str) -> tuple[list[ReportUri], str]:
    """(addresses that want the report and may get it, what is to be said of others)"""
    resolver = run.means.resolver
    found = await find_record(resolver, domain)
    if found.record is None or found.domain != domain:
        return [], "the domain has no DMARC record now"
    chosen: dict[str, ReportUri] = {}
    notes: list[str] = []
    for uri in found.record.rua[:ADDRESSES]:
        if not uri.address:
            notes.append(f"{uri.uri}: only mailto is known")
            continue
        destination = await verify_report_destination(resolver, domain, uri.domain)
        if not destination.allowed:
            notes.append(f"{uri.address} has not agreed: {destination.reason}")
            continue
        for one in destination.rua or (uri,):
            size = min((size for size in (uri.size, one.size) if size), default=0)
            chosen.setdefault(one.address, ReportUri(one.uri, one.address, size))
    allowed = await asyncio.to_thread(run.sender.unsuppressed, list(chosen)[:ADDRESSES])
    notes += [f"{address} is suppressed" for address in chosen if address not in allowed]
    if not found.record.rua:
        notes.append("nobody wants reports")
    return [chosen[address] for address in allowed], _joined(notes)


def _make(run: Run, item: Planned) -> bytes | None:
    """The report's XML as gzip; None without any results."""
    rows = ReportRows(run.means.paths.data / RESULTS).rows(item.day, item.domain)
    report = make_report(item.day, item.domain, rows, run.sender.reporter, run.report_id(item))
    return packed(report, run.means.static.reports.max_size)[1] if report is not None else None


def _joined(notes: Iterable[str]) -> str:
    return "; ".join(filter(None, notes))
