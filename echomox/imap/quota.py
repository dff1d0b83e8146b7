"""Arguments of the quota commands. RFC 9208 7."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from echomox.imap.grammar import OfMailbox, of_mailbox
from echomox.imap.lexer import Bad, Parser

__all__ = ["Limits", "OfMailbox", "Root", "limits", "of_mailbox", "root"]

RESOURCES = 20
"""Most resources in one SETQUOTA."""


@dataclass(frozen=True, slots=True)
class Root:
    root: str


@dataclass(frozen=True, slots=True)
class Limits:
    """limits: by resource, in upper case."""

    root: str
    limits: Mapping[str, int]


def root(parser: Parser) -> Root:
    parser.space()
    name = parser.text_string()
    parser.end()
    return Root(name)


def limits(parser: Parser) -> Limits:
    parser.space()
    name = parser.text_string()
    parser.space()
    parser.open()
    found: dict[str, int] = {}
    while not parser.next_is(b")"):
        if found:
            parser.space()
        if len(found) == RESOURCES:
            raise Bad(f"More than {RESOURCES} resources")
        resource = parser.atom().decode("ascii").upper()
        parser.space()
        found[resource] = parser.number64()
    parser.close()
    parser.end()
    return Limits(name, found)
