"""DKIM: verifying the signatures of others, and signing (RFC 6376, RFC 8301, RFC 8463).

Canonical forms and tag lists are dkimpy's; keys come through the `Resolver`, all at once and before anything is
hashed; the cryptography is `rsa`'s. A body is hashed once for all signatures, in pieces (`mailtext`), in a thread
from 64 KB on. At most `MOST` signatures of a message are looked at, the topmost.

Results are those of RFC 8601 2.7.1:

    pass       verified
    fail       body or header was changed, or the key is too short (RFC 8301 3.2)
    policy     verified, but l= leaves a part of the body unsigned
    neutral    not understood: syntax, an algorithm that we do not know; or not valid, and the key is a test (t=y)
    temperror  DNS did not answer
    permerror  no key, a revoked or unusable one; rsa-sha1 (RFC 8301 3.1); expired; From not signed; i= not under d=

A message without any signature has no results.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import dkim
from dkim.canonicalization import CanonicalizationPolicy, InvalidCanonicalizationPolicyError
from dkim.util import InvalidTagValueList, parse_tag_value

from echomox.dns.eager import begin
from echomox.dns.types import Resolver, canonical_name
from echomox.mailauth.dkimkeys import KeyRecord, SigningKey, fetch_key
from echomox.mailauth.mailtext import (
    RELAXED,
    HeaderFields,
    MailText,
    body_digests,
    mail_text,
    relaxed_field,
    without_signature,
)
from echomox.mailauth.rsa import decode, sign_digest, verify_digest

MOST = 8
FIELD_SIZE = 8192
MOST_NAMES = 500  # in h=
IN_LOOP = 64 * 1024  # bytes of a body that is hashed without a thread
SLOP = 36_000.0  # seconds that a clock of others may be ahead, as dkimpy has it
_FIELD = b"dkim-signature"
_REQUIRED = (b"v", b"a", b"b", b"bh", b"d", b"h", b"s")
_NUMBER = re.compile(rb"[0-9]{1,12}")

BodyDigests = Mapping[tuple[bytes, int | None], bytes]


@dataclass(frozen=True, slots=True)
class DkimResult:
    """Of one signature. domain, selector: d= and s=, lower-case A-labels. identity: i=, or "@" + domain. algorithm: a=.
    reason: "" for a plain pass. testing: the key's t=y. header_b: the beginning of b=, to tell signatures apart (RFC
    6008). body_length: l=, or None. secure: the key came by DNSSEC."""

    result: str
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    reason: str = ""
    testing: bool = False
    header_b: str = ""
    body_length: int | None = None
    secure: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature that could be read. forms: canonical form of header and body. field: (name, value)."""

    domain: str
    selector: str
    identity: str
    algorithm: str
    names: tuple[bytes, ...]
    forms: tuple[bytes, bytes]
    limit: int | None
    body_hash: bytes
    signature: bytes
    header_b: str
    field: tuple[bytes, bytes]

    def result(self, result: str, reason: str, key: KeyRecord) -> DkimResult:
        return DkimResult(
            result, self.domain, self.selector, self.identity, self.algorithm, reason, key.testing,
            self.header_b, self.limit, key.secure,
        )  # fmt: skip


async def verify_dkim(
    resolver: Resolver,
    source: bytes | MailText,
    *,
    now: float,
    timeout: float = 10.0,  # noqa: ASYNC109
    executor: Executor | None = None,
) -> tuple[DkimResult, ...]:
    """One result per signature, the topmost first. timeout: of all look-ups, in seconds. Raises OSError when the body
    cannot be read, and nothing for what it says."""
    text = mail_text(source)
    fields = HeaderFields(text.header)
    read = read_signatures(fields, now)
    if not read:
        return ()
    good = [each for each in read if isinstance(each, Signature)]
    keys = await fetch_keys(resolver, [(each.selector, each.domain) for each in good], timeout)
    usable = [each for each in good if keys[each.selector, each.domain].key is not None]
    digests = await digests_of(text, {(each.forms[1], each.limit) for each in usable}, executor)
    return tuple(
        verify_signature(each, fields, digests, keys[each.selector, each.domain])
        if isinstance(each, Signature)
        else each
        for each in read
    )


async def fetch_keys(
    resolver: Resolver,
    names: Sequence[tuple[str, str]],
    timeout: float,  # noqa: ASYNC109
) -> dict[tuple[str, str], KeyRecord]:
    """The records of all (selector, domain), each asked once and all at once; what has not come in time is a
    "temperror"."""
    tasks = {name: begin(fetch_key(resolver, *name)) for name in dict.fromkeys(names)}
    waiting = [task for task in tasks.values() if isinstance(task, asyncio.Task)]
    if waiting:
        try:
            await asyncio.wait(waiting, timeout=timeout)
        finally:
            for task in waiting:
                task.cancel()
    late = KeyRecord(trouble=("temperror", "DNS: no answer in time"))
    return {name: task.result() if task.done() and not task.cancelled() else late for name, task in tasks.items()}


async def digests_of(
    text: MailText, wanted: set[tuple[bytes, int | None]], executor: Executor | None = None
) -> BodyDigests:
    """`body_digests`, large bodies in a thread."""
    if text.size < IN_LOOP or not wanted:
        return body_digests(text, wanted)
    return await asyncio.get_running_loop().run_in_executor(executor, body_digests, text, wanted)


# -- reading ------------------------------------------------------------------------


class Unread(Exception):
    """A signature that ends before its key is asked for: (result, reason)."""


def read_signatures(fields: HeaderFields, now: float) -> list[Signature | DkimResult]:
    """The first MOST of a message: what can be verified, or the result already."""
    found: list[Signature | DkimResult] = []
    for name, value in fields.fields():
        if name.lower().rstrip() == _FIELD:
            found.append(_read(name, value, fields.count(b"from"), now))
            if len(found) == MOST:
                break
    return found


def _read(name: bytes, value: bytes, froms: int, now: float) -> Signature | DkimResult:
    tags: dict[bytes, bytes] = {}
    try:
        if len(value) > FIELD_SIZE:
            raise Unread("neutral", "the signature field is too large")
        try:
            tags = parse_tag_value(value)
        except InvalidTagValueList:
            raise Unread("neutral", "syntax") from None
        found = read_tags(tags, (name, value), _REQUIRED)
        _check(found, tags, froms, now)
        return found
    except Unread as trouble:
        result, reason = trouble.args
        return _described(tags, result, reason)


def read_tags(
    tags: dict[bytes, bytes], field: tuple[bytes, bytes], required: Sequence[bytes], arc: bool = False
) -> Signature:
    """A tag list as a Signature. Raises Unread for what dkimpy finds wrong with it, and where it does not look. arc: it
    is of an ARC-Message-Signature or ARC-Seal."""
    for tag in (b"b", b"bh"):
        if tag in tags:  # dkimpy's expression takes quadratic time for white space
            tags[tag] = b"".join(tags[tag].split())
    # What depends on the clock and on i= and q= is checked here, by the caller's time.
    skipped = (b"t", b"x", b"q") if arc else (b"t", b"x", b"q", b"i")
    checked = {tag: tags[tag] for tag in tags if tag not in skipped}
    try:
        dkim.validate_signature_fields(checked, required, arc)
        forms = CanonicalizationPolicy.from_c_value(tags.get(b"c", RELAXED + b"/" + RELAXED if arc else None))
        body_hash, signature = decode(tags.get(b"bh", b"")), decode(tags[b"b"])
    except (dkim.DKIMException, InvalidCanonicalizationPolicyError, ValueError) as error:
        raise Unread("neutral", _reason(error)) from None
    domain, selector = _name(tags[b"d"]), _name(tags[b"s"])
    if not domain or not selector or "." not in domain:
        raise Unread("neutral", "d= or s= is no domain name")
    names = tuple(map(bytes.strip, tags.get(b"h", b"").lower().split(b":")))
    if len(names) > MOST_NAMES:
        raise Unread("neutral", "too many names in h=")
    return Signature(
        domain=domain,
        selector=selector,
        identity=_text(tags[b"i"]) if b"i" in tags and not arc else "@" + domain,
        algorithm=_text(tags[b"a"]),
        names=names,
        forms=(forms.header_algorithm.name, forms.body_algorithm.name),
        limit=int(tags[b"l"]) if tags.get(b"l") and not arc else None,
        body_hash=body_hash,
        signature=signature,
        header_b=_text(tags[b"b"][:8]),
        field=field,
    )


def _check(found: Signature, tags: Mapping[bytes, bytes], froms: int, now: float) -> None:
    """RFC 6376 6.1.1."""
    if found.algorithm == "rsa-sha1":
        raise Unread("permerror", "rsa-sha1 is not accepted (RFC 8301)")
    if b"q" in tags and b"dns/txt" not in [word.strip() for word in tags[b"q"].split(b":")]:
        raise Unread("permerror", "the key is not in DNS")
    if found.names.count(b"from") < max(1, froms):
        raise Unread("permerror", "From is not signed")
    at = canonical_name(found.identity.rpartition("@")[2])
    if at != found.domain and not (at or "").endswith("." + found.domain):
        raise Unread("permerror", "i= is not under d=")
    if b"t" in tags and _number(tags[b"t"]) > now + SLOP:
        raise Unread("permerror", "signed in the future")
    if b"x" in tags:
        expires = _number(tags[b"x"])
        if b"t" in tags and expires < _number(tags[b"t"]):
            raise Unread("permerror", "x= is before t=")
        if expires < now:
            raise Unread("permerror", "expired")


def _number(value: bytes) -> int:
    if not _NUMBER.fullmatch(value):
        raise Unread("neutral", "t= or x= is no number")
    return int(value)


def _name(value: bytes) -> str:
    return canonical_name(value.decode("utf-8", "replace")) or ""


def _text(value: bytes) -> str:
    text = value[:320].decode("utf-8", "replace")
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def _reason(error: Exception) -> str:
    """dkimpy's words, without what it quotes of the message."""
    return str(error).partition(" (")[0].partition(": b'")[0][:80] or "syntax"


def _described(tags: Mapping[bytes, bytes], result: str, reason: str) -> DkimResult:
    domain = _name(tags.get(b"d", b""))
    identity = _text(tags[b"i"]) if b"i" in tags else "@" + domain if domain else ""
    header_b = _text(b"".join(tags.get(b"b", b"").split())[:8])
    selector, algorithm = _name(tags.get(b"s", b"")), _text(tags.get(b"a", b""))
    return DkimResult(result, domain, selector, identity, algorithm, reason, header_b=header_b)


# -- verifying ----------------------------------------------------------------------


def verify_signature(found: Signature, fields: HeaderFields, digests: BodyDigests, key: KeyRecord) -> DkimResult:
    """RFC 6376 6.1.2 and 6.1.3, with the key that there is. digests: of the body, if the key can be used."""
    result, reason = _verify(found, fields, digests, key)
    if key.testing and result in ("fail", "policy", "permerror"):
        result, reason = "neutral", f"{reason}, but the key is a test"
    return found.result(result, reason, key)


def _verify(found: Signature, fields: HeaderFields, digests: BodyDigests, key: KeyRecord) -> tuple[str, str]:
    if key.key is None:
        return key.trouble
    if key.algorithm != found.algorithm:
        return "permerror", "the key is of another algorithm"
    if key.strict and canonical_name(found.identity.rpartition("@")[2]) != found.domain:
        return "permerror", "i= is not at d= itself, as the key demands"
    form = found.forms[1]
    length = int(digests[form, -1])
    if digests[form, found.limit] != found.body_hash or (found.limit or 0) > length:
        return "fail", "the body was changed"
    if not holds(found, fields.canonical(found.forms[0], found.names), key):
        return "fail", "the signed fields were changed"
    if found.limit is not None and found.limit < length:
        return "policy", "a part of the body is not signed (l=)"
    return "pass", ""


def holds(found: Signature, signed: bytes, key: KeyRecord) -> bool:
    """Whether b= is the signature of these canonical fields and of its own."""
    if key.key is None:
        return False
    digest = hashlib.sha256(signed + without_signature(found.forms[0], *found.field)).digest()
    return verify_digest(key.key, digest, found.signature)


# -- signing ------------------------------------------------------------------------


def sign(source: bytes | MailText, keys: Sequence[SigningKey], now: float) -> bytes:
    """The DKIM-Signature fields to put before the message, one per key, CRLF ended; b"" without keys.

    relaxed/relaxed. Bare LFs count as CRLF: the message must go out with CRLF. now: Unix seconds, for t= and x=.
    Raises ValueError for a message without a From field (RFC 6376 5.4), OSError when the body cannot be read.
    """
    if not keys:
        return b""
    text = mail_text(source)
    digest = body_digests(text, {(RELAXED, None)})[RELAXED, None]
    return sign_header(text.header, digest, keys, now)


async def sign_mail(
    source: bytes | MailText, keys: Sequence[SigningKey], now: float, executor: Executor | None = None
) -> bytes:
    """As `sign`; a large body is hashed in a thread."""
    if not keys:
        return b""
    text = mail_text(source)
    digests = await digests_of(text, {(RELAXED, None)}, executor)
    return sign_header(text.header, digests[RELAXED, None], keys, now)


def sign_header(header: bytes, body_digest: bytes, keys: Sequence[SigningKey], now: float) -> bytes:
    """As `sign`, for a body whose relaxed SHA-256 is known. header: with all fields that are to be signed."""
    fields = HeaderFields(header)
    if not fields.count(b"from"):
        raise ValueError("a message without From cannot be signed")
    body = base64.b64encode(body_digest)
    return b"".join(_signed(fields, body, key, int(now)) for key in keys)


def _signed(fields: HeaderFields, body: bytes, key: SigningKey, now: int) -> bytes:
    names: list[str] = []
    for name in key.headers:
        names += [name] * (fields.count(name.encode("utf-8")) + (name in key.oversign))
    times = f"t={now};" + (f" x={now + int(key.expiry)};" if key.expiry > 0 else "")
    start = (
        f" v=1; a={key.algorithm}; c=relaxed/relaxed; d={key.domain};\r\n\ts={key.selector}; {times}\r\n"
        f"\th={_folded_names(names)};\r\n\tbh={body.decode()};\r\n\tb="
    ).encode()
    signed = fields.canonical(RELAXED, [name.encode("utf-8") for name in names])
    own = relaxed_field(b"DKIM-Signature", start + b"\r\n").removesuffix(b"\r\n")
    value = base64.b64encode(sign_digest(key.key, hashlib.sha256(signed + own).digest()))
    lines = [value[at : at + 74] for at in range(0, len(value), 74)]
    return b"DKIM-Signature:" + start + b"\r\n\t ".join(lines) + b"\r\n"


def _folded_names(names: Sequence[str]) -> str:
    """With a fold before each line would pass 78 columns."""
    lines, line = [], names[0]
    for name in names[1:]:
        if len(line) + len(name) > 70:
            lines.append(line + ":")
            line = name
        else:
            line = f"{line}:{name}"
    return "\r\n\t ".join([*lines, line])
