"""weights.dat, state.db and the block in shared memory."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from echomox.config.schema import JunkFilter
from echomox.filter.counts.words import PARTS, READ, SCHEMA, VERSION
from echomox.filter.learning.learners import with_prior
from echomox.filter.stages import esn
from echomox.filter.weights import (
    STATE,
    WEIGHTS,
    SharedWeights,
    StateFile,
    block,
    esn_states,
    gather,
    known,
    mend_state,
    prepare,
    publish,
    record,
    share,
    unblock,
    verify,
)
from echomox.log import Log, Sink
from echomox.reservoir import ridge
from echomox.reservoir.esn import POOLS
from echomox.reservoir.matrices import SIZE, BadWeights, pack
from shm.weights import WeightBuffer, weights_size
from tests.unit.filter.test_stage_esn import LEARNER, message, taught


@pytest.fixture
def log():
    sink = Sink()
    sink.default = 100
    return Log("test", sink=sink)


@pytest.fixture
def buffer():
    return WeightBuffer(memoryview(bytearray(weights_size(1 << 20))))


@pytest.fixture(scope="module")
def trained():
    return taught(24)


@pytest.fixture
def accounts(tmp_path, trained):
    """The directory of accounts with one junk.db as the trainer leaves it."""
    path = tmp_path / "accounts" / "ann"
    path.mkdir(parents=True)
    version = esn.LEARNER.version
    with closing(sqlite3.connect(path / "junk.db")) as junk:
        junk.executescript(f"{SCHEMA} {PARTS} PRAGMA user_version={VERSION};")
        parts = [("esn", version, LEARNER.dump(trained.state)), ("esn" + READ, version, LEARNER.publish(trained.state))]
        junk.executemany("INSERT INTO part VALUES (?, ?, ?)", parts)
        for at, (label, lesson) in enumerate(trained.lessons):
            junk.execute("INSERT INTO trained VALUES (?, ?, NULL, ?)", (1000 - at, label, at))
            junk.execute("INSERT INTO contribution VALUES (?, 'esn', ?)", (1000 - at, lesson))
        junk.commit()
    return tmp_path / "accounts"


def test_weights_are_written_once_and_read_again(tmp_path, log):
    directory = tmp_path / "reservoir"
    made = prepare(directory, log)
    assert made.checksum == esn.seed_weights().checksum
    written = (directory / WEIGHTS).stat()
    assert written.st_mode & 0o777 == 0o600
    assert prepare(directory, log).checksum == made.checksum
    assert (directory / WEIGHTS).stat().st_ino == written.st_ino
    assert verify(directory) == []


@pytest.mark.parametrize("at", [0, 10, 2000, -1])
def test_damage_of_weights_is_found_and_repaired_from_the_seed(tmp_path, log, at):
    prepare(tmp_path, log)
    data = bytearray((tmp_path / WEIGHTS).read_bytes())
    data[at] ^= 0x40
    (tmp_path / WEIGHTS).write_bytes(data)
    assert len(verify(tmp_path)) == 1
    assert prepare(tmp_path, log).checksum == esn.seed_weights().checksum
    assert verify(tmp_path) == []


def test_weights_of_an_earlier_version_are_replaced_and_are_no_damage(tmp_path, capfd):
    log = Log("test", sink=Sink())
    prepare(tmp_path, log)
    data = bytearray((tmp_path / WEIGHTS).read_bytes())
    data[:8] = b"EchoESN1"
    (tmp_path / WEIGHTS).write_bytes(data)
    assert prepare(tmp_path, log).checksum == esn.seed_weights().checksum
    assert verify(tmp_path) == []
    told = capfd.readouterr().err
    assert "of another version replaced" in told
    assert "damaged" not in told


def test_a_directory_without_files_has_nothing_wrong(tmp_path):
    assert verify(tmp_path / "none") == []


def test_published_weights_are_those_of_the_seed_to_the_bit(tmp_path, log, buffer):
    source = SharedWeights(buffer, log)
    assert source() is esn.seed_weights()
    shared = publish(tmp_path, buffer, log)
    assert shared.prior is None
    found = source()
    assert found is not esn.seed_weights()
    assert found.checksum == esn.seed_weights().checksum
    assert source() is found
    publish(tmp_path, buffer, log)
    assert source() is not found


def test_a_verdict_has_the_same_bits_with_published_weights_as_without(tmp_path, log, buffer, trained):
    publish(tmp_path, buffer, log)
    network = esn.Network(SharedWeights(buffer, log))
    for seed in range(50):
        item = message(seed, seed % 2 == 0)
        assert network.run(item, trained.context()) == trained.judge(item)


def test_an_unreadable_block_leaves_the_seed(log, buffer):
    buffer.publish(b"no weights")
    assert SharedWeights(buffer, log)() is esn.seed_weights()


@pytest.mark.parametrize("cut", [0, 3, 8, 100, -1])
def test_a_block_cut_short_is_refused(cut):
    with pytest.raises(BadWeights):
        unblock(block(esn.seed_weights(), None)[:cut])


def test_a_block_carries_the_read_out_of_the_server():
    prior = np.linspace(-1, 1, POOLS * SIZE + 1)
    found = unblock(block(esn.seed_weights(), prior))
    assert np.array_equal(found.prior, prior)
    assert pack(found.weights) == pack(esn.seed_weights())
    with pytest.raises(BadWeights):
        unblock(block(esn.seed_weights(), prior[:-1]))


# -- state.db -------------------------------------------------------------------------


def test_rows_of_an_account_are_kept_across_restart(tmp_path, accounts):
    with closing(StateFile(tmp_path)) as file:
        record(file, accounts, "ann", JunkFilter())
        record(file, accounts, "ann", JunkFilter())
        row, states = file.row("ann"), file.states("ann")
    assert row == {
        "AccountID": "ann",
        "ReservoirSize": 100,
        "SpectralRadius": 0.95,
        "LeakRate": 0.3,
        "Trained": 1,
        "MessageCount": 24,
    }
    assert [state["NeuronIndex"] for state in states] == list(range(100))
    assert states[0]["LastUpdate"] == "2023-11-14T22:13:20Z"
    with closing(StateFile(tmp_path)) as file:
        assert (file.row("ann"), file.states("ann")) == (row, states)
        assert file.verify() == []
        file.forget("ann")
        assert (file.row("ann"), file.states("ann")) == (None, [])


def test_states_are_those_at_the_end_of_the_message_trained_last(accounts, trained):
    last = esn.unpack_lesson(trained.lessons[-1][1])
    assert esn_states(known(accounts, "ann").last, 100) == esn_states(last, 100)
    assert len(esn_states(last, 50)) == 50
    assert esn_states(None, 100) == []


def test_an_account_never_trained(tmp_path, accounts):
    assert known(accounts, "bob") == (None, None, None)
    with closing(StateFile(tmp_path)) as file:
        record(file, accounts, "bob", JunkFilter(reservoir_size=50))
        assert file.row("bob")["Trained"] == 0
        assert file.row("bob")["ReservoirSize"] == 50
        assert file.states("bob") == []


def test_sums_of_the_server_are_those_of_its_accounts_and_become_the_prior(tmp_path, accounts, buffer, log, trained):
    total = gather(accounts, ["ann", "bob", "ann"])
    assert total.total == 48
    with closing(StateFile(tmp_path)) as file:
        assert file.server(log) is None
        file.set_server(total)
        assert file.server(log).dump() == total.dump()
    shared = publish(tmp_path, buffer, log)
    assert shared.prior.shape == (POOLS * SIZE + 1,)
    assert np.array_equal(SharedWeights(buffer, log).current().prior, shared.prior)
    with closing(StateFile(tmp_path)) as file:
        file.set_server(None)
    assert publish(tmp_path, buffer, log).prior is None
    assert gather(accounts, ["bob"]) is None


def test_accounts_share_a_prior_only_while_the_administrator_wants_it(tmp_path, accounts, buffer, log):
    share(tmp_path, accounts, ["ann", "bob"], False, log)
    assert publish(tmp_path, buffer, log).prior is None
    share(tmp_path, accounts, ["ann", "bob"], True, log)
    prior = publish(tmp_path, buffer, log).prior
    learner = next(item for item in with_prior(prior) if item.name == esn.NAME)
    fresh = learner.fresh()
    drawn = learner.decode(learner.publish(fresh)).weights[SIZE]  # an account of no mail: what the server knows
    assert np.array_equal(drawn, ridge.fixed_point(prior))
    assert esn.LEARNER.decode(esn.LEARNER.publish(fresh)).weights == {}
    share(tmp_path, accounts, ["ann", "bob"], False, log)
    assert publish(tmp_path, buffer, log).prior is None


def test_damaged_sums_of_the_server_are_found_and_left_out(tmp_path, accounts, buffer, log):
    with closing(StateFile(tmp_path)) as file:
        file.set_server(gather(accounts, ["ann"]))
    with closing(sqlite3.connect(tmp_path / STATE)) as raw:
        raw.execute("UPDATE server SET crc = crc + 1")
        raw.commit()
    assert verify(tmp_path) == ["state.db: server esn: wrong checksum"]
    assert publish(tmp_path, buffer, log).prior is None


def test_a_state_file_of_another_version_is_refused(tmp_path):
    StateFile(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / STATE)) as raw:
        raw.execute("PRAGMA user_version=9")
    with pytest.raises(sqlite3.DatabaseError, match="version 9"):
        StateFile(tmp_path)
    assert "version 9" in verify(tmp_path)[0]


def test_a_damaged_state_file_is_moved_aside(tmp_path):
    StateFile(tmp_path).close()
    path = tmp_path / "state.db"
    path.write_bytes(b"no database at all" * 100)
    mend_state(tmp_path, Log("test", sink=Sink()))
    assert (tmp_path / "state.db.damaged").read_bytes().startswith(b"no database")
    StateFile(tmp_path).close()


def test_a_good_state_file_stays(tmp_path):
    StateFile(tmp_path).close()
    before = (tmp_path / "state.db").read_bytes()
    mend_state(tmp_path, Log("test", sink=Sink()))
    assert (tmp_path / "state.db").read_bytes() == before


def test_the_weights_are_used_where_they_stand(log):
    memory = memoryview(bytearray(weights_size(1 << 20)))
    buffer = WeightBuffer(memory)
    shared = SharedWeights(WeightBuffer(memory), log)
    buffer.publish(block(esn.seed_weights(), None))
    weights = shared()
    assert np.shares_memory(weights.w, np.frombuffer(memory, np.uint8))
    assert not weights.w.flags.writeable and not weights.first(50).w_in.flags.writeable
    own = esn.reservoir(weights, 100, esn.dynamics_of(JunkFilter()))
    assert np.shares_memory(own._wt, weights.w) and np.shares_memory(own._wt_in, weights.w_in)


def test_weights_overwritten_under_a_batch_are_read_again(log):
    memory = memoryview(bytearray(weights_size(1 << 20)))
    buffer = WeightBuffer(memory)
    buffer.publish(block(esn.seed_weights(), None))
    shared = SharedWeights(WeightBuffer(memory), log)
    torn = replace(esn.seed_weights(), intact=lambda: False)
    given = iter([torn, torn])
    network = esn.Network(lambda: next(given, None) or shared())
    account = taught(30)
    question = (message(999, True), account.context())
    assert network.run(*question) == esn.run(message(999, True), account.context())
    assert next(given, None) is None
