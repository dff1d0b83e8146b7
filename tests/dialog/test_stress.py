"""Several clients on one mailbox, each believing only what it is told: at the end all have the store's picture. I05."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path

import pytest

from tests.dialog.server import Connection, Server, serving

STEPS = 150
EXISTS = re.compile(rb"\* (\d+) EXISTS")
EXPUNGE = re.compile(rb"\* (\d+) EXPUNGE")
VANISHED = re.compile(rb"\* VANISHED ([\d:,]+)")
FETCH = re.compile(rb"\* (\d+) FETCH \((.*)\)")
FORBIDDEN = (b"FETCH", b"STORE", b"SEARCH")


class Client:
    """What it knows: a list of [uid or 0, flags or None], by sequence number."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.known: list[list[object]] = []

    async def do(self, command: bytes) -> bytes:
        """Runs one command and believes its answer."""
        lines = await self.connection.command(command)
        for line in lines[:-1]:
            if EXPUNGE.match(line) or VANISHED.match(line):
                assert not command.startswith(FORBIDDEN), (command, line)
            self.believe(line)
        assert lines[-1].startswith((b"t OK", b"t NO")), (command, lines)
        return lines[-1]

    def believe(self, line: bytes) -> None:
        if match := EXISTS.match(line):
            count = int(match[1])
            assert count >= len(self.known), "only EXPUNGE makes a mailbox smaller"
            self.known += [[0, None] for _ in range(count - len(self.known))]
        elif match := EXPUNGE.match(line):
            del self.known[int(match[1]) - 1]
        elif match := VANISHED.match(line):
            for part in match[1].split(b","):
                low, _, high = part.partition(b":")
                for uid in range(int(low), int(high or low) + 1):
                    self.vanish(uid)
        elif match := FETCH.match(line):
            entry = self.known[int(match[1]) - 1]
            if uid := re.search(rb"UID (\d+)", match[2]):
                assert entry[0] in (0, int(uid[1])), "a number has got another message"
                entry[0] = int(uid[1])
            if flags := re.search(rb"FLAGS \(([^)]*)\)", match[2]):
                entry[1] = frozenset(flags[1].split()) - {b"\\Recent"}

    async def step(self, dice: random.Random) -> None:
        count = len(self.known)
        kind = dice.choice(
            ("append", "store", "store", "silent", "delete", "expunge", "noop", "fetch", "move", "search")
        )
        pick = b"%d" % dice.randint(1, count) if count else b""
        if kind == "append" or not count:
            await self.do(b"APPEND INBOX {4+}\r\na: b")
        elif kind == "store":
            flag = dice.choice((b"\\Seen", b"\\Flagged", b"kw"))
            await self.do(b"STORE %b %bFLAGS (%b)" % (pick, dice.choice((b"+", b"-", b"")), flag))
        elif kind == "silent":
            await self.silent(pick)
        elif kind == "delete":
            await self.do(b"STORE %b +FLAGS (\\Deleted)" % pick)
        elif kind == "move":
            await self.do(b"MOVE %b Trash" % pick)
        else:
            commands = {
                "expunge": b"EXPUNGE",
                "noop": b"NOOP",
                "fetch": b"FETCH 1:* (UID FLAGS)",
                "search": b"SEARCH ALL",
            }
            await self.do(commands[kind])

    def vanish(self, uid: int) -> None:
        """One whose UID it has not asked for yet is one of those without."""
        known = [place for place, entry in enumerate(self.known) if entry[0] == uid]
        unknown = [place for place, entry in enumerate(self.known) if entry[0] == 0]
        del self.known[(known or unknown)[0]]

    async def silent(self, pick: bytes) -> None:
        """The client knows what it did itself."""
        entry = self.known[int(pick) - 1]
        entry[1] = frozenset({b"\\Answered"}) if entry[1] is not None else None
        await self.do(b"STORE %b FLAGS.SILENT (\\Answered)" % pick)


async def begin(server: Server, number: int) -> Client:
    client = Client(await server.connect(), number)
    if number == 2:
        await client.connection.command(b"ENABLE QRESYNC")
    await client.do(b"SELECT INBOX")
    await client.do(b"FETCH 1:* (UID FLAGS)")
    return client


@pytest.mark.parametrize("seed", range(4))
def test_all_clients_end_with_the_same_picture(tmp_path: Path, seed: int) -> None:
    async def run() -> None:
        dice = random.Random(seed)
        async with serving(tmp_path) as server:
            for _ in range(5):
                await server.deliver("INBOX", b"Subject: x\r\n\r\n")
            clients = [await begin(server, number) for number in range(3)]
            for _ in range(STEPS):
                client = dice.choice(clients)
                await client.step(dice)
                if dice.random() < 0.3:  # it asks for what is new, as real clients do
                    await client.do(b"FETCH 1:* (UID FLAGS)")
            for client in clients:
                await client.do(b"NOOP")
            for client in clients:
                before = [list(entry) for entry in client.known]
                await client.do(b"FETCH 1:* (UID FLAGS)")
                for old, new in zip(before, client.known, strict=True):
                    assert old[0] in (0, new[0]) and old[1] in (None, new[1])
            pictures = [client.known for client in clients]
            assert pictures[0] == pictures[1] == pictures[2]

    asyncio.run(run())
