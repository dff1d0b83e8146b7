"""Adding messages: group commit. While one batch is being synced the next one collects.

A batch: one transaction per account (rows, UIDs, files into place, COMMIT), in the event loop; then, in a thread,
fsync of large files, the journal's records, one fdatasync; then all that waited are answered. journal.py has the
table of states.

An addition fails alone: what it did in other accounts is taken back, the rest of the batch goes on. When the disk fails
for the batch as a whole, each addition is tried again by itself.
"""

from __future__ import annotations

import asyncio
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from echomox.log import logger
from echomox.store import messages
from echomox.store.database import Database
from echomox.store.disk import Disk
from echomox.store.engine import Added, Addition, StoreError
from echomox.store.insert import Inserter, shared_values
from echomox.store.journal import INLINE, Journal, Record, Row

LOG = logger("store")
BATCH_COUNT = 128
BATCH_BYTES = 32 << 20
JOURNAL_LIMIT = 64 << 20
JOURNAL_AGE = 30.0
SYNCFS_FROM = 8
"""So many names of one large message are synced with one syncfs instead of an fsync for each directory."""
_SPOOL_ID = re.compile(r"[A-Za-z0-9.-]+/[A-Za-z0-9.-]+")


class Host(Protocol):
    """What the committer needs of the engine."""

    disk: Disk
    data: str
    spool: str

    def database(self, account: str) -> Database: ...
    def rung(self, account: str, modseq: int) -> None: ...
    def take_touched(self) -> list[str]: ...
    def touch_again(self, directories: Iterable[str]) -> None: ...
    def run_checkpoint(self, directories: list[str], journals: list[str]) -> None: ...


class _Refused(Exception):
    """Some items of a transaction were refused: it starts again without them."""


@dataclass(slots=True, eq=False)
class _Plan:
    """One addition on its way."""

    addition: Addition
    future: asyncio.Future[list[Added]]
    path: str
    """Of the spool file; "" when the source is in memory."""
    data: bytes | None
    """None: too large for the journal."""
    shared: tuple[Any, ...]
    rows: dict[int, Row] = field(default_factory=dict)
    files: dict[int, str] = field(default_factory=dict)
    """By place in targets."""
    error: BaseException | None = None

    def first_file(self) -> str:
        return next(iter(self.files.values()), self.path)

    def record(self) -> Record:
        crc, size = self.shared[:2]
        return Record(self.addition.delivery, crc, size, self.shared, tuple(self.rows.values()), self.data)


def _crc_of_file(path: str) -> tuple[int, int]:
    """(CRC-32, size)"""
    crc = size = 0
    with open(path, "rb") as file:
        while chunk := file.read(INLINE):
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
    return crc, size


class SqliteCommitter:
    """See engine.Committer. Made in the event loop that it is to work in."""

    def __init__(self, host: Host, worker: str) -> None:
        self._host = host
        self._disk = host.disk
        self._journal = Journal(host.disk, host.spool, worker)
        self._queue: list[_Plan] = []
        self._undo: list[tuple[str, Row]] = []
        self._busy = False
        self._rotate = False
        self._untidy = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._sync_pool = ThreadPoolExecutor(1, f"{worker} sync")
        self._pool = ThreadPoolExecutor(2, f"{worker} disk")
        self._checkpoint: Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(JOURNAL_AGE, self._tick)

    async def add(self, addition: Addition) -> list[Added]:
        if self._closed:
            raise StoreError("the committer is closed")
        if not addition.targets:
            return []
        plan = await self._plan(addition)
        self._queue.append(plan)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._step)
        return await plan.future

    async def _plan(self, addition: Addition) -> _Plan:
        future: asyncio.Future[list[Added]] = self._loop.create_future()
        size = addition.structure.size
        path, data = "", None
        if isinstance(addition.source, bytes):
            data = addition.source
            crc, length = zlib.crc32(data), len(data)
        else:
            path = self._spool_path(addition.source)
            if size <= INLINE:
                with open(path, "rb") as file:  # noqa: ASYNC230  # small, written a moment ago: it comes from memory
                    data = file.read(INLINE + 1)
                crc, length = zlib.crc32(data), len(data)
            else:
                crc, length = await self._loop.run_in_executor(self._pool, _crc_of_file, path)
        if length != size:
            raise StoreError(f"the source has {length} bytes, its structure says {size}")
        return _Plan(addition, future, path, data, shared_values(addition, crc))

    def _spool_path(self, source: str) -> str:
        if not _SPOOL_ID.fullmatch(source) or "/." in f"/{source}":
            raise StoreError("not a spool id")
        return f"{self._host.spool}/{source}"

    # -- one batch

    def _step(self) -> None:
        """Takes a batch, writes it, has it synced; `_finish` goes on."""
        self._take_back_leftovers()
        batch = self._take_batch()
        self._write(batch)
        for plan in batch:
            if plan.error is not None:
                self._take_back(plan)
        good = [plan for plan in batch if plan.error is None]
        work = self._sync_pool.submit(self._make_durable, good, self._rotate)
        self._rotate = False
        work.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._finish, batch, done))

    def _take_batch(self) -> list[_Plan]:
        count = size = 0
        for plan in self._queue:
            size += plan.addition.structure.size
            if count and (count >= BATCH_COUNT or size > BATCH_BYTES):
                break
            count += 1
        batch, self._queue = self._queue[:count], self._queue[count:]
        return [plan for plan in batch if not plan.future.cancelled()]

    def _write(self, batch: Sequence[_Plan]) -> None:
        """The transactions, account by account; trouble ends up in plan.error."""
        work: dict[str, list[tuple[_Plan, int]]] = {}
        for plan in batch:
            for place, target in enumerate(plan.addition.targets):
                work.setdefault(target.account, []).append((plan, place))
        for account in sorted(work):
            items = [item for item in work[account] if item[0].error is None]
            trouble = self._write_account(account, items)
            if trouble is None:
                continue
            plans = {item[0]: None for item in items}
            for plan in plans:
                alone = [item for item in items if item[0] is plan]
                plan.error = self._write_account(account, alone) if len(plans) > 1 else trouble

    def _write_account(self, account: str, items: list[tuple[_Plan, int]]) -> Exception | None:
        """One transaction. Refusals of single items go to plan.error; returns what made the transaction fail as a
        whole.
        """
        if not items:
            return None
        made: list[tuple[_Plan, int, str]] = []
        try:
            database = self._host.database(account)
            with database.write(bell=False) as write:
                inserter = Inserter(write, account)
                for plan, place in items:
                    if plan.error is None:
                        self._insert(database, inserter, (plan, place), made)
                if any(plan.error for plan, _ in items):
                    raise _Refused
                inserter.finish()
        except _Refused:
            self._unmake(made)
            return self._write_account(account, [item for item in items if item[0].error is None])
        except Exception as error:
            self._unmake(made)
            return error
        return None

    def _insert(
        self, database: Database, inserter: Inserter, item: tuple[_Plan, int], made: list[tuple[_Plan, int, str]]
    ) -> None:
        plan, place = item
        try:
            row = inserter.add(plan.addition, plan.addition.targets[place], plan.shared)
        except StoreError as error:
            plan.error = error
            return
        path = database.file(row.id)
        made.append((plan, place, path))
        self._put_file(plan, path)
        plan.rows[place] = row
        plan.files[place] = path

    def _put_file(self, plan: _Plan, path: str) -> None:
        first = plan.first_file()
        for attempt in (0, 1):
            try:
                if first:
                    self._disk.link(first, path)
                else:
                    assert isinstance(plan.addition.source, bytes)
                    self._disk.create(path, plan.addition.source)
                return
            except FileNotFoundError:
                if attempt:
                    raise
                self._disk.make_directory(os.path.dirname(path))

    def _unmake(self, made: list[tuple[_Plan, int, str]]) -> None:
        """After a rollback: the files of the transaction go."""
        for plan, place, path in made:
            plan.rows.pop(place, None)
            plan.files.pop(place, None)
            try:
                self._disk.unlink(path)
            except OSError as error:
                self._untidy = True
                LOG.warn("file not removed after a failed transaction", path=path, error=str(error))

    # -- in the thread

    def _make_durable(self, plans: list[_Plan], rotate: bool) -> None:
        if rotate:
            self._journal.rotate()
        for plan in plans:
            if plan.addition.structure.size > INLINE:
                self._sync_large(plan)
        if plans:
            self._journal.append([plan.record() for plan in plans])

    def _sync_large(self, plan: _Plan) -> None:
        if len(plan.files) >= SYNCFS_FROM:
            self._disk.sync_filesystem(self._host.data)
            return
        directories = {os.path.dirname(path) for path in plan.files.values()}
        self._disk.sync_file(plan.first_file())
        for directory in directories:
            self._disk.sync_directory(directory)
            self._disk.sync_directory(os.path.dirname(directory))

    # -- the end of a batch

    def _finish(self, batch: list[_Plan], done: Future[None]) -> None:
        trouble = done.exception()
        rung: dict[str, int] = {}
        for plan in batch:
            if plan.error is None and trouble is not None:
                plan.error = trouble
                self._take_back(plan)
            if plan.error is None:
                for row in plan.rows.values():
                    rung[row.account] = max(row.modseq, rung.get(row.account, 0))
            self._answer(plan)
        for account, modseq in rung.items():
            self._host.rung(account, modseq)
        if trouble is not None:
            LOG.error("deliveries not made durable", error=str(trouble), count=len(batch))
            self._rotate = True  # what a failed fdatasync left in the file is not to be trusted
        if self._journal.size > JOURNAL_LIMIT:
            self._rotate = True
        self._start_checkpoint()
        if self._queue or (self._rotate and trouble is None):
            self._step()
            return
        self._busy = False
        self._idle.set()

    @staticmethod
    def _answer(plan: _Plan) -> None:
        if plan.future.done():
            return
        if plan.error is not None:
            plan.future.set_exception(plan.error)
            return
        plan.future.set_result(
            [
                Added(row.account, row.mailbox_id, row.id, row.uid, row.uidvalidity, row.modseq)
                for _, row in sorted(plan.rows.items())
            ]
        )

    def _take_back(self, plan: _Plan) -> None:
        """Removes the rows of a plan that failed after some of its transactions were committed."""
        self._undo += [(row.account, row) for row in plan.rows.values()]
        self._take_back_leftovers()

    def _take_back_leftovers(self) -> None:
        remaining = []
        for account, row in self._undo:
            try:
                database = self._host.database(account)
                messages.remove_by_id(database, row.id)
            except (OSError, StoreError) as error:
                LOG.error("a failed delivery could not be taken back yet", account=account, error=str(error))
                remaining.append((account, row))
        self._undo = remaining

    # -- checkpoints and the end

    def _tick(self) -> None:
        """Every JOURNAL_AGE: what is left in the journal, and what others did in this process, gets its checkpoint."""
        self._timer = self._loop.call_later(JOURNAL_AGE, self._tick)
        if self._journal.size:
            self._rotate = True
            if not self._busy:
                self._busy = True
                self._idle.clear()
                self._step()
        else:
            self._start_checkpoint(also_touched=True)

    def _start_checkpoint(self, also_touched: bool = False) -> None:
        journals = list(self._journal.old)
        if self._checkpoint is not None or not (journals or also_touched):
            return
        directories = self._host.take_touched()
        if not (journals or directories):
            return
        self._checkpoint = self._pool.submit(self._host.run_checkpoint, directories, journals)
        self._checkpoint.add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._end_checkpoint, directories, journals, done)
        )

    def _end_checkpoint(self, directories: list[str], journals: list[str], done: Future[None]) -> None:
        self._checkpoint = None
        trouble = done.exception()
        if trouble is None:
            for path in journals:
                self._journal.old.remove(path)
        else:
            LOG.error("checkpoint failed", error=str(trouble))
            self._host.touch_again(directories)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._timer.cancel()
        await self._idle.wait()
        if self._checkpoint is not None:
            await asyncio.wait([asyncio.wrap_future(self._checkpoint)])
        self._take_back_leftovers()
        self._journal.close()
        # With a journal left the next start counts as after an unclean stop, and looks for files that nobody speaks of.
        journals = [] if self._untidy else [*self._journal.old, self._journal.path]
        directories = self._host.take_touched()
        try:
            await self._loop.run_in_executor(self._pool, self._host.run_checkpoint, directories, journals)
        except OSError as error:
            LOG.error("checkpoint failed, the journals stay", error=str(error))
            self._host.touch_again(directories)
        self._sync_pool.shutdown()
        self._pool.shutdown()
