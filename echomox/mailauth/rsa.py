"""The two signature algorithms of DKIM and ARC, by `cryptography`: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 8.2, RFC
6376 3.3) and Ed25519 over a SHA-256 digest (RFC 8463 3).

They stand in the place of what dkimpy would call: its `RSASSA_PKCS1_v1_5_sign`, `RSASSA_PKCS1_v1_5_verify`,
`parse_pem_private_key` and `parse_public_key` are plain Python (a signature takes 9 ms instead of 0.3), and its
Ed25519 wants another library. Everything takes the digest, not the data: what is signed is hashed elsewhere.

`self_test`, run at import, checks both algorithms against published values, so that a build of the crypto library
that answers otherwise is seen before any mail is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils
from dkim.crypto import UnparsableKeyError, parse_public_key

from echomox.errors import Bug

PublicKey = rsa.RSAPublicKey | ed25519.Ed25519PublicKey
PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

MOST_BITS = 8192
"""Of an RSA key; RFC 8301 3.2 asks for 4096, and larger ones cost our time."""
_PADDING = padding.PKCS1v15()
_SHA256 = utils.Prehashed(hashes.SHA256())


class BadKey(ValueError):
    """A key that cannot be used; str() says why, in words that may stand in a header."""


def rsa_public(data: bytes) -> tuple[rsa.RSAPublicKey, int]:
    """(key, its bits) of p= of an RSA key: a SubjectPublicKeyInfo, or the bare RSAPublicKey that RFC 6376 3.6.1 says
    and some publish. Raises BadKey, also for a key that the crypto library finds too short to load (`rsa_bits`)."""
    try:
        key = serialization.load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = _bare(data)
    if not isinstance(key, rsa.RSAPublicKey):
        raise BadKey("the key is not RSA")
    if key.key_size > MOST_BITS:
        raise BadKey("the key is too large")
    return key, key.key_size


def _bare(data: bytes) -> rsa.RSAPublicKey:
    try:
        found = parse_public_key(data)
        return rsa.RSAPublicNumbers(found["publicExponent"], found["modulus"]).public_key()
    except UnparsableKeyError:
        raise BadKey("the key cannot be read") from None
    except Exception:  # dkimpy's ASN.1 reader and the bounds of numbers raise what they like
        raise BadKey("the key cannot be read") from None


def rsa_bits(data: bytes) -> int:
    """Bits of an RSA key that `rsa_public` may refuse for being short; 0 for what is none."""
    try:
        return int(parse_public_key(data)["modulus"].bit_length())
    except Exception:
        return 0


def ed25519_public(data: bytes) -> ed25519.Ed25519PublicKey:
    """The key of p=: 32 bytes (RFC 8463 4.2). Raises BadKey."""
    try:
        return ed25519.Ed25519PublicKey.from_public_bytes(data)
    except ValueError:
        raise BadKey("an Ed25519 key has 32 bytes") from None


def private_key(pem: bytes) -> PrivateKey:
    """A PEM key without password. RSA keys are not checked for consistency, which would take 40 ms: they are our own,
    and signatures are verified with the published key. Raises BadKey."""
    try:
        key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey(f"no PEM private key: {error}") from None
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < 1024:  # RFC 8301 3.2
            raise BadKey("an RSA key needs 1024 bits at least")
        return key
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    raise BadKey("a DKIM key is Ed25519 or RSA")


def algorithm_of(key: PublicKey | PrivateKey) -> str:
    """As in a= of a signature."""
    return "rsa-sha256" if isinstance(key, (rsa.RSAPrivateKey, rsa.RSAPublicKey)) else "ed25519-sha256"


def sign_digest(key: PrivateKey, digest: bytes) -> bytes:
    """digest: SHA-256, 32 bytes."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(digest, _PADDING, _SHA256)
    return key.sign(digest)


def verify_digest(key: PublicKey, digest: bytes, signature: bytes) -> bool:
    """digest: SHA-256, 32 bytes. Any bytes may come as signature."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, digest, _PADDING, _SHA256)
        else:
            key.verify(signature, digest)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def decode(text: bytes) -> bytes:
    """Base64 with white space in it (RFC 6376 2.6). Raises ValueError."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None


# RFC 8032 7.1, test 2 (the message is one byte, 0x72); and a signature of b"abc" by OpenSSL's command line.
_ED_KEY = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
_ED_SIGNATURE = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
_RSA_KEY = (
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCwL0mIFUlOrfwnA7M+M+1+iWGMW0Es4s5BhAPS8fBywUcD5sPEuK3GFJHelJ4ILHdU3ofP"
    "RjZytPRIFkRnSDF8z+N0M03P+qh+ptf7yMmVXSS1aCxh+r6LzUHUFV0ohEhJuDz91ALXuPwKDd+vNNNPkwxfoV6dzQZtlJ0XRX93yQIDAQAB"
)
_RSA_SIGNATURE = (
    "BWnZORcEQF6attoI6mVCjpGCuPPHWDLWGUw2wkoEuHVnnlW3MVy5Tsyaj5YP2or8p/Wkcs6rKiDJ4e5gdAakYF4gpXikeat/9ECO3FugcdRg"
    "Yrxh1xih2EWXkqlWNptvsTF0mlphT2SchMx6eZKzSCjPtRsgQHzhQ/kpaN23KSs="
)


def self_test() -> None:
    """Raises Bug when one of the two algorithms does not give what it must."""
    digest = hashlib.sha256(b"abc").digest()
    rsa_key, bits = rsa_public(base64.b64decode(_RSA_KEY))
    signature = base64.b64decode(_RSA_SIGNATURE)
    ed_key = ed25519_public(bytes.fromhex(_ED_KEY))
    ed_signature = bytes.fromhex(_ED_SIGNATURE)
    right = verify_digest(rsa_key, digest, signature) and verify_digest(ed_key, b"\x72", ed_signature)
    wrong = verify_digest(rsa_key, bytes(32), signature) or verify_digest(ed_key, b"\x73", ed_signature)
    if bits != 1024 or not right or wrong:
        raise Bug("the crypto library does not verify RSA-SHA256 or Ed25519 as published values say")


self_test()
