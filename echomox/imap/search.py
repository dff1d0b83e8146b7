"""The search program of SEARCH (RFC 9051 6.4.4, RFC 3501 6.4.4) as values: what the grammar gives and the
store evaluates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class And:
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Or:
    left: Key
    right: Key


@dataclass(frozen=True, slots=True)
class Not:
    key: Key


@dataclass(frozen=True, slots=True)
class Sequence:
    """Messages by sequence number (uid False) or UID. ranges: inclusive pairs low <= high; 2 ** 32 for
    "*" as high end; such ranges have been resolved by the session before the store sees them."""

    ranges: tuple[tuple[int, int], ...]
    uid: bool


@dataclass(frozen=True, slots=True)
class HasFlag:
    """flag: as on the wire, "\\Seen" or a keyword; compared without case. "\\Recent" is resolved by the
    session into Sequence."""

    flag: str


@dataclass(frozen=True, slots=True)
class Header:
    """name: lower case. value "": the header exists. A substring without case, of the decoded field (BCC
    CC FROM SUBJECT TO are this too)."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Body:
    value: str


@dataclass(frozen=True, slots=True)
class Text:
    value: str


@dataclass(frozen=True, slots=True)
class Size:
    """larger: RFC822.SIZE > octets; else smaller."""

    octets: int
    larger: bool


@dataclass(frozen=True, slots=True)
class When:
    """field: "received" (internal date), "sent" (Date header), "saved" (RFC 8514). relation: "before",
    "on", "since". The date is compared disregarding time and zone: as written in the message or the
    internal date's own zone (UTC here)."""

    field: str
    relation: str
    day: date


@dataclass(frozen=True, slots=True)
class Age:
    """WITHIN (RFC 5032): younger or older than so many seconds."""

    seconds: int
    younger: bool


@dataclass(frozen=True, slots=True)
class Modseq:
    """MODSEQ (RFC 7162 3.1.5): modseq >= value."""

    value: int


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """FUZZY (RFC 6203 3): the texts of `key` need only be there in part, or nearly."""

    key: Key


@dataclass(frozen=True, slots=True)
class ObjectId:
    """EMAILID and THREADID (RFC 8474 5.4). field: "content" or "thread" of `AccountStore.fetch`. number: NOBODY for a
    value that none can have, once the session has resolved `value`."""

    field: str
    value: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Filter:
    """FILTER (RFC 5466 3.1): the search kept under this name; resolved by the session."""

    name: str


Key = (
    All
    | And
    | Or
    | Not
    | Sequence
    | HasFlag
    | Header
    | Body
    | Text
    | Size
    | When
    | Age
    | Modseq
    | Fuzzy
    | ObjectId
    | Filter
)
