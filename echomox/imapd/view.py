"""What one client has been told of its selected mailbox, and what it is to be told next.

RFC 3501 2.3.1.2 (sequence numbers), 5.2 (unsolicited data), 7.3, 7.4.1 (when EXPUNGE may be sent); RFC 9051
the same; RFC 7162 3.1.3 and 3.2 (modseq, VANISHED); RFC 2180 4.1 (messages that another session has
expunged).

The truth is in the store. A View only advances by `Changes`, in modseq order, and never past what it reports:
`advance` takes a net change, enlarges the picture by new messages, remembers what was expunged, and returns
the flags to tell; `expunge` then renumbers, when the protocol allows it. Pure: no I/O, no bytes."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from echomox.imap.seqset import STAR, runs

if TYPE_CHECKING:
    from echomox.imap.seqset import SequenceSet
    from echomox.store.engine import Changes, Selected

NOTHING: Mapping[int, int] = {}


class OutOfRange(ValueError):
    """A sequence number that this client has not been told of (RFC 9051 9, seq-number)."""


class Recent(int):
    """A UID from which on messages are \\Recent, but those that other sessions have been told of first: `uid >= recent`
    says which. others: these, ascending."""

    others: frozenset[int]

    def __new__(cls, first: int, others: frozenset[int]) -> Recent:
        made = super().__new__(cls, first)
        made.others = others
        return made

    def __le__(self, uid: int) -> bool:
        return int(self) <= uid and uid not in self.others


class View:
    """uids: by position, ascending, as the client knows them. told: the account's modseq up to which changes
    are in this picture. recent_from: messages with this UID or a higher one are \\Recent here; see Recent. claims: new
    ones are, as far as they are no other session's. pending: UIDs
    that are gone but not yet told; they keep their numbers until `expunge`. settled: what `told` was when
    nothing was pending; delayed: the client was given it as HIGHESTMODSEQ meanwhile. last_uid: the highest
    UID ever in `uids`. keywords: those the client has seen in a FLAGS response."""

    __slots__ = (
        "claims", "delayed", "keywords", "last_uid", "mailbox_id", "name", "pending", "read_only", "recent_from",
        "settled", "told", "uids", "uidvalidity",
    )  # fmt: skip

    def __init__(self, selected: Selected, read_only: bool, claims: bool = False) -> None:
        self.mailbox_id = selected.mailbox.id
        self.name = selected.mailbox.name
        self.uidvalidity = selected.mailbox.uidvalidity
        self.read_only = read_only
        self.uids: array[int] = selected.uids
        self.told = self.settled = selected.modseq
        self.recent_from = selected.recent_from
        self.claims = claims
        self.last_uid = selected.uids[-1] if selected.uids else 0
        self.pending: set[int] = set()
        self.delayed = False
        self.keywords = frozenset(selected.keywords)

    def __len__(self) -> int:
        return len(self.uids)

    def recent(self) -> int:
        """How many messages are \\Recent in this session."""
        others = self.recent_from.others if isinstance(self.recent_from, Recent) else ()
        return len(self.uids) - bisect_left(self.uids, int(self.recent_from)) - sum(map(bool, map(self.number, others)))

    def recent_ranges(self) -> tuple[tuple[int, int], ...]:
        """UIDs of the messages that are \\Recent here."""
        if not isinstance(self.recent_from, Recent):
            return ((self.recent_from, STAR),)
        later = self.uids[bisect_left(self.uids, int(self.recent_from)) :]
        return tuple(runs(uid for uid in later if uid not in self.recent_from.others))

    def forget_recent(self) -> None:
        """The client speaks IMAP4rev2, which has no \\Recent (RFC 9051 E)."""
        self.recent_from = STAR + 1
        self.claims = False

    def not_recent(self, new: Iterable[int], first: int) -> None:
        """Of these new messages, those with UIDs below `first` are another session's."""
        taken = frozenset(uid for uid in new if self.recent_from <= uid < first)
        if taken:
            known = self.recent_from.others if isinstance(self.recent_from, Recent) else frozenset[int]()
            self.recent_from = Recent(int(self.recent_from), taken | frozenset(filter(self.number, known)))

    def number(self, uid: int) -> int:
        """The sequence number of a UID; 0 if the client does not know it."""
        place = bisect_left(self.uids, uid)
        return place + 1 if place < len(self.uids) and self.uids[place] == uid else 0

    # -- sets that the client names

    def positions(self, messages: SequenceSet, by_uid: bool) -> list[range]:
        """Indexes into `uids`, ascending, disjoint. Unknown UIDs are passed over (RFC 3501 6.4.8); an unknown
        sequence number raises OutOfRange, "*" of an empty mailbox too (RFC 9051 9, seq-number). 7:* means what is
        there, as clients use it (1:* of an empty mailbox)."""
        if by_uid:
            return messages.uid_positions(self.uids)
        if messages.exceeds(len(self.uids)):
            raise OutOfRange(f"No such message, there are {len(self.uids)}")
        return messages.positions(len(self.uids))

    def at(self, positions: Iterable[range]) -> array[int]:
        """The UIDs at these positions."""
        chosen: array[int] = array("I")
        for part in positions:
            chosen += self.uids[part.start : part.stop]
        return chosen

    def numbers(self, uids: Iterable[int], by_uid: bool) -> list[int]:
        """UIDs as this command names messages: themselves, or their sequence numbers."""
        return list(uids) if by_uid else [self.number(uid) for uid in uids]

    # -- changes of the store

    def advance(self, changes: Changes, own: Mapping[int, int] = NOTHING) -> list[tuple[int, int, str, int]]:
        """Takes over what happened since `told`. own: modseq by UID of changes whose outcome the client
        already knows.

        Returns (uid, flags, keywords, modseq) of known messages, to be told. New messages are in `uids`
        afterwards, expunged ones in `pending`."""
        if changes.modseq <= self.told:
            return []
        self.told = changes.modseq
        for uid in changes.expunged:
            if self.number(uid):
                self.pending.add(uid)
        flags = []
        for change in changes.changed:
            uid = change[0]
            if uid > self.last_uid:
                self.uids.append(uid)
                self.last_uid = uid
            elif own.get(uid, 0) < change[3] and self.number(uid):
                flags.append(change)
        return flags

    def expunge(self) -> tuple[list[int], list[int]]:
        """Forgets what is pending. Returns (numbers for EXPUNGE in the order to be told, each in the
        numbering that the ones before it leave behind; the UIDs, ascending, for VANISHED)."""
        gone = sorted(self.pending)
        self.pending = set()
        numbers: list[int] = []
        left: array[int] = array("I")
        done = 0
        for uid in gone:
            place = bisect_left(self.uids, uid, done)
            left.extend(self.uids[done:place])
            numbers.append(place + 1 - len(numbers))
            done = place + 1
        left.extend(self.uids[done:])
        self.uids = left
        return numbers, gone
