"""Lists of bad and good senders in DNS (F17): DNSBL and DNSWL by address, RFC 5782.

A list is asked only while it is well: 127.0.0.2 must be on it and 127.0.0.1 must not (RFC 5782 5), or for an IPv6
client ::FFFF:7F00:2 and ::FFFF:7F00:1, of lists that know IPv6. A list that has gone away, that answers yes to all, or
that has told us to stop (127.255.255.x) is thus left out; how it stands is looked at again after HEALTHY or ILL
seconds. Trouble with DNS is never an answer. All lists are asked at once, within `timeout`.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from echomox.clock import SYSTEM, Clock
from echomox.dns.types import REVERSE4, REVERSE6, DnsError, Resolver, plain_address, reverse_name

HEALTHY = 3600.0
ILL = 300.0
TIMEOUT = 5.0
TEXT = 200
ANSWERS = ipaddress.ip_network("127.0.0.0/8")
ERRORS = ipaddress.ip_network("127.255.255.0/24")
"""What some lists say to who asks too much, or by way of a public resolver."""
_V4 = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")
LOCAL_NETS = tuple(map(ipaddress.ip_network, (*_V4, "::1", "fc00::/7", "fe80::/10")))
TESTS = {4: ("127.0.0.2", "127.0.0.1"), 6: ("::FFFF:7F00:2", "::FFFF:7F00:1")}


@dataclass(frozen=True, slots=True)
class Listing:
    """zone: that has the address. codes: its answers, as 127.0.0.2. text: why, "" if it does not say."""

    zone: str
    codes: tuple[str, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Of one list. why: what is wrong, "" when it is well."""

    zone: str
    version: int
    why: str

    @property
    def well(self) -> bool:
        return not self.why


def query_name(ip: str, zone: str) -> str:
    """RFC 5782 2.1 and 2.4: the name that is asked. Raises ValueError for what is no address."""
    name = reverse_name(ip)
    suffix = REVERSE4 if name.endswith(REVERSE4) else REVERSE6
    return name.removesuffix(suffix) + zone


class DnsLists:
    """One per process."""

    def __init__(self, resolver: Resolver, clock: Clock = SYSTEM, timeout: float = TIMEOUT) -> None:
        self._resolver = resolver
        self._clock = clock
        self._timeout = timeout
        self._health: dict[tuple[str, int], tuple[float, Health]] = {}

    async def listed(self, ip: str, zones: Sequence[str]) -> list[Listing]:
        """On which of the lists that are well an address stands; in their order."""
        try:
            version = plain_address(ip).version
        except ValueError:
            return []
        if not zones or is_private(ip):
            return []
        asked = [asyncio.ensure_future(self._if_well(ip, version, zone)) for zone in zones]
        await asyncio.wait(asked, timeout=self._timeout)
        found = []
        for one in asked:
            if not one.done():
                one.cancel()
            elif not one.cancelled() and one.exception() is None and (listing := one.result()):
                found.append(listing)
        return found

    async def _if_well(self, ip: str, version: int, zone: str) -> Listing | None:
        health = await self.health(zone, version)
        return await self.ask(ip, zone) if health.well else None

    async def ask(self, ip: str, zone: str) -> Listing | None:
        """What one list says, well or not; None when the address is not on it, or DNS does not answer."""
        try:
            name = query_name(ip, zone)
            codes = await self._codes(name)
            return Listing(zone, codes, await self._text(name)) if codes else None
        except (DnsError, ValueError):
            return None

    async def _codes(self, name: str) -> tuple[str, ...]:
        answer = await self._resolver.lookup(name, "A")
        codes = [str(value) for value in answer.values if ipaddress.ip_address(value) in ANSWERS]
        if any(ipaddress.ip_address(code) in ERRORS for code in codes):
            return ()
        return tuple(codes)

    async def _text(self, name: str) -> str:
        try:
            answer = await self._resolver.lookup(name, "TXT")
        except DnsError:
            return ""
        first = bytes(answer.values[0]) if answer.values else b""
        return "".join(c if c.isprintable() else "?" for c in first.decode("ascii", "replace"))[:TEXT]

    async def health(self, zone: str, version: int = 4) -> Health:
        """How the list stands, by its test entries; remembered for a while."""
        now = self._clock.monotonic()
        known = self._health.get((zone, version))
        if known is not None and known[0] > now:
            return known[1]
        health = Health(zone, version, await self._why_ill(zone, version))
        self._health[zone, version] = now + (HEALTHY if health.well else ILL), health
        return health

    async def _why_ill(self, zone: str, version: int) -> str:
        bad, good = (_mapped_name(ip, zone) if version == 6 else query_name(ip, zone) for ip in TESTS[version])
        try:
            if not await self._codes(bad):
                return f"the test entry {TESTS[version][0]} is not on it"
            if await self._codes(good):
                return f"{TESTS[version][1]} is on it, so all may be"
        except DnsError as error:
            return f"no answer: {error.reason}"
        except ValueError:
            return "its answers are no addresses"
        return ""


def _mapped_name(ip: str, zone: str) -> str:
    """RFC 5782 5: these stay IPv6, though they are mapped IPv4."""
    nibbles = ipaddress.IPv6Address(ip).exploded.replace(":", "")
    return ".".join(reversed(nibbles)) + "." + zone


def is_private(ip: str) -> bool:
    """Addresses that no list can have: loopback, private nets (RFC 1918, RFC 4193), link-local."""
    address = plain_address(ip)
    return any(address.version == net.version and address in net for net in LOCAL_NETS)
