"""From a password to what is kept of it: one derived secret a mechanism, each as a line of text. The password
is not kept.

    bcrypt         "$2b$10$..."; for a password over 72 octets, which bcrypt cannot take,
                   "{hmac-sha256-v1}$2b$10$..."
    argon2id       "$argon2id$v=19$m=65536,t=3,p=1$..." (RFC 9106), in place of bcrypt where that was chosen
    scram-sha-256  "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>", base64
    scram-sha-1    likewise
    ...+saslprep   of both, for a password that RFC 4013 prepares to another form than RFC 8265 (`prepare`)
    cram-md5       "<inner>:<outer>": MD5 states of HMAC-MD5 after the key's block, hexadecimal

A password is checked by the hash that is there: a choice of another one holds for new passwords.

`decoy` gives secrets of the same shape for a name that does not exist, always the same for a name, so that no
answer and no time tells whether it does. Slow on purpose: `derive` and `verify_password` belong in a thread,
behind the limiter.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass

import bcrypt

from echomox.sasl import md5_context
from echomox.sasl.prepare import BadPassword, known_password, older_password, prepare_password

BCRYPT_OCTETS = 72
LONG = "{hmac-sha256-v1}"
"""Before a bcrypt secret: what was hashed is base64(HMAC-SHA-256(LONG_KEY, password))."""
LONG_KEY = b"echomox bcrypt of a long password v1"
SCRAM_HASHES = {"scram-sha-256": "sha256", "scram-sha-1": "sha1"}
LEAST_ITERATIONS = 4096  # RFC 7677 4
OLDER = "+saslprep"
"""After the name of a SCRAM scheme: the same salt and iterations with `prepare.older_password`, where that differs."""
PASSWORD_HASHES = ("bcrypt", "argon2id")
"""Schemes of which an account has one, for PLAIN and LOGIN."""
ARGON2ID = "$argon2id$"
ARGON2_PASSES = 3
ARGON2_SALT, ARGON2_HASH = 16, 32  # RFC 9106 4
_BCRYPT_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """RFC 5802 3."""

    iterations: int
    salt: bytes
    stored: bytes
    server: bytes


def derive(password: str, cost: int, kind: str = "bcrypt") -> dict[str, str]:
    """cost: of bcrypt, 4 to 31: 2^cost rounds; it sets the iterations of SCRAM and the memory of Argon2 too.
    kind: of PASSWORD_HASHES. Raises BadPassword."""
    prepared = prepare_password(password)
    if kind == "argon2id":
        secrets = {"argon2id": _derive_argon2(prepared, cost)}
    else:
        secrets = {"bcrypt": _derive_bcrypt(prepared, cost)}
    older = older_password(password)
    for scheme, hash_name in SCRAM_HASHES.items():
        salt = os.urandom(16)
        secrets[scheme] = format_scram(scheme, scram_keys(prepared, salt, iterations(cost), hash_name))
        if older is not None:
            secrets[scheme + OLDER] = format_scram(scheme, scram_keys(older, salt, iterations(cost), hash_name))
    secrets["cram-md5"] = _derive_cram(prepared)
    return secrets


def decoy(name: str, key: bytes, cost: int, kind: str = "bcrypt") -> dict[str, str]:
    """Secrets that no password fits. key: the server's own, 32 random octets kept for good: salts must not
    change. kind: what new passwords have, for the same time."""

    def part(label: str, size: int) -> bytes:
        return hashlib.shake_256(key + f"\0{label}\0{name}".encode("utf-8", "surrogatepass")).digest(size)

    if kind == "argon2id":
        salt, hashed = (_base64(part(f"argon2 {size}", size)) for size in (ARGON2_SALT, ARGON2_HASH))
        secrets = {"argon2id": f"{ARGON2ID}v=19$m={memory(cost)},t={ARGON2_PASSES},p=1${salt}${hashed}"}
    else:
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


def memory(cost: int) -> int:
    """KiB of Argon2, for a bcrypt cost: 64 MiB at cost 11 (RFC 9106 4), doubling with it up to 256 MiB. Takes
    about the time of that bcrypt."""
    return min(1 << (cost + 5), 1 << 18)


# the password itself


def password_secret(secrets: Mapping[str, str]) -> str:
    """The hash of a password that there is, of any scheme; "" for none."""
    return next((secrets[scheme] for scheme in PASSWORD_HASHES if scheme in secrets), "")


def verify_password(secret: str, password: str) -> bool:
    """secret: of any of PASSWORD_HASHES. Takes the time of one hash whatever the password, of two for one that has an
    older form; False for a password that cannot be one."""
    verify = verify_argon2 if secret.startswith(ARGON2ID) else verify_bcrypt
    if verify(secret, password):
        return True
    older = older_password(password)
    return older is not None and verify(secret, older.decode("utf-8"))


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
        prepared = known_password(password)
    except BadPassword:
        prepared = b"\x01"  # no password holds this: the time is spent, the answer is no
    if secret.startswith(LONG) or len(prepared) > BCRYPT_OCTETS:
        prepared = _shorten(prepared)
    try:
        return bcrypt.checkpw(prepared, secret.removeprefix(LONG).encode("ascii"))
    except ValueError:
        return False


# Argon2id


def load_hash(kind: str) -> None:
    """Brings the library of a hash that is imported at first use, before rights are dropped. Raises ImportError."""
    if kind == "argon2id":
        import argon2.low_level  # noqa: F401


def _derive_argon2(prepared: bytes, cost: int) -> str:
    from argon2.low_level import Type, hash_secret

    salt = os.urandom(ARGON2_SALT)
    return hash_secret(prepared, salt, ARGON2_PASSES, memory(cost), 1, ARGON2_HASH, Type.ID).decode("ascii")


def verify_argon2(secret: str, password: str) -> bool:
    """As `verify_bcrypt`."""
    from argon2.exceptions import Argon2Error, InvalidHashError
    from argon2.low_level import Type, verify_secret

    try:
        prepared = known_password(password)
    except BadPassword:
        prepared = b"\x01"
    try:
        return verify_secret(secret.encode("ascii"), prepared, Type.ID)
    except (Argon2Error, InvalidHashError, UnicodeEncodeError):
        return False


def _base64(data: bytes) -> str:
    """Without padding, as PHC strings have it."""
    return base64.b64encode(data).rstrip(b"=").decode("ascii")


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
