"""The receive line's second half: a whole message to the mailboxes of local accounts (S21, decision 5).

parse once → checks of who it is from (`authcheck`) → `judging`, classified once for all accounts → `placement` by the
rules of accounts and lists → `filing`, one `Addition` with a target per account → the reply. When `deliver` has
returned a 250, the message survives a power cut.

Mail that fails DMARC is refused with 550 5.7.26, for all recipients, where its domain's owner and the configuration
want it so (`authpolicy`), and no filter is asked; "quarantine" puts it into Junk, unless the account's filter is off or
only tried (shadow).

One answer stands for several accounts: all reject → 550 and each gets its copy in Rejects; any accepts → 250, and the
rejecting ones get it in Junk; never a bounce. A disk that is full is 452, any other trouble of the store 451.

A message of several recipients of one account is stored once, Delivered-To the first of them. Parsing is done in the
loop up to 1 MB, beyond in one thread, so that at most one large message is in memory for it.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from echomox.delivery.authcheck import Checked, MailChecks
from echomox.delivery.filing import Filing
from echomox.delivery.incoming import Host, Incoming, Taken, unique
from echomox.delivery.judging import NOT_FILTERED, Judging
from echomox.delivery.placement import PLAIN, Decided, Facts, Placement, Rules
from echomox.delivery.success import may_tell
from echomox.errors import Reply
from echomox.message.authres import format_authres, without_forged
from echomox.message.header import Limits as ParserLimits
from echomox.message.mime import parse
from echomox.message.structure import Structure
from echomox.message.trace import Hop, received_field
from echomox.queue.database import QueueError
from echomox.queue.model import QueueFull
from echomox.store.engine import Addition, Committer, Engine, StoreError, Target

PARSED_IN_LOOP = 1 << 20
FULL = Reply(452, "4.3.1", "Insufficient system storage, try again later")
STORE_TROUBLE = Reply(451, "4.3.0", "Local error, try again later")
REJECTED = Reply(550, "5.7.1", "Message refused: it looks like spam")
COUNTERS = {"inbox": "delivered_inbox", "junk": "delivered_junk", "reject": "delivered_rejects"}


class LocalDelivery:
    """One per worker. judging None: nothing is classified (submission). checks None: nobody is asked who the mail is
    from (submission too)."""

    def __init__(
        self,
        host: Host,
        engine: Engine,
        committer: Committer,
        judging: Judging | None = None,
        checks: MailChecks | None = None,
        rules: Rules = PLAIN,
    ) -> None:
        limits = host.static.limits
        self._host = host
        self._filing = Filing(host, engine, committer)
        self._judging = judging
        self._checks = checks
        self._rules = rules
        self._parser_limits = ParserLimits(
            header_size=limits.header_size, depth=limits.mime_depth, parts=limits.mime_parts
        )
        self._thread = ThreadPoolExecutor(1, "parse")
        hostname = host.static.hostname
        self._authserv_id = host.static.filter.authserv_id or hostname
        self._authres = format_authres(self._authserv_id, ())

    async def deliver(self, mail: Incoming) -> Reply:
        """The final reply; see `take`."""
        return (await self.take(mail)).reply

    async def take(self, mail: Incoming) -> Taken:
        """The reply is 250, 550 for spam and forgery, 451 or 452 when nothing was stored. Does not raise for trouble
        of store and disk."""
        try:
            structure, header = await self._parse(mail)
            checked = await self._check(mail, structure)
            mail = self._cleaned(mail, checked)
            auth = checked.results if checked is not None else None
            facts = Facts(mail, header, structure, auth, self._host.snapshot(), self._trace(mail, checked))
            refusal = await self._rules.refuse(facts)
            if refusal is not None:
                return Taken(self._refuse_all(mail, refusal))
            destinations = unique(mail.destinations)
            rulings = [self._rules.ruling(facts, destination) for destination in destinations]
            if self._judging is None:
                decided = [Decided(destination, NOT_FILTERED) for destination in destinations]
            else:
                decided = await self._judging.decide(facts, destinations, rulings, checked)
            placed = await self._rules.settle(facts, rulings, decided)
            refused = all(placement.place == "reject" for placement in placed)
            if not refused:
                await self._rules.forward(facts, decided, placed)
            targets = self._filing.targets(facts, decided, placed, refused)
            if targets:
                source = mail.spool if mail.source is None else mail.source
                await self._filing.add(
                    Addition(
                        source, structure, targets, mail.id, mail.received, mail.mail_from, mail.remote_ip,
                        delivered=True,
                    )
                )
        except QueueFull as error:
            self._host.log.error("message not sent on", cid=mail.cid, error=str(error))
            return Taken(error.reply)
        except (StoreError, QueueError) as error:
            self._host.log.error("message not stored", cid=mail.cid, error=str(error))
            return Taken(STORE_TROUBLE)
        except OSError as error:
            self._host.log.error("message not stored", cid=mail.cid, error=str(error))
            return Taken(FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else STORE_TROUBLE)
        self._note(mail, targets, placed, refused)
        if refused:
            return Taken(refusal_reply(placed))
        await self._rules.stored(facts, decided, placed)
        inbox = frozenset((to.account, to.keep) for to, one in zip(destinations, placed) if one.place == "inbox")
        return Taken(Reply(250, "2.0.0", f"Accepted, id {mail.id}"), may_tell(facts), inbox)

    async def _parse(self, mail: Incoming) -> tuple[Structure, bytes]:
        """And the header block."""
        if mail.size <= PARSED_IN_LOOP:
            return _read_and_parse(mail.read, self._parser_limits)
        work = partial(_read_and_parse, mail.read, self._parser_limits)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _check(self, mail: Incoming, structure: Structure) -> Checked | None:
        """Who it is from. An exception of ours costs the checks, not the mail."""
        if self._checks is None:
            return None
        try:
            return await self._checks.check(mail, structure.header_size)
        except OSError:
            raise
        except Exception:
            self._host.log.exception("mail not checked", cid=mail.cid)
            self._host.count("exceptions")
            return None

    def _refuse_all(self, mail: Incoming, reply: Reply) -> Reply:
        self._host.count("smtp_messages_refused")
        self._host.log.info(
            "message refused", cid=mail.cid, id=mail.id, remote=mail.remote_ip, mail_from=mail.mail_from,
            size=mail.size, reply=reply,
        )  # fmt: skip
        return reply

    def _cleaned(self, mail: Incoming, checked: Checked | None) -> Incoming:
        """Without Authentication-Results that claim to be ours: their names are written over, no byte moves."""
        if self._checks is None or checked is None or not checked.forged:
            return mail
        self._host.log.info("forged Authentication-Results", cid=mail.cid, id=mail.id, fields=len(checked.forged))
        if mail.source is None:
            self._checks.overwrite(mail.spool, checked.forged)
            return mail
        source = without_forged(mail.source, checked.forged)
        return replace(mail, source=source, read=lambda: source)


    def _trace(self, mail: Incoming, checked: Checked | None) -> bytes:
        """What all copies have alike: Received, Received-SPF, Authentication-Results."""
        # RFC 5321 7.2: of several recipients none is named, lest one learns of another.
        recipient = mail.destinations[0].address if len(mail.destinations) == 1 else ""
        received = received_field(
            Hop(
                helo=mail.helo, rdns=checked.rdns if checked else "", ip=mail.remote_ip, by=self._host.static.hostname,
                id=mail.id, protocol=mail.protocol, recipient=recipient, tls=mail.tls, seconds=mail.received,
            )
        )  # fmt: skip
        return received + (checked.prefix if checked else self._authres)

    def _note(
        self, mail: Incoming, targets: Sequence[Target], placed: Sequence[Placement], refused: bool
    ) -> None:
        host = self._host
        if any("dmarc-quarantine" in placement.reason for placement in placed):
            host.count("dmarc_quarantined")
        host.count("smtp_messages_refused" if refused else "smtp_messages_accepted")
        host.count("smtp_bytes", mail.size)
        for placement in placed:
            place = placement.place
            if not placement.keep:
                continue
            host.count(COUNTERS["junk" if place == "reject" and not refused else place])
        host.log.info(
            "message refused" if refused else "message accepted",
            cid=mail.cid, id=mail.id, remote=mail.remote_ip, mail_from=mail.mail_from, size=mail.size,
            to=",".join(f"{target.account}/{target.mailbox}" for target in targets[:20]),
            recipients=len(mail.destinations), why=",".join(sorted({one.reason for one in placed})),
        )  # fmt: skip

    def close(self) -> None:
        self._thread.shutdown(wait=False)
        if self._checks is not None:
            self._checks.close()


def refusal_reply(placed: Sequence[Placement]) -> Reply:
    """One for all: a temporary one if there is one, for then another try may end otherwise."""
    replies = [placement.reply or REJECTED for placement in placed]
    return next((reply for reply in replies if reply.code < 500), replies[0])


def _read_and_parse(read: Callable[[], bytes], limits: ParserLimits) -> tuple[Structure, bytes]:
    source = read()
    structure = parse(source, limits)
    return structure, source[: structure.header_size]
