"""Rules of an account for its mail (S38-S41): which of them fits a message, and what is proved of its sender.

The first ruleset whose conditions all fit holds. Domains are proved by SPF (of the envelope's sender) or by a DKIM
signature; a domain that is proved stands for those above it up to its owner's, never for a public suffix. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from echomox.config.names import base_local, split_address
from echomox.config.patterns import pattern
from echomox.config.schema import Ruleset
from echomox.config.snapshot import Snapshot
from echomox.delivery.placement import Facts
from echomox.dns.psl import organisational_domain
from echomox.message.address import address_text, mailboxes, parse_addresses
from echomox.message.charset import decode_raw
from echomox.message.encoded import decode_words
from echomox.message.header import read_fields, split_fields, unfold

SHOWN_ADDRESSES = 20


@dataclass(frozen=True, slots=True)
class Seen:
    """What rules look at. senders: addresses in From, lower case. verified: domains that SPF or DKIM prove."""

    mail_from: str
    senders: tuple[str, ...]
    recipients: frozenset[str]
    verified: frozenset[str]
    header: bytes
    temporary: bool = False
    """A check could not be made for now."""

    @property
    def fields(self) -> tuple[tuple[str, str, str], ...]:
        """(name, value without folds, and decoded)"""
        return _fields(self.header)

    @property
    def from_domain(self) -> str:
        """Of From, when it has one address; else ""."""
        return self.senders[0].rpartition("@")[2] if len(self.senders) == 1 else ""

    @property
    def from_proved(self) -> bool:
        """Whether SPF or DKIM prove the domain in From, or another one of the same owner (DMARC, relaxed)."""
        domain = self.from_domain
        owner = organisational_domain(domain) if domain else ""
        return bool(owner) and any(organisational_domain(proved) == owner for proved in self.verified)


def look(facts: Facts) -> Seen:
    """What rules look at of a message."""
    auth = facts.auth
    verified: set[str] = set()
    temporary = auth is None
    if auth is not None:
        if auth.spf.result == "pass" and auth.spf.identity == "mailfrom":
            verified.add(auth.spf.domain.lower())
        verified.update(one.domain.lower() for one in auth.dkim if one.result == "pass" and not one.testing)
        temporary = auth.spf.result == "temperror" or any(one.result == "temperror" for one in auth.dkim)
    verified.discard("")
    return looked_at(facts.header, facts.mail.mail_from, frozenset(verified), temporary)


def looked_at(header: bytes, mail_from: str, verified: frozenset[str], temporary: bool = False) -> Seen:
    found = read_fields(header, 0, len(header))
    senders = _addresses(found.get(b"from", b""))
    to = _addresses(found.get(b"to", b"") + b"," + found.get(b"cc", b""), 500)
    return Seen(mail_from, senders, frozenset(to), verified, header, temporary)


def _addresses(value: bytes, limit: int = SHOWN_ADDRESSES) -> tuple[str, ...]:
    boxes = mailboxes(parse_addresses(address_text(value), limit))
    return tuple(dict.fromkeys(f"{box.local}@{box.domain}".lower() for box in boxes if box.domain))


@lru_cache(maxsize=8)
def _fields(header: bytes) -> tuple[tuple[str, str, str], ...]:
    found = []
    for field in split_fields(header):
        value = decode_raw(unfold(field.value))
        found.append((field.name, value, decode_words(value) if "=?" in value else value))
    return tuple(found)


def matching(rules: Iterable[Ruleset], seen: Seen, snapshot: Snapshot, address: str) -> Ruleset | None:
    """The first that fits mail to `address`."""
    return next((rule for rule in rules if fits(rule, seen, snapshot, address)), None)


def fits(rule: Ruleset, seen: Seen, snapshot: Snapshot, address: str) -> bool:
    if rule.address and not same_address(snapshot, rule.address, address):
        return False
    if rule.mail_from and not pattern(rule.mail_from).fits(seen.mail_from):
        return False
    if rule.message_from and not any(pattern(rule.message_from).fits(sender) for sender in seen.senders):
        return False
    if rule.verified_domain and not proves(seen.verified, rule.verified_domain):
        return False
    return all(_header_fits(name, value, seen) for name, value in rule.headers.items())


def _header_fits(name: str, value: str, seen: Seen) -> bool:
    wanted, inside = pattern(name), pattern(value)
    return any(
        wanted.fits_whole(field) and (inside.fits(text) or (decoded is not text and inside.fits(decoded)))
        for field, text, decoded in seen.fields
    )


def proves(verified: Iterable[str], domain: str) -> bool:
    """Whether one of the verified domains is this one or stands below it."""
    return any(one == domain or one.endswith("." + domain) for one in verified)


def same_address(snapshot: Snapshot, wanted: str, given: str) -> bool:
    """Whether two addresses are the same mailbox's: case by the domain's rule, what follows a separator left out."""
    return bool(wanted) and comparable(snapshot, wanted) == comparable(snapshot, given)


def comparable(snapshot: Snapshot, address: str) -> str:
    """An address without what follows a separator, as its domain compares them; "" for none."""
    try:
        local, key = split_address(address)
    except ValueError:
        return ""
    domain = snapshot.dynamic.domains.get(key)
    if domain is None:
        return f"{local.lower()}@{key}"
    if domain.alias_of:
        key, domain = domain.alias_of, snapshot.dynamic.domains[domain.alias_of]
    return f"{base_local(local if domain.case_sensitive else local.lower(), domain.separators)}@{key}"


def is_addressed(snapshot: Snapshot, seen: Seen, addresses: Iterable[str]) -> bool:
    """Whether To or Cc name one of these addresses, in any spelling."""
    wanted = {comparable(snapshot, address) for address in addresses if address}
    if not wanted:
        return True
    return any(comparable(snapshot, one) in wanted or _whole_lower(one) in wanted for one in seen.recipients)


def _whole_lower(address: str) -> str:
    return address.lower()
