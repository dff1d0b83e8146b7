"""Who reports: the address, the keys that sign for it, the queue; and whether a mail of ours is in that already."""

from __future__ import annotations

import random
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from echomox.config.paths import Paths
from echomox.config.schema import Static
from echomox.config.snapshot import Snapshot
from echomox.mailauth.dkim import sign
from echomox.mailauth.dkimkeys import KeyRing, SigningKey
from echomox.mailauth.rsa import BadKey
from echomox.message.compose import new_message_id
from echomox.queue import database
from echomox.queue.model import Outgoing, QueueRecipient
from echomox.queue.spool import QueueSpool
from echomox.queue.suppression import is_suppressed
from echomox.reports.aggregate import Reporter
from echomox.reports.mail import Envelope

T = TypeVar("T")
FAILURE = frozenset({"failure"})


class NoSender(Exception):
    """No report can be signed. str() says why."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Of one run of the job. separator: of the domain, "" for none."""

    address: str
    domain: str
    keys: tuple[SigningKey, ...]
    reporter: Reporter
    separator: str
    hostname: str
    paths: Paths
    spool: QueueSpool

    def new_id(self) -> str:
        """Of a message."""
        return new_message_id(self.hostname, random.SystemRandom())

    async def send(self, envelope: Envelope, source: bytes, *, require_tls: bool | None = None) -> list[int]:
        """Into the queue, signed; the ids there. Durable. Raises QueueFull, QueueError, OSError."""
        local, _, domain = self.address.rpartition("@")
        from_id = secrets.token_hex(8) if self.separator else ""
        return await self.spool.add(
            Outgoing(
                sender=f"{local}{self.separator}{from_id}@{domain}" if from_id else self.address,
                recipients=tuple(QueueRecipient(address, notify=FAILURE) for address in envelope.recipients),
                body=source,
                prefix=sign(source, self.keys, envelope.now),
                message_id=envelope.message_id,
                subject=f"Report Domain: {envelope.domain}",
                require_tls=require_tls,
                kind="report",
                from_id=from_id,
                id=f"report-{envelope.domain}-{envelope.begin}",
            )
        )

    def is_queued(self, message_id: str) -> bool:
        """Whether the queue has a mail, or had it. Raises QueueError, OSError."""
        query = (
            "SELECT 1 FROM content WHERE message_id = ? UNION ALL SELECT 1 FROM retired WHERE message_id = ? LIMIT 1"
        )
        return bool(self._ask(lambda connection: connection.execute(query, (message_id, message_id)).fetchone()))

    def unsuppressed(self, addresses: Sequence[str]) -> list[str]:
        """Those that reports may go to. Raises QueueError, OSError."""
        return self._ask(lambda connection: [one for one in addresses if not is_suppressed(connection, "", one)])

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        directory = database.prepare(self.paths)
        with closing(database.connect(directory, durable=False)) as connection:
            try:
                return question(connection)
            except sqlite3.Error as error:
                raise database.translate(error) from error


def find_sender(static: Static, snapshot: Snapshot, paths: Paths, spool: QueueSpool) -> Sender:
    """As configured now. Raises NoSender."""
    address = snapshot.reports_from
    name = address.rpartition("@")[2]
    domain = snapshot.domain(name)
    if not address or domain is None:
        raise NoSender("no domain of ours has a DKIM key, so reports cannot be signed")
    try:
        keys = KeyRing().keys(name, domain.dkim)
    except (OSError, BadKey) as error:
        raise NoSender(f"a DKIM key of {name} cannot be used: {error}") from None
    if not keys:
        raise NoSender(f"{name}, which reports come from, has no DKIM key that signs")
    settings = static.reports
    reporter = Reporter(settings.organisation or name, address, settings.contact)
    separator = domain.separators[0] if domain.separators else ""
    return Sender(address, name, keys, reporter, separator, static.hostname, paths, spool)
