"""The role of port 25: mail from other servers for our accounts and aliases, nothing else (S03: no relay, no later
bounce).

What is asked of a recipient, in this order: whether it is a return address of mail that we sent on (`delivery.srs`;
only a report, with the null sender, may use it); whether there is such an address; whether its accounts have room
(quota) and have not had too much mail of late (G02). Who asks for addresses that do not exist waits for each answer
(S42). Of an alias those members get the mail who have room.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from echomox.config.quota import Quota, quota_of
from echomox.config.schema import Limits
from echomox.config.snapshot import Group, Recipient, Unknown
from echomox.delivery.incoming import Destination, Host, Incoming
from echomox.delivery.lists import destinations
from echomox.delivery.local import LocalDelivery
from echomox.delivery.returns import Returns
from echomox.delivery.srs import NotSrs, Srs, is_srs
from echomox.delivery.success import without_success
from echomox.errors import Reply
from echomox.message.trace import protocol_name
from echomox.net.limit import DeliveryLimits
from echomox.smtpd.header import check_header
from echomox.store.engine import Engine, StoreError

if TYPE_CHECKING:
    from echomox.smtpd.body import Body
    from echomox.smtpd.session import SmtpSession
    from echomox.smtpd.transaction import Transaction

UNKNOWN_RECIPIENT = {
    "domain": Reply(550, "5.7.1", "Relaying denied: we do not take mail for this domain"),
    "user": Reply(550, "5.1.1", "No such mailbox here"),
    "disabled": Reply(450, "4.2.1", "This domain is not taking mail for now"),
}
OVER_QUOTA = Reply(452, "4.2.2", "The mailbox is full")
TOO_MUCH_FROM = Reply(451, "4.7.0", "Too much mail from your network, try again later")
TOO_MUCH_FOR = Reply(452, "4.2.1", "This mailbox gets too much mail just now, try again later")
NO_REPORT = Reply(550, "5.7.1", "Only reports, with the null sender, may be sent to this address")
NO_MEMBERS = Reply(550, "5.2.4", "This alias has no members")  # RFC 3463 3.3: mailing list expansion problem


class Receive:
    """Role of the smtp service; see `command.Role`. limits: None for none. srs: None where nothing is sent on. returns:
    notes what reports say."""

    service = "smtp"
    login = False

    def __init__(
        self,
        host: Host,
        engine: Engine,
        delivery: LocalDelivery,
        limits: DeliveryLimits | None = None,
        srs: Srs | None = None,
        returns: Returns | None = None,
    ) -> None:
        self._host = host
        self._engine = engine
        self._delivery = delivery
        self._limits = limits
        self._srs = srs
        self._returns = returns

    def offered(self, session: SmtpSession) -> list[str]:
        return []

    def sender(self, session: SmtpSession, address: str) -> Reply | None:
        if self._limits is None:
            return None
        reached = self._limits.from_address(session.remote_ip, session.envelope.declared)
        return self._too_much(session, reached, TOO_MUCH_FROM) if reached else None

    def _too_much(self, session: SmtpSession, reached: str, reply: Reply) -> Reply:
        self._host.count("messages_limited")
        session.log.info("too much mail", limit=reached)
        return reply

    def recipient(self, session: SmtpSession, address: str) -> Reply | None:
        returned = self._returned(session, address)
        if returned is not None:
            refusal = returned if isinstance(returned, Reply) else None
            if not isinstance(returned, Reply):
                session.envelope.destinations += returned
        else:
            refusal = local_recipient(self._host, self._engine, session, address, self._limits)
        if refusal is TOO_MUCH_FOR:
            self._too_much(session, address, refusal)
        elif refusal is not None and refusal.enhanced == "5.1.1":
            session.delay = session.service.limits.unknown_delay
        return refusal

    def _returned(self, session: SmtpSession, address: str) -> list[Destination] | Reply | None:
        """For an address that `delivery.srs` has made: where the report goes, or why not. None for another address."""
        local, at, domain = address.rpartition("@")
        snapshot = self._host.snapshot()
        if not at or self._srs is None or not is_srs(local) or not snapshot.is_local_domain(domain):
            return None
        try:
            back = self._srs.undo(local, session.service.clock.now())
        except NotSrs as error:
            session.log.info("return address refused", to=address, error=str(error))
            return UNKNOWN_RECIPIENT["user"]
        if session.envelope.mail_from:
            return NO_REPORT
        found = snapshot.recipient(back)
        if not isinstance(found, Unknown):
            return destinations(snapshot, found)
        if found.reason != "domain" or not snapshot.postmaster:
            return UNKNOWN_RECIPIENT[found.reason]
        return [Destination(snapshot.postmaster, address, relay=(back,), keep=False, returned=True)]

    async def message(self, session: SmtpSession, body: Body) -> Reply:
        limits = session.service.limits
        refusal = check(session, body, limits)
        if refusal is not None:
            return refusal
        mail = incoming(session, body)
        taken = await self._delivery.take(mail)
        session.envelope.taken, reply = taken, taken.reply
        if reply.code != 250:
            return reply
        if self._limits is not None:
            self._limits.took(session.remote_ip, {one.account for one in mail.destinations if one.keep}, body.size)
        if self._returns is not None:
            await self._returns.note(mail)
        return reply


def local_recipient(
    host: Host, engine: Engine, session: SmtpSession, address: str, limits: DeliveryLimits | None = None
) -> Reply | None:
    """Notes a recipient of ours in the session, or says why not."""
    snapshot = host.snapshot()
    found = snapshot.recipient(address)
    if isinstance(found, Unknown):
        return UNKNOWN_RECIPIENT[found.reason]
    wanted = destinations(snapshot, found)
    if not wanted:
        return NO_MEMBERS
    size = session.envelope.declared
    quotas = {one.account: quota_of(snapshot.dynamic, host.static.limits, one.account) for one in wanted}
    refusals = [refusal_of(engine, one, quotas[one.account], size, limits) for one in wanted]
    first = next((refusal for refusal in refusals if refusal is not None), None)
    if first is not None and (not isinstance(found, Group) or all(refusals)):
        return first
    for one, refusal in zip(wanted, refusals):
        if refusal is not None:
            session.log.warn("member left out", alias=address, account=one.account, reply=refusal)
    left = [one for one, refusal in zip(wanted, refusals) if refusal is None]
    session.envelope.destinations += with_request(session.envelope, left, found)
    return None


def with_request(envelope: Transaction, wanted: Sequence[Destination], found: Recipient | Group) -> list[Destination]:
    """Destinations of one recipient, with what RCPT asked for (RFC 3461). What leads to several is reported as expanded
    by us, and nobody behind it reports success (5.2.7.3 c); an account that keeps a copy has it, and that is all that
    is told (5.2.7.4)."""
    notify, orcpt = envelope.asked.notify, envelope.asked.orcpt
    if not notify and not orcpt:
        return list(wanted)
    if "success" not in notify or sum(one.keep + len(one.relay) for one in wanted) == 1:
        return [replace(one, notify=notify, orcpt=orcpt) for one in wanted]
    quiet = without_success(notify)
    mailbox = found.account if isinstance(found, Recipient) else ""
    if not any(one.keep and one.account == mailbox for one in wanted):
        envelope.expanded[found.address] = orcpt
    return [
        replace(one, notify=notify if one.keep and one.account == mailbox else quiet, orcpt=orcpt) for one in wanted
    ]


def refusal_of(
    engine: Engine, destination: Destination, quota: Quota, size: int, limits: DeliveryLimits | None
) -> Reply | None:
    """Why an account cannot take `size` bytes more now."""
    if not destination.keep:
        return None
    if limits is not None and limits.for_account(destination.account, size):
        return TOO_MUCH_FOR
    if quota.size or quota.messages:
        held, messages = used(engine, destination.account)
        if (quota.size and held + size > quota.size) or (quota.messages and messages >= quota.messages):
            return OVER_QUOTA
    return None


def used(engine: Engine, account: str) -> tuple[int, int]:
    """(bytes of mail, messages) in an account; none when it has no store yet."""
    try:
        mailboxes = engine.open(account).mailboxes()
    except StoreError:
        return 0, 0
    return sum(mailbox.size for mailbox in mailboxes), sum(mailbox.total for mailbox in mailboxes)


def check(session: SmtpSession, body: Body, limits: Limits) -> Reply | None:
    """Why the message is refused for what its header says; counted and logged here."""
    refusal = check_header(body.read(limits.header_size + 4), limits)
    if refusal is not None:
        session.service.count("smtp_messages_refused")
        session.log.info(
            "message refused", mail_from=session.envelope.mail_from, size=body.size, reply=refusal
        )
    return refusal


def incoming(session: SmtpSession, body: Body, to: Iterable[Destination] | None = None) -> Incoming:
    """The message as delivery wants it."""
    envelope = session.envelope
    now = session.service.clock.now()
    known = session.session
    return Incoming(
        id=f"{session.cid}-{int(now * 1e6):x}",
        cid=session.cid,
        source=body.source,
        spool=body.spool_id,
        read=body.read,
        size=body.size,
        mail_from=envelope.mail_from or "",
        destinations=tuple(envelope.destinations if to is None else to),
        helo=known.host_name or "",
        remote_ip=session.remote_ip,
        protocol=protocol_name(
            known.extended_smtp, bool(session.tls), bool(session.login), envelope.smtp_utf8
        ),
        tls=session.tls,
        received=now,
        login=session.login,
        smtputf8=envelope.smtp_utf8,
        require_tls=envelope.require_tls,
        envid=envelope.envid,
        ret=envelope.ret,
    )
