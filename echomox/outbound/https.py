"""GET over HTTPS for what an administrator asks of others (RDAP): verified certificates, redirects within limits,
bounded header, body and time. Addresses by our own resolver. RFC 9110 15.4 (redirects), RFC 7480 5.2.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

from echomox.dns.types import DnsTemporary, Resolver, canonical_name
from echomox.tlspolicy.fetch import certificate_trouble
from echomox.tlspolicy.http import HEADER_LIMIT, BadAnswer, Fields, read_body, read_head

ADDRESSES = 3  # of a host that are tried
REDIRECTS = 5
URL = 2000  # characters
_MOVED = frozenset({301, 302, 303, 307, 308})
_UNSAFE = re.compile(r"[^!-~]")


class GetError(Exception):
    """No answer came. str() says why."""


@dataclass(frozen=True, slots=True)
class Got:
    """An answer of any status. url: where it came from in the end."""

    url: str
    status: int
    body: bytes
    fields: Fields = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Getter:
    """context: verifies certificates and names. timeout: seconds, for all of a `get`, redirects included."""

    context: ssl.SSLContext
    resolver: Resolver
    timeout: float = 30.0

    async def get(self, url: str, accept: str, limit: int) -> Got:
        """accept: media types. limit: bytes of the body. Raises GetError."""
        try:
            async with asyncio.timeout(self.timeout):
                for _ in range(REDIRECTS + 1):
                    got = await self._one(url, accept, limit)
                    where = got.fields.get(b"location", b"")
                    if got.status not in _MOVED or not where:
                        return got
                    url = _next(url, where)
        except TimeoutError:
            raise GetError(f"{host_of(url)}: no answer within {self.timeout:g} s") from None
        raise GetError(f"{host_of(url)}: more than {REDIRECTS} redirects")

    async def _one(self, url: str, accept: str, limit: int) -> Got:
        parts, host, port = split(url)
        trouble = f"{host} has no address"
        for address in await addresses_of(self.resolver, host):
            try:
                status, fields, body = await self._from(address, (parts, host, port), accept, limit)
                return Got(url, status, body, fields)
            except BadAnswer as error:
                raise GetError(f"{host}: {error}") from None
            except ssl.SSLError as error:
                trouble = f"{host}: {certificate_trouble(error)}"
            except OSError as error:
                trouble = f"{host}: {error.strerror or error}"
        raise GetError(trouble)

    async def _from(
        self, address: str, to: tuple[SplitResult, str, int], accept: str, limit: int
    ) -> tuple[int, Fields, bytes]:
        parts, host, port = to
        reader, writer = await asyncio.open_connection(
            address, port, ssl=self.context, server_hostname=host, limit=HEADER_LIMIT
        )
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            name = host if port == 443 else f"{host}:{port}"
            head = (
                f"GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: echomox\r\nAccept: {accept}\r\n"
                "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode("ascii"))
            status, fields = await read_head(reader)
            if status in _MOVED:  # what stands beside the address is for people
                return status, fields, b""
            if fields.get(b"content-encoding", b"identity").lower() != b"identity":
                raise BadAnswer("a compressed answer, which was not asked for")
            return status, fields, await read_body(reader, fields, limit)
        finally:
            writer.transport.abort()


def _next(url: str, where: bytes) -> str:
    """RFC 9110 10.2.2: it may be relative. Raises GetError."""
    try:
        return urljoin(url, where.decode("latin-1"))
    except ValueError as error:
        raise GetError(f"{host_of(url)}: sends on to what is not a usable address: {error}") from None


def host_of(url: str) -> str:
    """For messages."""
    try:
        return urlsplit(url).hostname or url[:100]
    except ValueError:
        return url[:100]


async def addresses_of(resolver: Resolver, host: str) -> list[str]:
    """ADDRESSES at most. Raises GetError when DNS has trouble."""
    found: list[str] = []
    for kind in ("A", "AAAA"):
        try:
            found += (await resolver.lookup(host, kind)).values
        except DnsTemporary as error:
            if kind == "AAAA" and not found:
                raise GetError(f"{host}: {error.reason}") from None
    return found[:ADDRESSES]


def split(url: str) -> tuple[SplitResult, str, int]:
    """(parts, host as A-labels, port). Only https, only named hosts. Raises GetError."""
    try:
        parts = urlsplit(url)
        port = parts.port or 443
        host = canonical_name(parts.hostname or "") or ""
    except ValueError as error:
        raise GetError(f"not a usable address: {error}") from None
    unsafe = len(url) > URL or _UNSAFE.search(parts.path + parts.query)
    if parts.scheme != "https" or not host or parts.username is not None or unsafe:
        raise GetError(f"not a usable https address: {url[:100]}")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return parts, host, port
    raise GetError(f"names an address in place of a host: {url[:100]}")
