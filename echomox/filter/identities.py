"""Whom a message is from, in steps from the most exact to the widest: what training counts of it beside its words.

    from            the first address in From, lower-case
    domain          the domain of that address
    organisation    the domain above it that belongs to one owner, by the public suffix list
    dkim            a domain whose signature passed: the author's own, else one of his organisation, else the topmost
    spf             the domain that SPF passed for: of MAIL FROM, or of EHLO where that is empty
    ip              the address the mail came from; IPv6: its /64, for one host has all of it
    net             its net: IPv4 /26, IPv6 /48
    wide-net        the net around that: IPv4 /21, IPv6 /32

What is not known is left out; dkim and spf are known of mail that the delivery has checked (`message.proven`).
Each is counted as the word "rep:<step>:<value>", a net with its length. What the counts say is told in
`stages.reputation`. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache

from echomox.dns.psl import organisational_domain
from echomox.dns.types import canonical_name
from echomox.message.address import mailboxes, parse_addresses
from echomox.message.charset import decode_octets
from echomox.message.proven import DKIM, SPF

NAME = "identities"
"""Where they are remembered in Features.memo."""
STEPS = ("from", "domain", "organisation", "dkim", "spf", "ip", "net", "wide-net")
PREFIX = "rep:"
MOST_CHARS = 200
"""Of a value."""
LENGTHS = {4: (32, 26, 21), 6: (64, 48, 32)}
"""Bits of ip, net and wide-net by the version of IP."""


def sender(fields: Sequence[tuple[str, bytes]]) -> str:
    """The first address of From, lower-case; "" without one. fields: (lower-case name, value) of the header."""
    for name, value in fields:
        if name == "from":
            for box in mailboxes(parse_addresses(decode_octets(value[:1000]), 5)):
                if box.domain:
                    return f"{box.local}@{box.domain}".lower()
            return ""
    return ""


@lru_cache(maxsize=4096)
def nets(ip: str) -> tuple[str, str, str]:
    """What ip, net and wide-net are of an address; all "" for none. An IPv4 address within IPv6 is one of IPv4."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return "", "", ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    one, near, wide = (ipaddress.ip_network((address, bits), strict=False) for bits in LENGTHS[address.version])
    return str(one).removesuffix("/32") if address.version == 4 else str(one), str(near), str(wide)


def signer(domains: Sequence[str], author: str) -> str:
    """Of the domains whose signatures passed the one that is counted. author: the domain in From."""
    if len(domains) > 1 and author:
        own = canonical_name(author)
        if own and own in domains:
            return own
        owner = organisational_domain(author)
        domains = [domain for domain in domains if organisational_domain(domain) == owner] or domains
    return domains[0] if domains else ""


def identities(
    fields: Sequence[tuple[str, bytes]], ip: str, auth: Sequence[tuple[str, str]] = ()
) -> dict[str, str]:
    """step -> value, in the order of STEPS. auth: of the envelope."""
    address = sender(fields)
    domain = address.rpartition("@")[2]
    signed = signer([name for kind, name in auth if kind == DKIM], domain)
    sent = next((name for kind, name in auth if kind == SPF), "")
    every = zip(STEPS, (address, domain, organisational_domain(domain), signed, sent, *nets(ip)))
    return {step: value[:MOST_CHARS] for step, value in every if value}


def counted(found: Mapping[str, str]) -> tuple[str, ...]:
    """The words for these."""
    return tuple([f"{PREFIX}{step}:{value}".replace("\0", "") for step, value in found.items()])
