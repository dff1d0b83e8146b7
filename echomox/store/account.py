"""AccountStore over SQLite: the methods of the protocol, each handed to the module that does it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from typing import Any

from echomox.imap.search import Key
from echomox.imap.sorting import Criterion
from echomox.imap.threads import Items
from echomox.store import (
    acl,
    mailboxes,
    messages,
    metadata,
    names,
    records,
    repair,
    sent,
    sorting,
    sortkeys,
    views,
    virtual,
)
from echomox.store.content import FileContent
from echomox.store.database import Database
from echomox.store.engine import (
    AffectiveState,
    Changes,
    Content,
    Copied,
    Correspondent,
    FlagOp,
    FlagsStored,
    LearnItem,
    Login,
    Mailbox,
    NoSuchMailbox,
    Selected,
    SendLimits,
    Virtual,
)
from echomox.store.rows import affect, backlog
from echomox.store.search import scoring as score_steps
from echomox.store.search import search as search_messages
from echomox.store.search import searching as search_steps
from echomox.store.text import fill


def finished(steps: Generator[None, None, list[int]]) -> list[int]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: list[int] = end.value
            return found


class SqliteAccount:
    """See engine.AccountStore. Stays usable when the engine closes its connection: the next call opens one."""

    __slots__ = ("database", "name")

    def __init__(self, database: Database) -> None:
        self.database = database
        self.name = database.name

    def modseq(self) -> int:
        return views.modseq(self.database)

    # mailboxes

    def mailboxes(self) -> list[Mailbox]:
        return mailboxes.all_mailboxes(self.database)

    def mailbox(self, name: str) -> Mailbox:
        try:
            return mailboxes.by_name(self.database, name)
        except NoSuchMailbox:
            return virtual.by_name(self.database, names.mailbox_name(name))

    def mailbox_by_id(self, mailbox_id: int) -> Mailbox:
        if mailbox_id < 0:
            return virtual.by_id(self.database, mailbox_id)
        return mailboxes.by_id(self.database, mailbox_id)

    def special_mailbox(self, use: str) -> Mailbox | None:
        return mailboxes.by_use(self.database, use)

    def create_mailbox(self, name: str, special_use: str = "") -> Mailbox:
        return mailboxes.create(self.database, name, special_use)

    def rename_mailbox(self, old: str, new: str) -> None:
        name = names.mailbox_name(old)
        if virtual.find(self.database, name):
            virtual.rename(self.database, name, new)
        else:
            mailboxes.rename(self.database, old, new)

    def delete_mailbox(self, name: str) -> None:
        wanted = names.mailbox_name(name)
        if virtual.find(self.database, wanted):
            virtual.drop(self.database, wanted)
        else:
            mailboxes.delete(self.database, name)

    def virtual_mailboxes(self) -> list[Virtual]:
        return virtual.all_virtual(self.database)

    def define_virtual(self, name: str, search: str, special_use: str = "") -> Mailbox:
        return virtual.define(self.database, name, search, special_use)

    def subscribe(self, name: str, on: bool) -> None:
        mailboxes.subscribe(self.database, name, on)

    def subscriptions(self) -> list[str]:
        return mailboxes.subscriptions(self.database)

    # messages

    def select(self, mailbox_id: int, claim_recent: bool) -> Selected:
        if mailbox_id < 0:
            return virtual.select(self.database, mailbox_id, claim_recent)
        return views.select(self.database, mailbox_id, claim_recent)

    def claim_recent(self, mailbox_id: int, below: int) -> int:
        claim = virtual.claim_recent if mailbox_id < 0 else views.claim_recent
        return claim(self.database, mailbox_id, below)

    def changes(self, mailbox_id: int, since: int) -> Changes:
        if mailbox_id < 0:
            return virtual.changes(self.database, mailbox_id, since)
        return views.changes(self.database, mailbox_id, since)

    def fetch(self, mailbox_id: int, low: int, high: int, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        if mailbox_id < 0:
            return virtual.fetch(self.database, mailbox_id, low, high, columns)
        return views.fetch(self.database, mailbox_id, low, high, columns)

    def content(self, message_id: int) -> Content:
        return views.content(self.database, message_id)

    def content_of(self, content: int, prefix: bytes, size: int) -> Content:
        return FileContent(self.database.file(content), prefix, size - len(prefix))

    def affect(self, message_id: int) -> AffectiveState | None:
        return affect.load(self.database, message_id)

    def search(self, mailbox_id: int, key: Key, uids: array[int]) -> list[int]:
        if mailbox_id < 0:
            return finished(virtual.searching(self.database, mailbox_id, key, uids))
        return search_messages(self.database, mailbox_id, key, uids)

    def searching(self, mailbox_id: int, key: Key, uids: array[int]) -> Generator[None, None, list[int]]:
        if mailbox_id < 0:
            return virtual.searching(self.database, mailbox_id, key, uids)
        return search_steps(self.database, mailbox_id, key, uids)

    def scoring(self, mailbox_id: int, key: Key, uids: Sequence[int]) -> Generator[None, None, dict[int, int]]:
        if mailbox_id < 0:
            return virtual.scoring(self.database, mailbox_id, key, uids)
        return score_steps(self.database, mailbox_id, key, array("I", uids))

    def ordering(
        self, mailbox_id: int, uids: Sequence[int], criteria: Sequence[Criterion], scores: Mapping[int, int]
    ) -> Generator[None, None, list[int]]:
        return sorting.ordering(self.database, mailbox_id, uids, criteria, scores)

    def thread_items(self, mailbox_id: int, uids: Sequence[int]) -> Generator[None, None, Items]:
        return sorting.thread_items(self.database, mailbox_id, uids)

    def instance(self) -> str:
        return str(self.database.execute("SELECT instance FROM state").fetchone()[0])

    def index_texts(self, least: int, stopped: Callable[[], bool]) -> int:
        return fill.index(self.database, least, stopped)

    def modernize(self, stopped: Callable[[], bool]) -> int:
        return backlog.work(self.database, stopped)

    def tidy_texts(self, stopped: Callable[[], bool]) -> None:
        fill.purge(self.database, stopped)
        with self.database.write(bell=False) as write:
            sortkeys.prune(write.execute)

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
            return virtual.store_flags(self.database, mailbox_id, uids, (op, flags, keywords), unchanged_since)
        return messages.store_flags(self.database, mailbox_id, uids, (op, flags, keywords), unchanged_since)

    def expunge(self, mailbox_id: int, uids: Collection[int] | None) -> tuple[list[int], int]:
        if mailbox_id < 0:
            return virtual.remove(self.database, mailbox_id, uids, only_deleted=True)
        return messages.expunge(self.database, mailbox_id, uids)

    def remove(self, mailbox_id: int, uids: Collection[int]) -> tuple[list[int], int]:
        if mailbox_id < 0:
            return virtual.remove(self.database, mailbox_id, uids, only_deleted=False)
        return messages.remove(self.database, mailbox_id, uids)

    def copy(self, mailbox_id: int, uids: Collection[int], target_id: int) -> Copied:
        if mailbox_id < 0 or target_id < 0:
            return virtual.transfer(self.database, mailbox_id, uids, target_id, move=False)
        return messages.copy(self.database, mailbox_id, uids, target_id)

    def move(self, mailbox_id: int, uids: Collection[int], target_id: int) -> Copied:
        if mailbox_id < 0 or target_id < 0:
            return virtual.transfer(self.database, mailbox_id, uids, target_id, move=True)
        return messages.move(self.database, mailbox_id, uids, target_id)

    def repair(self, task: str, mailbox: str = "") -> int:
        return repair.repair(self.database, task, mailbox)

    # secrets, logins, learning

    def secrets(self) -> Mapping[str, str]:
        return records.secrets(self.database)

    def set_secrets(self, secrets: Mapping[str, str]) -> None:
        records.set_secrets(self.database, secrets)

    def log_login(self, login: Login) -> None:
        records.log_login(self.database, login)

    def logins(self, limit: int = 1000) -> list[Login]:
        return records.logins(self.database, limit)

    def note_sent(self, outside: Sequence[str], local: Sequence[str], now: float, limits: SendLimits) -> str:
        return sent.note_sent(self.database, outside, local, now, limits)

    def sent_today(self, now: float) -> tuple[int, int]:
        return sent.sent_today(self.database, now)

    def correspondents(self, addresses: Collection[str]) -> dict[str, Correspondent]:
        return sent.correspondents(self.database, addresses)

    def annotations(self, mailbox_id: int) -> dict[str, bytes]:
        return metadata.read_annotations(self.database, mailbox_id)

    def set_annotations(self, mailbox_id: int, values: Mapping[str, bytes | None]) -> None:
        metadata.set_annotations(self.database, mailbox_id, values)

    def acl(self, mailbox_id: int) -> dict[str, str]:
        return acl.read_acl(self.database, mailbox_id)

    def set_acl(self, mailbox_id: int, changes: Mapping[str, str | None]) -> None:
        acl.set_acl(self.database, mailbox_id, changes)

    def shared(self) -> dict[int, dict[str, str]]:
        return acl.shared(self.database)

    def learn_outbox(self, after: int, limit: int) -> list[LearnItem]:
        return records.learn_outbox(self.database, after, limit)

    def learned(self, up_to: int) -> None:
        records.learned(self.database, up_to)

    def close(self) -> None:
        """Closes this process's connection; a later call opens it again."""
        connection = self.database.release()
        if connection is not None:
            connection.close()
