"""verifydata: each kind of fault is found, told, repaired by fix, and gone at the second look."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.store.engine import NoSuchAccount
from echomox.store.sqlite import SqliteEngine
from echomox.store.verify import KINDS, verify
from tests.contract.stores import ALICE, BOB, fill

Break = Callable[[Path, sqlite3.Connection], object]

BREAKS: list[tuple[str, str, Break]] = [
    ("missing file", "file", lambda home, db: (home / "msg/00000/2").unlink()),
    ("short file", "file", lambda home, db: (home / "msg/00000/2").write_bytes(b"x")),
    (
        "one bit",
        "file",
        lambda home, db: (home / "msg/00000/2").write_bytes((home / "msg/00000/2").read_bytes()[:-1] + b"?"),
    ),
    ("stranger", "orphan", lambda home, db: (home / "msg/00000/99").write_bytes(b"x")),
    ("strange name", "orphan", lambda home, db: (home / "msg/00000/x.tmp").write_bytes(b"x")),
    ("total", "counts", lambda home, db: db.execute("UPDATE mailbox SET total = 9 WHERE id = 1")),
    ("unseen", "counts", lambda home, db: db.execute("UPDATE mailbox SET unseen = unseen + 1 WHERE id = 2")),
    ("size", "size", lambda home, db: db.execute("UPDATE message SET size = size + 1 WHERE id = 1")),
    ("uidnext", "uid", lambda home, db: db.execute("UPDATE mailbox SET uidnext = 2 WHERE id = 1")),
    ("next_id", "counter", lambda home, db: db.execute("UPDATE state SET next_id = 1")),
    ("modseq", "counter", lambda home, db: db.execute("UPDATE state SET modseq = 1")),
    ("no content", "content", lambda home, db: db.execute("DELETE FROM content WHERE id = 3")),
    ("no message", "content", lambda home, db: db.execute("DELETE FROM message WHERE id = 3")),
    (
        "parts",
        "parts",
        lambda home, db: db.execute("UPDATE content SET header_size = 99999 WHERE id = 1"),
    ),
    ("no bulk", "parts", lambda home, db: db.execute("DELETE FROM bulk WHERE content = 1")),
    ("another form", "parts", lambda home, db: db.execute("UPDATE content SET form = 9 WHERE id = 1")),
    ("no parts", "parts", lambda home, db: db.execute("UPDATE content SET parts = 'x' WHERE id = 1")),
    (
        "zombie",
        "tombstone",
        lambda home, db: db.execute("INSERT INTO expunged SELECT key, id, 1, 1 FROM message WHERE id = 1"),
    ),
]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths.home(tmp_path)
    engine = SqliteEngine(paths)
    engine.recover()
    engine.create(ALICE)
    engine.create(BOB)
    fill(engine, 4)
    store = engine.open(ALICE)
    store.copy(1, [1], store.mailbox("Archive").id)
    store.remove(1, [4])
    engine.close()
    return paths


def test_a_sound_store_has_no_faults(paths: Paths) -> None:
    assert verify(paths) == []


@pytest.mark.parametrize("name, kind, damage", BREAKS, ids=[name for name, _, _ in BREAKS])
def test_fault_is_found_repaired_and_gone(paths: Paths, name: str, kind: str, damage: Break) -> None:
    home = paths.accounts / ALICE
    with sqlite3.connect(home / "index.db") as connection:
        damage(home, connection)
    connection.close()
    found = verify(paths)
    assert kind in {fault.kind for fault in found} <= set(KINDS)
    assert not any(fault.fixed for fault in found)
    assert {fault.account for fault in found} == {ALICE}
    assert verify(paths, BOB) == []
    assert all(fault.fixed for fault in verify(paths, ALICE, fix=True))
    assert verify(paths) == []


def test_strange_files_are_kept_in_lost_and_found(paths: Paths) -> None:
    (paths.accounts / ALICE / "msg/00000/77").write_bytes(b"somebody's mail")
    verify(paths, fix=True)
    assert (paths.data / "lost+found" / ALICE / "77").read_bytes() == b"somebody's mail"


def test_broken_database_is_reported(paths: Paths) -> None:
    path = paths.accounts / ALICE / "index.db"
    data = bytearray(path.read_bytes())
    data[100:4000] = b"\xff" * 3900
    path.write_bytes(data)
    found = verify(paths, fix=True)
    assert [fault.kind for fault in found][:1] == ["database"]
    assert not found[0].fixed


def test_unknown_account_is_an_error(paths: Paths) -> None:
    with pytest.raises(NoSuchAccount):
        verify(paths, "nobody")
