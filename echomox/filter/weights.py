"""The reservoir's directory, and what of it stands in shared memory (R12, R18).

    data/reservoir/weights.dat   W and W_in, as `reservoir.esn.pack` writes them, with their checksum
    data/reservoir/state.db      RESERVOIR and ESN_STATE: a row per account, and a row per neuron of it with its state
                                 at the end of the account's last trained message; server: sums over accounts

The trainer alone writes here. At start it calls `publish`: weights.dat is read, or made again from the seed when it is
not there, damaged, or of another reservoir; what holds then goes to shared memory with the read-out of the server, and
classifiers read it there by `SharedWeights`, once for each generation. What state.db says of accounts is taken from
their junk.db and can be made again at any time by `record`.

The server's sums exist only where the administrator lets accounts share what they learn; they hold pooled states of
the network, no words and no addresses. The read-out solved from them is what young accounts' read-outs are drawn to.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from echomox.config.schema import JunkFilter
from echomox.filter.counts.words import READ, junk_path
from echomox.filter.evidence import INPUTS
from echomox.filter.stages import esn
from echomox.log import Log
from echomox.reservoir import ridge
from echomox.reservoir.esn import POOLS
from echomox.reservoir.matrices import SEED, SIZE, BadWeights, OtherVersion, Weights, make, pack, packed_size, unpack

DIRECTORY = "reservoir"
"""Its name, below paths.data."""
WEIGHTS = "weights.dat"
STATE = "state.db"
VERSION = 1
SCHEMA = """
CREATE TABLE RESERVOIR (
    AccountID TEXT PRIMARY KEY, ReservoirSize INTEGER NOT NULL, SpectralRadius REAL NOT NULL, LeakRate REAL NOT NULL,
    Trained INTEGER NOT NULL, MessageCount INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE ESN_STATE (
    ReservoirID TEXT NOT NULL REFERENCES RESERVOIR (AccountID) ON DELETE CASCADE, NeuronIndex INTEGER NOT NULL,
    State REAL NOT NULL, LastUpdate TEXT NOT NULL, PRIMARY KEY (ReservoirID, NeuronIndex)
) WITHOUT ROWID;
CREATE TABLE server (name TEXT PRIMARY KEY, data BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
"""
ROW = ("ReservoirSize", "SpectralRadius", "LeakRate", "Trained", "MessageCount")
"""The columns of RESERVOIR beside AccountID."""
_LAST = """
SELECT data FROM trained CROSS JOIN contribution USING (message)
WHERE part = ? ORDER BY position DESC LIMIT 1"""
_STATES = """
SELECT NeuronIndex, State, replace(LastUpdate, '+00:00', 'Z') FROM ESN_STATE
WHERE ReservoirID = ? ORDER BY NeuronIndex"""  # the time zone as earlier versions wrote it
_PUT = "INSERT OR REPLACE INTO RESERVOIR VALUES (?, ?, ?, ?, ?, ?)"
_BLOCK = struct.Struct("<II")


class Buffer(Protocol):
    """What of shm.weights.WeightBuffer is needed."""

    @property
    def generation(self) -> int: ...

    def view(self) -> tuple[int, memoryview]: ...

    def intact(self, generation: int) -> bool: ...


class Publisher(Protocol):
    def publish(self, data: bytes) -> int: ...


# -- weights.dat ---------------------------------------------------------------


def prepare(directory: Path, log: Log) -> Weights:
    """The weights of this server: those of weights.dat, which is written when there is none that will do. A file that
    is damaged is replaced and logged, for the seed gives the same weights again. Raises OSError."""
    path = directory / WEIGHTS
    try:
        found = unpack(path.read_bytes())
        if (found.seed, found.size, found.inputs) == (SEED, SIZE, len(INPUTS)):
            return found
        log.info("reservoir weights of another version replaced", size=found.size, inputs=found.inputs)
    except FileNotFoundError:
        pass
    except OtherVersion as error:
        log.info("reservoir weights of another version replaced", error=str(error))
    except BadWeights as error:
        log.error("reservoir weights damaged, made again from their seed", error=str(error))
    made = make(len(INPUTS))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(path, pack(made))
    return made


def _write(path: Path, data: bytes) -> None:
    """Replaces a file, so that after a crash it is the old one or the new one."""
    fresh = path.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(data)
        os.fsync(handle)
    finally:
        os.close(handle)
    fresh.replace(path)
    place = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def verify(directory: Path) -> list[str]:
    """What is wrong in the directory, a line each; nothing is changed. What is not there is not wrong."""
    wrong = []
    try:
        unpack((directory / WEIGHTS).read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, BadWeights) as error:
        wrong.append(f"{WEIGHTS}: {error}")
    if (directory / STATE).exists():
        try:
            with closing(StateFile(directory)) as file:
                wrong += [f"{STATE}: {line}" for line in file.verify()]
        except sqlite3.Error as error:
            wrong.append(f"{STATE}: {error}")
    return wrong


# -- shared memory -------------------------------------------------------------


class Shared(NamedTuple):
    """A generation. prior: the server's read-out, constant last; None when there is none."""

    weights: Weights
    prior: ridge.Doubles | None


def publish(directory: Path, buffer: Publisher, log: Log, strength: float = JunkFilter().ridge) -> Shared:
    """Makes the next generation; by the trainer at its start and when the server's read-out has changed. strength:
    the ridge with which the server's read-out is solved. Raises OSError, sqlite3.Error, shm.layout.TooLarge."""
    weights = prepare(directory, log)
    prior = None
    if (directory / STATE).exists():
        with closing(StateFile(directory)) as file:
            statistics = file.server(log)
        prior = ridge.solve(statistics, strength) if statistics else None
    generation = buffer.publish(block(weights, prior))
    log.info("reservoir published", generation=generation, checksum=f"{weights.checksum:08x}", prior=prior is not None)
    return Shared(weights, prior)


def share(directory: Path, accounts: Path, names: Iterable[str], wanted: bool, log: Log) -> None:
    """Gathers the server's sums anew from these accounts, or forgets them where sharing is not wanted (any more). By
    the trainer, before `publish`. Raises OSError, StoreError, sqlite3.Error."""
    if not wanted and not (directory / STATE).exists():
        return
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(StateFile(directory)) as file:
        if wanted:
            gathered = gather(accounts, names)
            file.set_server(gathered)
            log.info("accounts share a prior", messages=gathered.total if gathered else 0)
        elif file.server(log) is not None:
            file.set_server(None)
            log.info("accounts share no prior any more")


def block(weights: Weights, prior: ridge.Doubles | None) -> bytes:
    """The bytes of a generation: two lengths, the packed weights, the read-out as float64."""
    packed = pack(weights)
    read_out = b"" if prior is None else prior.astype("<f8").tobytes()
    return _BLOCK.pack(len(packed), len(read_out)) + packed + read_out


def unblock(data: bytes | memoryview, intact: Callable[[], bool] = lambda: True) -> Shared:
    """What `block` made, where it stands; intact: whether it still does. Raises BadWeights."""
    if len(data) < _BLOCK.size:
        raise BadWeights("cut short")
    size, rest = _BLOCK.unpack_from(data)
    start = _BLOCK.size
    if len(data) != start + size + rest or size != packed_size(SIZE, len(INPUTS)):
        raise BadWeights("a block of another reservoir")
    weights = unpack(memoryview(data)[start : start + size], intact)
    if rest not in (0, 8 * (POOLS * SIZE + 1)):
        raise BadWeights("a read-out of another reservoir")
    return Shared(weights, np.frombuffer(data, "<f8", -1, start + size) if rest else None)


class SharedWeights:
    """For `esn.Network`: the published weights where they stand in shared memory, looked at anew when there is another
    generation. Before the first, and when a generation is not readable, those of the seed, which are the same."""

    def __init__(self, buffer: Buffer, log: Log) -> None:
        self._buffer = buffer
        self._log = log
        self._generation = 0
        self._shared: Shared | None = None

    def __call__(self) -> Weights:
        found = self.current()
        return found.weights if found else esn.seed_weights()

    def current(self) -> Shared | None:
        while self._buffer.generation != self._generation:
            self._generation, data = self._buffer.view()
            intact = partial(self._buffer.intact, self._generation)
            try:
                self._shared = unblock(data, intact)
            except BadWeights as error:
                self._shared = None
                if intact():
                    self._log.error("published weights not readable", generation=self._generation, error=str(error))
        return self._shared


# -- state.db ------------------------------------------------------------------


def mend_state(directory: Path, log: Log) -> None:
    """Moves a state.db that cannot be read aside: what it says is written anew as accounts learn. Raises OSError."""
    if not (directory / STATE).exists():
        return
    try:
        with closing(StateFile(directory)) as file:
            damage = file.verify()
    except sqlite3.DatabaseError as error:
        damage = [str(error)]
    if damage:
        log.error("state.db is damaged; it is moved aside", directory=str(directory), what="; ".join(damage[:3]))
        for suffix in ("-wal", "-shm"):
            (directory / f"{STATE}{suffix}").unlink(missing_ok=True)
        os.replace(directory / STATE, directory / f"{STATE}.damaged")


class StateFile:
    """state.db, made when there is none. Raises sqlite3.Error."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / STATE
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._connection = sqlite3.connect(path, timeout=5.0, isolation_level=None)
        run = self._connection.execute
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=NORMAL")
        run("PRAGMA foreign_keys=ON")
        version = run("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
        elif version != VERSION:
            self._connection.close()
            raise sqlite3.DatabaseError(f"{STATE} has version {version}; this program knows {VERSION}")

    def close(self) -> None:
        self._connection.close()

    def put(self, account: str, row: dict[str, Any], states: Iterable[tuple[int, float, str]]) -> None:
        """row: as `esn.describe` gives it; states: (NeuronIndex, State, LastUpdate). In one transaction."""
        with self._transaction() as run:
            run.execute("DELETE FROM RESERVOIR WHERE AccountID = ?", (account,))
            run.execute(_PUT, (account, *(row[name] for name in ROW)))
            run.executemany(
                "INSERT INTO ESN_STATE VALUES (?, ?, ?, ?)",
                [(account, *state) for state in states],
            )

    def forget(self, account: str) -> None:
        """For an account that is gone."""
        self._connection.execute("DELETE FROM RESERVOIR WHERE AccountID = ?", (account,))

    def row(self, account: str) -> dict[str, Any] | None:
        """The account's row of RESERVOIR."""
        cursor = self._connection.execute("SELECT * FROM RESERVOIR WHERE AccountID = ?", (account,))
        found = cursor.fetchone()
        return dict(zip((item[0] for item in cursor.description), found)) if found else None

    def states(self, account: str) -> list[dict[str, Any]]:
        """The account's rows of ESN_STATE."""
        rows = self._connection.execute(_STATES, (account,)).fetchall()
        return [dict(zip(("NeuronIndex", "State", "LastUpdate"), row)) for row in rows]

    def server(self, log: Log) -> ridge.Statistics | None:
        """The sums over accounts; None when there are none, or they are damaged, which is logged."""
        found = self._connection.execute("SELECT data, crc FROM server WHERE name = ?", (esn.NAME,)).fetchone()
        if found is None:
            return None
        try:
            if zlib.crc32(found[0]) != found[1]:
                raise ridge.BadStatistics("wrong checksum")
            return ridge.Statistics.load(found[0])
        except ridge.BadStatistics as error:
            log.error("the server's sums are damaged, left out", error=str(error))
            return None

    def set_server(self, statistics: ridge.Statistics | None) -> None:
        """None: no sharing any more."""
        if statistics is None:
            self._connection.execute("DELETE FROM server WHERE name = ?", (esn.NAME,))
            return
        data = statistics.dump()
        self._connection.execute("INSERT OR REPLACE INTO server VALUES (?, ?, ?)", (esn.NAME, data, zlib.crc32(data)))

    def verify(self) -> list[str]:
        """What SQLite and the checksums find wrong."""
        lines = [row[0] for row in self._connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        for name, data, crc in self._connection.execute("SELECT name, data, crc FROM server"):
            lines += [f"server {name}: wrong checksum"] if zlib.crc32(data) != crc else []
        return lines

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


# -- accounts ------------------------------------------------------------------


class Known(NamedTuple):
    """What an account's junk.db holds of its network; None where there is nothing, or nothing that can be read."""

    model: esn.ReadOut | None
    state: esn.State | None
    last: esn.Lesson | None


def known(accounts: Path, account: str) -> Known:
    """accounts: the directory of all accounts. Raises StoreError for a bad name, sqlite3.Error."""
    path = junk_path(accounts, account)
    if not path.exists():
        return Known(None, None, None)
    quoted = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    with closing(sqlite3.connect(f"file:{quoted}?mode=rw", timeout=5.0, uri=True)) as connection:
        connection.execute("PRAGMA query_only=1")
        read_out = _part(connection, esn.NAME + READ)
        state = _part(connection, esn.NAME)
        last = connection.execute(_LAST, (esn.NAME,)).fetchone()
    learner = esn.LEARNER
    return Known(
        learner.decode(read_out) if read_out else None,
        learner.load(state) if state else None,
        esn.unpack_lesson(last[0]) if last else None,
    )


def _part(connection: sqlite3.Connection, name: str) -> bytes | None:
    found = connection.execute("SELECT version, data FROM part WHERE name = ?", (name,)).fetchone()
    return bytes(found[1]) if found and found[0] == esn.LEARNER.version else None


def esn_states(last: esn.Lesson | None, size: int) -> list[tuple[int, float, str]]:
    """(NeuronIndex, State, LastUpdate) of the first `size` neurons at the end of the last trained message."""
    if last is None:
        return []
    updated = f"{datetime.fromtimestamp(last.updated, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return [(neuron, value, updated) for neuron, value in enumerate(last.last_state[:size])]


def record(file: StateFile, accounts: Path, account: str, settings: JunkFilter) -> None:
    """Writes the account's rows of state.db, as after its training. Raises StoreError, sqlite3.Error, esn.BadRecord."""
    found = known(accounts, account)
    row = esn.describe(found.model, settings, esn.seed_weights())
    file.put(account, row, esn_states(found.last, row["ReservoirSize"]))


def gather(accounts: Path, names: Iterable[str]) -> ridge.Statistics | None:
    """The sums of those accounts together that have learnt with the usual settings, for `StateFile.set_server`; None
    when there is nothing. Raises StoreError, sqlite3.Error."""
    usual = esn.shape_of(JunkFilter()).dynamics
    total = None
    for name in names:
        state = known(accounts, name).state
        if state is not None and state.shape.dynamics == usual and state.statistics.total:
            total = total or ridge.Statistics(POOLS * SIZE)
            total.merge(state.statistics)
    return total
