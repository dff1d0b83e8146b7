"""The role of ports 587 and 465: mail of our own users, after a login (RFC 6409).

MAIL FROM and every From address must be the user's own. A message is put right (`fixup`), counted against the
account's limits (U14), and then: recipients at other servers go into the queue, signed with DKIM; recipients here get
it at once, into the Inbox: it is not classified, for it comes from one of us. Held mail (FUTURERELEASE) goes into the
queue for all.

One 250 promises both. The queue comes first: while it refuses, nothing has happened, and the client may try again. When
the mailboxes then fail, their recipients are given to the queue too, whose runner delivers here as well, so that those
who have it already do not get it twice by a second try of the client. Only when the queue has taken the one half and
refuses the other is a client told 451 for a message that is under way in part; the log says so.

Nothing is copied to Sent: that is the mail program's task.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from echomox.config.schema import Account
from echomox.delivery.incoming import Host, Incoming
from echomox.delivery.local import FULL, STORE_TROUBLE, LocalDelivery
from echomox.errors import Reply
from echomox.mailauth.dkim import sign
from echomox.mailauth.dkimkeys import KeyRing, SigningKey
from echomox.mailauth.rsa import BadKey
from echomox.message.address import address_text, mailboxes, normalise_domain, parse_addresses
from echomox.message.header import read_fields
from echomox.message.trace import Hop, received_field
from echomox.queue.database import QueueError
from echomox.queue.model import FAILURE_AND_DELAY, Outgoing, QueueFull, QueueRecipient
from echomox.smtpd.fixup import Fixed, TooMuchExtra, fix_header
from echomox.smtpd.header import header_of
from echomox.smtpd.receive import check, incoming, local_recipient
from echomox.store.engine import Engine, NoSuchAccount, SendLimits, StoreError

if TYPE_CHECKING:
    from echomox.smtpd.body import Body
    from echomox.smtpd.session import SmtpSession
    from echomox.smtpd.transaction import Asked, Transaction

NOT_YOURS = Reply(553, "5.7.1", "This sender address does not belong to your login")
FROM_NOT_YOURS = Reply(550, "5.7.1", "The From address does not belong to your login")
NO_FROM = Reply(550, "5.6.0", "The message has no From address")
BAD_DOMAIN = Reply(553, "5.1.2", "This is not the name of a domain")
DISABLED = Reply(550, "5.7.1", "This account may not send mail now")
LIMITED = {
    "messages": Reply(452, "4.2.2", "This account has sent as much mail as it may in 24 hours, try again later"),
    "recipients": Reply(
        452, "4.2.2", "This account has written to as many new addresses as it may in 24 hours, try again later"
    ),
}
KEY_TROUBLE = Reply(451, "4.3.5", "The message cannot be signed for now, try again later")
IN_LOOP = 64 * 1024
"""Octets of a message that is rewritten and signed in the event loop; larger ones in a thread."""
LOCAL_PART = 64  # RFC 5321 4.5.3.1.1


class Queue(Protocol):
    """`queue.spool.QueueSpool` is one."""

    async def add(self, mail: Outgoing) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class Job:
    """A message that has passed the checks. sender: the return address that the queue is given."""

    id: str
    account: Account
    fixed: Fixed
    sender: str
    from_id: str
    from_domain: str


class Submit:
    """Role of the submission service; see `command.Role`. ring: called when something was put into the queue."""

    service = "submission"
    login = True

    def __init__(
        self,
        host: Host,
        engine: Engine,
        delivery: LocalDelivery,
        queue: Queue,
        ring: Callable[[], None] = lambda: None,
    ) -> None:
        self._host = host
        self._engine = engine
        self._delivery = delivery
        self._queue = queue
        self._ring = ring
        self._keys = KeyRing()
        self._thread = ThreadPoolExecutor(1, "sign")

    def offered(self, session: SmtpSession) -> list[str]:
        authenticator = session.service.authenticator
        return authenticator.offered(bool(session.tls), session.remote_ip, session.channel) if authenticator else []

    def sender(self, session: SmtpSession, address: str) -> Reply | None:
        snapshot = self._host.snapshot()
        account = snapshot.dynamic.accounts.get(session.login)
        if account is None or account.disabled:  # since the login
            return DISABLED
        if not address:  # RFC 8098 3: mail programs send their reports with it
            return None
        return None if snapshot.may_send_as(session.login, address) else NOT_YOURS

    def recipient(self, session: SmtpSession, address: str) -> Reply | None:
        domain = address.rpartition("@")[2] if "@" in address else ""
        snapshot = self._host.snapshot()
        if domain and not snapshot.is_local_domain(domain) and domain.lower() != snapshot.hostname:
            if not _is_domain(domain):
                return BAD_DOMAIN
            session.envelope.outside.append(len(session.envelope.rcpt_tos))
            return None
        return local_recipient(self._host, self._engine, session, address)

    async def message(self, session: SmtpSession, body: Body) -> Reply:
        limits = session.service.limits
        refusal = check(session, body, limits)
        if refusal is not None:
            return refusal
        job = self._job(session, body)
        if isinstance(job, Reply):
            session.service.count("smtp_messages_refused")
            session.log.info("message refused", login=session.login, size=body.size, reply=job)
            return job
        try:
            return await self._accept(session, body, job)
        except (QueueFull, QueueError) as error:
            session.log.error("message not queued", login=session.login, error=str(error))
            return error.reply if isinstance(error, QueueFull) else STORE_TROUBLE
        except OSError as error:
            session.log.error("message not queued", login=session.login, error=str(error))
            return FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else STORE_TROUBLE

    # checks

    def _job(self, session: SmtpSession, body: Body) -> Job | Reply:
        limits = session.service.limits
        header = header_of(body.read(limits.header_size + 4), limits.header_size) or b""
        snapshot = self._host.snapshot()
        account = snapshot.dynamic.accounts.get(session.login)
        if account is None or account.disabled:
            return DISABLED
        value = read_fields(header, 0, len(header)).get(b"from", b"")
        boxes = mailboxes(parse_addresses(address_text(value)))
        if not boxes:
            return NO_FROM
        # RFC 6409 6.1, for each address of From: clients show that one, not the envelope's.
        if not all(snapshot.may_send_as(session.login, box.address) for box in boxes):
            return FROM_NOT_YOURS
        now = session.service.clock.now()
        from_domain = normalise_domain(boxes[0].address.rpartition("@")[2])
        try:
            fixed = fix_header(header, now, from_domain if "[" not in from_domain else snapshot.hostname)
        except TooMuchExtra as error:
            return Reply(550, "5.6.0", str(error))
        envelope = session.envelope
        refusal = self._note_sent(session, account, now)
        if refusal is not None:
            return refusal
        sender, from_id = envelope.mail_from or "", ""
        if account.unique_return_addresses and sender:
            sender, from_id = self._unique(sender)
        return Job(f"{session.cid}-{int(now * 1e6):x}", account, fixed, sender, from_id, from_domain)

    def _note_sent(self, session: SmtpSession, account: Account, now: float) -> Reply | None:
        """U14; and whom the account writes to is known afterwards (F08)."""
        envelope = session.envelope
        outside: list[str] = []
        here: list[str] = []
        places = set(envelope.outside)
        for place, address in enumerate(envelope.rcpt_tos):
            (outside if place in places else here).append(compared(address))
        limits = SendLimits(account.max_outgoing_messages_per_day, account.max_first_time_recipients_per_day)
        try:
            try:
                limit = self._engine.open(session.login).note_sent(outside, here, now, limits)
            except NoSuchAccount:
                self._engine.create(session.login)
                limit = self._engine.open(session.login).note_sent(outside, here, now, limits)
        except (StoreError, OSError) as error:
            session.log.error("sent mail not noted", login=session.login, error=str(error))
            return STORE_TROUBLE
        return LIMITED.get(limit)

    def _unique(self, sender: str) -> tuple[str, str]:
        """U11: (return address, its id), or the sender as it is where its domain has no separator."""
        local, _, name = sender.rpartition("@")
        domain = self._host.snapshot().domain(name)
        from_id = secrets.token_hex(8)
        if domain is None or not domain.separators or local.startswith('"'):
            return sender, ""
        unique = f"{local}{domain.separators[0]}{from_id}"
        return (f"{unique}@{name}", from_id) if len(unique.encode()) <= LOCAL_PART else (sender, "")

    # acceptance

    async def _accept(self, session: SmtpSession, body: Body, job: Job) -> Reply:
        envelope = session.envelope
        if job.fixed.changed:
            await self._rewrite(session, body, job.fixed)
        outside = envelope.outside if not envelope.hold_until else range(len(envelope.rcpt_tos))
        ids: list[int] = []
        mail: Outgoing | None = None
        signature = b""
        if outside or any(one.relay for one in envelope.destinations):
            made = await self._signature(session, body, job)
            if isinstance(made, Reply):
                return made
            signature = made
        if outside:
            mail = self._outgoing(session, body, job, outside, signature)
            ids = await self._queue.add(mail)
            self._ring()
            session.service.count("submitted_recipients", len(ids))
        if envelope.destinations and not envelope.hold_until:
            taken = await self._delivery.take(replace(self._incoming(session, body, job), signature=signature))
            envelope.taken = taken
            if taken.reply.code != 250:
                if mail is None:
                    return taken.reply
                ids += await self._queue_the_rest(session, body, job, mail)
        else:
            session.service.count("smtp_messages_accepted")
            session.service.count("smtp_bytes", body.size)
        session.log.info(
            "message submitted", id=job.id, login=session.login, mail_from=envelope.mail_from, size=body.size,
            queued=named(ids), outside=len(envelope.outside), here=len(envelope.destinations),
            message_id=job.fixed.message_id, hold_until=int(envelope.hold_until) or None,
        )  # fmt: skip
        return Reply(250, "2.0.0", f"Accepted, id {job.id}" + (f" queued as {named(ids)}" if ids else ""))

    async def _queue_the_rest(self, session: SmtpSession, body: Body, job: Job, mail: Outgoing) -> list[int]:
        """Recipients here, when their mailboxes could not take it and the others are queued already."""
        envelope = session.envelope
        places = set(envelope.outside)
        here = [place for place in range(len(envelope.rcpt_tos)) if place not in places]
        rest = replace(mail, recipients=self._recipients(envelope, here))
        try:
            ids = await self._queue.add(rest)
        except Exception:
            session.log.error("message is queued for some recipients and refused for others", id=job.id)
            raise
        self._ring()
        return ids

    async def _rewrite(self, session: SmtpSession, body: Body, fixed: Fixed) -> None:
        limit = session.service.limits.header_size
        old = len(header_of(body.read(limit + 4), limit) or b"")
        work = partial(body.replace_start, old, fixed.header)
        if body.size <= IN_LOOP:
            work()
        else:
            await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _signature(self, session: SmtpSession, body: Body, job: Job) -> bytes | Reply:
        """The DKIM-Signature fields; b"" where the From domain has no keys."""
        domain = self._host.snapshot().domain(job.from_domain)
        try:
            keys = self._keys.keys(job.from_domain, domain.dkim) if domain is not None else ()
        except (OSError, BadKey) as error:
            session.log.error("DKIM key cannot be used", domain=job.from_domain, error=str(error))
            return KEY_TROUBLE
        if not keys:
            return b""
        now = session.service.clock.now()
        if body.size <= IN_LOOP:
            return sign(body.read(), keys, now)
        return await asyncio.get_running_loop().run_in_executor(self._thread, _read_and_sign, body, keys, now)

    def _outgoing(
        self, session: SmtpSession, body: Body, job: Job, places: Sequence[int], signature: bytes
    ) -> Outgoing:
        envelope = session.envelope
        fixed = job.fixed
        source = body.source
        plain = fixed.header.isascii() and _all_ascii(envelope)
        # RFC 8689 5: the field is not heeded where REQUIRETLS is.
        require_tls = True if envelope.require_tls else False if fixed.no_tls else None
        return Outgoing(
            sender=job.sender,
            recipients=self._recipients(envelope, places),
            body=source,
            file=body.file,
            account=session.login,
            prefix=signature + self._received(session, body, job),
            message_id=fixed.message_id,
            subject=fixed.subject,
            ret=envelope.ret,
            envid=envelope.envid,
            smtputf8=not plain and envelope.smtp_utf8,
            # Without looking into large ones: 8BITMIME is what nearly every server has.
            eightbit=source is None or not source.isascii(),
            require_tls=require_tls,
            tls=bool(session.tls),
            hold_until=envelope.hold_until,
            from_id=job.from_id,
            extra=fixed.extra,
            id=job.id,
            received_from=session.remote_ip,
        )

    def _recipients(self, envelope: Transaction, places: Sequence[int]) -> tuple[QueueRecipient, ...]:
        return tuple(_recipient(envelope.rcpt_tos[place], envelope.wanted[place]) for place in places)

    def _received(self, session: SmtpSession, body: Body, job: Job) -> bytes:
        shown = self._incoming(session, body, job)
        to = session.envelope.rcpt_tos
        return received_field(
            Hop(
                helo=shown.helo, rdns="", ip=shown.remote_ip, by=self._host.static.hostname, id=job.id,
                protocol=shown.protocol, recipient=to[0] if len(to) == 1 else "", tls=shown.tls,
                seconds=shown.received,
            )
        )  # fmt: skip

    def _incoming(self, session: SmtpSession, body: Body, job: Job) -> Incoming:
        """Where and with what the user sits is nobody's business, unless the account has it so (show_ip)."""
        mail = replace(incoming(session, body), id=job.id)
        return mail if job.account.show_ip else replace(mail, remote_ip="", helo="")

    def close(self) -> None:
        self._thread.shutdown(wait=False)


def compared(address: str) -> str:
    """The form in which addresses of others are compared: lower case, the domain as A-labels."""
    local, _, domain = address.rpartition("@")
    try:
        return f"{local.lower()}@{normalise_domain(domain)}"
    except ValueError:
        return address.lower()


def named(ids: Sequence[int]) -> str:
    """ "17", or "17 and 3 more"."""
    return "" if not ids else str(ids[0]) if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more"


def _recipient(address: str, asked: Asked) -> QueueRecipient:
    return QueueRecipient(address, asked.orcpt, asked.notify or FAILURE_AND_DELAY)


def _all_ascii(envelope: Transaction) -> bool:
    return (envelope.mail_from or "").isascii() and all(address.isascii() for address in envelope.rcpt_tos)


def _is_domain(name: str) -> bool:
    """A literal or a name: whether it is there is found out when the mail is delivered."""
    try:
        return bool(normalise_domain(name))
    except ValueError:
        return False


def _read_and_sign(body: Body, keys: Sequence[SigningKey], now: float) -> bytes:
    return sign(body.read(), keys, now)
