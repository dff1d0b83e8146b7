"""Reports that come back (RFC 3464): what they say of mail that our users sent is noted with it, and recipients that do
not exist are suppressed. The report itself is delivered as any mail; nothing here can lose or delay it.

Whose mail it was is known by the address that the report came to: its account, and what follows the separator there,
which is the id of a unique return address.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Protocol

from echomox.config.schema import Queue
from echomox.delivery.incoming import Incoming
from echomox.log import Log
from echomox.queue.dsn import IncomingReport, parse_report
from echomox.queue.match import Match

SIZE = 1 << 20
"""Larger ones are not read: a report is small, and may leave out what it is about."""
_FROM_ID = re.compile(r"[+_.=#!~^-]([0-9a-f]{16})\Z")


class Matcher(Protocol):
    """`echomox.queue.spool.QueueSpool` is one."""

    async def match(self, account: str, from_id: str, report: IncomingReport, suppress_after: int) -> list[Match]: ...


class Returns:
    def __init__(self, matcher: Matcher, settings: Queue, log: Log, count: Callable[[str, int], None]) -> None:
        self._matcher = matcher
        self._suppress_after = settings.suppress_after if settings.suppress else 0
        self._log = log
        self._count = count

    async def note(self, mail: Incoming) -> int:
        """How many sent messages a delivered mail tells something about."""
        if mail.mail_from or mail.size > SIZE:
            return 0
        try:
            source = mail.read()
            if b"report" not in source[:16384].lower():
                return 0
            report = await asyncio.to_thread(parse_report, source)
            return await self._match(mail, report) if report is not None else 0
        except Exception as error:
            self._log.error("report not matched", cid=mail.cid, error=f"{type(error).__name__}: {error}")
            self._count("exceptions", 1)
            return 0

    async def _match(self, mail: Incoming, report: IncomingReport) -> int:
        found = 0
        kept = {one.account: one for one in mail.destinations if one.keep}
        for account, to in [*kept.items(), *(("", one) for one in kept.values())]:  # "": reports of the server itself
            matches = await self._matcher.match(account, from_id(to.address), report, self._suppress_after)
            found += len(matches)
            for match in matches:
                self._log.info(
                    "report matched", cid=mail.cid, account=match.account, queue=match.id, to=match.recipient,
                    action=match.action, status=match.status,
                )  # fmt: skip
        if found:
            self._count("reports_matched", found)
        return found


def from_id(address: str) -> str:
    """The id of a unique return address; "" of another one."""
    found = _FROM_ID.search(address.rpartition("@")[0])
    return found[1] if found else ""
