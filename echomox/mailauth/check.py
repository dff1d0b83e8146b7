"""All checks of a mail from outside, at once and under one time limit: SPF, DKIM, ARC, iprev, the name in EHLO, and
DMARC of the first two (RFC 7489 4.3, or RFC 9989).

What DNS does not tell in time is a temperror of the check that wanted to know. Nothing a mail says makes an exception;
should there be one all the same, it is in `AuthResults.faults` for the log, and the check a temperror: mail is never
lost or refused for our own mistake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from echomox.dns.eager import Ended, begin
from echomox.dns.types import Resolver
from echomox.mailauth.arc import ArcResult, verify_arc
from echomox.mailauth.dkim import DkimResult, verify_dkim
from echomox.mailauth.dmarc import DmarcResult, check_authors, find_record
from echomox.mailauth.helo import check_helo
from echomox.mailauth.iprev import IprevResult, check_iprev
from echomox.mailauth.mailtext import MailText, mail_text
from echomox.mailauth.spf import SpfResult, check_spf

T = TypeVar("T")
EARLY = 4
"""Domains of From whose policies are asked for before it is known whether they are needed."""
GRACE = 0.1  # seconds that DMARC has at least, when SPF or DKIM has taken all the time: its answers are cached
LATE = "no answer in time"


@dataclass(frozen=True, slots=True)
class MailFacts:
    """ip: of the client. mail_from: without brackets, "" for null. from_domains: of the From field's addresses, in
    their order. now: Unix seconds. draw: at random in [0, 1), for pct= of DMARC."""

    ip: str
    helo: str
    mail_from: str
    source: bytes | MailText
    from_domains: Sequence[str]
    now: float
    draw: float = 0.0


@dataclass(frozen=True, slots=True)
class AuthResults:
    """dkim: () for a mail without signature. helo: of `helo.check_helo`. faults: exceptions that should not have
    been."""

    spf: SpfResult
    dkim: tuple[DkimResult, ...]
    dmarc: DmarcResult
    arc: ArcResult
    iprev: IprevResult
    helo: str = "none"
    faults: tuple[BaseException, ...] = field(default=(), compare=False)


async def check_mail(
    resolver: Resolver,
    mail: MailFacts,
    *,
    timeout: float,  # noqa: ASYNC109
    tree_walk: bool = False,
    receiver: str = "unknown",
    executor: Executor | None = None,
) -> AuthResults:
    """timeout: of all together, seconds. receiver: our name, for SPF's macro r. executor: where large bodies are
    hashed; that work is not part of the limit, for it asks nobody."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    source = mail_text(mail.source)
    domains = list(dict.fromkeys(mail.from_domains))
    run = _Run()
    # What these find stays in the resolver's cache, for `check_authors`.
    early = [run.start(find_record(resolver, domain, tree_walk=tree_walk)) for domain in domains[:EARLY]]
    tasks = (
        run.start(check_spf(resolver, mail.ip, mail.mail_from, mail.helo, timeout=timeout, receiver=receiver)),
        run.start(verify_dkim(resolver, source, now=mail.now, timeout=timeout, executor=executor)),
        run.start(verify_arc(resolver, source, timeout=timeout, executor=executor)),
        run.start(check_iprev(resolver, mail.ip)),
        run.start(check_helo(resolver, mail.helo, mail.ip)),
    )
    try:
        spf = await run.result(tasks[0], end, SpfResult("temperror", reason=LATE))
        dkim = await run.result(tasks[1], None, (DkimResult("temperror", reason="not read"),))
        arc = await run.result(tasks[2], None, ArcResult("temperror", LATE))
        iprev = await run.result(tasks[3], end, IprevResult("temperror", reason=LATE))
        helo = await run.result(tasks[4], end, "temperror")
        authors = run.start(check_authors(resolver, domains, spf, dkim, tree_walk=tree_walk, draw=mail.draw))
        late = DmarcResult("temperror", domains[0] if domains else "", reason=LATE)
        dmarc = await run.result(authors, max(end, loop.time() + GRACE), late)
    finally:
        for task in (*early, *tasks):
            task.cancel()
    return AuthResults(spf, dkim, dmarc, arc, iprev, helo, tuple(run.faults))


class _Run:
    """Checks under way; one that is late or broken has its default."""

    def __init__(self) -> None:
        self.faults: list[BaseException] = []

    def start(self, check: Coroutine[Any, Any, T]) -> asyncio.Task[T] | Ended[T]:
        """What the resolver's cache can answer has ended when this returns."""
        return begin(check)

    async def result(self, task: asyncio.Task[T] | Ended[T], end: float | None, late: T) -> T:
        """end: loop time."""
        if isinstance(task, asyncio.Task) and not task.done():
            left = None if end is None else max(0.0, end - asyncio.get_running_loop().time())
            await asyncio.wait([task], timeout=left)
        if not task.done():
            task.cancel()
            return late
        error = task.exception()
        if error is None:
            return task.result()
        self.faults.append(error)
        return late
