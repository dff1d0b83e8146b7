"""The receive line's second half: a whole message to the mailboxes of local accounts (S21, decision 5).

parse once → checks of who it is from (`authcheck`) → classify once for all accounts → `filter.decide` per account →
one `Addition` with a target per account → `Committer.add` → the reply. When `deliver` has returned a 250, the message
survives a power cut.

Mail that fails DMARC is refused with 550 5.7.26, for all recipients, where its domain's owner and the configuration
want it so (`authpolicy`), and no filter is asked; "quarantine" puts it into Junk, unless the account's filter is off or
only tried (shadow).

One answer stands for several accounts: all reject → 550 and each gets its copy in Rejects; any
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
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from operator import attrgetter
from typing import Protocol

from echomox.config.schema import JunkFilter, Static
from echomox.config.snapshot import Snapshot
from echomox.delivery.acquaintance import EVIDENCE, acquainted, author
from echomox.delivery.authcheck import Checked, MailChecks
from echomox.delivery.placement import PLAIN, Decided, Facts, Placement, Rules, Ruling
from echomox.delivery.success import may_tell
from echomox.errors import Reply
from echomox.filter.decide import Decision, decide, forged, quarantined
from echomox.ipc.schema import Classify, Evidence, Verdict
from echomox.log import Log
from echomox.message.authres import format_authres, without_forged
from echomox.message.header import Limits as ParserLimits
from echomox.message.mime import parse
from echomox.message.structure import Structure
from echomox.message.trace import Hop, delivered_to, received_field, return_path
from echomox.queue.database import QueueError
from echomox.queue.model import QueueFull
from echomox.store.engine import (
    DEFAULT_MAILBOXES,
    Addition,
    BadMailboxName,
    Committer,
    Engine,
    LimitExceeded,
    MailboxExists,
    NoSuchAccount,
    NoSuchMailbox,
    StoreError,
    Target,
)

PARSED_IN_LOOP = 1 << 20
FULL = Reply(452, "4.3.1", "Insufficient system storage, try again later")
STORE_TROUBLE = Reply(451, "4.3.0", "Local error, try again later")
REJECTED = Reply(550, "5.7.1", "Message refused: it looks like spam")
REJECTS = "Rejects"
JUNK = "Junk"
COUNTERS = {"inbox": "delivered_inbox", "junk": "delivered_junk", "reject": "delivered_rejects"}


@dataclass(frozen=True, slots=True)
class Destination:
    """One accepted recipient. address: as the message is delivered to it. via: the alias, or other address of ours,
    that led there. relay: addresses elsewhere that the message is sent on to. keep: False for one that the account
    only judges, and gets when it is junk. returned: the message is a report on its way back to who wrote the mail
    that we sent on. notify, orcpt: what RCPT asked for (RFC 3461). reports: kinds of reports that the address takes,
    of "dmarc" and "tls"."""

    account: str
    address: str
    mailbox: str = "INBOX"
    via: str = ""
    relay: tuple[str, ...] = ()
    keep: bool = True
    returned: bool = False
    notify: frozenset[str] = frozenset()
    orcpt: str = ""
    reports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message and the envelope it came in. source: its bytes, or None and then it is the spool file `spool`
    ("<worker>/<name>"), read by `read`. protocol, tls: as in message.trace.Hop. id: unique for ever. login: the account
    that submitted it, "" from other servers. require_tls: RFC 8689. signature: our DKIM-Signature fields, for copies
    that are sent on."""

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
    login: str = ""
    smtputf8: bool = False
    eightbit: bool = False
    require_tls: bool = False
    envid: str = ""
    ret: str = ""
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a message. reply: the final one. proved: its sender may be told of success (`success.may_tell`).
    inbox: (account, keep) of the destinations for which it is no junk."""

    reply: Reply
    proved: bool = False
    inbox: frozenset[tuple[str, bool]] = frozenset()


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
    """One per worker. classifiers None: nothing is classified (submission); fallback: asked when they give nothing.
    checks None: nobody is asked who the mail is from (submission too)."""

    def __init__(
        self,
        host: Host,
        engine: Engine,
        committer: Committer,
        classifiers: Classifiers | None = None,
        fallback: Fallback = lambda request: (),
        checks: MailChecks | None = None,
        rules: Rules = PLAIN,
    ) -> None:
        limits = host.static.limits
        self._host = host
        self._engine = engine
        self._committer = committer
        self._classifiers = classifiers
        self._fallback = fallback
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
            decided = await self._decide(facts, destinations, rulings, checked)
            placed = await self._rules.settle(facts, rulings, decided)
            refused = all(placement.place == "reject" for placement in placed)
            if not refused:
                await self._rules.forward(facts, decided, placed)
            targets = self._targets(facts, decided, placed, refused)
            if targets:
                source = mail.spool if mail.source is None else mail.source
                await self._add(
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

    def _tell_forged(self, mail: Incoming, checked: Checked) -> None:
        dmarc = checked.results.dmarc
        self._host.count("dmarc_refused")
        self._host.log.info(
            "message fails DMARC",
            cid=mail.cid, id=mail.id, remote=mail.remote_ip, mail_from=mail.mail_from,
            author=dmarc.from_domain, policy_of=dmarc.domain, spf=checked.results.spf.result,
            dkim=",".join(f"{each.domain}:{each.result}" for each in checked.results.dkim),
        )  # fmt: skip

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

    async def _decide(
        self,
        facts: Facts,
        destinations: Sequence[Destination],
        rulings: Sequence[Ruling],
        checked: Checked | None,
    ) -> list[Decided]:
        """One per destination, in their order."""
        mail = facts.mail
        if self._classifiers is None:
            return [Decided(destination, NOT_FILTERED) for destination in destinations]
        if checked is not None and checked.refusal is not None and not any(map(exempt, rulings)):
            self._tell_forged(mail, checked)  # whatever the filter would say of it
            return [Decided(destination, FORGED, None, checked.refusal) for destination in destinations]
        evidence = () if checked is None else checked.evidence
        who = author(facts.header)
        friends = {one.account for one in destinations if acquainted(self._engine, one.account, who)}
        groups: dict[tuple[bool, bool], list[str]] = {}
        for one, ruling in zip(destinations, rulings):
            if ruling.junk_filter.mode != "off":
                groups.setdefault((ruling.forwarder, one.account in friends), []).append(one.account)
        verdicts: dict[str, Verdict] = {}
        for (forwarder, friend), asked in sorted(groups.items()):
            shown, known = mail, evidence
            if forwarder:  # of what it has sent on, the peer and what was checked of it say nothing (S39)
                shown, known = replace(mail, mail_from="", remote_ip="", helo="", tls="TLS"), ()
            known = (*known, EVIDENCE) if friend else known
            found = await self._classify(shown, tuple(dict.fromkeys(asked)), known)
            verdicts.update((verdict.account, verdict) for verdict in found)
        return [
            self._judged(mail, destination, ruling, verdicts.get(destination.account), checked)
            for destination, ruling in zip(destinations, rulings)
        ]

    def _judged(
        self, mail: Incoming, to: Destination, ruling: Ruling, verdict: Verdict | None, checked: Checked | None
    ) -> Decided:
        """What filter and DMARC say for one destination."""
        decision, verdict = self._decision(mail, stricter(ruling, verdict), verdict)
        if checked is None or exempt(ruling):
            return Decided(to, decision, verdict)
        if checked.refusal is not None:
            return Decided(to, forged(verdict), verdict, checked.refusal)
        if checked.done.what == "quarantine":
            decision = quarantined(ruling.junk_filter, decision, verdict)
        return Decided(to, decision, verdict)

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

    async def _classify(
        self, mail: Incoming, accounts: tuple[str, ...], evidence: tuple[tuple[str, str], ...]
    ) -> Sequence[Verdict]:
        """A verdict per account, by the classifiers or else by this process; counts which."""
        assert self._classifiers is not None
        request = Classify(
            mail.cid,
            accounts,
            mail.source,
            mail.spool,
            mail.mail_from,
            mail.remote_ip,
            mail.helo,
            bool(mail.tls),
            evidence,
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

    def _targets(
        self, facts: Facts, decided: Sequence[Decided], placed: Sequence[Placement], refused: bool
    ) -> list[Target]:
        """Of those who keep it, each account once."""
        found: dict[str, Target] = {}
        for one, placement in zip(decided, placed):
            if placement.keep and one.destination.account not in found:
                found[one.destination.account] = self._target(facts, one, placement, refused)
        return list(found.values())

    def _target(self, facts: Facts, one: Decided, placement: Placement, refused: bool) -> Target:
        to = one.destination
        if placement.place == "inbox":
            mailbox = placement.mailbox
        elif refused:
            mailbox = REJECTS
        else:
            mailbox = self._junk(to.account)
        prefix = b"".join(
            (
                return_path(facts.mail.mail_from),
                delivered_to(to.address),
                facts.trace,
                one.decision.header,
                placement.header,
            )
        )
        verdict = verdict_json(placement.place, placement.reason, one.verdict)
        return Target(to.account, mailbox, prefix, verdict=verdict)

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
            await self._committer.add(self._with_mailboxes(addition))
        except NoSuchMailbox:
            await self._committer.add(self._with_mailboxes(addition))

    def _with_mailboxes(self, addition: Addition) -> Addition:
        """Makes those that a ruleset names and that are not there; what can be none is the Inbox."""
        targets = []
        for target in addition.targets:
            store = self._engine.open(target.account)
            if target.mailbox not in DEFAULT_MAILBOXES:
                try:
                    store.create_mailbox(target.mailbox)
                except MailboxExists:
                    pass
                except (BadMailboxName, LimitExceeded) as error:
                    self._host.log.error("no such mailbox", account=target.account, mailbox=target.mailbox, error=error)
                    target = replace(target, mailbox="INBOX")
            targets.append(target)
        return replace(addition, targets=targets)

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


NOT_FILTERED = Decision("inbox", "not-filtered", b"")
"""Mail of our own users."""
FILTER_OFF = Decision("inbox", "filter-off", b"")
FORGED = forged()
DIGITS = 4
"""Of probabilities and weights in what the store keeps."""


def exempt(ruling: Ruling) -> bool:
    """Whether DMARC policies are not enforced there."""
    return ruling.accept or ruling.forwarder


def stricter(ruling: Ruling, verdict: Verdict | None) -> JunkFilter:
    """The thresholds for mail that came in a doubtful way (F12): lower ones, where the account has taught its filter
    something. What is said of mail without that stands on rules that know those doubts already."""
    settings = ruling.junk_filter
    if ruling.strict >= 1 or verdict is None or not verdict.learned:
        return settings
    return _lowered(settings, ruling.strict)


@lru_cache(256)
def _lowered(settings: JunkFilter, strict: float) -> JunkFilter:
    return replace(settings, junk=settings.junk * strict, reject=settings.reject * strict)


def unique(destinations: Sequence[Destination]) -> list[Destination]:
    """The first destination of each account that keeps the message, and the first of each that does not, with the
    addresses that all of them relay to."""
    found: dict[tuple[str, bool], Destination] = {}
    for one in destinations:
        key = one.account, one.keep
        first = found.get(key)
        if first is None:
            found[key] = one
        elif one.relay:
            relay = tuple(dict.fromkeys((*first.relay, *one.relay)))
            found[key] = replace(first, relay=relay, via=first.via or one.via, returned=first.returned and one.returned)
    return list(found.values())


def refusal_reply(placed: Sequence[Placement]) -> Reply:
    """One for all: a temporary one if there is one, for then another try may end otherwise."""
    replies = [placement.reply or REJECTED for placement in placed]
    return next((reply for reply in replies if reply.code < 500), replies[0])


def verdict_json(place: str, reason: str, verdict: Verdict | None) -> str:
    """What the store keeps with the message; "" when nothing was classified. Probabilities as X-EchoMox-Verdict shows
    them: what the store is told twice it keeps once."""
    if verdict is None:
        return ""
    shown = {"place": place, "reason": reason, **dict(zip(_VERDICT, _of_verdict(verdict)))}
    shown["probability"] = round(verdict.probability, DIGITS)
    if verdict.acts is not None:
        shown["acts"] = round(verdict.acts, DIGITS)
    shown["evidence"] = [
        {
            **dict(zip(_EVIDENCE, _of_evidence(item))),
            "probability": round(item.probability, DIGITS),
            "weight": round(item.weight, DIGITS),
        }
        for item in verdict.evidence
    ]
    return json.dumps(shown)


# `dataclasses.asdict` says the same, but copies every value of every tuple by itself, which takes ten times as long.
_VERDICT, _EVIDENCE = (tuple(field.name for field in fields(kind)) for kind in (Verdict, Evidence))
_of_verdict, _of_evidence = attrgetter(*_VERDICT), attrgetter(*_EVIDENCE)


def _read_and_parse(read: Callable[[], bytes], limits: ParserLimits) -> tuple[Structure, bytes]:
    source = read()
    structure = parse(source, limits)
    return structure, source[: structure.header_size]
