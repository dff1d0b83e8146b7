"""The echo state network against slow plain references, in double precision."""

from __future__ import annotations

import subprocess
import sys
import zlib
from itertools import pairwise

import numpy as np
import pytest

from echomox.reservoir.esn import LONGEST, POOLS, Dynamics, Reservoir
from echomox.reservoir.matrices import BLOCK, Weights, make, spectral_radius

INPUTS = 7


def sequences(number, seed=3, inputs=INPUTS):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, LONGEST + 1, number)
    return [draw.uniform(-1, 1, (length, inputs)).astype(np.float32) for length in lengths]


@pytest.fixture(scope="module")
def weights():
    return make(INPUTS)


def slope(weights, dynamics, x, u):
    w, w_in = weights.w.astype(np.float64) * dynamics.radius, weights.w_in.astype(np.float64)
    return dynamics.leak * (-x + np.tanh(w_in @ u + w @ x))


def reference_rk4(weights, dynamics, sequence, parts):
    """The states after each step, each step cut into `parts`; in doubles."""
    x, h, states = np.zeros(weights.size), 1.0 / parts, []
    for u in sequence.astype(np.float64):
        for _ in range(parts):
            k1 = slope(weights, dynamics, x, u)
            k2 = slope(weights, dynamics, x + h / 2 * k1, u)
            k3 = slope(weights, dynamics, x + h / 2 * k2, u)
            k4 = slope(weights, dynamics, x + h * k3, u)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        states.append(x)
    return np.array(states)


def reference_euler(weights, dynamics, sequence, parts=1):
    x, states = np.zeros(weights.size), []
    for u in sequence.astype(np.float64):
        for _ in range(parts):
            x = x + slope(weights, dynamics, x, u) / parts
        states.append(x)
    return np.array(states)


@pytest.mark.parametrize("leak", [0.05, 0.3, 0.5])
def test_rk4_is_one_step_of_the_classical_method(weights, leak):
    dynamics = Dynamics(leak, 0.95)
    (sequence,) = sequences(1)
    found = Reservoir(weights, dynamics).states(sequence)
    np.testing.assert_allclose(found, reference_rk4(weights, dynamics, sequence, 1), atol=1e-6)


@pytest.mark.parametrize(("leak", "steps"), [(0.05, 1), (0.3, 8), (0.5, 16)])
def test_rk4_is_the_solution_of_the_differential_equation_within_1e_6(weights, leak, steps):
    dynamics = Dynamics(leak, 0.95, steps=steps)
    (sequence,) = sequences(1)
    found = Reservoir(weights, dynamics).states(sequence)
    np.testing.assert_allclose(found, reference_rk4(weights, dynamics, sequence, 200), atol=1e-6)


def test_the_reference_is_that_of_another_method_with_fine_steps(weights):
    dynamics = Dynamics(0.3, 0.95)
    sequence = sequences(1)[0][:4]
    coarse, fine = (reference_euler(weights, dynamics, sequence, parts) for parts in (4000, 8000))
    extrapolated = 2 * fine - coarse
    np.testing.assert_allclose(reference_rk4(weights, dynamics, sequence, 200), extrapolated, atol=1e-8)


def test_one_step_at_the_usual_leak_is_off_by_less_than_1e_3(weights):
    (sequence,) = sequences(1)
    found = Reservoir(weights).states(sequence)
    np.testing.assert_allclose(found, reference_rk4(weights, Dynamics(), sequence, 200), atol=1e-3)


@pytest.mark.parametrize(("reference", "order"), [(reference_rk4, 4), (reference_euler, 1)])
def test_order_of_the_method(weights, reference, order):
    """Half the step, 2^order times less error."""
    dynamics = Dynamics(1.0, 0.95)
    sequence = sequences(1)[0][:6]
    exact = reference_rk4(weights, dynamics, sequence, 512)
    parts = (4, 8) if order == 4 else (32, 64)
    errors = [np.abs(reference(weights, dynamics, sequence, count) - exact).max() for count in parts]
    assert order - 0.3 < np.log2(errors[0] / errors[1]) < order + 0.3


@pytest.mark.parametrize("leak", [0.1, 0.3, 1.0])
def test_euler_is_the_usual_discrete_equation(weights, leak):
    """x' = (1 - leak) x + leak tanh(W_in u + W x), Lukosevicius 2012, eqs. 2 and 3."""
    sequence = sequences(1)[0]
    found = Reservoir(weights, Dynamics(leak, 0.9, "euler")).states(sequence)
    x = np.zeros(weights.size)
    for u, state in zip(sequence, found):
        x = (1 - leak) * x + leak * np.tanh(weights.w_in @ u + 0.9 * weights.w @ x)
        np.testing.assert_allclose(state, x, atol=2e-6)


@pytest.mark.parametrize("size", [50, 100, 150])
@pytest.mark.parametrize("radius", [0.5, 0.95])
def test_spectral_radius_is_the_largest_eigenvalue(size, radius):
    scaled = make(INPUTS, size).w.astype(np.float64) * radius
    assert np.max(np.abs(np.linalg.eigvals(scaled))) == pytest.approx(radius, abs=1e-6)
    assert spectral_radius(scaled) == pytest.approx(radius, abs=1e-6)


def test_spectral_radius_of_a_rotation_is_1_though_no_eigenvalue_is_real():
    assert spectral_radius(np.array([[0.0, -1.0], [1.0, 0.0]])) == pytest.approx(1.0, abs=1e-12)


def test_pools_are_mean_last_and_standard_deviation(weights):
    reservoir = Reservoir(weights)
    batch = sequences(20)
    for sequence, pooled in zip(batch, reservoir.run(batch)):
        states = reservoir.states(sequence).astype(np.float64)
        mean, last, spread = pooled.reshape(POOLS, -1)
        np.testing.assert_allclose(mean, states.mean(axis=0), atol=1e-6)
        assert np.array_equal(last, states[-1].astype(np.float32))
        np.testing.assert_allclose(spread, states.std(axis=0), atol=2e-3)  # of differences of squares, in float32
        np.testing.assert_allclose(spread**2, states.var(axis=0), atol=2e-6)


# -- echo state, memory ----------------------------------------------------------


@pytest.mark.parametrize("integrator", ["rk4", "euler"])
def test_two_start_states_converge_on_the_same_input(weights, integrator):
    reservoir = Reservoir(weights, Dynamics(0.5, 0.95, integrator))
    draw = np.random.default_rng(5)
    one, other = (draw.uniform(-1, 1, weights.size).astype(np.float32) for _ in range(2))
    apart = [np.linalg.norm(one - other)]
    for _ in range(12):
        sequence = draw.uniform(-1, 1, (LONGEST, INPUTS)).astype(np.float32)
        one, other = (reservoir.states(sequence, start)[-1] for start in (one, other))
        apart.append(np.linalg.norm(one - other))
    assert apart[-1] < 1e-4 * apart[0]
    assert all(later < sooner or later < 1e-5 for sooner, later in pairwise(apart))


def memory_capacity(leak, delays=range(1, 25)):
    """Jaeger's: for each delay d, the squared correlation of u(t - d) with its best linear estimate from x(t)."""
    reservoir = Reservoir(make(1), Dynamics(leak, 0.95))
    u = np.random.default_rng(1).uniform(-0.5, 0.5, 1600).astype(np.float32)
    states, state = [], None
    for start in range(0, len(u), LONGEST):
        found = reservoir.states(u[start : start + LONGEST, None], state)
        states.append(found)
        state = found[-1]
    x = np.concatenate(states)[100:].astype(np.float64)
    x = np.column_stack([x, np.ones(len(x))])
    curve = []
    for delay in delays:
        target = u[100 - delay : len(u) - delay].astype(np.float64)
        w = np.linalg.solve(x[:1000].T @ x[:1000] + 1e-6 * np.eye(x.shape[1]), x[:1000].T @ target[:1000])
        curve.append(np.corrcoef(x[1000:] @ w, target[1000:])[0, 1] ** 2)
    return np.array(curve)


def test_the_leak_changes_the_memory():
    slow, fast = memory_capacity(0.1), memory_capacity(1.0)
    assert abs(slow.sum() - fast.sum()) > 1.0
    assert fast[0] > 0.9
    assert np.abs(slow - fast).max() > 0.2


# -- determinism -------------------------------------------------------------------


def test_any_batch_size_gives_the_same_bits(weights):
    reservoir = Reservoir(weights)
    batch = sequences(64)
    alone = np.concatenate([reservoir.run([sequence]) for sequence in batch])
    for size in range(1, 65):
        found = np.concatenate([reservoir.run(batch[at : at + size]) for at in range(0, 64, size)])
        assert np.array_equal(found.view(np.uint32), alone.view(np.uint32)), size


def test_the_place_in_a_group_does_not_matter(weights):
    reservoir = Reservoir(weights)
    sequence = sequences(1)[0]
    alone = reservoir.run([sequence])[0]
    others = [np.ones((len(sequence), INPUTS), np.float32)] * 7
    for place in range(8):
        found = reservoir.run([*others[:place], sequence, *others[place:]])[place]
        assert np.array_equal(found.view(np.uint32), alone.view(np.uint32)), place


_CHILD = """
import sys, zlib
from tests.numeric.test_esn import INPUTS, sequences
from echomox.reservoir.esn import Reservoir
from echomox.reservoir.matrices import make
w = make(INPUTS)
print(w.checksum, zlib.crc32(Reservoir(w).run(sequences(int(sys.argv[1]))).tobytes()))
"""


def test_another_process_gives_the_same_bits(weights):
    ran = [
        subprocess.run([sys.executable, "-c", _CHILD, "17"], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]
    here = [str(weights.checksum), str(zlib.crc32(Reservoir(weights).run(sequences(17)).tobytes()))]
    assert ran == [here, here]


def test_the_first_block_alone_moves_as_within_the_whole(weights):
    batch = sequences(9)
    small, whole = Reservoir(weights.first(BLOCK)).run(batch), Reservoir(weights).run(batch)
    first = whole.reshape(9, POOLS, -1)[:, :, :BLOCK]
    np.testing.assert_allclose(small.reshape(9, POOLS, -1)[:, :2], first[:, :2], atol=1e-6)


def test_recurrence_tells_two_orders_of_the_same_steps_apart(weights):
    sequence = sequences(1)[0]
    pooled = Reservoir(weights).run([sequence, sequence[::-1].copy()])
    assert np.abs(pooled[0] - pooled[1]).max() > 0.05
    still = Weights(0, np.zeros_like(weights.w), weights.w_in)
    mean = Reservoir(still, Dynamics(1.0, 0.0, "euler")).run([sequence, sequence[::-1].copy()])[:, : weights.size]
    np.testing.assert_allclose(mean[0], mean[1], atol=1e-6)
