"""The store's interface: accounts, mailboxes, messages, changes. Behind it stands one engine (`store.ENGINES`).

All methods are synchronous and short: one transaction each. A write assigns one new modseq (RFC 7162), the same to all
it touches; modseqs of an account grow in commit order, UIDs of a mailbox likewise, and neither is ever given twice, not
even after a power cut. Messages are added through `Committer` only: what it has answered is on disk.

Nothing here knows SQLite or paths: a second engine can stand behind the same protocol.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntFlag
from typing import Any, Protocol

from echomox.imap.search import Key
from echomox.imap.sorting import Criterion
from echomox.imap.threads import Items
from echomox.message.structure import Structure


class Flag(IntFlag):
    """Flags that have a bit of their own; all others are keywords."""

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16
    FORWARDED = 32
    JUNK = 64
    NOTJUNK = 128
    MDNSENT = 256
    PHISHING = 512


WIRE_FLAGS: Mapping[Flag, str] = {
    Flag.SEEN: "\\Seen",
    Flag.ANSWERED: "\\Answered",
    Flag.FLAGGED: "\\Flagged",
    Flag.DELETED: "\\Deleted",
    Flag.DRAFT: "\\Draft",
    Flag.FORWARDED: "$Forwarded",
    Flag.JUNK: "$Junk",
    Flag.NOTJUNK: "$NotJunk",
    Flag.MDNSENT: "$MDNSent",
    Flag.PHISHING: "$Phishing",
}

SPECIAL_USES = ("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash", "\\Flagged", "\\All", "\\Important")
DEFAULT_MAILBOXES: Mapping[str, str] = {
    "INBOX": "",
    "Drafts": "\\Drafts",
    "Sent": "\\Sent",
    "Archive": "\\Archive",
    "Trash": "\\Trash",
    "Junk": "\\Junk",
    "Rejects": "",
}
SEPARATOR = "/"
ANNOTATIONS = 1000
"""Most annotations of an account, those of its mailboxes too."""
ANNOTATION_SIZE = 65_536
REPAIRS = (
    "bumpuidvalidity", "reassignuids", "recalculate", "fixuidmeta", "reparse", "reassignthreads", "fixmsgsize",
)  # fmt: skip
VIRTUALS = 100
"""Most virtual mailboxes of an account."""
ACL_ENTRIES = 1000
"""Most identifiers in the access list of a mailbox."""


class StoreError(Exception):
    """Base of what the store refuses."""


class NoSuchAccount(StoreError):
    pass


class NoSuchMailbox(StoreError):
    pass


class MailboxExists(StoreError):
    pass


class BadMailboxName(StoreError):
    """str() says why: empty level, too long, too deep, control character, reserved."""


class OverQuota(StoreError):
    pass


class LimitExceeded(StoreError):
    """Too many keywords, mailboxes …; str() says which."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """T02. unread: neither \\Seen nor \\Deleted; unseen: not \\Seen; size: bytes with prefixes."""

    id: int
    name: str
    uidvalidity: int
    uidnext: int
    special_use: str
    subscribed: bool
    total: int
    deleted: int
    unread: int
    unseen: int
    size: int
    modseq: int
    """Highest modseq of a change in this mailbox."""
    recent: int
    """Messages with this UID or a higher one have been shown as \\Recent to no session yet."""


@dataclass(frozen=True, slots=True)
class Virtual:
    """X63: a mailbox that is a search over all others but Trash, Junk and Rejects. id: below 0. search: a SEARCH
    program as IMAP writes it. A message keeps its UID as long as it matches; flags, expunges and moves are the real
    message's."""

    id: int
    name: str
    search: str
    special_use: str


@dataclass(frozen=True, slots=True)
class Selected:
    """A mailbox as a session first sees it; uids ascending, position + 1 is the sequence number."""

    mailbox: Mailbox
    uids: array[int]
    """array('I')"""
    recent_from: int
    """Messages with this UID or a higher one are \\Recent in this session."""
    first_unseen: int
    """UID of the first message without \\Seen; 0 for none."""
    keywords: tuple[str, ...]
    """Keywords in use in this mailbox, sorted."""
    modseq: int
    """The account's modseq of this picture: changes after it come from `changes`."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened in one mailbox after `since`, up to and including `modseq`, net: a message both added and expunged
    in between is only in `expunged`. changed holds new messages too; both ascend by UID."""

    modseq: int
    changed: list[tuple[int, int, str, int]]
    """(uid, flag bits, keywords, modseq)"""
    expunged: list[int]
    renamed: bool = False
    """The mailbox itself was renamed, deleted or given another UIDVALIDITY."""


class FlagOp(Enum):
    SET = "set"
    ADD = "add"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class FlagsStored:
    """changed: (uid, bits, keywords) of the messages whose flags are now different; conflicts: UIDs whose modseq is
    above UNCHANGEDSINCE (untouched); missing: UIDs that are expunged; modseq: of this change, or of the account if
    none. before: the highest modseq that the messages had until now."""

    modseq: int
    changed: list[tuple[int, int, str]]
    conflicts: list[int]
    missing: list[int]
    before: int = 0


@dataclass(frozen=True, slots=True)
class Copied:
    """COPYUID (RFC 4315 3): source[i] became target[i] in the mailbox with `uidvalidity`."""

    uidvalidity: int
    source: list[int]
    target: list[int]
    modseq: int


class Content(Protocol):
    """The bytes of a message as clients see them: prefix (our trace headers) and file as one."""

    size: int
    prefix_size: int

    def read(self, offset: int = 0, length: int | None = None) -> bytes: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Login:
    """A14: one login attempt."""

    time: float
    address: str
    protocol: str
    mechanism: str
    result: str
    remote_ip: str


@dataclass(frozen=True, slots=True)
class Correspondent:
    """F08, F23: somebody the account has written to. address: in comparison form (local part and domain in lower case,
    the domain as A-labels). first, last: Unix seconds."""

    address: str
    first: float
    last: float
    times: int


@dataclass(frozen=True, slots=True)
class SendLimits:
    """U14: in 24 hours; 0: none. messages: recipients at other servers. first_time: those never written to before."""

    messages: int
    first_time: int


@dataclass(frozen=True, slots=True)
class LearnItem:
    """F06: what the user said of a message. label "spam", "ham" or "" (no longer either); applied by the trainer, once
    per id."""

    id: int
    message_id: int
    label: str


@dataclass(frozen=True, slots=True)
class AffectiveState:
    """R46: what a message feels like, by the filter. Seven emotions, arousal and dominance 0 to 1; valence -1 to 1."""

    message_id: int
    joy: float
    sadness: float
    anger: float
    fear: float
    disgust: float
    interest: float
    surprise: float
    valence: float
    arousal: float
    dominance: float


COLUMNS = (
    "id", "uid", "modseq", "flags", "keywords", "size", "received", "saved", "envelope", "body", "bodystructure",
    "parts", "preview", "message_id", "subject", "prefix", "sent", "verdict", "remote_ip", "email_id",
    "thread_id", "content",
)  # fmt: skip
"""What `fetch` can give. flags: int of Flag bits; keywords: space-separated, sorted, "" for none; received, saved,
sent: Unix seconds (float); envelope, body, bodystructure: bytes, ready for the wire; parts: tuple of
message.structure.Part; prefix: bytes; content: number of what does not change, for `content_of`;
email_id, thread_id: str, digits of the instance and the number of what does not change (copies share it), and of the
first such of the thread that it belongs to for ever."""
ID_DIGITS = 8
"""Of the instance, in email_id and thread_id."""


class AccountStore(Protocol):
    """One account. Safe to use from one thread at a time; each process opens its own."""

    name: str

    def modseq(self) -> int:
        """The account's highest modseq: cheap, read before every look at changes."""
        ...

    # mailboxes
    def mailboxes(self) -> list[Mailbox]: ...
    def mailbox(self, name: str) -> Mailbox: ...
    def mailbox_by_id(self, mailbox_id: int) -> Mailbox: ...
    def special_mailbox(self, use: str) -> Mailbox | None: ...
    def create_mailbox(self, name: str, special_use: str = "") -> Mailbox:
        """Makes missing parents too."""
        ...

    def rename_mailbox(self, old: str, new: str) -> None:
        """With children. Renaming INBOX moves its messages to a new mailbox (RFC 9051 6.3.6)."""
        ...

    def delete_mailbox(self, name: str) -> None:
        """With its messages; children stay, the name then is a \\NonExistent parent in LIST."""
        ...

    def subscribe(self, name: str, on: bool) -> None:
        """A subscription may name a mailbox that does not exist."""
        ...

    def subscriptions(self) -> list[str]: ...

    def annotations(self, mailbox_id: int) -> dict[str, bytes]:
        """METADATA (RFC 5464) by entry name, sorted; mailbox 0 is the account itself."""
        ...

    def set_annotations(self, mailbox_id: int, values: Mapping[str, bytes | None]) -> None:
        """All or none; None removes. Raises LimitExceeded beyond ANNOTATIONS and ANNOTATION_SIZE."""
        ...

    def virtual_mailboxes(self) -> list[Virtual]:
        """By name. They are not in `mailboxes`; `mailbox`, `mailbox_by_id`, `delete_mailbox`, `rename_mailbox` and all
        that is about messages know them."""
        ...

    def define_virtual(self, name: str, search: str, special_use: str = "") -> Mailbox:
        """Raises BadMailboxName for what is no search, LimitExceeded beyond VIRTUALS."""
        ...

    def acl(self, mailbox_id: int) -> dict[str, str]:
        """Whom the mailbox is shared with (RFC 4314): rights, as of `imap.acl`, by account name or "anyone", with "-"
        before it for rights that it may not have; sorted. The owner, who may do all, is not in it."""
        ...

    def set_acl(self, mailbox_id: int, changes: Mapping[str, str | None]) -> None:
        """All or none; None removes an identifier. A new mailbox has its parent's list; a deletion takes it. Raises
        LimitExceeded beyond ACL_ENTRIES, NoSuchAccount for what cannot be an account's name."""
        ...

    def shared(self) -> dict[int, dict[str, str]]:
        """All access lists by mailbox id, of those that have one."""
        ...

    # messages
    def select(self, mailbox_id: int, claim_recent: bool) -> Selected: ...
    def claim_recent(self, mailbox_id: int, below: int) -> int:
        """The lowest UID of the messages that no session has been told of as \\Recent. From now on those with UIDs
        under `below` are the caller's, too."""
        ...

    def changes(self, mailbox_id: int, since: int) -> Changes: ...
    def fetch(self, mailbox_id: int, low: int, high: int, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Rows of the messages with low <= UID <= high that are not expunged, ascending by UID, values in the order of
        `columns`. The iterator must be consumed, or dropped, before the next write."""
        ...

    def content(self, message_id: int) -> Content:
        """Raises StoreError when the message is gone. MOVE keeps the id, COPY gives a new one."""
        ...

    def content_of(self, content: int, prefix: bytes, size: int) -> Content:
        """As `content`, from these columns of `fetch`, without a look-up."""
        ...

    def affect(self, message_id: int) -> AffectiveState | None:
        """None for a message that was not classified, or is gone. A copy has its original's."""
        ...

    def search(self, mailbox_id: int, key: Key, uids: array[int]) -> list[int]:
        """UIDs, ascending, of the messages of `uids` (the caller's view; sequence numbers in `key` are positions in it)
        that match."""
        ...

    def searching(self, mailbox_id: int, key: Key, uids: array[int]) -> Generator[None, None, list[int]]:
        """`search` in steps of about 10 ms: between two of them the caller may do anything else. The result is what
        the generator returns. One that is not run to its end is to be closed."""
        ...

    def scoring(self, mailbox_id: int, key: Key, uids: Sequence[int]) -> Generator[None, None, dict[int, int]]:
        """How relevant these messages are by the FUZZY keys of `key`, 1 to 100 (RFC 6203 4); in steps as
        `searching`."""
        ...

    def ordering(
        self, mailbox_id: int, uids: Sequence[int], criteria: Sequence[Criterion], scores: Mapping[int, int]
    ) -> Generator[None, None, list[int]]:
        """`uids` (ascending) in the order of SORT (RFC 5256 3), in steps as `searching`. scores: by UID, for
        RELEVANCY."""
        ...

    def thread_items(self, mailbox_id: int, uids: Sequence[int]) -> Generator[None, None, Items]:
        """What threading needs of `uids` (ascending), in their order; of those that are gone, nothing."""
        ...

    def instance(self) -> str:
        """16 hexadecimal digits: a later account of the same name has others."""
        ...

    def index_texts(self, least: int, stopped: Callable[[], bool]) -> int:
        """Brings the full-text index on by one batch, if `least` messages wait for it; returns how many were indexed.
        For the one process that fills indexes; stopped: asked now and then, True ends the work early."""
        ...

    def modernize(self, stopped: Callable[[], bool]) -> int:
        """Brings some of what an older version of the program kept up to date; 0 when nothing is left to do."""
        ...

    def tidy_texts(self, stopped: Callable[[], bool]) -> None:
        """Takes out of the full-text index what is gone, if it is much."""
        ...

    def store_flags(
        self,
        mailbox_id: int,
        uids: Collection[int],
        op: FlagOp,
        flags: int,
        keywords: Collection[str],
        unchanged_since: int | None = None,
    ) -> FlagsStored: ...
    def expunge(self, mailbox_id: int, uids: Collection[int] | None) -> tuple[list[int], int]:
        """Removes the messages with \\Deleted, of `uids` or of all. Returns (UIDs removed, modseq)."""
        ...

    def remove(self, mailbox_id: int, uids: Collection[int]) -> tuple[list[int], int]:
        """Removes messages whether or not they have \\Deleted."""
        ...

    def copy(self, mailbox_id: int, uids: Collection[int], target_id: int) -> Copied: ...
    def move(self, mailbox_id: int, uids: Collection[int], target_id: int) -> Copied: ...

    def repair(self, task: str, mailbox: str = "") -> int:
        """T29, one of REPAIRS; mailbox "": all. Returns how many mailboxes (bumpuidvalidity, recalculate), messages
        (reassignuids, fixmsgsize), contents (reparse, reassignthreads) or values (fixuidmeta) it changed."""
        ...

    # secrets and logins
    def secrets(self) -> Mapping[str, str]:
        """Derived secrets by scheme: bcrypt or argon2id, scram-sha-256, scram-sha-1, cram-md5; and "generation", a
        number that grows."""
        ...

    def set_secrets(self, secrets: Mapping[str, str]) -> None: ...
    def log_login(self, login: Login) -> None: ...
    def logins(self, limit: int = 1000) -> list[Login]: ...

    # whom it has written to
    def note_sent(self, outside: Sequence[str], local: Sequence[str], now: float, limits: SendLimits) -> str:
        """Notes that a message goes to these addresses (comparison form) if the limits allow: "" then, else "messages"
        or "recipients", and nothing is noted."""
        ...

    def sent_today(self, now: float) -> tuple[int, int]:
        """(recipients outside, those of them never written to before) of the last 24 hours."""
        ...

    def correspondents(self, addresses: Collection[str]) -> dict[str, Correspondent]:
        """Those of up to 400 addresses that it has written to."""
        ...

    # learning
    def learn_outbox(self, after: int, limit: int) -> list[LearnItem]: ...
    def learned(self, up_to: int) -> None:
        """Forgets outbox items up to this id; the trainer has them."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Target:
    """One mailbox a message is added to."""

    account: str
    mailbox: str
    """A name; it is made if it does not exist and it is one of DEFAULT_MAILBOXES."""
    prefix: bytes = b""
    flags: int = 0
    keywords: tuple[str, ...] = ()
    verdict: str = ""
    """JSON of the filter's verdict, kept with the message; its "profile" (ten numbers) is what `affect` gives."""


@dataclass(frozen=True, slots=True)
class Addition:
    """One message for one or more mailboxes. source: its bytes, or the id of a spool file as "smtp.0/name", which
    the caller removes afterwards. delivery: an
    id that is unique for ever (the journal's replay goes by it)."""

    source: bytes | str
    structure: Structure
    targets: Sequence[Target]
    delivery: str
    received: float
    mail_from: str = ""
    remote_ip: str = ""
    learn: bool = field(default=False)
    """An APPEND by the user (into Junk it says spam), not a delivery."""
    delivered: bool = False
    """A delivery: `Engine.opinion` is asked, but not where the filter itself puts mail."""


@dataclass(frozen=True, slots=True)
class Added:
    account: str
    mailbox_id: int
    message_id: int
    uid: int
    uidvalidity: int
    modseq: int


class Committer(Protocol):
    """Adds messages durably, many at once: one fdatasync serves all that wait. One per worker process."""

    async def add(self, addition: Addition) -> list[Added]:
        """Returns, one per target, when power may fail. Raises StoreError, or OSError when the disk is full: then
        nothing was added anywhere."""
        ...

    async def close(self) -> None:
        """Waits for what is under way and writes a checkpoint."""
        ...


FEW_OPEN = 8
"""Engine.open_limit of a process that goes through accounts one after the other."""


class Engine(Protocol):
    on_change: Callable[[str, int], None]
    """Called with (account, modseq) after each committed write of this process; rings the bell."""
    opinion: Callable[[str, str], str | None]
    """(account, mailbox) -> what the account's options say of messages that are put there: "spam", "ham", "" for
    neither; None when they say nothing. "waits": nothing either, but what the user moves from there elsewhere is
    ham."""
    open_limit: int
    """So many accounts stay open for their next use; each takes memory, some 180 KB in SQLite."""

    def accounts(self) -> list[str]: ...
    def create(self, account: str) -> None:
        """With the default mailboxes; does nothing when it exists."""
        ...

    def remove(self, account: str) -> None: ...
    def open(self, account: str) -> AccountStore:
        """Kept open and shared within the process; raises NoSuchAccount."""
        ...

    def owners(self, account: str) -> list[str]:
        """Accounts that may share a mailbox with this one, sorted: their access lists say whether they do."""
        ...

    def withdraw(self, account: str) -> None:
        """Takes this account, which is going, out of all access lists."""
        ...

    def committer(self, worker: str) -> Committer:
        """To be called in the running loop, and closed: a journal that is left makes the next start an unclean one."""
        ...

    def recover(self) -> dict[str, int]:
        """Replays the journals of all workers; called by the supervisor's child before any worker starts. Returns
        counts for the log."""
        ...

    def close(self) -> None: ...
