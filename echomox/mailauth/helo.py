"""The name in EHLO (S27): whether it is one that the client's address answers to. Evidence only, never a refusal:
RFC 5321 4.1.4 forbids to refuse mail for it.

    pass        the name leads to the address, or it is the address in brackets
    fail        no full name, an address without brackets or another's, or a name that there is not
    softfail    a name that leads elsewhere
    temperror   DNS did not answer
"""

from __future__ import annotations

import ipaddress

from echomox.dns.eager import together
from echomox.dns.types import DnsTemporary, Resolver, canonical_name, plain_address


async def check_helo(resolver: Resolver, helo: str, ip: str) -> str:
    """One of the words above; "none" when the client's address is not known."""
    try:
        address = plain_address(ip)
    except ValueError:
        return "none"
    if helo.startswith("["):
        literal = helo.strip("[]")
        literal = literal[5:] if literal[:5].lower() == "ipv6:" else literal
        return "pass" if _address(literal) == address else "fail"
    name = canonical_name(helo)
    if name is None or "." not in name or _address(name) is not None:
        return "fail"
    try:
        a, aaaa = await together(resolver.lookup(name, "A"), resolver.lookup(name, "AAAA"))
    except DnsTemporary:
        return "temperror"
    found = [_address(value) for value in (*a.values, *aaaa.values)]
    if not found:
        return "fail"
    return "pass" if address in found else "softfail"


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return plain_address(text)
    except ValueError:
        return None
