"""DMARC aggregate reports out: rows of `delivery.authlog` to XML, valid by the schema of RFC 7489 appendix C.

As printed, the schema's references to its own types only hold without its target namespace; so it is used, and
so nearly all reporters write: no namespace at all. IPv6 addresses are in full, as its pattern has them. Pure.
"""

from __future__ import annotations

import gzip
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

from echomox.delivery.authlog import ResultRow
from echomox.mailauth.dmarcrecord import DmarcRecord, parse_record
from echomox.reports.model import DAY, AggregateReport, AggregateRow, Published, begin_of, clean

ROWS = 50_000  # of one report
OVERRIDES = ("forwarded", "sampled_out", "trusted_forwarder", "mailing_list", "local_policy", "other")
DISPOSITIONS = ("none", "quarantine", "reject")
DKIM_RESULTS = ("none", "pass", "fail", "policy", "neutral", "temperror", "permerror")
SPF_RESULTS = ("none", "neutral", "pass", "fail", "softfail", "temperror", "permerror")


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports. email: for questions; contact: "" or another way."""

    organisation: str
    email: str
    contact: str = ""


def make_report(
    day: str, domain: str, found: Iterable[tuple[ResultRow, int]], reporter: Reporter, report_id: str
) -> AggregateReport | None:
    """Of the results of one day and policy domain; None without any. What is alike but for the text of the record is
    one row; of more than ROWS kinds the rest is left out, and `errors` says so."""
    counts: dict[AggregateRow, int] = {}
    record, left_out = "", 0
    for one, count in found:
        record = one.record
        row = _row(one)
        if row in counts or len(counts) < ROWS:
            counts[row] = counts.get(row, 0) + count
        else:
            left_out += 1
    if not counts:
        return None
    begin = begin_of(day)
    return AggregateReport(
        organisation=reporter.organisation,
        email=reporter.email,
        contact=reporter.contact,
        report_id=report_id,
        begin=begin,
        end=begin + DAY - 1,
        published=published(domain, parse_record(record.encode("ascii", "replace")) or DmarcRecord()),
        rows=tuple(replace(row, count=count) for row, count in counts.items()),
        errors=(f"{left_out} more kinds of results are left out",) if left_out else (),
    )


def published(domain: str, record: DmarcRecord) -> Published:
    return Published(domain, record.adkim, record.aspf, record.p, record.sp, record.np, record.pct, ":".join(record.fo))


def _row(one: ResultRow) -> AggregateRow:
    return AggregateRow(
        source_ip=full_address(one.source_ip),
        count=0,
        disposition=one.disposition if one.disposition in DISPOSITIONS else "none",
        dkim="pass" if one.dkim == "pass" else "fail",
        spf="pass" if one.spf == "pass" else "fail",
        header_from=one.header_from,
        envelope_from=one.envelope_from,
        reasons=((one.override, one.comment),) if one.override in OVERRIDES else (),
        dkim_results=tuple(each for each in one.dkim_results if each[2] in DKIM_RESULTS),
        spf_results=(one.spf_result if one.spf_result[2] in SPF_RESULTS else ("", "helo", "none"),),
    )


def full_address(text: str) -> str:
    """With all eight groups, as the schema's pattern has IPv6; of one that stands for IPv4, that."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return "0.0.0.0"  # noqa: S104  # a text
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped is not None else address.exploded
    return str(address)


def trimmed(report: AggregateReport, rows: int) -> AggregateReport:
    """With only the rows that stand for most mails."""
    kept = tuple(sorted(report.rows, key=lambda row: -row.count)[:rows])
    text = f"{len(report.rows) - rows} kinds of results with fewer messages are left out, the report was too large"
    return replace(report, rows=kept, errors=(*report.errors, text))


def compress(data: bytes) -> bytes:
    """gzip, the same bytes for the same data."""
    return gzip.compress(data, 9, mtime=0)


def packed(report: AggregateReport, most: int) -> tuple[AggregateReport, bytes]:
    """(what is reported, its XML as gzip of at most `most` bytes)"""
    data = compress(to_xml(report))
    rows = len(report.rows)
    small = report
    while len(data) > most and rows > 1:
        rows = min(rows // 2, max(1, rows * most // len(data)))
        small = trimmed(report, rows)
        data = compress(to_xml(small))
    return small, data


def to_xml(report: AggregateReport) -> bytes:
    meta, policy = report, report.published
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<feedback>\n  <version>1.0</version>\n',
        "  <report_metadata>\n",
        *_elements(4, ("org_name", meta.organisation), ("email", meta.email)),
        *(_elements(4, ("extra_contact_info", meta.contact)) if meta.contact else ()),
        *_elements(4, ("report_id", meta.report_id)),
        f"    <date_range>\n      <begin>{meta.begin}</begin>\n      <end>{meta.end}</end>\n    </date_range>\n",
        *_elements(4, *(("error", error) for error in meta.errors)),
        "  </report_metadata>\n  <policy_published>\n",
        *_elements(4, ("domain", policy.domain), ("adkim", policy.adkim), ("aspf", policy.aspf), ("p", policy.p)),
        *_elements(4, ("sp", policy.sp or policy.p), ("pct", str(policy.pct)), ("fo", policy.fo or "0")),
        "  </policy_published>\n",
    ]
    for row in report.rows:
        parts += _record(row)
    parts.append("</feedback>\n")
    return "".join(parts).encode("utf-8")


def _record(row: AggregateRow) -> Iterable[str]:
    yield "  <record>\n    <row>\n"
    yield from _elements(6, ("source_ip", row.source_ip), ("count", str(row.count)))
    yield "      <policy_evaluated>\n"
    yield from _elements(8, ("disposition", row.disposition), ("dkim", row.dkim), ("spf", row.spf))
    for kind, comment in row.reasons:
        yield "        <reason>\n"
        yield from _elements(10, ("type", kind), *((("comment", comment),) if comment else ()))
        yield "        </reason>\n"
    yield "      </policy_evaluated>\n    </row>\n    <identifiers>\n"
    if row.envelope_to:
        yield from _elements(6, ("envelope_to", row.envelope_to))
    yield from _elements(6, ("envelope_from", row.envelope_from), ("header_from", row.header_from))
    yield "    </identifiers>\n    <auth_results>\n"
    for domain, selector, result in row.dkim_results:
        yield "      <dkim>\n"
        chosen = (("selector", selector),) if selector else ()
        yield from _elements(8, ("domain", domain), *chosen, ("result", result))
        yield "      </dkim>\n"
    for domain, scope, result in row.spf_results:
        yield "      <spf>\n"
        yield from _elements(8, ("domain", domain), ("scope", scope), ("result", result))
        yield "      </spf>\n"
    yield "    </auth_results>\n  </record>\n"


def _elements(indent: int, *pairs: tuple[str, str]) -> Sequence[str]:
    return [f"{' ' * indent}<{name}>{escape(clean(value))}</{name}>\n" for name, value in pairs]
