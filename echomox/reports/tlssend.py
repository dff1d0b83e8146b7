"""One TLS report on its way, by mail and by HTTPS (RFC 8460 3 and 5)."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from echomox.errors import ConfigError
from echomox.mailauth.dmarcrecord import report_uris
from echomox.outbound.remote import DATABASE as POLICIES
from echomox.outbound.security import verified_context
from echomox.reports.aggregate import compress
from echomox.reports.database import Planned
from echomox.reports.https import Poster, PostError
from echomox.reports.mail import tls_mail
from echomox.reports.run import Later, Run
from echomox.reports.tlsjson import make_tls_report, to_json
from echomox.tlspolicy.policies import Database
from echomox.tlspolicy.tlsrpt import BadRecord, Counted, parse_record

KIND = "application/tlsrpt+gzip"


async def send_tls(run: Run, item: Planned) -> None:
    """To its end. Raises DnsTemporary, Later, QueueFull, QueueError, OSError to be tried again."""
    try:
        answer = await run.means.resolver.lookup(f"_smtp._tls.{item.domain}", "TXT")
        uris = parse_record(answer.values)
    except BadRecord as error:
        await run.finish(item, "none", note=f"bad TLSRPT record: {error}")
        return
    if not uris:
        await run.finish(item, "none", note="nobody wants reports")
        return
    made = await asyncio.to_thread(_make, run, item)
    if made is None or len(made) > run.means.static.reports.max_size:
        await run.finish(item, "none", note="too large" if made else "no results any more")
        return
    addresses, notes = await _addresses(run, uris)
    if addresses and not item.mailed:
        envelope = run.envelope(item, addresses)
        source = tls_mail(envelope, made, random.SystemRandom())
        await run.mail(item, envelope, source, require_tls=False)
    wanted = tuple(uri for uri in uris if uri.lower().startswith("https:"))
    done, failed = await _post(run, item, wanted, made)
    notes += failed
    if failed and len(done) < len(wanted):
        if not run.is_last(item):
            raise Later("; ".join(notes))
        notes.append("given up")
    sent = bool(addresses) or bool(done)
    await run.finish(item, "sent" if sent else "failed" if wanted else "none", len(made), "; ".join(notes))


def _make(run: Run, item: Planned) -> bytes | None:
    """The report's JSON as gzip; None without any results."""
    if item.day not in run.tls:
        run.tls[item.day] = tls_results(run.means.paths.data / POLICIES, item.day)
    found = run.tls[item.day].get(item.domain, [])
    report = make_tls_report(item.day, item.domain, found, run.sender.reporter, run.report_id(item))
    return compress(to_json(report)) if report is not None else None


async def _addresses(run: Run, uris: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """(those that get it by mail, what is to be said of others)"""
    found = [one.address for uri in uris for one in report_uris(uri) if one.address]
    allowed = await asyncio.to_thread(run.sender.unsuppressed, list(dict.fromkeys(found)))
    return tuple(allowed), [f"{address} is suppressed" for address in found if address not in allowed]


async def _post(run: Run, item: Planned, wanted: tuple[str, ...], data: bytes) -> tuple[tuple[str, ...], list[str]]:
    """(addresses that have it, now or since an earlier try; what went wrong with others)"""
    done, failed = tuple(uri for uri in wanted if uri in item.posted), []
    if len(done) == len(wanted):
        return done, []
    static, paths = run.means.static, run.means.paths
    ca_file = paths.config / static.outbound.ca_file if static.outbound.ca_file else None
    try:
        poster = Poster(await asyncio.to_thread(verified_context, ca_file), run.means.resolver)
    except ConfigError as error:
        raise Later(str(error)) from None
    for uri in wanted:
        if uri in done:
            continue
        try:
            await poster.post(uri, KIND, data)
        except PostError as error:
            failed.append(f"{uri}: {error}")
            continue
        done = (*done, uri)
        run.sent += 1
        await run.posted(item, done)
    return done, failed


def tls_results(path: Path, day: str) -> dict[str, list[Counted]]:
    """A day's results by the domains that they concern: of the policy, of the recipients. Raises sqlite3.Error."""
    found: dict[str, list[Counted]] = {}
    if not path.exists():
        return found
    database = Database(path)
    try:
        for one in database.results(day):
            for domain in dict.fromkeys((one.result.domain, one.result.recipient_domain)):
                found.setdefault(domain, []).append(one)
    finally:
        database.close()
    return found
