"""kill -9 while the full-text index is filled, at every statement: answers stay right, and the work goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.imap.search import Header, Key, Text
from echomox.store import search
from echomox.store.engine import Target
from echomox.store.sqlite import SqliteEngine
from echomox.store.text import fill, fulltext
from tests.contract.stores import ALICE, add_all, addition, message

COUNT = 12
KEYS: list[Key] = [Text("word3"), Text("rd1"), Text("word"), Text("other text"), Header("subject", "7"), Text("zz")]
EXPECTED = [[4], [2, 11, 12], list(range(1, 13)), list(range(1, 13)), [8], []]


def prepare(root: Path) -> SqliteEngine:
    engine = SqliteEngine(Paths.home(root))
    engine.recover()
    engine.create(ALICE)
    sources = [message(str(n), f"word{n} other text\r\n") for n in range(COUNT)]
    add_all(engine, [addition(source, [Target(ALICE, "INBOX")]) for source in sources])
    return engine


def found(engine: SqliteEngine) -> list[list[int]]:
    store = engine.open(ALICE)
    uids = store.select(1, False).uids
    return [store.search(1, key, uids) for key in KEYS]


def work(engine: SqliteEngine, steps: int) -> None:
    """Ends the process at the statement number `steps`."""
    left = [steps]

    def count(statement: str) -> None:
        left[0] -= 1
        if left[0] <= 0:
            os._exit(99)

    filler = fill.Filler(engine.open(ALICE).database)
    filler._connection.set_trace_callback(count)
    while filler.batch():
        filler.tidy()
    filler.finish()
    filler.close()


def killed(root: Path, steps: int) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(SqliteEngine(Paths.home(root)), steps)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_kill_at_every_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in ((search, "FEW", 0), (fill, "FAN", 2), (fill, "BATCH", 3)):
        monkeypatch.setattr(module, name, value)
    engine = prepare(tmp_path)
    database = engine.open(ALICE).database
    assert found(engine) == EXPECTED
    steps, code = 1, 99
    while code == 99:
        for name in os.listdir(database.directory):
            if name.startswith("fts"):
                os.unlink(f"{database.directory}/{name}")
        code = killed(tmp_path, steps)
        assert code in (0, 99)
        assert found(engine) == EXPECTED
        if steps % 5 == 0:
            engine.open(ALICE).index_texts(1, lambda: False)
            assert found(engine) == EXPECTED
            assert fulltext.verify(database) == ""
        steps += 3
    assert steps > 60
    assert not os.path.exists(fulltext.marker(database))
    engine.close()


def test_told_to_stop_it_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FEW", 0)
    engine = prepare(tmp_path)
    assert engine.open(ALICE).index_texts(1, lambda: True) == 0
    assert found(engine) == EXPECTED
    assert engine.open(ALICE).index_texts(1, lambda: False) == COUNT
    assert found(engine) == EXPECTED
    engine.close()
