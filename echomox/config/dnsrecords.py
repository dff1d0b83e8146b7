"""Every DNS record that a mail domain should publish. Pure: facts in, records out.

RFC 5321 5.1 (MX), RFC 7208 (SPF), RFC 6376 3.6.1 and RFC 8463 (DKIM), RFC 7489 6.3 (DMARC), RFC 8461 3.1
(MTA-STS), RFC 8460 3 (TLSRPT), RFC 7672 (TLSA), RFC 6186 and RFC 8314 5.1 (SRV of clients), RFC 8659 (CAA),
RFC 7505 (null MX is what a host without mail has). A TXT value longer than 255 bytes is given in several strings
(RFC 7208 3.3).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

STRING_LIMIT = 255  # RFC 1035 3.3: bytes of one character-string


class Record(NamedTuple):
    """name: absolute, with its final dot. value: in zone file form. note: why, for people."""

    name: str
    type: str
    value: str
    note: str

    def __str__(self) -> str:
        return f"{self.name:44} {self.type:5} {self.value}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the records say. dkim: (selector, algorithm, base64 of the public key). addresses: of the host;
    the placeholders of `PLACEHOLDERS` when they are not known. policy_id: of MTA-STS, 1 to 32 letters and
    digits. tlsa: record of the host's certificate in zone file form, "" for none. reports: address for DMARC reports;
    tls_reports: for TLS reports, "" for the same.
    """

    domain: str
    hostname: str
    addresses: tuple[str, ...]
    dkim: tuple[tuple[str, str, str], ...]
    policy_id: str
    reports: str
    submission: int = 587
    submissions: int = 465
    imap: int = 143
    imaps: int = 993
    tlsa: str = ""
    tls_reports: str = ""


PLACEHOLDERS = ("192.0.2.1", "2001:db8::1")
"""RFC 5737 and RFC 3849: addresses for documentation, in place of those that could not be found out."""


def records(facts: Facts) -> list[Record]:
    """All of them, in the order in which a zone is usually read."""
    return [*_host(facts), *_mail(facts), *_policies(facts), *_clients(facts), *_certificates(facts)]


def quoted(value: str) -> str:
    """A TXT value as one or more quoted strings."""
    pieces = [value[start : start + STRING_LIMIT] for start in range(0, len(value), STRING_LIMIT)] or [""]
    return " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)


def zone(found: Iterable[Record]) -> list[str]:
    """Lines for a zone file, with what each record is for before it."""
    lines, last = [], ""
    for record in found:
        if record.note != last:
            lines.append(f"; {record.note}")
        lines.append(str(record))
        last = record.note
    return lines


def placeholder_notes(found: Iterable[Record]) -> list[str]:
    """What must be put right by hand in these records."""
    used = [record.value for record in found if record.value in PLACEHOLDERS]
    return [f"; {' and '.join(used)}: put this host's public addresses there, which it does not know"] if used else []


def reverse_notes(facts: Facts) -> list[str]:
    """What to ask of whoever owns the addresses."""
    return [
        f"{ipaddress.ip_address(address).reverse_pointer}. PTR {facts.hostname}."
        for address in facts.addresses
        if address not in PLACEHOLDERS
    ] or [f"PTR {facts.hostname}. for each address of this host"]


def _host(facts: Facts) -> Iterator[Record]:
    for address in facts.addresses:
        kind = "AAAA" if ":" in address else "A"
        note = "placeholder: put this host's address" if address in PLACEHOLDERS else "this host"
        yield Record(facts.hostname + ".", kind, address, note)
    # RFC 7208 2.3: the name of HELO is checked on its own, for bounces among others.
    yield Record(facts.hostname + ".", "TXT", quoted("v=spf1 a -all"), "SPF for the host's own name in EHLO")


def _mail(facts: Facts) -> Iterator[Record]:
    domain = facts.domain + "."
    yield Record(domain, "MX", f"10 {facts.hostname}.", "mail for the domain comes here")
    yield Record(domain, "TXT", quoted("v=spf1 mx ~all"), "SPF: our MX hosts send its mail")
    for selector, algorithm, public in facts.dkim:
        kind = "ed25519" if algorithm == "ed25519" else "rsa"
        value = f"v=DKIM1; h=sha256; k={kind}; p={public}"
        yield Record(f"{selector}._domainkey.{domain}", "TXT", quoted(value), f"DKIM key, {kind}")


def _policies(facts: Facts) -> Iterator[Record]:
    domain = facts.domain + "."
    dmarc = f"v=DMARC1; p=reject; rua=mailto:{facts.reports}; fo=1"
    yield Record("_dmarc." + domain, "TXT", quoted(dmarc), "DMARC: refuse what is neither SPF nor DKIM")
    yield Record("mta-sts." + domain, "CNAME", facts.hostname + ".", "host of the MTA-STS policy")
    sts = f"v=STSv1; id={facts.policy_id}"
    yield Record("_mta-sts." + domain, "TXT", quoted(sts), "MTA-STS: the id changes when the policy does")
    tlsrpt = f"v=TLSRPTv1; rua=mailto:{facts.tls_reports or facts.reports}"
    yield Record("_smtp._tls." + domain, "TXT", quoted(tlsrpt), "reports of failed TLS to us")


def _clients(facts: Facts) -> Iterator[Record]:
    domain, host = facts.domain + ".", facts.hostname + "."
    yield Record("autoconfig." + domain, "CNAME", host, "how Thunderbird finds the servers")
    services: Sequence[tuple[str, int, int]] = (
        ("_submissions", 0, facts.submissions),
        ("_submission", 10, facts.submission),
        ("_imaps", 0, facts.imaps),
        ("_imap", 10, facts.imap),
    )
    for service, priority, port in services:
        name = f"{service}._tcp.{domain}"
        yield Record(name, "SRV", f"{priority} 1 {port} {host}", "how other clients find the servers")
    for service in ("_pop3", "_pop3s"):
        # RFC 6186 3.4: a target of "." says that the service is not there.
        yield Record(f"{service}._tcp.{domain}", "SRV", "0 0 0 .", "no POP3 here")
    autodiscover = f"0 1 443 {host}"
    yield Record(f"_autodiscover._tcp.{domain}", "SRV", autodiscover, "how Microsoft's clients find the servers")


def _certificates(facts: Facts) -> Iterator[Record]:
    issuer = '0 issue "letsencrypt.org"'
    yield Record(facts.domain + ".", "CAA", issuer, "who may issue certificates for the domain")
    if facts.tlsa:
        note = "DANE, of use with DNSSEC: the key in tls.key; keep the key when the certificate is renewed"
        yield Record(f"_25._tcp.{facts.hostname}.", "TLSA", facts.tlsa, note)
