"""Gets an MTA-STS policy: HTTPS GET of https://mta-sts.DOMAIN/.well-known/mta-sts.txt (RFC 8461 3.3).

The certificate must be valid for the host; redirects are not followed; only 200 with text/plain counts; header,
body and time are bounded (http.py).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from echomox.tlspolicy.http import HEADER_LIMIT, BadAnswer, read_body, read_head
from echomox.tlspolicy.mtasts import BODY_LIMIT, BadPolicy, Policy, parse_policy

PATH = "/.well-known/mta-sts.txt"
_CERTIFICATE = {10: "certificate-expired", 62: "certificate-host-mismatch"}  # X509_V_ERR_*, openssl x509_vfy.h
_UNTRUSTED = frozenset({2, 18, 19, 20, 21, 27})


class FetchError(Exception):
    """No policy came. result: the result type of RFC 8460 4.3.2.2; str() is the reason in words."""

    def __init__(self, result: str, reason: str) -> None:
        self.result = result
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """context: verifies certificates and names. timeout: seconds, for all of it."""

    context: ssl.SSLContext
    port: int = 443
    timeout: float = 60.0  # RFC 8461 3.3

    async def fetch(self, domain: str, addresses: Sequence[str]) -> Policy:
        """addresses: of mta-sts.DOMAIN, at most three are tried. Raises FetchError."""
        host = "mta-sts." + domain
        trouble = FetchError("sts-webpki-invalid", f"{host} has no address")
        try:
            async with asyncio.timeout(self.timeout):
                for address in addresses[:3]:
                    try:
                        return parse_policy(await self._get(host, address))
                    except BadPolicy as error:
                        raise FetchError("sts-policy-invalid", str(error)) from None
                    except ssl.SSLError as error:
                        trouble = FetchError("sts-webpki-invalid", certificate_trouble(error))
                    except FetchError as error:
                        trouble = error
                    except OSError as error:
                        trouble = FetchError("sts-policy-fetch-error", f"{host}: {error.strerror or error}")
        except TimeoutError:
            raise FetchError("sts-policy-fetch-error", f"{host}: no policy within {self.timeout:g} s") from None
        raise trouble

    async def _get(self, host: str, address: str) -> bytes:
        reader, writer = await asyncio.open_connection(
            address, self.port, ssl=self.context, server_hostname=host, limit=HEADER_LIMIT
        )
        try:
            name = host if self.port == 443 else f"{host}:{self.port}"
            request = (
                f"GET {PATH} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: echomox\r\n"
                "Accept: text/plain\r\nConnection: close\r\n\r\n"
            )
            writer.write(request.encode("ascii"))
            return await read_response(reader)
        finally:
            writer.transport.abort()


async def read_response(reader: asyncio.StreamReader) -> bytes:
    """The body of a proper answer. Raises FetchError for any other."""
    try:
        status, fields = await read_head(reader)
        if status != 200:
            raise _bad(f"status {status} instead of 200")  # RFC 8461 3.3: no redirects
        if fields.get(b"content-type", b"").lower().partition(b";")[0].rstrip() != b"text/plain":
            raise _bad("the content type is not text/plain")  # RFC 8461 3.2
        return await read_body(reader, fields, BODY_LIMIT)
    except BadAnswer as error:
        raise _bad(str(error)) from None


def _bad(reason: str) -> FetchError:
    return FetchError("sts-policy-fetch-error", reason)


def certificate_result(error: ssl.SSLError) -> str:
    """The result type of RFC 8460 4.3.1 for a failed handshake."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "validation-failure"
    code = error.verify_code
    return "certificate-not-trusted" if code in _UNTRUSTED else _CERTIFICATE.get(code, "validation-failure")


def certificate_trouble(error: ssl.SSLError) -> str:
    """In words: OpenSSL's text without its places in the source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    return (error.reason or str(error)).replace("_", " ").lower()
