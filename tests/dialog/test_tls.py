"""STARTTLS and implicit TLS over real sockets on loopback, on the loop that the workers use. I01, I02, S20."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trustme
import uvloop

from echomox.net.listen import Acceptors, Handshake
from tests.dialog.server import PASSWORD, USER, Server, serving

LOGIN = f"LOGIN {USER} {PASSWORD}".encode()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def command(self, text: bytes) -> list[bytes]:
        self.writer.write(b"t " + text + b"\r\n")
        return await self.answer()

    async def answer(self) -> list[bytes]:
        lines = []
        while not lines or not lines[-1].startswith(b"t "):
            line = await asyncio.wait_for(self.reader.readline(), 60)
            assert line, lines
            lines.append(line.rstrip())
        return lines

    async def start_tls(self, context: ssl.SSLContext) -> None:
        await self.writer.start_tls(context, server_hostname="localhost")


class Place:
    """A service on two ports, and clients of it."""

    def __init__(self, server: Server, authority: trustme.CA) -> None:
        self.server = server
        self.trusting = ssl.create_default_context()
        authority.configure_trust(self.trusting)

    async def open(self, context: ssl.SSLContext) -> None:
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.ports = [sock.getsockname()[1] for sock in self.sockets]
        service = self.server.service
        self.plain = await service.loop.create_server(partial(service.session, False), sock=self.sockets[0])
        self.implicit = Acceptors()
        handshake = Handshake(context, service.limits.tls_timeout, service.implicit_tls)
        self.implicit.open_tls([self.sockets[1]], handshake)

    async def connect(self, implicit: bool) -> Client:
        context = self.trusting if implicit else None
        name = "localhost" if implicit else None
        client = Client(
            *await asyncio.open_connection("127.0.0.1", self.ports[implicit], ssl=context, server_hostname=name)
        )
        self.greeting = await client.reader.readline()
        return client

    async def close(self) -> None:
        self.plain.close()
        await self.implicit.close()


def played(tmp_path: Path, play: Callable[[Place], Awaitable[None]], **limits: int) -> None:
    async def run() -> None:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        async with serving(tmp_path, context, **limits) as server:
            place = Place(server, authority)
            await place.open(context)
            try:
                await play(place)
            finally:
                await place.close()

    uvloop.run(run())


def test_login_needs_tls_and_capabilities_say_so(tmp_path: Path) -> None:
    async def play(place: Place) -> None:
        client = await place.connect(False)
        assert b"STARTTLS LOGINDISABLED]" in place.greeting
        answer = await client.command(b"CAPABILITY")
        assert answer[0].endswith(b" STARTTLS LOGINDISABLED") and b"AUTH=" not in answer[0]
        assert (await client.command(LOGIN))[0].startswith(b"t NO [PRIVACYREQUIRED]")
        assert (await client.command(b"AUTHENTICATE PLAIN"))[0].startswith(b"t NO [PRIVACYREQUIRED]")
        assert await client.command(b"STARTTLS") == [b"t OK Begin TLS negotiation now"]
        await client.start_tls(place.trusting)
        answer = await client.command(b"CAPABILITY")
        assert b"STARTTLS" not in answer[0] and b"LOGINDISABLED" not in answer[0] and b"AUTH=PLAIN" in answer[0]
        assert (await client.command(b"STARTTLS"))[0].startswith(b"t BAD")
        assert (await client.command(LOGIN))[0].startswith(b"t OK [CAPABILITY IMAP4rev1 ")
        assert (await client.command(b"SELECT INBOX"))[-1].startswith(b"t OK")

    played(tmp_path, play)


def test_what_came_before_the_handshake_is_forgotten(tmp_path: Path) -> None:
    """S20: a command put behind STARTTLS by somebody in between is never run."""

    async def play(place: Place) -> None:
        client = await place.connect(False)
        client.writer.write(b"t STARTTLS\r\nx LOGIN mallory secret\r\nx NO")
        assert await client.answer() == [b"t OK Begin TLS negotiation now"]
        await client.start_tls(place.trusting)
        assert await client.command(b"NOOP") == [b"t OK NOOP completed"]
        assert "logins_failed_imap_login" not in place.server.host.counts

    played(tmp_path, play)


def test_implicit_tls(tmp_path: Path) -> None:
    async def play(place: Place) -> None:
        client = await place.connect(True)
        assert place.greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ") and b"STARTTLS" not in place.greeting
        assert (await client.command(LOGIN))[0].startswith(b"t OK")
        data = b"Subject: large\r\n\r\n" + b"x" * 300_000
        client.writer.write(b"t APPEND INBOX {%d+}\r\n%b\r\n" % (len(data), data))
        assert (await client.answer())[0].startswith(b"t OK [APPENDUID")
        await client.command(b"SELECT INBOX")
        client.writer.write(b"t FETCH 1 BODY.PEEK[]\r\n")
        assert await client.reader.readline() == b"* 1 FETCH (BODY[] {%d}\r\n" % len(data)
        assert await client.reader.readexactly(len(data)) == data
        assert await client.answer() == [b")", b"t OK FETCH completed"]
        assert (await client.command(b"LOGOUT"))[-1] == b"t OK LOGOUT completed"
        assert await client.reader.read() == b""

    played(tmp_path, play)


@pytest.mark.parametrize("implicit", [False, True])
def test_a_handshake_that_fails_ends_the_connection_and_gives_back_its_place(tmp_path: Path, implicit: bool) -> None:
    async def play(place: Place) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.ports[implicit])
        if not implicit:
            await reader.readline()
            writer.write(b"t STARTTLS\r\n")
            await reader.readline()
        writer.write(b"this is no client hello, nothing like it\r\n")
        await asyncio.wait_for(reader.read(), 60)
        writer.close()
        while place.server.service.sessions:
            await asyncio.sleep(0.01)
        client = await place.connect(True)  # one is allowed, and free
        assert (await client.command(b"NOOP")) == [b"t OK NOOP completed"]

    played(tmp_path, play, connections_per_ip=1)


def test_a_connection_over_the_limit_is_closed_before_its_handshake(tmp_path: Path) -> None:
    async def play(place: Place) -> None:
        await place.connect(False)
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await place.connect(True)

    played(tmp_path, play, connections_per_ip=1)
