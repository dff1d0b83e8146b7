"""Limits that follow success, and dead destinations."""

from __future__ import annotations

from echomox.queue.destinations import INITIAL, Destinations, ask_to_retry, asked_to_retry


def test_it_begins_with_five_and_grows_with_success_up_to_the_limit():
    found = Destinations(most=8)
    for now in range(10):
        found.take("x", now)
        found.succeeded("x", now)
    assert found.room(10)[1] == {"x": 8}
    assert found.initial == INITIAL == 5


def test_trouble_halves_and_leaves_alone_for_longer_each_time():
    found = Destinations(dead_time=60, dead_most=200)
    for _ in range(4):
        found.take("x", 0)
    assert found.failed("x", 0, "refused")
    assert not found.failed("x", 1, "refused")  # of the same moment
    assert found.room(1)[0] == {"x"}
    assert found.dead(1) == {"x": "refused"}
    assert found.revival(1) == 60
    found.take("x", 61)
    assert found.failed("x", 61, "refused")
    assert found.revival(62) == 181
    found.take("x", 190)
    assert found.failed("x", 190, "refused")
    assert found.revival(191) == 390  # dead_most


def test_after_death_one_try_finds_out():
    found = Destinations(dead_time=60)
    found.take("x", 0)
    found.failed("x", 0, "")
    assert found.room(61) == (set(), {"x": 1})
    found.take("x", 61)
    assert found.room(61)[0] == {"x"}
    found.succeeded("x", 62)
    assert found.room(62)[1]["x"] > 1
    assert found.dead(62) == {}


def test_memory_is_bounded():
    found = Destinations()
    for number in range(25_000):
        found.take(f"d{number}", number)
        found.succeeded(f"d{number}", number)
    assert len(found.shown(0)) <= 10_000


def test_several_runners_keep_to_the_limit_together():
    found = [Destinations(most=20, runners=4) for _ in range(4)]
    for one in found:
        for now in range(40):
            one.take("x", now)
            one.succeeded("x", now)
    assert sum(one.room(50)[1]["x"] for one in found) == 20
    assert Destinations(most=20, runners=2).initial == 2
    assert Destinations(most=2, runners=16).room(0) == (set(), {})
    assert Destinations(most=2, runners=16).initial == 1


def test_two_wishes_at_once_are_two(tmp_path):
    """A runner looks between them."""
    seen = [asked_to_retry(tmp_path)]
    for _ in range(50):
        ask_to_retry(tmp_path)
        seen.append(asked_to_retry(tmp_path))
    assert len(set(seen)) == 51
