"""Where a mailbox is, and what this session may do there: the account's own mailboxes, and those that other accounts
share with it, "Other Users/<account>/<mailbox>". RFC 2342 5; RFC 4314 4 and 6 (rights; what may not be looked up does
not exist).

The owner may do everything. Flags, \\Seen too, are those of the message and the same for all; quota is the owner's.
What somebody else says is junk teaches the owner's filter only with the right "w", which the flags $Junk and $NotJunk
need anyway."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from echomox.imap.acl import ALL, granted
from echomox.imapd.command import No
from echomox.store.engine import SEPARATOR, Flag, Mailbox, NoSuchAccount, NoSuchMailbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from echomox.imapd.hub import Hub
    from echomox.imapd.session import Session
    from echomox.store.engine import AccountStore, Virtual

OTHERS = "Other Users"
BELOW = OTHERS + SEPARATOR
KNOWING = frozenset("lrikxa")
"""Rights that let MYRIGHTS be answered (RFC 4314 4)."""
CHANGING = frozenset("iestw")
"""Without any of them a mailbox is READ-ONLY (RFC 4314 5.2)."""


class Box:
    """Of the selected mailbox: the hub of the account that it is in, what stands before the names of that account, and
    the rights. checked: the account's modseq when the rights were looked up."""

    __slots__ = ("checked", "hub", "prefix", "rights", "store")

    def __init__(self, hub: Hub, prefix: str = "", rights: str = ALL) -> None:
        self.hub = hub
        self.store = hub.store
        self.prefix = prefix
        self.rights = rights
        self.checked = 0


class Found(NamedTuple):
    """A mailbox that exists, named as the client knows it. prefix: "" in the account itself."""

    store: AccountStore
    mailbox: Mailbox
    rights: str = ALL
    prefix: str = ""

    @property
    def name(self) -> str:
        """In its account."""
        return self.mailbox.name[len(self.prefix) :]


def is_elsewhere(name: str) -> bool:
    """Whether the name is one of the namespace of other users."""
    return name.startswith(BELOW) or name == OTHERS


def find(session: Session, name: str, needed: str = "") -> Found:
    """needed: rights without which it is refused. Raises NoSuchMailbox, or No [NOPERM]."""
    if not is_elsewhere(name):
        store = session.store
        return Found(store, store.mailbox(name))
    store, prefix, inner = account_of(session, name)
    mailbox = store.mailbox(inner)
    rights = granted(store.acl(mailbox.id), session.store.name)
    check(rights, needed)
    return Found(store, seen_from_outside(mailbox, prefix), rights, prefix)


def check(rights: str, needed: str) -> None:
    if not KNOWING.intersection(rights):
        raise NoSuchMailbox("no such mailbox")
    missing = [right for right in needed if right not in rights]
    if missing:
        if "l" not in rights:
            raise NoSuchMailbox("no such mailbox")
        raise No(f"You have no right {missing[0]} to this mailbox", "NOPERM")


def seen_from_outside(mailbox: Mailbox, prefix: str) -> Mailbox:
    """Special uses are the owner's; a subscription is one's own, which only LIST knows."""
    return replace(mailbox, name=prefix + mailbox.name, special_use="", subscribed=False)


def seen_in_list(one: Virtual) -> Mailbox:
    """Without counts."""
    return Mailbox(one.id, one.name, 0, 1, one.special_use, False, 0, 0, 0, 0, 0, 0, 1)


def account_of(session: Session, name: str) -> tuple[AccountStore, str, str]:
    """(store, prefix, name there) for "Other Users/<account>/<mailbox>"; raises NoSuchMailbox unless that account
    may share something with this one."""
    owner, _, inner = name[len(BELOW) :].partition(SEPARATOR)
    if not inner or owner not in session.service.owners(session.store.name):
        raise NoSuchMailbox("no such mailbox")
    try:
        return session.service.engine.open(owner), f"{BELOW}{owner}{SEPARATOR}", inner
    except NoSuchAccount:
        raise NoSuchMailbox("no such mailbox") from None


def shared_mailboxes(session: Session, owners: Iterable[str] | None = None) -> Iterator[Found]:
    """All that others, or these of them, let this account look up."""
    me = session.store.name
    for owner in session.service.owners(me) if owners is None else owners:
        try:
            store = session.service.engine.open(owner)
        except NoSuchAccount:
            continue
        shared = store.shared()
        for mailbox in store.mailboxes() if shared else ():
            rights = granted(shared.get(mailbox.id, {}), me)
            if "l" in rights:
                prefix = f"{BELOW}{owner}{SEPARATOR}"
                yield Found(store, seen_from_outside(mailbox, prefix), rights, prefix)


def find_parent(session: Session, name: str) -> tuple[AccountStore, str]:
    """(store, name there) of a mailbox that is to be made under "Other Users": the nearest mailbox above it that exists
    must have the right "k" (RFC 4314 4)."""
    store, prefix, inner = account_of(session, name.removesuffix(SEPARATOR))
    levels = inner.split(SEPARATOR)
    for count in range(len(levels) - 1, 0, -1):
        try:
            find(session, prefix + SEPARATOR.join(levels[:count]), "k")
        except NoSuchMailbox:
            continue
        return store, inner
    raise No("You have no right to make mailboxes there", "NOPERM")


# -- the selected mailbox


def require(session: Session, needed: str) -> None:
    """Raises No [NOPERM] when the session has not all these rights to its selected mailbox."""
    box = session.box
    if box.prefix:
        check(box.rights + "l", needed)


def renew(session: Session) -> bool:
    """Looks up the rights to the selected mailbox of another account again, if anything has changed there. Whether they
    are others than before; raises NoSuchMailbox when it may not be read any more."""
    box = session.box
    now = box.store.modseq()
    if now == box.checked:
        return False
    rights = granted(box.store.acl(session.selected.mailbox_id), session.store.name)
    if "r" not in rights or not session.service.is_account(box.store.name):
        raise NoSuchMailbox("not shared any more")
    changed = rights != box.rights
    box.checked, box.rights = now, rights
    return changed


@lru_cache(maxsize=256)
def permitted(rights: str) -> int:
    """Bits of flags that may be changed (RFC 4314 4); keywords need "w"."""
    bits = (Flag.SEEN if "s" in rights else 0) | (Flag.DELETED if "t" in rights else 0)
    return int(bits | (~(Flag.SEEN | Flag.DELETED) & ALL_FLAGS if "w" in rights else 0))


def kept_flags(rights: str, bits: int, keywords: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Of flags that a message brings along, those that it may have there."""
    return bits & permitted(rights), tuple(keywords) if "w" in rights else ()


ALL_FLAGS = int(sum(Flag))
