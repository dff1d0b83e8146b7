"""What the tests of addresses share: a configuration, messages, results of checks."""

from __future__ import annotations

from typing import Any

from echomox.config.load import parse_dynamic
from echomox.config.schema import Static
from echomox.config.snapshot import Group, Recipient, Snapshot
from echomox.delivery.incoming import Destination, Incoming
from echomox.delivery.lists import destinations
from echomox.delivery.placement import Facts
from echomox.mailauth.arc import ArcResult
from echomox.mailauth.check import AuthResults
from echomox.mailauth.dkim import DkimResult
from echomox.mailauth.dmarc import DmarcResult
from echomox.mailauth.iprev import IprevResult
from echomox.mailauth.spf import SpfResult
from echomox.message.mime import parse

DOMAINS = """
[domains."a.test"]
[accounts.ann]
addresses = ["ann@a.test"]
[accounts.bob]
addresses = ["bob@a.test"]
[accounts.cat]
addresses = ["cat@a.test"]
"""


def snapshot(text: str, base: str = DOMAINS) -> Snapshot:
    return Snapshot(parse_dynamic("/x/config/domains.toml", (base + text).encode()), Static(hostname="mail.a.test"), 1)


def to(found: Snapshot, *addresses: str) -> list[Destination]:
    """Where mail to these addresses goes."""
    made: list[Destination] = []
    for address in addresses:
        one = found.recipient(address)
        assert isinstance(one, (Recipient, Group)), address
        made += destinations(found, one)
    return made


def source(sender: str = "friend@b.example", to: str = "ann@a.test", extra: str = "") -> bytes:
    return f"From: {sender}\r\nTo: {to}\r\nMessage-ID: <1@b.example>\r\nSubject: hi\r\n{extra}\r\ntext\r\n".encode()


def auth(spf: str = "", dkim: tuple[str, ...] = (), iprev: str = "pass", temporary: bool = False) -> AuthResults:
    """spf: the domain that passed; dkim: domains whose signatures passed."""
    results = [DkimResult("pass", domain=domain) for domain in dkim]
    if temporary:
        results.append(DkimResult("temperror", domain="b.example"))
    return AuthResults(
        SpfResult("pass" if spf else "none", spf, "mailfrom"),
        tuple(results),
        DmarcResult("none"),
        ArcResult("none"),
        IprevResult(iprev),
    )


def facts(
    found: Snapshot,
    wanted: list[Destination],
    message: bytes | None = None,
    checked: AuthResults | None = None,
    **envelope: Any,
) -> Facts:
    message = source() if message is None else message
    values: dict[str, Any] = {
        "id": "id-1", "cid": "cid", "source": message, "spool": "", "read": lambda: message, "size": len(message),
        "mail_from": "friend@b.example", "destinations": wanted, "helo": "mx.b.example", "remote_ip": "203.0.113.5",
        "protocol": "ESMTPS", "tls": "TLSv1.3 X", "received": 1_700_000_000.0,
    }  # fmt: skip
    structure = parse(message)
    mail = Incoming(**{**values, **envelope})
    return Facts(mail, message[: structure.header_size], structure, checked or auth(), found, b"Received: here\r\n")
