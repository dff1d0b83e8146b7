"""What accounts, lists and the administrator want done with mail from other servers, beside the filter: the `Rules` of
`echomox.delivery.placement`.

    whole message   a loop of ours; a sender whose domain takes no mail (RFC 7505)
    destination     reports at addresses for them, which no filter keeps out (S28)
                    rulesets (S38-S41), members-only lists, stricter thresholds (F12)
    the end         rejects to a mailbox, 451 for 550 (F15), the wait of strangers (S42), DNS lists (F17),
                    tokens in subjects (F16, `subjectpass`), strangers apart (F14, `introbox`)
    sending on      what is not junk, by the queue (S33)

DNS lists are asked, and strangers wait, only for mail that would be accepted. A stranger is a sender of whom the
account's filter knows nothing; one that has waited need not wait again within an hour.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from echomox.clock import SYSTEM, Clock
from echomox.config.schema import JunkFilter, Ruleset
from echomox.config.snapshot import Group, Snapshot
from echomox.delivery.dnsbl import DnsLists
from echomox.delivery.forward import Forwarder
from echomox.delivery.incoming import Destination, Host
from echomox.delivery.introbox import REASON as INTRODUCED
from echomox.delivery.introbox import mailbox_for
from echomox.delivery.lists import comes_back, is_member
from echomox.delivery.placement import Decided, Facts, Placement, Ruling
from echomox.delivery.rulesets import Seen, is_addressed, look, matching, proves, same_address
from echomox.delivery.subjectpass import REASON as PASSED
from echomox.delivery.subjectpass import SubjectPass
from echomox.dns.types import DnsError, Resolver
from echomox.errors import Reply
from echomox.filter.decide import fold
from echomox.ipc.schema import Verdict

LOOP = Reply(554, "5.4.6", "Routing loop: this message was sent on from here before")
NULL_MX = Reply(550, "5.7.27", "The sender's domain takes no mail (null MX)")  # RFC 7505 4.2
MEMBERS_ONLY = Reply(550, "5.7.2", "Only members may write to this list")  # RFC 3463 3.8
UNPROVED = Reply(550, "5.7.26", "Neither SPF nor DKIM prove the sender's domain, which this address wants")
UNPROVED_NOW = Reply(451, "4.7.26", "The sender's domain could not be checked, try again later")
REJECTED_NOW = Reply(451, "4.7.1", "Message refused for now: it looks like spam")
FIELD = "X-EchoMox-Rule"
_NOT_WORD = re.compile(r"[^A-Za-z0-9._:,+-]")
STRANGE = frozenset({"stranger", "untrained"})
DOUBT = 0.5
"""Mail is in doubt from this part of the `junk` threshold on."""
KNOWN_FOR = 3600.0
REMEMBERED = 10_000
WAITING = 500
"""Messages of a worker that wait at once; beyond it nobody waits."""


class Arrivals(Protocol):
    """Who reads what came to addresses for reports (`echomox.reports.arrivals`)."""

    async def note(self, facts: Facts) -> object: ...


class AddressRules:
    """One per worker. forwarder None: nothing is sent on here, and there must be nothing to send. arrivals None:
    reports are kept as any mail is. subject_pass None: no tokens."""

    def __init__(
        self,
        host: Host,
        resolver: Resolver,
        forwarder: Forwarder | None = None,
        clock: Clock = SYSTEM,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        arrivals: Arrivals | None = None,
        subject_pass: SubjectPass | None = None,
    ) -> None:
        self._arrivals = arrivals
        self._subject_pass = subject_pass
        self._host = host
        self._resolver = resolver
        self._forwarder = forwarder
        self._clock = clock
        self._sleep = sleep
        self._lists = DnsLists(resolver, clock)
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._waiting = 0

    # the whole message

    async def refuse(self, facts: Facts) -> Reply | None:
        mail = facts.mail
        if comes_back(facts.snapshot, facts.header, mail.destinations):
            return LOOP
        if not mail.login and await self._null_mx(mail.mail_from):
            return NULL_MX
        return None

    async def _null_mx(self, mail_from: str) -> bool:
        """RFC 7505 4.2: a sender to whom no report could go."""
        domain = mail_from.rpartition("@")[2]
        if not domain or domain.startswith("["):
            return False
        try:
            answer = await self._resolver.lookup(domain, "MX")
        except DnsError:
            return False
        return len(answer.values) == 1 and answer.values[0].host == ""

    # one destination

    def ruling(self, facts: Facts, destination: Destination) -> Ruling:
        snapshot = facts.snapshot
        account = snapshot.account(destination.account)
        settings = account.junk_filter
        if destination.returned:
            return Ruling(replace(settings, mode="off"), destination.mailbox, accept=True, reason="returned")
        seen = look(facts)
        if destination.reports and seen.from_proved:
            return Ruling(replace(settings, mode="off"), destination.mailbox, accept=True, reason="reports")
        refusal = self._list_refusal(facts, seen, destination)
        rule = matching(account.rulesets, seen, snapshot, destination.via or destination.address)
        if rule is not None:
            ruled = _ruled(rule, seen, settings, destination)
            if facts.auth is None and not facts.mail.remote_ip:  # the server's own, or our users'
                ruled = replace(ruled, refusal=None)
            if refusal is not None:
                ruled = replace(ruled, refusal=refusal, reason="members-only")
        else:
            reason = "members-only" if refusal is not None else ""
            ruled = Ruling(settings, destination.mailbox, refusal=refusal, reason=reason)
        if ruled.accept or ruled.forwarder or facts.mail.login or not facts.mail.remote_ip:
            return ruled
        signs = self._signs(facts, seen, destination)
        if not signs or settings.strict >= 1:
            return ruled
        reason = ",".join(filter(None, (ruled.reason, "strict:" + "+".join(signs))))
        return replace(ruled, strict=settings.strict, reason=reason)

    def _list_refusal(self, facts: Facts, seen: Seen, destination: Destination) -> Reply | None:
        """Of an alias that only members may write to."""
        found = facts.snapshot.recipient(destination.via) if destination.via else None
        if not isinstance(found, Group) or found.alias.post != "members":
            return None
        if facts.mail.login:
            here, _ = facts.snapshot.members(found)
            return None if facts.mail.login in here else MEMBERS_ONLY
        if len(seen.senders) != 1 or not is_member(facts.snapshot, found, seen.senders[0]):
            return MEMBERS_ONLY
        if seen.from_proved:
            return None
        return UNPROVED_NOW if seen.temporary else MEMBERS_ONLY

    def _signs(self, facts: Facts, seen: Seen, destination: Destination) -> list[str]:
        """F12: what makes mail doubtful before it is read."""
        found = []
        if not facts.mail.tls:
            found.append("no-tls")
        if facts.auth is not None and facts.auth.iprev.result in ("fail", "permerror"):
            found.append("iprev")
        account = facts.snapshot.account(destination.account)
        ours = (destination.via, destination.address, *account.addresses)
        if not is_addressed(facts.snapshot, seen, ours):
            found.append("not-addressed")
        return found

    # the end

    async def settle(self, facts: Facts, rulings: Sequence[Ruling], decided: Sequence[Decided]) -> list[Placement]:
        placed = [self._place(facts, ruling, one) for ruling, one in zip(rulings, decided)]
        if not facts.mail.login and facts.mail.remote_ip:
            await self._ask(facts, rulings, decided, placed)
            self._offer(facts, rulings, decided, placed)
        for place, (ruling, one) in enumerate(zip(rulings, decided)):
            if introbox := mailbox_for(facts, ruling, one, placed[place]):
                reason = ",".join(filter(None, (placed[place].reason, INTRODUCED)))
                placed[place] = replace(placed[place], mailbox=introbox, reason=reason)
        return [_shown(placement, one) for placement, one in zip(placed, decided)]

    def _offer(
        self, facts: Facts, rulings: Sequence[Ruling], decided: Sequence[Decided], placed: list[Placement]
    ) -> None:
        """Tells a token, where all refuse and one may be told."""
        reply = self._subject_pass and self._subject_pass.offer(facts, rulings, decided, placed)
        if reply:
            placed[:] = [replace(placement, reply=reply) for placement in placed]

    async def _ask(
        self, facts: Facts, rulings: Sequence[Ruling], decided: Sequence[Decided], placed: list[Placement]
    ) -> None:
        """Strangers wait and DNS lists are asked, for what would be accepted."""
        doubtful = [
            place
            for place, (ruling, one) in enumerate(zip(rulings, decided))
            if placed[place].place == "inbox" and _in_doubt(ruling, one)
        ]
        if not doubtful:
            return
        settings = self._host.static.filter
        if settings.dnswl and await self._lists.listed(facts.mail.remote_ip, settings.dnswl):
            return
        await self._delay(facts, [decided[place] for place in doubtful])
        if settings.dnsbl:
            await self._ask_lists(facts, rulings, placed, doubtful)

    def _place(self, facts: Facts, ruling: Ruling, one: Decided) -> Placement:
        decision, to = one.decision, one.destination
        keep = to.keep and not self._own_post(facts, to)
        if ruling.refusal is not None:
            # A list that refuses is not in anyone's Junk.
            return Placement("reject", ruling.mailbox, ruling.reason, ruling.refusal, keep=to.keep and not to.via)
        reason = ",".join(filter(None, (decision.reason, ruling.reason)))
        passed = self._subject_pass and decision.place != "inbox" and self._subject_pass.passes(facts, ruling, one)
        if passed:
            return Placement("inbox", ruling.mailbox, f"{reason},{PASSED}", keep=keep)
        if decision.place != "reject":
            return Placement(decision.place, ruling.mailbox, reason, keep=keep or decision.place == "junk")
        if ruling.rejects:
            return Placement("inbox", ruling.rejects, f"{reason},accept-rejects")
        reply = one.reply
        if reply is None and ruling.junk_filter.reject_code == "451":
            reply = REJECTED_NOW
        return Placement("reject", ruling.mailbox, reason, reply)

    def _own_post(self, facts: Facts, to: Destination) -> bool:
        """Of a list that does not give back what a member wrote."""
        found = facts.snapshot.recipient(to.via) if to.via else None
        if not isinstance(found, Group) or found.alias.own_posts:
            return False
        if facts.mail.login:
            return facts.mail.login == to.account
        seen = look(facts)
        if len(seen.senders) != 1 or not seen.from_proved:
            return False
        return facts.snapshot.may_send_as(to.account, seen.senders[0])

    async def _delay(self, facts: Facts, doubtful: Sequence[Decided]) -> None:
        """S42: mail of strangers waits, once for all accounts."""
        seconds = self._host.static.limits.first_time_delay
        strange = [one for one in doubtful if is_stranger(one.verdict)]
        if not seconds or not strange or self._waiting >= WAITING:
            return
        sender = (look(facts).senders or (facts.mail.mail_from,))[0]
        if all(self._waited_before(one.destination.account, sender) for one in strange):
            return
        self._host.count("messages_delayed")
        self._waiting += 1
        try:
            await self._sleep(seconds)
        finally:
            self._waiting -= 1
        for one in strange:
            self._seen[one.destination.account, sender] = self._clock.monotonic() + KNOWN_FOR
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _waited_before(self, account: str, sender: str) -> bool:
        return self._seen.get((account, sender), 0.0) > self._clock.monotonic()

    async def _ask_lists(
        self, facts: Facts, rulings: Sequence[Ruling], placed: list[Placement], doubtful: Sequence[int]
    ) -> None:
        found = await self._lists.listed(facts.mail.remote_ip, self._host.static.filter.dnsbl)
        if not found:
            return
        self._host.count("dnsbl_listed")
        zone = found[0].zone
        self._host.log.info("sender is listed", cid=facts.mail.cid, remote=facts.mail.remote_ip, zone=zone)
        for place in doubtful:
            placed[place] = _listed(placed[place], rulings[place], zone)

    # sending on

    async def forward(self, facts: Facts, decided: Sequence[Decided], placements: Sequence[Placement]) -> None:
        sent = [
            self._left(facts, one.destination)
            for one, placement in zip(decided, placements)
            if one.destination.relay and self._goes_on(facts.snapshot, one.destination, placement)
        ]
        if not sent:
            return
        if self._forwarder is None:
            raise OSError("no queue to send mail on by")
        self._host.count("messages_forwarded", await self._forwarder.send(facts, sent))

    # what was stored

    async def stored(self, facts: Facts, decided: Sequence[Decided], placements: Sequence[Placement]) -> None:
        kept = any(
            one.destination.reports and placement.keep and placement.place == "inbox"
            for one, placement in zip(decided, placements)
        )
        if kept and self._arrivals is not None:
            await self._arrivals.note(facts)

    def _goes_on(self, snapshot: Snapshot, destination: Destination, placement: Placement) -> bool:
        if placement.place == "inbox":
            return True
        if placement.place == "reject":
            return False
        found = snapshot.recipient(destination.via) if destination.via and not destination.keep else None
        if isinstance(found, Group):
            return found.alias.forward_junk
        return snapshot.account(destination.account).forward_junk

    def _left(self, facts: Facts, destination: Destination) -> Destination:
        """Without the member who wrote it, of a list that does not give mail back."""
        found = facts.snapshot.recipient(destination.via) if destination.via else None
        if not isinstance(found, Group) or found.alias.own_posts or destination.keep:
            return destination
        writers = look(facts).senders
        left = tuple(
            address
            for address in destination.relay
            if not any(same_address(facts.snapshot, address, writer) for writer in writers)
        )
        return replace(destination, relay=left)


def _ruled(rule: Ruleset, seen: Seen, settings: JunkFilter, destination: Destination) -> Ruling:
    accept = bool(rule.list_allow_domain) and proves(seen.verified, rule.list_allow_domain)
    refusal = None
    if rule.message_auth_required and not seen.from_proved:
        refusal = UNPROVED_NOW if seen.temporary else UNPROVED
    return Ruling(
        junk_filter=replace(settings, mode="off") if accept else settings,
        mailbox=rule.mailbox or destination.mailbox,
        accept=accept,
        forwarder=rule.is_forward,
        rejects=rule.accept_rejects,
        refusal=refusal,
        reason="ruleset-list" if accept else "ruleset-forward" if rule.is_forward else "ruleset",
    )


def _in_doubt(ruling: Ruling, one: Decided) -> bool:
    settings, verdict = ruling.junk_filter, one.verdict
    if ruling.accept or ruling.forwarder or ruling.rejects or settings.mode == "off" or settings.shadow:
        return False
    if verdict is None:
        return True
    acts = verdict.probability if verdict.acts is None else verdict.acts
    return is_stranger(verdict) or acts >= settings.junk * DOUBT


def is_stranger(verdict: Verdict | None) -> bool:
    """Whether the account's filter knows nothing of who sent it."""
    if verdict is None:
        return False
    return any(item.stage == "reputation" and STRANGE & set(item.reasons) for item in verdict.evidence)


def _shown(placement: Placement, one: Decided) -> Placement:
    """With a field that says what was made of the filter's verdict."""
    if placement.reason == one.decision.reason:
        return placement
    words = [f"{placement.place};", "reason=" + _NOT_WORD.sub("_", placement.reason)]
    return Placement(
        placement.place, placement.mailbox, placement.reason, placement.reply, placement.keep, fold(FIELD, words)
    )


def _listed(placement: Placement, ruling: Ruling, zone: str) -> Placement:
    """A list counts as much as the filter's refusal: Junk for accounts that refuse nothing."""
    reason = f"{placement.reason},dnsbl:{zone}"
    if ruling.junk_filter.mode == "junk-only":
        return replace(placement, place="junk", reason=reason, keep=True)
    code = 451 if ruling.junk_filter.reject_code == "451" else 550
    reply = Reply(code, "4.7.1" if code == 451 else "5.7.1", f"The sending address is listed at {zone}")
    return replace(placement, place="reject", reason=reason, reply=reply)
