"""When the next try is."""

from __future__ import annotations

import pytest

from echomox.config.schema import Queue
from echomox.queue.schedule import DEFAULT, give_up_time, is_delay_due, next_attempt


@pytest.mark.parametrize(
    ("attempts", "pause"),
    [(0, 0), (1, 450), (2, 900), (3, 1800), (4, 3600), (5, 7200), (6, 14400), (7, 28800), (8, 57600)],
)
def test_the_default_is_moxs(attempts, pause):
    assert next_attempt(attempts, DEFAULT, 100.0) == 100.0 + pause
    assert Queue().schedule == DEFAULT


def test_after_the_last_one_there_is_none():
    assert next_attempt(9, DEFAULT, 0.0) is None
    assert next_attempt(0, (), 0.0) is None


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 900.0), (0.5, 1000.0), (0.75, 1050.0)])
def test_chance_moves_it_within_the_jitter(chance, expected):
    assert next_attempt(1, (0.0, 1000.0), 0.0, jitter=0.1, chance=chance) == pytest.approx(expected)


def test_the_end_of_the_tries_is_the_sum_of_what_is_left():
    assert give_up_time(1, (0.0, 10.0, 20.0), 5.0) == 35.0


@pytest.mark.parametrize(
    ("attempts", "age", "at_attempt", "after", "due"),
    [
        (4, 0, 5, 0, False),
        (5, 0, 5, 0, True),
        (9, 9e9, 0, 0, False),
        (1, 3600, 0, 3600, True),
        (1, 3599, 0, 3600, False),
    ],
)
def test_a_delay_is_told_by_tries_or_time(attempts, age, at_attempt, after, due):
    assert is_delay_due(attempts, age, at_attempt, after) is due
