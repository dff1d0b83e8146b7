"""The Sender Rewriting Scheme: return addresses of mail that we send on, so that SPF holds at the next server and a
report finds its way back (Q32).

    SRS0=HHHHHHHH=TT=domain=local@ours               of local@domain
    SRS1=HHHHHHHH=first=opaque-part@ours             of SRS0opaque-part@first, or of one that was rewritten again

HHHHHHHH is the beginning of an HMAC-SHA-256 of the rest in lower case, in base 32, so that a server which changes the
case of a local part does no harm; TT are days, modulo 1024, in base 32 ("The Sender Rewriting Scheme", M. Wong and
S. Keating, 2004: a hash of any length, a timestamp of two characters). An address is good for VALID days. The key is
a file of the data directory with one key a line: the first one signs, all of them are good.

A rewritten local part that would be longer than 64 octets (RFC 5321 4.5.3.1.1) is not made; the caller takes an
address of ours then.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from base64 import b32encode
from hashlib import sha256
from pathlib import Path

VALID = 21
"""Days in which a report may come back."""
HASH = 8
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
DAY = 86_400
LOCAL_LIMIT = 64
FILE = "srs.key"
LEAST = 16
"""Bytes of a key."""
_SRS = re.compile(r"SRS([01])([=+-])(.+)", re.I | re.S)


class NotSrs(ValueError):
    """A local part that is not ours to undo; str() says why."""


class TooLong(ValueError):
    """The rewritten local part does not fit."""


class Srs:
    """keys: the first one signs."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        if not keys or min(map(len, keys)) < LEAST:
            raise ValueError(f"an SRS key has at least {LEAST} bytes")
        self._keys = keys

    def rewrite(self, sender: str, domain: str, now: float) -> str:
        """The envelope sender, at our `domain`, of mail from `sender` that is sent on at `now` (Unix seconds); "" stays
        "". Raises TooLong; ValueError for what is no address."""
        if not sender:
            return ""
        local, at, host = sender.rpartition("@")
        if not at or not local or not host or "=" in host:
            raise ValueError("not an address that can be rewritten")
        found = _SRS.fullmatch(local)
        if found is None:
            new = self._first(local, host, now)
        elif found[1] == "0":
            new = self._again(host, found[2] + found[3])
        else:
            # SRS1=hash=first=rest: the first server stays, the hash is ours.
            _, first, rest = _split(found[3], 3)
            new = self._again(first, rest)
        if len(new.encode()) > LOCAL_LIMIT:
            raise TooLong("the rewritten sender is too long")
        return f"{new}@{domain}"

    def undo(self, local: str, now: float) -> str:
        """Who a local part of ours stands for. Raises NotSrs: forged, too old, or nothing of the kind."""
        quoted = len(local) >= 2 and local[0] == local[-1] == '"'
        found = _SRS.fullmatch(local[1:-1] if quoted else local)
        if found is None:
            raise NotSrs("no SRS address")
        if found[1] == "0":
            given, stamp, host, user = _split(found[3], 4)
            self._check(given, stamp + host + user)
            _check_age(stamp, now)
            return f'"{user}"@{host}' if quoted else f"{user}@{host}"
        given, first, rest = _split(found[3], 3)
        self._check(given, first + rest)
        return f"SRS0{rest}@{first}"

    def _first(self, local: str, host: str, now: float) -> str:
        stamp = timestamp(now)
        # A local part in quotes stays in them: the whole is quoted then.
        quoted = len(local) >= 2 and local[0] == local[-1] == '"'
        user = local[1:-1] if quoted else local
        new = f"SRS0={self._hash(self._keys[0], stamp + host + user)}={stamp}={host}={user}"
        return f'"{new}"' if quoted else new

    def _again(self, first: str, rest: str) -> str:
        """rest: from the separator on."""
        return f"SRS1={self._hash(self._keys[0], first + rest)}={first}={rest}"

    def _check(self, given: str, signed: str) -> None:
        want = given.upper().encode("utf-8", "replace")
        if not any(hmac.compare_digest(self._hash(key, signed).encode(), want) for key in self._keys):
            raise NotSrs("the hash is wrong")

    def _hash(self, key: bytes, signed: str) -> str:
        digest = hmac.digest(key, signed.lower().encode("utf-8", "replace"), sha256)
        return b32encode(digest).decode("ascii")[:HASH]


def is_srs(local: str) -> bool:
    """Whether a local part looks like one of them; whether it is ours only `undo` knows."""
    return _SRS.fullmatch(local.strip('"')) is not None


def _split(text: str, parts: int) -> list[str]:
    found = text.split("=", parts - 1)
    if len(found) != parts or not all(found):
        raise NotSrs("parts are missing")
    return found


def timestamp(now: float) -> str:
    """The day, in two characters."""
    day = int(now // DAY) % 1024
    return ALPHABET[day >> 5] + ALPHABET[day & 31]


def _check_age(stamp: str, now: float) -> None:
    try:
        high, low = (ALPHABET.index(letter) for letter in stamp.upper())
    except ValueError:
        raise NotSrs("the timestamp is none") from None
    age = (int(now // DAY) - (high << 5 | low)) % 1024
    if age > VALID and age != 1023:  # a clock may be a day behind
        raise NotSrs("it is too old")


def load_keys(directory: Path) -> Srs:
    """With the keys of the data directory, which are made when there are none. Raises OSError; ValueError when the file
    holds no keys."""
    return Srs(keys_at(directory / FILE))


def keys_at(path: Path) -> tuple[bytes, ...]:
    """The keys of a file, one a line, the first one to sign with; a new one when there is no file. Raises as above."""
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        text = _make(path)
    except UnicodeDecodeError:
        raise ValueError(f"{path} holds no keys") from None
    try:
        keys = tuple(bytes.fromhex(line) for line in text.split())
    except ValueError:
        keys = ()
    if not keys or min(map(len, keys)) < LEAST:
        raise ValueError(f"{path} holds no keys: they are lines of at least {2 * LEAST} hexadecimal digits")
    return keys


def _make(path: Path) -> str:
    """A new key; of several processes that make one at once, the first one's holds."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(scratch, path)
        except FileExistsError:
            pass
    finally:
        scratch.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)  # what a lost key has signed could not be undone
    finally:
        os.close(directory)
    return path.read_text("ascii")
