"""DANE: which records are usable, and what a chain must be (RFC 6698, 7671, 7672)."""

import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from echomox.dns.types import Tlsa
from echomox.tlspolicy.dane import make_record, name_matches, usable, verify

NOW = 1_800_000_000
NAMES = ("mx.example", "there.example")
KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(5)]


def when(seconds):
    return datetime.datetime.fromtimestamp(NOW + seconds, datetime.UTC)


def certificate(subject, key, issuer=None, *extensions, names=(), days=(-1, 1)):
    """issuer: (certificate, key), None for self-signed."""
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    above, signing = (issuer[0].subject, issuer[1]) if issuer else (own, key)
    builder = (
        x509.CertificateBuilder().subject_name(own).issuer_name(above).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(when(86_400 * days[0])).not_valid_after(when(86_400 * days[1]))
    )  # fmt: skip
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
    for extension in extensions:
        builder = builder.add_extension(extension, True)
    return builder.sign(signing, hashes.SHA256())


CA = x509.BasicConstraints(True, None)
ROOT = certificate("root", KEYS[0], None, CA)
MIDDLE = certificate("middle", KEYS[1], (ROOT, KEYS[0]), CA)
LEAF = certificate("leaf", KEYS[2], (MIDDLE, KEYS[1]), names=["mx.example"])


def der(*certificates):
    return [one.public_bytes(Encoding.DER) for one in certificates]


def spki(one):
    return one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def record(usage, selector, matching, one):
    data = spki(one) if selector else one.public_bytes(Encoding.DER)
    return Tlsa(usage, selector, matching, {0: bytes, 1: lambda d: hashlib.sha256(d).digest(),
                                            2: lambda d: hashlib.sha512(d).digest()}[matching](data))  # fmt: skip


CHAIN = der(LEAF, MIDDLE, ROOT)
ALL = [(usage, selector, matching) for usage in (2, 3) for selector in (0, 1) for matching in (0, 1, 2)]


@pytest.mark.parametrize("usage, selector, matching", [kind for kind in ALL if kind != (2, 1, 0)])
def test_each_kind_of_record_matches(usage, selector, matching):
    one = record(usage, selector, matching, LEAF if usage == 3 else MIDDLE)
    assert usable([one]) == (one,)
    assert verify([one], CHAIN, NAMES, NOW)
    assert verify([one], CHAIN if usage == 3 else der(LEAF, MIDDLE), NAMES, NOW)


def test_an_anchor_given_in_full_need_not_be_presented():
    assert verify([record(2, 0, 0, ROOT)], der(LEAF, MIDDLE), NAMES, NOW)
    assert not verify([record(2, 0, 1, ROOT)], der(LEAF, MIDDLE), NAMES, NOW)


def test_the_makers_record_is_3_1_1_and_stays_with_the_key():
    again = certificate("leaf", KEYS[2], (MIDDLE, KEYS[1]), names=["mx.example"], days=(0, 90))
    assert make_record(LEAF) == make_record(again) == record(3, 1, 1, LEAF)


def test_dane_ee_asks_for_neither_name_nor_date_nor_issuer():
    # RFC 7672 3.1.1
    alone = certificate("x", KEYS[3], names=["other.example"], days=(-10, -9))
    assert verify([make_record(alone)], der(alone), NAMES, NOW)
    assert not verify([make_record(LEAF)], der(alone), NAMES, NOW)


USABLE = [
    ([(0, 0, 1, bytes(32))], 0), ([(1, 1, 1, bytes(32))], 0), ([(3, 2, 1, bytes(32))], 0), ([(3, 1, 3, bytes(32))], 0),
    ([(3, 1, 1, bytes(31))], 0), ([(3, 1, 2, bytes(32))], 0), ([(3, 0, 0, b"")], 0), ([(2, 1, 0, b"x")], 0),
    ([(255, 255, 255, b"")], 0), ([(3, 1, 1, bytes(32)), (0, 0, 1, bytes(32))], 1),
    # RFC 7671 9: of one usage and selector the strongest hash
    ([(3, 1, 1, bytes(32)), (3, 1, 2, bytes(64)), (2, 1, 1, bytes(32))], 2),
]  # fmt: skip


@pytest.mark.parametrize("records, number", USABLE)
def test_usable_records(records, number):
    assert len(usable([Tlsa(*one) for one in records])) == number


NO_CA = certificate("middle", KEYS[1], (ROOT, KEYS[0]))
SHORT = certificate("root", KEYS[0], None, x509.BasicConstraints(True, 0))
OLD = certificate("middle", KEYS[1], (ROOT, KEYS[0]), CA, days=(-10, -9))
OLD_LEAF = certificate("leaf", KEYS[2], (MIDDLE, KEYS[1]), names=["mx.example"], days=(-10, -9))
OTHER_LEAF = certificate("leaf", KEYS[2], (MIDDLE, KEYS[1]), names=["mx.other.example"])
FORGED = certificate("leaf", KEYS[2], (MIDDLE, KEYS[4]), names=["mx.example"])
CLIENT = certificate(
    "leaf", KEYS[2], (MIDDLE, KEYS[1]), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), names=["mx.example"]
)
LIMITED = certificate(
    "middle", KEYS[1], (ROOT, KEYS[0]), CA, x509.NameConstraints([x509.DNSName("other.example")], None)
)
WRONG = [
    (der(LEAF, NO_CA, ROOT), "validation-failure"),
    (der(LEAF, OLD, ROOT), "certificate-expired"),
    (der(LEAF, LIMITED, ROOT), "validation-failure"),
    (der(OLD_LEAF, MIDDLE, ROOT), "certificate-expired"),
    (der(OTHER_LEAF, MIDDLE, ROOT), "certificate-host-mismatch"),
    (der(FORGED, MIDDLE, ROOT), "validation-failure"),
    (der(CLIENT, MIDDLE, ROOT), "validation-failure"),
    (der(LEAF), "validation-failure"),
    ([], "validation-failure"),
    ([b"garbage"], "validation-failure"),
    ([CHAIN[0], b"garbage", CHAIN[2]], "validation-failure"),
]


@pytest.mark.parametrize("chain, failure", WRONG)
def test_a_chain_that_does_not_lead_to_the_anchor(chain, failure):
    assert verify([record(2, 1, 1, ROOT)], chain, NAMES, NOW).failure == failure


def test_an_issuer_that_allows_no_other_below_it():
    assert verify([record(2, 1, 1, SHORT)], der(LEAF, MIDDLE, SHORT), NAMES, NOW).failure == "validation-failure"


def test_the_next_hop_domain_is_a_name_too():
    # RFC 7672 3.2.2
    leaf = certificate("leaf", KEYS[2], (ROOT, KEYS[0]), names=["there.example"])
    assert verify([record(2, 1, 1, ROOT)], der(leaf, ROOT), NAMES, NOW)


@pytest.mark.parametrize(
    "pattern, name, expected",
    [("mx.example", "MX.example", True), ("*.example", "mx.example", True), ("*.example", "a.mx.example", False),
     ("*.example", "example", False), ("*", "mx", False), ("m*.example", "mx.example", False)],
)  # fmt: skip
def test_names(pattern, name, expected):
    assert name_matches(pattern, name) is expected
