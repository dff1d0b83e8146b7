"""What is done with a mail for what its checks found: DMARC (RFC 7489 6.6.2 and 6.7), as far as the configuration says
so, and who is trusted to break it. Pure.

SPF or DKIM that fails alone is evidence for the filter and never a reason to refuse. Neither is anything that could
not be looked up.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from echomox.config.schema import MailAuth
from echomox.dns.types import plain_address
from echomox.mailauth.check import AuthResults


@dataclass(frozen=True, slots=True)
class Disposition:
    """what: "none", "quarantine" or "reject". override, comment: why it is less than the domain's owner wants, in the
    words of RFC 7489 appendix C ("sampled_out", "trusted_forwarder", "local_policy"), "" when it is not. believed: a
    failure of SPF, DKIM and DMARC says nothing of this mail, since a hand that is trusted has passed it on."""

    what: str = "none"
    override: str = ""
    comment: str = ""
    believed: bool = False


def dispose(settings: MailAuth, results: AuthResults, ip: str) -> Disposition:
    """ip: of the client."""
    dmarc = results.dmarc
    if dmarc.result != "fail":
        return Disposition()
    said, by = results.arc.dmarc_by(settings.trusted_sealers)
    if said == "pass" and by is not None:  # RFC 8617 7.2.1, for the comment
        comment = f"arc=pass as[{by.instance}].d={by.domain} as[{by.instance}].s={by.selector}"
        return Disposition("none", "local_policy", comment, True)
    forwarder = trusted_forwarder(settings.trusted_forwarders, results, ip)
    if forwarder:
        return Disposition("none", "trusted_forwarder", forwarder, True)
    override = "" if dmarc.sampled else "sampled_out"
    if dmarc.policy == "none" or dmarc.policy in settings.enforce:
        return Disposition(dmarc.policy, override)
    weaker = "quarantine" if dmarc.policy == "reject" and "quarantine" in settings.enforce else "none"
    return Disposition(weaker, "local_policy", f"{dmarc.policy} is not enforced here")


def trusted_forwarder(trusted: Collection[str], results: AuthResults, ip: str) -> str:
    """Which of `trusted`, networks and domains, the mail came by; "" for none."""
    if not trusted:
        return ""
    names = set(_proven(results))
    try:
        address = plain_address(ip)
    except ValueError:
        address = None
    for entry in trusted:
        if "/" in entry:
            if address is not None and address in ipaddress.ip_network(entry):
                return entry
        elif any(name == entry or name.endswith("." + entry) for name in names):
            return entry
    return ""


def _proven(results: AuthResults) -> Iterator[str]:
    """Domains that this mail comes from for sure."""
    if results.iprev.result == "pass":
        yield from results.iprev.names
    if results.spf.result == "pass":
        yield results.spf.domain
    for each in results.dkim:
        if each.result == "pass":
            yield each.domain
