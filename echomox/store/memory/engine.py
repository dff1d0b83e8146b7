"""An engine in memory, for unit tests of what stands above the store. It passes the same contract tests; nothing is
durable.

Every account holds mailboxes, a mailbox its messages in UID order; a copy shares the bytes. Names, flags and the
text search are the real modules.
"""

from __future__ import annotations

import itertools
import time
from array import array
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from math import floor
from typing import Any

from echomox.imap import search as keys
from echomox.imap.acl import ANYONE
from echomox.imap.sorting import Criterion
from echomox.imap.threads import Items
from echomox.store import flags as rules
from echomox.store import muted, names
from echomox.store.engine import (
    ACL_ENTRIES,
    ANNOTATION_SIZE,
    ANNOTATIONS,
    COLUMNS,
    DEFAULT_MAILBOXES,
    REPAIRS,
    Added,
    Addition,
    AffectiveState,
    Changes,
    Copied,
    Correspondent,
    FlagOp,
    FlagsStored,
    LearnItem,
    LimitExceeded,
    Login,
    NoSuchAccount,
    NoSuchMailbox,
    Selected,
    SendLimits,
    StoreError,
    Target,
)
from echomox.store.memory import sorting as fakesort
from echomox.store.memory.names import FakeNames
from echomox.store.memory.rows import FakeContent, FakeMailbox, FakeMessage, matches, with_words
from echomox.store.memory.virtual import FakeVirtuals
from echomox.store.rows import affect

LOGINS_AGE = 30 * 86_400


class FakeAccount(FakeNames):
    def __init__(self, name: str, engine: FakeEngine) -> None:
        self.name = name
        self._engine = engine
        self._modseq = 1
        self._ids = itertools.count(1)
        self._threads = fakesort.Names()
        self._words: dict[str, str] = {}
        self._secrets: dict[str, str] = {}
        self._logins: list[Login] = []
        self._correspondents: dict[str, Correspondent] = {}
        self._sent: list[tuple[float, int, int]] = []
        self._lessons: list[LearnItem] = []
        self._lesson_ids = itertools.count(1)
        self._virtuals = FakeVirtuals(self, lambda key, message: matches(key, message, 0, 0))
        super().__init__()

    def modseq(self) -> int:
        return self._modseq

    def bump(self, *touched: FakeMailbox) -> int:
        self._modseq += 1
        for mailbox in touched:
            mailbox.modseq = self._modseq
        self._engine.on_change(self.name, self._modseq)
        return self._modseq

    # -- messages

    def select(self, mailbox_id: int, claim_recent: bool) -> Selected:
        one = self._box(mailbox_id)
        shown, recent = self._shown(one), one.recent
        if claim_recent:
            one.recent = one.uidnext
        unseen = next((uid for uid, message in one.messages.items() if not message.flags & rules.SEEN), 0)
        words = tuple(sorted(one.keywords, key=str.lower))
        return Selected(shown, array("I", one.messages), recent, unseen, words, self._modseq)

    def claim_recent(self, mailbox_id: int, below: int) -> int:
        one = self._box(mailbox_id)
        recent, one.recent = one.recent, max(one.recent, below)
        return recent

    def changes(self, mailbox_id: int, since: int) -> Changes:
        one = self._mailboxes.get(mailbox_id)
        if mailbox_id in self._virtuals.all:
            one = self._box(mailbox_id)
        if one is None:
            return Changes(self._modseq, [], [], True)
        changed = [
            (message.uid, message.flags, message.keywords, message.modseq)
            for message in one.messages.values()
            if message.modseq > since
        ]
        gone = sorted(uid for uid, modseq in one.expunged.items() if modseq > since)
        return Changes(self._modseq, changed, gone, one.named > since)

    def fetch(self, mailbox_id: int, low: int, high: int, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        if any(column not in COLUMNS for column in columns):
            raise ValueError(f"unknown column in {columns}")
        one = self._any(mailbox_id)
        chosen = [message for uid, message in one.messages.items() if low <= uid <= high]
        return (tuple(message.column(name) for name in columns) for message in chosen)

    def content(self, message_id: int) -> FakeContent:
        for one in self._mailboxes.values():
            for message in one.messages.values():
                if message.id == message_id:
                    return FakeContent(message.prefix, message.source)
        raise StoreError("the message is gone")

    def content_of(self, content: int, prefix: bytes, size: int) -> FakeContent:
        every = (message for one in self._mailboxes.values() for message in one.messages.values())
        found = next((message for message in every if message.content == content), None)
        return FakeContent(prefix, found.source if found else b"")

    def affect(self, message_id: int) -> AffectiveState | None:
        every = (message for one in self._mailboxes.values() for message in one.messages.values())
        profiles = [affect.profile(message.verdict) for message in every if message.id == message_id]
        return AffectiveState(message_id, *profiles[0]) if profiles and profiles[0] else None

    def _known_words(self, one: FakeMailbox, words: Collection[str]) -> list[str]:
        names.check_keywords(words)
        known = [self._words.setdefault(word.lower(), word) for word in words]
        one.keywords.update(known)
        return known

    def store_flags(
        self,
        mailbox_id: int,
        uids: Collection[int],
        op: FlagOp,
        flags: int,
        keywords: Collection[str],
        unchanged_since: int | None = None,
    ) -> FlagsStored:
        if mailbox_id < 0:
            return self._virtuals.store_flags(mailbox_id, uids, (op, flags, keywords), unchanged_since)
        one = self._box(mailbox_id)
        words = list(keywords) if op is FlagOp.REMOVE else self._known_words(one, keywords)
        mask = rules.masks(op, flags)
        present = [one.messages[uid] for uid in sorted(uids) if uid in one.messages]
        conflicts = [m.uid for m in present if unchanged_since is not None and m.modseq > unchanged_since]
        before = max((m.modseq for m in present if m.uid not in conflicts), default=0)
        changed = []
        for message in present:
            new = message.flags & mask.keep | mask.put, with_words(op, message.keywords, words)
            if message.uid not in conflicts and new != (message.flags, message.keywords):
                changed.append((message, *new))
        self._threads.follow(op, words, [message for message in present if message.uid not in conflicts])
        if changed:
            modseq = self.bump(one)
            for message, bits, kept in changed:
                self._teach(message.id, message.flags, bits)
                message.flags, message.keywords, message.modseq = bits, kept, modseq
        missing = sorted(set(uids) - set(one.messages))
        found = [(m.uid, bits, kept) for m, bits, kept in changed]
        return FlagsStored(self._modseq, found, conflicts, missing, before)

    def _teach(self, message_id: int, before: int, after: int) -> None:
        if rules.label(before) != rules.label(after):
            self._lessons.append(LearnItem(next(self._lesson_ids), message_id, rules.label(after)))

    def expunge(self, mailbox_id: int, uids: Collection[int] | None) -> tuple[list[int], int]:
        if mailbox_id < 0:
            return self._virtuals.remove(mailbox_id, uids, only_deleted=True)
        one = self._box(mailbox_id)
        among = one.messages if uids is None else uids
        return self.remove(
            mailbox_id, [u for u in among if u in one.messages and one.messages[u].flags & rules.DELETED]
        )

    def remove(self, mailbox_id: int, uids: Collection[int]) -> tuple[list[int], int]:
        if mailbox_id < 0:
            return self._virtuals.remove(mailbox_id, uids, only_deleted=False)
        one = self._box(mailbox_id)
        gone = sorted(uid for uid in set(uids) if uid in one.messages)
        if gone:
            modseq = self.bump(one)
            for uid in gone:
                del one.messages[uid]
                one.expunged[uid] = modseq
        return gone, self._modseq

    def copy(self, mailbox_id: int, uids: Collection[int], target_id: int) -> Copied:
        if mailbox_id < 0 or target_id < 0:
            return self._virtuals.transfer(mailbox_id, uids, target_id, move=False)
        return self._transfer(self._box(mailbox_id), uids, self._box(target_id), False)

    def move(self, mailbox_id: int, uids: Collection[int], target_id: int) -> Copied:
        if mailbox_id < 0 or target_id < 0:
            return self._virtuals.transfer(mailbox_id, uids, target_id, move=True)
        return self._transfer(self._box(mailbox_id), uids, self._box(target_id), True)

    def _transfer(self, one: FakeMailbox, uids: Collection[int], target: FakeMailbox, move: bool) -> Copied:
        chosen = [one.messages[uid] for uid in sorted(uids) if uid in one.messages]
        if not chosen:
            return Copied(target.uidvalidity, [], [], self._modseq)
        modseq, first = self.bump(one, target) if move else self.bump(target), target.uidnext
        left = one.special_use
        if self._engine.opinion(self.name, one.name) == rules.WAITS:
            left = rules.WAITS
        for message in chosen:
            said = self._engine.opinion(self.name, target.name)
            bits = rules.after_transfer(message.flags, left if move else "", target.special_use, said)
            identity = message.id if move else next(self._ids)
            self._teach(identity, message.flags, bits)
            if move:
                del one.messages[message.uid]
                one.expunged[message.uid] = modseq
            target.messages[target.uidnext] = replace(
                message, id=identity, uid=target.uidnext, modseq=modseq, flags=bits, saved=time.time()
            )
            target.uidnext += 1
        target.keywords |= one.keywords
        return Copied(target.uidvalidity, [m.uid for m in chosen], list(range(first, target.uidnext)), modseq)

    def put(self, addition: Addition, target: Target, source: bytes) -> Added:
        try:
            one = self._named(target.mailbox)
        except NoSuchMailbox:
            use = DEFAULT_MAILBOXES[names.mailbox_name(target.mailbox)]
            one = self._make(names.mailbox_name(target.mailbox), "" if self.special_mailbox(use) else use)
        learn = addition.learn or (addition.delivered and rules.is_free(one.special_use, one.name))
        said = self._engine.opinion(self.name, one.name)
        bits = target.flags
        if addition.learn or (learn and said is not None):
            bits = rules.after_transfer(bits, "", one.special_use, said)
        words = self._known_words(one, target.keywords)
        identity, now = next(self._ids), time.time()
        thread = self._threads.thread(identity, addition.structure)
        if addition.delivered and thread in self._threads.muted:
            bits |= rules.SEEN
            if not muted.is_in(words) and len(words) < names.KEYWORDS_PER_MESSAGE:
                words += self._known_words(one, [muted.KEYWORD])
        if muted.is_in(words):
            self._threads.muted.add(thread)
        if learn:
            self._teach(identity, 0, bits)
        uid, one.uidnext = one.uidnext, one.uidnext + 1
        modseq = self.bump(one)
        one.messages[uid] = FakeMessage(
            identity,
            uid,
            modseq,
            bits,
            names.join_keywords(words),
            float(floor(addition.received)),
            now,
            target.prefix,
            target.verdict,
            addition.remote_ip,
            source,
            addition.structure,
            identity,
            thread,
        )
        return Added(self.name, one.id, identity, uid, one.uidvalidity, modseq)

    def check(self, target: Target) -> None:
        """Raises what `put` would refuse."""
        names.check_keywords(target.keywords)
        if names.mailbox_name(target.mailbox) not in DEFAULT_MAILBOXES:
            self._named(target.mailbox)

    def search(self, mailbox_id: int, key: keys.Key, uids: array[int]) -> list[int]:
        one = self._any(mailbox_id)
        view = list(enumerate(uids, 1))
        return [uid for n, uid in view if uid in one.messages and matches(key, one.messages[uid], n, len(view))]

    def searching(self, mailbox_id: int, key: keys.Key, uids: array[int]) -> Generator[None, None, list[int]]:
        yield
        return self.search(mailbox_id, key, uids)

    def scoring(self, mailbox_id: int, key: keys.Key, uids: Sequence[int]) -> Generator[None, None, dict[int, int]]:
        """Nothing is nearly there: FUZZY is exact here."""
        yield
        return dict.fromkeys(uids, 100)

    def ordering(
        self, mailbox_id: int, uids: Sequence[int], criteria: Sequence[Criterion], scores: Mapping[int, int]
    ) -> Generator[None, None, list[int]]:
        yield
        kept = self._any(mailbox_id).messages
        found = fakesort.ordered([kept[uid] for uid in uids if uid in kept], criteria, scores)
        return found + [uid for uid in uids if uid not in kept]

    def thread_items(self, mailbox_id: int, uids: Sequence[int]) -> Generator[None, None, Items]:
        yield
        kept = self._any(mailbox_id).messages
        return fakesort.items([kept[uid] for uid in uids if uid in kept])

    def instance(self) -> str:
        return "0" * 16

    def index_texts(self, least: int, stopped: Callable[[], bool]) -> int:
        """There is no index."""
        return 0

    def modernize(self, stopped: Callable[[], bool]) -> int:
        return 0

    def tidy_texts(self, stopped: Callable[[], bool]) -> None:
        """There is no index."""

    def repair(self, task: str, mailbox: str = "") -> int:
        """Only what changes UIDs has anything to do here."""
        if task not in REPAIRS:
            raise StoreError(f"no repair {task}")
        if task not in ("bumpuidvalidity", "reassignuids"):
            return 0
        chosen = [self._named(mailbox)] if mailbox else self.live()
        for one in chosen:
            one.uidvalidity = max(next(self._validities), one.uidvalidity + 1)
            one.named = self.bump(one)
            if task == "reassignuids":
                kept = list(one.messages.values())
                one.messages = {uid: replace(message, uid=uid, modseq=one.named) for uid, message in enumerate(kept, 1)}
                one.expunged, one.uidnext = {}, len(kept) + 1
        return len(chosen) if task == "bumpuidvalidity" else sum(len(one.messages) for one in chosen)

    # -- secrets, logins, learning

    def secrets(self) -> Mapping[str, str]:
        return dict(self._secrets)

    def set_secrets(self, secrets: Mapping[str, str]) -> None:
        generation = int(self._secrets.get("generation", "0")) + 1
        self._secrets = {**secrets, "generation": str(generation)}

    def log_login(self, login: Login) -> None:
        self._logins = [one for one in self._logins if one.time >= login.time - LOGINS_AGE] + [login]

    def logins(self, limit: int = 1000) -> list[Login]:
        return self._logins[::-1][:limit]

    def note_sent(self, outside: Sequence[str], local: Sequence[str], now: float, limits: SendLimits) -> str:
        outside = list(dict.fromkeys(outside))
        new = sum(address not in self._correspondents for address in outside)
        recipients, first_time = self.sent_today(now)
        if outside and limits.messages and recipients + len(outside) > limits.messages:
            return "messages"
        if new and limits.first_time and first_time + new > limits.first_time:
            return "recipients"
        if outside:
            self._sent.append((now, len(outside), new))
        for address in dict.fromkeys((*outside, *local)):
            old = self._correspondents.get(address, Correspondent(address, now, now, 0))
            self._correspondents[address] = Correspondent(address, old.first, now, old.times + 1)
        return ""

    def sent_today(self, now: float) -> tuple[int, int]:
        recent = [(total, new) for when, total, new in self._sent if when // 300 > (now - 86_400) // 300]
        return sum(total for total, _ in recent), sum(new for _, new in recent)

    def correspondents(self, addresses: Collection[str]) -> dict[str, Correspondent]:
        return {address: self._correspondents[address] for address in addresses if address in self._correspondents}

    def annotations(self, mailbox_id: int) -> dict[str, bytes]:
        return dict(sorted(self._annotations.get(mailbox_id, {}).items()))

    def set_annotations(self, mailbox_id: int, values: Mapping[str, bytes | None]) -> None:
        if any(value is not None and len(value) > ANNOTATION_SIZE for value in values.values()):
            raise LimitExceeded("An annotation is too large")
        kept = {**self._annotations.get(mailbox_id, {}), **values}
        left = {entry: value for entry, value in kept.items() if value is not None}
        others = sum(len(one) for id_, one in self._annotations.items() if id_ != mailbox_id)
        if others + len(left) > ANNOTATIONS:
            raise LimitExceeded("Too many annotations")
        self._annotations[mailbox_id] = left
        self.bump()

    def acl(self, mailbox_id: int) -> dict[str, str]:
        return dict(sorted(self._acls.get(mailbox_id, {}).items()))

    def set_acl(self, mailbox_id: int, changes: Mapping[str, str | None]) -> None:
        for who in changes:
            names.account_name(who.removeprefix("-"))
        one = self._box(mailbox_id)
        kept = {who: rights for who, rights in {**self.acl(mailbox_id), **changes}.items() if rights is not None}
        if len(kept) > ACL_ENTRIES:
            raise LimitExceeded(f"More than {ACL_ENTRIES} identifiers")
        self._acls[mailbox_id] = kept
        one.named = self._modseq + 1
        self.bump()

    def shared(self) -> dict[int, dict[str, str]]:
        return {mailbox_id: dict(entries) for mailbox_id, entries in self._acls.items() if entries}

    def learn_outbox(self, after: int, limit: int) -> list[LearnItem]:
        return [item for item in self._lessons if item.id > after][:limit]

    def learned(self, up_to: int) -> None:
        self._lessons = [item for item in self._lessons if item.id > up_to]

    def close(self) -> None:
        """Nothing is open."""


class FakeCommitter:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    async def add(self, addition: Addition) -> list[Added]:
        source = addition.source if isinstance(addition.source, bytes) else self._engine.spool[addition.source]
        if len(source) != addition.structure.size:
            raise StoreError("the source has another length than its structure says")
        for target in addition.targets:
            self._engine.open(target.account).check(target)
        return [self._engine.open(target.account).put(addition, target, source) for target in addition.targets]

    async def close(self) -> None:
        """Nothing waits."""


def _no_bell(account: str, modseq: int) -> None:
    """Until the test sets its own."""


class FakeEngine:
    """spool: what stands for the files of the spool, by id."""

    def __init__(self) -> None:
        self.on_change: Callable[[str, int], None] = _no_bell
        self.opinion: Callable[[str, str], str | None] = lambda account, mailbox: None
        self.open_limit = 0
        self.spool: dict[str, bytes] = {}
        self._accounts: dict[str, FakeAccount] = {}

    def accounts(self) -> list[str]:
        return sorted(self._accounts)

    def create(self, account: str) -> None:
        names.account_name(account)
        if account not in self._accounts:
            self._accounts[account] = FakeAccount(account, self)
            self.withdraw(account)

    def remove(self, account: str) -> None:
        if self._accounts.pop(account, None) is None:
            raise NoSuchAccount(f"no account {account}")

    def open(self, account: str) -> FakeAccount:
        if account not in self._accounts:
            raise NoSuchAccount(f"no account {account}")
        return self._accounts[account]

    def owners(self, account: str) -> list[str]:
        wanted = {account, ANYONE}
        return sorted(
            name
            for name, store in self._accounts.items()
            if name != account and any(wanted & entries.keys() for entries in store.shared().values())
        )

    def withdraw(self, account: str) -> None:
        for store in self._accounts.values():
            for mailbox_id, entries in store.shared().items():
                own = {who: None for who in (account, f"-{account}") if who in entries}
                if own:
                    store.set_acl(mailbox_id, own)

    def committer(self, worker: str) -> FakeCommitter:
        return FakeCommitter(self)

    def recover(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        """Nothing is open."""
