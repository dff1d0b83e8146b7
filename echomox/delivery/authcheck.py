"""The checks of one received mail, from the envelope and the bytes to what delivery needs: header fields, evidence,
and what is to be done.

A message in memory is read where it is. One in a spool file is read in pieces, and its body is hashed in a thread of
this object's own, one message at a time: memory does not grow with the size of a message.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from echomox.config.schema import Static
from echomox.delivery.authlog import AuthLog, row_of
from echomox.delivery.authpolicy import Disposition, dispose
from echomox.dns.types import Resolver, canonical_name
from echomox.errors import Reply
from echomox.ipc.spool import resolve
from echomox.log import Log
from echomox.mailauth.check import AuthResults, MailFacts, check_mail
from echomox.mailauth.mailtext import PIECE, MailText, mail_text
from echomox.mailauth.results import authentication_results, evidence, received_spf
from echomox.message.address import address_text, mailboxes, parse_addresses
from echomox.message.authres import REMOVED, forged
from echomox.message.header import read_fields

SLOW = 5.0  # seconds from which a check is logged as slow
_NOT_NAME = re.compile(r"[^A-Za-z0-9._-]")
_FAILURES = ("spf", "dkim", "dmarc")


class To(Protocol):
    @property
    def reports(self) -> tuple[str, ...]: ...


class Received(Protocol):
    """What is asked of `delivery.local.Incoming`."""

    @property
    def cid(self) -> str: ...
    @property
    def source(self) -> bytes | None: ...
    @property
    def spool(self) -> str: ...
    @property
    def read(self) -> Callable[[], bytes]: ...
    @property
    def mail_from(self) -> str: ...
    @property
    def helo(self) -> str: ...
    @property
    def remote_ip(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def received(self) -> float: ...
    @property
    def destinations(self) -> Sequence[To]: ...


@dataclass(frozen=True, slots=True)
class Checked:
    """prefix: Received-SPF and Authentication-Results, with their line ends. evidence: for the filter. rdns: the
    client's verified name, or "". forged: where Authentication-Results stand that claim to be ours."""

    results: AuthResults
    done: Disposition
    prefix: bytes
    evidence: tuple[tuple[str, str], ...]
    rdns: str
    forged: tuple[int, ...] = ()

    @property
    def refusal(self) -> Reply | None:
        """RFC 7372 3.3 has 5.7.26 for mail of which several checks failed; it stands for all recipients."""
        if self.done.what != "reject":
            return None
        domain = _NOT_NAME.sub("?", self.results.dmarc.from_domain)
        return Reply(550, "5.7.26", f"{domain} wants this refused: neither SPF nor DKIM passed for it (DMARC p=reject)")


class MailChecks:
    """One per worker; for one event loop."""

    def __init__(self, static: Static, resolver: Resolver, spool: Path, authlog: AuthLog | None, log: Log) -> None:
        """spool: the directory that spool ids stand for."""
        self._settings = static.mailauth
        self._hostname = static.hostname
        self._authserv_id = static.filter.authserv_id or static.hostname
        self._resolver = resolver
        self._spool = spool
        self._authlog = authlog
        self._log = log
        self._thread = ThreadPoolExecutor(1, "mailauth")

    async def check(self, mail: Received, header_size: int) -> Checked:
        """header_size: of the header block with its empty line. Raises OSError when the message cannot be read."""
        began = time.monotonic()
        text = self._text(mail, header_size)
        facts = MailFacts(
            mail.remote_ip, mail.helo, mail.mail_from, text, from_domains(text.header), mail.received, random.random()
        )
        results = await check_mail(
            self._resolver,
            facts,
            timeout=self._settings.timeout,
            tree_walk=self._settings.tree_walk,
            receiver=self._hostname,
            executor=self._thread,
        )
        for fault in results.faults:
            self._log.error("a check of a mail broke off", cid=mail.cid, error=f"{type(fault).__name__}: {fault}")
        if time.monotonic() - began > SLOW:
            self._log.warn("checks of a mail took long", cid=mail.cid, seconds=time.monotonic() - began)
        # Mail with reports is in none of ours, else two servers would report about their reports for ever.
        log = self._authlog if not mail.destinations or not all(to.reports for to in mail.destinations) else None
        return self._checked(results, facts, tuple(forged(text.header, self._authserv_id)), log)

    def overwrite(self, spool: str, places: Sequence[int]) -> None:
        """Renames forged fields in a spool file that no store has yet. Raises OSError."""
        descriptor = os.open(resolve(self._spool, spool), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for place in places:
                os.pwrite(descriptor, REMOVED, place)
        finally:
            os.close(descriptor)

    def _checked(
        self, results: AuthResults, facts: MailFacts, forged: tuple[int, ...], log: AuthLog | None
    ) -> Checked:
        done = dispose(self._settings, results, facts.ip)
        row = row_of(results, facts, done)
        if row is not None and log is not None:
            log.add(row, facts.now)
        found = evidence(results)
        if done.believed:  # the failures are the forwarder's doing
            found = tuple(each for each in found if each[0] not in _FAILURES or each[1] == "pass")
        prefix = received_spf(self._hostname, results.spf, facts) + authentication_results(
            self._authserv_id, results, facts
        )
        return Checked(results, done, prefix, found, results.iprev.names[0] if results.iprev.names else "", forged)

    def _text(self, mail: Received, header_size: int) -> MailText:
        if mail.source is not None:
            return mail_text(mail.source)
        if not mail.spool:
            return mail_text(mail.read())
        file = resolve(self._spool, mail.spool)
        header = b"".join(_pieces(file, 0, header_size))
        return MailText(header, partial(_pieces, file, header_size, mail.size), mail.size - header_size)

    def close(self) -> None:
        self._thread.shutdown(wait=False)


def from_domains(header: bytes) -> list[str]:
    """Of the addresses in From, in A-labels where there are such; each once."""
    value = read_fields(header, 0, len(header)).get(b"from", b"")
    domains = (box.domain for box in mailboxes(parse_addresses(address_text(value))) if box.domain)
    return list(dict.fromkeys(canonical_name(domain) or domain for domain in domains))


def _pieces(file: Path, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a file from start to end. Raises OSError, also when it is shorter."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while start < end:
            piece = os.pread(descriptor, min(PIECE, end - start), start)
            if not piece:
                raise OSError("spool file is shorter than what was written")
            start += len(piece)
            yield piece
    finally:
        os.close(descriptor)
