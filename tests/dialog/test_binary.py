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
            got = await answer(connection, b"FETCH 1 (BINARY[2]<3> BODY[1]<5>)")  # all from there on
            raw = b"Gr=C3=BC=\r\n\xc3\x9fe"[5:]
            rest = b"BINARY[2]<3> ~{%d}\r\n%b BODY[1]<5> {%d}\r\n%b)" % (len(NUL) - 3, NUL[3:], len(raw), raw)
            assert rest in got
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


WITH_NUL = (
    b"Subject: a\0b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\n\r\ntext\r\n--x\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n%b\r\n--x--\r\n"
)


def test_nul_stands_in_no_literal(tmp_path: Path) -> None:
    """RFC 9051 9, rule 3: in a literal8 only, however the mail came and whatever of it is asked for."""
    mail = WITH_NUL % NUL
    shown = mail.replace(b"\0", b"\x80")

    async def play() -> None:
        async with serving(tmp_path) as server:
            await server.deliver("INBOX", mail)
            connection = await server.connect()
            await connection.command(b"EXAMINE INBOX")
            assert b"* 1 FETCH (BODY[] {%d}\r\n%b)\r\n" % (len(shown), shown) in await answer(
                connection, b"FETCH 1 BODY.PEEK[]"
            )
            assert b"{16}\r\nSubject: a\x80b\r\n\r\n)" in await answer(
                connection, b"FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject)]"
            )
            asked = b"FETCH 1 (RFC822 BODY.PEEK[2]<3.9> RFC822.HEADER RFC822.TEXT ENVELOPE BODYSTRUCTURE PREVIEW)"
            assert b"\0" not in await answer(connection, asked)
            got = await answer(connection, b"FETCH 1 BINARY.PEEK[2]")
            assert b"BINARY[2] ~{%d}\r\n%b)" % (len(NUL), NUL) in got

    asyncio.run(play())


def test_a_literal8_becomes_what_all_clients_can_fetch(tmp_path: Path) -> None:
    """RFC 3516 4.4 and 6: the transfer encoding may change, no data may be lost, and BODY[...] is what BODYSTRUCTURE
    describes; the small one is held in memory, the large one comes by way of a file."""

    async def play() -> None:
        async with serving(tmp_path) as server:
            connection = await server.connect()
            await connection.command(b"SELECT INBOX")
            for number, octets in enumerate((NUL, LARGE[: 1 << 18]), 1):
                mail = WITH_NUL.replace(b"a\0b", b"ab") % octets
                got = await answer(connection, b"APPEND INBOX ~{%d+}\r\n%b" % (len(mail), mail))
                assert b"\r\nt OK [APPENDUID " in got
                got = await answer(connection, b"FETCH %d (BODYSTRUCTURE BINARY.SIZE[2])" % number)
                assert b'("image" "x" NIL NIL NIL "base64" %d ' % len(wrapped(octets)) in got
                assert b"BINARY.SIZE[2] %d)" % len(octets) in got
                got = await answer(connection, b"FETCH %d BODY.PEEK[2]" % number)
                assert b"BODY[2] {%d}\r\n%b)" % (len(wrapped(octets)), wrapped(octets)) in got
                got = await answer(connection, b"FETCH %d BINARY.PEEK[2]" % number)
                assert b"BINARY[2] ~{%d}\r\n%b)" % (len(octets), octets) in got

    asyncio.run(play())


def wrapped(octets: bytes) -> bytes:
    return encodebytes(octets).replace(b"\n", b"\r\n").removesuffix(b"\r\n")


NESTED = (
    b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
    b"--x\r\nContent-Type: message/rfc822\r\n\r\nFrom: a@b\r\nSubject: inner\r\n\r\nwithin\r\n--x--\r\n"
)


def test_sections_without_an_encoding_are_what_body_has(tmp_path: Path) -> None:
    """Beyond RFC 3516, for programs that ask for BINARY[...] as they ask for BODY[...]."""

    async def play() -> None:
        async with serving(tmp_path) as server:
            await server.deliver("INBOX", NESTED)
            connection = await server.connect()
            await connection.command(b"SELECT INBOX")
            for section, octets in (
                (b"1.MIME", b"Content-Type: text/plain\r\n\r\n"),
                (b"TEXT", NESTED.partition(b"\r\n\r\n")[2]),
                (b"HEADER", NESTED.partition(b"--x")[0]),
                (b"2.HEADER", b"From: a@b\r\nSubject: inner\r\n\r\n"),
                (b"2.TEXT", b"within"),
                (b"2.HEADER.FIELDS (from X-foo)", b"From: a@b\r\n\r\n"),
                (b"2.HEADER.FIELDS.NOT (from)", b"Subject: inner\r\n\r\n"),
            ):
                got = await answer(connection, b"FETCH 1 (BINARY.SIZE[%b] BINARY.PEEK[%b])" % (section, section))
                shown = b"BINARY.SIZE[%b] %d BINARY[%b] {%d}\r\n%b)"
                assert shown % (section, len(octets), section, len(octets), octets) in got
            got = await answer(connection, b"FETCH 1 (BINARY.SIZE[1.TEXT] BINARY.PEEK[2.TEXT]<2.3>)")
            assert b"BINARY.SIZE[1.TEXT] 0 BINARY[2.TEXT]<2> {3}\r\nthi)" in got
            assert b"t BAD " in await answer(connection, b"FETCH 1 BINARY[MIME]")
            assert b"\\Seen" in await answer(connection, b"FETCH 1 BINARY[TEXT]<1.1>")

    asyncio.run(play())
