"""The scheduler: when jobs are due, what is kept of their runs, jobs that fail, hang, or are stopped; the jobs."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time

import pytest

from echomox.clock import FakeClock
from echomox.config.load import parse_dynamic
from echomox.config.paths import Paths
from echomox.config.schema import Filter, Static
from echomox.config.snapshot import Snapshot
from echomox.dns.fake import FakeResolver
from echomox.message.mime import parse
from echomox.store.engine import Addition, Target
from echomox.store.sqlite import SqliteEngine
from tests.unit.smtpd.support import QUIET
from workers.scheduler import (
    DAY,
    FILE,
    JOBS,
    MAX_UID,
    MINUTES,
    RETENTION,
    RETRY,
    Desk,
    Job,
    Scheduler,
    expire_mail,
    watch_dnsbl,
)

NOW = 1_700_000_000.0
DOMAINS = """
[domains."a.test"]
[accounts.ann]
addresses = ["ann@a.test"]
rejects_messages = 3
trash_days = 7
[accounts.bob]
addresses = ["bob@a.test"]
"""


def desk(tmp_path, **changes):
    paths = Paths.home(tmp_path)
    paths.data.mkdir(parents=True, exist_ok=True)
    static = Static(hostname="mail.a.test", filter=changes.pop("filter", Filter()))
    found = Snapshot(parse_dynamic("/x/domains.toml", DOMAINS.encode()), static, 1)
    values = {"engine": None, "resolver": FakeResolver(), "clock": FakeClock(NOW), **changes}
    return Desk(static, paths, snapshot=lambda: found, log=QUIET, **values)


def job(run, name="one", interval=DAY, limit=10.0):
    return Job(name, interval, limit, run)


async def nothing(desk):
    return {"done": 1}


def test_the_table():
    assert len({one.name for one in JOBS}) == len(JOBS)
    assert all(0 < one.limit <= one.interval for one in JOBS)


def test_a_job_that_never_ran_is_due_soon_and_then_after_its_interval(tmp_path):
    async def run():
        place = desk(tmp_path)
        scheduler = Scheduler(place, (job(nothing),), lambda: 0.5)
        assert scheduler.due()[0] == NOW + MINUTES / 2
        await scheduler.run_one(job(nothing))
        assert scheduler.due()[0] == NOW + DAY
        kept = json.loads((place.paths.data / FILE).read_text())
        assert kept["one"]["at"] == NOW and kept["one"]["error"] == "" and kept["one"]["did"] == {"done": 1}
        place.clock.advance(1000)
        again = Scheduler(place, (job(nothing),), lambda: 0.0)
        assert again.due()[0] == NOW + DAY

    asyncio.run(run())


@pytest.mark.parametrize("chance,due", [(0.0, 0.9 * DAY), (1.0, 1.1 * DAY)])
def test_servers_do_not_ask_at_the_same_moment(tmp_path, chance, due):
    async def run():
        scheduler = Scheduler(desk(tmp_path), (job(nothing),), lambda: chance)
        await scheduler.run_one(job(nothing))
        assert scheduler.due()[0] == pytest.approx(NOW + due)

    asyncio.run(run())


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"one": 1}', b'{"one": {"at": "x"}}', b"\xff", b'{"one": {"at": 9e99}}', b"[" * 100_000],
)
def test_what_was_kept_cannot_be_read(tmp_path, content):
    async def run():
        place = desk(tmp_path)
        (place.paths.data / FILE).write_bytes(content)
        assert Scheduler(place, (job(nothing),), lambda: 0.0).due()[0] == NOW

    asyncio.run(run())


def test_a_clock_that_was_set_back_does_not_stop_a_job(tmp_path):
    async def run():
        place = desk(tmp_path)
        await Scheduler(place, (job(nothing),), lambda: 0.5).run_one(job(nothing))
        place.clock.advance(-100 * DAY)
        assert Scheduler(place, (job(nothing),), lambda: 0.0).due()[0] == NOW - 100 * DAY

    asyncio.run(run())


def test_a_job_that_fails_is_tried_again_sooner_and_the_others_go_on(tmp_path):
    async def bad(desk):
        raise ValueError("broken")

    async def run():
        rows = (job(bad, "bad"), job(nothing, "good"))
        scheduler = Scheduler(desk(tmp_path), rows, lambda: 0.5)
        last = await scheduler.run_one(rows[0])
        assert last.error == "ValueError: broken"
        assert scheduler._due["bad"] == NOW + RETRY
        assert (await scheduler.run_one(rows[1])).error == ""

    asyncio.run(run())


def test_a_job_that_hangs_is_given_up(tmp_path):
    async def hang(desk):
        await asyncio.sleep(60)

    async def thread(desk):
        def work():
            while not desk.stopped():
                time.sleep(0.001)
            return {"n": 1}

        return await asyncio.to_thread(work)

    async def run():
        for work in (hang, thread):
            one = job(work, limit=0.02)
            last = await Scheduler(desk(tmp_path), (one,)).run_one(one)
            assert "not done within" in last.error and last.seconds < 50

    asyncio.run(run())


def test_a_job_that_was_given_up_does_not_go_on_when_the_next_begins(tmp_path):
    looks, seen = threading.Event(), []

    async def thread(desk):
        def work():
            looks.wait(60)
            seen.append(desk.stopped())

        return await asyncio.to_thread(work)

    async def run():
        rows = (job(thread, "slow")._replace(limit=0.02), job(nothing, "next"))
        scheduler = Scheduler(desk(tmp_path), rows)
        assert (await scheduler.run_one(rows[0])).error
        assert not (await scheduler.run_one(rows[1])).error
        looks.set()

    asyncio.run(run())  # waits for its threads
    assert seen == [True]


def test_stop_ends_the_wait_and_the_job_at_hand(tmp_path):
    async def hang(desk):
        await asyncio.sleep(60)

    async def run():
        for chance in (0.0, 1.0):  # due now; due later
            scheduler = Scheduler(desk(tmp_path / str(chance)), (job(hang),), lambda chance=chance: chance)
            running = asyncio.create_task(scheduler.run())
            await asyncio.sleep(0.02)
            scheduler.stop()
            await asyncio.wait_for(running, 60)

    asyncio.run(run())


def test_a_full_disk_does_not_end_it(tmp_path):
    async def run():
        place = desk(tmp_path)
        scheduler = Scheduler(place, (job(nothing),))
        scheduler._path = tmp_path / "missing" / FILE
        assert (await scheduler.run_one(job(nothing))).error == ""

    asyncio.run(run())


# -- the jobs


def test_rejects_and_trash_go_by_age_and_number(tmp_path):
    """F13, T16; "saved" is when a message came into its mailbox, in the system's time."""
    source = b"From: a@b.example\r\nSubject: x\r\n\r\ntext\r\n"
    numbers = itertools.count()

    async def run():
        clock = FakeClock(time.time())
        engine = SqliteEngine(Paths.home(tmp_path))
        place = desk(tmp_path, engine=engine, clock=clock)
        engine.recover()
        for account in ("ann", "bob"):
            engine.create(account)
        committer = engine.committer("test.0")
        for account, mailbox, count in (
            ("ann", "Rejects", 5),
            ("ann", "Trash", 2),
            ("ann", "Junk", 2),
            ("bob", "Rejects", 5),
            ("bob", "Trash", 1),
        ):
            for _ in range(count):
                targets = [Target(account, mailbox)]
                await committer.add(Addition(source, parse(source), targets, f"d{next(numbers)}", clock.now()))

        def left(account):
            return {box.name: box.total for box in engine.open(account).mailboxes() if box.total}

        assert await expire_mail(place) == {"rejects": 2, "trash": 0, "junk": 0, "others": 0}
        assert left("ann") == {"Rejects": 3, "Trash": 2, "Junk": 2}
        rows = engine.open("ann").fetch(engine.open("ann").mailbox("Rejects").id, 1, MAX_UID, ("uid",))
        assert [uid for (uid,) in rows] == [3, 4, 5]  # the oldest are gone
        clock.advance(8 * DAY)
        assert await expire_mail(place) == {"rejects": 0, "trash": 2, "junk": 0, "others": 0}
        clock.advance(7 * DAY)
        assert await expire_mail(place) == {"rejects": 8, "trash": 0, "junk": 0, "others": 0}
        assert left("ann") == {"Junk": 2} and left("bob") == {"Trash": 1}
        ann = engine.open("ann")
        for value in (b"", b"-1", b"soon", b"\xc2\xb2", b"999999", b"17"):
            ann.set_annotations(ann.mailbox("Junk").id, {RETENTION: value})
            assert await expire_mail(place) == {"rejects": 0, "trash": 0, "junk": 0, "others": 0}
        clock.advance(3 * DAY)
        assert await expire_mail(place) == {"rejects": 0, "trash": 0, "junk": 0, "others": 2}
        place.stopped = lambda: True
        assert await expire_mail(place) == {"rejects": 0, "trash": 0, "junk": 0, "others": 0}
        await committer.close()
        engine.close()

    asyncio.run(run())


def test_our_own_addresses_on_a_list(tmp_path):
    tables = {
        ("2.0.0.127.bl.example", "A"): "127.0.0.2",
        ("5.113.0.203.bl.example", "A"): "127.0.0.2",
        ("2.0.0.127.ill.example", "A"): "127.0.0.2",
        ("1.0.0.127.ill.example", "A"): "127.0.0.2",
    }
    settings = Filter(dnsbl=("bl.example", "ill.example"))
    place = desk(
        tmp_path, filter=settings, resolver=FakeResolver(tables), addresses=lambda: ["203.0.113.5", "203.0.113.6"]
    )
    did = asyncio.run(watch_dnsbl(place))
    assert did == {"lists": 2, "listed": ["203.0.113.5@bl.example"], "ill": ["ill.example"]}
    place = desk(tmp_path, filter=Filter(dnsbl=("bl.example",), dnsbl_watch=False), resolver=FakeResolver(tables))
    assert asyncio.run(watch_dnsbl(place)) == {"lists": 0} and not place.resolver.asked
