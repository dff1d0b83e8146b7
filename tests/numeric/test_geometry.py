"""The flow on the emotional metric against its written equation, hand-worked graphs, and the theorem it rests on."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.reservoir import geometry
from echomox.reservoir.geometry import EMOTIONS, LIKENESS, REST, SPACE, STEP, STEPS, curvature, flow, graph, smooth

ULP = 1e-9


def cycle(n):
    return [(a, (a + 1) % n) for a in range(n)]


def complete(n):
    return [(a, b) for a in range(n) for b in range(a)]


def plain_curvature(edges, metric):
    """Forman's curvature as he defines it, w = 1 / g and nodes of weight 1: loops over edges and their ends."""
    weights = [1 / g for g in metric]
    found = []
    for at, edge in enumerate(edges):
        total = 0.0
        for node in edge:
            beside = [w for n, w in enumerate(weights) if n != at and node in edges[n]]
            total += 1 / weights[at] - sum(1 / math.sqrt(weights[at] * w) for w in beside)
        found.append(weights[at] * total)
    return found


def plain_flow(edges, metric, time, steps):
    """dg/dt = -2 (F - mean) g with the mean that keeps the sum of lengths, by small steps in g itself."""
    metric = list(metric)
    for _ in range(steps):
        curved = plain_curvature(edges, metric)
        lengths = [math.sqrt(g) for g in metric]
        mean = sum(f * y for f, y in zip(curved, lengths)) / sum(lengths)
        metric = [g - time / steps * 2 * (f - mean) * g for f, g in zip(curved, metric)]
    return metric


# -- by hand -------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 4, 7, 12])
def test_a_cycle_of_equal_edges_is_flat_and_stays(n):
    shape = graph(n, cycle(n))
    assert curvature(shape, np.ones(n)) == pytest.approx([0.0] * n)
    assert flow(shape, np.full(n, 2.25), 10, 0.1) == pytest.approx([2.25] * n)


def test_one_long_edge_of_a_square_by_hand():
    """Lengths 2 1 1 1: F = 2 - 2/2, 2 - 3, 2 - 2, 2 - 3. A step of 1/4 is that of the heat equation on the circle."""
    shape = graph(4, cycle(4))
    metric = np.array([4.0, 1.0, 1.0, 1.0])
    assert curvature(shape, metric) == pytest.approx([1.0, -1.0, 0.0, -1.0])
    after = flow(shape, metric, 1, 0.25)
    assert np.sqrt(after) == pytest.approx([1.5, 1.25, 1.0, 1.25])
    assert curvature(shape, after) == pytest.approx([2 - 2.5 / 1.5, 2 - 2.5 / 1.25, 2 - 2.5, 2 - 2.5 / 1.25])


@pytest.mark.parametrize("n, expected", [(3, 0.0), (4, -2.0), (5, -4.0), (7, -8.0)])
def test_a_complete_graph_of_equal_edges_by_hand(n, expected):
    """An edge of K_n meets n - 2 others at either end: F = 2 - 2 (n - 2) = 6 - 2 n."""
    shape = graph(n, complete(n))
    metric = np.full(len(complete(n)), 0.7)
    assert curvature(shape, metric) == pytest.approx([expected] * len(metric))
    assert flow(shape, metric, 5, 0.1) == pytest.approx(metric)


def test_one_long_edge_of_k4_by_hand():
    """Edge 0 has length 2, five have 1. It meets four: 2 - 4/2. The opposite one meets the same four: 2 - 4. Each of
    these meets edge 0 and three others: 2 - (2 + 3)."""
    edges = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert curvature(graph(4, edges), np.array([4.0, 1, 1, 1, 1, 1])) == pytest.approx([0, -3, -3, -3, -3, -2])


@pytest.mark.parametrize("edges", [[(0, 0)], [(0, 1), (1, 0)]])
def test_loops_and_double_edges_are_no_graph(edges):
    with pytest.raises(ValueError, match="once"):
        graph(2, edges)


@pytest.mark.parametrize("step", [0.0, -0.1, 0.51])
def test_a_step_is_bounded(step):
    with pytest.raises(ValueError, match=r"0\.5"):
        flow(SPACE, REST, 1, step)


# -- against the slow reference ------------------------------------------------

GRAPHS = [
    (4, cycle(4)),
    (5, complete(5)),
    (4, [(0, 1), (0, 2), (0, 3)]),
    (7, [(EMOTIONS.index(a), EMOTIONS.index(b)) for a, b, _ in LIKENESS]),
]


@pytest.mark.parametrize("nodes, edges", GRAPHS)
def test_curvature_equals_formans_definition(nodes, edges):
    metric = np.random.default_rng(1).uniform(0.2, 5.0, len(edges))
    assert curvature(graph(nodes, edges), metric) == pytest.approx(plain_curvature(edges, metric), rel=1e-12)


@pytest.mark.parametrize("nodes, edges", GRAPHS)
def test_small_steps_of_the_flow_follow_the_written_equation(nodes, edges):
    metric = np.random.default_rng(2).uniform(0.5, 2.0, len(edges))
    found = flow(graph(nodes, edges), metric, 4000, 0.2 / 4000)
    assert found == pytest.approx(plain_flow(edges, metric, 0.2, 4000), rel=5e-4)


def test_the_steps_that_are_used_stay_near_the_written_equation():
    profile = (0.9, 0.0, 0.3, 0.0, 0.1, 0.8, 0.0)
    edges = GRAPHS[-1][1]
    exact = plain_flow(edges, geometry.metric(profile), STEPS * STEP, 2000)
    assert flow(SPACE, geometry.metric(profile), STEPS, STEP) == pytest.approx(exact, rel=0.03)


# -- what the flow does --------------------------------------------------------

METRICS = st.lists(st.floats(0.01, 100.0), min_size=len(REST), max_size=len(REST)).map(np.array)
VALUE = st.floats(0.0, 1.0, allow_subnormal=False)
PROFILES = st.tuples(*[VALUE] * len(EMOTIONS))


@settings(deadline=None)
@given(METRICS, st.integers(1, 20), st.floats(0.001, 0.5))
def test_the_greatest_curvature_never_rises_the_least_never_falls_and_the_total_stays(metric, steps, step):
    before, after = curvature(SPACE, metric), flow(SPACE, metric, steps, step)
    now = curvature(SPACE, after)
    assert now.max() <= before.max() + ULP * abs(before).max()
    assert now.min() >= before.min() - ULP * abs(before).max()
    assert (after > 0.0).all()
    assert np.sqrt(after).sum() == pytest.approx(np.sqrt(metric).sum(), rel=1e-9)


def test_it_ends_at_the_one_metric_of_constant_curvature():
    radius = np.linalg.eigvalsh(SPACE.touching).max()
    for seed in range(5):
        metric = np.random.default_rng(seed).uniform(0.01, 100.0, len(REST))
        assert curvature(SPACE, flow(SPACE, metric, 400, 0.2)) == pytest.approx([2.0 - radius] * len(REST), abs=1e-9)


@pytest.mark.parametrize("emotion", range(len(EMOTIONS)))
def test_an_extreme_profile_moves_to_lower_and_more_even_curvature_and_to_its_neighbours(emotion):
    extreme = tuple(1.0 if at == emotion else 0.0 for at in range(len(EMOTIONS)))
    metric = geometry.metric(extreme)
    before, after = curvature(SPACE, metric), curvature(SPACE, flow(SPACE, metric, STEPS, STEP))
    assert after.max() < before.max() - 0.2
    assert np.ptp(after) < 0.8 * np.ptp(before)
    found = smooth(extreme)
    assert max(found) == found[emotion] < 1.0
    near = {EMOTIONS.index(b if a == EMOTIONS[emotion] else a) for a, b, _ in LIKENESS if EMOTIONS[emotion] in (a, b)}
    far = set(range(len(EMOTIONS))) - near - {emotion}
    assert min(found[at] for at in near) > max((found[at] for at in far), default=0.0)


@settings(deadline=None)
@given(PROFILES)
def test_the_smoothed_profile_is_the_metrics_there_and_back(profile):
    rest = flow(SPACE, REST, STEPS, STEP)
    expected = geometry.profile_of(flow(SPACE, geometry.metric(profile), STEPS, STEP), rest)
    assert smooth(profile) == pytest.approx(expected.clip(0.0, 1.0), abs=1e-12)


@settings(deadline=None)
@given(PROFILES)
def test_a_smoothed_profile_is_bounded_and_the_same_each_time(profile):
    found = smooth(profile)
    assert all(0.0 <= value <= 1.0 for value in found)
    assert sum(found) <= 1.25 * sum(profile) + 1e-12
    assert smooth(profile) == found


def test_without_steps_the_way_back_gives_the_profile():
    profile = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    assert geometry.profile_of(geometry.metric(profile), REST) == pytest.approx(profile)


def test_where_nothing_is_felt_nothing_comes_of_it():
    assert smooth((0.0,) * 7) == (0.0,) * 7
