"""Mail that is sent on: for members of aliases who are elsewhere, and for accounts that forward (S33, Q32).

A copy goes into the queue under an envelope sender of ours (`srs`), at the domain of the address that sends it on, so
that SPF holds there and reports come back here; the null sender stays null, and so nothing can go round in circles
unseen. Before the message stand the fields of this hop and, for each address of ours that sends it on, Delivered-To,
by which a loop is known (`lists.comes_back`). Nothing within the message is changed: signatures hold.

Each address elsewhere gets one copy. What `add` has returned from is as durable as what is in a mailbox. When the
store then fails, the sender is told to try again, and who is elsewhere gets the message twice; the other order could
lose it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from echomox.delivery.incoming import Destination
from echomox.delivery.placement import Facts
from echomox.delivery.srs import NotSrs, Srs, TooLong
from echomox.delivery.success import may_tell, without_success
from echomox.log import Log
from echomox.message.trace import delivered_to
from echomox.queue.model import FAILURE_AND_DELAY, Outgoing, QueueRecipient


class Queue(Protocol):
    """`echomox.queue.QueueSpool` is one."""

    async def add(self, mail: Outgoing) -> list[int]:
        """Durable when it returns. Raises QueueFull, OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Copy:
    """One message to be queued. domain: at which its sender is rewritten. via: addresses that send it on."""

    domain: str
    via: tuple[str, ...]
    to: tuple[tuple[str, Destination], ...]


def copies(sent: Sequence[Destination]) -> list[Copy]:
    """What is to be queued for these destinations, each address elsewhere once."""
    seen: set[str] = set()
    by_domain: dict[str, list[tuple[str, Destination]]] = {}
    for destination in sent:
        domain = (destination.via or destination.address).rpartition("@")[2]
        for address in destination.relay:
            if address not in seen:
                seen.add(address)
                by_domain.setdefault(domain, []).append((address, destination))
    return [
        Copy(domain, tuple(dict.fromkeys(one.via or one.address for _, one in to)), tuple(to))
        for domain, to in by_domain.items()
    ]


class Forwarder:
    """One per worker. spool: the directory of spool files (`Paths.spool`). ring: wakes the queue."""

    def __init__(
        self, queue: Queue, srs: Srs, spool: Path, log: Log, ring: Callable[[], None] = lambda: None
    ) -> None:
        self._queue = queue
        self._srs = srs
        self._spool = spool
        self._log = log
        self._ring = ring

    async def send(self, facts: Facts, sent: Sequence[Destination]) -> int:
        """Queues the message for what these destinations relay to; how many addresses that are. Durable when it
        returns; raises QueueFull, OSError."""
        total = 0
        for copy in copies(sent):
            ids = await self._queue.add(self._outgoing(facts, copy))
            self._ring()
            total += len(copy.to)
            self._log.info(
                "message sent on",
                cid=facts.mail.cid, id=facts.mail.id, via=",".join(copy.via), recipients=len(copy.to),
                queued=",".join(map(str, ids[:20])),
            )  # fmt: skip
        return total

    def _outgoing(self, facts: Facts, copy: Copy) -> Outgoing:
        mail = facts.mail
        return Outgoing(
            sender=self._sender(facts, copy.domain),
            recipients=tuple(
                QueueRecipient(address, one.orcpt, _notify(facts, one) or FAILURE_AND_DELAY) for address, one in copy.to
            ),
            body=mail.source,
            file="" if mail.source is not None else str(self._spool / mail.spool),
            prefix=b"".join([*map(delivered_to, copy.via), facts.trace, mail.signature]),
            message_id=facts.structure.message_id,
            subject=facts.structure.subject,
            ret=mail.ret,
            envid=mail.envid,
            smtputf8=mail.smtputf8,
            eightbit=mail.eightbit or facts.structure.eight_bit,
            require_tls=True if mail.require_tls else None,
            tls=bool(mail.tls),
            kind="forward",
            id=mail.id,
            received_from=mail.remote_ip,
        )

    def _sender(self, facts: Facts, domain: str) -> str:
        """Where a report on the copy is to go. A sender at one of our domains needs no other one."""
        mail_from = facts.mail.mail_from
        if facts.snapshot.is_local_domain(mail_from.rpartition("@")[2]):
            return mail_from
        try:
            return self._srs.rewrite(mail_from, domain, facts.mail.received)
        except (TooLong, NotSrs, ValueError):
            # A local part of 64 octets leaves no room: the report then comes to the postmaster.
            return f"postmaster@{domain}"


def _notify(facts: Facts, one: Destination) -> frozenset[str]:
    """Success of a copy beside the one in the mailbox is not reported (RFC 3461 5.2.7.4), nor to what may be a
    stranger."""
    return without_success(one.notify) if one.keep or not may_tell(facts) else one.notify
