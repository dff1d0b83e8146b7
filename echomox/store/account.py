"""AccountStore over SQLite: the methods of the protocol, each handed to the module that does it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from typing import Any

from echomox.imap.search import Key
from echomox.store import affect, fill, mailboxes, messages, metadata, records, sent, views
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
    Selected,
    SendLimits,
)
from echomox.store.search import search as search_messages
from echomox.store.search import searching as search_steps


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
        return mailboxes.by_name(self.database, name)

    def mailbox_by_id(self, mailbox_id: int) -> Mailbox:
        return mailboxes.by_id(self.database, mailbox_id)

    def special_mailbox(self, use: str) -> Mailbox | None:
        return mailboxes.by_use(self.database, use)

    def create_mailbox(self, name: str, special_use: str = "") -> Mailbox:
        return mailboxes.create(self.database, name, special_use)

    def rename_mailbox(self, old: str, new: str) -> None:
        mailboxes.rename(self.database, old, new)

    def delete_mailbox(self, name: str) -> None:
        mailboxes.delete(self.database, name)

    def subscribe(self, name: str, on: bool) -> None:
        mailboxes.subscribe(self.database, name, on)

    def subscriptions(self) -> list[str]:
        return mailboxes.subscriptions(self.database)

    # messages

    def select(self, mailbox_id: int, claim_recent: bool) -> Selected:
        return views.select(self.database, mailbox_id, claim_recent)

    def changes(self, mailbox_id: int, since: int) -> Changes:
        return views.changes(self.database, mailbox_id, since)

    def fetch(self, mailbox_id: int, low: int, high: int, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        return views.fetch(self.database, mailbox_id, low, high, columns)

    def content(self, message_id: int) -> Content:
        return views.content(self.database, message_id)

    def affect(self, message_id: int) -> AffectiveState | None:
        return affect.load(self.database, message_id)

    def search(self, mailbox_id: int, key: Key, uids: array[int]) -> list[int]:
        return search_messages(self.database, mailbox_id, key, uids)

    def searching(self, mailbox_id: int, key: Key, uids: array[int]) -> Generator[None, None, list[int]]:
        return search_steps(self.database, mailbox_id, key, uids)

    def index_texts(self, least: int, stopped: Callable[[], bool]) -> int:
        return fill.index(self.database, least, stopped)

    def tidy_texts(self, stopped: Callable[[], bool]) -> None:
        fill.purge(self.database, stopped)

    def store_flags(
        self,
        mailbox_id: int,
        uids: Collection[int],
        op: FlagOp,
        flags: int,
        keywords: Collection[str],
        unchanged_since: int | None = None,
    ) -> FlagsStored:
        return messages.store_flags(self.database, mailbox_id, uids, (op, flags, keywords), unchanged_since)

    def expunge(self, mailbox_id: int, uids: Collection[int] | None) -> tuple[list[int], int]:
        return messages.expunge(self.database, mailbox_id, uids)

    def remove(self, mailbox_id: int, uids: Collection[int]) -> tuple[list[int], int]:
        return messages.remove(self.database, mailbox_id, uids)

    def copy(self, mailbox_id: int, uids: Collection[int], target_id: int) -> Copied:
        return messages.copy(self.database, mailbox_id, uids, target_id)

    def move(self, mailbox_id: int, uids: Collection[int], target_id: int) -> Copied:
        return messages.move(self.database, mailbox_id, uids, target_id)

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

    def learn_outbox(self, after: int, limit: int) -> list[LearnItem]:
        return records.learn_outbox(self.database, after, limit)

    def learned(self, up_to: int) -> None:
        records.learned(self.database, up_to)

    def close(self) -> None:
        """Closes this process's connection; a later call opens it again."""
        connection = self.database.release()
        if connection is not None:
            connection.close()
