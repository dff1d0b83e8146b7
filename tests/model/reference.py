"""What is true, in the plainest form: mailboxes as dictionaries. The modseqs are taken from the store after every step,
and are checked: what a step changed has a new one, higher than all before, and nothing else has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from echomox.imapd.flags import FLAGS
from echomox.store.engine import AccountStore

if TYPE_CHECKING:
    from tests.model.views import View

LAST = 2**32 - 1


@dataclass
class Message:
    """token: its subject, which no other message has but its copies. id: the store's, of this message and no copy."""

    token: str
    flags: frozenset[str] = frozenset()
    modseq: int = 0
    id: int = 0


def shown_flags(bits: int, keywords: str) -> frozenset[str]:
    return frozenset(FLAGS.format(bits, keywords).decode().strip("()").split())


@dataclass(repr=False)
class Box:
    """ever: every UID that a message had, with its token. changed: UIDs that the step under way has changed. recent: by
    UID, to which session it was shown as \\Recent."""

    id: int
    name: str
    validity: int
    messages: dict[int, Message] = field(default_factory=dict)
    ever: dict[int, str] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    highest: int = 0
    alive: bool = True
    recent: dict[int, object] = field(default_factory=dict)

    def known(self, uid: int) -> Message | None:
        """What a client may be told of now."""
        return self.messages.get(uid)

    def add(self, uid: int, token: str, flags: frozenset[str] = frozenset()) -> None:
        assert uid > max(self.ever, default=0), (self.name, uid, "a UID that is not new")
        self.ever[uid] = token
        self.messages[uid] = Message(token, flags)
        self.changed.add(uid)

    def remove(self, uids: Iterable[int]) -> list[int]:
        """Those that were there."""
        gone = sorted(uid for uid in set(uids) if uid in self.messages)
        for uid in gone:
            del self.messages[uid]
        return gone

    def set_flags(self, uid: int, flags: frozenset[str]) -> None:
        if self.messages[uid].flags != flags:
            self.messages[uid].flags = flags
            self.changed.add(uid)


class Reference:
    """All mailboxes of the account that the test made, by id; views: the virtual ones. validities: all that there ever
    were. former: the highest that a name had that was given up."""

    def __init__(self) -> None:
        self.boxes: dict[int, Box] = {}
        self.views: dict[str, View] = {}
        self.validities: set[int] = set()
        self.former: dict[str, int] = {}
        self.modseq = 0

    def names(self) -> list[str]:
        return sorted(box.name for box in self.boxes.values())

    def named(self, name: str) -> Box:
        return next(box for box in (*self.boxes.values(), *self.views.values()) if box.name == name)

    def define(self, store: AccountStore, name: str, search: str) -> None:
        from tests.model.views import View

        made = store.define_virtual(name, search)
        assert made.uidvalidity > max(self.validities, default=0), "a UIDVALIDITY again"
        self.validities.add(made.uidvalidity)
        self.views[name] = View(made.id, name, made.uidvalidity)

    def born(self, store: AccountStore, name: str) -> Box:
        """A mailbox that has just been made: its UIDVALIDITY is higher than any before."""
        found = store.mailbox(name)
        assert found.id not in self.boxes
        assert found.uidvalidity > max(self.validities, default=0), "a UIDVALIDITY again"
        self.validities.add(found.uidvalidity)
        box = self.boxes[found.id] = Box(found.id, name, found.uidvalidity)
        return box

    def give_up(self, box: Box) -> None:
        """The name is nobody's now."""
        self.former[box.name] = max(box.validity, self.former.get(box.name, 0))

    def renamed(self, store: AccountStore, box: Box, name: str) -> bool:
        """Whether it got another UIDVALIDITY: only where another mailbox with a higher one had the name (RFC 9051
        2.3.1.1)."""
        self.give_up(box)
        box.name = name
        before, box.validity = box.validity, store.mailbox_by_id(box.id).uidvalidity
        if before >= self.former.get(name, 0):
            assert box.validity == before
            return False
        assert box.validity > max(self.validities), "a UIDVALIDITY again"
        self.validities.add(box.validity)
        return True

    def check(self, store: AccountStore) -> None:
        """The store has exactly this; takes its modseqs over."""
        before = self.modseq
        self.modseq = store.modseq()
        assert self.modseq >= before
        for box in self.boxes.values():
            self._check_box(store, box, before)
        for view in self.views.values():
            view.check_members(store, self.boxes.values(), before)
        self.modseq = store.modseq()

    def _check_box(self, store: AccountStore, box: Box, before: int) -> None:
        mailbox = store.mailbox_by_id(box.id)
        assert (mailbox.name, mailbox.uidvalidity) == (box.name, box.validity)
        assert mailbox.uidnext > max(box.ever, default=0)
        assert mailbox.total == len(box.messages)
        assert mailbox.unseen == sum("\\Seen" not in message.flags for message in box.messages.values())
        assert mailbox.modseq >= box.highest
        box.highest = mailbox.modseq
        rows = list(store.fetch(box.id, 1, LAST, ("uid", "flags", "keywords", "modseq", "id")))
        assert [row[0] for row in rows] == list(box.messages), box.name
        for uid, bits, keywords, modseq, message_id in rows:
            message = box.messages[uid]
            message.id = message_id
            assert shown_flags(bits, keywords) == message.flags, (box.name, uid)
            if uid in box.changed:
                assert modseq > before, (box.name, uid, "a change without a new modseq")
            else:
                assert modseq == message.modseq, (box.name, uid, "a new modseq without a change")
            message.modseq = modseq
            assert modseq <= box.highest
        box.changed.clear()
