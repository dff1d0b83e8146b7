"""The life of a connection: limits, deadlines, drain, troubles, order."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from echomox.imapd.command import SELECTED, Command, Rule
from tests.dialog.server import Connection, Server, serving

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


async def selected(server: Server) -> Connection:
    connection = await server.connect()
    assert (await connection.command(b"SELECT INBOX"))[-1].startswith(b"t OK")
    return connection


def pass_time(server: Server, seconds: float) -> None:
    """The service's clock jumps."""
    time = server.service.now() + seconds
    server.service.now = lambda: time
    server.service.tick()


def test_pipelined_commands_are_answered_in_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server:
            client = await server.connect()
            client.send(b"a SELECT INBOX\r\nb APPEND INBOX {4+}\r\na: b\r\nc NOOP\r\n")
            client.send(b"d FETCH 1 UID\r\ne LOGOUT\r\nf NOOP\r\n")
            tags = []
            while (line := await client.line()) is not None:
                if not line.startswith(b"*"):
                    tags.append(line.split()[:2])
            assert tags == [[tag, b"OK"] for tag in (b"a", b"b", b"c", b"d", b"e")]

    asyncio.run(run())


def test_a_burst_of_commands_lets_others_live(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server:
            busy, other = await server.connect(), await server.connect()
            busy.send(b"a NOOP\r\n" * 5000)
            assert await other.command(b"NOOP") == [b"t OK NOOP completed"]
            assert busy.wire.received.count(b"\r\n") < 5000
            while busy.wire.received.count(b"\r\n") < 5000:
                await asyncio.sleep(0)

    asyncio.run(run())


def test_bytes_in_any_cut_give_the_same_session(tmp_path: Path) -> None:
    script = b"a SELECT INBOX\r\nb APPEND INBOX (\\Seen) {4+}\r\na: b\r\nc FETCH 1 (FLAGS BODY[])\r\nd LOGOUT\r\n"

    async def run() -> None:
        async with serving(tmp_path) as server:
            answers: list[list[bytes]] = []
            changing = re.compile(rb"UIDVALIDITY|MODSEQ|UID |MAILBOXID")
            for mailbox in (b"One", b"Two"):
                client = await server.connect()
                await client.command(b"CREATE " + mailbox)
                data = script.replace(b"INBOX", mailbox)
                if mailbox == b"One":
                    client.send(data)
                else:
                    for n in range(len(data)):
                        client.send(data[n : n + 1])
                        await asyncio.sleep(0)
                lines = []
                while (line := await client.line()) is not None:
                    lines.append(line)
                answers.append([line for line in lines if not changing.search(line)])
            assert answers[0] == answers[1]

    asyncio.run(run())


def test_login_has_a_time_limit(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server:
            client = await server.connect(login=False)
            pass_time(server, 30)
            assert not client.wire.closed
            client.send(b"a NOOP\r\n")  # does not lengthen it
            await client.line()
            pass_time(server, 40)
            line = await client.line()
            assert line is not None and line.startswith(b"* BYE [UNAVAILABLE]")
            assert await client.line() is None

    asyncio.run(run())


def test_a_command_renews_the_time_after_login(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server:
            client = await server.connect()
            pass_time(server, 1000)
            await client.command(b"NOOP")
            pass_time(server, 1000)
            assert not client.wire.closed
            pass_time(server, 1000)
            assert await client.line() == b"* BYE [UNAVAILABLE] Idle for too long"

    asyncio.run(run())


def test_an_unexpected_exception_is_serverbug_and_the_session_goes_on(tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    async def run() -> None:
        async with serving(tmp_path) as server:
            client = await selected(server)
            row = server.service.rows["CHECK"]
            server.service.rows = {
                **server.service.rows,
                "CHECK": Command("CHECK", SELECTED, Rule.NONE, (), row.parse, broken),
            }
            assert await client.command(b"CHECK") == [b"t NO [SERVERBUG] Internal error, try again later"]
            assert await client.command(b"NOOP") == [b"t OK NOOP completed"]
            lines = server.host.log.sink.lines  # type: ignore[attr-defined]
            assert any("ZeroDivisionError: oops" in line and "cid=" in line for line in lines)
            lines.clear()

    asyncio.run(run())


def test_idle_is_limited_by_address(tmp_path: Path) -> None:
    """I06: the one too many is refused with a clear text, and is free again after DONE."""

    async def run() -> None:
        async with serving(tmp_path, idle_per_ip=2) as server:
            clients = [await server.connect() for _ in range(3)]
            for client in clients[:2]:
                client.send(b"i IDLE\r\n")
                assert await client.line() == b"+ idling"
            assert await clients[2].command(b"IDLE") == [
                b"t NO [LIMIT] Too many IDLE commands from your address, end another one first"
            ]
            clients[0].send(b"DONE\r\n")
            assert await clients[0].line() == b"i OK IDLE completed"
            clients[1].hang_up()
            for client in (clients[0], clients[2]):
                client.send(b"i IDLE\r\n")
                assert await client.line() == b"+ idling"
            assert server.host.counts["imap_idle"] == 2

    asyncio.run(run())


def test_connections_are_limited_by_address(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, connections_per_ip=2) as server:
            clients = [Connection(server.service) for _ in range(3)]
            line = await clients[2].line()
            assert line is not None and line.startswith(b"* BYE ")
            assert await clients[2].line() is None
            await clients[2].settle()
            clients[0].hang_up()
            again = await server.connect()
            assert await again.command(b"NOOP") == [b"t OK NOOP completed"]

    asyncio.run(run())


def test_drain_lets_a_command_end_and_says_bye(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server:
            idle, busy = await server.connect(), await server.connect()
            idle.send(b"i IDLE\r\n")
            await idle.line()
            busy.send(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE))
            draining = asyncio.ensure_future(server.service.drain(0.0))
            answer = await busy.line()
            assert answer is not None and answer.startswith(b"a OK [APPENDUID")
            for client in (busy, idle):
                line = await client.line()
                assert line is not None and line.startswith(b"* BYE [UNAVAILABLE]")
                assert await client.line() is None
            await draining
            assert not server.service.sessions

    asyncio.run(run())


def test_an_idler_hears_of_another_process_by_the_bell_and_without_one_by_the_poll(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server:
            client = await selected(server)
            client.send(b"i IDLE\r\n")
            assert await client.line() == b"+ idling"
            server.engine.on_change = lambda account, modseq: None  # the write is another process's
            await server.deliver("INBOX", MESSAGE)
            await client.settle()
            assert not client.wire.received
            server.bells.ring("mrc", server.engine.open("mrc").modseq())
            assert await client.line() == b"* 1 EXISTS"
            assert await client.line() == b"* 1 RECENT"
            await server.deliver("INBOX", MESSAGE)
            server.service._next_poll = 0.0
            server.service.tick()
            assert await client.line() == b"* 2 EXISTS"

    asyncio.run(run())


def test_nothing_of_a_session_stays_when_it_ends(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server:
            for _ in range(3):
                client = await selected(server)
                client.send(b"i IDLE\r\n")
                await client.line()
                client.hang_up()
            await client.settle()
            assert not server.service.sessions and not server.service.hubs and not len(server.service.wheel)
            assert not any(server.bells.callbacks.values())

    asyncio.run(run())


@pytest.mark.parametrize("size", [15_000, 70_000])
def test_quota_holds_for_append(tmp_path: Path, size: int) -> None:
    data = b"Subject: x\r\n\r\n" + b"x" * size

    async def run() -> None:
        async with serving(tmp_path) as server:
            client = await server.connect(login=False)
            await client.command(b"LOGIN other@example.test secret")
            answers = []
            for _ in range(2):
                client.send(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(data), data))
                answers.append((await client.line() or b"")[:18])
            assert answers == [b"a OK [APPENDUID 17" if size < 20_000 else b"a NO [OVERQUOTA] O", b"a NO [OVERQUOTA] O"]

    asyncio.run(run())
