"""Weights from a seed, on disk and in parts; dynamics that are none."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from echomox.reservoir.esn import FEW, LONGEST, POOLS, Dynamics, Reservoir, factors
from echomox.reservoir.matrices import (
    BLOCK,
    DENSITY,
    SIZE,
    BadWeights,
    OtherVersion,
    Weights,
    make,
    pack,
    packed_size,
    unpack,
)

INPUTS = 5
W_IN_CHECKSUM = 0xC00D6121


@pytest.fixture(scope="module")
def weights():
    return make(INPUTS)


def test_shapes_and_layout(weights):
    assert weights.w.shape == (SIZE, SIZE)
    assert weights.w_in.shape == (SIZE, INPUTS)
    assert not weights.w[:BLOCK, BLOCK:].any()
    assert weights.w[BLOCK:, :BLOCK].any()
    assert weights.w.dtype == weights.w_in.dtype == np.float32


def test_density_of_the_blocks(weights):
    for start in range(0, SIZE, BLOCK):
        own = weights.w[start : start + BLOCK, start : start + BLOCK]
        assert np.count_nonzero(own) / own.size == pytest.approx(DENSITY, abs=0.03)
    assert 0.10 < weights.density < 0.15


def test_the_same_seed_gives_the_same_weights_and_another_does_not(weights):
    assert make(INPUTS).checksum == weights.checksum
    assert make(INPUTS, seed=7).checksum != weights.checksum
    assert make(INPUTS, seed=7).checksum == make(INPUTS, seed=7).checksum


def test_input_weights_of_the_seed_are_these_on_any_machine(weights):
    """W_in needs no routine whose last places could differ."""
    assert zlib.crc32(weights.w_in.astype("<f4").tobytes()) == W_IN_CHECKSUM


def test_weights_cannot_be_changed(weights):
    for matrix in (weights.w, weights.w_in, weights.first(BLOCK).w, unpack(pack(weights)).w):
        with pytest.raises(ValueError, match="read-only"):
            matrix[0, 0] = 1.0


def test_the_first_block_is_that_of_a_small_reservoir(weights):
    small = weights.first(BLOCK)
    assert small.size == BLOCK
    assert np.array_equal(small.w, make(INPUTS, BLOCK).w)
    assert weights.first(SIZE) is weights


@pytest.mark.parametrize("size", [0, 10, 75, SIZE + BLOCK])
def test_there_is_no_first_part_of_another_size(weights, size):
    with pytest.raises(ValueError, match="neurons"):
        weights.first(size)


@pytest.mark.parametrize("size", [0, 40, 120])
def test_sizes_are_multiples_of_a_block(size):
    with pytest.raises(ValueError, match="multiples"):
        make(INPUTS, size)


def test_packed_weights_read_back_to_the_bit(weights):
    data = pack(weights)
    assert len(data) == packed_size(SIZE, INPUTS)
    found = unpack(data)
    assert (found.seed, found.checksum, found.size, found.inputs) == (weights.seed, weights.checksum, SIZE, INPUTS)


def test_the_matrices_stand_by_columns(weights):
    """BLAS multiplies by them so in the least time."""
    for found in (weights, unpack(pack(weights))):
        assert found.w.flags.f_contiguous and found.w_in.flags.f_contiguous
    assert np.array_equal(unpack(pack(weights)).w, weights.w)


def test_weights_of_an_earlier_version_are_known_as_such(weights):
    with pytest.raises(OtherVersion):
        unpack(b"EchoESN1" + pack(weights)[8:])


def damaged():
    data = pack(make(INPUTS))
    yield "empty", b""
    yield "cut", data[:-1]
    yield "longer", data + b"\0"
    yield "magic", b"x" + data[1:]
    yield "head only", data[:20]
    for at in (9, 30, len(data) // 2, len(data) - 2):
        yield f"byte {at}", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(("what", "data"), list(damaged()))
def test_damage_is_seen(what, data):
    with pytest.raises(BadWeights):
        unpack(data)


@pytest.mark.parametrize(
    "wrong",
    [{"leak": 0.0}, {"leak": 1.1}, {"radius": -1.0}, {"radius": 3.0}, {"integrator": "heun"}, {"steps": 0}],
)
def test_no_such_dynamics(wrong):
    with pytest.raises(ValueError, match="dynamics"):
        Dynamics(**wrong)


def test_no_sequences_and_empty_ones(weights):
    reservoir = Reservoir(weights)
    assert reservoir.run([]).shape == (0, POOLS * SIZE)
    empty, one = np.zeros((0, INPUTS), np.float32), np.ones((3, INPUTS), np.float32)
    pooled = reservoir.run([empty, one, empty])
    assert not pooled[[0, 2]].any()
    assert np.array_equal(pooled[1], reservoir.run([one])[0])
    assert reservoir.states(empty).shape == (0, SIZE)


def test_what_is_longer_is_cut(weights):
    reservoir = Reservoir(weights)
    sequence = np.random.default_rng(1).uniform(-1, 1, (LONGEST + 9, INPUTS)).astype(np.float32)
    assert np.array_equal(reservoir.run([sequence]), reservoir.run([sequence[:LONGEST]]))


def test_states_stay_within_bounds_for_any_input(weights):
    wild = np.random.default_rng(1).uniform(-1e6, 1e6, (LONGEST, INPUTS)).astype(np.float32)
    pooled = Reservoir(weights).run([wild])
    assert np.isfinite(pooled).all()
    assert np.abs(pooled).max() <= 1.0


def test_no_state_is_carried_from_one_message_to_the_next(weights):
    reservoir = Reservoir(weights)
    draw = np.random.default_rng(1)
    one, other = (draw.uniform(-1, 1, (9, INPUTS)).astype(np.float32) for _ in range(2))
    first = reservoir.run([one])
    reservoir.run([other])
    assert np.array_equal(reservoir.run([one]), first)


@pytest.mark.parametrize("size", [BLOCK, SIZE])
@pytest.mark.parametrize(
    "dynamics", [Dynamics(), Dynamics(integrator="euler"), Dynamics(0.1, 0.8, "rk4", 3), Dynamics(0.1, 0.9, "euler", 2)]
)
@pytest.mark.parametrize("number", [1, 2, 7, 32, 64])
def test_the_same_bits_alone_and_in_any_batch(weights, size, dynamics, number):
    """One row is multiplied by another routine than several, and a part of a matrix by another than a whole one."""
    reservoir = Reservoir(weights.first(size), dynamics)
    draw = np.random.default_rng(2)
    sequences = [draw.uniform(-1, 1, (length, INPUTS)).astype(np.float32) for length in draw.integers(0, LONGEST, 64)]
    together = [reservoir.run(sequences[at : at + number]) for at in range(0, 64, number)]
    assert np.concatenate(together).tobytes() == reservoir.run(sequences).tobytes()
    last = slice(size, 2 * size)
    for sequence, pooled in zip(sequences, np.concatenate(together)):
        if len(sequence):
            assert reservoir.states(sequence)[-1].tobytes() == pooled[last].tobytes()


def batch(number):
    draw = np.random.default_rng(4)
    return [draw.uniform(-1, 1, (length, INPUTS)).astype(np.float32) for length in draw.integers(1, LONGEST, number)]


def test_weights_that_stand_by_rows_move_alike_and_have_the_same_bits_in_any_batch(weights):
    rows = Reservoir(Weights(0, np.ascontiguousarray(weights.w), np.ascontiguousarray(weights.w_in)))
    sequences = batch(FEW + 5)
    together = rows.run(sequences)
    assert together.tobytes() == b"".join(rows.run([one]).tobytes() for one in sequences)
    columns = Reservoir(weights).run(sequences)
    np.testing.assert_allclose(together[:, : 2 * SIZE], columns[:, : 2 * SIZE], atol=2e-6)


def test_threads_do_not_disturb_each_other(weights):
    reservoir = Reservoir(weights, Dynamics(steps=4))
    sequences = batch(24)
    wanted = [reservoir.run([one]).tobytes() for one in sequences]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda one: reservoir.run([one]).tobytes(), sequences * 4))
    assert found == wanted * 4


@pytest.mark.parametrize("integrator", ["rk4", "euler"])
@pytest.mark.parametrize("leak", [0.02, 0.3, 1.0])
def test_a_state_that_is_its_own_tanh_stays(integrator, leak):
    """Where x = t, every point is x: the factors of x, t_1 ... sum to 1, those of W's products to the radius."""
    summed, after = factors(leak, 0.9, integrator)
    assert after.sum() == pytest.approx(1.0, abs=1e-12)
    for stage, row in enumerate(summed, 1):
        assert (len(row), row[0]) == (stage + 1, 1.0)
        assert row[1:].sum() == pytest.approx(0.9, abs=1e-6)


def test_factors_of_rk4_by_hand():
    """leak 1, radius 1: y2 = x/2 + t1/2, y3 = 3x/4 - t1/4 + t2/2, y4 = x/4 + t1/4 - t2/2 + t3."""
    summed, after = factors(1.0, 1.0, "rk4")
    assert [row.tolist() for row in summed] == [[1, 1], [1, 0.5, 0.5], [1, 0.75, -0.25, 0.5], [1, 0.25, 0.25, -0.5, 1]]
    assert after == pytest.approx([0.375, 1 / 24, 0.25, 1 / 6, 1 / 6], abs=1e-12)
