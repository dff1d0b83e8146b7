"""An account's vocabulary: when it is made, what is in it, and that rows packed with it are read by all ways."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from echomox.config.paths import Paths
from echomox.imap.search import Body, Header, Key, Text
from echomox.store.engine import COLUMNS
from echomox.store.rows import compact, vocabulary
from echomox.store.sqlite import SqliteEngine
from echomox.store.verify import verify
from tests.contract.stores import ALICE, add, message

PREFIX = b"Delivered-To: alice@example.test\r\nX-Trace: mail.example.test says number %d of this\r\n"
VERDICT = {"place": "inbox", "reason": "said again and again", "profile": [n / 10 for n in range(10)]}
ASKED: tuple[Key, ...] = (
    Header("from", "example"), Header("subject", "hi 3"), Header("x-trace", "number 3"), Body("tolling"), Text("says"),
)  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.home(tmp_path)


@pytest.fixture
def engine(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteEngine]:
    monkeypatch.setattr(vocabulary, "FIRST", 8)
    monkeypatch.setattr(vocabulary, "SECOND", 12)
    monkeypatch.setattr(vocabulary, "EACH", 6)
    made = SqliteEngine(paths)
    made.recover()
    made.create(ALICE)
    yield made
    made.close()


def put(engine: SqliteEngine, number: int) -> None:
    source = message(f"Hi {number}", body=f"The bells are tolling again, for {number}.\r\n")
    add(engine, source=source, prefix=PREFIX % number, verdict=json.dumps(VERDICT | {"n": number}), account=ALICE)


def query(paths: Paths, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(paths.accounts / ALICE / "index.db")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_one_is_made_at_each_step_and_used_from_then_on(engine: SqliteEngine, paths: Paths) -> None:
    store = engine.open(ALICE)
    for number in range(20):
        put(engine, number)
        store.modernize(lambda: False)
    assert query(paths, "SELECT id, made FROM vocabulary") == [(1, 8), (2, 12), (3, 18)]
    forms = [form for (form,) in query(paths, "SELECT form FROM content ORDER BY id")]
    assert forms == sorted(forms, reverse=True) and set(forms) == {-1, -2, -3, -4}
    inbox = store.mailbox("INBOX").id
    wanted = [name for name in COLUMNS if name != "thread_id"]
    rows = [dict(zip(wanted, row)) for row in store.fetch(inbox, 1, 99, wanted)]
    assert [row["prefix"] for row in rows] == [PREFIX % n for n in range(20)]
    assert [json.loads(row["verdict"]) for row in rows] == [VERDICT | {"n": n} for n in range(20)]
    assert [row["preview"] for row in rows] == [f"The bells are tolling again, for {n}." for n in range(20)]
    uids = store.select(inbox, False).uids
    found = [len(store.search(inbox, key, uids)) for key in ASKED]
    assert found == [20, 1, 1, 20, 20]
    assert verify(paths) == [] and store.repair("reparse") == 0


def test_rows_become_smaller(engine: SqliteEngine, paths: Paths) -> None:
    for number in range(8):
        put(engine, number)
    engine.open(ALICE).modernize(lambda: False)
    put(engine, 8)
    sizes = (
        "SELECT length(prefix), length(b.verdict), length(b.rest) FROM content JOIN bulk b ON b.content = id"
        " WHERE id IN (8, 9) ORDER BY id"
    )
    before, after = query(paths, sizes)
    assert all(new < old for old, new in zip(before, after)) and after[0] < before[0] / 2


def test_it_is_made_whole_or_not(engine: SqliteEngine, paths: Paths) -> None:
    for number in range(8):
        put(engine, number)

    def killed(call: str, path: str) -> None:
        if call == "commit":
            raise KeyboardInterrupt

    store = engine.open(ALICE)
    step, engine.disk.step = engine.disk.step, killed
    with pytest.raises(KeyboardInterrupt):
        store.modernize(lambda: False)
    engine.disk.step = step
    assert query(paths, "SELECT count(*) FROM vocabulary") == [(0,)]
    put(engine, 8)
    store.modernize(lambda: False)
    assert query(paths, "SELECT state.vocabulary, v.id FROM state, vocabulary v") == [(1, 1)]


def test_a_row_whose_vocabulary_is_missing_is_told(engine: SqliteEngine, paths: Paths) -> None:
    for number in range(9):
        put(engine, number)
        engine.open(ALICE).modernize(lambda: False)
    engine.close()
    connection = sqlite3.connect(paths.accounts / ALICE / "index.db", isolation_level=None)
    connection.execute("UPDATE content SET form = 99 WHERE id = 9")
    connection.close()
    with pytest.raises(LookupError):
        compact.Lexicon(engine.open(ALICE).database.execute)[99]
    assert "parts" in {fault.kind for fault in verify(paths, fix=True)}
    assert verify(paths) == []


def test_what_few_have_is_not_taken() -> None:
    texts = [b"all say this; %d alone" % n for n in range(vocabulary.LEAST)]
    some = [*texts, b"a secret of three", b"a secret of three", b"a secret of three"]
    found = vocabulary.gather(some, 5, 1000)
    assert b"all say this; " in found and b"secret" not in found
    assert len(vocabulary.gather(some, 5, 10)) <= 10
    assert vocabulary.gather([], 5, 10) == vocabulary.gather([b"", b"a"], 5, 10) == b""
