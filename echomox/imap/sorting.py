"""Arguments of SORT and THREAD. RFC 5256 3 and 5, RFC 5957 5 (DISPLAYFROM, DISPLAYTO), RFC 5267 4.2 (ESORT), RFC 6203 5
(RELEVANCY).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from echomox.imap.lexer import Bad, Parser
from echomox.imap.searching import CHARSETS, BadCharset, Search, program, returns
from echomox.imap.threads import ALGORITHMS

CRITERIA = ("ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO", "RELEVANCY")
MOST = 32
"""Criteria of one SORT."""


class Criterion(NamedTuple):
    """name: of CRITERIA."""

    name: str
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Sort:
    """search.returning: None for the SORT response."""

    criteria: tuple[Criterion, ...]
    search: Search


@dataclass(frozen=True, slots=True)
class Thread:
    algorithm: str
    search: Search


def sort(parser: Parser) -> Sort:
    """SORT and UID SORT. RETURN stands before the criteria (RFC 5267 6), but ImapTest says it after the charset, too,
    where it cannot be anything else."""
    parser.space()
    options = returns(parser)
    criteria = _criteria(parser)
    parser.space()
    charset = _charset(parser, saves="SAVE" in (options.options or ()))
    if options.options is None:
        options = returns(parser)
    return Sort(criteria, program(parser, charset, options))


def thread(parser: Parser) -> Thread:
    """THREAD and UID THREAD. An algorithm that we do not have is BAD (RFC 5256 3)."""
    parser.space()
    algorithm = parser.word()
    if algorithm not in ALGORITHMS:
        raise Bad("Unknown threading algorithm")
    parser.space()
    return Thread(algorithm, program(parser, _charset(parser)))


def cancel_update(parser: Parser) -> tuple[bytes, ...]:
    """Tags, quoted (RFC 5267 5); CANCELUPDATE needs one."""
    tags: list[bytes] = []
    while not tags or parser.next_is(b" "):
        parser.space()
        tags.append(parser.quoted() if parser.next_is(b'"') else parser.atom())
    parser.end()
    return tuple(tags)


def _criteria(parser: Parser) -> tuple[Criterion, ...]:
    parser.open()
    found: list[Criterion] = []
    while True:
        reverse = parser.next_word() == "REVERSE"
        if reverse:
            parser.word()
            parser.space()
        name = parser.word()
        if name not in CRITERIA:
            raise Bad("Unknown sort criterion")
        found.append(Criterion(name, reverse))
        if len(found) > MOST:
            raise Bad(f"More than {MOST} sort criteria")
        if not parser.accept(b" "):
            break
    parser.close()
    return tuple(found)


def _charset(parser: Parser, saves: bool = False) -> str:
    """Must be said (RFC 5256 3)."""
    charset = parser.astring().decode("latin-1").upper()
    if charset not in CHARSETS:
        raise BadCharset("Unknown charset", saves)
    parser.space()
    return charset
