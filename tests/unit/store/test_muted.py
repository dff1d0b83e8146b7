"""Muted threads in the SQLite engine: rows, room for keywords, kills, journals, older versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from echomox.config.paths import Paths
from echomox.store.engine import FlagOp
from echomox.store.names import KEYWORDS_PER_ACCOUNT
from echomox.store.sqlite import SqliteEngine
from echomox.store.verify import verify
from tests.contract.older import to_version_7
from tests.contract.stores import ALICE, BOB, addition
from tests.contract.test_store_muted import ADD, MUTED, REMOVE, SEEN, Target, last, mail, put, told
from tests.unit.store.test_sqlite import left_behind


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.home(tmp_path)


@pytest.fixture
def engine(paths: Paths) -> Iterator[SqliteEngine]:
    made = SqliteEngine(paths)
    made.recover()
    for account in (ALICE, BOB):
        made.create(account)
    put(made, mail("a"))
    yield made
    made.close()


def rows(paths: Paths, statement: str) -> list[Any]:
    index = sqlite3.connect(paths.accounts / ALICE / "index.db", isolation_level=None)
    try:
        return index.execute(statement).fetchall()
    finally:
        index.close()


def muted(paths: Paths) -> list[Any]:
    return [thread for (thread,) in rows(paths, "SELECT thread FROM muted ORDER BY thread")]


def test_the_thread_of_each_message_is_the_same_as_without(engine: SqliteEngine, paths: Paths) -> None:
    put(engine, mail("b", "a"))
    told(engine, 2, ADD, MUTED)
    assert muted(paths) == [1]
    for source in (mail("c", "b"), mail("d"), mail("e", "d"), mail("f", "x", "c")):
        put(engine, source)
    found = "SELECT content, thread FROM sorting ORDER BY content"
    assert rows(paths, found) == [(1, 1), (2, 1), (3, 1), (4, 4), (5, 4), (6, 1)]
    assert verify(paths) == []
    engine.open(ALICE).repair("reassignthreads")
    assert rows(paths, found) == [(1, 1), (2, 1), (3, 1), (4, 4), (5, 4), (6, 1)] and muted(paths) == [1]


def test_without_room_for_the_keyword_mail_is_read_at_least(engine: SqliteEngine, paths: Paths) -> None:
    told(engine, 1, ADD, MUTED)
    rows(paths, "DELETE FROM keyword")
    rows(
        paths,
        f"WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {KEYWORDS_PER_ACCOUNT})"
        " INSERT INTO keyword SELECT 'k' || i FROM n",
    )
    assert put(engine, mail("b", "a")) == (SEEN, "")
    told(engine, 2, REMOVE, MUTED)
    assert muted(paths) == []


@pytest.mark.parametrize("op", [ADD, REMOVE])
def test_keyword_and_thread_change_together_or_not_at_all(
    engine: SqliteEngine, paths: Paths, monkeypatch: pytest.MonkeyPatch, op: FlagOp
) -> None:
    if op is REMOVE:
        told(engine, 1, ADD, MUTED)
    before = last(engine), muted(paths)

    def killed(call: str, path: str) -> None:
        if call == "commit":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine.disk, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            told(engine, 1, op, MUTED)
    assert (last(engine), muted(paths)) == before
    told(engine, 1, op, MUTED)
    assert (last(engine), muted(paths)) == (((0, MUTED), [1]) if op is ADD else ((0, ""), []))


def test_a_message_of_an_older_version_gets_its_thread(engine: SqliteEngine, paths: Paths) -> None:
    for table in ("sorting", "thread_name"):
        rows(paths, f"DELETE FROM {table}")
    told(engine, 1, ADD, MUTED)
    assert put(engine, mail("b", "a")) == (SEEN, MUTED)


def test_an_account_of_version_7_can_mute(engine: SqliteEngine, paths: Paths) -> None:
    put(engine, mail("b"))
    told(engine, 2, ADD, "$important")
    engine.close()
    to_version_7(paths.accounts / ALICE / "index.db")
    assert rows(paths, "SELECT name FROM sqlite_master WHERE name = 'muted'") == []
    assert put(engine, mail("c", "a")) == (0, "")
    told(engine, 1, ADD, MUTED)
    assert put(engine, mail("d", "c")) == (SEEN, MUTED) and muted(paths) == [1] and verify(paths) == []


def test_a_journal_has_the_flags_and_the_keyword(engine: SqliteEngine, paths: Paths) -> None:
    """What a power cut took from the index comes again as it was, and mutes as it did."""
    told(engine, 1, ADD, MUTED)
    engine.close()
    index = paths.accounts / ALICE / "index.db"
    kept = index.read_bytes()
    sources = [(mail("b", "a"), ()), (mail("new"), ("$muted",))]
    left_behind(
        engine,
        [addition(source, [Target(ALICE, "INBOX", keywords=words)], delivered=True) for source, words in sources],
    )
    engine.close()
    for path in index.parent.glob("index.db*"):
        path.unlink()
    index.write_bytes(kept)
    assert muted(paths) == [1]
    after = SqliteEngine(paths, boot_id="another")
    assert after.recover()["replayed"] == 2
    store = after.open(ALICE)
    found = list(store.fetch(store.mailbox("INBOX").id, 1, 9, ("flags", "keywords")))
    assert found == [(0, MUTED), (SEEN, MUTED), (0, MUTED)] and muted(paths) == [1, 3]
    assert store.mailbox("INBOX").unseen == 2 and verify(paths) == []
    after.close()
