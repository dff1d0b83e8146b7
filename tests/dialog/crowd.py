"""Many clients of `stress` at once, with checkpoints at which all stand still and have to have the same picture.

Also to be run against a server: python -m tests.dialog.crowd PORT USER PASSWORD [CLIENTS [SECONDS [SEED]]]"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from tests.dialog.stress import NAMES, Client, Command, Wire, World


class Together:
    """All clients until `until` is true and `least` commands were given, with a checkpoint after each hundred commands
    of each."""

    def __init__(self, clients: list[Client], until: Callable[[], bool], least: int) -> None:
        self.clients, self.until, self.least = clients, until, least
        self.world = clients[0].world
        self.checking = self.over = False
        self.waiting = self.checkpoints = 0
        self.free = asyncio.Event()

    def ended(self) -> bool:
        """Not while some wait for all others."""
        self.over = self.over or (not self.checking and self.world.commands > self.least and self.until())
        return self.over

    async def pause(self, client: Client) -> None:
        due = (self.checkpoints + 1) * 100 * len(self.clients)
        self.checking = self.checking or (not self.over and self.world.commands > due)
        if not self.checking:
            return
        self.waiting += 1
        if self.waiting < len(self.clients):
            await self.free.wait()
            return
        await checkpoint(self.clients)
        self.checkpoints += 1
        self.checking, self.waiting = False, 0
        free, self.free = self.free, asyncio.Event()
        free.set()


async def run(
    connect: Callable[[], Awaitable[Wire]],
    login: bytes,
    count: int,
    until: Callable[[], bool],
    seed: int,
    least: int = 0,
) -> World:
    world, dice = World(), random.Random(seed)
    kinds = ("rev1", "rev1", "qresync", "rev2")
    clients = [Client(world, random.Random(dice.random()), connect, kinds[n % len(kinds)]) for n in range(count)]
    setup = Client(world, random.Random(seed), connect, "rev1")
    await setup.log_in(login)
    await setup.do(Command(b"CREATE Copies"), *[setup.append() for _ in range(10)])
    assert setup.wire is not None
    setup.wire.hang_up()
    together = Together(clients, until, least)
    await asyncio.gather(*[client.live(login, together.ended, together.pause) for client in clients])
    await checkpoint(clients)
    for client in clients:
        assert client.wire is not None
        client.wire.hang_up()
    world.counts["checkpoints"] = together.checkpoints + 1
    return world


async def checkpoint(clients: list[Client]) -> None:
    """Nobody changes anything: all that have a mailbox selected have the same picture of it."""
    for client in clients:
        await client.do(Command(b"CHECK"))
    for client in clients:
        before = [(entry.uid, entry.flags) for entry in client.view]
        await client.settle()
        now = [(entry.uid, entry.flags) for entry in client.view]
        assert len(now) == len(before), "told late"
        for (uid, flags), (right, right_flags) in zip(before, now, strict=True):
            assert uid in (0, right) and flags in (None, right_flags), (client.kind, uid, flags, right, right_flags)
    for name in NAMES:
        there = [client for client in clients if client.box and client.box.name == name]
        pictures = [[(entry.uid, entry.flags) for entry in client.view] for client in there]
        assert all(picture == pictures[0] for picture in pictures), name
        writers = [client for client in there if client.kind != "rev2" and not client.read_only]
        if there:
            assert sum(client.recent for client in writers) <= len(there[0].view), "more recent than there are messages"


class Socket:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def line(self) -> bytes | None:
        line = await asyncio.wait_for(self.reader.readline(), 120)
        return line.removesuffix(b"\r\n") if line else None

    async def exactly(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), 120)

    def hang_up(self) -> None:
        self.writer.close()


@contextlib.asynccontextmanager
async def timed(seconds: float) -> AsyncIterator[Callable[[], bool]]:
    end = time.monotonic() + seconds
    yield lambda: time.monotonic() > end


async def main(port: str, user: str, password: str, clients: str = "30", seconds: str = "60", seed: str = "1") -> None:
    async def connect() -> Wire:
        return Socket(*await asyncio.open_connection("127.0.0.1", int(port), limit=1 << 22))

    async with timed(float(seconds)) as until:
        world = await run(connect, f'LOGIN "{user}" "{password}"'.encode(), int(clients), until, int(seed))
    for name, count in sorted(world.counts.items()):
        print(f"{count:8} {name}")
    print(f"{world.commands} commands, {world.sessions} selections, {world.token} messages: no error")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
