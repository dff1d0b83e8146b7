"""Queued mail for addresses of ours: reports to our users, mainly (see workers.queuerunner).

It goes the way of all mail in (`LocalDelivery`), with nothing classified: it is the server's own, or was let in once.
A job whose last holder vanished may have been delivered already: then it is looked for by its Message-ID, so that a
report comes once.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from echomox.config.snapshot import Snapshot, Unknown
from echomox.delivery.incoming import Destination, Host, Incoming
from echomox.delivery.lists import destinations
from echomox.delivery.local import LocalDelivery
from echomox.delivery.srs import NotSrs, Srs, is_srs
from echomox.errors import Reply
from echomox.queue.outcome import Job, JobRecipient, Outcome
from echomox.store.engine import Engine, StoreError

MAX_UID = (1 << 32) - 1
REFUSALS = {
    "domain": Reply(550, "5.1.2", "This domain is not served here"),
    "user": Reply(550, "5.1.1", "There is no such mailbox here"),
    "disabled": Reply(450, "4.2.1", "This domain is not taking mail for now"),
}
DELIVERED = Reply(250, "2.0.0", "Delivered")
LOST = Reply(451, "4.3.0", "The message could not be read, it is tried again later")


@dataclass(frozen=True, slots=True)
class LocalJobs:
    """srs: to know the return addresses of mail that was sent on; None where none is."""

    host: Host
    engine: Engine
    delivery: LocalDelivery
    srs: Srs | None = None

    async def deliver(self, job: Job) -> list[Outcome]:
        """Each recipient by itself: what becomes of one is not the other's business."""
        try:
            source = await self._source(job)
        except OSError as error:
            self.host.log.error("queued message not read", id=job.id, error=error)
            return [_outcome(recipient, LOST) for recipient in job.recipients]
        return [await self._one(job, recipient, source) for recipient in job.recipients]

    async def _source(self, job: Job) -> bytes:
        if job.file is None:
            return job.prefix + (job.body or b"")
        return job.prefix + await asyncio.to_thread(job.file.read_bytes)

    async def _one(self, job: Job, recipient: JobRecipient, source: bytes) -> Outcome:
        found = self._destinations(self.host.snapshot(), recipient.address, job.sender)
        if isinstance(found, Reply):
            return _outcome(recipient, found)
        if job.interrupted and job.message_id:
            found = [one for one in found if not (one.keep and self._is_there(one.account, job.message_id))]
            if not found:
                return _outcome(recipient, DELIVERED)
        number = f"{job.id}.{recipient.id}"
        mail = Incoming(
            id=f"queue-{number}", cid=number, source=source, spool="", read=lambda: source, size=len(source),
            mail_from=job.sender, destinations=found, helo=self.host.static.hostname, remote_ip="",
            protocol="LMTP", tls="", received=time.time(), login=job.account, smtputf8=job.smtputf8,
            eightbit=job.eightbit, require_tls=bool(job.require_tls), envid=job.envid, ret=job.ret,
        )  # fmt: skip
        return _outcome(recipient, await self.delivery.deliver(mail))

    def _destinations(self, snapshot: Snapshot, address: str, sender: str) -> list[Destination] | Reply:
        local, _, domain = address.rpartition("@")
        if self.srs is not None and is_srs(local) and snapshot.is_local_domain(domain):
            try:
                back = self.srs.undo(local, time.time())
            except NotSrs:
                return REFUSALS["user"]
            if sender:
                return REFUSALS["user"]
            address, returned = back, address
        else:
            returned = ""
        found = snapshot.recipient(address)
        if not isinstance(found, Unknown):
            return destinations(snapshot, found) or REFUSALS["user"]
        if returned and found.reason == "domain" and snapshot.postmaster:
            return [Destination(snapshot.postmaster, returned, relay=(address,), keep=False, returned=True)]
        return REFUSALS[found.reason]

    def _is_there(self, account: str, message_id: str) -> bool:
        try:
            store = self.engine.open(account)
            return any(
                row[0] == message_id
                for mailbox in store.mailboxes()
                for row in list(store.fetch(mailbox.id, 1, MAX_UID, ("message_id",)))
            )
        except StoreError:
            return False


def _outcome(recipient: JobRecipient, reply: Reply) -> Outcome:
    kind = {2: "delivered", 5: "failed"}.get(reply.code // 100, "retry")
    return Outcome(recipient.id, kind, reply.code, reply.enhanced, reply.text, when=time.time())
