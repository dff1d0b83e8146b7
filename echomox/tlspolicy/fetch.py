"""Gets an MTA-STS policy: HTTPS GET of https://mta-sts.DOMAIN/.well-known/mta-sts.txt (RFC 8461 3.3).

The certificate must be valid for the host; redirects are not followed; only 200 with text/plain counts; header,
body and time are bounded. No proxy, no cookie, no compression, one request a connection: an HTTP client of its own
because nothing else here needs one, and these bounds are the point.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from echomox.tlspolicy.mtasts import BODY_LIMIT, BadPolicy, Policy, parse_policy

HEADER_LIMIT = 16_384  # bytes of status line and header
PATH = "/.well-known/mta-sts.txt"
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\Z")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n\Z")
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
        head = await reader.readuntil(b"\r\n\r\n")
        status, *lines = head[:-4].split(b"\r\n")
        match = _STATUS.match(status)
        if match is None:
            raise _bad("the answer is not HTTP")
        if match[1] != b"200":
            raise _bad(f"status {match[1].decode()} instead of 200")  # RFC 8461 3.3: no redirects
        fields: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b":")
            fields.setdefault(name.strip().lower(), value.strip().lower())
        if fields.get(b"content-type", b"").partition(b";")[0].rstrip() != b"text/plain":
            raise _bad("the content type is not text/plain")  # RFC 8461 3.2
        return await _body(reader, fields)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise _bad("the answer is cut short or has a header too long") from None


async def _body(reader: asyncio.StreamReader, fields: dict[bytes, bytes]) -> bytes:
    if fields.get(b"transfer-encoding", b"identity") != b"identity":
        if fields[b"transfer-encoding"] != b"chunked":
            raise _bad("an unknown transfer coding")
        return await _chunks(reader)
    length = fields.get(b"content-length")
    if length is None:
        return await _until_end(reader)
    if not re.fullmatch(rb"[0-9]{1,9}", length):
        raise _bad("the content length is no number")
    if int(length) > BODY_LIMIT:
        raise _bad(f"longer than {BODY_LIMIT} bytes")
    return await reader.readexactly(int(length))


async def _until_end(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while piece := await reader.read(BODY_LIMIT):
        body += piece
        if len(body) > BODY_LIMIT:
            raise _bad(f"longer than {BODY_LIMIT} bytes")
    return bytes(body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """RFC 9112 7.1; the trailer is not read, for the connection ends here."""
    body = bytearray()
    for _ in range(BODY_LIMIT):
        match = _CHUNK.match(await reader.readuntil(b"\n"))
        if match is None:
            raise _bad("a broken chunk")
        size = int(match[1], 16)
        if size == 0:
            return bytes(body)
        if len(body) + size > BODY_LIMIT:
            raise _bad(f"longer than {BODY_LIMIT} bytes")
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise _bad("a broken chunk")
    raise _bad("too many chunks")


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
