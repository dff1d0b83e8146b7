"""What filter and DMARC say of a message, for each of those who are to get it.

The classifiers are asked once for all accounts that see the mail alike (`_groups`); `filter.decide` then says for each
account what its own thresholds make of the verdict. Classifiers that are late or gone refuse nothing: this process
judges by what it can (`fallback`), or the verdict is "classifier-unavailable" and the place the Inbox.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

from echomox.config.schema import JunkFilter
from echomox.delivery.acquaintance import EVIDENCE, acquainted, author
from echomox.delivery.authcheck import Checked
from echomox.delivery.incoming import Destination, Host, Incoming
from echomox.delivery.placement import Decided, Facts, Ruling
from echomox.filter.decide import Decision, decide, forged, quarantined
from echomox.ipc.schema import Classify, Verdict
from echomox.store.engine import Engine

NOT_FILTERED = Decision("inbox", "not-filtered", b"")
"""Mail of our own users."""
FILTER_OFF = Decision("inbox", "filter-off", b"")
FORGED = forged()


class Classifiers(Protocol):
    async def classify(self, request: Classify) -> list[Verdict] | None: ...


Fallback = Callable[[Classify], Sequence[Verdict]]
"""Judges in this process, in some milliseconds; may raise."""


def no_fallback(request: Classify) -> Sequence[Verdict]:
    return ()


class Judging:
    """One per worker. fallback: asked when the classifiers give nothing."""

    def __init__(
        self, host: Host, engine: Engine, classifiers: Classifiers, fallback: Fallback = no_fallback
    ) -> None:
        self._host = host
        self._engine = engine
        self._classifiers = classifiers
        self._fallback = fallback

    async def decide(
        self,
        facts: Facts,
        destinations: Sequence[Destination],
        rulings: Sequence[Ruling],
        checked: Checked | None,
    ) -> list[Decided]:
        """One per destination, in their order."""
        mail = facts.mail
        if checked is not None and checked.refusal is not None and not any(map(exempt, rulings)):
            self._tell_forged(mail, checked)  # whatever the filter would say of it
            return [Decided(destination, FORGED, None, checked.refusal) for destination in destinations]
        evidence = () if checked is None else checked.evidence
        verdicts: dict[str, Verdict] = {}
        for (forwarder, friend), asked in sorted(self._groups(facts, destinations, rulings).items()):
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

    def _groups(
        self, facts: Facts, destinations: Sequence[Destination], rulings: Sequence[Ruling]
    ) -> dict[tuple[bool, bool], list[str]]:
        """Accounts by how they see the mail: (a forwarder that they trust has sent it, they know its author)."""
        who = author(facts.header)
        friends = {one.account for one in destinations if acquainted(self._engine, one.account, who)}
        groups: dict[tuple[bool, bool], list[str]] = {}
        for one, ruling in zip(destinations, rulings):
            if ruling.junk_filter.mode != "off":
                groups.setdefault((ruling.forwarder, one.account in friends), []).append(one.account)
        return groups

    def _tell_forged(self, mail: Incoming, checked: Checked) -> None:
        dmarc = checked.results.dmarc
        self._host.count("dmarc_refused")
        self._host.log.info(
            "message fails DMARC",
            cid=mail.cid, id=mail.id, remote=mail.remote_ip, mail_from=mail.mail_from,
            author=dmarc.from_domain, policy_of=dmarc.domain, spf=checked.results.spf.result,
            dkim=",".join(f"{each.domain}:{each.result}" for each in checked.results.dkim),
        )  # fmt: skip

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
