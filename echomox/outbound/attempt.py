"""One try to deliver one job: its hosts one after the other until each recipient has an outcome.

A recipient's 2xx or 5xx is final. A 4xx to RCPT or to the message means later, not elsewhere; trouble of the
connection, of the greeting or 4xx to MAIL means the next address (RFC 5321 5.1). When a connection ends between the
final dot and its reply nobody knows whether the message was taken: it is tried again later, not at the next host at
once.

Nothing that a peer does raises here; what is left undecided, by the end of the time or by a fault of ours, is a retry.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from echomox.errors import ConfigError, Reply
from echomox.outbound.client import Result, Session, Trouble
from echomox.outbound.connections import Endpoint
from echomox.outbound.hosts import Undeliverable
from echomox.outbound.targets import Missed, Target, demands_tls
from echomox.outbound.transaction import Transaction
from echomox.queue.outcome import Job, JobRecipient, Outcome

if TYPE_CHECKING:
    from echomox.outbound.remote import RemoteDelivery

ROUNDS = 50  # transactions of one job over one session
LOG_LINES = 40


class Attempt:
    def __init__(self, remote: RemoteDelivery, job: Job) -> None:
        self.remote = remote
        self.job = job
        self.left: list[JobRecipient] = list(job.recipients)
        self.outcomes: list[Outcome] = []
        self.missed: list[Missed] = []
        self.log: list[str] = []
        self.ip = ""

    async def run(self) -> list[Outcome]:
        """An outcome for each recipient."""
        remote = self.remote
        try:
            async with asyncio.timeout(remote.settings.attempt_timeout):
                await self._hosts()
        except TimeoutError:
            text = f"not done within {remote.settings.attempt_timeout:g} s"
            self._all("retry", Reply(451, "4.4.7", text), unreachable=True)
        except Undeliverable as error:
            self._whole(error.reply)
        except ConfigError as error:
            remote.log.error("delivery not possible", domain=self.job.domain, error=error)
            self._all("retry", Reply(451, "4.3.5", "Local configuration error"))
        except Exception:
            remote.log.exception("delivery failed", id=self.job.id, domain=self.job.domain)
            remote.count("exceptions")
            self._all("retry", Reply(451, "4.3.0", "Local error, tried again later"))
        if self.left:
            self._conclude()
        return self.outcomes

    def note(self, line: str) -> None:
        if len(self.log) < LOG_LINES:
            self.log.append(line)
        self.remote.log.debug("delivery step", id=self.job.id, step=line)

    # hosts

    async def _hosts(self) -> None:
        job, remote = self.job, self.remote
        if job.transport is not None and job.transport.kind == "fail":
            code = job.transport.code
            self._whole(Reply(code, f"{code // 100}.7.1", job.transport.text or "Delivery is switched off"))
            return
        if await self._known():
            return
        tried = 0
        async with contextlib.aclosing(remote.directory.targets(job)) as targets:
            async for item in targets:
                if isinstance(item, Missed):
                    self._miss(item)
                    continue
                if tried >= remote.settings.addresses:
                    return
                tried += 1
                await self._target(item)
                if not self.left:
                    return

    async def _known(self) -> bool:
        """Over a connection kept from the last message to this destination, if there is one; whether all is done."""
        for endpoint in self.remote.last_endpoints(self.job):
            session = self.remote.connections.take(endpoint)
            if session is not None:
                await self._send(session, endpoint)
                self.missed.clear()  # it had ended meanwhile: that says nothing of the host
                return not self.left
        return False

    async def _target(self, target: Target) -> None:
        remote = self.remote
        self.ip = target.peer.ip
        for endpoint in target.ladder:
            session = remote.connections.take(endpoint)
            if session is not None:
                stale = len(self.missed)
                remote.keep_endpoint(self.job, endpoint)
                await self._send(session, endpoint)
                if not self.left or len(self.missed) == stale:
                    return
                del self.missed[stale:]  # it had ended meanwhile: that says nothing of the host
        for step, endpoint in enumerate(target.ladder):
            session = await self._open(target, endpoint, step)
            if session is not None:
                remote.keep_endpoint(self.job, endpoint)
                await self._send(session, endpoint)
                return
            if step + 1 < len(target.ladder) and self._tls_failed:
                remote.count("outbound_tls_fallback")
                remote.log.info(
                    "TLS failed, tried with less", id=self.job.id, mx=endpoint.host, remote=endpoint.ip,
                    error=self.missed[-1].reply.text,
                )  # fmt: skip
                self.missed.pop()
                continue
            return

    _tls_failed = False

    async def _open(self, target: Target, endpoint: Endpoint, step: int) -> Session | None:
        """None after trouble, which is in `missed`."""
        remote = self.remote
        self._tls_failed = False
        level = endpoint.security.level
        counted = target.counted and step == 0 and level != "plain"
        self.note(f"{endpoint.host} [{endpoint.ip}]:{endpoint.port} {level}")
        remote.count("outbound_connections")
        try:
            session = await remote.connections.open(endpoint)
        except Trouble as trouble:
            self.note(str(trouble))
            remote.count("outbound_connections_failed")
            self._tls_failed = bool(trouble.failure)
            reply = trouble.reply
            if trouble.failure and counted:
                found = (trouble.failure, trouble.reply.text)
                remote.record.met(target.peer, endpoint.security, (trouble.local_ip, ""), found)
            if trouble.failure and demands_tls(self.job):
                reply = Reply(550, "5.7.10", reply.text)  # RFC 8689 4.2.1
            self._miss(Missed(endpoint.host, reply, endpoint.ip))
            return None
        if session.tls:
            remote.count("outbound_tls")
        if counted:
            found = ("", "")
            if not session.tls:
                found = ("starttls-not-supported", f"{endpoint.host} does not offer STARTTLS")
            elif level == "encrypt":
                found = ("tlsa-invalid", "none of the TLSA records can be used")  # RFC 8460 4.3.2.1
            remote.record.met(target.peer, endpoint.security, (session.wire.local_ip(), session.helo), found)
        self.note(f"connected, {session.tls or 'no TLS'}")
        return session

    # one session

    async def _send(self, session: Session, endpoint: Endpoint) -> None:
        """To all that are left; trouble of the session goes into `missed`."""
        try:
            for _ in range(ROUNDS):
                before = len(self.left)
                self._apply(await Transaction(session, self.job).run(self.left), session)
                if not self.left:
                    break
                if len(self.left) == before:
                    self._all("retry", Reply(452, "4.5.3", f"{session.host} takes no more recipients now"), session)
        except Trouble as trouble:
            self.note(str(trouble))
            self._apply(trouble.partial, session)
            if trouble.stage == "end":
                # RFC 5321 4.5.3.2.6: it may have been taken, or not.
                self._all("retry", trouble.reply, session)
            else:
                self._miss(Missed(endpoint.host, trouble.reply, endpoint.ip))
            session.quit()
        except BaseException:
            session.wire.abort()
            raise
        else:
            self.remote.give(endpoint, session)

    def _apply(self, results: dict[int, Result], session: Session) -> None:
        if not results:
            return
        left = []
        for recipient in self.left:
            result = results.get(recipient.id)
            if result is None:
                left.append(recipient)
                continue
            kind = result.kind
            if kind == "delivered" and "DSN" not in session.capabilities:
                kind = "relayed"
            self._outcome(recipient, kind, result.reply, session)
        self.left = left

    # outcomes

    def _miss(self, missed: Missed) -> None:
        self.missed.append(missed)
        if not missed.ip:
            self.note(f"{missed.host}: {missed.reply}")

    def _outcome(
        self, recipient: JobRecipient, kind: str, reply: Reply, session: Session | None, unreachable: bool = False
    ) -> None:
        host, ip, tls, policy = "", self.ip, "", ""
        if session is not None:
            host, ip, tls, policy = session.host, session.ip, session.tls, session.policy
            if policy == "opportunistic" and not tls:
                policy = ""
            if demands_tls(self.job):
                policy = "requiretls"
        elif self.missed:
            host, ip = self.missed[-1].host, self.missed[-1].ip
        self.outcomes.append(
            Outcome(
                recipient.id, kind, reply.code, reply.enhanced, reply.text or "(no text)", host, ip, tls, policy,
                self.remote.clock.now(), unreachable, tuple(self.log),
            )
        )  # fmt: skip

    def _all(self, kind: str, reply: Reply, session: Session | None = None, unreachable: bool = False) -> None:
        left, self.left = self.left, []
        for recipient in left:
            self._outcome(recipient, kind, reply, session, unreachable)

    def _whole(self, reply: Reply) -> None:
        """The destination as a whole."""
        self._all("failed" if reply.code >= 500 else "retry", reply, unreachable=True)

    def _conclude(self) -> None:
        """No host took it. While one of them may yet, it is tried again."""
        self._whole(verdict(self.missed))


def verdict(missed: Sequence[Missed]) -> Reply:
    """The last trouble that may pass; if there is none the first that does not."""
    passing = [item.reply for item in missed if item.reply.code < 500]
    if passing:
        return passing[-1]
    return missed[0].reply if missed else Reply(451, "4.4.4", "No host could be tried")
