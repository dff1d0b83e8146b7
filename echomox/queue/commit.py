"""Group commit: all that waits goes into one transaction and one fsync; while it is synced, the next group collects.

Each piece of work has a savepoint: one that raises takes nothing back but itself. When the commit fails, every piece of
the group fails with the same error, and nothing of it is there.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from echomox.queue.database import QueueError, connect, translate
from echomox.store.disk import Disk

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]
GROUP = 200
LOCK = "write.lock"


@dataclass(slots=True, eq=False)
class _Waiting:
    work: Work
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Committer:
    """One connection and one thread. durable: see database.py. Made in the loop that it works in."""

    def __init__(self, directory: Path, *, durable: bool = True, disk: Disk | None = None) -> None:
        self._directory = directory
        self._disk = disk or Disk()
        self._durable = durable
        self._connection: sqlite3.Connection | None = None
        self._waiting: list[_Waiting] = []
        self._busy = False
        self._closed = False
        self._turn = Turn(directory / LOCK)
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(1, "queue commit")

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The work's result, once its transaction is committed. Raises what it raised, OSError or QueueError."""
        if self._closed:
            raise QueueError("the queue is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append(_Waiting(work, future))
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._start)
        return await future

    async def look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of work that only reads; it waits for no lock."""
        if self._closed:
            raise QueueError("the queue is closed")
        return await self._loop.run_in_executor(self._thread, self._look, work)

    def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._opened())
        except sqlite3.Error as error:
            raise translate(error) from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._directory, durable=self._durable)
        return self._connection

    def _start(self) -> None:
        group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
        done = self._loop.run_in_executor(self._thread, self._commit, group)
        done.add_done_callback(lambda _: self._finish(group, done.exception()))

    def _finish(self, group: list[_Waiting], error: BaseException | None) -> None:
        if self._waiting:
            self._start()
        else:
            self._busy = False
            self._idle.set()
        for one in group:
            trouble = error or one.error
            if one.future.done():
                continue
            if trouble is not None:
                one.future.set_exception(trouble)
            else:
                one.future.set_result(one.result)

    def _commit(self, group: list[_Waiting]) -> None:
        """In the thread."""
        try:
            connection = self._opened()
            with self._turn:
                transact(connection, group, self._disk, str(self._directory))
        except sqlite3.Error as error:
            raise translate(error) from error

    async def close(self) -> None:
        """Commits what waits and ends."""
        self._closed = True
        await self._idle.wait()
        self._thread.shutdown(wait=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._turn.close()


class Turn:
    """The turn to write, among processes: who waits for SQLite's own lock looks again after up to 100 ms; who waits for
    this one is woken. It ends with its process. Others that write (commands) do without: SQLite's lock is what counts.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *exception: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._descriptor)


def transact(connection: sqlite3.Connection, group: list[_Waiting], disk: Disk, name: str) -> None:
    """One transaction for the group; its end is on disk, if the connection is durable."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for one in group:
            one.error = None
            connection.execute("SAVEPOINT one")
            try:
                one.result = one.work(connection)
            except Exception as error:
                if not connection.in_transaction:
                    raise  # the disk is full: SQLite has taken the whole transaction back
                connection.execute("ROLLBACK TO one")
                one.error = translate(error) if isinstance(error, sqlite3.Error) else error
            connection.execute("RELEASE one")
        disk.step("commit", name)
        connection.execute("COMMIT")
        disk.step("committed", name)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def once(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """One transaction for one piece of work, in the caller's thread. Raises what it raises, OSError, QueueError."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise translate(error) from error
    return result
