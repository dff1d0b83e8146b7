"""Arguments of ESEARCH: a search in several mailboxes. RFC 7377 2.2 and 4; the kinds of mailboxes are those of NOTIFY
(RFC 5465 6), without SELECTED-DELAYED, and SUBTREE-ONE.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from echomox.imap.lexer import Bad, Parser
from echomox.imap.searching import Search, returns, searched

SOURCES = 100
MAILBOXES = 1000
"""Most of them in one source."""
NAMED = ("SUBTREE", "SUBTREE-ONE", "MAILBOXES")
KINDS = ("SELECTED", "INBOXES", "PERSONAL", "SUBSCRIBED", *NAMED)


@dataclass(frozen=True, slots=True)
class Source:
    """kind: of KINDS. mailboxes: of the kinds NAMED."""

    kind: str
    mailboxes: tuple[str, ...] = ()


SELECTED = Source("SELECTED")


@dataclass(frozen=True, slots=True)
class MultiSearch:
    """sources: (SELECTED,) when none are said."""

    sources: tuple[Source, ...]
    search: Search

    @property
    def is_of_selected(self) -> bool:
        return all(source == SELECTED for source in self.sources)


def esearch(parser: Parser) -> MultiSearch:
    parser.space()
    sources: tuple[Source, ...] = (SELECTED,)
    if parser.next_word() == "IN":
        parser.word()
        parser.space()
        sources = _sources(parser)
        parser.space()
    found = MultiSearch(sources, searched(parser, returns(parser)))
    options = found.search.returning
    if options is None:
        return replace(found, search=replace(found.search, returning=("ALL",)))  # RFC 7377 2.1
    if {"SAVE", "UPDATE"} & set(options) and not found.is_of_selected:
        raise Bad("SAVE and UPDATE are of the selected mailbox only")
    return found


def _sources(parser: Parser) -> tuple[Source, ...]:
    parser.open()
    found = [_source(parser)]
    while parser.accept(b" "):
        if parser.next_is(b"("):
            raise Bad("Unknown scope option")  # none is defined yet
        if len(found) == SOURCES:
            raise Bad(f"More than {SOURCES} sources")
        found.append(_source(parser))
    parser.close()
    return tuple(found)


def _source(parser: Parser) -> Source:
    kind = parser.word()
    if kind not in KINDS:
        raise Bad("Unknown kind of mailboxes")
    if kind not in NAMED:
        return Source(kind)
    parser.space()
    if not parser.next_is(b"("):
        return Source(kind, (parser.mailbox(),))
    parser.open()
    names = [parser.mailbox()]
    while parser.accept(b" "):
        if len(names) == MAILBOXES:
            raise Bad(f"More than {MAILBOXES} mailboxes")
        names.append(parser.mailbox())
    parser.close()
    return Source(kind, tuple(names))
