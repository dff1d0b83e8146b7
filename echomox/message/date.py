"""Dates of mail: the Date field read with patience and written by the rule (RFC 5322 3.3, 4.3), and IMAP's
internal date (RFC 9051 9, date-time). Times are Unix seconds; zones are minutes east of UTC."""

from __future__ import annotations

import re
import time
from datetime import date
from typing import NamedTuple

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTH = {name.lower(): number for number, name in enumerate(MONTHS, 1)}
_EPOCH = date(1970, 1, 1).toordinal()

# RFC 5322 4.3: obs-zone. Military zones were defined with the wrong sign, so all of them mean "unknown",
# which is UTC.
_ZONES = {
    "EST": -300, "EDT": -240, "CST": -360, "CDT": -300, "MST": -420, "MDT": -360, "PST": -480, "PDT": -420,
    # Not in the RFC, but in use:
    "CET": 60, "CEST": 120, "MET": 60, "MEST": 120, "BST": 60, "EET": 120, "EEST": 180, "MSK": 180,
    "JST": 540,
}  # fmt: skip

_GAP = r"[\s,.-]*+"
_DATE = re.compile(
    r"\s*+(?:[A-Za-z]{2,9}[.,]?+\s*+,?+\s*+)?(\d{1,2})" + _GAP + r"([A-Za-z]{3})[a-z]*+" + _GAP + r"(\d{2,4})"
    r"[\s,]++(\d{1,2})\s*+[:.]\s*+(\d{1,2})(?:\s*+[:.]\s*+(\d{1,2}))?+(?:\.\d++)?+\s*+(?:UTC|GMT(?=[+-]))?+([+-]\d{3,4}|[A-Za-z]{1,5})?+"
)
# The form that nearly all mail has: a quarter of the time of the patient one.
_STRICT = re.compile(
    r"\s?(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) ([+-]\d{4})(?![0-9])"
)
_ASCTIME = re.compile(
    r"\s*+(?:[A-Za-z]{3,9},?+\s++)?([A-Za-z]{3})[a-z]*+\s++(\d{1,2}),?+\s++(\d{2}):(\d{2}):(\d{2})\s++(?:([+-]\d{4}|[A-Z]{1,5})\s++)?(\d{4})"
)
_INTERNAL = re.compile(r"([ \d]?\d)-([A-Za-z]{3})-(\d{4}) (\d{2}):(\d{2}):(\d{2}) ([+-]\d{4})")
_COMMENT = re.compile(r"\([^()]*+\)")


class MailDate(NamedTuple):
    """seconds: Unix time. day: the calendar day as written, "2026-11-22". zone: minutes east of UTC."""

    seconds: float
    day: str
    zone: int


def parse_date(text: str) -> MailDate | None:
    """The value of a Date field; None if it cannot be read. Takes obsolete zones, two-digit years (RFC 5322
    4.3), a missing day name, seconds or zone, comments, and the order of asctime()."""
    if len(text) > 200:
        text = text[:200]
    match = _STRICT.match(text)
    if not match:
        if "(" in text:
            text = _COMMENT.sub(" ", text)
        match = _DATE.match(text)
    if match:
        day, month, year, hour, minute, second, zone = match.groups()
    else:
        match = _ASCTIME.match(text)
        if not match:
            return None
        month, day, hour, minute, second, zone, year = match.groups()
    return _date(_year(year), month, (day, hour, minute, second or "0"), _zone(zone))


def _year(digits: str) -> int:
    year = int(digits)
    if len(digits) == 4 and not 100 <= year < 200:
        return year
    if len(digits) >= 3 or year >= 50:
        return year + 1900  # RFC 5322 4.3; 0102 is 102 from the same programs
    return year + 2000


def _zone(zone: str | None) -> int:
    if not zone:
        return 0
    if zone[0] in "+-":
        minutes = int(zone[1:-2]) * 60 + int(zone[-2:])
        return -minutes if zone[0] == "-" else minutes
    return _ZONES.get(zone.upper(), 0)


def _date(year: int, month: str, rest: tuple[str, str, str, str], zone: int) -> MailDate | None:
    day, hour, minute, second = map(int, rest)
    number = _MONTH.get(month.lower())
    if number is None or hour > 23 or minute > 59 or second > 60 or not 1900 <= year <= 9999:
        return None
    try:
        calendar = date(year, number, day)
    except ValueError:
        return None
    days = calendar.toordinal() - _EPOCH
    seconds = days * 86400 + hour * 3600 + minute * 60 + min(second, 59) - zone * 60  # a leap second is the one before
    return MailDate(float(seconds), calendar.isoformat(), zone)


def format_date(seconds: float, zone: int = 0) -> str:
    """RFC 5322 3.3: "Sun, 22 Nov 2026 07:40:46 +0000"."""
    t = time.gmtime(seconds + zone * 60)
    clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{DAYS[t.tm_wday]}, {t.tm_mday} {MONTHS[t.tm_mon - 1]} {t.tm_year:04} {clock} {_offset(zone)}"


def format_internal(seconds: float, zone: int = 0) -> str:
    """RFC 9051 9 date-time, without its quotes: "22-Nov-2026 07:40:46 +0000"; the day has two places, "
    1-Nov-…"."""
    t = time.gmtime(seconds + zone * 60)
    clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{t.tm_mday:2}-{MONTHS[t.tm_mon - 1]}-{t.tm_year:04} {clock} {_offset(zone)}"


def parse_internal(text: str) -> MailDate | None:
    """The reverse of `format_internal`; None if it is not such a date."""
    match = _INTERNAL.fullmatch(text)
    if not match:
        return None
    day, month, year, hour, minute, second, zone = match.groups()
    return _date(int(year), month, (day, hour, minute, second), _zone(zone))


def _offset(zone: int) -> str:
    return f"{'-' if zone < 0 else '+'}{abs(zone) // 60:02}{abs(zone) % 60:02}"
