"""Reports as values, of either direction. Times are seconds since 1970, UTC. Pure.

RFC 7489 appendix C (aggregate reports; names are those of the schema), RFC 8460 4.4 (TLS reports).
"""

from __future__ import annotations

import re
from calendar import timegm
from dataclasses import dataclass
from time import gmtime, strftime, strptime

DAY = 86_400
TEXT = 1000  # characters of one value that are kept of a report that came in
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")


class BadReport(ValueError):
    """str() says why something is no report that can be used."""


@dataclass(frozen=True, slots=True)
class Published:
    """The policy that was found. np is of RFC 9990; "" in values that were not given."""

    domain: str
    adkim: str = "r"
    aspf: str = "r"
    p: str = "none"
    sp: str = "none"
    np: str = ""
    pct: int = 100
    fo: str = "0"


@dataclass(frozen=True, slots=True)
class AggregateRow:
    """Mails that were alike. dkim, spf: "pass" or "fail", with alignment. reasons: (type, comment) of an override.
    dkim_results: (domain, selector, result); spf_results: (domain, scope, result)."""

    source_ip: str
    count: int
    disposition: str
    dkim: str
    spf: str
    header_from: str
    envelope_from: str = ""
    envelope_to: str = ""
    reasons: tuple[tuple[str, str], ...] = ()
    dkim_results: tuple[tuple[str, str, str], ...] = ()
    spf_results: tuple[tuple[str, str, str], ...] = ()

    @property
    def passed(self) -> bool:
        return "pass" in (self.dkim, self.spf)


@dataclass(frozen=True, slots=True)
class AggregateReport:
    """One DMARC aggregate report. end: of its last second."""

    organisation: str
    email: str
    report_id: str
    begin: int
    end: int
    published: Published
    rows: tuple[AggregateRow, ...]
    contact: str = ""
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsFailure:
    """Sessions that failed in one way. result: RFC 8460 4.3."""

    result: str
    count: int
    sending_ip: str = ""
    mx: str = ""
    helo: str = ""
    receiving_ip: str = ""
    detail: str = ""
    reason_code: str = ""


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What was met with one policy. type: "tlsa", "sts" or "no-policy-found"."""

    type: str
    domain: str
    successes: int
    failures: int
    strings: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    details: tuple[TlsFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsReport:
    """One TLS report."""

    organisation: str
    contact: str
    report_id: str
    begin: int
    end: int
    policies: tuple[TlsPolicy, ...]


def clean(text: str, limit: int = TEXT) -> str:
    """One line, without what could steer a terminal or break XML."""
    return _CONTROL.sub(" ", text[: 4 * limit]).strip()[:limit]


def day_of(seconds: float) -> str:
    """ "2026-11-22", UTC."""
    return strftime("%Y-%m-%d", gmtime(seconds))


def begin_of(day: str) -> int:
    """The first second of a day as `day_of` gives it. Raises ValueError."""
    return timegm(strptime(day, "%Y-%m-%d"))
