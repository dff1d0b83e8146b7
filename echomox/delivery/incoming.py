"""A message on its way to the mailboxes of local accounts, with its envelope, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from echomox.config.schema import Static
from echomox.config.snapshot import Snapshot
from echomox.errors import Reply
from echomox.log import Log


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
