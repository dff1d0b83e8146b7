"""DKIM keys: those that others publish in DNS (RFC 6376 3.6.1, RFC 8463 4, RFC 8301), and our own, to sign with.

A published record is looked up by `fetch_key` and is a value also when it is of no use: `KeyRecord.trouble` says what
is wrong and which result a signature gets for it (RFC 8601 2.7.1). Only `fetch_key` asks DNS.

Our own keys are parsed once a process: `KeyRing` remembers them by the file's state and parses again when the file or
the configuration has changed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from dkim.util import InvalidTagValueList, parse_tag_value

from echomox.dns.types import DnsTemporary, Resolver
from echomox.mailauth.rsa import (
    BadKey,
    PrivateKey,
    PublicKey,
    algorithm_of,
    decode,
    ed25519_public,
    private_key,
    rsa_bits,
    rsa_public,
)

LEAST_BITS = 1024  # RFC 8301 3.2
RECORD_SIZE = 8192  # an RSA key of 8192 bits takes 1,400

# RFC 6376 5.4.1, and the fields that say how a body is to be read.
SIGNED = (
    "From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "MIME-Version", "Content-Type",
    "Content-Transfer-Encoding", "Content-Disposition", "Content-ID", "Content-Description", "In-Reply-To",
    "References", "Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Message-ID",
    "List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner",
    "List-Archive", "Autocrypt", "TLS-Required",
)  # fmt: skip
OVERSIGNED = (
    "From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "MIME-Version", "Content-Type",
    "Content-Transfer-Encoding", "In-Reply-To", "References",
)  # fmt: skip
"""Signed once more than they are there, so that none can be added unseen (RFC 6376 8.15)."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One answer to SELECTOR._domainkey.DOMAIN.

    key: None when it cannot be used, and then trouble is (result, reason): "temperror", "permerror" or "fail".
    algorithm: as in a=, "" without a key. testing: t=y. strict: t=s, i= must be at d= itself. secure: by DNSSEC.
    text: the record as it was published.
    """

    key: PublicKey | None = None
    algorithm: str = ""
    bits: int = 0
    testing: bool = False
    strict: bool = False
    trouble: tuple[str, str] = ("", "")
    secure: bool = False
    text: bytes = b""


def _useless(result: str, reason: str, testing: bool = False, text: bytes = b"") -> KeyRecord:
    return KeyRecord(testing=testing, trouble=(result, reason), text=text)


async def fetch_key(resolver: Resolver, selector: str, domain: str) -> KeyRecord:
    """Never raises for what DNS or the record's owner does."""
    try:
        answer = await resolver.lookup(f"{selector}._domainkey.{domain}", "TXT")
    except DnsTemporary as error:
        return _useless("temperror", f"DNS: {error.reason}")
    if not answer.values:
        return _useless("permerror", "no key record" if answer.exists else "no key record (no such name)")
    records = [record for record in map(parse_key, answer.values[:8]) if record.trouble[1] != _NO_KEY]
    if not records:
        return _useless("permerror", _NO_KEY, text=answer.values[0])
    if len(records) > 1:  # RFC 6376 3.6.2.2: undefined
        return _useless("permerror", "several key records")
    found = records[0]
    return replace(found, secure=True) if answer.secure else found


_NO_KEY = "not a key record"


@lru_cache(2048)
def parse_key(text: bytes) -> KeyRecord:
    """A TXT record; any bytes may come (RFC 6376 3.6.1, in the order of 6.1.2)."""
    if len(text) > RECORD_SIZE:
        return _useless("permerror", "key record too large")
    try:
        tags = parse_tag_value(text)
    except InvalidTagValueList:
        return _useless("permerror", _NO_KEY)
    if tags.get(b"v", b"DKIM1") != b"DKIM1" or (b"v" in tags and next(iter(tags)) != b"v") or b"p" not in tags:
        return _useless("permerror", _NO_KEY)
    flags = _words(tags.get(b"t", b""))
    testing, strict = b"y" in flags, b"s" in flags
    try:
        return _key(tags, testing, strict, text)
    except BadKey as error:
        return _useless("permerror", str(error), testing, text)


def _key(tags: dict[bytes, bytes], testing: bool, strict: bool, text: bytes) -> KeyRecord:
    if b"h" in tags and b"sha256" not in _words(tags[b"h"]):
        return _useless("permerror", "the key is not for SHA-256", testing, text)
    if not {b"*", b"email"} & set(_words(tags.get(b"s", b"*"))):
        return _useless("permerror", "the key is not for e-mail", testing, text)
    try:
        data = decode(tags[b"p"])
    except ValueError:
        raise BadKey("the key is not base64") from None
    if not data:
        return _useless("permerror", "the key was revoked", testing, text)
    kind = tags.get(b"k", b"rsa")
    if kind == b"ed25519":
        return KeyRecord(ed25519_public(data), "ed25519-sha256", 256, testing, strict, text=text)
    if kind != b"rsa":
        raise BadKey("unknown kind of key")
    bits = rsa_bits(data)
    if 0 < bits < LEAST_BITS:
        return _useless("fail", f"the key has only {bits} bits (RFC 8301)", testing, text)
    key, bits = rsa_public(data)
    return KeyRecord(key, "rsa-sha256", bits, testing, strict, text=text)


def _words(value: bytes) -> list[bytes]:
    return [word.strip() for word in value.split(b":")]


# -- our own ----------------------------------------------------------------------


class KeyRow(Protocol):
    """A key as the configuration has it (`config.schema.Dkim`)."""

    @property
    def selector(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def headers(self) -> Sequence[str]: ...
    @property
    def oversign(self) -> Sequence[str]: ...
    @property
    def expiry(self) -> float: ...
    @property
    def sign(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class SigningKey:
    """headers: lower-case names to sign; oversign: those of them signed once more than they are there. expiry: seconds
    until the signature expires, 0 for never. Its text form names no key material."""

    domain: str
    selector: str
    key: PrivateKey = field(repr=False)
    headers: tuple[str, ...] = tuple(name.lower() for name in SIGNED)
    oversign: frozenset[str] = frozenset(name.lower() for name in OVERSIGNED)
    expiry: float = 0.0
    algorithm: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", algorithm_of(self.key))


def load_key(domain: str, row: KeyRow) -> SigningKey:
    """Reads the file. Raises OSError, or BadKey for what is no key."""
    key = private_key(Path(row.key).read_bytes())
    names = tuple(dict.fromkeys(name.lower() for name in (row.headers or SIGNED)))
    names = ("from", *(name for name in names if name != "from"))
    over = frozenset(name.lower() for name in row.oversign)
    return SigningKey(domain, row.selector, key, names, over, row.expiry)


def load_keys(domain: str, rows: Sequence[KeyRow]) -> tuple[SigningKey, ...]:
    """Those that sign, in the order of the configuration; raises as `load_key`."""
    return tuple(load_key(domain, row) for row in rows if row.sign)


class KeyRing:
    """The signing keys of one process. Not shared between threads."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, tuple[SigningKey, ...]]] = {}

    def keys(self, domain: str, rows: Sequence[KeyRow]) -> tuple[SigningKey, ...]:
        """The keys that sign for a domain (its A-labels). Raises OSError or BadKey, while a key cannot be used: mail
        should wait then rather than go out unsigned."""
        used = [row for row in rows if row.sign]
        if not used:
            return ()
        state = (used, [_state(row.key) for row in used])
        kept = self._kept.get(domain)
        if kept is None or kept[0] != state:
            kept = self._kept[domain] = (state, load_keys(domain, used))
        return kept[1]


def _state(file: str) -> tuple[int, int, int]:
    found = os.stat(file)
    return found.st_mtime_ns, found.st_size, found.st_ino
