"""The role of port 25: mail from other servers for our accounts, nothing else (S03: no relay, no later
bounce)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.config.schema import Limits
from echomox.config.snapshot import Unknown
from echomox.delivery.local import Destination, Host, Incoming, LocalDelivery
from echomox.errors import Reply
from echomox.message.trace import protocol_name
from echomox.smtpd.header import check_header
from echomox.store.engine import Engine, StoreError

if TYPE_CHECKING:
    from echomox.smtpd.body import Body
    from echomox.smtpd.session import SmtpSession

UNKNOWN_RECIPIENT = {
    "domain": Reply(550, "5.7.1", "Relaying denied: we do not take mail for this domain"),
    "user": Reply(550, "5.1.1", "No such mailbox here"),
    "disabled": Reply(450, "4.2.1", "This domain is not taking mail for now"),
}
OVER_QUOTA = Reply(452, "4.2.2", "The mailbox is full")


class Receive:
    """Role of the smtp service; see `command.Role`."""

    service = "smtp"
    login = False

    def __init__(self, host: Host, engine: Engine, delivery: LocalDelivery) -> None:
        self._host = host
        self._engine = engine
        self._delivery = delivery

    def offered(self, session: SmtpSession) -> list[str]:
        return []

    def sender(self, session: SmtpSession, address: str) -> Reply | None:
        return None

    def recipient(self, session: SmtpSession, address: str) -> Reply | None:
        return local_recipient(self._host, self._engine, session, address)

    async def message(self, session: SmtpSession, body: Body) -> Reply:
        limits = session.service.limits
        refusal = check(session, body, limits)
        if refusal is not None:
            return refusal
        return await self._delivery.deliver(incoming(session, body))


def local_recipient(host: Host, engine: Engine, session: SmtpSession, address: str) -> Reply | None:
    """Notes a recipient of ours in the session, or says why not."""
    snapshot = host.snapshot()
    found = snapshot.recipient(address)
    if isinstance(found, Unknown):
        return UNKNOWN_RECIPIENT[found.reason]
    quota = snapshot.account(found.account).quota
    if quota and used(engine, found.account) + session.envelope.declared > quota:
        return OVER_QUOTA
    session.envelope.destinations.append(Destination(found.account, found.address, found.mailbox))
    return None


def used(engine: Engine, account: str) -> int:
    """Bytes of mail in an account; 0 when it has no store yet."""
    try:
        return sum(mailbox.size for mailbox in engine.open(account).mailboxes())
    except StoreError:
        return 0


def check(session: SmtpSession, body: Body, limits: Limits) -> Reply | None:
    """Why the message is refused for what its header says; counted and logged here."""
    refusal = check_header(body.read(limits.header_size + 4), limits)
    if refusal is not None:
        session.service.count("smtp_messages_refused")
        session.log.info(
            "message refused", mail_from=session.envelope.mail_from, size=body.size, reply=refusal
        )
    return refusal


def incoming(session: SmtpSession, body: Body) -> Incoming:
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
        destinations=tuple(envelope.destinations),
        helo=known.host_name or "",
        remote_ip=session.remote_ip,
        protocol=protocol_name(
            known.extended_smtp, bool(session.tls), bool(session.login), envelope.smtp_utf8
        ),
        tls=session.tls,
        received=now,
    )
