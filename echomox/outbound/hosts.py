"""To which hosts mail for a domain goes, and at which addresses they are.

RFC 5321 5.1 (MX, order, the domain itself only when there is no MX), RFC 7505 (null MX), RFC 7672 2.2 (what DNSSEC
says of each step), RFC 5321 4.1.3 (address literals). No sockets: it asks a Resolver. Randomness is an argument.

Our own host in the list ends it there (RFC 5321 5.1: hosts of our preference or worse would only send it back to us).
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Sequence
from dataclasses import dataclass

from echomox.dns.types import Answer, DnsBogus, DnsTemporary, Resolver, Tlsa
from echomox.errors import Reply

MX_LIMIT = 30  # hosts of a domain that are looked at
ADDRESS_LIMIT = 16  # addresses of a host

NULL_MX = Reply(556, "5.1.10", "The domain does not accept mail")  # RFC 7505 5
NO_DOMAIN = Reply(550, "5.1.2", "There is no such domain")
NO_HOST = Reply(550, "5.1.2", "The domain has neither an MX record nor an address")
LOOP = Reply(550, "5.4.6", "The domain's mail is sent back to this server: routing loop")
BAD_LITERAL = Reply(550, "5.1.3", "Not an address literal that mail can go to")


class Undeliverable(Exception):
    """The domain cannot get mail: reply is final when its code is 5xx, else waiting may help.
    result: a result type of RFC 8460, "" when TLS has nothing to do with it."""

    def __init__(self, reply: Reply, result: str = "") -> None:
        self.reply = reply
        self.result = result
        super().__init__(str(reply))


@dataclass(frozen=True, slots=True)
class Host:
    """One MX host. literal: its address, for an address literal. implicit: the domain itself, having no MX."""

    name: str
    preference: int = 0
    literal: str = ""
    implicit: bool = False


@dataclass(frozen=True, slots=True)
class Hosts:
    """In the order they are to be tried. secure: DNSSEC vouches for the list."""

    domain: str
    hosts: tuple[Host, ...]
    secure: bool


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of one host, in the order they are to be tried. secure: DNSSEC vouches for all of them. canonical: the name at
    the end of CNAMEs, the TLSA base domain of choice if it is secure (RFC 7672 2.2.2)."""

    values: tuple[str, ...]
    secure: bool
    canonical: str


async def find_hosts(resolver: Resolver, domain: str, own: str, rng: random.Random) -> Hosts:
    """domain: A-labels, lower case, or an address literal. own: our host's name. Raises Undeliverable."""
    if domain.startswith("["):
        return Hosts(domain, (literal_host(domain),), False)
    try:
        answer = await resolver.lookup(domain, "MX")
    except DnsTemporary as error:
        raise Undeliverable(_dns_trouble(f"MX of {domain}", error), _result(error)) from None
    if not answer.exists:
        raise Undeliverable(NO_DOMAIN)
    if not answer.values:
        # RFC 5321 5.1: the domain itself, as with preference 0; with DNSSEC, RFC 7672 2.2.2.
        return Hosts(domain, (Host(domain, implicit=True),), answer.secure)
    named = [mx for mx in answer.values if mx.host]
    if not named:
        raise Undeliverable(NULL_MX)
    ordered = order(list(named), rng)[:MX_LIMIT]
    limit = min((preference for preference, name in ordered if name == own), default=65_536)
    hosts = tuple(Host(name, preference) for preference, name in ordered if preference < limit)
    if not hosts:
        raise Undeliverable(LOOP)
    return Hosts(domain, hosts, answer.secure)


def order(records: list[tuple[int, str]], rng: random.Random) -> list[tuple[int, str]]:
    """By preference, those of equal preference at random (RFC 5321 5.1); a name that is there twice once."""
    rng.shuffle(records)
    best: dict[str, int] = {}
    for preference, name in sorted(records, key=lambda record: record[0]):
        best.setdefault(name, preference)
    return [(preference, name) for name, preference in best.items()]


def literal_host(domain: str) -> Host:
    """"[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 4.1.3). Raises Undeliverable."""
    text = domain[1:-1]
    try:
        if text[:5].lower() == "ipv6:":
            address = str(ipaddress.IPv6Address(text[5:]))
        else:
            address = str(ipaddress.IPv4Address(text))
    except ValueError:
        raise Undeliverable(BAD_LITERAL) from None
    return Host(domain, literal=address)


async def find_addresses(
    resolver: Resolver, host: Host, family: str, last_ip: str, rng: random.Random
) -> Addresses:
    """family: "any", "ipv4" or "ipv6". last_ip: where the last try went: then the other family comes first, else IPv6.

    Families alternate in the list, so that one that does not work costs one try. Raises Undeliverable.
    """
    if host.literal:
        return Addresses((host.literal,), False, "")
    kinds = {"any": ("AAAA", "A"), "ipv4": ("A",), "ipv6": ("AAAA",)}[family]
    found = await asyncio.gather(*(resolver.lookup(host.name, kind) for kind in kinds), return_exceptions=True)
    answers: dict[str, Answer] = {}
    trouble: DnsTemporary | None = None
    for kind, answer in zip(kinds, found, strict=True):
        if isinstance(answer, DnsTemporary):
            trouble = answer
        elif isinstance(answer, BaseException):
            raise answer
        elif answer.values:
            answers[kind] = answer
    if not answers:
        if trouble is not None:
            raise Undeliverable(_dns_trouble(f"addresses of {host.name}", trouble), _result(trouble))
        if host.implicit:
            raise Undeliverable(NO_HOST)
        raise Undeliverable(Reply(550, "5.4.4", f"MX host {host.name} has no address"))
    first = "A" if ":" in last_ip else "AAAA"
    groups = [list(answers[kind].values) for kind in sorted(answers, key=lambda kind: kind != first)]
    for group in groups:
        rng.shuffle(group)
        if len(group) > 1 and last_ip in group:  # another address of the same family first
            group.remove(last_ip)
            group.append(last_ip)
    secure = trouble is None and all(answer.secure for answer in answers.values())
    canonical = next(iter(answers.values())).canonical
    return Addresses(tuple(alternate(groups)[:ADDRESS_LIMIT]), secure, canonical)


def alternate(groups: Sequence[Sequence[str]]) -> list[str]:
    """One of each group in turn, until all are used."""
    longest = max(map(len, groups), default=0)
    return [group[place] for place in range(longest) for group in groups if place < len(group)]


@dataclass(frozen=True, slots=True)
class TlsaFound:
    """records: believed ones, () when the host has none. base: the name they stand at (TLSA base domain)."""

    base: str
    records: tuple[Tlsa, ...]


async def find_tlsa(resolver: Resolver, host: str, addresses: Addresses, port: int) -> TlsaFound:
    """TLSA records of a host whose addresses are secure (RFC 7672 2.2.2: at the end of its CNAMEs, else at its name).

    Raises Undeliverable when it cannot be known whether there are any: then the host must not be used now (2.1.2).
    """
    names = [addresses.canonical, host] if addresses.canonical and addresses.canonical != host else [host]
    for name in names:
        try:
            answer = await resolver.lookup(f"_{port}._tcp.{name}", "TLSA")
        except DnsTemporary as error:
            raise Undeliverable(_dns_trouble(f"TLSA of {name}", error), _result(error)) from None
        if answer.secure and answer.values:
            return TlsaFound(name, tuple(answer.values))
    return TlsaFound(host, ())


def _dns_trouble(what: str, error: DnsTemporary) -> Reply:
    if isinstance(error, DnsBogus):
        return Reply(451, "4.7.5", f"DNSSEC: {what} not validated: {error.reason}")
    return Reply(451, "4.4.3", f"DNS: {what} not found out: {error.reason}")


def _result(error: DnsTemporary) -> str:
    return "dnssec-invalid" if isinstance(error, DnsBogus) else ""
