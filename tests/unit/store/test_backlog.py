"""An account of an older version: it is read as before at once, and brought up to date piece by piece."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from echomox.config.paths import Paths
from echomox.imap.search import Header
from echomox.imap.sorting import Criterion
from echomox.store.engine import COLUMNS, AccountStore
from echomox.store.rows import backlog
from echomox.store.sqlite import SqliteEngine
from echomox.store.upgrades import VERSION, upgrade
from echomox.store.verify import verify
from tests.contract.older import to_version_6, to_version_7, to_version_8
from tests.contract.stores import ALICE, add, message

NUMBER = 7
VERDICT = json.dumps({"place": "inbox", "profile": [n / 10 for n in range(10)]})
SORTED_TABLES = ("sorting", "sort_text", "thread_name")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.home(tmp_path)


@pytest.fixture
def engine(paths: Paths) -> Iterator[SqliteEngine]:
    made = SqliteEngine(paths)
    made.recover()
    made.create(ALICE)
    for number in range(NUMBER):
        reference = f"References: <{b'Hi 0'.hex()}@example.org>\r\n" if number % 3 else ""
        source = message(f"Hi {number}", headers=reference)
        add(made, source=source, prefix=b"Delivered-To: a\r\n", verdict=VERDICT, account=ALICE)
    yield made
    made.close()


def picture(store: AccountStore) -> Any:
    inbox = store.mailbox("INBOX").id
    rows = list(store.fetch(inbox, 1, 99, [name for name in COLUMNS if name != "thread_id"]))
    texts = [store.content(row[0]).read() for row in rows]
    found = [store.search(inbox, Header(*asked), store.select(inbox, False).uids) for asked in ASKED]
    return rows, texts, found


ASKED = (("from", "example"), ("subject", "hi 3"), ("to", "nobody"), ("message-id", "<"))


def index(paths: Paths) -> Path:
    return paths.accounts / ALICE / "index.db"


def query(paths: Paths, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(index(paths), isolation_level=None)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def unsorted(paths: Paths) -> None:
    """As a version before 5 left it."""
    for table in SORTED_TABLES:
        query(paths, f"DELETE FROM {table}")


def test_both_forms_are_read_alike(engine: SqliteEngine, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "PIECE", 2)
    monkeypatch.setattr(backlog, "TURN", 2)
    before = picture(engine.open(ALICE))
    engine.close()
    to_version_6(index(paths))
    store = engine.open(ALICE)
    assert picture(store) == before
    assert query(paths, "SELECT older, sorted, packed FROM state") == [(NUMBER, NUMBER, 0)]
    rounds = 0
    while store.modernize(lambda: False):
        rounds += 1
        assert picture(store) == before and verify(paths) == []
    assert rounds > 3 and query(paths, "SELECT DISTINCT form FROM content") == [(-1,)]
    assert query(paths, "SELECT packed FROM state") == [(NUMBER,)]


def test_new_mail_beside_old(engine: SqliteEngine, paths: Paths) -> None:
    engine.close()
    to_version_6(index(paths))
    add(engine, source=message("new"), account=ALICE)
    assert query(paths, "SELECT form FROM content ORDER BY id") == [(0,)] * NUMBER + [(-1,)]
    store = engine.open(ALICE)
    before = picture(store)
    assert store.modernize(lambda: True) == 0
    store.remove(store.mailbox("INBOX").id, [2])
    while store.modernize(lambda: False):
        pass
    after = picture(store)
    assert after[1] == [text for n, text in enumerate(before[1]) if n != 1] and verify(paths) == []


def test_a_killed_piece_is_as_if_it_had_not_been(
    engine: SqliteEngine, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.close()
    to_version_6(index(paths))
    store = engine.open(ALICE)
    before = picture(store)
    monkeypatch.setattr(backlog, "PIECE", 3)

    def killed(call: str, path: str) -> None:
        if call == "commit":
            raise KeyboardInterrupt

    step, engine.disk.step = engine.disk.step, killed
    with pytest.raises(KeyboardInterrupt):
        store.modernize(lambda: False)
    engine.disk.step = step
    assert query(paths, "SELECT packed FROM state") == [(0,)] and picture(store) == before
    assert store.modernize(lambda: False) and picture(store) == before


def test_sort_keys_are_made_when_they_are_wanted(
    engine: SqliteEngine, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "PIECE", 2)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    uids = list(store.select(inbox, False).uids)
    wanted = [*store.fetch(inbox, 1, 99, ["uid", "thread_id"])]
    keys = query(paths, "SELECT * FROM sorting")
    for ask in (
        lambda store: [*store.fetch(inbox, 1, 99, ["uid", "thread_id"])],
        lambda store: list(store.ordering(inbox, uids, [Criterion("SUBJECT")], {})),
        lambda store: list(store.thread_items(inbox, uids)),
    ):
        engine.close()
        to_version_6(index(paths))
        unsorted(paths)
        store = engine.open(ALICE)
        assert store.modseq() and verify(paths) == []
        assert query(paths, "SELECT older, sorted FROM state") == [(NUMBER, 0)]
        ask(store)
        assert query(paths, "SELECT * FROM sorting") == keys
        assert [*store.fetch(inbox, 1, 99, ["uid", "thread_id"])] == wanted


def test_sort_keys_are_made_in_steps(engine: SqliteEngine, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "PIECE", 2)
    engine.close()
    to_version_6(index(paths))
    unsorted(paths)
    steps = backlog.sort_all(engine.open(ALICE).database)
    counts = [query(paths, "SELECT count(*) FROM sorting")[0][0] for _ in steps]
    assert counts == [2, 4, 6, 7]


def test_an_account_of_version_7_is_as_it_was(engine: SqliteEngine, paths: Paths) -> None:
    """Its rows stay in their form; new ones and those that are written anew have the newest."""
    before = picture(engine.open(ALICE))
    views = [query(paths, f"SELECT * FROM {view}") for view in ("v_part", "v_affective_state")]
    assert len(views[0]) == NUMBER and views[1]
    engine.close()
    to_version_7(index(paths))
    assert query(paths, "SELECT DISTINCT form FROM content") == [(1,)]
    store = engine.open(ALICE)
    assert picture(store) == before and verify(paths) == []
    assert store.modernize(lambda: False) == 0 and store.repair("reparse") == 0
    assert [query(paths, f"SELECT * FROM {view}") for view in ("v_part", "v_affective_state")] == views
    add(engine, source=message("new"), account=ALICE)
    assert query(paths, "SELECT form FROM content ORDER BY id") == [(1,)] * NUMBER + [(-1,)]
    assert store.affect(1) is not None
    store.remove(store.mailbox("INBOX").id, [1])
    assert store.affect(1) is None and query(paths, "SELECT count(*) FROM affective_state") == [(NUMBER - 1,)]


def test_an_account_of_version_8_is_as_it_was(engine: SqliteEngine, paths: Paths) -> None:
    before = picture(engine.open(ALICE))
    engine.close()
    to_version_8(index(paths))
    forms = query(paths, "SELECT form FROM content ORDER BY id")
    assert set(forms) == {(2,), (3,)}
    store = engine.open(ALICE)
    assert picture(store) == before and verify(paths) == []
    assert store.modernize(lambda: False) == 0 and store.repair("reparse") == 0
    add(engine, source=message("new"), account=ALICE)
    assert query(paths, "SELECT form FROM content ORDER BY id") == [*forms, (-1,)]
    query(paths, "UPDATE content SET subject = 'wrong' WHERE id = 2")
    assert store.repair("reparse") == 1 and picture(store)[0][:NUMBER] == before[0]
    assert query(paths, "SELECT form FROM content WHERE id = 2") == [(-1,)]


class _Killed:
    """A connection whose process ends before statement number `left`."""

    def __init__(self, connection: sqlite3.Connection, left: int) -> None:
        self._connection = connection
        self._left = left

    def execute(self, statement: str) -> sqlite3.Cursor:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return self._connection.execute(statement)


@pytest.mark.parametrize("older", [to_version_8, to_version_7, to_version_6])
def test_an_upgrade_that_is_killed_is_done_by_the_next_one(
    engine: SqliteEngine, paths: Paths, older: Callable[[Path], None]
) -> None:
    before = picture(engine.open(ALICE))
    engine.close()
    older(index(paths))
    kills = 0
    while True:
        connection = sqlite3.connect(index(paths), isolation_level=None)
        try:
            upgrade(_Killed(connection, 2 + kills), ALICE)  # type: ignore[arg-type]
            break
        except KeyboardInterrupt:
            kills += 1
        finally:
            connection.close()
    assert kills > 2 and query(paths, "PRAGMA user_version") == [(VERSION,)]
    assert picture(engine.open(ALICE)) == before and verify(paths) == []


def test_the_steps_make_what_a_new_database_has(engine: SqliteEngine, paths: Paths) -> None:
    names = "SELECT type, name, tbl_name FROM sqlite_master ORDER BY name"
    columns = "SELECT m.name, i.name, i.type FROM sqlite_master m, pragma_table_info(m.name) i ORDER BY 1, 2"
    texts = (
        "SELECT name, sql FROM sqlite_master WHERE type IN ('view', 'trigger')"
        " OR name IN ('affect', 'vocabulary', 'bulk', 'muted') ORDER BY name"
    )
    new = [query(paths, asked) for asked in (names, columns, texts)]
    engine.close()
    for older in (to_version_8, to_version_7, to_version_6):
        older(index(paths))
        assert engine.open(ALICE).modseq()
        engine.close()
        assert [query(paths, asked) for asked in (names, columns, texts)] == new
