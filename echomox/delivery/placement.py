"""What the rules of accounts and lists and the delivery of a message say to each other (S38-S42, F12, F15, F17).

For each message: `refuse` for all of it, `ruling` for each destination before the filter decides, `settle` after it,
`forward` before anything is stored, `stored` after it. `LocalDelivery` asks in this order; `echomox.delivery.policy`
answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from echomox.config.schema import JunkFilter
from echomox.config.snapshot import Snapshot
from echomox.errors import Reply
from echomox.filter.decide import Decision
from echomox.ipc.schema import Verdict
from echomox.message.structure import Structure

if TYPE_CHECKING:
    from echomox.delivery.incoming import Destination, Incoming
    from echomox.mailauth.check import AuthResults


@dataclass(frozen=True, slots=True)
class Facts:
    """A message as far as it is known. header: its header block without the empty line, CRLF ended. auth: None when
    nothing was checked, as for mail of our own users. trace: the fields that are stored before it, of all
    recipients (Received, Authentication-Results)."""

    mail: Incoming
    header: bytes
    structure: Structure
    auth: AuthResults | None
    snapshot: Snapshot
    trace: bytes = b""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What rules say of a message for one destination, before the filter decides.

    junk_filter: thresholds to decide by. strict: what they are multiplied by once the account has taught its filter
    something (F12). mailbox: where it goes when it is not junk. accept: whatever the filter
    says, it is not junk. forwarder: it comes from a trusted forwarder, so what is known of the peer says nothing and
    DMARC is not enforced. rejects: the mailbox that takes what would be refused; "" for a refusal. refusal: it is
    refused, with this reply. reason: for the log."""

    junk_filter: JunkFilter
    mailbox: str
    strict: float = 1.0
    accept: bool = False
    forwarder: bool = False
    rejects: str = ""
    refusal: Reply | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """What filter and DMARC made of it for one destination. reply: of a refusal, None for the filter's own."""

    destination: Destination
    decision: Decision
    verdict: Verdict | None = None
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """The end of it. place: "inbox", "junk" or "reject"; mailbox: where it goes when place is "inbox"; reply: when
    all destinations refuse, None for the usual one; keep: whether the account gets it; header: trace fields."""

    place: str
    mailbox: str
    reason: str
    reply: Reply | None = None
    keep: bool = True
    header: bytes = field(default=b"")


class Rules(Protocol):
    """See the module's text."""

    async def refuse(self, facts: Facts) -> Reply | None:
        """Why the whole message is refused, whoever it is for; None if it is not."""
        ...

    def ruling(self, facts: Facts, destination: Destination) -> Ruling: ...

    async def settle(self, facts: Facts, rulings: Sequence[Ruling], decided: Sequence[Decided]) -> list[Placement]:
        """One for each destination. May take its time (DNS, the delay of strangers), within limits."""
        ...

    async def forward(self, facts: Facts, decided: Sequence[Decided], placements: Sequence[Placement]) -> None:
        """Puts what goes to outside addresses into the queue; durable when it returns. Raises OSError, QueueFull."""
        ...

    async def stored(self, facts: Facts, decided: Sequence[Decided], placements: Sequence[Placement]) -> None:
        """The message is in the mailboxes: what it says is noted, before its sender hears of it. Never raises."""
        ...


class PlainRules:
    """None: the filter's word holds, nothing is sent on."""

    async def refuse(self, facts: Facts) -> Reply | None:
        return None

    def ruling(self, facts: Facts, destination: Destination) -> Ruling:
        return Ruling(facts.snapshot.account(destination.account).junk_filter, destination.mailbox)

    async def settle(self, facts: Facts, rulings: Sequence[Ruling], decided: Sequence[Decided]) -> list[Placement]:
        return [
            Placement(one.decision.place, ruling.mailbox, one.decision.reason, one.reply, keep=one.destination.keep)
            for ruling, one in zip(rulings, decided)
        ]

    async def forward(self, facts: Facts, decided: Sequence[Decided], placements: Sequence[Placement]) -> None:
        if any(one.destination.relay for one in decided):
            raise OSError("nothing is sent on here")

    async def stored(self, facts: Facts, decided: Sequence[Decided], placements: Sequence[Placement]) -> None:
        return


PLAIN = PlainRules()
