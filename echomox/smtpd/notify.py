"""DSNs for mail that has been delivered here, to senders who asked for them (RFC 3461 6.2, NOTIFY=SUCCESS), and may be
told (`delivery.success`): our users, and senders whose domain is proved, of mail that was not filed as junk. For an
address that stands for several the report is "expanded" (5.2.7.3).

Composed and put into the queue before the 250 goes out, so that a crash in between loses the report only together with
the acceptance. Reports to our own users go the same way: the queue delivers here too. What the queue takes over, it
reports itself; so do the servers that forwarded mail goes to (`Destination.relay`), which are asked to. A report that
cannot be queued is logged: the mail is accepted all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol

from echomox.delivery.bounce import Maker
from echomox.message.header import read_fields, unfold
from echomox.queue.model import Fate, Outgoing, Report
from echomox.smtpd.header import header_of

if TYPE_CHECKING:
    from echomox.smtpd.body import Body
    from echomox.smtpd.session import SmtpSession


TEXTS = {"delivered": "Delivered to the mailbox", "expanded": "Handed on to the members"}


class Queue(Protocol):
    """`queue.spool.QueueSpool` is one."""

    async def add(self, mail: Outgoing) -> list[int]: ...


class Notifier:
    """One per worker. ring: called when a report is in the queue."""

    def __init__(self, queue: Queue, maker: Maker, ring: Callable[[], None] = lambda: None) -> None:
        self._queue = queue
        self._maker = maker
        self._ring = ring

    async def delivered(self, session: SmtpSession, body: Body) -> None:
        """Reports on the session's transaction, whose message has just been stored. Does not raise."""
        envelope = session.envelope
        taken = envelope.taken
        if not envelope.mail_from or taken is None:
            return
        asked = [
            (one.via or one.address, one.orcpt, "delivered")
            for one in envelope.destinations
            if "success" in one.notify and one.keep and (one.account, True) in taken.inbox
        ]
        arrived = {
            one.via or one.address for one in envelope.destinations if (one.account, one.keep) in taken.inbox
        }
        asked += [(to, orcpt, "expanded") for to, orcpt in envelope.expanded.items() if to in arrived]
        if not asked:
            return
        if not taken.proved:
            session.log.info("delivery not reported, the sender is not proved", to=envelope.mail_from)
            return
        try:
            report = self._report(session, body, dict.fromkeys(asked))
            mail = self._maker.compose(report, session.service.clock.now())
            if mail is not None:
                ids = await self._queue.add(mail)
                self._ring()
                session.log.info("delivery reported", to=envelope.mail_from, recipients=len(asked), queued=ids[0])
        except Exception:
            session.service.count("exceptions")
            session.log.exception("delivery not reported", to=envelope.mail_from)

    def _report(self, session: SmtpSession, body: Body, asked: Collection[tuple[str, str, str]]) -> Report:
        envelope = session.envelope
        limit = session.service.limits.header_size
        header = header_of(body.read(limit + 4), limit) or b""
        message_id = unfold(read_fields(header, 0, len(header)).get(b"message-id", b"")).decode("utf-8", "replace")
        now = session.service.clock.now()
        fates = tuple(
            Fate(address, orcpt, action, 250, "2.1.5", TEXTS[action], "", now) for address, orcpt, action in asked
        )
        return Report(
            sender=envelope.mail_from or "", account=session.login, envid=envelope.envid, ret="hdrs",
            smtputf8=envelope.smtp_utf8, queued=now, message_id=message_id, header=header, body=b"", fates=fates,
        )  # fmt: skip
