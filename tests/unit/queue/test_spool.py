"""Adding: durable, grouped, and nothing left behind when it fails."""

from __future__ import annotations

import asyncio
import errno

import pytest

from echomox.config.paths import Paths
from echomox.queue import database, sweep
from echomox.queue.commit import Committer
from echomox.queue.database import QueueError
from echomox.queue.model import QueueFull
from echomox.queue.spool import INLINE, QueueSpool
from echomox.store.disk import Disk
from tests.unit.queue.support import Bench, mail


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path


def files(root):
    return [path for path in (root / "data/queue/msg").rglob("*") if path.is_file()]


def adding(root, *mails, disk=None, **more):
    async def work():
        spool = QueueSpool(Paths.home(root), disk=disk, **more)
        try:
            return await asyncio.gather(*map(spool.add, mails), return_exceptions=True)
        finally:
            await spool.close()

    return asyncio.run(work())


class Counting(Disk):
    def __init__(self, fail=""):
        super().__init__(self._count)
        self.calls = []
        self.fail = fail

    def _count(self, call, path):
        self.calls.append(call)
        if call == self.fail:
            raise OSError(errno.ENOSPC, "no space left on device", path)


def test_many_additions_share_a_commit(root):
    disk = Counting()
    found = adding(root, *(mail(f"u{n}@x.test") for n in range(60)), disk=disk)
    assert sorted(identity for ids in found for identity in ids) == list(range(1, 61))
    assert disk.calls.count("commit") <= 3


def test_small_bodies_are_in_the_database_and_large_ones_files(root):
    small, large, linked = b"x" * INLINE, b"y" * (INLINE + 1), root / "spool"
    linked.write_bytes(b"z" * (INLINE + 2))
    adding(
        root, mail("a@x.test", body=small), mail("b@x.test", body=large), mail("c@x.test", body=None, file=str(linked))
    )
    assert sorted(path.stat().st_size for path in files(root)) == [INLINE + 1, INLINE + 2]
    linked.unlink()
    bench = Bench(root, now=4e9)
    found = {}
    for leased in bench.lease():
        job = leased.job
        found[job.recipients[0].address] = job.body if job.body is not None else job.file.read_bytes()
    assert found == {"a@x.test": small, "b@x.test": large, "c@x.test": b"z" * (INLINE + 2)}


def test_a_small_spool_file_is_read_in(root):
    source = root / "spool"
    source.write_bytes(b"small")
    adding(root, mail("a@x.test", body=None, file=str(source)))
    assert Bench(root, now=4e9).lease()[0].job.body == b"small"
    assert files(root) == []


@pytest.mark.parametrize("call", ["create", "fsync", "commit"])
def test_a_full_disk_refuses_and_leaves_nothing(root, call):
    adding(root, mail("a@x.test"))
    disk = Counting(call)
    (error,) = adding(root, mail("b@x.test", body=b"x" * (INLINE + 1)), disk=disk)
    assert isinstance(error, OSError)
    assert files(root) == []
    assert Bench(root).one("SELECT count(*) FROM content") == 1


def test_a_disk_that_is_nearly_full_refuses_for_now(root):
    (error,) = adding(root, mail("a@x.test"), min_free=1 << 60)
    assert isinstance(error, QueueFull)
    assert error.reply.code == 452


def test_no_recipients_is_a_mistake(root):
    (error,) = adding(root, mail())
    assert isinstance(error, ValueError)


def test_one_that_fails_takes_nothing_else_back(root):
    async def work():
        committer = Committer(database.prepare(Paths.home(root)))
        run = [
            committer.run(lambda c, n=n: c.execute("INSERT INTO hold_rule VALUES (?, '', '', '', 0)", (n,)).rowcount)
            for n in (1, 2, 2, 3)
        ]
        found = await asyncio.gather(*run, return_exceptions=True)
        await committer.close()
        with pytest.raises(QueueError):
            await committer.run(lambda c: 1)
        return found

    found = asyncio.run(work())
    assert [one if one == 1 else type(one) for one in found] == [1, 1, QueueError, 1]
    assert Bench(root).rows("SELECT id FROM hold_rule") == [(1,), (2,), (3,)]


def test_two_processes_may_make_it_at_once(root):
    paths = Paths.home(root)
    assert database.prepare(paths) == database.prepare(paths)
    assert not list((root / "data/queue").glob("*.new"))


def test_a_database_of_another_version_is_refused(root):
    directory = database.prepare(Paths.home(root))
    connection = database.connect(directory, durable=True)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(QueueError, match="version 99"):
        database.prepare(Paths.home(root))


def test_what_is_not_a_database_is_refused(root):
    directory = database.prepare(Paths.home(root))
    (directory / "index.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(QueueError):
        database.prepare(Paths.home(root))


def test_a_spool_over_a_damaged_queue_refuses_until_it_is_mended(root):
    async def work():
        directory = database.prepare(Paths.home(root))
        sound = (directory / "index.db").read_bytes()
        (directory / "index.db").write_bytes(b"garbage" * 1000)
        spool = QueueSpool(Paths.home(root))
        for _ in range(2):
            with pytest.raises(QueueError):
                await spool.add(mail("a@x.test"))
        (directory / "index.db").write_bytes(sound)
        assert await spool.add(mail("a@x.test")) == [1]
        await spool.close()

    asyncio.run(work())


def test_files_without_a_message_go_when_they_are_old(root):
    adding(root, mail("b@x.test", body=b"x" * (INLINE + 1)))
    directory = root / "data/queue"
    orphan = directory / "msg/0/0123"
    orphan.write_bytes(b"x")
    connection = database.connect(directory, durable=False)
    assert sweep.remove_orphans(connection, directory) == 0
    assert sweep.remove_orphans(connection, directory, age=-1) == 1
    assert len(files(root)) == 1
    connection.close()


def test_the_wal_is_moved_into_the_database(root):
    adding(root, *(mail(f"u{n}@x.test", body=b"x" * 60_000) for n in range(20)))
    directory = root / "data/queue"
    connection = database.connect(directory, durable=True)
    held = connection.execute("SELECT count(*) FROM content").fetchone()
    assert held == (20,)
    assert not sweep.checkpoint(connection, directory, least=1 << 40)
    sweep.checkpoint(connection, directory, least=1)
    connection.close()
