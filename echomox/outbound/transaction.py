"""One message over a session: MAIL, RCPT, and DATA or BDAT, and what becomes of each recipient.

RFC 5321 3.3, RFC 2920 (PIPELINING), RFC 1870 (SIZE), RFC 3461 (DSN), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8),
RFC 8689 (REQUIRETLS), RFC 9422 (RCPTMAX), RFC 3030 (BDAT, for binary messages). MAIL, all RCPT and DATA go in one
write where the host allows it.

A message with bytes over 127 goes to a host without 8BITMIME as it is, undeclared: such hosts are rare, pass them on,
and a conversion would break its signatures. One that needs SMTPUTF8 or BINARYMIME is refused (5.6.7, 5.6.1).

Only a 2xx to the final dot makes a message delivered. A session that ends between the final dot and that reply leaves
the message to be tried again (RFC 5321 4.5.3.2.6: a duplicate is better than a loss).
"""

from __future__ import annotations

from collections.abc import Sequence

from echomox.errors import Reply
from echomox.outbound.client import Result, Session, Trouble, heard
from echomox.outbound.outgoing import Stuffer, ascii_address, blocks, needs_utf8, orcpt, xtext
from echomox.outbound.wire import PeerError, PeerReply
from echomox.queue.outcome import Job, JobRecipient

GROUP = 100  # recipients of one write


class Transaction:
    """MAIL, RCPT, DATA or BDAT, for one message."""

    def __init__(self, session: Session, job: Job) -> None:
        self.session = session
        self.wire = session.wire
        self.job = job
        self.settings = session.settings
        self.results: dict[int, Result] = {}
        self.utf8 = False
        self._source = blocks(job.prefix, job.body, job.file)
        self._first = b""

    async def run(self, recipients: Sequence[JobRecipient]) -> dict[int, Result]:
        """What became of each, by id; those left out are to be tried again at once: the host takes fewer at a time.
        Raises Trouble when the session ends.
        """
        self.session.messages += 1
        try:
            return await self._run(recipients)
        except PeerError as error:
            raise self.session.broken("body", error, self.results) from None
        except Trouble as error:
            error.partial = self.results
            raise
        except OSError as error:  # of our own file: the session is in the middle of it and of no use
            self.wire.abort("the message could not be read")
            trouble = _retry(f"the message cannot be read: {error.strerror}")
            return {r.id: self.results.get(r.id, trouble) for r in recipients}
        finally:
            self._source.close()

    async def _run(self, recipients: Sequence[JobRecipient]) -> dict[int, Result]:
        self._first = next(self._source, b"")
        job, capabilities = self.job, self.session.capabilities
        # A message that declares SMTPUTF8 and is all ASCII can go anywhere.
        self.utf8 = needs_utf8(self._first if job.smtputf8 else b"", job.sender, *(r.address for r in recipients))
        if wrong := [r for r in recipients if not (job.sender + r.address).isprintable()]:
            # Line ends in an address would be commands of their own.
            return {r.id: Result("failed", Reply(553, "5.1.3", "control characters in an address")) for r in wrong}
        if refusal := self._unable():
            return {recipient.id: Result("failed", refusal) for recipient in recipients}
        limit = capabilities.limit("RCPTMAX") or len(recipients)
        taken = list(recipients[:limit])
        pipelining = "PIPELINING" in capabilities and len(taken) <= GROUP
        self.session.clean = False
        accepted = await (self._pipelined(taken) if pipelining else self._one_by_one(taken))
        if not accepted:
            return self.results
        reply = await (self._binary() if job.binary else self._body())
        self.session.clean = not job.binary
        if not 200 <= reply.code < 300:
            self._all(accepted, reply)
        for recipient in accepted if 200 <= reply.code < 300 else ():
            self.results[recipient.id] = Result("delivered", heard(reply))
        return self.results

    def _unable(self) -> Reply | None:
        """What the host cannot do, and this message needs."""
        job, capabilities, host = self.job, self.session.capabilities, self.session.host
        if job.require_tls and job.sender and "REQUIRETLS" not in capabilities:
            text = f"REQUIRETLS is needed, and {host} does not support it"
            raise Trouble("ehlo", Reply(550, "5.7.30", text))  # RFC 8689 4.2.1: another host may
        if self.utf8 and "SMTPUTF8" not in capabilities:
            return Reply(550, "5.6.7", f"{host} does not take addresses or header fields that are not ASCII")
        if job.binary and not ("BINARYMIME" in capabilities and "CHUNKING" in capabilities):
            return Reply(554, "5.6.1", f"{host} does not take binary messages")
        limit = capabilities.number("SIZE")
        if limit and job.size > limit:
            return Reply(552, "5.3.4", f"the message is larger than the {limit} bytes that {host} takes")
        return None

    # the envelope

    def _mail(self) -> bytes:
        job, capabilities = self.job, self.session.capabilities
        parts = [f"MAIL FROM:<{job.sender if self.utf8 else ascii_address(job.sender)}>"]
        if "SIZE" in capabilities:
            parts.append(f"SIZE={job.size}")
        if job.binary:
            parts.append("BODY=BINARYMIME")
        elif (job.eightbit or self.utf8) and "8BITMIME" in capabilities:
            parts.append("BODY=8BITMIME")
        if self.utf8:
            parts.append("SMTPUTF8")
        if "DSN" in capabilities:
            if job.ret:
                parts.append(f"RET={job.ret.upper()}")
            if job.envid:
                parts.append(f"ENVID={xtext(job.envid)}")
        if job.require_tls and "REQUIRETLS" in capabilities:
            parts.append("REQUIRETLS")
        return " ".join(parts).encode("utf-8", "replace") + b"\r\n"

    def _rcpt(self, recipient: JobRecipient) -> bytes:
        address = recipient.address if self.utf8 else ascii_address(recipient.address)
        parts = [f"RCPT TO:<{address}>"]
        if "DSN" in self.session.capabilities:
            if recipient.notify:
                parts.append("NOTIFY=" + ",".join(sorted(recipient.notify)).upper())
            if recipient.orcpt:
                parts.append("ORCPT=" + orcpt(recipient.orcpt, self.utf8))
        return " ".join(parts).encode("utf-8", "replace") + b"\r\n"

    async def _pipelined(self, recipients: Sequence[JobRecipient]) -> list[JobRecipient]:
        """RFC 2920 3.1. Those accepted, with the host waiting for the message; [] when it is not."""
        last = b"" if self.job.binary else b"DATA\r\n"
        self.wire.write(self._mail() + b"".join(map(self._rcpt, recipients)) + last)
        mail = await self._reply("mail", self.settings.command_timeout)
        accepted: list[JobRecipient] = []
        for recipient in recipients:
            self._judge(recipient, await self._reply("rcpt", self.settings.command_timeout), accepted)
        if mail.code != 250:
            accepted = []
        data = None if self.job.binary else await self._reply("data", self.settings.data_timeout)
        self._mail_refused(mail, recipients)
        if data is not None and data.code == 354 and not accepted:
            # RFC 2920 3.1: the host waits for a message that has no recipient; whatever it answers does not count.
            self.wire.write(b".\r\n")
            await self._reply("end", self.settings.end_timeout)
        if data is not None and data.code != 354 and accepted:
            self._all(accepted, data)
            return []
        return accepted

    async def _one_by_one(self, recipients: Sequence[JobRecipient]) -> list[JobRecipient]:
        self.wire.write(self._mail())
        if self._mail_refused(await self._reply("mail", self.settings.command_timeout), recipients):
            return []
        accepted: list[JobRecipient] = []
        for recipient in recipients:
            self.wire.write(self._rcpt(recipient))
            self._judge(recipient, await self._reply("rcpt", self.settings.command_timeout), accepted)
        if accepted and not self.job.binary:
            self.wire.write(b"DATA\r\n")
            data = await self._reply("data", self.settings.data_timeout)
            if data.code != 354:
                self._all(accepted, data)
                return []
        return accepted

    def _mail_refused(self, mail: PeerReply, recipients: Sequence[JobRecipient]) -> bool:
        """Raises Trouble for 4xx: another host may take it."""
        if 400 <= mail.code < 500:
            raise Trouble("mail", heard(mail))
        if mail.code != 250:
            self._all(recipients, mail)
        return mail.code != 250

    def _judge(self, recipient: JobRecipient, reply: PeerReply, accepted: list[JobRecipient]) -> None:
        if reply.code in (250, 251):
            accepted.append(recipient)
        elif reply.code != 452 or not accepted:
            # RFC 5321 4.5.3.1.10: 452 after some were taken means that the others are to come in another transaction:
            # they have no result yet.
            self._all([recipient], reply)

    def _all(self, recipients: Sequence[JobRecipient], reply: PeerReply) -> None:
        kind = "failed" if reply.code >= 500 else "retry"
        given = heard(reply)
        if not 400 <= reply.code < 600:
            given = Reply(451, "4.5.0", f"{self.session.host} gave an unexpected reply: {given}")
        for recipient in recipients:
            self.results[recipient.id] = Result(kind, given)

    # the message

    async def _body(self) -> PeerReply:
        stuffer = Stuffer()
        wire = self.wire
        block, following = self._first, next(self._source, None)
        while following is not None:
            wire.write(stuffer.feed(block))
            await wire.drain(self.settings.block_timeout)
            if early := wire.early():
                return await self._early(early)
            block, following = following, next(self._source, None)
        if early := wire.early():
            return await self._early(early)
        wire.write(stuffer.feed(block) + stuffer.end())
        await wire.drain(self.settings.block_timeout)
        return await self._reply("end", self.settings.end_timeout)

    async def _early(self, reply: PeerReply) -> PeerReply:
        """A reply before the final dot: the message cannot go on, nor the session. A 2xx then is no acceptance."""
        self.wire.abort("the host answered before the end of the message")
        if reply.code < 400:
            raise self.session.broken("body", f"it answered {reply.code} before the end of the message")
        if reply.code == 421:
            raise Trouble("body", heard(reply))
        return reply

    async def _binary(self) -> PeerReply:
        """RFC 3030: BDAT, each chunk after the reply to the one before."""
        block = self._first
        for following in self._source:
            if following:
                reply = await self._chunk(block, b"")
                if reply.code != 250:
                    return reply
                block = following
        return await self._chunk(block, b" LAST")

    async def _chunk(self, block: bytes, last: bytes) -> PeerReply:
        self.wire.write(b"BDAT %d%s\r\n" % (len(block), last) + block)
        await self.wire.drain(self.settings.block_timeout)
        stage, limit = ("end", self.settings.end_timeout) if last else ("body", self.settings.data_timeout)
        return await self._reply(stage, limit)

    async def _reply(self, stage: str, limit: float) -> PeerReply:
        return await self.session.reply(stage, limit)


def _retry(text: str) -> Result:
    return Result("retry", Reply(451, "4.3.0", text))
