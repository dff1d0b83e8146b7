"""SPF: may this address send mail for this domain? RFC 7208, with RFC 8616 for internationalised mail.

The record is parsed and evaluated by pyspf, which asks DNS when it comes to a term and waits for the answer. We never
let it wait: an evaluation reads answers from a table, and where one is missing it is given up; what was missing, and
what the records known so far name besides, is then asked all at once, and the evaluation starts again from the
beginning (`_Evaluation`). It is a pure function of the table, so the last run is the whole check. No thread, and no
state outside of one check.

Limits of RFC 7208 4.6.4: 10 terms that ask, 2 of them in vain, 10 MX or PTR names, one time limit for all; and of ours:
RECORD bytes of one record and RECORDS of all, so that nobody makes us evaluate for long.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import spf

from echomox.dns.eager import begin, together
from echomox.dns.types import Answer, DnsTemporary, Resolver, canonical_name, plain_address

TIMEOUT = 20.0  # seconds, RFC 7208 4.6.4
RECORD = 8192  # bytes of one record; RFC 7208 3.4 advises 450
RECORDS = 24_576  # bytes of all records of one check
RUNS = 60  # evaluations of one check; each but the last finds something missing
AHEAD = 10  # questions asked before it is known whether they are needed
EXPLANATION = 400  # characters
RESULTS = ("none", "neutral", "pass", "fail", "softfail", "temperror", "permerror")

_TERM = re.compile(r"(?:[-+?~]?(include|a|mx|exists)|(redirect|exp)=)(?::?([a-z0-9_.-]+\.[a-z0-9-]+))?(?:/.*)?$", re.I)
_ASKED_AS = {"include": ("TXT",), "redirect": ("TXT",), "exp": ("TXT",), "exists": ("A",), "mx": ("MX",)}
_RECORD = re.compile(rb"v=spf1(?: |$)", re.I)
_PLAIN = re.compile(rb"v=spf1(?: +[-+~?]?(?:all|ip4:[0-9./]{1,20}|ip6:[0-9a-f:./]{1,50}))* *", re.I)
PLAIN = 512  # bytes of a record whose evaluation is remembered

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SpfResult:
    """result: one of RESULTS (RFC 7208 2.6). domain: that was checked, in A-labels. identity: "mailfrom", or "helo"
    where the sender is null. mechanism: the term that matched, "" if none did ("default" of neutral without a match).
    explanation: of the domain's owner, of a fail, printable ASCII of one line, "" for none. reason: of temperror and
    permerror, and why there is no result. secure: all answers were validated by DNSSEC. asked: questions to DNS.
    """

    result: str
    domain: str = ""
    identity: str = "mailfrom"
    mechanism: str = ""
    explanation: str = ""
    reason: str = ""
    secure: bool = False
    asked: tuple[Key, ...] = field(default=(), compare=False)


async def check_spf(
    resolver: Resolver,
    ip: str,
    mail_from: str,
    helo: str,
    *,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - a time limit is part of the result, not an error
    receiver: str = "unknown",
) -> SpfResult:
    """The SPF result of one client for its MAIL FROM, or for its HELO name where that is null (RFC 7208 2.4).

    ip: of the client, an address in text form. mail_from: without brackets, "" for null. timeout: seconds for all. DNS
    trouble is a temperror. receiver: our name, for the macro r. Never raises for what comes from outside.
    """
    identity = "mailfrom" if mail_from else "helo"
    local, _, host = mail_from.rpartition("@") if mail_from else ("postmaster", "", helo)
    domain = canonical_name(host.strip())
    try:
        address = str(plain_address(ip))
    except ValueError:
        return SpfResult("none", domain or "", identity, reason="the client has no IP address")
    if not domain or "." not in domain or _is_literal(domain):  # RFC 7208 4.3
        return SpfResult("none", "" if domain is None else domain, identity, reason="no fully qualified domain name")
    helo = canonical_name(helo.strip("[] ")) or "unknown"
    check = _Check(resolver, address, f"{local or 'postmaster'}@{domain}", helo, receiver)
    work = begin(check.run(domain, identity))
    if not isinstance(work, asyncio.Task):
        return work.result()
    try:
        await asyncio.wait([work], timeout=timeout)
    finally:
        work.cancel()
    if work.done():
        return work.result()
    return SpfResult("temperror", domain, identity, reason="DNS did not answer in time", asked=tuple(check.answers))


def explain_record(record: str) -> list[tuple[str, str]]:
    """The terms of a record in their order, each with what is wrong with it or "" (for `echomox spf parse`). Terms are
    checked alone, without DNS.
    """
    found: list[tuple[str, str]] = []
    terms = record.split(" ")
    if terms[0].lower() != "v=spf1":
        return [(terms[0], 'a record begins with "v=spf1"')]
    for term in filter(None, terms[1:]):
        evaluation = _Evaluation("192.0.2.1", "postmaster@example.com", "example.com", "unknown", {}, {})
        evaluation.assume_empty = True
        result, _, text = evaluation.evaluate(f"v=spf1 {term}")
        wrong = text.partition(": ")[2] if result == "permerror" else ""
        found.append((term, "" if wrong.startswith(("No valid SPF record", "redirect domain has no")) else wrong))
    return found


class _Found(NamedTuple):
    """What an evaluation came to. code, text: pyspf's. matched: the term, or ""."""

    result: str
    code: int
    text: str
    matched: str
    secure: bool = False


class _Check:
    """One check: the table of answers, and the evaluations over it."""

    def __init__(self, resolver: Resolver, ip: str, sender: str, helo: str, receiver: str) -> None:
        self._resolver = resolver
        self._session = (ip, sender, helo, receiver)
        self._time = str(int(time.time()))  # the same in all runs
        self._ahead = AHEAD
        self.answers: dict[Key, Answer | DnsTemporary] = {}
        self._terms: dict[Key, Any] = {}

    async def run(self, domain: str, identity: str) -> SpfResult:
        await self._fetch({(domain, "TXT")})
        plain = self._plain(domain)
        if plain is not None:
            return self._result(plain, domain, identity)
        for _ in range(RUNS):
            evaluation = _Evaluation(*self._session, self.answers, self._terms)
            evaluation.t = self._time
            found = evaluation.evaluate()
            if not evaluation.missing:
                secure = all(answer.secure for answer in evaluation.used)
                return self._result(_Found(*found, evaluation.matched, secure), domain, identity)
            await self._fetch(evaluation.missing | self._foreseen())
        return SpfResult("permerror", domain, identity, reason="the evaluation does not end")

    async def _fetch(self, wanted: Iterable[Key]) -> None:
        keys = sorted(wanted)
        if len(keys) == 1:
            self.answers[keys[0]] = await self._ask(keys[0])
            return
        found = await together(*(self._ask(key) for key in keys))
        self.answers.update(zip(keys, found))

    async def _ask(self, key: Key) -> Answer | DnsTemporary:
        try:
            return await self._resolver.lookup(*key)
        except DnsTemporary as error:
            return error

    def _foreseen(self) -> set[Key]:
        """Questions of the records known so far that are likely to come, as far as AHEAD goes."""
        found: set[Key] = set()
        kind = "AAAA" if ":" in self._session[0] else "A"
        for answer in list(self.answers.values()):
            if self._ahead <= 0 or not isinstance(answer, Answer) or answer.type != "TXT":
                continue
            for record in answer.values:
                if not _RECORD.match(record) or len(record) > RECORD:
                    continue
                for term in record.decode("ascii", "replace").split(" "):
                    match = _TERM.match(term)
                    name = canonical_name(match[3] or answer.name) if match else None
                    if match is None or name is None:
                        continue
                    types: Sequence[str] = _ASKED_AS.get((match[1] or match[2]).lower(), (kind,))
                    found |= {(name, type) for type in types} - self.answers.keys()
        chosen = sorted(found)[: max(0, self._ahead)]
        self._ahead -= len(chosen)
        return set(chosen)

    def _plain(self, domain: str) -> _Found | None:
        """The evaluation of a record that asks for nothing more, None where there is no such record."""
        answer = self.answers[domain, "TXT"]
        if not isinstance(answer, Answer):
            return None
        records = [value for value in answer.values if _RECORD.match(value)]
        if len(records) != 1 or len(records[0]) > PLAIN or not _PLAIN.fullmatch(records[0]):
            return None
        found = _evaluated(records[0], self._session[0])
        return found._replace(secure=True) if answer.secure else found

    def _result(self, found: _Found, domain: str, identity: str) -> SpfResult:
        result, text = found.result, found.text
        if result not in RESULTS:
            result = "permerror"
        error = result in ("temperror", "permerror")
        decided = result in ("pass", "fail", "softfail", "neutral")
        return SpfResult(
            result,
            domain,
            identity,
            mechanism=_printable(found.matched or "default")[:200] if decided else "",
            explanation=_printable(text)[:EXPLANATION] if result == "fail" else "",
            reason=_printable(text.partition(": ")[2] or text)[:EXPLANATION] if error else "",
            secure=found.secure,
            asked=tuple(self.answers),
        )


@lru_cache(4096)
def _evaluated(record: bytes, ip: str) -> _Found:
    """Of a plain record (_PLAIN): no term of it asks DNS or says anything of the sender, so that it has one result for
    an address, whoever publishes it."""
    answers: dict[Key, Answer | DnsTemporary] = {("example.com", "TXT"): Answer("example.com", "TXT", (record,))}
    evaluation = _Evaluation(ip, "postmaster@example.com", "unknown", "unknown", answers, {})
    found = evaluation.evaluate()
    return _Found(*found, evaluation.matched)


class _Missing(BaseException):
    """An answer is not in the table. Not an Exception: pyspf catches those of some lookups."""


class _Evaluation(spf.query):  # type: ignore[misc]
    """One run of pyspf over a table of answers; `missing` is not empty if it was given up.

    Differs from pyspf where RFC 7208 does: failing lookups of `ptr` do not match (5.5), long names lose labels from the
    left until they fit (7.3), a local part outside of ASCII matches nothing (RFC 8616 4).
    """

    def __init__(
        self,
        ip: str,
        sender: str,
        helo: str,
        receiver: str,
        answers: dict[Key, Answer | DnsTemporary],
        terms: dict[Key, Any],
    ) -> None:
        self.matched = ""
        self.missing: set[Key] = set()
        self.used: list[Answer] = []
        self.assume_empty = False
        self._answers = answers
        self._terms = terms
        self._bytes = 0
        super().__init__(ip, sender, helo, receiver=receiver, strict=True)
        self.l, _, self.o = sender.rpartition("@")  # pyspf takes the first @, which may be quoted
        self.d = self.o
        self.set_default_explanation("")
        self._number = int(self.ipaddr)

    def evaluate(self, record: str | None = None) -> tuple[str, int, str]:
        """(result, code, text) as `spf.query.check`."""
        try:
            found: tuple[str, int, str] = self.check(record)
        except _Missing:
            return ("temperror", 451, "")
        except Exception as error:  # of a record nobody thought of: the record is wrong
            return ("permerror", 550, f"SPF Permanent Error: not to be evaluated: {type(error).__name__}")
        self.matched = self.mechanism or ""
        return found

    # what pyspf calls

    def dns(
        self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False
    ) -> list[Any]:
        """The values of one question; counts those in vain. Raises _Missing, TempError, PermError."""
        key = self._key(name, qtype)
        if key is None:
            return []
        answer = self._answer(key)
        if not answer.values and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"Void lookup limit of {spf.MAX_VOID_LOOKUPS} exceeded")
        if qtype == "TXT":
            return [(value,) for value in answer.values]
        return list(answer.values)

    def _key(self, name: str, qtype: str) -> Key | None:
        name = canonical_name(name) if name.isascii() else None  # type: ignore[assignment]
        return (name, qtype) if name else None

    def _answer(self, key: Key) -> Answer:
        answer = self._answers.get(key)
        if answer is None:
            if self.assume_empty:
                return Answer(*key, exists=False)
            self.missing.add(key)
            raise _Missing
        if isinstance(answer, DnsTemporary):
            raise spf.TempError(f"DNS {answer.reason}")
        self.used.append(answer)
        return answer

    def _need(self, keys: Iterable[Key | None]) -> None:
        """Raises _Missing for all that are not there, so that they are asked at once."""
        gone = {key for key in keys if key is not None and key not in self._answers}
        if gone and not self.assume_empty:
            self.missing |= gone
            raise _Missing

    def dns_mx(self, domainname: str) -> list[str]:
        """The addresses of all mail servers of a domain (RFC 7208 5.4)."""
        hosts = self.dns(domainname, "MX")
        if len(hosts) > spf.MAX_MX:
            raise spf.PermError(f"More than {spf.MAX_MX} MX records returned")
        names = [host for _, host in sorted(hosts) if host]
        self._need(self._key(name, self.A) for name in names)
        return [address for name in names for address in self.dns_a(name, self.A)]

    def validated_ptrs(self) -> list[str]:
        """The names of the client that lead back to it (RFC 7208 5.5); trouble with DNS means none."""
        try:
            names = self.dns(f"{spf.reverse_dots(self.i)}.{self.v}.arpa", "PTR")[: spf.MAX_PTR]
        except spf.TempError:
            return []
        self._need(self._key(name, self.A) for name in names)
        return [name for name in names if self._leads_back(name)]

    def _leads_back(self, name: str) -> bool:
        try:
            return self.cidrmatch(self.dns(name, self.A, ignore_void=True), self.cidrmax)
        except spf.TempError:
            return False

    def dns_spf(self, domain: str) -> str | None:
        record: str | None = super().dns_spf(domain)
        if record is not None:
            self._bytes += len(record)
            if len(record) > RECORD or self._bytes > RECORDS:
                raise spf.PermError("The records are too large")
        return record

    def validate_mechanism(self, mech: str) -> Any:
        """Remembered over the runs of one check, as parsing is most of the work; but for macros, which may ask."""
        if "%" in mech:
            return super().validate_mechanism(mech)
        found = self._terms.get((mech, self.d))
        if found is None:
            found = self._terms[mech, self.d] = super().validate_mechanism(mech)
        return found

    def cidrmatch(self, ipaddrs: Iterable[str], n: int) -> bool:
        """Whether the client is in the net of length n of any of the addresses."""
        shift = self.cidrmax - n
        for text in ipaddrs:
            try:
                address = spf.ipaddress.ip_address(text)
            except ValueError as error:
                raise spf.PermError(str(error)) from None
            if address.max_prefixlen == self.cidrmax and int(address) >> shift == self._number >> shift:
                return True
        return False

    def expand(self, s: str, stripdot: bool = True) -> str:
        text: str = super().expand(s, stripdot)
        while stripdot and len(text) > 253 and "." in text:
            text = text.partition(".")[2]
        return text


def _is_literal(domain: str) -> bool:
    return domain.startswith("[") or domain.rpartition(".")[2].isdigit()


def _printable(text: str) -> str:
    """Printable ASCII of one line: it comes from strangers and goes into replies, headers and logs."""
    return "".join(c if " " <= c <= "~" else "?" for c in text.replace("\r", " ").replace("\n", " ")).strip()
