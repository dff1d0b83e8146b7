"""The mailbox that shows the queue: a real queue, a real store, looked at by hand."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echomox.config.load import ConfigProblems, parse_dynamic
from echomox.config.snapshot import Snapshot
from echomox.delivery import outbox as outbox_module
from echomox.delivery.outbox import Outbox
from echomox.message.mime import parse
from echomox.queue import control, database
from echomox.queue.commit import once
from echomox.queue.outcome import Outcome
from echomox.store.engine import Addition, Flag, NoSuchMailbox, Target
from echomox.store.sqlite import SqliteEngine
from tests.unit.net.support import DYNAMIC, Host
from tests.unit.queue.support import Bench, mail


class Place:
    def __init__(self, root: Path) -> None:
        self.bench = Bench(root)
        self.bench.now = time.time()
        self.host = Host(root)
        self.engine = SqliteEngine(self.host.paths)
        self.engine.recover()
        for account in ("mjl", "rest"):
            self.engine.create(account)
        self.generation = 1
        self.set("Outbox")
        self.outbox = self.made()
        self.connection = database.connect(self.bench.directory, durable=False)

    def made(self) -> Outbox:
        return Outbox(self.host, self.engine, self, self.bench.directory)

    def set(self, name: str) -> None:
        self.generation += 1
        accounts = {**DYNAMIC.accounts, "mjl": replace(DYNAMIC.accounts["mjl"], queue_mailbox=name)}
        self.host._snapshot = Snapshot(replace(DYNAMIC, accounts=accounts), self.host.static, self.generation)

    async def add(self, addition: Addition) -> list[Any]:
        self.added += 1
        return await self.committer.add(addition)

    def look(self, times: int = 1) -> int:
        """How many copies were added."""

        async def work() -> None:
            self.committer = self.engine.committer("queuerunner.0")
            for _ in range(times):
                await self.outbox.look(self.connection)
            await self.committer.close()

        self.added = 0
        asyncio.run(work())
        return self.added

    def shown(self, name: str = "Outbox", account: str = "mjl") -> list[tuple[str, bytes, int]]:
        """(fields, text, flags) of each message there."""
        store = self.engine.open(account)
        rows = list(store.fetch(store.mailbox(name).id, 1, 1 << 31, ("id", "prefix", "flags")))
        return [(prefix.decode(), self.read(store, identity), flags) for identity, prefix, flags in rows]

    def read(self, store: Any, identity: int) -> bytes:
        content = store.content(identity)
        try:
            return content.read(0, content.size)
        finally:
            content.close()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def send(place: Place, *to: str, **more: Any) -> list[int]:
    return place.bench.add(mail(*to, account="mjl", **more))


def fail_once(place: Place) -> None:
    (leased,) = place.bench.lease()
    outcomes = [
        Outcome(one.id, "retry", 451, "4.7.1", "come\r\nagain", when=place.bench.now) for one in leased.job.recipients
    ]
    place.bench.finish(*outcomes)


def test_what_is_tried_again_stands_there_until_it_has_left(place):
    send(place, "bob@far.test", prefix=b"DKIM-Signature: x\r\n")
    place.look()
    with pytest.raises(NoSuchMailbox):  # it may be gone in a moment
        place.shown()
    fail_once(place)
    assert place.look() == 1
    ((fields, text, flags),) = place.shown()
    assert fields.startswith("X-EchoMox-Queue: 1/")
    flat = fields.replace("\r\n ", " ")
    assert "X-EchoMox-Waiting: <bob@far.test>; next try at " in flat and "; 1 try; 451 4.7.1 come again\r\n" in flat
    assert text.endswith(b"DKIM-Signature: x\r\nFrom: a@here.test\r\nSubject: s\r\n\r\nbody\r\n") and flags & Flag.SEEN
    assert place.look(5) == 0  # nothing changed
    place.bench.now += 3600
    fail_once(place)
    assert place.look() == 1
    ((fields, _, _),) = place.shown()
    assert "2 tries" in fields.replace("\r\n ", " ")
    place.bench.now += 7200
    (leased,) = place.bench.lease()
    assert place.look() == 0  # while it is tried, it stands there
    place.bench.finish(Outcome(leased.job.recipients[0].id, "delivered", 250, "2.0.0", "ok"))
    assert place.look() == 0
    assert place.shown() == []
    assert not place.outbox._known


def test_held_and_scheduled_mail_and_several_recipients(place):
    send(place, "bob@far.test", hold_until=place.bench.now + 86_400)
    ids = send(place, *(f"b{n}@far.test" for n in range(25)))
    once(place.bench.connection, lambda c: control.hold(c, ids, "hold rule 1"))
    assert place.look() == 2
    (scheduled, _, _), (held, _, _) = place.shown()
    assert "<bob@far.test>; to be sent at " in scheduled.replace("\r\n ", " ")
    assert held.count("X-EchoMox-Waiting:") == 21 and "held (hold rule 1)" in held and "5 more recipients" in held


def test_only_who_wants_it_and_only_what_is_his(place):
    place.bench.add(mail("x@far.test", account="rest", hold_until=place.bench.now + 60))
    place.bench.add(mail("x@far.test", account="", hold_until=place.bench.now + 60))
    assert place.look() == 0
    with pytest.raises(NoSuchMailbox):
        place.shown("Outbox", "rest")


def test_what_the_client_does_there_is_undone_and_his_own_mail_stays(place):
    send(place, "bob@far.test", hold_until=place.bench.now + 60)
    place.look()
    store = place.engine.open("mjl")
    mailbox = store.mailbox("Outbox")
    store.remove(mailbox.id, [1])

    async def append() -> None:
        committer = place.engine.committer("imap.0")
        source = b"Subject: mine\r\n\r\nmy own\r\n"
        await committer.add(Addition(source, parse(source), [Target("mjl", "Outbox")], "append-1", 1.0))
        await committer.close()

    asyncio.run(append())
    send(place, "eve@far.test", hold_until=place.bench.now + 60)
    assert place.look() == 2
    texts = [text for _, text, _ in place.shown()]
    assert len(texts) == 3 and b"Subject: mine\r\n\r\nmy own\r\n" in texts
    place.set("")
    place.look()
    assert [text for _, text, _ in place.shown()] == [b"Subject: mine\r\n\r\nmy own\r\n"]


def test_what_is_deleted_there_comes_back_though_nothing_happens_in_the_queue(place):
    send(place, "bob@far.test", hold_until=place.bench.now + 60)
    place.look(3)
    before = place.shown()
    store = place.engine.open("mjl")
    mailbox = store.mailbox("Outbox")
    store.remove(mailbox.id, list(range(1, mailbox.uidnext)))
    assert (place.shown(), place.look()) == ([], 1)
    assert place.shown() == before
    assert place.look(3) == 0
    store.delete_mailbox("Outbox")
    assert place.look() == 1
    assert place.bench.one("SELECT count(*) FROM message WHERE state = 'queued'") == 1


def test_another_name_and_a_new_start(place):
    send(place, "bob@far.test", hold_until=place.bench.now + 60)
    place.look()
    place.set("Mail/Waiting")
    place.outbox = place.made()  # as after kill -9
    assert place.look() == 1
    assert place.shown() == [] and len(place.shown("Mail/Waiting")) == 1
    place.outbox = place.made()
    assert place.look() == 0 and len(place.shown("Mail/Waiting")) == 1


def test_a_young_message_is_looked_for_again(place):
    send(place, "bob@far.test")
    assert place.look() == 0
    place.bench.connection.execute("UPDATE content SET queued = queued - 10")
    place.bench.connection.execute("UPDATE message SET next_attempt = next_attempt - 10")
    assert place.look() == 1
    ((fields, _, _),) = place.shown()
    assert "waits for its first try" in fields


def test_a_large_message_and_one_whose_file_has_gone(place):
    folder = database.file_path(place.bench.directory, "abcd")
    folder.write_bytes(b"Subject: large\r\n\r\n" + b"x" * 200_000)
    place.bench.add(mail("bob@far.test", account="mjl", hold_until=place.bench.now + 60))
    place.bench.connection.execute("UPDATE content SET file = 'abcd'")
    assert place.look() == 1 and len(place.shown()[0][1]) > 200_000
    folder.unlink()
    send(place, "eve@far.test", hold_until=place.bench.now + 60)
    place.bench.connection.execute("UPDATE content SET file = 'abce' WHERE id = 2")
    assert place.look() == 0 and len(place.shown()) == 1


def test_so_many_at_most(place, monkeypatch):
    monkeypatch.setattr(outbox_module, "MOST", 3)
    for _ in range(5):
        send(place, "bob@far.test", hold_until=place.bench.now + 60)
    assert place.look() == 3


@pytest.mark.parametrize("known", [b"", b"[]", b"{", b'{"gone": "Outbox"}', b'{"mjl": "Nowhere"}', b"\xff"])
def test_a_damaged_list_of_mailboxes(place, known):
    (place.bench.directory / "outbox.json").write_bytes(known)
    place.outbox = place.made()
    send(place, "bob@far.test", hold_until=place.bench.now + 60)
    assert place.look() == 1


def test_an_account_without_mail_does_not_disturb_the_others(place):
    accounts = {**place.host.snapshot().dynamic.accounts}
    accounts["small"] = replace(accounts["small"], queue_mailbox="Outbox")
    accounts["rest"] = replace(accounts["rest"], queue_mailbox="bad//name")
    place.host._snapshot = Snapshot(replace(DYNAMIC, accounts=accounts), place.host.static, 99)
    for account in ("small", "rest", "mjl"):
        place.bench.add(mail("bob@far.test", account=account, hold_until=place.bench.now + 60))
    assert place.look() == 1 and len(place.shown()) == 1


@pytest.mark.parametrize("name, good", [("Outbox", True), ("Mail/Waiting", True), ("inbox", False), ("a//b", False)])
def test_the_name_is_checked(name, good):
    text = f'[domains."a.test"]\n[accounts.ann]\naddresses = ["ann@a.test"]\nqueue_mailbox = "{name}"\n'
    if good:
        assert parse_dynamic("/x/config/domains.toml", text.encode()).accounts["ann"].queue_mailbox == name
        return
    with pytest.raises(ConfigProblems, match="queue_mailbox"):
        parse_dynamic("/x/config/domains.toml", text.encode())
