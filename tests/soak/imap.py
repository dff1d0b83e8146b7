"""An IMAP client that keeps the view which the server tells it of, and little else.

Commands are given without a tag; `run` returns the untagged answers, literals in place. A command that is refused
raises Refused, a server that goes away EOFError or OSError.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from dataclasses import dataclass, field

LIMIT = 90.0
LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
NUMBERED = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)\b")
UID = re.compile(rb"\bUID (\d+)")
FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)")


class Refused(Exception):
    """NO or BAD."""


@dataclass
class Entry:
    uid: int = 0
    flags: frozenset[bytes] | None = None


@dataclass
class Imap:
    """view: the selected mailbox's messages as told. code: of the last command's answer."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    view: list[Entry] = field(default_factory=list)
    code: bytes = b""
    _tags: int = 0
    _buffer: bytes = b""
    _inflate: zlib._Decompress | None = None
    _deflate: zlib._Compress | None = None

    @classmethod
    async def connect(cls, port: int, address: str, password: str, *enable: bytes) -> Imap:
        opening = asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
        client = cls(*await asyncio.wait_for(opening, LIMIT))
        try:
            await client.line()
            await client.run(f"LOGIN {address} {password}".encode())
            for word in enable:
                await client.run(word)
                if word.startswith(b"COMPRESS"):
                    client._inflate = zlib.decompressobj(-15)
                    client._deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        except BaseException:
            client.close()
            raise
        return client

    def close(self) -> None:
        self.writer.close()

    # -- bytes

    def send(self, data: bytes) -> None:
        if self._deflate:
            data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self.writer.write(data)

    async def _fill(self, limit: float) -> None:
        data = await asyncio.wait_for(self.reader.read(1 << 18), limit)
        if not data:
            raise EOFError
        self._buffer += self._inflate.decompress(data) if self._inflate else data

    async def line(self, limit: float = LIMIT) -> bytes:
        """One answer, its literals in place."""
        whole, at = b"", 0
        while True:
            while (end := self._buffer.find(b"\r\n", at)) < 0:
                at = max(len(self._buffer) - 1, 0)
                await self._fill(limit)
            whole, self._buffer = whole + self._buffer[: end + 2], self._buffer[end + 2 :]
            found = LITERAL.search(whole, max(len(whole) - 24, 0))
            if not found:
                return whole[:-2]
            size, at = int(found[1]), 0
            while len(self._buffer) < size:
                await self._fill(limit)
            whole, self._buffer = whole + self._buffer[:size], self._buffer[size:]

    # -- commands

    async def run(self, command: bytes) -> list[bytes]:
        """Raises Refused."""
        self._tags += 1
        self.send(b"c%d %b\r\n" % (self._tags, command))
        return await self.answer(command)

    async def answer(self, command: bytes) -> list[bytes]:
        found: list[bytes] = []
        tag = b"c%d " % self._tags
        while True:
            line = await self.line()
            if line.startswith(tag):
                self.code = line[len(tag) :]
                if not self.code.startswith(b"OK"):
                    raise Refused(f"{command[:80]!r}: {self.code[:200]!r}")
                return found
            self.believe(line)
            found.append(line)

    async def select(self, box: bytes, parameters: bytes = b"", view: list[Entry] | None = None) -> list[bytes]:
        self.view = view or []
        return await self.run(b"SELECT %b%b" % (box, parameters))

    async def idle(self, seconds: float) -> bool:
        """Until something is told, or for so long; whether something was."""
        self._tags += 1
        self.send(b"c%d IDLE\r\n" % self._tags)
        told = False
        while not (line := await self.line()).startswith(b"+"):
            self.believe(line)
            told = True
        try:
            if not told:
                self.believe(await self.line(seconds))
            told = True
        except TimeoutError:
            pass
        self.send(b"DONE\r\n")
        await self.answer(b"IDLE")
        return told

    async def uids(self, program: bytes = b"ALL") -> list[int]:
        for line in await self.run(b"UID SEARCH " + program):
            if line.startswith(b"* SEARCH"):
                return [int(word) for word in line.split()[2:]]
            if line.startswith(b"* ESEARCH") and b" ALL " in line:
                return numbers(line.rpartition(b" ALL ")[2])
        return []

    # -- the view

    def believe(self, line: bytes) -> None:
        if line.startswith(b"* BYE"):
            raise EOFError
        if line.startswith(b"* VANISHED"):
            gone = set(numbers(line.rpartition(b" ")[2]))
            self.view = [entry for entry in self.view if entry.uid not in gone]
            return
        found = NUMBERED.match(line)
        if not found:
            return
        number = int(found[1])
        if found[2] == b"EXISTS":
            self.view += [Entry() for _ in range(number - len(self.view))]
        elif not 0 < number <= len(self.view):
            raise AssertionError(f"no such message in the view of {len(self.view)}: {line[:80]!r}")
        elif found[2] == b"EXPUNGE":
            del self.view[number - 1]
        else:
            self._fetched(self.view[number - 1], line)

    @staticmethod
    def _fetched(entry: Entry, line: bytes) -> None:
        head = line.partition(b"\r\n")[0]
        if uid := UID.search(head):
            if entry.uid not in (0, int(uid[1])):
                raise AssertionError(f"message {entry.uid} is told of as {head!r}")
            entry.uid = int(uid[1])
        if flags := FLAGS.search(head):
            entry.flags = frozenset(flags[1].split()) - {b"\\Recent"}

    async def settle(self) -> list[tuple[int, frozenset[bytes] | None]]:
        """Hears what there is, asks for what it was never told, and tells what it then believes."""
        await self.run(b"NOOP")
        unknown = [
            str(place).encode() for place, entry in enumerate(self.view, 1) if not entry.uid or entry.flags is None
        ]
        for start in range(0, len(unknown), 500):
            await self.run(b"FETCH %b (UID FLAGS)" % b",".join(unknown[start : start + 500]))
        return [(entry.uid, entry.flags) for entry in self.view]


def numbers(text: bytes) -> list[int]:
    found: list[int] = []
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        found += range(int(low), int(high or low) + 1)
    return found
