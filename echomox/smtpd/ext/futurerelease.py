"""FUTURERELEASE (RFC 4865): HOLDFOR and HOLDUNTIL of MAIL, for submission only: the queue keeps the message till then.

The longest time is 60 days (mox has the same). A time that has passed means at once (RFC 4865 4.3 leaves it open).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from echomox.errors import Reply
from echomox.smtpd.command import Extension

if TYPE_CHECKING:
    from echomox.smtpd.session import SmtpSession

LONGEST = 60 * 86_400
BAD_FOR = Reply(501, "5.5.4", f"HOLDFOR is 1 to {LONGEST} seconds")
BAD_UNTIL = Reply(501, "5.5.4", "HOLDUNTIL is a time as 2030-01-31T12:00:00Z, at most 60 days from now")
BOTH = Reply(501, "5.5.4", "HOLDFOR and HOLDUNTIL exclude each other")
NOT_HERE = Reply(555, "5.5.4", "A parameter is not known here")

# RFC 3339 5.6, of which RFC 4865 4.2 takes date-time in UTC or with an offset.
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:[Zz]|([+-])(\d\d):(\d\d))")


def keyword(session: SmtpSession) -> str:
    if not session.service.role.login:
        return ""
    # To the day, so that the answer to EHLO is made once a day.
    day = int(session.service.clock.now() // 86_400 + LONGEST // 86_400) * 86_400
    return f"FUTURERELEASE {LONGEST} {datetime.fromtimestamp(day, UTC):%Y-%m-%dT%H:%M:%SZ}"


def parse_time(text: str) -> float:
    """Unix seconds of an RFC 3339 time. Raises ValueError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("not a time")
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    leap = second == 60  # RFC 3339 5.6: the leap second is that before the next minute
    moment = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=UTC)
    if match[7]:
        hours, minutes = int(match[8]), int(match[9])
        if hours > 23 or minutes > 59:
            raise ValueError("not an offset")
        offset = timedelta(hours=hours, minutes=minutes)
        return (moment - offset if match[7] == "+" else moment + offset).timestamp() + leap
    return moment.timestamp() + leap


def hold_for(session: SmtpSession, value: str | None) -> Reply | None:
    if not session.service.role.login:
        return NOT_HERE
    if session.envelope.hold_until:
        return BOTH
    if value is None or not re.fullmatch(r"[1-9][0-9]{0,8}", value, re.A) or int(value) > LONGEST:
        return BAD_FOR
    session.envelope.hold_until = session.service.clock.now() + int(value)
    return None


def hold_until(session: SmtpSession, value: str | None) -> Reply | None:
    if not session.service.role.login:
        return NOT_HERE
    if session.envelope.hold_until:
        return BOTH
    now = session.service.clock.now()
    try:
        until = parse_time(value or "")
    except (ValueError, OverflowError):
        return BAD_UNTIL
    if until > now + LONGEST:
        return BAD_UNTIL
    session.envelope.hold_until = max(until, 1.0)
    return None


EXTENSION = Extension("FUTURERELEASE", keyword, mail={"HOLDFOR": hold_for, "HOLDUNTIL": hold_until})
