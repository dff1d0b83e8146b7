"""TLS reports as JSON (RFC 8460 4.4), out of recorded results and in from strangers.

What comes in is patient about missing fields and bounded in everything; fields of a wrong type count as missing. Pure;
`parse_tls` raises BadReport.
"""

from __future__ import annotations

import json
import math
import re
from calendar import timegm
from collections.abc import Iterable
from time import gmtime, strftime, strptime
from typing import Any

from echomox.reports.aggregate import Reporter
from echomox.reports.model import DAY, TEXT, BadReport, TlsFailure, TlsPolicy, TlsReport, begin_of, clean
from echomox.tlspolicy.tlsrpt import NO_POLICY, Counted, Result

SIZE = 4 << 20  # bytes of JSON; a report of a large provider has some hundred
POLICIES = 1000
DETAILS = 5000  # of one report
STRINGS = 100
FAILURES = 500  # of one policy, in a report of ours
COUNT = (1 << 53) - 1
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.\d{1,9})?(?:[Zz]|([+-])(\d\d):?(\d\d))?\Z")


# -- out --------------------------------------------------------------------------


def make_tls_report(
    day: str, domain: str, found: Iterable[Counted], reporter: Reporter, report_id: str
) -> TlsReport | None:
    """What concerns a domain: results of its policies, and of mail to it by the policies of its hosts. None without
    any."""
    policies: dict[tuple[str, str, tuple[str, ...], tuple[str, ...]], list[Counted]] = {}
    for one in found:
        result = one.result
        if domain in (result.domain, result.recipient_domain):
            key = (result.policy, result.domain, result.strings, result.patterns)
            policies.setdefault(key, []).append(one)
    if not policies:
        return None
    begin = begin_of(day)
    made = tuple(_policy(key, counted) for key, counted in sorted(policies.items(), key=lambda item: item[0]))
    return TlsReport(reporter.organisation, reporter.contact or reporter.email, report_id, begin, begin + DAY - 1, made)


def _policy(key: tuple[str, str, tuple[str, ...], tuple[str, ...]], found: Iterable[Counted]) -> TlsPolicy:
    kind, domain, strings, patterns = key
    successes = failures = 0
    details: dict[Result, int] = {}
    for one in found:
        if one.result.failure:
            failures += one.count
            details[one.result] = details.get(one.result, 0) + one.count
        else:
            successes += one.count
    chosen = sorted(details.items(), key=lambda item: -item[1])[:FAILURES]
    return TlsPolicy(
        kind, domain, successes, failures, strings, patterns,
        tuple(
            TlsFailure(each.failure, count, each.local_ip, each.mx, each.helo, each.ip, each.detail)
            for each, count in chosen
        ),
    )  # fmt: skip


def to_json(report: TlsReport) -> bytes:
    """RFC 8460 4.4; what is not known is left out."""
    data = {
        "organization-name": report.organisation,
        "date-range": {"start-datetime": _time(report.begin), "end-datetime": _time(report.end)},
        "contact-info": report.contact,
        "report-id": report.report_id,
        "policies": [_policy_data(policy) for policy in report.policies],
    }
    return json.dumps(data, ensure_ascii=True, indent=1).encode("ascii") + b"\n"


def _policy_data(policy: TlsPolicy) -> dict[str, Any]:
    about: dict[str, Any] = {"policy-type": policy.type}
    if policy.type != NO_POLICY:
        about["policy-string"] = list(policy.strings)
    about["policy-domain"] = policy.domain
    if policy.mx:
        about["mx-host"] = list(policy.mx)
    data: dict[str, Any] = {
        "policy": about,
        "summary": {
            "total-successful-session-count": policy.successes,
            "total-failure-session-count": policy.failures,
        },
    }
    if policy.details:
        data["failure-details"] = [_failure_data(one) for one in policy.details]
    return data


def _failure_data(one: TlsFailure) -> dict[str, Any]:
    found = {
        "result-type": one.result,
        "sending-mta-ip": one.sending_ip,
        "receiving-mx-hostname": one.mx,
        "receiving-mx-helo": one.helo,
        "receiving-ip": one.receiving_ip,
        "failed-session-count": one.count,
        "additional-information": one.detail,
        "failure-reason-code": one.reason_code,
    }
    return {name: value for name, value in found.items() if value != ""}


def _time(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(seconds))


# -- in ---------------------------------------------------------------------------


def parse_tls(data: bytes) -> TlsReport:
    """The report. Raises BadReport."""
    if len(data) > SIZE:
        raise BadReport(f"more than {SIZE} bytes of JSON")
    try:
        found = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadReport(f"not JSON: {clean(str(error), 100)}") from None
    if not isinstance(found, dict):
        raise BadReport("not a JSON object")
    report_id = _text(found, "report-id")
    if not report_id:
        raise BadReport("report-id is missing")
    span = _object(found, "date-range")
    begin, end = _seconds(_text(span, "start-datetime")), _seconds(_text(span, "end-datetime"))
    if begin <= 0 or end < begin:
        raise BadReport("the time that it is about is missing or wrong")
    rows = _list(found, "policies", POLICIES)
    if not rows:
        raise BadReport("it has no policies")
    room = [DETAILS]
    policies = tuple(_read_policy(row, room) for row in rows if isinstance(row, dict))
    return TlsReport(
        _text(found, "organization-name"), _text(found, "contact-info"), report_id[:255], begin, end, policies
    )


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _read_policy(row: dict[str, Any], room: list[int]) -> TlsPolicy:
    about, summary = _object(row, "policy"), _object(row, "summary")
    details = [one for one in _list(row, "failure-details", room[0]) if isinstance(one, dict)]
    room[0] -= len(details)
    strings = about.get("policy-string")
    mx = about.get("mx-host")  # one string in the RFC's example, a list in its text
    return TlsPolicy(
        type=_text(about, "policy-type")[:40],
        domain=_text(about, "policy-domain").lower().rstrip(".")[:255],
        successes=_count(summary, "total-successful-session-count"),
        failures=_count(summary, "total-failure-session-count"),
        strings=_strings(strings),
        mx=_strings(mx if isinstance(mx, list) else [mx]),
        details=tuple(map(_read_failure, details)),
    )


def _read_failure(one: dict[str, Any]) -> TlsFailure:
    return TlsFailure(
        result=_text(one, "result-type")[:60],
        count=_count(one, "failed-session-count"),
        sending_ip=_text(one, "sending-mta-ip")[:60],
        mx=_text(one, "receiving-mx-hostname")[:255],
        helo=_text(one, "receiving-mx-helo")[:255],
        receiving_ip=_text(one, "receiving-ip")[:60],
        detail=_text(one, "additional-information"),
        reason_code=_text(one, "failure-reason-code"),
    )


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    return clean(value, TEXT) if isinstance(value, str) else ""


def _object(found: dict[str, Any], name: str) -> dict[str, Any]:
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def _list(found: dict[str, Any], name: str, most: int) -> list[Any]:
    value = found.get(name)
    return value[:most] if isinstance(value, list) else []


def _strings(found: object) -> tuple[str, ...]:
    values = found if isinstance(found, list) else []
    return tuple(clean(value, TEXT) for value in values[:STRINGS] if isinstance(value, str))


def _count(found: dict[str, Any], name: str) -> int:
    value = found.get(name)
    if isinstance(value, float):
        value = int(value) if math.isfinite(value) else 0
    return min(max(value, 0), COUNT) if isinstance(value, int) and not isinstance(value, bool) else 0


def _seconds(text: str) -> int:
    """RFC 3339; 0 for what is no time."""
    match = _TIME.match(text)
    if match is None:
        return 0
    try:
        seconds = timegm(strptime(f"{match[1]} {match[2]}", "%Y-%m-%d %H:%M:%S"))
    except (ValueError, OverflowError):
        return 0
    if match[3]:
        offset = 3600 * int(match[4]) + 60 * int(match[5])
        seconds += -offset if match[3] == "+" else offset
    return seconds
