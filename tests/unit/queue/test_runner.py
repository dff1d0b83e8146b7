"""The runner, with another side that is a function."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import time

import pytest

from echomox.config.schema import Queue, Transport
from echomox.log import logger
from echomox.queue import runner as runner_module
from echomox.queue.destinations import ask_to_retry
from echomox.queue.holder import holder_name
from echomox.queue.model import NEVER, Outgoing, QueueRecipient
from echomox.queue.routes import Way
from echomox.queue.runner import Means, Runner
from tests.unit.queue.support import Bench, mail, outcome


class World:
    def __init__(self, root, **queue):
        self.bench = Bench(root, now=time.time())
        self.queue = Queue(jitter=0.0, **queue)
        self.jobs = []
        self.local = []
        self.counts = {}
        self.ways = lambda question: Way(question.domain)
        self.answer = lambda job: [outcome(to.id, "delivered") for to in job.recipients]

    def add(self, *mails):
        return [self.bench.add(one)[0] for one in mails]

    def run(self, until, limit=120.0):
        return asyncio.run(self._run(until, limit))

    async def _run(self, until, limit):
        async def deliver(job):
            self.jobs.append(job)
            found = self.answer(job)
            return await found if asyncio.iscoroutine(found) else found

        async def deliver_local(job):
            self.local.append(job)
            return [outcome(to.id, "delivered", remote_mta="") for to in job.recipients]

        runner = self.runner = Runner(
            Means(
                directory=self.bench.directory, holder=holder_name(f"t.{id(self)}"), queue=self.queue,
                ways=lambda q: self.ways(q), deliver=deliver, deliver_local=deliver_local,
                is_local=lambda domain: domain == "here.test",
                compose=lambda report: Outgoing(
                    "", (QueueRecipient(report.sender, notify=NEVER),), body=b"report", kind="dsn"
                ),
                log=logger("test"), count=lambda name, n: self.counts.update({name: self.counts.get(name, 0) + n}),
            )
        )  # fmt: skip
        task = asyncio.create_task(runner.run())
        end = time.monotonic() + limit
        while not until():
            assert time.monotonic() < end
            await asyncio.sleep(0.005)
        runner.stop()
        await task
        await runner.close()

    def empty(self):
        return self.bench.one("SELECT count(*) FROM message") == 0

    def settled(self):
        return self.bench.one("SELECT count(*) FROM message WHERE attempts = 0") == 0


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_a_refusal_to_one_of_ours_is_a_report_delivered_here(world):
    world.add(mail("a@x.test"))
    world.answer = lambda job: [outcome(to.id, "failed") for to in job.recipients]
    world.run(world.empty)
    assert [job.kind for job in world.local] == ["dsn"]
    assert world.local[0].recipients[0].address == "me@here.test"
    assert world.counts == {"queue_failed": 1, "queue_reports": 1, "queue_delivered": 1}


@pytest.mark.parametrize("trouble", ["raises", "nothing", "another's"])
def test_who_delivers_and_fails_to_say_how_it_went_is_a_4xx(world, trouble):
    def answer(job):
        if trouble == "raises":
            raise RuntimeError("a bug")
        return [] if trouble == "nothing" else [outcome(999, "delivered")]

    world.add(mail("a@x.test"))
    world.answer = answer
    world.run(world.settled)
    assert world.bench.one("SELECT state, attempts FROM message") == ("queued", 1)
    assert len(world.jobs) == 1


def test_a_dead_destination_costs_a_few_tries_and_delays_nobody(world):
    async def answer(job):
        if job.domain == "dead.test":
            await asyncio.sleep(0.2)
            return [outcome(to.id, "retry", unreachable=True, text="refused") for to in job.recipients]
        return [outcome(to.id, "delivered") for to in job.recipients]

    world.answer = answer
    world.add(*(mail(f"u{n}@dead.test") for n in range(700)), *(mail(f"u{n}@x.test") for n in range(20)))
    world.run(world.settled)
    tried = [job for job in world.jobs if job.domain == "dead.test"]
    assert len(tried) <= 5
    assert world.bench.one("SELECT count(*), min(attempts), max(attempts) FROM message") == (700, 1, 1)
    assert len(world.jobs) - len(tried) == 20


def test_a_dead_destination_is_tried_when_somebody_asks_for_it(world):
    """By hand: the message gets a real try, not one that is counted because the destination was dead before."""
    world.answer = lambda job: [outcome(to.id, "retry", unreachable=True, text="refused") for to in job.recipients]
    world.add(mail("a@dead.test"))
    asked = []

    def again():
        if not asked and world.bench.one("SELECT attempts FROM message") == 1:
            asked.append(True)
            ask_to_retry(world.bench.directory)
            world.bench.connection.execute("UPDATE message SET next_attempt = 0")
            world.bench.connection.execute("UPDATE flow SET turn = 0")
            world.runner.ring()
        return len(world.jobs) == 2 and world.bench.one("SELECT attempts FROM message") == 2

    world.run(again)
    assert "not tried" not in world.bench.one("SELECT last_error FROM message")


def test_who_asks_while_a_turn_is_under_way_gets_a_real_try_too(world, monkeypatch):
    """The turn began before the wish and finds a message due whose destination is dead."""
    world.answer = lambda job: [outcome(to.id, "retry", unreachable=True, text="refused") for to in job.recipients]
    world.add(mail("a@dead.test"))
    looked = runner_module.next_turn
    asked = []

    def look_after_the_wish(connection, full):
        if full and not asked and connection.execute("SELECT attempts FROM message").fetchone() == (1,):
            asked.append(True)
            ask_to_retry(world.bench.directory)
            connection.execute("UPDATE message SET next_attempt = 0")
            connection.execute("UPDATE flow SET turn = 0")
        return looked(connection, full)

    monkeypatch.setattr(runner_module, "next_turn", look_after_the_wish)
    world.run(lambda: world.bench.one("SELECT attempts FROM message") == 2)
    assert "not tried" not in world.bench.one("SELECT last_error FROM message")
    assert len(world.jobs) == 2


def test_no_more_at_once_than_configured(tmp_path):
    world = World(tmp_path, concurrency=7, destination_concurrency=3)
    active = [0]
    most = [0]

    async def answer(job):
        active[0] += 1
        most[0] = max(most[0], active[0])
        await asyncio.sleep(0.01)
        active[0] -= 1
        return [outcome(to.id, "delivered") for to in job.recipients]

    world.answer = answer
    world.add(*(mail(f"u{n}@d{n % 10}.test") for n in range(60)))
    world.run(world.empty)
    assert most[0] <= 7
    most[0] = 0
    world.add(*(mail(f"u{n}@x.test") for n in range(30)))
    world.run(world.empty)
    assert most[0] <= 3


def test_a_suppressed_recipient_is_not_tried(world):
    from echomox.queue import suppression
    from echomox.queue.commit import once

    once(world.bench.connection, lambda c: suppression.add(c, "me", "a@x.test", "by hand"))
    world.add(mail("A+tag@x.test"))
    world.run(world.empty)
    assert world.jobs == []
    assert world.bench.one("SELECT status FROM retired WHERE kind = 'submission'") == "suppressed"


@pytest.mark.parametrize(("code", "state"), [(550, 0), (450, 1)])
def test_a_transport_that_fails(world, code, state):
    world.ways = lambda question: Way(question.domain, "no", Transport("fail", code=code, text="closed"))
    world.add(mail(QueueRecipient("a@x.test", notify=NEVER)))
    world.run(lambda: world.empty() or world.settled())
    assert world.jobs == []
    assert world.bench.one("SELECT count(*) FROM message") == state


def test_a_transport_that_is_missing_waits(world):
    world.ways = lambda question: Way(question.domain, missing="gone")
    world.add(mail("a@x.test"))
    world.run(world.settled)
    assert "gone is not configured" in world.bench.one("SELECT last_error FROM message")


def test_an_outcome_waits_until_the_disk_has_room_again(world, monkeypatch):
    """And the message is not sent again meanwhile."""
    monkeypatch.setattr(runner_module, "LOOK", 0.02)
    real, failures = runner_module.finish, [3]

    def finish(*arguments):
        if failures[0]:
            failures[0] -= 1
            raise OSError(28, "no space left on device")
        return real(*arguments)

    monkeypatch.setattr(runner_module, "finish", finish)
    world.add(mail("a@x.test"))
    world.run(world.empty)
    assert failures == [0]
    assert len(world.jobs) == 1


def test_a_disk_that_is_full_while_the_wal_is_moved_is_no_error_of_the_program(world, monkeypatch):
    looked = []

    def checkpoint(connection, directory):
        looked.append(directory)
        if len(looked) == 1:
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(runner_module, "LOOK", 0.005)
    monkeypatch.setattr(runner_module.sweep, "checkpoint", checkpoint)
    world.run(lambda: len(looked) > 1)
    assert "exceptions" not in world.counts


def test_a_file_without_a_message_is_found_later_too(world, monkeypatch):
    """At the start it is too young: it may belong to an addition on its way."""
    age = [3600.0]

    def remove_orphans(connection, directory):
        return orphans(connection, directory, age[0])

    def until():
        if looked and age[0]:
            age[0] = 0.0
        return not lost.exists()

    orphans, looked = runner_module.sweep.remove_orphans, []
    lost = world.bench.directory / "msg" / "a" / "abandoned"
    lost.write_bytes(b"x")
    monkeypatch.setattr(runner_module, "LOOK", 0.005)
    monkeypatch.setattr(runner_module, "SWEEP", 0.01)
    monkeypatch.setattr(runner_module.sweep, "remove_orphans", remove_orphans)
    monkeypatch.setattr(runner_module.sweep, "checkpoint", lambda connection, directory: looked.append(directory))
    world.run(until)


def test_the_wal_is_kept_short_though_the_queue_could_not_be_opened_at_first(world, monkeypatch):
    opened, looked = [], []

    def connect(directory, **more):
        opened.append(directory)
        if len(opened) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return runner_connect(directory, **more)

    runner_connect = runner_module.connect
    monkeypatch.setattr(runner_module, "LOOK", 0.005)
    monkeypatch.setattr(runner_module, "connect", connect)
    monkeypatch.setattr(runner_module.sweep, "checkpoint", lambda connection, directory: looked.append(directory))
    world.run(lambda: looked)


def test_what_is_under_way_at_the_end_is_given_back(world):
    async def answer(job):
        await asyncio.sleep(60)
        raise AssertionError

    world.answer = answer
    world.add(mail("a@x.test"))
    world.run(lambda: bool(world.jobs))
    assert world.bench.one("SELECT state, attempts, interrupted FROM message") == ("queued", 0, 0)


def test_two_runners_never_have_the_same_message(tmp_path):
    one, two = World(tmp_path), World(tmp_path)
    one.add(*(mail(f"u{n}@d{n % 7}.test") for n in range(200)))

    async def both():
        await asyncio.gather(one._run(one.empty, 120), two._run(two.empty, 120))

    async def answer(job):
        await asyncio.sleep(0.002)
        return [outcome(to.id, "delivered") for to in job.recipients]

    one.answer = two.answer = answer
    asyncio.run(both())
    seen = [job.recipients[0].id for job in one.jobs + two.jobs]
    assert len(seen) == len(set(seen)) == 200
