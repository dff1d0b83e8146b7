"""Adding to the queue: when `add` has returned, the message survives kill -9 and power loss.

Bodies up to INLINE bytes stand in the database and share one fsync with all that is added at the same time; larger ones
are files, synced (with their directory) before the row is written, several at once.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from echomox.config.paths import Paths
from echomox.log import logger
from echomox.queue import database
from echomox.queue.commit import Committer
from echomox.queue.database import QueueError
from echomox.queue.dsn import IncomingReport
from echomox.queue.insert import Placing, Ways, direct, insert
from echomox.queue.match import Match, match_dsn
from echomox.queue.model import Outgoing, QueueFull
from echomox.store.disk import Disk

INLINE = 64 << 10
CHUNK = 1 << 20
FREE_CHECK = 1.0  # seconds between looks at what the disk has left


class QueueSpool:
    """One per process that adds; made in its loop. ways: how to find the transport (routes.find_way over a snapshot).
    min_free: as Queue.min_free.
    """

    def __init__(self, paths: Paths, *, ways: Ways = direct, min_free: int = 0, disk: Disk | None = None) -> None:
        self._disk = disk or Disk()
        self._paths = paths
        self._directory = database.directory_of(paths)
        self._ways = ways
        self._min_free = min_free
        self._opened: Committer | None = None
        try:
            self._committer()
        except (OSError, QueueError) as error:
            logger("queue").error("the queue cannot be opened, nothing can be added to it", error=error)
        self._files = ThreadPoolExecutor(4, "queue files")
        self._free_known = 0.0

    def _committer(self) -> Committer:
        """What cannot be opened now is tried again with the next addition; mail for here goes on meanwhile."""
        if self._opened is None:
            database.prepare(self._paths, self._disk)
            self._opened = Committer(self._directory, disk=self._disk)
        return self._opened

    async def add(self, mail: Outgoing) -> list[int]:
        """One row per recipient; their ids. Raises QueueFull, OSError, QueueError: then nothing was added."""
        if not mail.recipients:
            raise ValueError("no recipients")
        committer = self._committer()
        self._check_free()
        now = time.time()
        size = len(mail.body) if mail.body is not None else os.stat(mail.file).st_size
        if size <= INLINE:
            body = mail.body if mail.body is not None else Path(mail.file).read_bytes()  # noqa: ASYNC240
            small = mail if mail.body is body else replace(mail, body=body)
            return await committer.run(partial(insert, mail=small, placing=Placing(now, self._ways)))
        loop = asyncio.get_running_loop()
        name = await loop.run_in_executor(self._files, self._store, mail)
        try:
            return await committer.run(partial(insert, mail=mail, placing=Placing(now, self._ways, name, size)))
        except Exception:
            self._disk.unlink(str(database.file_path(self._directory, name)))
            raise

    async def match(self, account: str, from_id: str, report: IncomingReport, suppress_after: int) -> list[Match]:
        """What a report that came in speaks of; see match.match_dsn. Raises OSError, QueueError."""
        return await self._committer().run(
            lambda connection: match_dsn(connection, account, from_id, report, suppress_after)
        )

    def _check_free(self) -> None:
        if not self._min_free or time.monotonic() < self._free_known:
            return
        found = os.statvfs(self._directory)
        free = found.f_bavail * found.f_frsize
        if free < self._min_free:
            raise QueueFull(cause=f"{free} bytes free on the queue's disk")
        self._free_known = time.monotonic() + FREE_CHECK

    def _store(self, mail: Outgoing) -> str:
        """In a thread: the body as a file of its own, on disk with its name."""
        name = secrets.token_hex(16)
        path = str(database.file_path(self._directory, name))
        disk = self._disk
        try:
            if mail.body is not None:
                disk.create(path, mail.body)
            else:
                disk.link(mail.file, path)
            disk.sync_file(path)
            disk.sync_directory(os.path.dirname(path))
        except BaseException:
            disk.unlink(path)
            raise
        return name

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
        self._files.shutdown(wait=True)
