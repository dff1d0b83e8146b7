"""The names of an account in memory: its tree of mailboxes, virtual ones too, and who is subscribed to which."""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Collection

from echomox.store import flags as rules
from echomox.store import names
from echomox.store.engine import (
    DEFAULT_MAILBOXES,
    SEPARATOR,
    SPECIAL_USES,
    BadMailboxName,
    Copied,
    Mailbox,
    MailboxExists,
    NoSuchMailbox,
    Virtual,
)
from echomox.store.memory.rows import FakeMailbox
from echomox.store.memory.virtual import FakeVirtuals


class FakeNames(ABC):
    """The part of `fake.FakeAccount` that is about mailboxes and not their messages."""

    _virtuals: FakeVirtuals

    def __init__(self) -> None:
        self._validities = itertools.count(int(time.time()))
        self._mailboxes: dict[int, FakeMailbox] = {}
        self._former: dict[str, int] = {}
        """The highest UIDVALIDITY of those that had the name."""
        self._subscribed: set[str] = set()
        self._annotations: dict[int, dict[str, bytes]] = {}
        self._acls: dict[int, dict[str, str]] = {}
        for mailbox, use in DEFAULT_MAILBOXES.items():
            self._make(mailbox, use)
        self._subscribed.update(DEFAULT_MAILBOXES)

    @abstractmethod
    def bump(self, *touched: FakeMailbox) -> int:
        """The next mod-sequence, of these mailboxes too."""

    @abstractmethod
    def move(self, mailbox_id: int, uids: Collection[int], target_id: int) -> Copied:
        """As AccountStore.move."""

    def _make(self, name: str, use: str = "") -> FakeMailbox:
        made = FakeMailbox(len(self._mailboxes) + 1, name, next(self._validities), use)
        self._mailboxes[made.id] = made
        parent = name.rpartition(SEPARATOR)[0]
        above = next((one for one in self._mailboxes.values() if parent and one.name == parent), None)
        if above is not None and above.id in self._acls:
            self._acls[made.id] = dict(self._acls[above.id])
        return made

    def live(self) -> list[FakeMailbox]:
        found = [one for one in self._mailboxes.values() if one.name]
        return sorted(found, key=lambda one: (one.name != "INBOX", one.name))

    def _named(self, name: str) -> FakeMailbox:
        name = names.mailbox_name(name)
        for one in self.live():
            if one.name == name:
                return one
        raise NoSuchMailbox(f"no mailbox {name}")

    def _box(self, mailbox_id: int) -> FakeMailbox:
        if mailbox_id < 0:
            return self._virtuals.box(mailbox_id)
        one = self._mailboxes.get(mailbox_id)
        if one is None or not one.name:
            raise NoSuchMailbox("the mailbox was deleted")
        return one

    def _any(self, mailbox_id: int) -> FakeMailbox:
        """Also one that was deleted."""
        return self._box(mailbox_id) if mailbox_id < 0 else self._mailboxes[mailbox_id]

    def _shown(self, one: FakeMailbox) -> Mailbox:
        counts = rules.counts([(message.flags, message.size) for message in one.messages.values()])
        subscribed = one.name in self._subscribed
        return Mailbox(
            one.id, one.name, one.uidvalidity, one.uidnext, one.special_use, subscribed, *counts, one.modseq, one.recent
        )

    def mailboxes(self) -> list[Mailbox]:
        return [self._shown(one) for one in self.live()]

    def mailbox(self, name: str) -> Mailbox:
        virtual = self._virtuals.named(names.mailbox_name(name))
        return self._shown(self._box(virtual.id) if virtual else self._named(name))

    def mailbox_by_id(self, mailbox_id: int) -> Mailbox:
        return self._shown(self._box(mailbox_id))

    def special_mailbox(self, use: str) -> Mailbox | None:
        return next((self._shown(one) for one in self.live() if one.special_use == use), None)

    def _exists(self, name: str) -> bool:
        return any(one.name == name for one in self.live()) or self._virtuals.named(name) is not None

    def create_mailbox(self, name: str, special_use: str = "") -> Mailbox:
        name = names.mailbox_name(name.removesuffix(SEPARATOR))
        taken = self.special_mailbox(special_use) or self._virtuals.has_use(special_use)
        if special_use and (special_use not in SPECIAL_USES or taken):
            raise BadMailboxName(f"{special_use} is unknown or taken")
        if self._exists(name):
            raise MailboxExists(f"mailbox {name} exists")
        for parent in names.parents(name):
            if not self._exists(parent):
                self._make(parent)
        made = self._make(name, special_use)
        self.bump(made)
        return self._shown(made)

    def rename_mailbox(self, old: str, new: str) -> None:
        new = names.mailbox_name(new.removesuffix(SEPARATOR))
        one = self._virtuals.named(names.mailbox_name(old)) or self._named(old)
        if self._exists(new):
            raise MailboxExists(f"mailbox {new} exists")
        if one.id < 0:
            self._give_up(one)
            one.name = new
            self._grow(one)
            self.bump()
            return
        if one.name == "INBOX":
            self.move(one.id, list(one.messages), self.create_mailbox(new).id)
            return
        below = one.name + SEPARATOR
        if new.startswith(below):
            raise BadMailboxName("a mailbox cannot become its own child")
        tree = [other for other in self.live() if other is one or other.name.startswith(below)]
        wanted = [names.mailbox_name(new + other.name[len(one.name) :]) for other in tree]
        if any(self._exists(name) for name in wanted):
            raise MailboxExists("a child's new name exists")
        for parent in names.parents(new):
            if not self._exists(parent):
                self._make(parent)
        modseq = self.bump()
        for other, name in zip(tree, wanted):
            self._give_up(other)
            other.name, other.named = name, modseq
            self._grow(other)

    def _give_up(self, one: FakeMailbox) -> None:
        """It has its name no more."""
        self._former[one.name] = max(one.uidvalidity, self._former.get(one.name, 0))

    def _grow(self, one: FakeMailbox) -> None:
        """RFC 9051 2.3.1.1: it has a name that another may have had."""
        if self._former.get(one.name, 0) > one.uidvalidity:
            one.uidvalidity = next(self._validities)

    def delete_mailbox(self, name: str) -> None:
        virtual = self._virtuals.named(names.mailbox_name(name))
        if virtual is not None:
            self._give_up(virtual)
            del self._virtuals.all[virtual.id]
            self._annotations.pop(virtual.id, None)
            self.bump()
            return
        one = self._named(name)
        if one.name == "INBOX":
            raise BadMailboxName("INBOX cannot be deleted")
        modseq = self.bump(one)
        one.expunged.update(dict.fromkeys(one.messages, modseq))
        one.messages.clear()
        self._give_up(one)
        one.name, one.special_use, one.named = "", "", modseq
        self._annotations.pop(one.id, None)
        self._acls.pop(one.id, None)

    def virtual_mailboxes(self) -> list[Virtual]:
        return self._virtuals.every()

    def define_virtual(self, name: str, search: str, special_use: str = "") -> Mailbox:
        name = names.mailbox_name(name)
        self._virtuals.check(search, special_use)
        if special_use and self.special_mailbox(special_use):
            raise BadMailboxName(f"{special_use} is taken")
        if self._exists(name):
            raise MailboxExists(f"mailbox {name} exists")
        made = FakeMailbox(self._virtuals.next_id(), name, next(self._validities), special_use)
        self._virtuals.add(made, search)
        self.bump()
        return self.mailbox(name)

    def subscribe(self, name: str, on: bool) -> None:
        (self._subscribed.add if on else self._subscribed.discard)(names.mailbox_name(name))
        self.bump()

    def subscriptions(self) -> list[str]:
        return sorted(self._subscribed)
