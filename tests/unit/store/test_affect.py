"""AFFECTIVE_STATE in index.db: the seed's names, no rows left over, and databases from before it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.store.engine import AffectiveState, Target
from echomox.store.sqlite import SqliteEngine
from echomox.store.upgrades import UPGRADES
from tests.contract.stores import ALICE, add, add_all, addition, message

NAMES = ["MessageID", "Joy", "Sadness", "Anger", "Fear", "Disgust", "Interest", "Surprise", "Valence", "Arousal"]
PROFILE = tuple(n / 16 for n in range(10))
VERDICT = json.dumps({"profile": PROFILE})


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.home(tmp_path)


@pytest.fixture
def engine(paths: Paths) -> Iterator[SqliteEngine]:
    made = SqliteEngine(paths)
    made.recover()
    made.create(ALICE)
    yield made
    made.close()


def connect(paths: Paths) -> sqlite3.Connection:
    return sqlite3.connect(paths.accounts / ALICE / "index.db", isolation_level=None)


def test_the_view_has_the_names_of_the_data_architecture(engine: SqliteEngine, paths: Paths) -> None:
    added = add(engine, verdict=VERDICT)
    connection = connect(paths)
    found = connection.execute("SELECT * FROM v_affective_state")
    assert [column[0] for column in found.description] == [*NAMES, "Dominance"]
    assert found.fetchall() == [(added.message_id, *PROFILE)]
    connection.close()


def test_no_row_outlives_its_content(engine: SqliteEngine, paths: Paths) -> None:
    one = addition(message("a"), [Target(ALICE, "INBOX", verdict=VERDICT), Target(ALICE, "Junk", verdict=VERDICT)])
    store = engine.open(ALICE)
    for added in add_all(engine, [one])[0]:
        store.remove(added.mailbox_id, [added.uid])
    connection = connect(paths)
    assert connection.execute("SELECT count(*) FROM affective_state").fetchone() == (0,)
    connection.close()


def test_the_step_from_version_1_makes_what_a_new_database_has(engine: SqliteEngine, paths: Paths) -> None:
    old = add(engine)
    engine.close()
    connection = connect(paths)
    schema = "SELECT type, name, sql FROM sqlite_master WHERE name != 'v_affective_state' ORDER BY name"
    new = connection.execute(schema).fetchall()
    connection.executescript(
        "DROP VIEW v_affective_state; DROP TRIGGER content_takes_affect; DROP TABLE affective_state"
    )
    for statement in UPGRADES[0].split(";\n"):
        connection.execute(statement)
    assert connection.execute(schema).fetchall() == new
    connection.close()
    store = engine.open(ALICE)
    assert store.affect(old.message_id) is None
    added = add(engine, verdict=VERDICT)
    assert store.affect(added.message_id) == AffectiveState(added.message_id, *PROFILE)
