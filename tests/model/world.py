"""Two IMAP services on one store, as two workers are: each with an engine of its own over the same files. One thread,
one loop; what a service commits rings the bells of both."""

from __future__ import annotations

import asyncio
import os
import tempfile
import zlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from echomox.imapd.service import Backend, Service
from echomox.message.mime import parse
from echomox.net.login import Authenticator
from echomox.store import open_engine
from echomox.store.engine import AccountStore, Added, Addition, Target
from tests.dialog.server import ACCOUNTS, OTHER, PASSWORD, USER, Connection, FakeBells, FakeHost, secrets

ACCOUNT = "mrc"
PREFIX = f"Other Users/{ACCOUNT}/"
SERVICES = 2
MEMORY = Path("/dev/shm")


class Compressed(Connection):
    """From `compress` on what is sent and received is deflated (RFC 4978); `wire.received` is what it means."""

    deflate: Any = None

    async def compress(self) -> None:
        answer = await self.command(b"COMPRESS DEFLATE")
        assert answer == [b"t OK DEFLATE active"], answer
        self.deflate = zlib.compressobj(wbits=-15)
        inflate, write = zlib.decompressobj(-15), self.wire.write
        self.wire.write = lambda data: write(inflate.decompress(data))  # type: ignore[method-assign]

    def send(self, data: bytes) -> None:
        """In two pieces, as networks do."""
        if self.deflate is None:
            super().send(data)
            return
        packed = self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        super().send(packed[: len(packed) // 2])
        if not self.wire.closed:
            super().send(packed[len(packed) // 2 :])


class Worker:
    """One service, its engine and its committer."""

    def __init__(self, root: Path, number: int) -> None:
        self.host = FakeHost(root)
        self.host.name = f"imap.{number}"
        (self.host.paths.spool / self.host.name).mkdir(parents=True, exist_ok=True)
        self.engine = open_engine(self.host.paths)
        self.committer = self.engine.committer(self.host.name)
        self.authenticator = Authenticator(self.host, self.engine, "imap")
        backend = Backend(self.engine, self.committer, self.authenticator, FakeBells(), None)
        self.service = Service(self.host, backend, asyncio.get_running_loop())

    async def close(self) -> None:
        for session in tuple(self.service.sessions):
            session.connection_lost(None)
        await self.authenticator.close()
        await self.committer.close()
        self.engine.close()

    def troubles(self) -> list[str]:
        """What was logged with a traceback."""
        return [line for line in self.host.log.sink.lines if "traceback" in line]  # type: ignore[attr-defined]


class World:
    """A fresh account and its workers. `run` is the only way into the loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._directory = tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
        self.root = Path(self._directory.name)
        self.deliveries = 0
        self.deaf = False
        self.workers: list[Worker] = []
        self.run(self._start())

    def run(self, what: Coroutine[Any, Any, Any], seconds: float = 120) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(what, seconds))

    async def _start(self) -> None:
        self.workers = [Worker(self.root, number) for number in range(SERVICES)]
        engine = self.workers[0].engine
        for account in ACCOUNTS:
            engine.create(account)
            engine.open(account).set_secrets(secrets())
        for worker in self.workers:
            self._listen(worker)

    def _listen(self, worker: Worker) -> None:
        """deaf: bells between workers are lost, and only the poll finds what another did."""

        def changed(account: str, modseq: int) -> None:
            for other in self.workers:
                if other is worker or not self.deaf:
                    other.service.changed(account)

        worker.engine.on_change = changed

    @property
    def store(self) -> AccountStore:
        return self.workers[0].engine.open(ACCOUNT)

    def share(self, mailbox_id: int) -> None:
        """With the other account, which may do all with the messages."""
        self.store.set_acl(mailbox_id, {"other": "lrswite"})

    async def connect(self, number: int, shared: bool = False, compressed: bool = False) -> Connection:
        connection = Compressed(self.workers[number].service)
        await connection.line()
        answer = await connection.command(f"LOGIN {OTHER if shared else USER} {PASSWORD}".encode())
        assert answer[-1].startswith(b"t OK"), answer
        if compressed:
            await connection.compress()
        return connection

    async def say(self, connection: Connection, data: bytes) -> bytes | None:
        """Returns the next line of the server."""
        if data:
            connection.send(data)
        return await connection.line()

    async def hang_up(self, connection: Connection) -> None:
        connection.hang_up()

    async def settle(self) -> None:
        """Until all that were rung have been told."""
        for _ in range(12):
            await asyncio.sleep(0)

    async def deliver(self, number: int, mailbox: str, data: bytes) -> Added:
        self.deliveries += 1
        target = Target(ACCOUNT, mailbox)
        addition = Addition(data, parse(data), (target,), f"d{self.deliveries}", 1_700_000_000.0 + self.deliveries)
        return (await self.workers[number].committer.add(addition))[0]

    async def remove(self, number: int, mailbox_id: int, uids: list[int]) -> None:
        self.workers[number].engine.open(ACCOUNT).remove(mailbox_id, uids)

    async def restart(self, number: int) -> None:
        """The worker ends and another takes its place; its connections are gone."""
        await self.workers[number].close()
        assert not self.workers[number].troubles()
        self.workers[number] = Worker(self.root, number)
        self._listen(self.workers[number])

    async def poll(self) -> None:
        """The time has come at which every worker looks by itself."""
        for worker in self.workers:
            worker.service._next_poll = 0.0
            worker.service.tick()
        await self.settle()

    def close(self) -> None:
        async def end() -> None:
            for worker in self.workers:
                await worker.close()

        self.run(end())
        troubles = [line for worker in self.workers for line in worker.troubles()]
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self._directory.cleanup()
        assert not troubles, troubles
