"""Operations on reports: what came in about our domains, what was sent to others, and who gets no more (D11, D12, D16,
D17, Q16). See `workers.operations`. kind: "dmarc" or "tls".
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from echomox.config.names import domain_key
from echomox.queue import suppression
from echomox.reports.database import FILE, KINDS, Planned, Received, ReportsDatabase, Span
from echomox.reports.model import AggregateReport, begin_of
from workers.operations_mail import time_text
from workers.operations_queue import _address, _look, _run, _suppressed
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]
T = TypeVar("T")
SPAN: Mapping[str, type] = {"kind": str, "domain?": str, "since?": str, "until?": str, "limit?": int}
SENT: Mapping[str, type] = {"kind": str, "domain?": str, "all?": bool, "limit?": int}
SOURCES = 1000


def _database(site: Site) -> ReportsDatabase:
    return ReportsDatabase(site.paths.data / FILE)


def _ask(site: Site, question: Callable[[ReportsDatabase], T]) -> T:
    database = _database(site)
    try:
        return question(database)
    except (sqlite3.Error, OSError) as error:
        raise Refused(f"{database.path}: {error}") from None


def _kind(fields: Fields) -> str:
    kind: str = fields["kind"]
    if kind not in KINDS:
        raise Refused(f"kind is one of {', '.join(KINDS)}")
    return kind


def _domain(fields: Fields) -> str:
    try:
        return domain_key(fields["domain"]) if fields.get("domain") else ""
    except ValueError as error:
        raise Refused(f"{fields['domain']}: {error}") from None


def _day(fields: Fields, name: str, after: int = 0) -> float:
    """The beginning of a day, or of the one `after` days later; 0 when none is given."""
    if not fields.get(name):
        return 0.0
    try:
        return begin_of(fields[name]) + after * 86_400.0
    except (ValueError, OverflowError):
        raise Refused(f"{name} is a day, as 2026-11-22") from None


def _span(fields: Fields) -> Span:
    return Span(_kind(fields), _domain(fields), _day(fields, "since"), _day(fields, "until", 1))


def _received(one: Received) -> Answer:
    good, bad = ("passed", "failed") if one.kind == "dmarc" else ("successes", "failures")
    return {
        "id": one.id,
        "domain": one.domain,
        "organisation": one.organisation,
        "submitter": one.submitter,
        "report_id": one.report_id,
        "begin": time_text(one.begin),
        "end": time_text(one.end),
        "arrived": time_text(one.arrived),
        good: one.good,
        bad: one.bad,
        "rows": one.rows,
    }


def reports_list(site: Site, fields: Fields) -> Answer:
    span, limit = _span(fields), _limit(fields, 1000)
    return {"reports": [_received(one) for one in _ask(site, lambda database: database.received(span, limit))]}


def _limit(fields: Fields, usual: int) -> int:
    limit: int = fields.get("limit", usual)
    if limit < 1:
        raise Refused("limit is at least 1")
    return limit


def reports_show(site: Site, fields: Fields) -> Answer:
    kind, number = _kind(fields), fields["id"]
    found = _ask(site, lambda database: database.show(kind, number))
    if found is None:
        raise Refused(f"no {kind} report {number}; `list` shows what there is")
    head, report = found
    data = asdict(report)
    for name in ("organisation", "report_id", "begin", "end"):
        data.pop(name)
    if isinstance(report, AggregateReport):
        for row, value in zip(report.rows, data["rows"]):
            value["passed"] = row.passed
        data["records"] = data.pop("rows")
    return {**_received(head), **data}


def reports_summary(site: Site, fields: Fields) -> Answer:
    """Of DMARC reports by source address, of TLS reports by policy and by kind of failure."""
    span, limit = _span(fields), _limit(fields, SOURCES)
    reports = _ask(site, lambda database: database.received(span, 1_000_000))
    answer: Answer = {
        "reports": len(reports),
        "organisations": len({one.organisation for one in reports}),
        "domains": sorted({one.domain for one in reports}),
    }
    if span.kind == "dmarc":
        names = ("source_ip", "messages", "passed", "dkim", "spf", "quarantined", "rejected")
        found = _ask(site, lambda database: database.sources(span, limit))
        return {
            **answer,
            "passed": sum(one.good for one in reports),
            "failed": sum(one.bad for one in reports),
            "sources": [{**dict(zip(names, row)), "failed": row[1] - row[2]} for row in found],
        }
    return {
        **answer,
        "successes": sum(one.good for one in reports),
        "failures": sum(one.bad for one in reports),
        "results": _tls_results(site, [one.id for one in reports if one.bad][:limit]),
    }


def _tls_results(site: Site, numbers: list[int]) -> list[Answer]:
    """Failures by policy domain, kind and host, the most frequent first."""
    counts: dict[tuple[str, str, str], int] = {}
    for number in numbers:
        found = _ask(site, lambda database, number=number: database.show("tls", number))  # type: ignore[misc]
        if found is None or isinstance(found[1], AggregateReport):
            continue
        for policy in found[1].policies:
            for one in policy.details:
                key = policy.domain, one.result, one.mx
                counts[key] = counts.get(key, 0) + one.count
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:SOURCES]
    return [{"domain": d, "result": result, "mx": mx, "sessions": count} for (d, result, mx), count in ordered]


def _sent(one: Planned) -> Answer:
    return {
        "day": one.day,
        "domain": one.domain,
        "state": one.state,
        "due": time_text(one.due),
        "tries": one.tries,
        "recipients": [*one.recipients, *one.posted],
        "size": one.size,
        "note": one.note,
        "at": time_text(one.at) if one.at else "",
    }


def reports_sent(site: Site, fields: Fields) -> Answer:
    """Reports to others: those that went out, and those that are still to. all: with those that nobody wants."""
    kind, domain, limit = _kind(fields), _domain(fields), _limit(fields, 1000)
    found = _ask(site, lambda database: database.outgoing(kind, domain, limit, bool(fields.get("all"))))
    return {"reports": [_sent(one) for one in found]}


# -- who gets no more ----------------------------------------------------------------------
# It is the list of the queue's account "", the server itself.


def suppression_list(site: Site, fields: Fields) -> Answer:
    limit = _limit(fields, 10_000)
    found = _look(site, lambda connection: suppression.listing(connection, "", limit))
    return {"suppressed": [_shown(one) for one in found if not one.account]}


def suppression_add(site: Site, fields: Fields) -> Answer:
    address, reason = _address(fields), fields.get("reason", "") or "by hand"
    return _shown(_run(site, lambda connection: suppression.add(connection, "", address, reason)))


def suppression_remove(site: Site, fields: Fields) -> Answer:
    address = _address(fields)
    if not _run(site, lambda connection: suppression.remove(connection, "", address)):
        raise Refused(f"{address} is not on the list of addresses that get no reports")
    return {"address": suppression.base_address(address)}


def _shown(found: suppression.Suppressed) -> Answer:
    shown = _suppressed(found)
    del shown["Account"]
    return shown
