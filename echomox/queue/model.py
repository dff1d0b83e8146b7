"""What stands in the queue: values without behaviour, shared by who adds, who delivers and who asks.

RFC 3461 (NOTIFY, ORCPT, RET, ENVID), RFC 4865 (hold_until), RFC 8689 (require_tls). Times are seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from echomox.errors import Reply, Temporary

NEVER = frozenset({"never"})
FAILURE_AND_DELAY = frozenset({"failure", "delay"})
"""RFC 3461 4.1: what a sender gets who asks for nothing."""
KINDS = ("submission", "dsn", "report", "forward")


class QueueFull(Temporary):
    """Too little space is left for the queue; the client may try again later."""

    default = Reply(452, "4.3.1", "Insufficient system storage, try again later")


@dataclass(frozen=True, slots=True)
class QueueRecipient:
    """orcpt: as the client gave it ("rfc822;a@b", xtext decoded), "" without. notify: {"never"}, or of "success",
    "failure", "delay".
    """

    address: str
    orcpt: str = ""
    notify: frozenset[str] = FAILURE_AND_DELAY


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One accepted message for outside. Its bytes are `prefix` (signatures and trace fields, CRLF) and then `body`, or
    the file `file`, which is linked or copied by the addition and may go as soon as that has returned.

    account: "" for the server itself. sender: "" is the null reverse-path. require_tls: True REQUIRETLS, False
    "TLS-Required: No". tls: it came over TLS. transport: "" by the routes. from_id: what stands in the return address
    to know its reports by. id: of the Received field, for logs. received_from: who brought it, for logs.
    """

    sender: str
    recipients: tuple[QueueRecipient, ...]
    body: bytes | None = None
    file: str = ""
    account: str = ""
    prefix: bytes = b""
    message_id: str = ""
    subject: str = ""
    ret: str = ""
    envid: str = ""
    smtputf8: bool = False
    eightbit: bool = False
    binary: bool = False
    require_tls: bool | None = None
    tls: bool = False
    hold_until: float = 0.0
    transport: str = ""
    kind: str = "submission"
    from_id: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    id: str = ""
    received_from: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, as kept with the message. steps: what was done, host by host, where there was more than one of them."""

    when: float
    kind: str
    code: int
    enhanced: str
    text: str
    remote_mta: str
    remote_ip: str
    tls: str
    policy: str
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one recipient, for a report. action: RFC 3464 2.3.3 "failed", "delayed", "delivered", "relayed",
    "expanded". until: the end of the tries, for "delayed".
    """

    address: str
    orcpt: str
    action: str
    code: int
    enhanced: str
    text: str
    remote_mta: str
    when: float
    until: float = 0.0
    require_tls: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a delivery status notification is made from. header, body: of the original, body b"" when it was not to be
    returned or is too large.
    """

    sender: str
    account: str
    envid: str
    ret: str
    smtputf8: bool
    queued: float
    message_id: str
    header: bytes
    body: bytes
    fates: tuple[Fate, ...]
