"""What one transaction has said so far: the sender, the recipients, and the parameters of MAIL and RCPT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiosmtpd.smtp import Envelope

if TYPE_CHECKING:
    from echomox.delivery.incoming import Destination, Taken


@dataclass(slots=True)
class Asked:
    """What one RCPT asked for. notify: of "never", "success", "failure", "delay"; empty: nothing was said, which means
    failure, and delay if we like (RFC 3461 4.1). orcpt: "type;address", decoded, or ""."""

    notify: frozenset[str] = frozenset()
    orcpt: str = ""


NOTHING_ASKED = Asked()
"""Before the first RCPT; each gets one of its own."""


class Transaction(Envelope):
    """What MAIL and RCPT have said.

    destinations: noted by the role. declared: SIZE, 0 for none. ret: "full", "hdrs" or "". envid: decoded, or "".
    require_tls: REQUIRETLS. hold_until: FUTURERELEASE, Unix seconds, or 0. binary_mime does not happen.
    asked: parameters of the RCPT at hand; wanted: those of each address of rcpt_tos, in its order. expanded: addresses
    that stand for several, for which success was asked, with their ORCPT. taken: what delivery here made of it.
    """

    __slots__ = (
        "asked", "declared", "destinations", "envid", "expanded", "hold_until", "outside", "require_tls", "ret",
        "taken", "wanted",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.destinations: list[Destination] = []
        self.declared = 0
        self.ret = ""
        self.envid = ""
        self.require_tls = False
        self.hold_until = 0.0
        self.asked = NOTHING_ASKED
        self.wanted: list[Asked] = []
        self.expanded: dict[str, str] = {}
        self.taken: Taken | None = None
        self.outside: list[int] = []
        """Places in rcpt_tos of those that go to other servers; noted by the role."""
