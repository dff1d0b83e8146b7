"""FETCH of message octets: sections, prefix, \\Seen, large messages, a client that does not read."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.dialog.server import Connection, Server, serving
from tests.unit.imapd.test_sections import FILE, PREFIX, SECTIONS

LITERAL = re.compile(rb"\{(\d+)\}$")


async def fetched(connection: Connection, text: str) -> tuple[list[bytes], bytes]:
    """(parts of the one FETCH response: lines and literals in turn; the tagged line)."""
    connection.send(b"f " + text.encode() + b"\r\n")
    parts: list[bytes] = []
    while True:
        line = await connection.line()
        assert line is not None
        if line.startswith(b"f "):
            return parts, line
        parts.append(line)
        while literal := LITERAL.search(parts[-1]):
            parts.append(await connection.exactly(int(literal[1])))
            rest = await connection.line()
            assert rest is not None
            parts.append(rest)


async def selected(server: Server, verb: str = "SELECT") -> Connection:
    connection = await server.connect()
    assert (await connection.command(f"{verb} INBOX".encode()))[-1].startswith(b"t OK")
    return connection


def test_sections_hold_prefix_and_file(tmp_path: Path) -> None:
    """RFC 9051 6.4.5.1, every section of the table."""

    async def run() -> None:
        async with serving(tmp_path) as server:
            await server.deliver("INBOX", FILE, prefix=PREFIX, flags=1)
            client = await selected(server)
            for item, expected in SECTIONS:
                parts, done = await fetched(client, f"FETCH 1 {item}")
                assert done == b"f OK FETCH completed"
                label = item.encode() if "<" not in item else item.split(".")[0].encode() + b">"
                if "<" in item:
                    label = re.sub(rb"<(\d+)\.\d+>", rb"<\1>", item.encode())
                if expected is None:
                    assert parts == [b"* 1 FETCH (" + label + b" NIL)"]
                else:
                    head = b"* 1 FETCH (%b {%d}" % (label, len(expected))
                    assert parts == [head, expected, b")"], item
            parts, _ = await fetched(client, "FETCH 1 (RFC822.SIZE)")
            assert parts == [b"* 1 FETCH (RFC822.SIZE %d)" % (len(PREFIX) + len(FILE))]

    asyncio.run(run())


def test_header_fields_are_chosen_from_prefix_and_header(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server:
            await server.deliver("INBOX", FILE, prefix=PREFIX)
            client = await selected(server, "EXAMINE")
            wanted = "BODY.PEEK[HEADER.FIELDS (return-path Subject nosuch)]"
            parts, _ = await fetched(client, f"UID FETCH 1 {wanted}")
            assert parts[1] == b"Return-Path: <>\r\nSubject: mixed\r\n\r\n"
            assert parts[2] == b")"
            parts, _ = await fetched(client, "FETCH 1 BODY[HEADER.FIELDS.NOT (Return-Path From Content-Type)]<0.9>")
            assert parts[1] == b"Subject: "
            parts, _ = await fetched(client, "FETCH 1 BODY[2.HEADER.FIELDS (SUBJECT)]")
            assert parts[1] == b"Subject: inner\r\n\r\n"

    asyncio.run(run())


def test_seen_is_set_and_told_once_with_the_octets(tmp_path: Path) -> None:
    """RFC 9051 6.4.5: only by BODY[...], and the change is in the same response; others are told as of any flag."""

    async def run() -> None:
        async with serving(tmp_path) as server:
            for _ in range(3):
                await server.deliver("INBOX", b"Subject: x\r\n\r\nhello\r\n", flags=1 if _ == 1 else 0)
            client, other = await selected(server, "SELECT"), await selected(server)
            parts, _ = await fetched(client, "FETCH 1:3 BODY.PEEK[TEXT]")
            assert [part for part in parts if b"FLAGS" in part] == []
            parts, done = await fetched(client, "FETCH 1:3 (BODY[TEXT] UID)")
            assert parts == [
                b"* 1 FETCH (BODY[TEXT] {7}",
                b"hello\r\n",
                b" UID 1 FLAGS (\\Seen \\Recent))",
                b"* 2 FETCH (BODY[TEXT] {7}",
                b"hello\r\n",
                b" UID 2)",
                b"* 3 FETCH (BODY[TEXT] {7}",
                b"hello\r\n",
                b" UID 3 FLAGS (\\Seen \\Recent))",
            ]
            assert done == b"f OK FETCH completed"
            assert await client.command(b"NOOP") == [b"t OK NOOP completed"]
            told = await other.command(b"NOOP")
            assert told == [
                b"* 1 FETCH (FLAGS (\\Seen))",
                b"* 3 FETCH (FLAGS (\\Seen))",
                b"t OK NOOP completed",
            ]

    asyncio.run(run())


def test_flags_asked_for_beside_the_octets_are_those_after_seen(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server:
            await server.deliver("INBOX", b"Subject: x\r\n\r\nhello\r\n", keywords=("kw",))
            client = await selected(server)
            parts, _ = await fetched(client, "FETCH 1 (FLAGS BODY[TEXT])")
            assert parts == [b"* 1 FETCH (FLAGS (\\Seen \\Recent kw) BODY[TEXT] {7}", b"hello\r\n", b")"]

    asyncio.run(run())


def test_a_large_message_goes_in_and_out_in_pieces(tmp_path: Path) -> None:
    """Streamed to the spool, answered when durable, read back the same; nothing stays in the spool."""
    data = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 50_000

    async def run() -> None:
        async with serving(tmp_path) as server:
            client = await server.connect()
            client.send(b"a APPEND INBOX {%d+}\r\n" % len(data))
            for start in range(0, len(data), 30_000):
                client.send(data[start : start + 30_000])
            client.send(b"\r\n")
            answer = await client.line()
            assert answer is not None and answer.startswith(b"a OK [APPENDUID "), answer
            spool = server.host.paths.spool / server.host.name
            assert not list(spool.glob("append-*"))
            await client.command(b"SELECT INBOX")
            parts, _ = await fetched(client, "FETCH 1 BODY.PEEK[]")
            assert parts[1] == data
            parts, _ = await fetched(client, "FETCH 1 BODY.PEEK[TEXT]<700000.300000>")
            assert parts[1] == data[18 + 700_000 :][:300_000]

    asyncio.run(run())


def test_a_client_that_does_not_read_holds_up_only_itself(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server:
            await server.deliver("INBOX", b"Subject: x\r\n\r\n" + b"x" * 500_000)
            slow, other = await selected(server), await selected(server)
            slow.session.pause_writing()
            slow.send(b"f FETCH 1 BODY.PEEK[]\r\nn NOOP\r\n")
            await slow.settle()
            assert await other.command(b"NOOP") == [b"t OK NOOP completed"]
            held = len(slow.wire.received)
            assert held < 300_000
            await slow.settle()
            assert len(slow.wire.received) == held
            assert not slow.wire.reading
            slow.session.resume_writing()
            for _ in range(50):
                await slow.settle()
            assert slow.wire.received.endswith(b"f OK FETCH completed\r\nn OK NOOP completed\r\n")
            assert slow.wire.reading

    asyncio.run(run())


@pytest.mark.parametrize("goes", ["flow", "end"])
def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(tmp_path: Path, goes: str) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server:
            await server.deliver("INBOX", b"Subject: x\r\n\r\n" + b"x" * 900_000)
            client = await selected(server)
            if goes == "flow":
                client.session.pause_writing()
            client.send(b"f FETCH 1 BODY.PEEK[]\r\n")
            await asyncio.sleep(0)
            client.hang_up()
            await client.settle()
            assert client.session.task is None
            assert not server.service.sessions and not server.service.hubs

    asyncio.run(run())


def test_changed_since_finds_the_changed_ones_in_any_set(tmp_path: Path) -> None:
    """RFC 7162 3.1.4.1; the few that have changed are looked up, whatever ranges the client names."""

    async def run() -> None:
        async with serving(tmp_path) as server:
            for _ in range(40):
                await server.deliver("INBOX", FILE)
            client = await selected(server)
            highest = server.engine.open("mrc").modseq()
            await client.command(b"ENABLE CONDSTORE")
            for number in (2, 3, 4, 9, 20, 31, 40):
                await client.command(b"STORE %d +FLAGS.SILENT (\\Flagged)" % number)
            for asked in ("1:*", "3:20", "1,3,5:9,21:31", "4", "10:19", "*", "2:3,31:35,40"):
                answer = await client.command(f"FETCH {asked} (FLAGS) (CHANGEDSINCE {highest})".encode())
                whole = await client.command(f"FETCH {asked} (FLAGS MODSEQ)".encode())
                modseqs = [(line, int(line.partition(b"MODSEQ (")[2].partition(b")")[0])) for line in whole[:-1]]
                assert answer[:-1] == [line for line, modseq in modseqs if modseq > highest], asked

    asyncio.run(run())
