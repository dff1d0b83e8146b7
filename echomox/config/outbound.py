"""What must hold for the options of outgoing mail, and the policy of MTA-STS that a domain of ours publishes.

RFC 8461 3.2 (mx patterns). Raises nothing: problems go to the Reader.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

from echomox.config.names import domain_key, host_name
from echomox.config.schema import Domain, MtaSts, Outbound
from echomox.tlspolicy.mtasts import Policy, policy_id

if TYPE_CHECKING:
    from echomox.config.load import Reader


def check_outbound(reader: Reader, outbound: Outbound) -> Outbound:
    """With names in A-labels and file names made absolute."""
    helo = outbound.helo
    if helo:
        try:
            helo = host_name(helo)
        except ValueError as error:
            reader.problem(("outbound", "helo"), str(error))
    for key, version in (("source4", 4), ("source6", 6)):
        text = getattr(outbound, key)
        try:
            right = not text or ipaddress.ip_address(text).version == version
        except ValueError:
            right = False
        if not right:
            reader.problem(("outbound", key), f'"{text}" is no IPv{version} address')
    ca_file = outbound.ca_file and str(reader.directory / outbound.ca_file)
    if ca_file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            reason = "no PEM certificates" if isinstance(error, ssl.SSLError) else error.strerror
            reader.problem(("outbound", "ca_file"), f"{ca_file}: {reason}")
    return replace(outbound, helo=helo, ca_file=ca_file)


def check_mta_sts(reader: Reader, path: tuple[str | int, ...], sts: MtaSts) -> MtaSts:
    """With patterns in A-labels."""
    patterns = []
    for place, text in enumerate(sts.mx):
        star = "*." if text.startswith("*.") else ""
        try:
            patterns.append(star + domain_key(text.removeprefix("*.")))
        except ValueError as error:
            reader.problem((*path, "mx", place), f'"{text}": {error}')
    return replace(sts, mx=tuple(patterns))


def own_policy(domain: Domain, hostname: str) -> Policy:
    """The policy that a domain of ours publishes; mode none is one too (RFC 8461 5: the way to take one back)."""
    return Policy(domain.mta_sts.mode, domain.mta_sts.mx or (hostname,), domain.mta_sts.max_age)


def own_policy_id(domain: Domain, hostname: str) -> str:
    """Of its TXT record; changes when the policy does."""
    return policy_id(own_policy(domain, hostname))
