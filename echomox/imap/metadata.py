"""Arguments of GETMETADATA and SETMETADATA. RFC 5464 4.2, 4.3 and 5."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from echomox.imap.lexer import Bad, Literal, Parser

ENTRIES = 200
"""Most entries of one command."""
INFINITY = 1 << 30
_DEPTHS = {"0": 0, "1": 1, "INFINITY": INFINITY}
_ENTRY = re.compile(r"/(?:private|shared)(?:/[!-$&-)+-.0-~]+)+", re.IGNORECASE)
"""RFC 5464 3.2, as the name may be set: printing US-ASCII without "*" and "%", no empty component."""


@dataclass(frozen=True, slots=True)
class Get:
    """mailbox: "" for the server. maxsize: of values, -1 for any. depth: 0, 1 or INFINITY."""

    mailbox: str
    entries: tuple[str, ...]
    maxsize: int = -1
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Set:
    """values: None removes the entry."""

    mailbox: str
    values: Mapping[str, bytes | None]


def get(parser: Parser) -> Get:
    parser.space()
    maxsize, depth = -1, 0
    if parser.next_is(b"("):
        maxsize, depth = _options(parser)
        parser.space()
    mailbox = parser.reference()
    if parser.accept(b" (") and maxsize == -1 and not depth and _is_option(parser):
        # RFC 5464's own examples put the options behind the mailbox.
        parser.pos -= 1
        maxsize, depth = _options(parser)
        parser.space()
        entries = _entries(parser)
    elif parser.text[parser.pos - 1 : parser.pos] == b"(":
        parser.pos -= 1
        entries = _entries(parser)
    else:
        parser.space()
        entries = _entries(parser)
    parser.end()
    return Get(mailbox, entries, maxsize, depth)


def _is_option(parser: Parser) -> bool:
    return parser.next_word() in ("MAXSIZE", "DEPTH")


def _options(parser: Parser) -> tuple[int, int]:
    parser.open()
    maxsize, depth = -1, 0
    while True:
        name = parser.word()
        parser.space()
        if name == "MAXSIZE":
            maxsize = parser.number()
        elif name == "DEPTH":
            value = parser.atom().decode("ascii").upper()
            if value not in _DEPTHS:
                raise Bad("DEPTH is 0, 1 or infinity")
            depth = _DEPTHS[value]
        else:
            raise Bad("Unknown option of GETMETADATA")
        if not parser.accept(b" "):
            break
    parser.close()
    return maxsize, depth


def _entries(parser: Parser) -> tuple[str, ...]:
    if not parser.next_is(b"("):
        return (entry_name(parser),)
    parser.open()
    names = [entry_name(parser)]
    while parser.accept(b" "):
        if len(names) == ENTRIES:
            raise Bad(f"More than {ENTRIES} entries")
        names.append(entry_name(parser))
    parser.close()
    return tuple(names)


def entry_list(parser: Parser) -> tuple[str, ...]:
    """In parentheses: METADATA of LIST's RETURN (RFC 9590 3)."""
    return _entries(parser)


def entry_name(parser: Parser) -> str:
    """In lower case: names are compared so (RFC 5464 3.2)."""
    name = parser.text_string("ascii")
    if len(name) > 1000 or not (_ENTRY.fullmatch(name) or name.lower() in ("/private", "/shared")):
        raise Bad("Not the name of an entry: /private/... or /shared/...")
    return name.lower()


def set_(parser: Parser) -> Set:
    parser.space()
    mailbox = parser.reference()
    parser.space()
    parser.open()
    values: dict[str, bytes | None] = {}
    while True:
        if len(values) == ENTRIES:
            raise Bad(f"More than {ENTRIES} entries")
        name = entry_name(parser)
        if not _ENTRY.fullmatch(name):
            raise Bad("Not the name of an entry that can be set")
        parser.space()
        values[name] = _value(parser)
        if not parser.accept(b" "):
            break
    parser.close()
    parser.end()
    return Set(mailbox, values)


def _value(parser: Parser) -> bytes | None:
    """nstring or literal8."""
    if parser.next_is(b"~"):
        literal = parser.literal()
        if not isinstance(literal, Literal):
            raise parser.bad("a short value")
        return literal.data
    return parser.nstring()
