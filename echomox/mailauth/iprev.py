"""The reverse name of a client, confirmed: RFC 8601 3 (iprev), RFC 1912 2.1.

The PTR records of the address give names, and a name counts if one of its own addresses is that address. Whoever has
the address writes its PTR, so a name that does not lead back says nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from echomox.dns.eager import together
from echomox.dns.types import DnsTemporary, Resolver, plain_address, reverse_name

NAMES = 10  # PTR records followed; RFC 8601 leaves the number to us, RFC 7208 4.6.4 has ten
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)+")


@dataclass(frozen=True, slots=True)
class IprevResult:
    """result: pass, a name is confirmed; fail, there are names, none is; permerror, there is none; temperror, DNS did
    not answer; none, there is no address to ask for. names: the confirmed ones, by their spelling. reason: of
    a temperror. secure: the PTR and all that confirms was validated by DNSSEC.
    """

    result: str
    names: tuple[str, ...] = ()
    reason: str = ""
    secure: bool = False


async def check_iprev(resolver: Resolver, ip: str) -> IprevResult:
    """Never raises for what comes from outside. Names that are no host names are left out."""
    try:
        address = plain_address(ip)
    except ValueError:
        return IprevResult("none", reason="no IP address")
    try:
        pointers = await resolver.lookup(reverse_name(ip), "PTR")
    except DnsTemporary as error:
        return IprevResult("temperror", reason=error.reason)
    names = sorted({name for name in pointers.values if _HOST.fullmatch(name) and len(name) <= 253})[:NAMES]
    if not names:
        return IprevResult("permerror", reason="the address has no name")
    type = "A" if address.version == 4 else "AAAA"
    found = await together(*(_confirms(resolver, name, type, str(address)) for name in names))
    good = tuple(name for name, (confirmed, _, _) in zip(names, found) if confirmed)
    if good:
        secure = pointers.secure and all(safe for confirmed, safe, _ in found if confirmed)
        return IprevResult("pass", good, secure=secure)
    troubles = [reason for _, _, reason in found if reason]
    return IprevResult("temperror", reason=troubles[0]) if troubles else IprevResult("fail")


async def _confirms(resolver: Resolver, name: str, type: str, address: str) -> tuple[bool, bool, str]:
    """(the name has the address, secure, trouble)."""
    try:
        answer = await resolver.lookup(name, type)
    except DnsTemporary as error:
        return False, False, error.reason
    return address in answer.values, answer.secure, ""
