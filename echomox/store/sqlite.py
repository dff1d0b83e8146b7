"""The SQLite engine: accounts as directories with an index.db, opened on demand, at most OPEN_LIMIT at once in a
process.

    data/accounts/<a>/index.db          the index (schema.sql)
    data/accounts/<a>/msg/<n>/<id>      a message as received; n = id div 8192, five digits
    data/accounts/.new-* .gone-*        an account being made or removed
    data/spool/<worker>.<n>.journal     answered deliveries since the last checkpoint (journal.py)
    data/spool/boot                     the last start (recover.py)

A process without a committer checkpoints an account after COMMITS_PER_CHECKPOINT commits of its own, and all it
touched when it closes. After a fork the child starts with no connections; the parent's are left alone.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress

from echomox.config.paths import Paths
from echomox.log import logger
from echomox.store import acl, journal, names, recover
from echomox.store.account import SqliteAccount
from echomox.store.checkpoint import checkpoint
from echomox.store.committer import SqliteCommitter
from echomox.store.database import Busy, Database, build
from echomox.store.disk import Disk
from echomox.store.engine import NoSuchAccount, StoreError
from echomox.store.recover import Item, Report
from echomox.store.upgrades import NewerIndex

LOG = logger("store")
OPEN_LIMIT = 200
COMMITS_PER_CHECKPOINT = 1000


def _no_bell(account: str, modseq: int) -> None:
    """Until the worker sets its own."""


class SqliteEngine:
    """boot_id: of the running system; tests give another one to play a power loss."""

    def __init__(self, paths: Paths, disk: Disk | None = None, boot_id: str = "") -> None:
        self.on_change: Callable[[str, int], None] = _no_bell
        self.opinion: Callable[[str, str], str | None] = lambda account, mailbox: None
        self.open_limit = OPEN_LIMIT
        self.disk = disk or Disk()
        self.data = str(paths.data)
        self.spool = str(paths.spool)
        self._accounts = str(paths.accounts)
        self._boot_id = boot_id or recover.this_boot()
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._open: OrderedDict[str, SqliteAccount] = OrderedDict()
        self._stale: list[SqliteAccount] = []
        self._touched: dict[str, int] = {}
        self._lock = threading.Lock()
        self._cleaner: threading.Thread | None = None
        self._boot: recover.Boot | None = None

    def _directory(self, account: str) -> str:
        return f"{self._accounts}/{names.account_name(account)}"

    # -- accounts

    def accounts(self) -> list[str]:
        try:
            return sorted(
                entry.name for entry in os.scandir(self._accounts) if entry.is_dir() and not entry.name.startswith(".")
            )
        except FileNotFoundError:
            return []

    def create(self, account: str) -> None:
        directory = self._directory(account)
        if os.path.isdir(directory):
            return
        for path in (self._accounts, self.spool):
            self.disk.make_directory(path)
        new = f"{self._accounts}/.new-{account}-{secrets.token_hex(4)}"
        self.disk.make_directory(f"{new}/msg")
        try:
            build(new, account, self._current_boot().epoch)
            self.disk.sync_file(f"{new}/index.db")
            self.disk.sync_directory(new)
            self.disk.rename(new, directory)
        except FileExistsError:
            shutil.rmtree(new)
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            if not os.path.isdir(directory):
                raise error
        self.disk.sync_directory(self._accounts)
        self.withdraw(account)  # rights that an earlier account of this name was left

    def remove(self, account: str) -> None:
        directory = self._directory(account)
        if not os.path.isdir(directory):
            raise NoSuchAccount(f"no account {account}")
        store = self._open.pop(account, None)
        if store is not None:
            store.close()
        gone = f"{self._accounts}/.gone-{account}-{secrets.token_hex(4)}"
        self.disk.rename(directory, gone)
        self.disk.sync_directory(self._accounts)
        self.disk.remove_tree(gone)

    def open(self, account: str) -> SqliteAccount:
        if os.getpid() != self._process:
            self._after_fork()
        store = self._open.get(account)
        if store is not None:
            self._open.move_to_end(account)
            if _inode(store.database.path) == store.database.inode:
                return store
            del self._open[account]  # removed, and perhaps made anew
        directory = self._directory(account)
        if not os.path.exists(f"{directory}/index.db"):
            raise NoSuchAccount(f"no account {account}")
        database = Database(directory, account, self.disk)
        database.committed = self._committed
        database.opened = self._opened
        database.opinion = lambda mailbox: self.opinion(account, mailbox)
        store = self._open[account] = SqliteAccount(database)
        return store

    def _opened(self, database: Database) -> None:
        recover.settle(database, self._current_boot())
        store = self._open.get(database.name)
        if store is not None:
            self._open.move_to_end(database.name)
        self._close_some()

    def _close_some(self) -> None:
        """Keeps the number of connections within bounds; sessions may hold the accounts, their next call opens
        again.
        """
        connected = [store for store in self._open.values() if store.database.is_connected()]
        for store in connected[: max(0, len(connected) - self.open_limit)]:
            connection = store.database.release()
            if connection is not None:
                # The last connection of all copies the WAL when it closes, which may wait for the disk.
                threading.Thread(target=connection.close, daemon=True).start()

    def _after_fork(self) -> None:
        # SQLite must not close, here, what the parent has open: the connections are dropped without a word.
        self._left_to_parent = [store.database.release() for store in self._open.values()]
        self._forget()

    # -- what accounts share

    def owners(self, account: str) -> list[str]:
        return acl.owners(self.data, account)

    def withdraw(self, account: str) -> None:
        names.account_name(account)
        for owner in acl.owners(self.data, account, everybody=False):
            with suppress(NoSuchAccount):
                store = self.open(owner)
                for mailbox_id, entries in store.shared().items():
                    own = {who: None for who in (account, f"-{account}") if who in entries}
                    if own:
                        store.set_acl(mailbox_id, own)
        acl.forget(self.data, account)

    # -- what the committer needs

    def database(self, account: str) -> Database:
        return self.open(account).database

    def rung(self, account: str, modseq: int) -> None:
        self.on_change(account, modseq)

    def _committed(self, database: Database, modseq: int) -> None:
        count = self._touched.get(database.directory, 0) + 1
        self._touched[database.directory] = count
        if count >= COMMITS_PER_CHECKPOINT and self._cleaner is None:
            self._clean_in_background()
        if modseq:
            self.on_change(database.name, modseq)

    def take_touched(self) -> list[str]:
        touched, self._touched = self._touched, {}
        return list(touched)

    def touch_again(self, directories: Iterable[str]) -> None:
        for directory in directories:
            self._touched.setdefault(directory, 1)

    def run_checkpoint(self, directories: list[str], journals: list[str]) -> None:
        """In any thread; one at a time."""
        with self._lock:
            checkpoint(self.disk, self.data, directories, journals)

    def _clean_in_background(self) -> None:
        directories = self.take_touched()
        self._cleaner = threading.Thread(target=self._clean, args=(directories,), name="checkpoint", daemon=True)
        self._cleaner.start()

    def _clean(self, directories: list[str]) -> None:
        try:
            self.run_checkpoint(directories, [])
        except OSError as error:
            LOG.error("checkpoint failed", error=str(error))
            self.touch_again(directories)
        finally:
            self._cleaner = None

    def committer(self, worker: str) -> SqliteCommitter:
        self.disk.make_directory(self.spool)
        return SqliteCommitter(self, worker)

    # -- start and end

    def _current_boot(self) -> recover.Boot:
        if self._boot is None:
            self._boot = recover.load_boot(self.spool)
        return self._boot

    def recover(self) -> dict[str, int]:
        for path in (self._accounts, self.spool):
            self.disk.make_directory(path)
        self._remove_leftovers()
        report = Report()
        paths = journal.journals(self.spool)
        boot = recover.begin(self.disk, self.spool, self._boot_id, bool(paths))
        by_account, damaged = recover.read_journals(paths, report)
        self._boot = recover.Boot()  # no account is settled before its journal is replayed
        failed = {account for account in sorted(by_account) if not self._replay(account, by_account[account], report)}
        self._boot = boot
        for account in set(by_account) - failed:
            with suppress(NoSuchAccount):
                recover.settle(self.database(account), boot)
        kept = paths if failed else damaged
        for path in kept:
            self.disk.rename(path, path + journal.CORRUPT)
        self.run_checkpoint(self.take_touched(), [path for path in paths if path not in kept])
        return report.counts()

    def _replay(self, account: str, items: list[Item], report: Report) -> bool:
        """Whether the account could be brought up to its journals; an account that is gone needs nothing. An OSError,
        as of a full disk, goes up: the journals stay as they are, and the next start tries again."""
        try:
            database = self.database(account)
        except NoSuchAccount:
            report.foreign += len(items)
            return True
        try:
            recover.Replay(database, self.disk, report, self._accounts).run(items)
        except (Busy, NewerIndex):  # its journals are for the program that knows it
            raise
        except StoreError as error:
            report.lost += len(items)
            LOG.error("journals not replayed, they are kept aside", account=account, error=str(error))
            return False
        return True

    def _remove_leftovers(self) -> None:
        for entry in list(os.scandir(self._accounts)):
            if entry.name.startswith((".new-", ".gone-")):
                shutil.rmtree(entry.path, ignore_errors=True)

    def close(self) -> None:
        if os.getpid() != self._process:
            self._after_fork()
        cleaner = self._cleaner
        if cleaner is not None:
            cleaner.join()
        for store in self._open.values():
            store.close()
        self._open.clear()
        directories = [path for path in self.take_touched() if os.path.isdir(path)]
        if directories:
            try:
                self.run_checkpoint(directories, [])
            except OSError as error:
                LOG.error("checkpoint failed", error=str(error))


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
