"""What the queue gives out to be delivered, and what comes back: one Job, one Outcome per recipient of it.

An Outcome of kind "delivered" is final for this server's part (the peer took the responsibility, RFC 5321 4.2.5);
"relayed" the same, to a host that does not do DSN (RFC 3461 6.2.2: then we report "relayed"). "retry" is any 4xx,
any trouble of the net, and anything unexpected. "failed" is a 5xx or a policy that will not change by waiting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from echomox.config.schema import Transport

OUTCOMES = ("delivered", "relayed", "retry", "failed", "suppressed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """recipient: JobRecipient.id. code, enhanced, text: of the peer's reply, or what we would have said; never "".
    remote_mta: name of the host that answered, "" when none did. tls: as "TLSv1.3", "" for plain. policy: "dane",
    "mta-sts", "requiretls", "opportunistic" or "". unreachable: the destination as a whole has trouble (names not
    found out, no connection, TLS that policy wants, greeting 4xx): another message would fare no better now.
    """

    recipient: int
    kind: str
    code: int
    enhanced: str
    text: str
    remote_mta: str = ""
    remote_ip: str = ""
    tls: str = ""
    policy: str = ""
    when: float = 0.0
    unreachable: bool = False
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobRecipient:
    """notify: as in QueueRecipient."""

    id: int
    address: str
    orcpt: str
    notify: frozenset[str]


@dataclass(frozen=True, slots=True)
class Job:
    """Recipients of one message for one next hop; all in one transaction, at most 100.

    The message is `prefix` + (`body`, or the bytes of `file`); size: of both. id: for logs, also the number of the
    message in the queue. domain: next hop's, A-labels, lower case; several domains share a job only when `transport` is
    a host of its own. envid: decoded. attempt: from 1. last_ip: where the last try went, to try another family.
    interrupted: who tried last vanished before he could say how it went.
    """

    id: str
    domain: str
    sender: str
    recipients: tuple[JobRecipient, ...]
    prefix: bytes
    body: bytes | None
    file: Path | None
    size: int
    ret: str = ""
    envid: str = ""
    smtputf8: bool = False
    eightbit: bool = False
    binary: bool = False
    require_tls: bool | None = None
    transport: Transport | None = None
    attempt: int = 1
    last_ip: str = ""
    account: str = ""
    kind: str = "submission"
    message_id: str = ""
    transport_name: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
