"""TLS reports by HTTPS (RFC 8460 5.4): one POST to an address that a stranger's record names.

The certificate must be valid for the host; redirects are not followed; a 2xx status is all that is looked at of the
answer. Time and what is read are bounded; no proxy, no cookie, one request a connection.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult

from echomox.dns.types import Resolver
from echomox.outbound.https import GetError, addresses_of, split
from echomox.tlspolicy.fetch import certificate_trouble

HEADER = 16_384  # bytes of the answer that are read
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r\n")


class PostError(Exception):
    """The report was not taken. str() says why."""


@dataclass(frozen=True, slots=True)
class Poster:
    """context: verifies certificates and names. timeout: seconds, for all of it."""

    context: ssl.SSLContext
    resolver: Resolver
    timeout: float = 60.0

    async def post(self, uri: str, kind: str, data: bytes) -> int:
        """The status, 2xx. kind: the content's type. Raises PostError."""
        try:
            parts, host, port = split(uri)
            trouble = f"{host} has no address"
            async with asyncio.timeout(self.timeout):
                for address in await addresses_of(self.resolver, host):
                    try:
                        return await self._post(address, (parts, host, port), kind, data)
                    except ssl.SSLError as error:
                        trouble = f"{host}: {certificate_trouble(error)}"
                    except OSError as error:
                        trouble = f"{host}: {error.strerror or error}"
        except GetError as error:
            trouble = str(error)
        except TimeoutError:
            trouble = f"{host}: no answer within {self.timeout:g} s"
        raise PostError(trouble)

    async def _post(self, address: str, to: tuple[SplitResult, str, int], kind: str, data: bytes) -> int:
        parts, host, port = to
        reader, writer = await asyncio.open_connection(
            address, port, ssl=self.context, server_hostname=host, limit=HEADER
        )
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            name = host if port == 443 else f"{host}:{port}"
            head = (
                f"POST {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: echomox\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {len(data)}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode("ascii") + data)
            await writer.drain()
            answer = await reader.readuntil(b"\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise PostError(f"{host}: the answer is not HTTP") from None
        finally:
            writer.transport.abort()
        match = _STATUS.fullmatch(answer)
        if match is None:
            raise PostError(f"{host}: the answer is not HTTP")
        if not match[1].startswith(b"2"):
            raise PostError(f"{host}: status {match[1].decode()}")
        return int(match[1])
