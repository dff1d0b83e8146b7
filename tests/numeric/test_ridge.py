"""The read-out against the normal equations and against least squares, and its undo, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from echomox.reservoir.ridge import PENDING, UNIT, Statistics, equations, quantise, solve, solve_parts

WIDTH = 24


def messages(number, seed=2, width=WIDTH):
    """(kinds, quantised vectors), with three times as much ham as spam."""
    draw = np.random.default_rng(seed)
    kinds = (draw.random(number) < 0.25).astype(int)
    kinds[:2] = 0, 1
    centre = draw.uniform(-0.5, 0.5, (2, width))
    pooled = centre[kinds] + draw.normal(0, 0.3, (number, width))
    return kinds, quantise(pooled.astype(np.float32))


def learnt(kinds, vectors):
    statistics = Statistics(vectors.shape[1])
    for kind, vector in zip(kinds, vectors):
        statistics.add(int(kind), vector)
    return statistics


def batch_system(kinds, vectors, ridge, prior=None):
    """Rows and targets of the least squares problem that the module states, from the messages themselves."""
    x = np.column_stack([vectors / UNIT, np.ones(len(vectors))])
    number, width = x.shape
    means = [x[kinds == kind].mean(axis=0) for kind in (0, 1)]
    rows = [(x - np.array(means)[kinds]) / np.sqrt(number)]
    targets = [np.zeros(number)]
    for kind, target in ((0, -1.0), (1, 1.0)):
        rows.append(means[kind][None] * np.sqrt(0.5))
        targets.append(np.array([target]) * np.sqrt(0.5))
    rows.append(np.eye(width) * np.sqrt(ridge / number))
    targets.append((np.zeros(width) if prior is None else prior) * np.sqrt(ridge / number))
    return np.concatenate(rows), np.concatenate(targets)


@pytest.mark.parametrize("number", [5, 60, 700])
@pytest.mark.parametrize("ridge", [0.1, 3.0, 100.0])
def test_solution_is_that_of_least_squares_over_all_messages(number, ridge):
    kinds, vectors = messages(number)
    rows, targets = batch_system(kinds, vectors, ridge)
    expected = np.linalg.lstsq(rows, targets, rcond=None)[0]
    np.testing.assert_allclose(solve(learnt(kinds, vectors), ridge), expected, atol=1e-9)


def test_solution_satisfies_the_normal_equations():
    kinds, vectors = messages(300)
    statistics = learnt(kinds, vectors)
    rows, targets = batch_system(kinds, vectors, 3.0)
    a, b = equations(statistics, 3.0)
    np.testing.assert_allclose(a, rows.T @ rows, atol=1e-9)
    np.testing.assert_allclose(b, rows.T @ targets, atol=1e-9)
    np.testing.assert_allclose(a @ solve(statistics, 3.0), b, atol=1e-9)


def test_ridge_towards_a_prior():
    kinds, vectors = messages(40)
    prior = np.random.default_rng(9).normal(0, 1, WIDTH + 1)
    statistics = learnt(kinds, vectors)
    rows, targets = batch_system(kinds, vectors, 5.0, prior)
    expected = np.linalg.lstsq(rows, targets, rcond=None)[0]
    np.testing.assert_allclose(solve(statistics, 5.0, prior=prior), expected, atol=1e-9)
    np.testing.assert_allclose(solve(statistics, 1e12, prior=prior), prior, atol=1e-6)
    assert solve(Statistics(WIDTH), 5.0, prior=prior) is prior
    assert solve(Statistics(WIDTH), 5.0) is None


def test_some_columns_are_solved_as_if_there_were_no_others():
    kinds, vectors = messages(200)
    chosen = [0, 3, 4, 11]
    expected = solve(learnt(kinds, vectors[:, chosen]), 2.0)
    np.testing.assert_allclose(solve(learnt(kinds, vectors), 2.0, chosen), expected, atol=1e-12)


def test_online_updates_give_the_batch_solution_in_any_order():
    kinds, vectors = messages(400)
    order = np.random.default_rng(4).permutation(len(kinds))
    one, other = learnt(kinds, vectors), learnt(kinds[order], vectors[order])
    assert one.dump() == other.dump()
    assert np.array_equal(solve(one, 3.0), solve(other, 3.0))


@pytest.mark.parametrize("number", [1, 7, PENDING - 1, PENDING, 3 * PENDING + 5])
def test_undo_restores_every_bit(number):
    kinds, vectors = messages(number + 2)
    extra_kinds, extra = messages(90, seed=8)
    statistics = learnt(kinds, vectors)
    before, w = statistics.dump(), solve(statistics, 3.0)
    for kind, vector in zip(extra_kinds, extra):
        statistics.add(int(kind), vector)
    assert statistics.dump() != before
    for at in np.random.default_rng(1).permutation(len(extra)):
        statistics.add(int(extra_kinds[at]), extra[at], -1)
    assert statistics.dump() == before
    assert np.array_equal(solve(statistics, 3.0), w)


def test_sums_are_exact_whole_numbers():
    kinds, vectors = messages(150)
    sums, products = learnt(kinds, vectors).sums()
    wide = vectors.astype(np.int64)
    assert np.array_equal(products, wide.T @ wide)
    assert np.array_equal(sums[1], wide[kinds == 1].sum(axis=0))


def test_both_kinds_weigh_the_same_however_unequal_their_numbers():
    """The outcome of the average ham and the average spam lie as far from 0 on either side."""
    kinds, vectors = messages(900)
    w = solve(learnt(kinds, vectors), 1e-6)
    means = [np.append(vectors[kinds == kind].mean(axis=0) / UNIT, 1.0) @ w for kind in (0, 1)]
    assert means[0] == pytest.approx(-means[1], abs=1e-9)
    assert means[1] > 0.3


def test_equations_for_some_columns_have_the_bits_of_those_made_for_these_alone():
    kinds, vectors = messages(90)
    chosen = [1, 2, 7]
    alone = equations(learnt(kinds, vectors[:, chosen]), 2.0)
    for found, wanted in zip(equations(learnt(kinds, vectors), 2.0, chosen), alone):
        assert found.tobytes() == wanted.tobytes()
    statistics = learnt(kinds, vectors)
    prior = np.random.default_rng(9).normal(0, 1, len(chosen) + 1)
    every, some = solve_parts(statistics, 2.0, [(None, None), (chosen, prior)])
    assert every.tobytes() == solve(statistics, 2.0).tobytes()
    assert some.tobytes() == solve(statistics, 2.0, chosen, prior).tobytes()
