"""The names that a mail's checks have proven: the domain that SPF passed for, and the domains whose DKIM signatures
passed. As pairs for the filter, ("spf-domain", "example.org") and ("dkim-domain", "example.org"), beside the
results themselves, ("spf", "pass").

The filter judges by what the checks found and learns later by what the stored Authentication-Results say of them; both
make the pairs here, so that what was counted is what is looked up. Lower-case A-labels. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Pair = tuple[str, str]

SPF = "spf-domain"
DKIM = "dkim-domain"
WATCHED = "the policy asks for nothing"
"""The reason of a DMARC failure whose domain's owner only watches (p=none): the filter knows it as "watched"."""
MOST = 8
"""Of the domains of signatures; the topmost."""
_NAME = re.compile(r"(?=.{4,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_-]{1,63})+")
_REASON = re.compile(r'\sreason="[^"]*+"')
_RESULT = re.compile(r"\s*(spf|dkim|dmarc|arc|iprev)=([a-z]+)(?=\s|$)")
_SPF = re.compile(r'\ssmtp\.(?:mailfrom="?(?:[^\s"]*@)?|helo="?)([^\s"@]+)(?=["\s]|$)')
_DKIM = re.compile(r'\sheader\.d="?([^\s"]+)')


def proven(spf: Iterable[str], dkim: Iterable[str]) -> tuple[Pair, ...]:
    """spf, dkim: the domains of checks that passed. Each once, in their order; what is no name of two labels or more is
    left out."""
    return (*_named(SPF, spf)[:1], *_named(DKIM, dkim)[:MOST])


def _named(kind: str, domains: Iterable[str]) -> list[Pair]:
    names = dict.fromkeys(domain.lower().removesuffix(".") for domain in domains)
    return [(kind, name) for name in names if _NAME.fullmatch(name)]


def written(field: bytes) -> tuple[Pair, ...]:
    """The results and names of one Authentication-Results field that `mailauth.results` made: no text of strangers in
    it holds a ";", nor a quote. What cannot be read is left out."""
    results: list[Pair] = []
    passed: dict[str, list[str]] = {"spf": [], "dkim": []}
    for whole in field.decode("ascii", "replace").split(";")[1:]:
        text = _REASON.sub("", whole)
        result = _RESULT.match(text)
        if result is None:
            continue
        method = result[1]
        watched = method == "dmarc" and f' reason="{WATCHED}"' in whole
        results.append((method, "watched" if watched else result[2]))
        domain = (_SPF if method == "spf" else _DKIM).search(text) if method in passed else None
        if domain and result[2] == "pass":
            passed[method].append(domain[1])
    return (*results, *proven(passed["spf"], passed["dkim"]))
