"""COMPRESS=DEFLATE (RFC 4978): both directions, in pieces, what is hostile, and what stays as it is."""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path

import pytest

from echomox.imapd.deflate import FLUSHED
from tests.dialog.server import Connection, Server, serving


class Compressed:
    """A client that speaks through zlib."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._out = zlib.compressobj(9, zlib.DEFLATED, -15)
        self._in = zlib.decompressobj(-15)
        self.text = b""

    def wire(self, data: bytes) -> bytes:
        return self._out.compress(data) + self._out.flush(zlib.Z_SYNC_FLUSH)

    async def until(self, tag: bytes) -> bytes:
        """All up to the tagged line: everything that was said is on the wire, nothing waits in the compressor."""
        while tag + b" " not in self.text or not self.text.endswith(b"\r\n"):
            self.text += self._in.decompress(await self.connection.exactly(1))
            self.text += self._in.decompress(bytes(self.connection.wire.received))
            self.connection.wire.received.clear()
        text, self.text = self.text, b""
        return text


async def compressed(server: Server) -> Compressed:
    connection = await server.connect()
    lines = await connection.command(b"COMPRESS DEFLATE")
    assert lines == [b"t OK DEFLATE active"]
    return Compressed(connection)


def test_commands_and_answers_are_compressed(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:
            await server.deliver("INBOX", b"Subject: x\r\n\r\n" + b"the same again\r\n" * 2000)
            client = await compressed(server)
            client.connection.send(client.wire(b"a SELECT INBOX\r\nb FETCH 1 BODY.PEEK[]\r\n"))
            await client.connection.settle()
            assert len(client.connection.wire.received) < 2000
            text = await client.until(b"b")
            assert text.count(b"the same again") == 2000 and text.endswith(b"b OK FETCH completed\r\n")

    asyncio.run(play())


def test_octet_by_octet(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:
            client = await compressed(server)
            for octet in client.wire(b"a NOOP\r\n"):
                client.connection.send(bytes((octet,)))
            assert await client.until(b"a") == b"a OK NOOP completed\r\n"

    asyncio.run(play())


def test_it_is_switched_on_once(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:
            client = await compressed(server)
            client.connection.send(client.wire(b"a COMPRESS DEFLATE\r\n"))
            assert (await client.until(b"a")).startswith(b"a NO [COMPRESSIONACTIVE] ")
            connection = await server.connect()
            assert (await connection.command(b"COMPRESS LZ4"))[0].startswith(b"t BAD ")

    asyncio.run(play())


def test_what_cannot_be_inflated_ends_the_connection(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:
            client = await compressed(server)
            client.connection.send(b"\xff" * 100)
            await client.connection.settle()
            assert client.connection.wire.closed

    asyncio.run(play())


def test_a_bomb_is_inflated_in_small_pieces(tmp_path: Path) -> None:
    """50 MB of one line in 50 KB: the line's limit ends it long before."""

    async def play() -> None:
        async with serving(tmp_path) as server:
            client = await compressed(server)
            client.connection.send(client.wire(b"a NOOP " + b"x" * 50_000_000))
            await client.connection.settle()
            deflate = client.connection.session.deflate
            assert client.connection.wire.closed
            assert deflate is not None and len(deflate._waiting) > 40_000

    asyncio.run(play())


def test_a_message_may_be_compressed(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:
            client = await compressed(server)
            message = b"Subject: large\r\n\r\n" + b"0123456789abcde\r\n" * 20_000
            client.connection.send(client.wire(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(message), message)))
            assert b"a OK [APPENDUID" in await client.until(b"a")
            content = server.engine.open("mrc").content(1)
            assert content.read() == message
            content.close()

    asyncio.run(play())


@pytest.mark.parametrize("pieces", (1, 2, 3, 4, 5, 1000), ids="in {} pieces".format)
@pytest.mark.parametrize("mode", (zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH))
def test_unauthenticate_ends_it(tmp_path: Path, mode: int, pieces: int) -> None:
    """RFC 8437 4.1: both directions are plain behind the CRLF, and the next login may come with the command."""

    async def play() -> None:
        async with serving(tmp_path) as server:
            client = await compressed(server)
            out = zlib.compressobj(9, zlib.DEFLATED, -15)
            wire = out.compress(b"a NOOP\r\nb UNAUTHENTICATE\r\n") + out.flush(mode)
            plain = b"c LOGIN mrc@example.test secret\r\nd STARTTLS\r\n"
            if pieces == 1000:
                for octet in wire + plain:
                    client.connection.send(bytes((octet,)))
            else:
                cut = len(wire) - pieces + 1  # within the marker of the flush, but for one piece
                for part in (wire[:cut], wire[cut:] + plain) if pieces > 1 else (wire + plain,):
                    client.connection.send(part)
            text, wire = b"", b""
            while not (text.endswith(b"b OK UNAUTHENTICATE completed\r\n") and wire.endswith(FLUSHED)):
                wire += await client.connection.exactly(1)
                text += client._in.decompress(wire[-1:])
            assert (await client.connection.line() or b"").startswith(b"c OK [CAPABILITY ")
            assert (await client.connection.line() or b"").startswith(b"d BAD ")
            lines = await client.connection.command(b"COMPRESS DEFLATE")
            assert lines == [b"t OK DEFLATE active"]
            again = Compressed(client.connection)
            client.connection.send(again.wire(b"e NOOP\r\n"))
            assert await again.until(b"e") == b"e OK NOOP completed\r\n"

    asyncio.run(play())


def test_a_stream_that_the_client_has_ended_is_an_error(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:
            client = await compressed(server)
            out = zlib.compressobj(9, zlib.DEFLATED, -15)
            client.connection.send(out.compress(b"a NOOP\r\n") + out.flush(zlib.Z_FINISH))
            assert await client.until(b"a") == b"a OK NOOP completed\r\n"
            client.connection.send(b"b NOOP\r\n")
            await client.connection.settle()
            assert client.connection.wire.closed

    asyncio.run(play())
