"""Giving out: fair, grouped, never twice, and back when the holder is gone."""

from __future__ import annotations

import pytest

from echomox.queue import control
from echomox.queue.commit import once
from echomox.queue.insert import direct
from echomox.queue.lease import MOVES, release, release_lost
from echomox.queue.routes import Way
from tests.unit.queue.support import NOW, Bench, mail, outcome


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def hops(jobs):
    return [leased.hop for leased in jobs]


def test_recipients_of_one_message_and_hop_go_together(bench):
    bench.add(mail("a@x.test", "b@X.test", "c@y.test"))
    jobs = bench.lease()
    assert {leased.hop: [to.address for to in leased.job.recipients] for leased in jobs} == {
        "x.test": ["a@x.test", "b@X.test"],
        "y.test": ["c@y.test"],
    }


def test_at_most_a_hundred_go_together(bench):
    bench.add(mail(*(f"u{n}@x.test" for n in range(250))))
    assert sorted(len(leased.job.recipients) for leased in bench.lease()) == [50, 100, 100]


def test_what_is_leased_is_not_leased_again(bench):
    bench.add(mail("a@x.test"))
    assert len(bench.lease(holder="one")) == 1
    assert bench.lease(holder="two") == []


def test_accounts_take_turns(bench):
    for n in range(50):
        bench.add(mail(f"u@d{n}.test", account="bulk"))
    bench.add(mail("a@last.test", account="alice"))
    first = bench.lease(want=4)
    assert "last.test" in hops(first)
    assert [leased.job.account for leased in first].count("bulk") == 3


def test_destinations_take_turns(bench):
    for n in range(50):
        bench.add(mail(f"u{n}@big.test"))
    bench.now += 1
    bench.add(mail("a@small.test"))
    bench.lease(want=1)
    assert "small.test" in hops(bench.lease(want=2))


def test_a_hop_gets_no_more_than_it_has_room_for(bench):
    for n in range(10):
        bench.add(mail(f"u{n}@x.test"))
    bench.add(mail("a@y.test"))
    assert sorted(hops(bench.lease(default_room=3))) == ["x.test"] * 3 + ["y.test"]
    assert hops(bench.lease(full={"x.test"})) == []
    assert bench.wait_until is None  # nothing by itself


def test_what_is_not_due_waits(bench):
    bench.add(mail("a@x.test", hold_until=NOW + 60))
    assert bench.lease() == []
    assert bench.wait_until == NOW + 60
    bench.now += 60
    assert len(bench.lease()) == 1


def test_a_message_whose_route_has_changed_moves_to_its_flow(bench):
    bench.add(mail("a@x.test"))
    bench.add(mail("b@y.test"))
    bench.ways = lambda question: Way("=relay", "relay")
    assert hops(bench.lease()) == ["=relay", "=relay"]
    assert bench.rows("SELECT * FROM flow") == []


def test_after_a_change_of_routes_the_first_look_gives_out_what_there_is_room_for(bench):
    for n in range(300):
        bench.add(mail(f"u@d{n}.test"))
    bench.ways = lambda question: Way("=relay", "relay")
    jobs = bench.lease(default_room=5)
    assert (hops(jobs), {leased.job.transport_name for leased in jobs}) == (["=relay"] * 5, {"relay"})
    moved = bench.one("SELECT count(*) FROM message m JOIN flow f ON f.id = m.flow WHERE f.hop = '=relay'")
    assert 0 < moved <= MOVES  # the rest stays where it is until its turn comes
    assert len(bench.lease(default_room=5)) == 5


def test_where_a_new_way_has_no_room_messages_move_to_it_and_let_others_pass(bench):
    for n in range(100):
        bench.add(mail(f"u{n}@old.test"))
    bench.now += 1
    bench.add(mail("a@good.test"))
    bench.ways = lambda question: Way("=relay" if question.domain == "old.test" else question.domain)
    found = []
    for _ in range(100 // MOVES + 2):
        found += hops(bench.lease(full={"=relay"}))
        bench.now += 1
    assert found == ["good.test"]
    assert bench.rows("SELECT hop, count(*) FROM message m JOIN flow f ON f.id = m.flow GROUP BY hop") == [
        ("=relay", 100)
    ]
    assert len(bench.lease(default_room=7)) == 7


def test_recipients_that_go_one_way_by_now_are_one_job(bench):
    bench.add(mail("a@x.test", "b@y.test", "c@z.test"))
    bench.add(mail("d@y.test"))
    bench.ways = lambda question: Way("=relay" if question.domain != "z.test" else question.domain)
    jobs = bench.lease()
    assert sorted((leased.hop, [to.address for to in leased.job.recipients]) for leased in jobs) == [
        ("=relay", ["a@x.test", "b@y.test"]),
        ("=relay", ["d@y.test"]),
        ("z.test", ["c@z.test"]),
    ]
    assert bench.rows("SELECT * FROM flow") == []


def test_recipients_that_go_other_ways_by_now_are_not_taken_along(bench):
    bench.ways = lambda question: Way("=relay", "relay")
    bench.add(mail("a@x.test", "b@y.test", "c@x.test"))
    bench.ways = direct
    jobs = bench.lease()
    assert {leased.hop: [to.address for to in leased.job.recipients] for leased in jobs} == {
        "x.test": ["a@x.test", "c@x.test"],
        "y.test": ["b@y.test"],
    }


def test_one_message_to_one_host_is_one_job_whatever_the_domains(bench):
    bench.ways = lambda question: Way("=relay", "relay")
    bench.add(mail("a@x.test", "b@y.test"))
    (leased,) = bench.lease()
    assert len(leased.job.recipients) == 2


def test_what_a_dead_runner_held_is_queued_again(bench):
    bench.add(mail("a@x.test"))
    bench.lease(holder="gone")
    given = once(bench.connection, lambda c: release_lost(c, bench.now, direct, lambda holder: holder == "gone"))
    assert given == 1
    (leased,) = bench.lease()
    assert leased.job.interrupted
    assert leased.job.attempt == 1


def test_a_lease_ends_by_its_time_whatever_the_holder(bench):
    bench.add(mail("a@x.test"))
    bench.lease()
    assert once(bench.connection, lambda c: release_lost(c, bench.now + 99, direct, lambda holder: False)) == 0
    assert once(bench.connection, lambda c: release_lost(c, bench.now + 101, direct, lambda holder: False)) == 1


def test_a_lease_given_back_counts_no_try(bench):
    (identity,) = bench.add(mail("a@x.test"))
    bench.lease()
    assert once(bench.connection, lambda c: release(c, "other", [identity], bench.now, direct)) == 0
    assert once(bench.connection, lambda c: release(c, "w", [identity], bench.now, direct)) == 1
    assert not bench.lease()[0].job.interrupted


def test_an_outcome_after_the_lease_was_lost_changes_nothing(bench):
    (identity,) = bench.add(mail("a@x.test"))
    bench.lease(holder="old")
    once(bench.connection, lambda c: release_lost(c, bench.now, direct, lambda holder: True))
    bench.lease(holder="new")
    assert bench.finish(outcome(identity, "failed"), holder="old").lost == [identity]
    assert bench.one("SELECT state, holder FROM message") == ("leased", "new")


def test_held_mail_is_not_given_out_and_comes_back(bench):
    ids = bench.add(mail("a@x.test"))
    assert once(bench.connection, lambda c: control.hold(c, ids, "by hand")) == 1
    assert bench.lease() == []
    assert bench.rows("SELECT * FROM flow") == []
    assert once(bench.connection, lambda c: control.unhold(c, ids, direct)) == 1
    assert len(bench.lease()) == 1


def test_the_cost_of_a_lease_does_not_grow_with_the_queue(bench):
    """By counting what SQLite does, not by the clock."""

    def steps() -> int:
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        bench.connection.set_progress_handler(tick, 10)
        jobs = bench.lease(want=10)
        bench.connection.set_progress_handler(None, 10)
        assert len(jobs) == 10
        return count

    for n in range(200):
        bench.add(mail(f"u@d{n % 40}.test", account=f"a{n % 4}"))
    few = steps()
    bench.connection.execute("PRAGMA synchronous=OFF")
    for n in range(4000):
        bench.add(mail(f"u@d{n % 40}.test", account=f"a{n % 4}"))
    assert steps() < few * 1.5 + 50
