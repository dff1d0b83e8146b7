"""The sums on disk, the scale, fixed-point read-outs."""

from __future__ import annotations

import numpy as np
import pytest

from echomox.reservoir.ridge import (
    SLOPE,
    UNIT,
    BadStatistics,
    Scale,
    Statistics,
    fixed_point,
    outcome,
    quantise,
    solve,
)


def filled(number, width=12, seed=1):
    statistics = Statistics(width)
    draw = np.random.default_rng(seed)
    for at in range(number):
        statistics.add(at % 2, quantise(draw.uniform(-1, 1, width).astype(np.float32)))
        statistics.scale.add(statistics.scale.lesson(draw.uniform(-1, 1), bool(at % 2)), 1)
    return statistics


@pytest.mark.parametrize(
    ("value", "kept"), [(0.0, 0), (1.0, UNIT), (-1.0, -UNIT), (2.0, UNIT), (0.5, 64), (-0.004, -1), (0.003, 0)]
)
def test_quantise(value, kept):
    assert quantise(np.array([value], np.float32)).tolist() == [kept]


@pytest.mark.parametrize("number", [0, 1, 2, 50, 1500])
def test_sums_read_back_to_the_bit(number):
    statistics = filled(number)
    data = statistics.dump()
    found = Statistics.load(data)
    assert found.dump() == data
    assert found.counts == statistics.counts
    assert found.scale == statistics.scale
    assert all(np.array_equal(a, b) for a, b in zip(found.sums(), statistics.sums()))


def test_negative_and_large_sums_read_back():
    statistics = Statistics(2)
    sums, products = statistics.sums()
    sums[:] = [[-1, 2**40], [5, -(2**40)]]
    products[:] = [[2**55, -(2**33)], [-(2**33), 7]]
    found = Statistics.load(statistics.dump()).sums()
    assert np.array_equal(found[0], sums)
    assert np.array_equal(found[1], products)


@pytest.mark.parametrize("at", [0, 3, 20, 47, 48, 60, -1])
def test_what_is_cut_short_or_longer_is_no_sums(at):
    data = filled(9).dump()
    with pytest.raises(BadStatistics):
        Statistics.load(data[:at])
    with pytest.raises(BadStatistics):
        Statistics.load(data + b"\0")


def test_a_vector_of_another_width_is_refused_and_changes_nothing():
    statistics = filled(5)
    before = statistics.dump()
    with pytest.raises(BadStatistics):
        statistics.add(0, np.zeros(3, np.int8))
    assert statistics.dump() == before


@pytest.mark.parametrize(("messages", "most"), [(500, 140_000), (130_000, 200_000)])
def test_an_account_takes_at_most_200_kb_on_disk(messages, most):
    """The largest sums that so many messages can give: every value at its bound."""
    statistics = Statistics(300)
    sums, products = statistics.sums()
    sums[:] = messages * UNIT
    products[:] = messages * UNIT * UNIT
    statistics.counts[:] = messages // 2, messages - messages // 2
    assert len(statistics.dump()) <= most


def test_merged_sums_are_those_of_all_messages():
    one, other = filled(30, seed=1), filled(40, seed=2)
    both = filled(30, seed=1)
    both.merge(other)
    assert both.total == 70
    assert np.array_equal(both.sums()[1], one.sums()[1] + other.sums()[1])
    with pytest.raises(BadStatistics):
        both.merge(Statistics(3))


def test_fixed_point_outcome_is_the_product():
    statistics = filled(60)
    w = solve(statistics, 3.0)
    vector = quantise(np.linspace(-1, 1, 12).astype(np.float32))
    expected = np.append(vector / UNIT, 1.0) @ w
    assert outcome(fixed_point(w), vector) == pytest.approx(expected, abs=2e-5)


def test_the_scale_learns_which_way_and_how_far_and_forgets_exactly():
    scale, lessons = Scale(), []
    draw = np.random.default_rng(3)
    for _ in range(4000):
        value = draw.uniform(-1, 1)
        spam = bool(draw.random() < 1 / (1 + np.exp(-(2.0 * value - 1.0))))
        lessons.append(scale.lesson(value, spam))
        scale.add(lessons[-1], 1)
    assert scale.log_odds(1.0) - scale.log_odds(0.0) == pytest.approx(2.0, abs=0.7)
    assert scale.log_odds(0.0) == pytest.approx(-1.0, abs=0.5)
    for lesson in lessons:
        scale.add(lesson, -1)
    assert scale == Scale()
    assert scale.log_odds(0.5) == 0.5 * SLOPE


def test_a_clear_outcome_that_was_right_teaches_the_scale_little():
    assert abs(Scale().lesson(1.5, True)[0]) < abs(Scale().lesson(0.1, True)[1]) / 50
