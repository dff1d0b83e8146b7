"""The host outside that relayed mail goes to, in changing moods: well, slow, greylisting, cutting, down.

arrived: tokens of what it has said 250 to, by recipient. unsure: of what it took and cut the connection before the
answer had gone: the sender must send that again. Recipients that begin with "no-" are refused for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from tests.soak.letters import token_of
from tests.soak.world import World

MOODS = ("well", "well", "well", "slow", "greylisting", "cutting", "down")
SLOW = 1.5


class Sink:
    def __init__(self, world: World) -> None:
        self.world = world
        self.arrived: Counter[tuple[str, int]] = Counter()
        self.unsure: Counter[tuple[str, int]] = Counter()
        self.refused: Counter[str] = Counter()
        self.mood = "well"
        self._met: set[bytes] = set()
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.StreamWriter] = set()

    async def be(self, mood: str) -> None:
        self.mood = mood
        if mood == "down":
            await self.close()
        elif self._server is None:
            self._server = await asyncio.start_server(self._session, "127.0.0.1", self.world.site.sink, limit=1 << 22)

    async def close(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        for writer in list(self._sessions):
            writer.close()

    async def change(self) -> None:
        """A load: moods, one after the other."""
        await self.be(self.world.dice.choice(MOODS))
        self.world.counts[f"sink: {self.mood}"] += 1
        await self.world.sleep(self.world.dice.uniform(5, 20))

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sessions.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError, ValueError):
                await self._talk(reader, writer)
        finally:
            self._sessions.discard(writer)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink.example ESMTP\r\n")
        recipients: list[str] = []
        while line := await reader.readline():
            verb = line[:4].upper().strip()
            if self.mood == "slow":
                await asyncio.sleep(SLOW)
            if verb == b"EHLO":
                writer.write(b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
            elif verb == b"RCPT":
                writer.write(self._recipient(line, recipients))
            elif verb == b"DATA":
                if not recipients:
                    writer.write(b"503 5.5.1 nobody to send it to\r\n")
                    continue
                writer.write(b"354 go on\r\n")
                if not self._take(await reader.readuntil(b"\r\n.\r\n"), recipients):
                    return
                writer.write(b"250 2.0.0 taken\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                return
            else:
                writer.write(b"250 2.0.0 well\r\n")
            if verb in (b"MAIL", b"RSET"):
                recipients = []
            await writer.drain()

    def _recipient(self, line: bytes, recipients: list[str]) -> bytes:
        address = line.partition(b"<")[2].partition(b">")[0].decode()
        if address.startswith("no-"):
            self.refused[address] += 1
            return b"550 5.1.1 not here\r\n"
        if self.mood == "greylisting" and self.world.dice.random() < 0.5:
            return b"451 4.7.1 come again\r\n"
        recipients.append(address)
        return b"250 2.1.5 well\r\n"

    def _take(self, data: bytes, recipients: list[str]) -> bool:
        """False: the connection is to be cut, the text taken or not."""
        data = data[:-3].replace(b"\r\n..", b"\r\n.")
        token = token_of(data)
        if token and not self.world.letters.is_whole(data):
            self.world.trouble(f"sink: letter {token} is not what was sent")
        cut = self.mood == "cutting" and self.world.dice.random() < 0.5
        for address in recipients:
            (self.unsure if cut else self.arrived)[address, token] += 1
        return not cut
