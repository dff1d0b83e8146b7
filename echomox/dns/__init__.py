"""Name resolution: everything that asks DNS asks through a `Resolver` made by `open_resolver`.

`types` has the seam (Answer, Resolver, DnsTemporary), `stub` the resolver that asks, `fake` the one of tests. RESOLVERS
lists what `dns.resolver` of the configuration may say; a new way to resolve is one file and one row.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import NamedTuple

from echomox.dns.nothing import NoResolver
from echomox.dns.stub import StubResolver
from echomox.dns.system import SystemServers
from echomox.dns.types import (
    Answer,
    Caa,
    DnsBogus,
    DnsError,
    DnsSettings,
    DnsTemporary,
    Mx,
    Resolver,
    Soa,
    Srv,
    Tlsa,
    canonical_name,
    reverse_name,
)

__all__ = [
    "RESOLVERS",
    "Answer",
    "Caa",
    "DnsBogus",
    "DnsError",
    "DnsSettings",
    "DnsTemporary",
    "Mx",
    "Resolver",
    "Soa",
    "Srv",
    "Tlsa",
    "canonical_name",
    "open_resolver",
    "reverse_name",
]


class Row(NamedTuple):
    """name: as in the documentation. matches: whether a value of dns.resolver means this row."""

    name: str
    matches: Callable[[str], bool]
    make: Callable[[DnsSettings], Resolver]


def _system(settings: DnsSettings) -> Resolver:
    return _stub(settings, SystemServers())


def _given(settings: DnsSettings) -> Resolver:
    address = host_port(settings.resolver)
    return _stub(settings, lambda: (address,))


def _stub(settings: DnsSettings, servers: Callable[[], tuple[tuple[str, int], ...]]) -> Resolver:
    return StubResolver(
        servers, trusted=settings.trusted, timeout=settings.timeout, entries=settings.cache_entries
    )


def _none(settings: DnsSettings) -> Resolver:
    return NoResolver()


RESOLVERS = (
    Row("system", lambda text: text == "system", _system),
    Row("none", lambda text: text == "none", _none),
    Row("HOST:PORT", lambda text: ":" in text, _given),
)


def open_resolver(settings: DnsSettings) -> Resolver:
    """A resolver by `static.dns`; opens its sockets at the first question, in the event loop that asks. Raises
    ValueError for a resolver that there is not.
    """
    for row in RESOLVERS:
        if row.matches(settings.resolver):
            return row.make(settings)
    raise ValueError(f"no resolver {settings.resolver!r}; {', '.join(row.name for row in RESOLVERS)}")


def host_port(text: str) -> tuple[str, int]:
    """("127.0.0.1", 53) of "127.0.0.1:53", ("::1", 53) of "[::1]:53". Raises ValueError."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    ipaddress.ip_address(host.partition("%")[0])
    if not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65535:
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    return host, int(port)
