"""Whom we tell of success (RFC 3461), and of what.

A report of success goes to an address that anybody can write into MAIL FROM: without a proof that its domain sent the
mail, spammers could have us write to strangers (backscatter). So it goes to our own users, and to senders whose domain
SPF or DMARC has proved; what is sent on for others does not ask for it either.
"""

from __future__ import annotations

from echomox.delivery.placement import Facts
from echomox.dns.types import canonical_name
from echomox.mailauth.psl import organisational_domain

SUCCESS = frozenset({"success"})
NEVER = frozenset({"never"})


def may_tell(facts: Facts) -> bool:
    """Whether the envelope sender of a message may be told that it has arrived."""
    if facts.mail.login:
        return True
    auth = facts.auth
    domain = canonical_name(facts.mail.mail_from.rpartition("@")[2])
    if auth is None or not domain:
        return False
    if auth.spf.result == "pass" and auth.spf.identity == "mailfrom" and auth.spf.domain == domain:
        return True
    dmarc = auth.dmarc
    return dmarc.result == "pass" and organisational_domain(domain) == organisational_domain(dmarc.from_domain)


def without_success(notify: frozenset[str]) -> frozenset[str]:
    """NOTIFY of a copy whose success is nobody's business: what else was asked for; nothing else is NEVER."""
    return (notify - SUCCESS or NEVER) if notify else notify
