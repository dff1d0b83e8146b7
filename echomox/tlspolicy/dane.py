"""DANE for SMTP (RFC 6698, RFC 7671, RFC 7672): which TLSA records are usable, and whether a certificate chain that a
host presented matches one. Pure.

    DANE-EE(3): the host's certificate or key is in a record. No name, no date, no issuer matters (RFC 7672 3.1.1).
    DANE-TA(2): an issuer in the chain presented is in a record; signatures and dates from there down, and the name
        (RFC 7672 3.1.2, 3.2.2, 3.2.3). A TA given in full (2 0 0) need not be presented.
    PKIX-TA(0), PKIX-EE(1): not usable for SMTP (RFC 7672 3.1.3).

Whether the records may be believed (DNSSEC) is the caller's to know.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from echomox.dns.types import Tlsa

T = TypeVar("T", bound=x509.ExtensionType)

CHAIN_LIMIT = 10  # certificates of a chain that are looked at
RECORD_LIMIT = 50  # records of one name that are looked at
DANE_TA, DANE_EE = 2, 3
CERTIFICATE, KEY = 0, 1
_HASHES = {1: ("sha256", 32), 2: ("sha512", 64)}
_X509_TROUBLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound)


@dataclass(frozen=True, slots=True)
class Verdict:
    """failure: a result type of RFC 8460 4.3 ("" if the chain matches); reason: in words, on success the record."""

    failure: str
    reason: str

    def __bool__(self) -> bool:
        return not self.failure


def usable(records: Sequence[Tlsa]) -> tuple[Tlsa, ...]:
    """Those that SMTP can use; of one usage and selector only the strongest hash counts (RFC 7671 9)."""
    good = [record for record in records[:RECORD_LIMIT] if _usable(record)]
    best: dict[tuple[int, int], int] = {}
    for record in good:
        place = record.usage, record.selector
        best[place] = max(best.get(place, 0), record.matching)
    return tuple(r for r in good if r.matching in (0, best[r.usage, r.selector]))


def _usable(record: Tlsa) -> bool:
    if record.usage not in (DANE_TA, DANE_EE) or record.selector not in (CERTIFICATE, KEY):
        return False
    if record.matching in _HASHES:
        return len(record.data) == _HASHES[record.matching][1]
    if record.matching or not record.data:
        return False
    return record.usage != DANE_TA or record.selector != KEY  # RFC 7671 5.2.2: a bare key may be no one's in the chain


def verify(records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str], now: float) -> Verdict:
    """records: `usable` ones. chain: DER, the host's certificate first, as presented. names: reference identifiers for
    DANE-TA: the TLSA base domain, then the next-hop domain (RFC 7672 3.2.2). now: seconds since 1970.
    """
    if not chain:
        return Verdict("validation-failure", "the host presented no certificate")
    leaf = _selected(chain[0])
    for record in records:
        if record.usage == DANE_EE and leaf and _matches(record, leaf):
            return Verdict("", describe(record))
    anchors = [record for record in records if record.usage == DANE_TA]
    if not anchors:
        return Verdict("validation-failure", "the certificate matches no TLSA record")
    return _verify_anchor(anchors, chain[:CHAIN_LIMIT], names, now)


def _selected(der: bytes) -> tuple[bytes, bytes] | None:
    """What selectors 0 and 1 choose of a certificate; None if it cannot be read."""
    try:
        key = x509.load_der_x509_certificate(der).public_key()
        return der, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _X509_TROUBLE:
        return None


def _matches(record: Tlsa, selected: tuple[bytes, bytes]) -> bool:
    data = selected[record.selector]
    if record.matching in _HASHES:
        data = hashlib.new(_HASHES[record.matching][0], data).digest()
    return hmac.compare_digest(data, record.data)


def _verify_anchor(anchors: Sequence[Tlsa], ders: Sequence[bytes], names: Sequence[str], now: float) -> Verdict:
    """DANE-TA: walks from the host's certificate up, until a certificate matches a record."""
    try:
        chain = [x509.load_der_x509_certificate(der) for der in ders]
        whole = [x509.load_der_x509_certificate(a.data) for a in anchors if (a.selector, a.matching) == (0, 0)]
    except _X509_TROUBLE:
        return Verdict("validation-failure", "a certificate of the chain, or of a TLSA record, cannot be read")
    when = datetime.datetime.fromtimestamp(now, datetime.UTC)
    try:
        return _walk(anchors, chain, whole, names, when)
    except _X509_TROUBLE:
        return Verdict("validation-failure", "a certificate of the chain has extensions that cannot be read")


def _walk(
    anchors: Sequence[Tlsa],
    chain: Sequence[x509.Certificate],
    whole: Sequence[x509.Certificate],
    names: Sequence[str],
    when: datetime.datetime,
) -> Verdict:
    current, above, path = chain[0], [*chain[1:], *whole], 0
    trouble = _leaf_trouble(current, names, when)
    # RFC 7671 5.2.3: a host's certificate that is itself the record's is allowed to be its own trust anchor.
    while not (record := _anchor(anchors, current)):
        issuer = next((c for c in above if c.subject == current.issuer and _issued(current, c)), None)
        if issuer is None or path > CHAIN_LIMIT:
            return Verdict("validation-failure", "no certificate of the chain matches a TLSA record")
        if trouble is None:
            trouble = _issuer_trouble(issuer, chain[0], path, when if not _anchor(anchors, issuer) else None)
        above.remove(issuer)
        current, path = issuer, path + 1
    return trouble if trouble is not None else Verdict("", describe(record))


def _anchor(anchors: Sequence[Tlsa], certificate: x509.Certificate) -> Tlsa | None:
    selected = _selected(certificate.public_bytes(Encoding.DER))
    return next((record for record in anchors if selected and _matches(record, selected)), None)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_X509_TROUBLE):
        return False
    return True


def _leaf_trouble(leaf: x509.Certificate, names: Sequence[str], when: datetime.datetime) -> Verdict | None:
    if not _in_time(leaf, when):
        return Verdict("certificate-expired", "the certificate is not valid at this time")
    if not any(name_matches(pattern, name) for pattern in certificate_names(leaf) for name in names):
        return Verdict("certificate-host-mismatch", f"the certificate is not for {' or '.join(names)}")
    usage = _extension(leaf, x509.ExtendedKeyUsage)
    allowed = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if usage is not None and not any(purpose in allowed for purpose in usage):
        return Verdict("validation-failure", "the certificate is not for servers")
    return None


def _issuer_trouble(
    issuer: x509.Certificate, leaf: x509.Certificate, below: int, when: datetime.datetime | None
) -> Verdict | None:
    """RFC 5280 6.1. below: CA certificates under this one. when: None for a trust anchor, whose dates do not count."""
    if when is not None and not _in_time(issuer, when):
        return Verdict("certificate-expired", "an issuer's certificate is not valid at this time")
    basic = _extension(issuer, x509.BasicConstraints)
    if issuer.version is not x509.Version.v1 and (basic is None or not basic.ca):
        return Verdict("validation-failure", "an issuer in the chain is no certification authority")
    if basic is not None and basic.path_length is not None and below > basic.path_length:
        return Verdict("validation-failure", "the chain is longer than an issuer allows")
    usage = _extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return Verdict("validation-failure", "an issuer in the chain may not sign certificates")
    limits = _extension(issuer, x509.NameConstraints)
    if limits is not None and not all(_permitted(limits, name) for name in certificate_names(leaf)):
        return Verdict("validation-failure", "an issuer in the chain may not issue for this name")
    return None


def _permitted(limits: x509.NameConstraints, name: str) -> bool:
    """RFC 5280 4.2.1.10 for host names; other kinds of names do not matter to us."""

    def within(subtrees: Sequence[x509.GeneralName]) -> bool:
        bases = [tree.value.lower().lstrip(".") for tree in subtrees if isinstance(tree, x509.DNSName)]
        return any(not base or name == base or name.endswith("." + base) for base in bases)

    permitted = [tree for tree in limits.permitted_subtrees or () if isinstance(tree, x509.DNSName)]
    return (not permitted or within(permitted)) and not within(limits.excluded_subtrees or ())


def _extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _in_time(certificate: x509.Certificate, when: datetime.datetime) -> bool:
    return certificate.not_valid_before_utc <= when <= certificate.not_valid_after_utc


def certificate_names(certificate: x509.Certificate) -> list[str]:
    """DNS names of a certificate, lower case; its common name when it has no DNS name (RFC 7672 3.2.3)."""
    alternative = _extension(certificate, x509.SubjectAlternativeName)
    names = alternative.get_values_for_type(x509.DNSName) if alternative is not None else []
    if not names:
        names = [str(item.value) for item in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [name.lower().rstrip(".") for name in names]


def name_matches(pattern: str, name: str) -> bool:
    """RFC 6125 6.4.3, RFC 7672 3.2.3: a wildcard is the whole leftmost label, and stands for one."""
    name = name.lower().rstrip(".")
    return pattern == name or (pattern.startswith("*.") and name.partition(".")[2] == pattern[2:] != "")


def make_record(certificate: x509.Certificate) -> Tlsa:
    """The record to publish for a certificate: 3 1 1, which stays while the key stays (RFC 7671 5.1, 7672 3.1)."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Tlsa(DANE_EE, KEY, 1, hashlib.sha256(key).digest())


def describe(record: Tlsa) -> str:
    """In zone file form, long data cut: for people and reports."""
    data = record.data.hex()
    return f"{record.usage} {record.selector} {record.matching} {data[:128] + ('...' if len(data) > 128 else '')}"
