"""How safe a connection must be, and the TLS contexts that make it so.

    plain          no TLS: a transport says so, or the last resort of opportunistic
    opportunistic  TLS if it is offered, unauthenticated       RFC 7435
    encrypt        TLS, unauthenticated                        RFC 7672 2.2: TLSA records of which none is usable
    pkix           TLS, certificate of a known authority, for the host's name     RFC 8461 4.2, and transports
    dane           TLS, certificate that matches a TLSA record                    RFC 7672 3

Contexts are made once a process: reading the system's authorities takes 0.1 s.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from echomox.dns.types import Tlsa
from echomox.errors import ConfigError
from echomox.outbound.client import TlsPlan
from echomox.tlspolicy import dane

LEVELS = ("plain", "opportunistic", "encrypt", "pkix", "dane")


@dataclass(frozen=True, slots=True)
class Security:
    """level: of LEVELS. name: the host's, or the TLSA base domain: for SNI. names: reference identifiers of DANE-TA.
    records: usable TLSA records. implicit: TLS from the first byte. policy: what asked for it, as Outcome.policy."""

    level: str
    name: str = ""
    names: tuple[str, ...] = ()
    records: tuple[Tlsa, ...] = ()
    implicit: bool = False
    policy: str = ""

    @property
    def strict(self) -> bool:
        """Without it nothing is sent."""
        return self.level in ("encrypt", "pkix", "dane")

    @property
    def verified(self) -> bool:
        """The host is known to be the one that was meant (RFC 8689 4.2.1 asks for that)."""
        return self.level in ("pkix", "dane")


class Contexts:
    """ca_file: PEM file of authorities to trust in place of the system's."""

    def __init__(self, ca_file: Path | None = None, now: Callable[[], float] = time.time) -> None:
        self.ca_file = ca_file
        self.now = now
        self._unverified: ssl.SSLContext | None = None
        self._verified: ssl.SSLContext | None = None
        self._making = asyncio.Lock()

    async def plan(self, security: Security) -> TlsPlan:
        """Raises ConfigError when ca_file cannot be used."""
        if security.level == "plain":
            return TlsPlan("never")
        use = "implicit" if security.implicit else "must" if security.strict else "may"
        if security.level == "pkix":
            return TlsPlan(use, await self.verified(), security.name)
        check = self._check(security) if security.level == "dane" else None
        return TlsPlan(use, self.unverified(), security.name or None, check)

    def _check(self, security: Security) -> Callable[[list[bytes]], tuple[str, str] | None]:
        def check(chain: list[bytes]) -> tuple[str, str] | None:
            verdict = dane.verify(security.records, chain, security.names, self.now())
            return None if verdict else (verdict.failure, verdict.reason)

        return check

    async def verified(self) -> ssl.SSLContext:
        async with self._making:
            if self._verified is None:
                self._verified = await asyncio.to_thread(verified_context, self.ca_file)
        return self._verified

    def unverified(self) -> ssl.SSLContext:
        if self._unverified is None:
            self._unverified = unverified_context()
        return self._unverified


def verified_context(ca_file: Path | None) -> ssl.SSLContext:
    """Known authorities, the host's name checked. Raises ConfigError."""
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"outbound.ca_file: {ca_file}: {getattr(error, 'strerror', None) or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    return context


def unverified_context() -> ssl.SSLContext:
    """Any certificate, also with an old key: RFC 7435 3, better than none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DEFAULT:@SECLEVEL=1")
    return context
