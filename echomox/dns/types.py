"""Questions to DNS and what comes back: the seam that every user of DNS codes against. Pure, no sockets.

A `Resolver` answers one question (name, type) with an `Answer`, which is a value also when there is nothing:
"no such name" and "no such records" are answers. Only trouble is raised: `DnsTemporary` for all that may pass
(no answer in time, SERVFAIL, REFUSED), of which `DnsBogus` says that a validating resolver found a wrong or
missing signature. Nothing else is ever raised for what the network does.

Names are compared and given as lower-case A-labels without a final dot. `secure` is the AD bit (RFC 4035 3.2.3)
and is only believed of resolvers that we may trust; see `echomox.dns.stub`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from echomox.errors import MailError, Reply, Temporary

NAME_OCTETS = 253  # of a name as text, RFC 1035 2.3.4: 255 on the wire
LABEL_OCTETS = 63
REVERSE4 = "in-addr.arpa"
REVERSE6 = "ip6.arpa"


class DnsError(MailError):
    """Trouble with a question. reason: one line of printable text for logs, headers and delivery reports."""

    default = Reply(451, "4.4.3", "DNS is not available, try again later")

    def __init__(self, reason: str = "", name: str = "", type: str = "") -> None:
        self.reason = "".join(c if c.isprintable() else "?" for c in reason)[:300] or "DNS error"
        self.name = name
        self.type = type
        about = f"{type} of {name}: " if name else ""
        super().__init__(cause=f"{about}{self.reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.reason, self.name, self.type))


class DnsTemporary(DnsError, Temporary):
    """No answer, for now: timeout, SERVFAIL, REFUSED, no network."""


class DnsBogus(DnsTemporary):
    """The validating resolver says that the zone's signatures are wrong or missing (RFC 8914 EDE 6 to 12)."""


class Mx(NamedTuple):
    preference: int
    host: str
    """"" is the null MX (RFC 7505)."""


class Tlsa(NamedTuple):
    """RFC 6698 2.1. data: the certificate or its hash, bytes."""

    usage: int
    selector: int
    matching: int
    data: bytes


class Srv(NamedTuple):
    """RFC 2782. target: "" means that there is no such service."""

    priority: int
    weight: int
    port: int
    target: str


class Soa(NamedTuple):
    mname: str
    rname: str
    serial: int
    minimum: int


class Caa(NamedTuple):
    flags: int
    tag: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one question.

    name, type: as asked, the name in lower-case A-labels without a final dot.
    values: () for none. By type: A, AAAA, PTR, NS, CNAME: str; TXT: bytes, the strings of one record joined; MX: Mx;
        TLSA: Tlsa; SRV: Srv; SOA: Soa; CAA: Caa; other types: str, the record in zone-file form.
    exists: False for NXDOMAIN. With no values it is NODATA: the name has records of other types.
    secure: validated by DNSSEC, said by a resolver that is trusted; holds for the absence too.
    ttl: seconds that the answer may still be kept.
    canonical: the name at the end of all CNAMEs.
    """

    name: str
    type: str
    values: tuple[Any, ...] = ()
    exists: bool = True
    secure: bool = False
    ttl: int = 0
    canonical: str = ""

    def __bool__(self) -> bool:
        return bool(self.values)


class Resolver(Protocol):
    async def lookup(self, name: str, type: str) -> Answer:
        """The answer to a question; U-labels are converted. A name that cannot be in DNS (empty, an empty label, a
        label over 63 or a name over 253 octets) has the answer exists=False, unasked. Raises DnsTemporary; never
        anything else for what servers and networks do. No search list is applied. Raises ValueError for a type
        that there is not.
        """
        ...

    async def close(self) -> None:
        """Ends open questions (DnsTemporary to who waits) and closes the sockets. May be called twice."""
        ...


class DnsSettings(Protocol):
    """What `open_resolver` reads: `static.dns` of the configuration has it."""

    @property
    def resolver(self) -> str: ...

    @property
    def trusted(self) -> bool: ...

    @property
    def timeout(self) -> float: ...

    @property
    def cache_entries(self) -> int: ...


def canonical_name(name: str) -> str | None:
    """A name as it is asked and compared: A-labels (IDNA 2008 with UTS 46), lower-case, no final dot; None if it cannot
    be in DNS. "." is the root and gives "".
    """
    if name == ".":
        return ""
    if not name.isascii():
        name = _a_labels(name)
    if name.endswith("."):
        name = name[:-1]
    if not name or len(name) > NAME_OCTETS:
        return None
    if name.startswith(".") or ".." in name or name.endswith("."):
        return None
    if len(name) > LABEL_OCTETS and any(len(label) > LABEL_OCTETS for label in name.split(".")):
        return None
    return name.lower()


def _a_labels(name: str) -> str:
    """ "" for what has no A-label form."""
    import idna  # late: its tables are large, and most names need none of them

    if len(name) > 4 * NAME_OCTETS:
        return ""
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return ""


@lru_cache(4096)
def reverse_name(ip: str) -> str:
    """The name under in-addr.arpa or ip6.arpa that has the PTR records of an address (RFC 1035 3.5, RFC 3596 2.5). An
    IPv4 address within IPv6 (::ffff:192.0.2.1) counts as IPv4. Raises ValueError.
    """
    address = plain_address(ip)
    if address.version == 4:
        return ".".join(reversed(str(address).split("."))) + "." + REVERSE4
    return ".".join(reversed(address.exploded.replace(":", ""))) + "." + REVERSE6


@lru_cache(4096)
def plain_address(ip: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address without a zone, and IPv4 if it is mapped into IPv6. Raises ValueError."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
