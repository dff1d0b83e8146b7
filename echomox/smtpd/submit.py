"""The role of ports 587 and 465: mail of our own users, after a login (RFC 6409).

MAIL FROM and every From address must be the user's own. Local recipients get the mail at once, into the
Inbox: it is not classified, for it comes from one of us. Other servers' recipients are refused until there
is a queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.delivery.local import Host, LocalDelivery
from echomox.errors import Reply
from echomox.message.address import address_text, mailboxes, parse_addresses
from echomox.message.header import read_fields
from echomox.smtpd.header import header_of
from echomox.smtpd.receive import check, incoming, local_recipient
from echomox.store.engine import Engine

if TYPE_CHECKING:
    from echomox.smtpd.body import Body
    from echomox.smtpd.session import SmtpSession

NOT_YOURS = Reply(553, "5.7.1", "This sender address does not belong to your login")
FROM_NOT_YOURS = Reply(550, "5.7.1", "The From address does not belong to your login")
NO_FROM = Reply(550, "5.6.0", "The message has no From address")
NO_RELAY = Reply(550, "5.7.1", "Relaying to other servers is not available yet")


class Submit:
    """Role of the submission service; see `command.Role`."""

    service = "submission"
    login = True

    def __init__(self, host: Host, engine: Engine, delivery: LocalDelivery) -> None:
        self._host = host
        self._engine = engine
        self._delivery = delivery

    def offered(self, session: SmtpSession) -> list[str]:
        authenticator = session.service.authenticator
        return authenticator.offered(bool(session.tls), session.remote_ip) if authenticator else []

    def sender(self, session: SmtpSession, address: str) -> Reply | None:
        if not address:  # RFC 8098 3: mail programs send their reports with it
            return None
        return None if self._host.snapshot().may_send_as(session.login, address) else NOT_YOURS

    def recipient(self, session: SmtpSession, address: str) -> Reply | None:
        domain = address.rpartition("@")[2] if "@" in address else ""
        snapshot = self._host.snapshot()
        refusal = local_recipient(self._host, self._engine, session, address)
        if refusal is not None and domain and not snapshot.is_local_domain(domain):
            return NO_RELAY
        return refusal

    async def message(self, session: SmtpSession, body: Body) -> Reply:
        limits = session.service.limits
        refusal = check(session, body, limits)
        if refusal is not None:
            return refusal
        header = header_of(body.read(limits.header_size + 4), limits.header_size) or b""
        refusal = self._check_from(session, header)
        if refusal is not None:
            session.service.count("smtp_messages_refused")
            session.log.info("message refused", login=session.login, size=body.size, reply=refusal)
            return refusal
        return await self._delivery.deliver(incoming(session, body))

    def _check_from(self, session: SmtpSession, header: bytes) -> Reply | None:
        """RFC 6409 6.1, for each address of From: clients show that one, not the envelope's."""
        snapshot = self._host.snapshot()
        value = read_fields(header, 0, len(header)).get(b"from", b"")
        boxes = mailboxes(parse_addresses(address_text(value)))
        if not boxes:
            return NO_FROM
        allowed = all(snapshot.may_send_as(session.login, box.address) for box in boxes)
        return None if allowed else FROM_NOT_YOURS
