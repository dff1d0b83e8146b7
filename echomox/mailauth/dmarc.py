"""DMARC: does the author's domain stand behind this mail, and what does its owner want if not? RFC 7489; RFC 9989 on
request.

SPF or DKIM must have passed for a domain that is aligned with the one in From: the same (strict), or of the same owner
(relaxed). Who the owner is, the organisational domain, tells the public suffix list (RFC 7489 3.2), or with `tree_walk`
the records in DNS themselves (RFC 9989 4.10). The record is that of the author's domain, or else of the organisational
domain, whose `sp` (or `np` for names that do not exist, RFC 9091) counts then.

Trouble with DNS is a temperror, never a policy. What is done with the policy is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from echomox.dns.eager import together
from echomox.dns.psl import organisational_domain
from echomox.dns.types import Answer, DnsTemporary, Resolver, canonical_name
from echomox.mailauth.dmarcrecord import (
    POLICIES,
    RECORD,
    DmarcRecord,
    ReportUri,
    is_dmarc,
    parse_record,
    psd_of,
    report_uris,
    tag_list,
)

__all__ = [
    "AuthorRecord",
    "Destination",
    "DmarcRecord",
    "DmarcResult",
    "ReportUri",
    "check_authors",
    "check_dmarc",
    "find_record",
    "parse_record",
    "verify_report_destination",
]

AUTHORS = 10  # domains in From that are looked at
WALK = 8  # questions of a tree walk, RFC 9989 4.10
SIGNATURES = 20  # DKIM results looked at


class Signed(Protocol):
    """What DMARC needs of an SPF or DKIM result. result: "pass", "temperror", ... domain: that it is about."""

    @property
    def result(self) -> str: ...

    @property
    def domain(self) -> str: ...


@dataclass(frozen=True, slots=True)
class AuthorRecord:
    """Where the policy of a domain was found. record: None for no policy. domain: where it stands, without _dmarc.
    organisation: the organisational domain of the author's. secure: found by answers that DNSSEC validated.
    """

    record: DmarcRecord | None
    domain: str
    organisation: str
    secure: bool = False


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """result: "none" (no policy), "pass", "fail", "temperror" or "permerror". from_domain: of the author.

    domain, record: of the policy. organisation: of the author. requested: what the owner wants for a mail that fails,
    and from which `tag` ("p", "sp", "np"). policy: what is to be done with this one: the same, or less where pct leaves
    it out or the owner is testing; "none" unless it fails. sampled: False if pct has left it out.
    """

    result: str
    from_domain: str = ""
    policy: str = "none"
    requested: str = "none"
    tag: str = "p"
    sampled: bool = True
    domain: str = ""
    organisation: str = ""
    record: DmarcRecord | None = None
    aligned_spf: bool = False
    aligned_dkim: bool = False
    reason: str = ""

    @property
    def reject(self) -> bool:
        return self.policy == "reject"


# -- the record -----------------------------------------------------------------


async def find_record(resolver: Resolver, domain: str, *, tree_walk: bool = False) -> AuthorRecord:
    """The policy that holds for mail of a domain (RFC 7489 6.6.3, RFC 9989 4.10.1). Raises DnsTemporary."""
    name = canonical_name(domain)
    if not name:
        return AuthorRecord(None, "", "")
    if tree_walk:
        return await _walked(resolver, name)
    organisation = organisational_domain(name)
    for place in dict.fromkeys((name, organisation)):
        answer = await resolver.lookup(f"_dmarc.{place}", "TXT")
        text, some = _single(answer)
        record = None if text is None else parse_record(text)
        if record is not None:
            return AuthorRecord(record, place, organisation, answer.secure)
        if some:  # step 5: DMARC does not apply; no record further up takes its place
            break
    return AuthorRecord(None, "", organisation)


def _single(answer: Answer) -> tuple[bytes | None, bool]:
    """(the record, whether there are any). Records that are no DMARC records do not count, of several none does
    (RFC 7489 6.6.3, steps 2 and 5, RFC 9989 4.10, steps 2 and 6)."""
    records = [value for value in answer.values if is_dmarc(value)]
    return records[0] if len(records) == 1 else None, bool(records)


@dataclass(frozen=True, slots=True)
class _Step:
    """A record on the way up. record: None when it is one whose policy cannot be used; its psd counts all the same."""

    place: str
    record: DmarcRecord | None
    psd: str
    secure: bool


async def _walk(resolver: Resolver, name: str) -> list[_Step]:
    """The records on the way up from a name, longest first (RFC 9989 4.10); at most WALK questions."""
    labels = name.split(".")
    found = []
    places = [name]
    rest = labels[1:] if len(labels) < WALK else labels[-(WALK - 1) :]
    places += [".".join(rest[place:]) for place in range(len(rest))]
    for place in places:
        answer = await resolver.lookup(f"_dmarc.{place}", "TXT")
        text, _ = _single(answer)
        if text is None:
            continue
        step = _Step(place, parse_record(text), psd_of(text), answer.secure)
        found.append(step)
        if step.psd != "u":  # steps 2 and 6
            break
    return found


def _organisation(name: str, found: Sequence[_Step]) -> str:
    """RFC 9989 4.10.2. name: where the walk began."""
    for step in found:
        if step.psd == "n":
            return step.place
        if step.psd == "y" and step.place != name:
            above = step.place.count(".") + 1
            return ".".join(name.split(".")[-above - 1 :])
    return found[-1].place if found else name


async def _walked(resolver: Resolver, name: str) -> AuthorRecord:
    """RFC 9989 4.10.1: of the author's domain, else of the organisational domain, else of the public suffix. If the
    policy of that one cannot be used, DMARC does not apply: no other record takes its place."""
    found = await _walk(resolver, name)
    organisation = _organisation(name, found)
    by_place = {step.place: step for step in found}
    suffix = organisation.partition(".")[2]
    for place in (name, organisation, suffix):
        step = by_place.get(place)
        if step is not None and (place != suffix or step.psd == "y"):
            return AuthorRecord(step.record, place if step.record else "", organisation, step.secure)
    return AuthorRecord(None, "", organisation)


# -- the check ------------------------------------------------------------------


async def check_authors(
    resolver: Resolver,
    from_domains: Sequence[str],
    spf: Signed,
    dkim: Sequence[Signed],
    *,
    tree_walk: bool = False,
    draw: float = 0.0,
) -> DmarcResult:
    """Of all domains in From: the result that is strictest (RFC 7489 6.6.1, RFC 9989 4.11); every one must pass. No
    domain at all, or more than AUTHORS, is a permerror.
    """
    domains = list(dict.fromkeys(canonical_name(domain) or "" for domain in from_domains))
    if not domains or "" in domains:
        return DmarcResult("permerror", reason="From has no domain" if not domains else "From has a bad domain")
    if len(domains) > AUTHORS:
        return DmarcResult("permerror", domains[0], reason="From has too many domains")
    results = await together(
        *(check_dmarc(resolver, domain, spf, dkim, tree_walk=tree_walk, draw=draw) for domain in domains)
    )
    return max(results, key=_strictness)


_RESULTS = ("pass", "none", "fail", "permerror", "temperror")


def _strictness(result: DmarcResult) -> tuple[int, int, int]:
    """A policy to be carried out comes before all; a pass counts only if nothing else is there."""
    return POLICIES.index(result.policy), _RESULTS.index(result.result), POLICIES.index(result.requested)


async def check_dmarc(
    resolver: Resolver,
    from_domain: str,
    spf: Signed,
    dkim: Sequence[Signed],
    *,
    tree_walk: bool = False,
    draw: float = 0.0,
) -> DmarcResult:
    """The result for one author's domain. draw: in [0, 1), at random for each message: pct takes those below it
    (RFC 7489 6.6.4). Never raises for what comes from outside.
    """
    name = canonical_name(from_domain)
    if not name:
        return DmarcResult("permerror", reason="From has no domain")
    try:
        found = await find_record(resolver, name, tree_walk=tree_walk)
        if found.record is None:
            return DmarcResult("none", name, organisation=found.organisation)
        result = await _aligned(resolver, name, found, spf, dkim, tree_walk=tree_walk)
        return result if result.result != "fail" else await _policy(resolver, result, tree_walk=tree_walk, draw=draw)
    except DnsTemporary as error:
        return DmarcResult("temperror", name, reason=error.reason)


async def _aligned(
    resolver: Resolver, name: str, found: AuthorRecord, spf: Signed, dkim: Sequence[Signed], *, tree_walk: bool
) -> DmarcResult:
    """RFC 7489 6.6.2: pass or fail, or temperror where one that is aligned could not be checked."""
    record = found.record
    assert record is not None
    marks: dict[str, set[str]] = {"spf": set(), "dkim": set()}
    for kind, one, mode in [("spf", spf, record.aspf)] + [("dkim", one, record.adkim) for one in dkim[:SIGNATURES]]:
        if one.result not in ("pass", "temperror"):
            continue
        if await _is_aligned(resolver, name, found.organisation, one.domain, mode, tree_walk=tree_walk):
            marks[kind].add(one.result)
    by_spf, by_dkim = "pass" in marks["spf"], "pass" in marks["dkim"]
    trouble = [kind for kind, marked in marks.items() if "temperror" in marked]
    result, reason = "fail", ""
    if by_spf or by_dkim:
        result = "pass"
    elif trouble:
        result, reason = "temperror", f"{' and '.join(trouble)} could not be checked"
    return DmarcResult(
        result,
        name,
        domain=found.domain,
        organisation=found.organisation,
        record=record,
        aligned_spf=by_spf,
        aligned_dkim=by_dkim,
        reason=reason,
    )


async def _is_aligned(
    resolver: Resolver, name: str, organisation: str, domain: str, mode: str, *, tree_walk: bool
) -> bool:
    """RFC 7489 3.1. Asks DNS only for a tree walk of a domain that may be of the same owner."""
    other = canonical_name(domain)
    if not other:
        return False
    if other == name:
        return True
    if mode == "s" or not (other == organisation or other.endswith("." + organisation)):
        return False
    if not tree_walk:
        return organisational_domain(other) == organisation
    return _organisation(other, await _walk(resolver, other)) == organisation


async def _policy(resolver: Resolver, result: DmarcResult, *, tree_walk: bool, draw: float) -> DmarcResult:
    """What the owner wants, and what is left of it for this message."""
    record = result.record
    assert record is not None
    tag = "p"
    if result.domain != result.from_domain:
        tag = "sp"
        if record.np != record.sp and not await _exists(resolver, result.from_domain, tree_walk=tree_walk):
            tag = "np"
    requested = {"p": record.p, "sp": record.sp, "np": record.np}[tag]
    applied, sampled = requested, True
    lower = POLICIES[max(0, POLICIES.index(requested) - 1)]
    if tree_walk:
        applied = lower if record.testing else requested  # RFC 9989 4.7: t=y is one level less; pct is gone
    elif draw * 100 >= record.pct:
        sampled, applied = False, lower  # RFC 7489 6.6.4
    return replace(result, policy=applied, requested=requested, tag=tag, sampled=sampled)


async def _exists(resolver: Resolver, name: str, *, tree_walk: bool) -> bool:
    """RFC 9989 3.2: a name is there unless NXDOMAIN; RFC 9091 2.6: if it has A, AAAA or MX."""
    if tree_walk:
        return (await resolver.lookup(name, "A")).exists
    answers = await together(*(resolver.lookup(name, type) for type in ("A", "AAAA", "MX")))
    return any(answer.values for answer in answers)


# -- reports --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Destination:
    """Whether reports about a domain may go to an address. rua: where the receiving domain wants them instead, of the
    same domain; () for where they were to go.
    """

    allowed: bool
    rua: tuple[ReportUri, ...] = ()
    reason: str = ""


async def verify_report_destination(resolver: Resolver, policy_domain: str, rua_domain: str) -> Destination:
    """Whether `rua_domain` agrees to get reports about `policy_domain` (RFC 7489 7.1, RFC 9990 4): it does if both have
    one owner, or if it says so at <policy_domain>._report._dmarc.<rua_domain>. Raises DnsTemporary.
    """
    policy, target = canonical_name(policy_domain), canonical_name(rua_domain)
    if not policy or not target:
        return Destination(False, reason="no domain")
    if organisational_domain(policy) == organisational_domain(target):
        return Destination(True, reason="the same organisation")
    name = f"{policy}._report._dmarc.{target}"
    if canonical_name(name) is None:
        return Destination(False, reason="the name of the record is too long")
    answer = await resolver.lookup(name, "TXT")
    records = [value for value in answer.values if is_dmarc(value)]
    if not records:
        return Destination(False, reason=f"no record at {name}")
    for value in records:
        given = tag_list(value[:RECORD]).get("rua", "")
        # RFC 7489 7.1, step 7: it may name another address, but only of its own host.
        instead = tuple(uri for uri in report_uris(given) if canonical_name(uri.domain) == target)
        if instead:
            return Destination(True, instead, name)
    return Destination(True, reason=name)
