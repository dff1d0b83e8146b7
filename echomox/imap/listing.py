"""Arguments of LIST, LSUB and STATUS. RFC 9051 6.3.9 to 6.3.11, RFC 5258 (LIST-EXTENDED), RFC 5819
(LIST-STATUS), RFC 6154 (SPECIAL-USE), RFC 8440 (MYRIGHTS)."""

from __future__ import annotations

from dataclasses import dataclass

from echomox.imap.lexer import Bad, Parser
from echomox.imap.metadata import entry_list

PATTERNS = 100
"""Most patterns of one LIST."""
SELECTIONS = frozenset(("SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"))
RETURNS = frozenset(("SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "METADATA", "MYRIGHTS", "STATUS"))
STATUS_ITEMS = frozenset(
    (
        "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "HIGHESTMODSEQ",
        "APPENDLIMIT", "MAILBOXID", "DELETED-STORAGE",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listing:
    """LIST and LSUB. select and returns: upper case, each once; status: items of RETURN (STATUS (...));
    extended: written in the extended form, where an empty pattern asks for nothing special (RFC 5258 3)."""

    reference: str
    patterns: tuple[str, ...]
    select: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    extended: bool = False
    metadata: tuple[str, ...] = ()
    """Entries of RETURN (METADATA (...)) (RFC 9590)."""


@dataclass(frozen=True, slots=True)
class Status:
    mailbox: str
    items: tuple[str, ...]


def list_(parser: Parser) -> Listing:
    parser.space()
    extended = False
    select: tuple[str, ...] = ()
    if parser.next_is(b"("):
        extended = True
        select = _selections(parser)
        parser.space()
    reference = parser.reference()
    parser.space()
    if parser.next_is(b"("):
        extended = True
        patterns = _patterns(parser)
    else:
        patterns = (parser.pattern(),)
    returns: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    if parser.accept(b" ") and not parser.at_end():
        if parser.word() != "RETURN":
            raise Bad("Expected RETURN")
        extended = True
        parser.space()
        returns, status, metadata = _returns(parser)
    parser.end()
    return Listing(reference, patterns, select, returns, status, extended, metadata)


def lsub(parser: Parser) -> Listing:
    """RFC 3501 6.3.9."""
    parser.space()
    reference = parser.reference()
    parser.space()
    pattern = parser.pattern()
    parser.end()
    return Listing(reference, (pattern,), select=("SUBSCRIBED",))


def status(parser: Parser) -> Status:
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    items = _status_items(parser)
    parser.end()
    return Status(mailbox, items)


def _status_items(parser: Parser) -> tuple[str, ...]:
    """One or more, in parentheses."""
    parser.open()
    items: dict[str, None] = {}
    while True:
        item = parser.word()
        if item not in STATUS_ITEMS:
            raise Bad("Unknown STATUS item")
        items[item] = None
        if not parser.accept(b" "):
            break
    parser.close()
    return tuple(items)


def _selections(parser: Parser) -> tuple[str, ...]:
    """RFC 5258 6, list-select-opts."""
    parser.open()
    options: dict[str, None] = {}
    while not parser.next_is(b")"):
        if options:
            parser.space()
        option = parser.word()
        if option not in SELECTIONS:
            raise Bad("Unknown selection option of LIST")
        options[option] = None
    parser.close()
    if "RECURSIVEMATCH" in options and "SUBSCRIBED" not in options:
        raise Bad("RECURSIVEMATCH needs SUBSCRIBED")
    return tuple(options)


def _patterns(parser: Parser) -> tuple[str, ...]:
    parser.open()
    patterns = [parser.pattern()]
    while parser.accept(b" "):
        if len(patterns) == PATTERNS:
            raise Bad(f"More than {PATTERNS} patterns")
        patterns.append(parser.pattern())
    parser.close()
    return tuple(patterns)


def _returns(parser: Parser) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """(options, items of STATUS, entries of METADATA)."""
    parser.open()
    options: dict[str, None] = {}
    items: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    while not parser.next_is(b")"):
        if options:
            parser.space()
        option = parser.word()
        if option not in RETURNS:
            raise Bad("Unknown RETURN option of LIST")
        if option == "STATUS":
            parser.space()
            items = _status_items(parser)
        elif option == "METADATA":
            parser.space()
            entries = entry_list(parser)
        options[option] = None
    parser.close()
    return tuple(options), items, entries
