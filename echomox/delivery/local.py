"""The receive line's second half: a whole message to the mailboxes of local accounts (S21, decision 5).

parse once → classify once for all accounts → `filter.decide` per account → one `Addition` with a target per
account → `Committer.add` → the reply. When `deliver` has returned a 250, the message survives a power cut.

One answer stands for several accounts: all reject → 550 5.7.1 and each gets its copy in Rejects; any
accepts → 250, and the rejecting ones get it in Junk; never a bounce. Classifiers that are late or gone
refuse nothing: the verdict is then "classifier-unavailable" and the place the Inbox. A disk that is full is
452, any other trouble of the store 451.

A message of several recipients of one account is stored once, Delivered-To the first of them. Parsing is
done in the loop up to 1 MB, beyond in one thread, so that at most one large message is in memory for it.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Protocol

from echomox.config.schema import JunkFilter, Static
from echomox.config.snapshot import Snapshot
from echomox.errors import Reply
from echomox.filter.decide import Decision, decide
from echomox.ipc.schema import Classify, Verdict
from echomox.log import Log
from echomox.message.authres import format_authres
from echomox.message.header import Limits as ParserLimits
from echomox.message.mime import parse
from echomox.message.structure import Structure
from echomox.message.trace import Hop, delivered_to, received_field, return_path
from echomox.store.engine import Addition, Committer, Engine, NoSuchAccount, StoreError, Target

PARSED_IN_LOOP = 1 << 20
FULL = Reply(452, "4.3.1", "Insufficient system storage, try again later")
STORE_TROUBLE = Reply(451, "4.3.0", "Local error, try again later")
REJECTED = Reply(550, "5.7.1", "Message refused: it looks like spam")
REJECTS = "Rejects"
JUNK = "Junk"
COUNTERS = {"inbox": "delivered_inbox", "junk": "delivered_junk", "reject": "delivered_rejects"}


@dataclass(frozen=True, slots=True)
class Destination:
    """One accepted recipient. address: as the message is delivered to it."""

    account: str
    address: str
    mailbox: str = "INBOX"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message and the envelope it came in. source: its bytes, or None and then it is the spool file `spool`
    ("<worker>/<name>"), read by `read`. protocol, tls: as in message.trace.Hop. id: unique for ever."""

    id: str
    cid: str
    source: bytes | None
    spool: str
    read: Callable[[], bytes]
    size: int
    mail_from: str
    destinations: Sequence[Destination]
    helo: str
    remote_ip: str
    protocol: str
    tls: str
    received: float


class Host(Protocol):
    """What a worker gives (workers.base.Worker is one)."""

    static: Static
    log: Log

    def snapshot(self) -> Snapshot: ...
    def count(self, counter: str, n: int = 1) -> None: ...


class Classifiers(Protocol):
    async def classify(self, request: Classify) -> list[Verdict] | None: ...


Fallback = Callable[[Classify], Sequence[Verdict]]
"""Judges in this process, in some milliseconds; may raise."""


class LocalDelivery:
    """One per worker. classifiers None: nothing is classified (submission); fallback: asked when they give nothing."""

    def __init__(
        self,
        host: Host,
        engine: Engine,
        committer: Committer,
        classifiers: Classifiers | None = None,
        fallback: Fallback = lambda request: (),
    ) -> None:
        limits = host.static.limits
        self._host = host
        self._engine = engine
        self._committer = committer
        self._classifiers = classifiers
        self._fallback = fallback
        self._parser_limits = ParserLimits(
            header_size=limits.header_size, depth=limits.mime_depth, parts=limits.mime_parts
        )
        self._thread = ThreadPoolExecutor(1, "parse")
        hostname = host.static.hostname
        self._authres = format_authres(host.static.filter.authserv_id or hostname, ())

    async def deliver(self, mail: Incoming) -> Reply:
        """The final reply: 250, 550 for spam, 451 or 452 when nothing was stored. Does not raise for
        trouble of store and disk."""
        try:
            structure = await self._parse(mail)
            destinations = unique(mail.destinations)
            decisions = await self._decide(mail, destinations)
            refused = all(decision.place == "reject" for decision, _ in decisions)
            targets = [
                self._target(mail, destination, decision, verdict, refused)
                for destination, (decision, verdict) in zip(destinations, decisions)
            ]
            source = mail.spool if mail.source is None else mail.source
            addition = Addition(
                source, structure, targets, mail.id, mail.received, mail.mail_from, mail.remote_ip
            )
            await self._add(addition)
        except StoreError as error:
            self._host.log.error("message not stored", cid=mail.cid, error=str(error))
            return STORE_TROUBLE
        except OSError as error:
            self._host.log.error("message not stored", cid=mail.cid, error=str(error))
            return FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else STORE_TROUBLE
        self._note(mail, targets, [decision for decision, _ in decisions], refused)
        return REJECTED if refused else Reply(250, "2.0.0", f"Accepted, id {mail.id}")

    async def _parse(self, mail: Incoming) -> Structure:
        if mail.size <= PARSED_IN_LOOP:
            return parse(mail.read(), self._parser_limits)
        work = partial(_read_and_parse, mail.read, self._parser_limits)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _decide(
        self, mail: Incoming, destinations: Sequence[Destination]
    ) -> list[tuple[Decision, Verdict | None]]:
        """One per destination, in their order."""
        if self._classifiers is None:
            return [(NOT_FILTERED, None)] * len(destinations)
        snapshot = self._host.snapshot()
        filters = [snapshot.account(destination.account).junk_filter for destination in destinations]
        asked = tuple(
            destination.account
            for destination, junk_filter in zip(destinations, filters)
            if junk_filter.mode != "off"
        )
        verdicts = {verdict.account: verdict for verdict in await self._classify(mail, asked)} if asked else {}
        return [
            self._decision(mail, junk_filter, verdicts.get(destination.account))
            for destination, junk_filter in zip(destinations, filters)
        ]

    def _decision(
        self, mail: Incoming, junk_filter: JunkFilter, verdict: Verdict | None
    ) -> tuple[Decision, Verdict | None]:
        """Whatever is wrong with a verdict, the mail has a place."""
        if junk_filter.mode == "off":
            return FILTER_OFF, None
        try:
            return decide(junk_filter, verdict), verdict
        except Exception:
            self._host.log.exception("verdict not usable", cid=mail.cid)
            self._host.count("exceptions")
            return decide(junk_filter, None), None

    async def _classify(self, mail: Incoming, accounts: tuple[str, ...]) -> Sequence[Verdict]:
        """A verdict per account, by the classifiers or else by this process; counts which."""
        assert self._classifiers is not None
        request = Classify(
            mail.cid, accounts, mail.source, mail.spool, mail.mail_from, mail.remote_ip, mail.helo, bool(mail.tls)
        )
        found: Sequence[Verdict] | None = await self._classifiers.classify(request)
        if found is None:
            self._host.count("classify_fallbacks")
            try:
                found = self._fallback(request)
            except Exception:
                self._host.log.exception("fallback failed", cid=mail.cid)
                found = ()
        full = sum(verdict.parts == "all" for verdict in found)
        for counter, number in (("verdicts_full", full), ("verdicts_fallback", len(accounts) - full)):
            if number:
                self._host.count(counter, number)
        return found

    def _target(
        self, mail: Incoming, to: Destination, decision: Decision, verdict: Verdict | None, refused: bool
    ) -> Target:
        if decision.place == "inbox":
            mailbox = to.mailbox
        elif refused:
            mailbox = REJECTS
        else:
            mailbox = self._junk(to.account)
        prefix = b"".join(
            (
                return_path(mail.mail_from),
                delivered_to(to.address),
                self._received(mail),
                self._authres,
                decision.header,
            )
        )
        return Target(to.account, mailbox, prefix, verdict=verdict_json(decision, verdict))

    def _received(self, mail: Incoming) -> bytes:
        # RFC 5321 7.2: of several recipients none is named, lest one learns of another.
        recipient = mail.destinations[0].address if len(mail.destinations) == 1 else ""
        return received_field(
            Hop(
                helo=mail.helo, rdns="", ip=mail.remote_ip, by=self._host.static.hostname, id=mail.id,
                protocol=mail.protocol, recipient=recipient, tls=mail.tls, seconds=mail.received,
            )
        )  # fmt: skip

    def _junk(self, account: str) -> str:
        """The account's \\Junk mailbox, whatever it has been renamed to."""
        try:
            found = self._engine.open(account).special_mailbox("\\Junk")
        except NoSuchAccount:
            found = None
        return found.name if found is not None else JUNK

    async def _add(self, addition: Addition) -> None:
        try:
            await self._committer.add(addition)
        except NoSuchAccount:
            # An account that was written into domains.toml by hand has no store yet.
            for account in {target.account for target in addition.targets}:
                self._engine.create(account)
            await self._committer.add(addition)

    def _note(
        self, mail: Incoming, targets: Sequence[Target], decisions: Sequence[Decision], refused: bool
    ) -> None:
        host = self._host
        host.count("smtp_messages_refused" if refused else "smtp_messages_accepted")
        host.count("smtp_bytes", mail.size)
        for decision in decisions:
            place = decision.place
            host.count(COUNTERS["junk" if place == "reject" and not refused else place])
        host.log.info(
            "message refused as spam" if refused else "message accepted",
            cid=mail.cid, id=mail.id, remote=mail.remote_ip, mail_from=mail.mail_from, size=mail.size,
            to=",".join(f"{target.account}/{target.mailbox}" for target in targets[:20]),
            recipients=len(mail.destinations), why=",".join(sorted({d.reason for d in decisions})),
        )  # fmt: skip

    def close(self) -> None:
        self._thread.shutdown(wait=False)


NOT_FILTERED = Decision("inbox", "not-filtered", b"")
"""Mail of our own users."""
FILTER_OFF = Decision("inbox", "filter-off", b"")


def unique(destinations: Sequence[Destination]) -> list[Destination]:
    """The first destination of each account."""
    found: dict[str, Destination] = {}
    for destination in destinations:
        found.setdefault(destination.account, destination)
    return list(found.values())


def verdict_json(decision: Decision, verdict: Verdict | None) -> str:
    """What the store keeps with the message; "" when nothing was classified."""
    if verdict is None:
        return ""
    return json.dumps({"place": decision.place, "reason": decision.reason, **asdict(verdict)})


def _read_and_parse(read: Callable[[], bytes], limits: ParserLimits) -> Structure:
    return parse(read(), limits)
