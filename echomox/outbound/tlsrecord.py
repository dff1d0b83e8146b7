"""What each TLS session with another server was like, written down for the reports of RFC 8460.

A session, had or missed, counts once: connections do, not messages. The policy that was applied says where it counts
(RFC 8460 4.4): DANE under the TLSA base domain, else under the recipient's domain, also when there is no policy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from echomox.outbound.security import Security
from echomox.tlspolicy.dane import describe
from echomox.tlspolicy.mtasts import Policy
from echomox.tlspolicy.tlsrpt import NO_POLICY, STS, TEXT_LIMIT, TLSA, Result

Record = Callable[[Result], None]


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a session was with. domain: of the recipients. sts: the policy in force, None without one."""

    domain: str
    sts: Policy | None
    mx: str
    ip: str = ""


class TlsRecord:
    """record: `Policies.record`, or anything that takes a Result."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def met(
        self, peer: Peer, security: Security, ends: tuple[str, str] = ("", ""), trouble: tuple[str, str] = ("", "")
    ) -> None:
        """ends: (our address, the name in the host's greeting). trouble: (failure of RFC 8460 4.3, its reason);
        ("", "") for a session that was had.
        """
        local_ip, helo = ends
        failure, detail = trouble
        kind, domain, strings, patterns = _policy(peer, security)
        if not failure:  # RFC 8460 4.4: of successes only their number is reported
            self.record(Result(domain, peer.domain, kind, strings, patterns))
            return
        detail = "".join(c if c.isprintable() else "?" for c in detail)[:TEXT_LIMIT]
        self.record(
            Result(
                domain, peer.domain, kind, strings, patterns, failure, peer.mx, peer.ip, local_ip, helo[:255], detail
            )
        )  # fmt: skip

    def no_policy(self, domain: str, failure: str, detail: str) -> None:
        """The domain's MTA-STS policy could not be got."""
        self.record(Result(domain, domain, STS, failure=failure, detail=detail[:TEXT_LIMIT]))

    def unproved(self, peer: Peer, failure: str, detail: str) -> None:
        """DNSSEC trouble kept a host from being used (RFC 8460 4.3.2.1)."""
        self.record(Result(peer.mx, peer.domain, TLSA, failure=failure, mx=peer.mx, detail=detail[:TEXT_LIMIT]))


def _policy(peer: Peer, security: Security) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    """(policy type, policy domain, its strings, its mx) as a report names them."""
    if security.level in ("dane", "encrypt") and security.policy == "dane":
        return TLSA, security.name, tuple(map(describe, security.records)), ()
    if peer.sts is not None:
        return STS, peer.domain, peer.sts.strings(), peer.sts.mx
    return NO_POLICY, peer.domain, (), ()
