"""MESSAGELIMIT and SAVELIMIT: how many messages one command may be about. RFC 9738."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.dialog.server import Connection, serving

MESSAGE = b"From: a@example.test\r\nSubject: x\r\n\r\ntext\r\n"


def run(root: Path, commands: Sequence[tuple[str, list[str]]], **limits: Any) -> None:
    """Six messages in INBOX. commands: with the answers, each of which must begin so."""

    async def play() -> None:
        async with serving(root, **limits) as server:
            for _ in range(6):
                await server.deliver("INBOX", MESSAGE)
            client = await server.connect()
            await client.command(b"SELECT INBOX")
            await each(client, commands)

    asyncio.run(play())


async def each(client: Connection, commands: Sequence[tuple[str, list[str]]]) -> None:
    for command, wanted in commands:
        answer = [line.decode() for line in await client.command(command.encode())]
        assert len(answer) == len(wanted), (command, answer)
        for line, start in zip(answer, wanted):
            assert line.startswith(start), (command, answer)


def words(answer: list[bytes]) -> list[str]:
    return answer[0].decode().split()


def test_capability(tmp_path: Path) -> None:
    """Section 4: one of them, or none."""

    async def offered(root: Path, **limits: Any) -> list[str]:
        async with serving(root, **limits) as server:
            client = await server.connect()
            return [word for word in words(await client.command(b"CAPABILITY")) if "LIMIT=" in word]

    size = "APPENDLIMIT=1048576"
    assert asyncio.run(offered(tmp_path / "a")) == [size]
    assert asyncio.run(offered(tmp_path / "b", imap_messages=7)) == [size, "MESSAGELIMIT=7"]
    assert asyncio.run(offered(tmp_path / "c", imap_saves=5)) == [size, "SAVELIMIT=5"]
    assert asyncio.run(offered(tmp_path / "d", imap_messages=7, imap_saves=5)) == [size, "MESSAGELIMIT=7"]


def test_commands_take_the_highest_uids(tmp_path: Path) -> None:
    """Section 3.1."""
    run(
        tmp_path,
        [
            ("FETCH 1:* FLAGS", ["* 5 FETCH", "* 6 FETCH", "t OK [MESSAGELIMIT 2 5] FETCH completed"]),
            ("UID FETCH 1:2,4 UID", ["* 2 FETCH", "* 4 FETCH", "t OK [MESSAGELIMIT 2 2] UID FETCH"]),
            ("FETCH 1:2 FLAGS", ["* 1 FETCH", "* 2 FETCH", "t OK FETCH"]),
            ("STORE 2:4 +FLAGS (\\Deleted)", ["* 3 FETCH", "* 4 FETCH", "t OK [MESSAGELIMIT 2 3] STORE"]),
            ("SEARCH ALL", ["* SEARCH 5 6", "t OK [MESSAGELIMIT 2 5] SEARCH"]),
            ("SEARCH DELETED", ["* SEARCH", "t OK [MESSAGELIMIT 2 5] SEARCH"]),
            ("SEARCH DELETED UID 1:4", ["* SEARCH 3 4", "t OK [MESSAGELIMIT 2 3] SEARCH"]),
            ("SEARCH UIDAFTER 4", ["* SEARCH 5 6", "t OK SEARCH"]),
            ("SEARCH UIDBEFORE 3", ["* SEARCH 1 2", "t OK SEARCH"]),
            ("SEARCH UIDBEFORE 1", ["* SEARCH", "t OK SEARCH"]),
            ("SEARCH UIDAFTER 4294967295", ["* SEARCH", "t OK SEARCH"]),
            ("SEARCH UIDAFTER 0", ["t BAD"]),
            ("SORT (SUBJECT) UTF-8 ALL", ["t NO [MESSAGELIMIT 2 5]"]),
            ("THREAD REFS UTF-8 ALL", ["t NO [MESSAGELIMIT 2 5]"]),
            ("COPY 1:5 Archive", ["t NO [MESSAGELIMIT 2 4]"]),
            ("STORE 1:2 +FLAGS.SILENT (\\Deleted)", ["t OK STORE"]),
            ("UID EXPUNGE 1:*", ["* 3 EXPUNGE", "* 3 EXPUNGE", "* 4 RECENT", "t OK [MESSAGELIMIT 2 3] UID EXPUNGE"]),
            (
                "MOVE 1:3 Archive",
                ["* OK [COPYUID", *["* 2 EXPUNGE"] * 2, "* 2 RECENT", "t OK [MESSAGELIMIT 2 2] MOVE"],
            ),
            ("ENABLE CONDSTORE", ["* ENABLED", "* OK [HIGHESTMODSEQ", "t OK"]),
            ("STORE 1:* +FLAGS.SILENT (\\Deleted)", ["* 2 FETCH", "t OK STORE"]),
            ("EXPUNGE", ["* 1 EXPUNGE", "* 1 EXPUNGE", "* 0 RECENT", "t OK [HIGHESTMODSEQ"]),
        ],
        imap_messages=2,
    )


def test_the_code_goes_untagged_when_the_answer_has_one(tmp_path: Path) -> None:
    run(
        tmp_path,
        [
            ("ENABLE CONDSTORE", ["* ENABLED", "* OK [HIGHESTMODSEQ", "t OK"]),
            (
                "MOVE 1:3 Archive",
                ["* OK [COPYUID", "* NO [MESSAGELIMIT 2 2]", *["* 2 EXPUNGE"] * 2, "* 4 RECENT", "t OK [HIGHESTMODSEQ"],
            ),
        ],
        imap_messages=2,
    )


def test_what_is_saved_is_saved_whole(tmp_path: Path) -> None:
    """SAVELIMIT: COPY and APPEND only."""
    literal = "{3+}\r\na:b"
    run(
        tmp_path,
        [
            ("COPY 1:3 Archive", ["t NO [MESSAGELIMIT 2 2]"]),
            ("COPY 1:2 Archive", ["t OK [COPYUID"]),
            (f"APPEND INBOX {literal} {literal} {literal}", ["t NO [MESSAGELIMIT 2]"]),
            (f"APPEND INBOX {literal} {literal}", ["* 8 EXISTS", "* 8 RECENT", "t OK [APPENDUID"]),
            ("FETCH 1:3 UID", ["* 1 FETCH", "* 2 FETCH", "* 3 FETCH", "t OK FETCH"]),
            ("MOVE 1:4 Archive", ["* OK [COPYUID", *["* 1 EXPUNGE"] * 4, "* 4 RECENT", "t OK MOVE"]),
        ],
        imap_saves=2,
    )
