"""What is particular to the SQLite engine: files, views, checkpoints, recovery's jumps, connections."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.store import ENGINES, open_engine, recover, sqlite
from echomox.store.disk import Disk
from echomox.store.engine import Addition, FlagOp, NoSuchAccount, StoreError, Target
from echomox.store.sqlite import SqliteEngine
from echomox.store.upgrades import VERSION, NewerIndex
from tests.contract.stores import ALICE, BOB, add, add_all, addition, fill, message


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.home(tmp_path)


@pytest.fixture
def engine(paths: Paths) -> Iterator[SqliteEngine]:
    made = SqliteEngine(paths)
    made.recover()
    made.create(ALICE)
    made.create(BOB)
    yield made
    made.close()


def account(paths: Paths, name: str = ALICE) -> Path:
    return paths.accounts / name


def files(paths: Paths, name: str = ALICE) -> list[str]:
    return sorted(path.name for path in (account(paths, name) / "msg").rglob("*") if path.is_file())


def query(paths: Paths, statement: str, name: str = ALICE) -> list[tuple]:
    connection = sqlite3.connect(account(paths, name) / "index.db")
    rows = connection.execute(statement).fetchall()
    connection.commit()
    connection.close()
    return rows


def test_engines_are_rows_and_open_by_name(paths: Paths) -> None:
    assert [row.name for row in ENGINES] == ["sqlite"]
    assert isinstance(open_engine(paths), SqliteEngine)
    with pytest.raises(ValueError, match="sqlite"):
        open_engine(paths, "nothing")


def test_one_file_for_all_recipients(engine: SqliteEngine, paths: Paths) -> None:
    source = message()
    (added,) = add_all(engine, [addition(source, [Target(ALICE, "INBOX"), Target(BOB, "INBOX"), Target(BOB, "Sent")])])
    found = [account(paths, one.account) / "msg/00000" / str(one.message_id) for one in added]
    assert len({path.stat().st_ino for path in found}) == 1
    assert found[0].stat().st_nlink == 3
    assert found[0].read_bytes() == source
    assert found[0].stat().st_mode & 0o777 == 0o600
    assert account(paths).stat().st_mode & 0o777 == 0o700


def test_who_selects_is_served_though_the_disk_is_full(engine: SqliteEngine, paths: Paths) -> None:
    """RFC 3501 2.3.2: what nobody can say whether it is recent, is."""
    full: list[bool] = []

    def step(call: str, path: str) -> None:
        if full and call == "commit":
            raise OSError(errno.ENOSPC, "no space left on device", path)

    fill(engine, 3)
    other = SqliteEngine(paths, disk=Disk(step))
    store = other.open(ALICE)
    box, every = store.mailbox("INBOX").id, store.define_virtual("All", "ALL").id
    store.select(every, claim_recent=False)
    full.append(True)
    assert [store.select(one, claim_recent=True).recent_from for one in (box, box, every, every)] == [1, 1, 1, 1]
    full.clear()
    assert [store.select(one, claim_recent=True).recent_from for one in (box, box, every, every)] == [1, 4, 1, 4]
    other.close()


def test_source_from_the_spool_small_and_large(engine: SqliteEngine, paths: Paths) -> None:
    (paths.spool / "test.0").mkdir()
    for size in (100, 2_000_000):
        source = message(body="x" * size + "\r\n")
        (paths.spool / "test.0/abc").write_bytes(source)
        one = addition(source, [Target(ALICE, "INBOX")], source="test.0/abc")
        ((added,),) = add_all(engine, [one])
        assert engine.open(ALICE).content(added.message_id).read() == source
        (paths.spool / "test.0/abc").unlink()
        assert engine.open(ALICE).content(added.message_id).read(0, 5) == source[:5]


@pytest.mark.parametrize("spool_id", ["/etc/passwd", "../x", "test.0/../x", "a/.b", "a", "a/b/c"])
def test_spool_id_that_is_a_path_is_refused(engine: SqliteEngine, spool_id: str) -> None:
    with pytest.raises(StoreError):
        add_all(engine, [addition(message(), [Target(ALICE, "INBOX")], source=spool_id)])


def test_views_have_the_fields_of_the_data_architecture(engine: SqliteEngine, paths: Paths) -> None:
    added = add(engine, source=message("Hi"), flags=1 | 64, account=ALICE)
    assert query(paths, "SELECT Name, DestinationDir, JunkFilter, ReservoirState FROM v_account") == [
        (ALICE, "msg", "junk.db", 0)
    ]
    row = query(
        paths,
        "SELECT ID, UIDNext, Name, HaveCounts, Total, Deleted, Unread, Unseen FROM v_mailbox WHERE Name = 'INBOX'",
    )
    assert row == [(1, 2, "INBOX", 1, 1, 0, 0, 0)]
    fields = "ID, UID, MailboxID, Subject, Junk, Notjunk, Seen, Answered, Flagged, Forwarded, Draft, Deleted, File"
    assert query(paths, f"SELECT {fields} FROM v_message") == [
        (added.message_id, 1, 1, "Hi", 1, 0, 1, 0, 0, 0, 0, 0, f"msg/00000/{added.message_id}")
    ]
    parts = query(paths, "SELECT MessageID, PartNum, ContentType, Size FROM v_part")
    assert parts == [(added.message_id, 0, "text/plain", 11)]


def test_expunged_files_go_with_a_checkpoint_and_only_when_nobody_has_the_content(
    engine: SqliteEngine, paths: Paths
) -> None:
    fill(engine, 3)
    store = engine.open(ALICE)
    inbox, archive = store.mailbox("INBOX").id, store.mailbox("Archive").id
    store.copy(inbox, [1], archive)
    store.remove(inbox, [1, 2])
    assert files(paths) == ["1", "2", "3"]
    engine.run_checkpoint(engine.take_touched(), [])
    assert files(paths) == ["1", "3"]
    store.remove(archive, [1])
    store.delete_mailbox("Archive")
    engine.run_checkpoint(engine.take_touched(), [])
    assert files(paths) == ["3"]
    assert query(paths, "SELECT count(*) FROM erase") == [(0,)]


def test_wal_does_not_grow_for_ever_where_only_flags_are_stored(
    engine: SqliteEngine, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "COMMITS_PER_CHECKPOINT", 50)
    (uid,) = fill(engine, 1)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    sizes, page = [], 4096
    for n in range(600):
        store.store_flags(inbox, [uid], FlagOp.ADD if n % 2 else FlagOp.REMOVE, 1, ())
        if n % 60 == 59 and (cleaner := engine._cleaner) is not None:
            cleaner.join()
        sizes.append((account(paths) / "index.db-wal").stat().st_size)
    written = 600 * 4 * page  # each commit changes four pages at the least
    assert max(sizes) < written / 4


def test_open_connections_are_bounded_and_accounts_stay_usable(engine: SqliteEngine) -> None:
    engine.open_limit = 3
    names = [f"u{n}" for n in range(8)]
    for name in names:
        engine.create(name)
    stores = [engine.open(name) for name in names]
    for _ in range(2):
        for store in stores:
            store.create_mailbox(f"m{store.modseq()}")
            assert sum(one.database.is_connected() for one in engine._open.values()) <= 3
    assert all(store.modseq() == 3 for store in stores)


def test_an_index_of_a_newer_program_says_whose_it_is_and_what_to_do(engine: SqliteEngine, paths: Paths) -> None:
    engine.close()
    with closing(sqlite3.connect(account(paths) / "index.db")) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match=rf"account {ALICE} has version 99.*start the newer echomox.*from a backup"):
        engine.open(ALICE).modseq()


def test_account_removed_by_another_process_is_gone_here(engine: SqliteEngine, paths: Paths) -> None:
    add(engine)
    other = SqliteEngine(paths)
    other.remove(ALICE)
    with pytest.raises(NoSuchAccount):
        engine.open(ALICE)
    other.create(ALICE)
    assert engine.open(ALICE).mailbox("INBOX").total == 0
    other.close()


def left_behind(engine: SqliteEngine, additions: list[Addition]) -> None:
    """Adds as a worker that is killed before it can close."""

    async def run() -> None:
        committer = engine.committer("dead.0")
        for one in additions:
            await committer.add(one)
        committer._timer.cancel()

    asyncio.run(run())


def restarted(paths: Paths, boot_id: str = "") -> SqliteEngine:
    engine = SqliteEngine(paths, boot_id=boot_id)
    engine.recover()
    return engine


def test_recovery_is_idempotent_and_jumps_only_after_power_loss(engine: SqliteEngine, paths: Paths) -> None:
    left_behind(engine, [addition(message(), [Target(ALICE, "INBOX")])])
    modseq = engine.open(ALICE).modseq()
    engine.close()
    after = restarted(paths)
    inbox = after.open(ALICE).mailbox("INBOX")
    assert (inbox.total, inbox.uidnext, after.open(ALICE).modseq()) == (1, 2, modseq)
    after.close()
    left_behind(engine, [addition(message(), [Target(ALICE, "INBOX")])])
    engine.close()
    after = restarted(paths, "another boot")
    store = after.open(ALICE)
    inbox = store.mailbox("INBOX")
    assert (inbox.total, inbox.uidnext) == (2, 3 + recover.UID_JUMP)
    assert store.modseq() > modseq + recover.MODSEQ_JUMP
    changes = store.changes(inbox.id, modseq)
    assert [one[0] for one in changes.changed] == [1, 2]
    assert changes.expunged == list(range(3, 3 + recover.UID_JUMP))
    assert after.open(BOB).mailbox("INBOX").uidnext == 1 + recover.UID_JUMP
    after.close()
    again = restarted(paths, "a third boot")
    assert again.open(ALICE).mailbox("INBOX").uidnext == inbox.uidnext  # a clean stop: nothing jumps
    again.close()


def test_lost_index_and_files_come_back_from_the_journal(engine: SqliteEngine, paths: Paths) -> None:
    store = engine.open(ALICE)
    store.create_mailbox("Lists/One")
    engine.close()
    for path in account(paths).glob("index.db*"):
        (paths.data / f"kept-{path.name}").write_bytes(path.read_bytes())
    late = engine.open(ALICE).create_mailbox("Late")
    sources = [message(str(n)) for n in range(3)]
    boxes = ["INBOX", "Lists/One", "Late"]
    left_behind(
        engine, [addition(source, [Target(ALICE, box, b"P: x\r\n", 1, ("Kw",))]) for source, box in zip(sources, boxes)]
    )
    engine.close()
    for path in account(paths).glob("index.db*"):
        path.unlink()
    (account(paths) / "index.db").write_bytes((paths.data / "kept-index.db").read_bytes())
    (account(paths) / "msg/00000/1").unlink()
    (account(paths) / "msg/00000/2").write_bytes(b"short")
    after = SqliteEngine(paths, boot_id="another")
    report = after.recover()
    assert (report["replayed"], report["files"], report["lost"]) == (3, 2, 0)
    store = after.open(ALICE)
    for source, box in zip(sources, boxes):
        ((identity, flags, words),) = store.fetch(store.mailbox(box).id, 1, 99, ["id", "flags", "keywords"])
        assert (flags, words, store.content(identity).read()) == (1, "Kw", b"P: x\r\n" + source)
    assert store.mailbox("Late").uidvalidity == late.uidvalidity
    after.close()


def test_journal_of_an_account_made_anew_is_not_replayed(engine: SqliteEngine, paths: Paths) -> None:
    left_behind(engine, [addition(message(), [Target(ALICE, "INBOX")])])
    engine.remove(ALICE)
    engine.create(ALICE)
    engine.close()
    after = SqliteEngine(paths)
    assert after.recover()["foreign"] == 1
    assert after.open(ALICE).mailbox("INBOX").total == 0
    after.close()


def test_damaged_journal_is_kept_aside(engine: SqliteEngine, paths: Paths) -> None:
    left_behind(engine, [addition(message(str(n)), [Target(ALICE, "INBOX")]) for n in range(3)])
    (path,) = paths.spool.glob("*.journal")
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    engine.close()
    after = SqliteEngine(paths)
    assert after.recover()["corrupt"] == 1
    assert [one.name for one in paths.spool.glob("*journal*")] == [f"{path.name}.corrupt"]
    assert after.open(ALICE).mailbox("INBOX").total == 3
    after.close()


def test_an_older_program_leaves_the_journals_to_the_newer_one(engine: SqliteEngine, paths: Paths) -> None:
    left_behind(engine, [addition(message(), [Target(ALICE, "INBOX")])])
    engine.close()
    for version in (99, VERSION):
        with closing(sqlite3.connect(account(paths) / "index.db")) as connection:
            connection.execute(f"PRAGMA user_version={version}")
        after = SqliteEngine(paths)
        if version == 99:
            with pytest.raises(NewerIndex):
                after.recover()
            assert [one.suffix for one in paths.spool.glob("*journal*")] == [".journal"]
        else:
            assert after.recover()["lost"] == 0
            assert after.open(ALICE).mailbox("INBOX").total == 1
        after.close()


def test_uids_that_were_never_given_are_not_shown(engine: SqliteEngine, paths: Paths) -> None:
    """After a power cut UIDNEXT jumps: then the messages are not simply those without a tombstone."""
    fill(engine, 10)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    store.remove(inbox, [3])
    with store.database.write() as write:
        write.execute("UPDATE mailbox SET uidnext = uidnext + 3 WHERE id = ?", (inbox,))
    assert list(store.select(inbox, False).uids) == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    fill(engine, 1)
    assert list(store.select(inbox, False).uids) == [1, 2, 4, 5, 6, 7, 8, 9, 10, 14]


def test_unfinished_accounts_are_swept_up(engine: SqliteEngine, paths: Paths) -> None:
    (paths.accounts / ".new-x-1").mkdir()
    assert engine.accounts() == [ALICE, BOB]
    engine.recover()
    assert not (paths.accounts / ".new-x-1").exists()


def test_newer_database_is_refused(engine: SqliteEngine, paths: Paths) -> None:
    engine.close()
    query(paths, "PRAGMA user_version=99")
    with pytest.raises(StoreError, match="99"):
        engine.open(ALICE).mailboxes()


def test_older_database_is_upgraded_in_steps(
    engine: SqliteEngine, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.close()
    query(paths, "PRAGMA user_version=1")
    monkeypatch.setattr("echomox.store.upgrades.VERSION", 3)
    monkeypatch.setattr(
        "echomox.store.upgrades.UPGRADES",
        ("CREATE TABLE one (x);\nCREATE TABLE two (x);\n", "ALTER TABLE one ADD COLUMN y;\n"),
    )
    assert engine.open(ALICE).mailbox("INBOX").total == 0
    assert query(paths, "SELECT y FROM one") == query(paths, "SELECT x FROM two") == []
    assert query(paths, "PRAGMA user_version") == [(3,)]


def test_full_disk_refuses_one_and_leaves_the_rest(paths: Paths) -> None:
    big = message(body="x" * 5000 + "\r\n")

    engine = SqliteEngine(paths)
    engine.recover()
    engine.create(ALICE)
    real = engine.disk.create

    def create(path: str, data: bytes) -> None:
        if len(data) > 5000:
            raise OSError(28, "no space left on device")
        real(path, data)

    engine.disk.create = create  # type: ignore[method-assign]

    async def run() -> list[object]:
        committer = engine.committer("test.0")
        waiting = [committer.add(addition(one, [Target(ALICE, "INBOX")])) for one in (message("a"), big, message("b"))]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        await committer.close()
        return list(results)

    kinds = [type(one) for one in asyncio.run(run())]
    assert kinds == [list, OSError, list]
    assert engine.open(ALICE).mailbox("INBOX").total == 2
    engine.close()


def test_no_write_waits_for_the_disk_but_the_journal(engine: SqliteEngine) -> None:
    calls: list[str] = []
    engine.disk.step = lambda call, path: calls.append(call)
    store = engine.open(ALICE)
    (uid,) = fill(engine, 1)
    calls.clear()
    store.store_flags(1, [uid], FlagOp.ADD, 1, ())
    store.copy(1, [uid], 2)
    store.move(1, [uid], 3)
    assert not {"fsync", "fdatasync", "syncfs"} & set(calls)
    assert os.path.exists(store.database.path)
