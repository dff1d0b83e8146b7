"""A virtual mailbox in the truth: the messages of all mailboxes whose flags it wants.

Which UID a new member gets is the store's affair; that it keeps it as long as it is a member, that no UID comes twice
and that mod-sequences grow is checked at every step, and everything that clients are told of it is compared with it as
with a real mailbox."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from echomox.store.engine import AccountStore
from tests.model.reference import LAST, Box, Message, shown_flags

VIEWS: Mapping[str, tuple[str, Callable[[frozenset[str]], bool]]] = {
    "Unread": ("UNSEEN", lambda flags: "\\Seen" not in flags),
    "Marked": ("OR FLAGGED KEYWORD kw1", lambda flags: "\\Flagged" in flags or "kw1" in flags),
}
"""Names, searches, and what these mean."""


@dataclass(repr=False)
class View(Box):
    """real: where a member is, and its UID there. left: those that were members until the last step."""

    real: dict[int, tuple[Box, int]] = field(default_factory=dict)
    left: dict[int, Message] = field(default_factory=dict)

    def known(self, uid: int) -> Message | None:
        return self.messages.get(uid) or self.left.get(uid)

    def set_flags(self, uid: int, flags: frozenset[str]) -> None:
        box, inner = self.real[uid]
        box.set_flags(inner, flags)

    def remove(self, uids: Iterable[int]) -> list[int]:
        gone = sorted(uid for uid in set(uids) if uid in self.messages)
        for uid in gone:
            box, inner = self.real[uid]
            box.remove([inner])
        return gone

    def check_members(self, store: AccountStore, boxes: Iterable[Box], before: int) -> None:
        """After the boxes have been checked. before: the account's modseq at the last step."""
        mailbox = store.mailbox_by_id(self.id)
        assert (mailbox.name, mailbox.uidvalidity) == (self.name, self.validity)
        assert mailbox.modseq >= self.highest
        self.highest = mailbox.modseq
        everywhere = {message.id: (box, uid) for box in boxes for uid, message in box.messages.items()}
        wanted = VIEWS[self.name][1]
        members = {name for name, (box, uid) in everywhere.items() if wanted(box.messages[uid].flags)}
        rows = list(store.fetch(self.id, 1, LAST, ("uid", "id", "flags", "keywords", "modseq")))
        assert {row[1] for row in rows} == members, (self.name, rows, members)
        known = {message.id: uid for uid, message in self.messages.items()}
        highest = max(self.ever, default=0)
        messages: dict[int, Message] = {}
        for uid, name, bits, keywords, modseq in rows:
            box, inner = everywhere[name]
            now, flags = box.messages[inner], shown_flags(bits, keywords)
            assert flags == now.flags
            if name in known:
                assert uid == known[name], (self.name, uid, known[name], "another UID")
                assert modseq >= self.messages[uid].modseq
            else:
                assert uid > highest, (self.name, uid, "a UID that is not new")
            if name not in known or flags != self.messages[uid].flags:
                assert modseq > before, (self.name, uid, "a change without a new modseq")
            assert now.modseq <= modseq <= self.highest
            messages[uid] = Message(now.token, flags, modseq, name)
            self.real[uid] = box, inner
        self.left = {
            uid: everywhere[message.id][0].messages[everywhere[message.id][1]]
            for uid, message in self.messages.items()
            if uid not in messages and message.id in everywhere
        }
        assert list(messages) == sorted(messages)
        self.messages = messages
        assert mailbox.uidnext > max(messages, default=0)
        assert (mailbox.total, mailbox.unseen) == (
            len(messages), sum("\\Seen" not in message.flags for message in messages.values())
        )  # fmt: skip
        self.ever = {uid: self.ever.get(uid, "") for uid in range(1, mailbox.uidnext)}
