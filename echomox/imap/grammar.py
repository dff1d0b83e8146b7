"""Arguments of IMAP commands as values. RFC 9051 9, RFC 3501 9, RFC 4466.

Each parser takes the whole of a command's arguments or raises `lexer.Bad`. What a command means, in which state it may
come, and which parser is its own, is the server's matter (`imapd.commands`). FETCH, SEARCH, LIST and the larger
extensions have files of their own: fetch.py, searching.py, listing.py and others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from echomox.imap.lexer import Bad, Literal, Parser, Streamed
from echomox.imap.seqset import SequenceSet

FIELDS = 30
"""Most field-value pairs of ID (RFC 2971 3.3)."""
MESSAGES = 1000
"""Most messages of one APPEND."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """No arguments."""


@dataclass(frozen=True, slots=True)
class Login:
    name: str
    password: str

    def __repr__(self) -> str:
        """Without the password: values end in logs."""
        return f"Login(name={self.name!r})"


@dataclass(frozen=True, slots=True)
class Authenticate:
    """mechanism: upper case. initial: the initial response, decoded; None for none (RFC 4959)."""

    mechanism: str
    initial: bytes | None = None

    def __repr__(self) -> str:
        return f"Authenticate(mechanism={self.mechanism!r})"


@dataclass(frozen=True, slots=True)
class OfMailbox:
    """DELETE, SUBSCRIBE, UNSUBSCRIBE. written: the name as the client wrote it, here and below."""

    mailbox: str
    written: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Create:
    """special_use: as written, "\\Sent" (RFC 6154 3)."""

    mailbox: str
    special_use: tuple[str, ...] = ()
    written: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Rename:
    """written: the new name."""

    old: str
    new: str
    written: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Qresync:
    """RFC 7162 3.2.5. modseq: 0, which the grammar does not have, comes from clients that know of none, and means
    everything. match: (message numbers, their UIDs), both ascending and equally many."""

    uidvalidity: int
    modseq: int
    known_uids: SequenceSet | None = None
    match: tuple[SequenceSet, SequenceSet] | None = None


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT and EXAMINE."""

    mailbox: str
    condstore: bool = False
    qresync: Qresync | None = None
    written: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an APPEND. when: with a zone; None: now. data: the octets, or the stream they went
    by."""

    flags: tuple[str, ...]
    when: datetime | None
    data: bytes | Streamed
    utf8: bool = False
    """Sent as UTF8 (~{n}...) (RFC 6855 4)."""
    binary: bool = field(default=False, compare=False)
    """A literal8, which may hold NUL (RFC 3516 4.4)."""


@dataclass(frozen=True, slots=True)
class Append:
    """Several messages: MULTIAPPEND (RFC 3502)."""

    mailbox: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Replace:
    """REPLACE (RFC 8508 4): `messages` is to name one."""

    messages: SequenceSet
    mailbox: str
    message: Message


@dataclass(frozen=True, slots=True)
class Transfer:
    """COPY and MOVE."""

    messages: SequenceSet
    mailbox: str


@dataclass(frozen=True, slots=True)
class Messages:
    """UID EXPUNGE."""

    messages: SequenceSet


@dataclass(frozen=True, slots=True)
class Compress:
    """mechanism: upper case (RFC 4978 4)."""

    mechanism: str


@dataclass(frozen=True, slots=True)
class Enable:
    """capabilities: upper case, known to us or not."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Id:
    """RFC 2971; fields: names in lower case; empty for NIL."""

    fields: tuple[tuple[str, str], ...]


def nothing(parser: Parser) -> Nothing:
    parser.end()
    return Nothing()


def login(parser: Parser) -> Login:
    parser.space()
    name = parser.text_string()
    parser.space()
    password = parser.text_string()
    parser.end()
    return Login(name, password)


def authenticate(parser: Parser) -> Authenticate:
    parser.space()
    mechanism = parser.atom().decode("ascii").upper()
    if not parser.accept(b" ") or parser.at_end():
        parser.end()
        return Authenticate(mechanism)
    return Authenticate(mechanism, parser.base64())


def of_mailbox(parser: Parser) -> OfMailbox:
    parser.space()
    mailbox = parser.mailbox()
    parser.end()
    return OfMailbox(mailbox, parser.written)


def create(parser: Parser) -> Create:
    """RFC 6154 3: CREATE name (USE (\\Sent))."""
    parser.space()
    mailbox = parser.mailbox()
    uses: tuple[str, ...] = ()
    if parser.accept(b" ("):
        if parser.word() != "USE":
            raise Bad("Unknown parameter of CREATE")
        parser.space()
        uses = parser.flag_list()
        parser.expect(b")")
        if not all(use.startswith("\\") for use in uses):
            raise Bad("A special use begins with a backslash")
    parser.end()
    return Create(mailbox, uses, parser.written)


def rename(parser: Parser) -> Rename:
    parser.space()
    old = parser.mailbox()
    parser.space()
    new = parser.mailbox()
    parser.end()
    return Rename(old, new, parser.written)


def select(parser: Parser) -> Select:
    parser.space()
    mailbox = parser.mailbox()
    condstore, qresync = False, None
    if parser.accept(b" ("):
        parser.deeper()
        while True:
            name = parser.word()
            if name == "CONDSTORE":
                condstore = True
            elif name == "QRESYNC" and qresync is None:
                parser.space()
                qresync = _qresync(parser)
            else:
                raise Bad("Unknown or repeated parameter of SELECT")
            if not parser.accept(b" "):
                break
        parser.close()
    parser.end()
    return Select(mailbox, condstore, qresync, parser.written)


def _qresync(parser: Parser) -> Qresync:
    """RFC 7162 7: "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"."""
    parser.open()
    uidvalidity = parser.number(least=1)
    parser.space()
    modseq = parser.number64()
    known, match = None, None
    if parser.accept(b" "):
        if not parser.next_is(b"("):
            known = parser.known_set()
            if parser.accept(b" "):
                match = _sequence_match(parser)
        else:
            match = _sequence_match(parser)
    parser.close()
    return Qresync(uidvalidity, modseq, known, match)


def _sequence_match(parser: Parser) -> tuple[SequenceSet, SequenceSet]:
    parser.open()
    numbers = parser.known_set()
    parser.space()
    uids = parser.known_set()
    parser.close()
    if numbers.count() != uids.count():
        raise Bad("As many message numbers as UIDs are needed")
    return numbers, uids


def append(parser: Parser) -> Append:
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    messages = [_message(parser)]
    while parser.accept(b" ") and not parser.at_end():
        if len(messages) == MESSAGES:
            raise Bad(f"More than {MESSAGES} messages")
        messages.append(_message(parser))
    parser.end()
    return Append(mailbox, tuple(messages))


def replace(parser: Parser) -> Replace:
    parser.space()
    messages = parser.sequence_set()
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    message = _message(parser)
    parser.end()
    return Replace(messages, mailbox, message)


def append_mailbox(parser: Parser) -> str:
    """The mailbox of an APPEND of which not all has come (`Receiver.partial`): it may be missing, before
    octets are taken."""
    parser.space()
    return parser.mailbox()


def _message(parser: Parser) -> Message:
    flags: tuple[str, ...] = ()
    when = None
    if parser.next_is(b"("):
        flags = parser.flag_list()
        parser.space()
    if parser.next_is(b'"'):
        when = parser.date_time()
        parser.space()
    utf8 = parser.next_word() == "UTF8"
    if utf8:
        parser.word()
        parser.space()
        parser.expect(b"(")
    literal = parser.literal()
    if utf8:
        if not literal.binary:
            raise Bad("UTF8 needs a literal8")
        parser.expect(b")")
    data = literal.data if isinstance(literal, Literal) else literal
    return Message(flags, when, data, utf8, literal.binary)


def transfer(parser: Parser) -> Transfer:
    parser.space()
    messages = parser.sequence_set()
    parser.space()
    mailbox = parser.mailbox()
    parser.end()
    return Transfer(messages, mailbox)


def messages(parser: Parser) -> Messages:
    parser.space()
    found = parser.sequence_set()
    parser.end()
    return Messages(found)


def enable(parser: Parser) -> Enable:
    """RFC 5161 4."""
    names: dict[str, None] = {}
    while not names or not parser.at_end():
        parser.space()
        names[parser.atom().decode("ascii").upper()] = None
    return Enable(tuple(names))


def compress(parser: Parser) -> Compress:
    parser.space()
    mechanism = parser.atom().decode("ascii").upper()
    parser.end()
    return Compress(mechanism)


def id_(parser: Parser) -> Id:
    """RFC 2971 4: NIL or a list of pairs of strings; a value may be NIL."""
    parser.space()
    fields: list[tuple[str, str]] = []
    if parser.next_word() == "NIL":
        parser.word()
        parser.end()
        return Id(())
    parser.open()
    while not parser.next_is(b")"):
        if fields:
            parser.space()
        if len(fields) == FIELDS:
            raise Bad(f"More than {FIELDS} fields")
        name = parser.string()
        parser.space()
        value = parser.nstring() or b""
        if len(name) > 30 or len(value) > 1024:
            raise Bad("A field of ID too long")
        fields.append((name.decode("utf-8", "replace").lower(), value.decode("utf-8", "replace")))
    parser.close()
    parser.end()
    return Id(tuple(fields))
