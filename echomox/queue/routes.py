"""Which transport a message takes: the first route that fits, of the account, of the sender's domain, of all.

Patterns: "example.org" is that domain, ".example.org" it and all below it, "*" any. No route: direct delivery, as if
the transport were "" (nothing to say). A transport that was set by hand on the message comes before all routes; a name
that is not configured any more is an error of configuration that waits: the message is kept (4xx).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from echomox.config.schema import Dynamic, Route, Transport
from echomox.config.snapshot import Snapshot
from echomox.message.address import normalise_domain

ONE_HOST = frozenset({"smtp", "submission", "submissions"})


@dataclass(frozen=True, slots=True)
class Way:
    """hop: what connections and their limits are counted by: the recipient's domain, or "=name" of a transport to one
    host. missing: the name of a transport that is not there.
    """

    hop: str
    name: str = ""
    transport: Transport | None = None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """attempt: the try that is to be made, from 1. transport: as set on the message, "" by the routes."""

    account: str
    sender: str
    domain: str
    attempt: int = 1
    transport: str = ""


def domain_of(address: str) -> str:
    """In A-labels and lower case; what is no domain as it stands, for delivery to fail on."""
    domain = address.rpartition("@")[2]
    try:
        return normalise_domain(domain)
    except ValueError:
        return domain.lower()


def matches(pattern: str, domain: str) -> bool:
    pattern = pattern.lower()
    if pattern.startswith("."):
        return domain == pattern[1:] or domain.endswith(pattern)
    return pattern in ("*", domain)


def _fits(route: Route, question: Question, from_domain: str) -> bool:
    return (
        question.attempt >= route.minimum_attempt
        and _any(route.from_domains, from_domain)
        and _any(route.to_domains, question.domain)
    )


def _any(patterns: Sequence[str], domain: str) -> bool:
    return not patterns or any(matches(pattern, domain) for pattern in patterns)


def find_way(dynamic: Dynamic, question: Question) -> Way:
    name = question.transport
    if not name:
        from_domain = domain_of(question.sender)
        name = next((one.transport for one in _routes(dynamic, question, from_domain)), "")
    if not name:
        return Way(question.domain)
    transport = dynamic.transports.get(name)
    if transport is None:
        return Way(question.domain, missing=name)
    hop = f"={name}" if transport.kind in ONE_HOST else question.domain
    return Way(hop, name, transport)


def _routes(dynamic: Dynamic, question: Question, from_domain: str) -> Iterable[Route]:
    account = dynamic.accounts.get(question.account)
    domain = dynamic.domains.get(from_domain)
    for routes in (account.routes if account else (), domain.routes if domain else (), dynamic.routes):
        for route in routes:
            if _fits(route, question, from_domain):
                yield route


def ways_of(snapshot: Callable[[], Snapshot]) -> Callable[[Question], Way]:
    """Routes by the configuration as it stands; an address of ours is delivered here unless a transport was set by
    hand."""

    def ways(question: Question) -> Way:
        current = snapshot()
        if not question.transport and is_local(current, question.domain):
            return Way(question.domain)
        return find_way(current.dynamic, question)

    return ways


def is_local(snapshot: Snapshot, domain: str) -> bool:
    try:
        return snapshot.is_local_domain(domain) or normalise_domain(domain) == snapshot.hostname
    except ValueError:
        return False
