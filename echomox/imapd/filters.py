"""Searches kept under names. RFC 5466: FILTER in a search program stands for the program that the account's annotation
/private/filters/values/<name> holds, or /shared/filters/values/<name> (3.1: the private one is looked at first).

What is kept is written by SETMETADATA as it comes; it is read when it is used, as UTF-8. A name that is not there, a
value that is no search program, and one that leads to itself are refused with [UNDEFINED-FILTER <name>].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from echomox.imap.lexer import Bad, Parser
from echomox.imap.search import Key
from echomox.imap.searching import program
from echomox.imapd.command import No

if TYPE_CHECKING:
    from echomox.imapd.session import Session

PLACES = ("/private/filters/values/", "/shared/filters/values/")
ACCOUNT = 0  # annotations of the account itself
DEPTH = 10
MOST = 100
"""Filters that one program may open."""


class Filters:
    """Of one command."""

    __slots__ = ("_count", "_kept", "_open", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kept: dict[str, bytes] | None = None
        self._open: list[str] = []
        self._count = 0

    @contextmanager
    def opened(self, name: str) -> Iterator[Key]:
        """The search kept under `name`; while it is looked at, it is not to be met again."""
        name = name.lower()  # as entries are (RFC 5464 3.2)
        if self._kept is None:
            self._kept = dict(self._session.store.annotations(ACCOUNT))
        value = next((self._kept[place + name] for place in PLACES if place + name in self._kept), None)
        self._count += 1
        if value is None or name in self._open or len(self._open) >= DEPTH or self._count > MOST:
            raise undefined(name, "No such filter" if value is None else "The filter leads to itself")
        try:
            key = program(Parser(value.strip()), "UTF-8").key
        except Bad:
            raise undefined(name, "The filter cannot be understood") from None
        self._open.append(name)
        try:
            yield key
        finally:
            self._open.pop()


def undefined(name: str, why: str) -> No:
    """RFC 5466 3.1."""
    return No(why, f"UNDEFINED-FILTER {name}")
