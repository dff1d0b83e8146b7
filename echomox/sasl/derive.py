"""From a password to what is kept of it: one derived secret a mechanism, each as a line of text. The password
is not kept.

    bcrypt         "$2b$10$..."; for a password over 72 octets, which bcrypt cannot take,
                   "{hmac-sha256-v1}$2b$10$..."
    scram-sha-256  "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>", base64
    scram-sha-1    likewise
    cram-md5       "<inner>:<outer>": MD5 states of HMAC-MD5 after the key's block, hexadecimal

`decoy` gives secrets of the same shape for a name that does not exist, always the same for a name, so that no
answer and no time tells whether it does. Slow on purpose: `derive` and `verify_bcrypt` belong in a thread,
behind the limiter.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import unicodedata
from dataclasses import dataclass

import bcrypt

from echomox.sasl import md5_context

BCRYPT_OCTETS = 72
LONG = "{hmac-sha256-v1}"
"""Before a bcrypt secret: what was hashed is base64(HMAC-SHA-256(LONG_KEY, password))."""
LONG_KEY = b"echomox bcrypt of a long password v1"
SCRAM_HASHES = {"scram-sha-256": "sha256", "scram-sha-1": "sha1"}
LEAST_ITERATIONS = 4096  # RFC 7677 4
PASSWORD_OCTETS = 1024
_BCRYPT_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class BadPassword(ValueError):
    """str() says why it cannot be one."""


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """RFC 5802 3."""

    iterations: int
    salt: bytes
    stored: bytes
    server: bytes


def prepare_password(password: str) -> bytes:
    """RFC 8265 4.2, OpaqueString: other spaces become spaces, NFC, no control characters, not empty.
    Raises BadPassword."""
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in password)
    text = unicodedata.normalize("NFC", spaced)
    if not text:
        raise BadPassword("a password cannot be empty")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise BadPassword("a password cannot hold control characters")
    data = text.encode("utf-8")
    if len(data) > PASSWORD_OCTETS:
        raise BadPassword(f"a password cannot be longer than {PASSWORD_OCTETS} octets")
    return data


def derive(password: str, cost: int) -> dict[str, str]:
    """cost: of bcrypt, 4 to 31: 2^cost rounds; it sets the iterations of SCRAM too. Raises BadPassword."""
    prepared = prepare_password(password)
    secrets = {"bcrypt": _derive_bcrypt(prepared, cost)}
    for scheme, hash_name in SCRAM_HASHES.items():
        secrets[scheme] = format_scram(
            scheme, scram_keys(prepared, os.urandom(16), iterations(cost), hash_name)
        )
    secrets["cram-md5"] = _derive_cram(prepared)
    return secrets


def decoy(name: str, key: bytes, cost: int) -> dict[str, str]:
    """Secrets that no password fits. key: the server's own, 32 random octets kept for good: salts must not
    change."""

    def part(label: str, size: int) -> bytes:
        return hashlib.shake_256(key + f"\0{label}\0{name}".encode("utf-8", "surrogatepass")).digest(size)

    digits = "".join(_BCRYPT_ALPHABET[octet % 64] for octet in part("bcrypt", 53))
    # The last characters of salt (22) and hash (31) hold 2 and 4 bits; bcrypt takes no others.
    salt, hashed = digits[:21] + _BCRYPT_ALPHABET[16 * (part("salt", 1)[0] % 4)], digits[22:52]
    secrets = {"bcrypt": f"$2b${cost:02d}${salt}{hashed}{_BCRYPT_ALPHABET[4 * (part('end', 1)[0] % 16)]}"}
    for scheme, hash_name in SCRAM_HASHES.items():
        size = hashlib.new(hash_name).digest_size
        keys = ScramKeys(
            iterations(cost), part(scheme, 16), part(scheme + " stored", size), part(scheme + " server", size)
        )
        secrets[scheme] = format_scram(scheme, keys)
    secrets["cram-md5"] = part("inner", 16).hex() + ":" + part("outer", 16).hex()
    secrets["generation"] = "0"
    return secrets


def iterations(cost: int) -> int:
    """Of SCRAM, for a bcrypt cost: 16,384 at cost 10, doubling with it up to 262,144; never under RFC
    7677's 4,096."""
    return max(LEAST_ITERATIONS, min(1 << (cost + 4), 1 << 18))


# bcrypt


def _derive_bcrypt(prepared: bytes, cost: int) -> str:
    long = len(prepared) > BCRYPT_OCTETS
    hashed = bcrypt.hashpw(_shorten(prepared) if long else prepared, bcrypt.gensalt(cost)).decode("ascii")
    return LONG + hashed if long else hashed


def _shorten(prepared: bytes) -> bytes:
    """44 octets without NUL. With a key of our own, so that a plain SHA-256 leaked elsewhere is no
    password here."""
    return base64.b64encode(hmac.digest(LONG_KEY, prepared, "sha256"))


def verify_bcrypt(secret: str, password: str) -> bool:
    """Takes the time of one bcrypt whatever the password; False for a password that cannot be one."""
    try:
        prepared = prepare_password(password)
    except BadPassword:
        prepared = b"\x01"  # no password holds this: the time is spent, the answer is no
    if secret.startswith(LONG) or len(prepared) > BCRYPT_OCTETS:
        prepared = _shorten(prepared)
    try:
        return bcrypt.checkpw(prepared, secret.removeprefix(LONG).encode("ascii"))
    except ValueError:
        return False


# SCRAM


def scram_keys(password: bytes, salt: bytes, rounds: int, hash_name: str) -> ScramKeys:
    """RFC 5802 3: SaltedPassword, ClientKey, StoredKey, ServerKey."""
    salted = hashlib.pbkdf2_hmac(hash_name, password, salt, rounds)
    client = hmac.digest(salted, b"Client Key", hash_name)
    stored = hashlib.new(hash_name, client).digest()
    return ScramKeys(rounds, salt, stored, hmac.digest(salted, b"Server Key", hash_name))


def format_scram(scheme: str, keys: ScramKeys) -> str:
    salt, stored, server = (
        base64.b64encode(part).decode("ascii") for part in (keys.salt, keys.stored, keys.server)
    )
    return f"{scheme.upper()}${keys.iterations}:{salt}${stored}:{server}"


def parse_scram(text: str) -> ScramKeys:
    """Raises ValueError."""
    _, head, tail = text.split("$")
    rounds, salt = head.split(":")
    stored, server = tail.split(":")
    return ScramKeys(int(rounds), *(base64.b64decode(part, validate=True) for part in (salt, stored, server)))


# CRAM-MD5


def _derive_cram(prepared: bytes) -> str:
    """RFC 2104 2: a key over a block is hashed, then padded with NUL, then masked."""
    if len(prepared) > md5_context.BLOCK:
        prepared = hashlib.md5(prepared).digest()
    key = prepared.ljust(md5_context.BLOCK, b"\0")
    inner = md5_context.compress(md5_context.INITIAL, bytes(octet ^ 0x36 for octet in key))
    outer = md5_context.compress(md5_context.INITIAL, bytes(octet ^ 0x5C for octet in key))
    return inner.hex() + ":" + outer.hex()


def parse_cram(text: str) -> tuple[bytes, bytes]:
    """(inner, outer) state. Raises ValueError."""
    inner, outer = text.split(":")
    return bytes.fromhex(inner), bytes.fromhex(outer)
