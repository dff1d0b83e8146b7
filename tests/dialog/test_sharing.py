"""COPY and MOVE between accounts: octets, dates, flags and order; all or nothing. RFC 4314 4."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from echomox.config.schema import Account
from echomox.imapd import watch
from echomox.store.engine import Flag
from tests.dialog import server as dialog_server
from tests.dialog.server import Connection, Server, serving

THIRD = "third@example.test"
LARGE = b"From: a@example.test\r\nSubject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 12_000


def small(number: int) -> bytes:
    return f"From: a@example.test\r\nSubject: {number}\r\n\r\ntext {number}\r\n".encode()


@pytest.fixture(autouse=True)
def third(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dialog_server.ACCOUNTS, "third", Account(addresses=(THIRD,)))


async def shared(server: Server, rights: str) -> Connection:
    """mrc's INBOX with 150 messages, one of them large; whom it is shared with, with it selected."""
    for number in range(150):
        source = LARGE if number == 70 else small(number)
        await server.deliver("INBOX", source, prefix=b"X-Trace: yes\r\n", keywords=("blue",) if number % 2 else ())
    store = server.engine.open("mrc")
    store.set_acl(store.mailbox("INBOX").id, {"third": rights})
    client = await server.connect(user=THIRD)
    assert (await client.command(b'SELECT "Other Users/mrc/INBOX"'))[-1].startswith(b"t OK [READ-WRITE]")
    return client


def test_what_arrives_is_what_was_there(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:
            client = await shared(server, "lrte")
            columns = ("received", "flags", "keywords", "prefix", "size")
            source = server.engine.open("mrc")
            before = list(source.fetch(source.mailbox("INBOX").id, 1, 999, columns))
            answer = await client.command(b"MOVE 1:* Archive")
            assert answer[0].startswith(b"* OK [COPYUID ") and b" 1:150 1:150]" in answer[0]
            assert answer[1:-2] == [b"* 1 EXPUNGE"] * 150
            assert answer[-2:] == [b"* 0 RECENT", b"t OK MOVE completed"]
            target = server.engine.open("third")
            archive = target.mailbox("Archive").id
            assert list(target.fetch(archive, 1, 999, columns)) == before
            ids = [row[0] for row in target.fetch(archive, 1, 999, ("id",))]
            assert target.content(ids[70]).read() == b"X-Trace: yes\r\n" + LARGE
            assert target.content(ids[149]).read().endswith(small(149))
            assert source.mailbox("INBOX").total == 0

    asyncio.run(play())


def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full in the middle."""

    async def play() -> None:
        async with serving(tmp_path) as server:
            client = await shared(server, "lrte")
            add, count = server.committer.add, 0

            async def failing(addition: object) -> object:
                nonlocal count
                count += 1
                if count == 100:
                    raise OSError(28, "No space left on device")
                return await add(addition)  # type: ignore[arg-type]

            monkeypatch.setattr(server.service.committer, "add", failing)
            answer = await client.command(b"MOVE 1:* Archive")
            assert answer[-1].startswith(b"t NO [UNAVAILABLE]") and len(answer) == 1
            assert server.engine.open("third").mailbox("Archive").total == 0
            assert server.engine.open("mrc").mailbox("INBOX").total == 150

    asyncio.run(play())


def test_the_targets_owner_has_the_quota(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:
            client = await shared(server, "lrste")
            other = server.engine.open("other")
            other.set_acl(other.mailbox("Archive").id, {"third": "i"})
            target = b'"Other Users/other/Archive"'
            assert (await client.command(b"COPY 1:4 " + target))[-1].startswith(b"t NO [OVERQUOTA]")
            assert (await client.command(b"MOVE 1:4 " + target))[-1].startswith(b"t NO [OVERQUOTA]")
            await client.command(b"STORE 2 +FLAGS.SILENT (\\Seen)")
            answer = await client.command(b"COPY 2:3 " + target)
            assert answer[-1].startswith(b"t OK [COPYUID ")
            # only "i": no flag goes with them (RFC 4314 4), and nothing is told but that it is done
            rows = list(other.fetch(other.mailbox("Archive").id, 1, 9, ("flags", "keywords")))
            assert rows == [(0, ""), (0, "")]
            assert (await client.command(b'STATUS "Other Users/other/Archive" (MESSAGES)'))[-1].startswith(
                b"t NO [NONEXISTENT]"
            )

    asyncio.run(play())


def test_reading_sets_no_flag_without_the_right(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:
            client = await shared(server, "lrw")
            answer = await client.command(b"FETCH 1 (BODY[TEXT])")
            assert not any(b"\\Seen" in line for line in answer)
            store = server.engine.open("mrc")
            inbox = store.mailbox("INBOX").id
            await client.command(b"STORE 1:2 FLAGS (\\Seen \\Flagged green)")
            flags = [(row[0], row[1]) for row in store.fetch(inbox, 1, 2, ("flags", "keywords"))]
            assert flags == [(Flag.FLAGGED, "green"), (Flag.FLAGGED, "green")]

    asyncio.run(play())


def test_what_others_say_of_junk_teaches_by_the_right_w_only(tmp_path: Path) -> None:
    """F06."""

    async def lessons(root: Path, rights: str) -> list[str]:
        async with serving(root) as server:
            client = await shared(server, "lrte")
            store = server.engine.open("mrc")
            store.set_acl(store.mailbox("Junk").id, {"third": rights})
            await client.command(b'COPY 1 "Other Users/mrc/Junk"')
            return [item.label for item in store.learn_outbox(0, 9)]

    assert asyncio.run(lessons(tmp_path / "a", "lrsti")) == []
    assert asyncio.run(lessons(tmp_path / "b", "lrswti")) == ["spam"]
    assert asyncio.run(lessons(tmp_path / "c", "wi")) == ["spam"]


def test_more_accounts_than_will_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 5465 3.1: NOTIFY is refused; 5.8: when it becomes too much later, the client is told so."""

    async def play() -> None:
        async with serving(tmp_path) as server:
            monkeypatch.setattr(watch, "OWNERS", 1)
            client = await server.connect(user=THIRD)
            both = b'NOTIFY SET (subtree "Other Users" (MailboxName))'
            share(server, "mrc")
            assert await client.command(both) == [b"t OK NOTIFY completed"]
            share(server, "other")
            lines = await client.command(b"NOOP")
            assert lines[0].startswith(b"* OK [NOTIFICATIONOVERFLOW] ") and lines[1] == b"t OK NOOP completed"
            assert client.session.watch is None and not client.session.heard
            assert await client.command(b"NOOP") == [b"t OK NOOP completed"]
            assert (await client.command(both))[0].startswith(b"t NO [NOTIFICATIONOVERFLOW] ")

    def share(server: Server, owner: str) -> None:
        store = server.engine.open(owner)
        store.set_acl(store.mailbox("INBOX").id, {"third": "lr"})

    asyncio.run(play())
