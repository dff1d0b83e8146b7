"""What searching may cost, how many results are kept up to date, and what the capability line says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from echomox.imapd import contexts
from echomox.imapd.cmd import search
from tests.dialog.server import Connection, Server, serving

WORDS = (
    b"SORT", b"SORT=DISPLAY", b"ESORT", b"THREAD=REFERENCES", b"THREAD=ORDEREDSUBJECT", b"THREAD=REFS", b"I18NLEVEL=1",
    b"CONTEXT=SEARCH", b"CONTEXT=SORT", b"MULTISEARCH", b"FILTERS", b"SEARCH=FUZZY", b"OBJECTID", b"PARTIAL",
)  # fmt: skip


def played(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """In a loop of its own."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        async def main() -> None:
            await test(**fixtures)

        asyncio.run(main())

    return run


async def opened(server: Server, count: int) -> Connection:
    for number in range(count):
        text = f"From: a@b.example\r\nSubject: number {number}\r\n\r\ntext {number} Gr\u00fc\u00dfe\r\n"
        await server.deliver("INBOX", text.encode())
    connection = await server.connect()
    await connection.command(b"SELECT INBOX")
    return connection


@played
async def test_capabilities(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        connection = await server.connect()
        (line, _) = await connection.command(b"CAPABILITY")
        assert set(WORDS) <= set(line.split())


@played
async def test_a_search_has_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as server:
        connection = await opened(server, 30)
        assert (await connection.command(b"SEARCH RETURN (SAVE) ALL"))[-1].startswith(b"t OK")
        monkeypatch.setattr(search, "BUDGET", 0.0)
        program = b" ".join(b"NOT TEXT nothing%d" % number for number in range(490))
        for command in (
            b"SEARCH RETURN (SAVE) ",
            b"SORT (SUBJECT) UTF-8 ",
            b"THREAD REFS UTF-8 ",
            b"ESEARCH IN (personal) ",
        ):
            answer = await connection.command(command + program)
            assert answer[-1].startswith(b"t NO [LIMIT] "), answer
        monkeypatch.undo()
        assert await connection.command(b"SEARCH $") == [b"* SEARCH", b"t OK SEARCH completed"]


@played
async def test_a_long_program(tmp_path: Path) -> None:
    """Conditions of a thousand keys are no chain that is too deep for SQL."""
    async with serving(tmp_path) as server:
        connection = await opened(server, 3)
        program = b" ".join(b"SUBJECT number" for _ in range(999))
        assert (await connection.command(b"SEARCH " + program))[0] == b"* SEARCH 1 2 3"
        chain = b"OR SUBJECT zzz " * 40 + b"SUBJECT 2"
        assert (await connection.command(b"SEARCH " + chain))[0] == b"* SEARCH 3"
        nested = b"NOT " * 46 + b"SUBJECT 2"
        assert (await connection.command(b"SEARCH " + nested))[0] == b"* SEARCH 3"
        mixed = b"OR SEEN (UNDRAFT " * 15 + b"DRAFT" + b")" * 15
        assert (await connection.command(b"SEARCH NOT " + mixed))[0] == b"* SEARCH 1 2 3"


@played
async def test_contexts_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 5267 4.3.1."""
    async with serving(tmp_path) as server:
        connection = await opened(server, 4)
        monkeypatch.setattr(contexts, "CONTEXTS", 2)
        monkeypatch.setattr(contexts, "SORTED", 3)
        for tag in (b"a", b"b"):
            assert len(await connection.command(b"UID SEARCH RETURN (UPDATE COUNT) ALL", tag)) == 2
        answer = await connection.command(b"UID SEARCH RETURN (UPDATE COUNT) ALL", b"c")
        assert answer[0] == b'* ESEARCH (TAG "c") UID COUNT 4'
        assert answer[1].startswith(b'* NO [NOUPDATE "c"] ') and answer[2].startswith(b"c OK")
        await connection.command(b'CANCELUPDATE "a"')
        answer = await connection.command(b"UID SORT RETURN (UPDATE COUNT) (DATE) UTF-8 ALL", b"d")
        assert answer[1].startswith(b'* NO [NOUPDATE "d"] ')
        assert len(await connection.command(b"UID SORT RETURN (UPDATE COUNT) (DATE) UTF-8 1:3", b"e")) == 2
        # Too much at once to be read: the context ends.
        await connection.command(b'CANCELUPDATE "e"')
        assert len(await connection.command(b"UID SEARCH RETURN (UPDATE COUNT) TEXT text", b"f")) == 2
        monkeypatch.setattr(contexts, "TEXTS", 1)
        answer = await connection.command(b"STORE 1:3 +FLAGS.SILENT (\\Flagged)")
        assert [line for line in answer if b"NOUPDATE" in line] == [b'* NO [NOUPDATE "f"] Too much has changed at once']
        assert connection.session.contexts is not None and set(connection.session.contexts) == {b"b"}
        await connection.command(b"EXAMINE INBOX")
        assert connection.session.contexts is None


@played
async def test_collation_of_searches(tmp_path: Path) -> None:
    """RFC 5255 4: i;unicode-casemap, composed or not."""
    async with serving(tmp_path) as server:
        connection = await opened(server, 1)
        for value in ("gr\u00fc\u00dfe", "GRU\u0308\u00dfE", "GR\u00dc\u00dfE"):
            literal = value.encode()
            connection.send(b"t SEARCH CHARSET UTF-8 BODY {%d+}\r\n%b\r\n" % (len(literal), literal))
            assert await connection.line() == b"* SEARCH 1"
            assert await connection.line() == b"t OK SEARCH completed"
