"""Keys, certificates and passwords that quickstart makes.

The self-signed certificate (EC P-256, RFC 5280) serves until a real one is there. DKIM keys are Ed25519 (RFC
8463) and RSA 2048 (RFC 6376 3.3.3). Passwords have 100 bits in letters and digits that are told apart in any
font.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import secrets

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # 32: no l, o, 0, 1
LIFETIME = 825  # days of the self-signed certificate

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def new_password() -> str:
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))


def self_signed(names: list[str], now: datetime.datetime) -> tuple[bytes, bytes]:
    """(certificate, key), both PEM. names: the first is the subject; IP addresses become IP names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=LIFETIME))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), _pem(key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_dkim_key(algorithm: str) -> bytes:
    """PEM (PKCS #8) of a new key; algorithm: "ed25519" or "rsa"."""
    if algorithm == "ed25519":
        return _pem(ed25519.Ed25519PrivateKey.generate())
    return _pem(rsa.generate_private_key(65537, 2048))


def dkim_public(pem: bytes) -> tuple[str, str]:
    """(algorithm, base64 of p=) of a private key. Raises ValueError for what is no such key.

    RFC 8463 4: the bare 32 bytes of an Ed25519 key; RFC 6376 3.6.1: the SubjectPublicKeyInfo of an RSA key.
    """
    key = serialization.load_pem_private_key(pem, None)
    public: bytes
    if isinstance(key, ed25519.Ed25519PrivateKey):
        public = key.public_key().public_bytes_raw()
        return "ed25519", base64.b64encode(public).decode("ascii")
    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return "rsa", base64.b64encode(public).decode("ascii")
    raise ValueError("a DKIM key is Ed25519 or RSA")
