"""BINARY (RFC 3516): the parts without their transfer encoding, their sizes, and what cannot be decoded."""

from __future__ import annotations

import asyncio
from base64 import encodebytes
from pathlib import Path

from tests.dialog.server import Connection, serving

NUL = b"a\0b" * 7
LARGE = bytes(range(256)) * 4096
MESSAGE = (
    b"From: a@example.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=C3=BC=\r\n\xc3\x9fe\r\n"
    b"--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n%b\r\n"
    b"--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n%b\r\n"
    b"--x\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-strange\r\n\r\nhow?\r\n--x--\r\n"
) % (encodebytes(NUL).replace(b"\n", b"\r\n"), encodebytes(LARGE).replace(b"\n", b"\r\n"))


async def answer(connection: Connection, text: bytes) -> bytes:
    """All octets up to the tagged line."""
    connection.send(b"t " + text + b"\r\n")
    data = b""
    while not (data.rpartition(b"\r\n")[0].rpartition(b"\r\n")[2].startswith(b"t ") and data.endswith(b"\r\n")):
        data += await connection.exactly(1)
        data += bytes(connection.wire.received)
        connection.wire.received.clear()
    return data


def test_parts_come_decoded(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:
            await server.deliver("INBOX", MESSAGE)
            connection = await server.connect()
            await connection.command(b"EXAMINE INBOX")
            text = "Grü".encode() + "ße".encode()
            got = await answer(connection, b"FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1])")
            shown = b"BINARY.SIZE[1] %d BINARY[1] {%d}\r\n%b" % (len(text), len(text), text)
            assert got.startswith(b"* 1 FETCH (%b)\r\n" % shown)
            got = await answer(connection, b"FETCH 1 BINARY[2]")
            assert got.startswith(b"* 1 FETCH (BINARY[2] ~{%d}\r\n%b)\r\nt OK" % (len(NUL), NUL))
            got = await answer(connection, b"FETCH 1 BINARY[2]<3.4>")
            assert got.startswith(b"* 1 FETCH (BINARY[2]<3> ~{4}\r\n%b)\r\nt OK" % NUL[3:7])
            got = await answer(connection, b"FETCH 1 BINARY[3]")
            assert got.startswith(b"* 1 FETCH (BINARY[3] ~{%d}\r\n%b)\r\nt OK" % (len(LARGE), LARGE))
            got = await answer(connection, b"FETCH 1 (BINARY.SIZE[9] BINARY[9])")
            assert got.startswith(b"* 1 FETCH (BINARY.SIZE[9] 0 BINARY[9] NIL)\r\nt OK")
            got = await answer(connection, b"FETCH 1 BINARY[4]")
            assert got.startswith(b"t NO [UNKNOWN-CTE] ")
            got = await answer(connection, b"FETCH 1 BINARY.SIZE[]")
            assert got.startswith(b"* 1 FETCH (BINARY.SIZE[] %d)\r\n" % server.engine.open("mrc").content(1).size)

    asyncio.run(play())


def test_binary_sets_seen_and_peek_does_not(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:
            await server.deliver("INBOX", MESSAGE)
            connection = await server.connect()
            await connection.command(b"SELECT INBOX")
            assert b"\\Seen" not in await answer(connection, b"FETCH 1 BINARY.PEEK[2]")
            assert b"FLAGS (\\Seen \\Recent)" in await answer(connection, b"FETCH 1 BINARY[2]")

    asyncio.run(play())
