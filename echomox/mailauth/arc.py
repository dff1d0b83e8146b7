"""ARC: what earlier hands say they found, sealed by each of them (RFC 8617), verified only.

dkimpy's `ARC` checks the sets: instances, what each must have, the order of cv= (RFC 8617 5.2). Its signatures are
verified here instead (`_Chain.verify_sig`): with keys that were fetched beforehand and all at once, bodies hashed
once and in pieces, cryptography by `rsa`, as for DKIM. A set is trusted by nobody for being valid; whose seal is
believed, the configuration says, and then `ArcResult.dmarc_by` gives what the sealer had found of DMARC.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import dkim
from dkim.util import InvalidTagValueList, parse_tag_value

from echomox.dns.types import Resolver
from echomox.mailauth.dkim import FIELD_SIZE, Signature, Unread, digests_of, fetch_keys, holds, read_tags
from echomox.mailauth.dkimkeys import KeyRecord
from echomox.mailauth.mailtext import HeaderFields, MailText, mail_text, relaxed_field

MOST_SETS = 50  # RFC 8617 4.2.1
MOST_LOOKUPS = 20  # distinct keys; a real chain has a few
SEAL, MESSAGE, RESULTS = b"arc-seal", b"arc-message-signature", b"arc-authentication-results"
_ANY = re.compile(rb"^ARC-", re.I | re.M)
_INSTANCE = re.compile(rb"(?:\A|;)\s*+i\s*+=\s*+([0-9]{1,2})\s*+(?:;|\Z)")
_METHOD = re.compile(r"(?:\A|;)\s*+([A-Za-z0-9-]++)\s*+(?:/\s*+[0-9]++\s*+)?=\s*+([A-Za-z]++)")


@dataclass(frozen=True, slots=True)
class ArcSet:
    """One instance of a chain. domain, selector: of its seal. cv: as the sealer wrote it. authres: its
    ARC-Authentication-Results, unfolded, without i=. results: (method, result) read from that."""

    instance: int
    domain: str
    selector: str
    cv: str
    authres: str
    results: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ArcResult:
    """result: "none", "pass", "fail" (RFC 8617 4.4), or "temperror" when DNS did not answer for a key. sets: by
    instance, the oldest first; what they say means something only when the result is "pass"."""

    result: str = "none"
    reason: str = ""
    sets: tuple[ArcSet, ...] = ()

    def dmarc_by(self, trusted: Collection[str]) -> tuple[str, ArcSet | None]:
        """What a sealer that is trusted had found of DMARC, as ("pass", its set); ("", None) when nothing of this can
        be relied on. trusted: domains. The chain must have passed, and all seals from that set to the newest must be by
        trusted domains: a later hand that is not could have changed the mail and sealed it anew."""
        if self.result != "pass":
            return "", None
        found: tuple[str, ArcSet | None] = ("", None)
        for each in reversed(self.sets):
            if each.domain not in trusted:
                break
            said = dict(reversed(each.results)).get("dmarc")
            if said is not None:
                found = (said, each)
        return found


async def verify_arc(
    resolver: Resolver,
    source: bytes | MailText,
    *,
    timeout: float = 10.0,  # noqa: ASYNC109
    executor: Executor | None = None,
) -> ArcResult:
    """Raises OSError when the body cannot be read, and nothing for what the message says."""
    text = mail_text(source)
    if b"arc-" not in text.header.lower() or not _ANY.search(text.header):
        return ArcResult()
    fields = HeaderFields(text.header)
    if not any(map(fields.count, (SEAL, MESSAGE, RESULTS))):
        return ArcResult()
    try:
        chain = _Chain(fields)
    except Unread as trouble:
        return ArcResult("fail", trouble.args[1])
    names = list(dict.fromkeys((each.selector, each.domain) for each in chain.signatures.values()))
    if len(names) > MOST_LOOKUPS:
        return ArcResult("fail", "too many different keys")
    chain.keys = await fetch_keys(resolver, names, timeout)
    for name, key in chain.keys.items():
        if key.trouble[0] == "temperror":
            return ArcResult("temperror", f"{name[0]}._domainkey.{name[1]}: {key.trouble[1]}", chain.sets)
    newest = chain.signatures[len(chain.sets), MESSAGE]
    chain.digests = await digests_of(text, {(newest.forms[1], None)}, executor)
    return chain.result()


class _Chain(dkim.ARC):  # type: ignore[misc]
    """The ARC sets of one message. Raises Unread for what cannot be a chain."""

    def __init__(self, fields: HeaderFields) -> None:
        super().__init__()
        own = [(name, value) for name, value in fields.fields() if name.lower() in (SEAL, MESSAGE, RESULTS)]
        self.keys: Mapping[tuple[str, str], KeyRecord] = {}
        self.digests: Mapping[tuple[bytes, int | None], bytes] = {}
        self._fields = fields
        self._raw: dict[tuple[int, bytes], tuple[bytes, bytes]] = {}
        if len(own) > 3 * MOST_SETS:
            raise Unread("fail", "more than 50 sets")
        for name, value in own:
            found = _INSTANCE.search(value if name.lower() != RESULTS else value.partition(b";")[0])
            if found is None or not 1 <= int(found[1]) <= MOST_SETS or len(value) > 2 * FIELD_SIZE:
                raise Unread("fail", "a field without a usable instance")
            if (place := (int(found[1]), name.lower())) in self._raw:
                raise Unread("fail", f"two fields of one kind in set {place[0]}")
            self._raw[place] = (name, value)
        count = max(instance for instance, _ in self._raw)
        if len(self._raw) != 3 * count:
            raise Unread("fail", "a set is not complete")
        self.signatures = {place: self._read(place) for place in self._raw if place[1] != RESULTS}
        self.sets = tuple(self._set(instance) for instance in range(1, count + 1))
        # dkimpy looks for i= by expressions that want it first; what is hashed is the field as it came.
        self.headers = [(name, self._i_first(place, value)) for place, (name, value) in self._raw.items()]

    def _i_first(self, place: tuple[int, bytes], value: bytes) -> bytes:
        if place[1] == RESULTS:
            return value
        tags = {b"i": b"%d" % place[0], **parse_tag_value(value)}
        return b" " + b"; ".join(tag + b"=" + text for tag, text in tags.items()) + b"\r\n"

    def _read(self, place: tuple[int, bytes]) -> Signature:
        name, value = self._raw[place]
        required = [b"i", b"a", b"b", b"d", b"s", *((b"cv",) if place[1] == SEAL else (b"bh", b"h"))]
        try:
            tags = parse_tag_value(value)
        except InvalidTagValueList:
            raise Unread("fail", f"syntax in set {place[0]}") from None
        if len(value) > FIELD_SIZE:
            raise Unread("fail", "a signature field is too large")
        return read_tags(tags, (name, value), required, arc=True)

    def _set(self, instance: int) -> ArcSet:
        name, value = self._raw[instance, RESULTS]
        words = relaxed_field(name, value).partition(b":")[2].decode("utf-8", "replace").strip()
        authres = words.partition(";")[2].strip()
        cv = parse_tag_value(self._raw[instance, SEAL][1])[b"cv"].decode("ascii", "replace")
        seal = self.signatures[instance, SEAL]
        return ArcSet(instance, seal.domain, seal.selector, cv, authres, results_of(authres))

    def result(self) -> ArcResult:
        try:
            verdict, _, reason = self.verify(dnsfunc=None)
        except (dkim.DKIMException, ValueError, KeyError, IndexError, TypeError) as error:
            verdict, reason = b"fail", f"not understood: {type(error).__name__}"
        result = "pass" if verdict == dkim.CV_Pass else "fail"
        words = "" if result == "pass" else "".join(char if char.isprintable() else "?" for char in str(reason))[:120]
        return ArcResult(result, words, self.sets)

    def verify_sig(self, sig: dict[bytes, bytes], include_headers: list[bytes], sig_header: Any, dnsfunc: Any) -> bool:
        """In place of dkimpy's: one signature of one set. An ARC-Seal has no bh=; it covers all fields of the chain, by
        instance (RFC 8617 5.1.1). Of the message signatures only the newest must hold (5.2 step 3)."""
        instance = int(sig[b"i"])
        kind = MESSAGE if b"bh" in sig else SEAL
        found = self.signatures[instance, kind]
        key = self.keys[found.selector, found.domain]
        if key.key is None or key.algorithm != found.algorithm:
            return False
        if kind == SEAL:
            return holds(found, self._sealed(instance), key)
        if instance != len(self.sets):
            return False
        if self.digests[found.forms[1], None] != found.body_hash:
            return False
        return holds(found, self._fields.canonical(found.forms[0], found.names), key)

    def _sealed(self, instance: int) -> bytes:
        order = [(each, kind) for each in range(1, instance + 1) for kind in (RESULTS, MESSAGE, SEAL)]
        return b"".join(relaxed_field(*self._raw[place]) for place in order[:-1])


def results_of(authres: str) -> tuple[tuple[str, str], ...]:
    """(method, result), lower-case, of an unfolded Authentication-Results value (RFC 8601 2.2), also without its
    authserv-id; comments and quoted strings are stepped over."""
    return tuple((method.lower(), result.lower()) for method, result in _METHOD.findall(_bare(authres[:FIELD_SIZE])))


def _bare(text: str) -> str:
    """Without comments and quoted strings; one that does not end takes the rest."""
    out, depth, quoted, at = [], 0, False, 0
    while at < len(text):
        char = text[at]
        if char == "\\" and (depth or quoted):
            at += 1
        elif quoted:
            quoted = char != '"'
        elif char == "(":
            depth += 1
        elif depth:
            depth -= char == ")"
        elif char == '"':
            quoted = True
        else:
            out.append(char)
        at += 1
    return "".join(out)

