"""Arguments of SEARCH: the grammar that gives `search.Key` values. RFC 9051 6.4.4, RFC 3501 6.4.4, RFC 4731
(ESEARCH), RFC 5032 (WITHIN), RFC 7162 3.1.5 (MODSEQ), RFC 5182 (SEARCHRES), RFC 8514 (SAVEDATE), RFC 9394
(PARTIAL), RFC 5267 (CONTEXT), RFC 6203 (FUZZY), RFC 5466 (FILTERS), RFC 8474 5.4 (OBJECTID).

Keys that RFC 3501 defines by others become those: NEW is RECENT UNSEEN, OLD is NOT RECENT, UNSEEN is NOT
SEEN. SENTON and its like are `When`. Sets of messages keep "*" as `seqset.STAR` and "$" as `SAVED_RANGES`,
for the session to resolve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from echomox.imap import fetch
from echomox.imap.lexer import Bad, Parser
from echomox.imap.search import (
    Age,
    All,
    And,
    Body,
    Filter,
    Fuzzy,
    HasFlag,
    Header,
    Key,
    Modseq,
    Not,
    ObjectId,
    Or,
    Sequence,
    Size,
    Text,
    When,
)
from echomox.imap.seqset import LARGEST, SequenceSet

CHARSETS: Mapping[str, str] = {
    "US-ASCII": "ascii",
    "UTF-8": "utf-8",
    "ISO-8859-1": "iso-8859-1",
    "ISO-8859-15": "iso-8859-15",
    "WINDOWS-1252": "windows-1252",
}
"""Charsets of search strings, and Python's names for them. The first two are for [BADCHARSET (...)]."""
KEYS = 1000
"""Most keys of one search."""
RETURN_OPTIONS = frozenset(("MIN", "MAX", "ALL", "COUNT", "SAVE", "PARTIAL", "UPDATE", "CONTEXT", "RELEVANCY"))
HINTS = frozenset(("CONTEXT", "UPDATE"))
"""Options that ask for no result: alone they give ALL, without which updates would mean little (RFC 5267 4.2, 4.3)."""
SAVED_RANGES = ((0, 0),)
"""Ranges of a `search.Sequence` that is "$": no message has the number 0."""


class BadCharset(Bad):
    """Answer NO [BADCHARSET (US-ASCII UTF-8)] (RFC 9051 7.1). saves: of a search with SAVE, which leaves nothing (RFC
    5182 2.1)."""

    def __init__(self, text: str, saves: bool = False) -> None:
        super().__init__(text)
        self.saves = saves


@dataclass(frozen=True, slots=True)
class Search:
    """returning: None when RETURN was not said (answer with SEARCH, or ESEARCH in IMAP4rev2); RETURN () is
    ("ALL",). charset: "" when none was said. modseq: a MODSEQ key is in it, so the answer tells the
    highest (RFC 7162 3.1.5)."""

    key: Key
    returning: tuple[str, ...] | None = None
    charset: str = ""
    modseq: bool = False
    partial: tuple[int, int] | None = None
    """Of PARTIAL: both ends as written; negative ones count from the end (RFC 9394 3.1)."""
    items: tuple[fetch.FetchItem, ...] = ()
    """Of UPDATE (RFC 5465 7)."""


@dataclass(frozen=True, slots=True)
class Returning:
    """What stands in RETURN (...). options: None when RETURN was not said."""

    options: tuple[str, ...] | None = None
    partial: tuple[int, int] | None = None
    items: tuple[fetch.FetchItem, ...] = ()


NOT_SAID = Returning()


def search(parser: Parser) -> Search:
    """SEARCH and UID SEARCH."""
    parser.space()
    return searched(parser, returns(parser))


def searched(parser: Parser, returning: Returning) -> Search:
    """The rest: CHARSET, and the keys."""
    charset = ""
    if parser.next_word() == "CHARSET":
        parser.word()
        parser.space()
        charset = parser.astring().decode("latin-1").upper()
        if charset not in CHARSETS:
            raise BadCharset("Unknown charset", saves="SAVE" in (returning.options or ()))
        parser.space()
    return program(parser, charset, returning)


def program(parser: Parser, charset: str, returning: Returning = NOT_SAID) -> Search:
    """The keys, up to the end. Without CHARSET it is US-ASCII (RFC 3501), or UTF-8 (RFC 9051), which holds it."""
    keys = _Program(parser, CHARSETS[charset or "UTF-8"])
    found = _and(keys.keys())
    parser.end()
    return Search(found, returning.options, charset, keys.modseq, returning.partial, returning.items)


def returns(parser: Parser) -> Returning:
    """RETURN (...) with a space behind it, if it stands here."""
    if parser.next_word() != "RETURN":
        return NOT_SAID
    parser.word()
    parser.space()
    found = return_options(parser)
    parser.space()
    return found


def return_options(parser: Parser) -> Returning:
    """RFC 4731 3.1, RFC 5182 2.1, RFC 9394 3.1, RFC 5267 4.3 and 4.4 (UPDATE, CONTEXT), RFC 6203 4 (RELEVANCY). The
    range is PARTIAL's."""
    parser.open()
    options: list[str] = []
    partial = None
    items: tuple[fetch.FetchItem, ...] = ()
    while not parser.next_is(b")"):
        if options:
            parser.space()
        option = parser.word()
        if option not in RETURN_OPTIONS:
            raise Bad("Unknown RETURN option")
        if option == "PARTIAL":
            parser.space()
            partial = parser.partial_range()
        elif option == "UPDATE":
            items = items or _update_items(parser)
        if option not in options:
            options.append(option)
    parser.close()
    if partial and "ALL" in options:
        raise Bad("PARTIAL and ALL exclude each other")
    if not set(options) - HINTS:
        options.append("ALL")  # RFC 4731 3.1: when nothing is asked for
    return Returning(tuple(options), partial, items)


def _update_items(parser: Parser) -> tuple[fetch.FetchItem, ...]:
    """What is to be fetched of new results (RFC 5465 7); the grammar has no space before it, the example has one."""
    if parser.next_is(b" ("):
        parser.space()
    return fetch.items(parser) if parser.next_is(b"(") else ()


def _and(keys: list[Key]) -> Key:
    return keys[0] if len(keys) == 1 else And(tuple(keys))


class _Program:
    """The keys of one search. encoding: of its strings."""

    __slots__ = ("count", "encoding", "modseq", "parser")

    def __init__(self, parser: Parser, encoding: str) -> None:
        self.parser = parser
        self.encoding = encoding
        self.count = 0
        self.modseq = False

    def keys(self) -> list[Key]:
        """One or more, with spaces between."""
        keys = [self.key()]
        while self.parser.accept(b" "):
            keys.append(self.key())
        return keys

    def key(self) -> Key:
        self.count += 1
        if self.count > KEYS:
            raise Bad(f"More than {KEYS} search keys")
        parser = self.parser
        if parser.next_is(b"("):
            parser.open()
            keys = self.keys()
            parser.close()
            return _and(keys)
        name = parser.next_word()
        if not name:
            return Sequence(_ranges(parser.sequence_set()), uid=False)
        if name in _SIMPLE:
            parser.word()
            return _SIMPLE[name]
        if name not in _WITH_ARGUMENT:
            raise parser.bad("a search key")
        parser.word()
        parser.space()
        return _WITH_ARGUMENT[name](self, name)

    def inner(self) -> Key:
        """A key that belongs to NOT or OR."""
        self.parser.deeper()
        key = self.key()
        self.parser.depth -= 1
        return key

    def text(self) -> str:
        return self.parser.text_string(self.encoding)


def _ranges(messages: SequenceSet) -> tuple[tuple[int, int], ...]:
    return SAVED_RANGES if messages.saved else messages.ranges


def _not(program: _Program, name: str) -> Key:
    return Not(program.inner())


def _or(program: _Program, name: str) -> Key:
    left = program.inner()
    program.parser.space()
    return Or(left, program.inner())


def _uid(program: _Program, name: str) -> Key:
    return Sequence(_ranges(program.parser.sequence_set()), uid=True)


def _uid_bound(program: _Program, name: str) -> Key:
    """UIDAFTER and UIDBEFORE (RFC 9738 3.2): UIDs above or below this one."""
    uid = program.parser.number(least=1)
    if name == "UIDAFTER":
        return Sequence(((uid + 1, LARGEST),) if uid < LARGEST else (), uid=True)
    return Sequence(((1, uid - 1),) if uid > 1 else (), uid=True)


def _keyword(program: _Program, name: str) -> Key:
    flag = HasFlag(program.parser.atom().decode("ascii"))
    return flag if name == "KEYWORD" else Not(flag)


def _header(program: _Program, name: str) -> Key:
    field = program.parser.text_string("ascii").lower()
    program.parser.space()
    return Header(field, program.text())


def _address(program: _Program, name: str) -> Key:
    return Header(name.lower(), program.text())


def _body(program: _Program, name: str) -> Key:
    return Body(program.text())


def _text(program: _Program, name: str) -> Key:
    return Text(program.text())


def _size(program: _Program, name: str) -> Key:
    return Size(program.parser.number64(), larger=name == "LARGER")


def _when(program: _Program, name: str) -> Key:
    field, relation = _DATES[name]
    return When(field, relation, program.parser.date())


def _age(program: _Program, name: str) -> Key:
    return Age(program.parser.number(least=1), younger=name == "YOUNGER")


def _modseq(program: _Program, name: str) -> Key:
    """RFC 7162 3.1.5: an entry name and type may come first; we keep one mod-sequence for all flags, as
    3.1.5 allows."""
    parser = program.parser
    if parser.next_is(b'"'):
        entry = parser.quoted()
        parser.space()
        kind = parser.word()
        if not entry.lower().startswith(b"/flags/") or kind not in ("PRIV", "SHARED", "ALL"):
            raise Bad("Unknown metadata item of MODSEQ")
        parser.space()
    program.modseq = True
    return Modseq(parser.number64())


def _fuzzy(program: _Program, name: str) -> Key:
    return Fuzzy(program.inner())


def _filter(program: _Program, name: str) -> Key:
    name = program.parser.atom().decode("ascii")
    if "/" in name or len(name) > 200:
        raise Bad("Not the name of a filter")
    return Filter(name)


def _object_id(program: _Program, name: str) -> Key:
    """RFC 8474 5.4; a value that is no objectid is in no message."""
    return ObjectId("content" if name == "EMAILID" else "thread", program.parser.astring().decode("latin-1"))


_RECENT = HasFlag("\\Recent")
_SEEN = HasFlag("\\Seen")

_SIMPLE: Mapping[str, Key] = {
    "ALL": All(),
    "ANSWERED": HasFlag("\\Answered"),
    "DELETED": HasFlag("\\Deleted"),
    "DRAFT": HasFlag("\\Draft"),
    "FLAGGED": HasFlag("\\Flagged"),
    "NEW": And((_RECENT, Not(_SEEN))),
    "OLD": Not(_RECENT),
    "RECENT": _RECENT,
    "SEEN": _SEEN,
    "UNANSWERED": Not(HasFlag("\\Answered")),
    "UNDELETED": Not(HasFlag("\\Deleted")),
    "UNDRAFT": Not(HasFlag("\\Draft")),
    "UNFLAGGED": Not(HasFlag("\\Flagged")),
    "UNSEEN": Not(_SEEN),
    "SAVEDATESUPPORTED": All(),
}

_DATES: Mapping[str, tuple[str, str]] = {
    "BEFORE": ("received", "before"),
    "ON": ("received", "on"),
    "SINCE": ("received", "since"),
    "SENTBEFORE": ("sent", "before"),
    "SENTON": ("sent", "on"),
    "SENTSINCE": ("sent", "since"),
    "SAVEDBEFORE": ("saved", "before"),
    "SAVEDON": ("saved", "on"),
    "SAVEDSINCE": ("saved", "since"),
}

_WITH_ARGUMENT: Mapping[str, Callable[[_Program, str], Key]] = {
    "NOT": _not,
    "OR": _or,
    "UID": _uid,
    "UIDAFTER": _uid_bound,
    "UIDBEFORE": _uid_bound,
    "KEYWORD": _keyword,
    "UNKEYWORD": _keyword,
    "HEADER": _header,
    "BCC": _address,
    "CC": _address,
    "FROM": _address,
    "SUBJECT": _address,
    "TO": _address,
    "BODY": _body,
    "TEXT": _text,
    "LARGER": _size,
    "SMALLER": _size,
    "OLDER": _age,
    "YOUNGER": _age,
    "MODSEQ": _modseq,
    "FUZZY": _fuzzy,
    "FILTER": _filter,
    "EMAILID": _object_id,
    "THREADID": _object_id,
    **dict.fromkeys(_DATES, _when),
}
