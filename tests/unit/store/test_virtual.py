"""Of the SQLite engine: the step to version 6, and virtual mailboxes that two processes look at."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.store import open_engine
from echomox.store.engine import FlagOp, Target
from echomox.store.sqlite import SqliteEngine
from echomox.store.verify import verify
from tests.contract.older import to_version_6
from tests.contract.stores import ALICE, BOB, add, addition, fill, message
from tests.unit.store.test_sqlite import left_behind, restarted

TABLES = ("acl", "virtual", "virtual_member", "virtual_expunged")


@pytest.fixture
def engine(tmp_path: Path) -> SqliteEngine:
    made = SqliteEngine(Paths.home(tmp_path))
    made.recover()
    made.create(ALICE)
    made.create(BOB)
    return made


def schema(index: sqlite3.Connection) -> dict[str, str]:
    """Statements by name, without comments and white space."""
    found = {}
    for name, statement in index.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"):
        lines = [line.partition("--")[0] for line in statement.splitlines()]
        found[name] = "".join("".join(lines).split())
    return found


def test_an_older_index_gets_the_tables(engine: SqliteEngine, tmp_path: Path) -> None:
    fill(engine, 2)
    engine.close()
    path = tmp_path / f"data/accounts/{ALICE}/index.db"
    to_version_6(path)
    index = sqlite3.connect(path, isolation_level=None)
    new = schema(index)
    index.execute("DROP TRIGGER mailbox_takes_acl")
    for table in TABLES:
        index.execute(f"DROP TABLE {table}")
    index.execute("PRAGMA user_version=5")
    store = open_engine(Paths.home(tmp_path)).open(ALICE)
    assert store.shared() == {} and store.define_virtual("All", "ALL").total == 2
    upgraded = schema(index)
    assert {name: upgraded[name] for name in (*TABLES, "mailbox_takes_acl", "virtual_member_by_modseq")} == {
        name: new[name] for name in (*TABLES, "mailbox_takes_acl", "virtual_member_by_modseq")
    }


def test_two_processes_give_the_same_uids(engine: SqliteEngine, tmp_path: Path) -> None:
    other = open_engine(Paths.home(tmp_path))
    one, two = engine.open(ALICE), other.open(ALICE)
    box = one.define_virtual("Unread", "UNSEEN").id
    for _ in range(5):
        fill(engine, 3)
        assert two.select(box, False).uids == one.select(box, False).uids
        one.store_flags(one.mailbox("INBOX").id, [one.mailbox("INBOX").uidnext - 1], FlagOp.ADD, 1, ())
        assert one.changes(box, 0).changed == two.changes(box, 0).changed
        assert one.changes(box, 0).expunged == two.changes(box, 0).expunged
    assert two.mailbox("Unread").total == 10
    assert verify(Paths.home(tmp_path)) == []
    other.close()
    engine.close()


def test_looking_again_writes_nothing(engine: SqliteEngine) -> None:
    store = engine.open(ALICE)
    box = store.define_virtual("All", "ALL").id
    fill(engine, 3)
    store.select(box, False)
    before = store.modseq()
    for _ in range(3):
        assert store.changes(box, before).changed == []
        store.mailbox("All")
    assert store.modseq() == before


def test_a_search_with_an_age_is_done_anew(engine: SqliteEngine) -> None:
    store = engine.open(ALICE)
    add(engine)
    store.define_virtual("New", "YOUNGER 100")
    old = store.define_virtual("Old", "OLDER 100").id
    index = store.database.connection
    assert list(store.select(old, False).uids) == [1]  # the test's messages are of 2023
    index.execute("UPDATE message SET received = ?", (time.time(),))
    assert list(store.changes(old, 0).expunged) == []
    assert list(store.select(old, False).uids) == []
    assert list(store.select(store.mailbox("New").id, False).uids) == [1]


def test_where_to_look_for_shares_outlives_the_process(engine: SqliteEngine, tmp_path: Path) -> None:
    store = engine.open(ALICE)
    store.set_acl(store.mailbox("INBOX").id, {BOB: "lr", "-anyone": "l"})
    assert sorted(path.name for path in (tmp_path / "data/shares").iterdir()) == [BOB]
    again = open_engine(Paths.home(tmp_path))
    assert again.owners(BOB) == [ALICE]
    again.withdraw(BOB)
    assert again.owners(BOB) == [] and store.acl(store.mailbox("INBOX").id) == {"-anyone": "l"}
    assert not list((tmp_path / "data/shares").iterdir())


def test_after_a_power_cut_uids_begin_anew(engine: SqliteEngine, tmp_path: Path) -> None:
    """Those given since the last checkpoint may be lost."""
    fill(engine, 3)
    store = engine.open(ALICE)
    box = store.define_virtual("All", "ALL")
    store.remove(store.mailbox("INBOX").id, [1])
    assert list(store.select(box.id, False).uids) == [2, 3]
    left_behind(engine, [addition(message(), [Target(ALICE, "INBOX")])])
    engine.close()
    again = restarted(Paths.home(tmp_path))
    same = again.open(ALICE).mailbox("All")
    assert (same.uidvalidity, same.total, same.uidnext) == (box.uidvalidity, 3, 5)
    left_behind(again, [addition(message(), [Target(ALICE, "INBOX")])])
    again.close()
    cut = restarted(Paths.home(tmp_path), "another boot")
    after = cut.open(ALICE).mailbox("All")
    assert after.uidvalidity > box.uidvalidity and (after.total, after.uidnext) == (4, 5)
    cut.close()
