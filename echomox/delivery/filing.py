"""Where a message goes: the mailbox of each account and the fields before its copy there, one `Addition` for all.

A mailbox that is named and not there is made; an account that was written into domains.toml by hand gets its store.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from operator import attrgetter

from echomox.delivery.incoming import Host
from echomox.delivery.placement import Decided, Facts, Placement
from echomox.ipc.schema import Evidence, Verdict
from echomox.message.trace import delivered_to, return_path
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
    Target,
)

REJECTS = "Rejects"
JUNK = "Junk"
DIGITS = 4
"""Of probabilities and weights in what the store keeps."""


class Filing:
    """One per worker."""

    def __init__(self, host: Host, engine: Engine, committer: Committer) -> None:
        self._host = host
        self._engine = engine
        self._committer = committer

    def targets(
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

    def _junk(self, account: str) -> str:
        """The account's \\Junk mailbox, whatever it has been renamed to."""
        try:
            found = self._engine.open(account).special_mailbox("\\Junk")
        except NoSuchAccount:
            found = None
        return found.name if found is not None else JUNK

    async def add(self, addition: Addition) -> None:
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
