"""Virtual mailboxes of the engine in memory: the rules of `virtual.py`, by looking at all messages each time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from echomox.imap.search import Key
from echomox.store import virtual
from echomox.store.engine import (
    VIRTUALS,
    BadMailboxName,
    Copied,
    FlagOp,
    FlagsStored,
    LimitExceeded,
    Mailbox,
    NoSuchMailbox,
    Virtual,
)

if TYPE_CHECKING:
    from echomox.store.memory.engine import FakeAccount
    from echomox.store.memory.rows import FakeMailbox, FakeMessage


@dataclass(slots=True)
class FakeVirtual:
    """box: as it was shown last; members: UID by message id; came: modseq by UID."""

    box: FakeMailbox
    search: str
    members: dict[int, int] = field(default_factory=dict)
    came: dict[int, int] = field(default_factory=dict)


class FakeVirtuals:
    """Those of one account. matches: whether a message matches a key."""

    def __init__(self, account: FakeAccount, matches: Callable[[Key, FakeMessage], bool]) -> None:
        self._account = account
        self._matches = matches
        self.all: dict[int, FakeVirtual] = {}
        self._next = -1

    def every(self) -> list[Virtual]:
        found = [Virtual(one.box.id, one.box.name, one.search, one.box.special_use) for one in self.all.values()]
        return sorted(found, key=lambda one: one.name)

    def named(self, name: str) -> FakeMailbox | None:
        return next((one.box for one in self.all.values() if one.box.name == name), None)

    def has_use(self, use: str) -> bool:
        return any(one.box.special_use == use for one in self.all.values())

    def check(self, search: str, special_use: str) -> None:
        virtual.parse(search)
        if special_use not in virtual.USES or (special_use and self.has_use(special_use)):
            raise BadMailboxName(f"{special_use} is unknown or taken")
        if len(self.all) >= VIRTUALS:
            raise LimitExceeded(f"more than {VIRTUALS} virtual mailboxes")

    def add(self, box: FakeMailbox, search: str) -> None:
        self.all[box.id] = FakeVirtual(box, search)

    def next_id(self) -> int:
        self._next -= 1
        return self._next + 1

    def _inside(self) -> Iterator[tuple[FakeMailbox, FakeMessage]]:
        for box in self._account.live():
            if box.special_use not in ("\\Trash", "\\Junk") and box.name != "Rejects":
                for message in box.messages.values():
                    yield box, message

    def box(self, mailbox_id: int) -> FakeMailbox:
        """As it is now, with messages that have its UIDs."""
        one = self.all.get(mailbox_id)
        if one is None:
            raise NoSuchMailbox("the mailbox was deleted")
        key = virtual.parse(one.search)
        found = {message.id: message for _, message in self._inside() if self._matches(key, message)}
        left = [message_id for message_id in one.members if message_id not in found]
        new = sorted(found.keys() - one.members.keys())
        if left or new:
            modseq = self._account.bump()
            for message_id in left:
                one.box.expunged[one.members.pop(message_id)] = modseq
            for message_id in new:
                one.members[message_id] = one.box.uidnext
                one.came[one.box.uidnext] = modseq
                one.box.uidnext += 1
        one.box.modseq = self._account.modseq()
        one.box.keywords = {word for message in found.values() for word in message.keywords.split()}
        one.box.messages = {
            uid: replace(found[message_id], uid=uid, modseq=max(found[message_id].modseq, one.came[uid]))
            for message_id, uid in sorted(one.members.items(), key=lambda pair: pair[1])
        }
        return one.box

    def _places(self, mailbox_id: int, uids: Collection[int]) -> dict[int, dict[int, int]]:
        members = self.all[mailbox_id].members
        found: dict[int, dict[int, int]] = {}
        for box, message in self._inside():
            uid = members.get(message.id)
            if uid in uids and uid is not None:
                found.setdefault(box.id, {})[message.uid] = uid
        return found

    def store_flags(
        self, mailbox_id: int, uids: Collection[int], change: tuple[FlagOp, int, Collection[str]], since: int | None
    ) -> FlagsStored:
        changed, conflicts, missing, before = [], [], set(uids), 0
        for real, known in self._places(mailbox_id, uids).items():
            part = self._account.store_flags(real, list(known), *change, since)
            changed += [(known[uid], bits, words) for uid, bits, words in part.changed]
            conflicts += [known[uid] for uid in part.conflicts]
            missing -= set(known.values())
            before = max(before, part.before)
        return FlagsStored(self._account.modseq(), sorted(changed), sorted(conflicts), sorted(missing), before)

    def remove(self, mailbox_id: int, uids: Collection[int] | None, only_deleted: bool) -> tuple[list[int], int]:
        chosen = self.box(mailbox_id).messages if uids is None else uids
        take = self._account.expunge if only_deleted else self._account.remove
        places = self._places(mailbox_id, chosen)
        gone = [known[uid] for real, known in places.items() for uid in take(real, list(known))[0]]
        self.box(mailbox_id)
        return sorted(gone), self._account.modseq()

    def transfer(self, mailbox_id: int, uids: Collection[int], target_id: int, move: bool) -> Copied:
        if target_id < 0:
            raise BadMailboxName("a virtual mailbox takes no messages")
        take = self._account.move if move else self._account.copy
        pairs: list[tuple[int, int]] = []
        for real, known in self._places(mailbox_id, uids).items():
            part = take(real, list(known), target_id)
            pairs += zip((known[uid] for uid in part.source), part.target)
        pairs.sort()
        target: Mailbox = self._account.mailbox_by_id(target_id)
        return Copied(target.uidvalidity, [a for a, _ in pairs], [b for _, b in pairs], self._account.modseq())
