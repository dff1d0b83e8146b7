"""What flags mean: the change a STORE makes, what counts change with it, and what it teaches the filter. Pure."""

from __future__ import annotations

from typing import NamedTuple

from echomox.store.engine import Flag, FlagOp

SEEN, ANSWERED, DELETED = int(Flag.SEEN), int(Flag.ANSWERED), int(Flag.DELETED)
JUNK, NOTJUNK = int(Flag.JUNK), int(Flag.NOTJUNK)
OPINION = JUNK | NOTJUNK
SAYS = OPINION | ANSWERED
"""Without a change of these `label` does not change."""
JUNK_USE, TRASH_USE = "\\Junk", "\\Trash"
REJECTS = "Rejects"
WAITS = "waits"
"""What the mailbox of strangers says (F14): that the user is still to speak."""


class Masks(NamedTuple):
    """new = old & keep | put"""

    keep: int
    put: int


def masks(op: FlagOp, flags: int) -> Masks:
    """The bits of a STORE. $Junk set without $NotJunk clears $NotJunk, and the other way round."""
    if op is FlagOp.SET:
        return Masks(0, flags)
    if op is FlagOp.REMOVE:
        return Masks(~flags, 0)
    opinion = flags & OPINION
    return Masks(~OPINION if opinion in (JUNK, NOTJUNK) else -1, flags)


def label(flags: int) -> str:
    """What the user says with these flags: "spam", "ham", or "" for neither or both. Mail that was answered is ham
    where nothing else is said: most people mark spam only, and a filter that is shown one kind learns nothing."""
    return _LABELS[flags & SAYS]


_LABELS = {
    0: "", ANSWERED: "ham",
    JUNK: "spam", JUNK | ANSWERED: "spam",
    NOTJUNK: "ham", NOTJUNK | ANSWERED: "ham",
    OPINION: "", OPINION | ANSWERED: "",
}  # fmt: skip


def after_transfer(flags: int, source_use: str, target_use: str, said: str | None = None) -> int:
    """The flags of a message that the user moves (or copies: source_use "") into a mailbox of `target_use`.

    Into Junk says spam. Then said is what the account's options say by being there: "spam", "ham", "" for neither
    (F07). Without: out of Junk, but not into Trash, takes back what the user had said, or else says that the filter was
    wrong. Out of the mailbox of strangers (source_use WAITS), but not into Trash, says ham unless the user has flagged
    it, and "neither" of where it goes does not count.
    """
    if target_use == JUNK_USE or said == "spam":
        return (flags | JUNK) & ~NOTJUNK
    if source_use == WAITS and target_use != TRASH_USE and said not in ("ham", WAITS):
        return flags if flags & OPINION else flags | NOTJUNK
    if said is not None and said != WAITS:
        return flags & ~OPINION | (NOTJUNK if said == "ham" else 0)
    if source_use == JUNK_USE and target_use != TRASH_USE:
        return flags & ~JUNK if flags & JUNK else flags | NOTJUNK
    return flags


def is_free(use: str, name: str) -> bool:
    """Whether a delivery into the mailbox may say something of the message: where the filter puts what it thinks is
    junk, it must not learn from itself."""
    return use != JUNK_USE and name != REJECTS


class Counts(NamedTuple):
    """What messages add to the counts of their mailbox, in the order of the columns."""

    total: int
    deleted: int
    unread: int
    unseen: int
    size: int


def states(flags: int) -> tuple[int, int, int]:
    """(deleted, unread, unseen) of one message, each 0 or 1."""
    return (flags & DELETED) >> 3, not flags & (SEEN | DELETED), not flags & SEEN


def counts(rows: list[tuple[int, int]]) -> Counts:
    """Of messages given as (flags, size)."""
    deleted = unread = unseen = size = 0
    for flags, octets in rows:
        deleted += (flags & DELETED) >> 3
        unread += not flags & (SEEN | DELETED)
        unseen += not flags & SEEN
        size += octets
    return Counts(len(rows), deleted, unread, unseen, size)
