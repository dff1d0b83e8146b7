"""T29, repairs: what every engine promises of them; and, of the SQLite engine, that they repair."""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.store import open_engine
from echomox.store.engine import REPAIRS, Engine, FlagOp, StoreError
from echomox.store.verify import verify
from tests.contract.stores import ALICE, add, fill, message


def test_another_uidvalidity_is_higher_and_told(engine: Engine) -> None:
    store = engine.open(ALICE)
    fill(engine, 2)
    before, since = store.mailbox("INBOX"), store.modseq()
    assert store.repair("bumpuidvalidity", "INBOX") == 1
    after = store.mailbox("INBOX")
    assert after.uidvalidity > before.uidvalidity and after.uidnext == before.uidnext
    assert store.changes(after.id, since).renamed
    assert store.repair("bumpuidvalidity") == len(store.mailboxes())
    validities = [mailbox.uidvalidity for mailbox in store.mailboxes()]
    assert len(set(validities)) == len(validities) and min(validities) > after.uidvalidity - len(validities)


def test_uids_are_given_anew(engine: Engine) -> None:
    store = engine.open(ALICE)
    uids = fill(engine, 5)
    inbox = store.mailbox("INBOX")
    store.store_flags(inbox.id, uids[2:3], FlagOp.ADD, 4, ())
    store.remove(inbox.id, [uids[0], uids[3]])
    subjects = [row[0] for row in store.fetch(inbox.id, 1, 99, ("subject",))]
    assert store.repair("reassignuids", "INBOX") == 3
    after = store.mailbox("INBOX")
    assert [row[0] for row in store.fetch(inbox.id, 1, 99, ("uid",))] == [1, 2, 3] and after.uidnext == 4
    assert [row[0] for row in store.fetch(inbox.id, 1, 99, ("subject",))] == subjects
    assert after.uidvalidity > inbox.uidvalidity and after.total == 3
    assert store.changes(inbox.id, 0).expunged == []
    assert add(engine).uid == 4


def test_what_is_right_stays(engine: Engine) -> None:
    store = engine.open(ALICE)
    fill(engine, 3)
    before = store.mailbox("INBOX")
    for task in ("recalculate", "fixuidmeta", "reparse", "fixmsgsize"):
        assert store.repair(task) == 0, task
    assert store.mailbox("INBOX") == before
    assert store.repair("reassignthreads") in (0, 3)
    with pytest.raises(StoreError):
        store.repair("nothing")
    with pytest.raises(StoreError):
        store.repair("reassignuids", "nowhere")


def test_repairs_of_broken_rows(tmp_path: Path) -> None:
    engine = open_engine(Paths.home(tmp_path))
    engine.recover()
    engine.create(ALICE)
    store = engine.open(ALICE)
    fill(engine, 4)
    add(engine, "Junk", message("copied"))
    store.copy(store.mailbox("INBOX").id, [1], store.mailbox("Junk").id)
    index = sqlite3.connect(tmp_path / f"data/accounts/{ALICE}/index.db", isolation_level=None)
    rows = list(store.fetch(store.mailbox("INBOX").id, 1, 99, ("uid", "size", "envelope", "bodystructure")))
    index.execute("UPDATE mailbox SET unseen = 77, size = 1 WHERE name = 'INBOX'")
    assert store.repair("recalculate", "Junk") == 0 and store.repair("recalculate") == 1
    assert store.mailbox("INBOX").unseen == 4 and verify(Paths.home(tmp_path)) == []
    index.execute("UPDATE mailbox SET uidnext = 2 WHERE name = 'INBOX'")
    index.execute("UPDATE state SET uidvalidity = 5, modseq = 2")
    assert store.repair("fixuidmeta") >= 3
    assert store.mailbox("INBOX").uidnext == 5 and verify(Paths.home(tmp_path)) == []
    index.execute("UPDATE content SET envelope = x'28', subject = 'wrong', preview = '' WHERE id = 2")
    assert store.repair("reparse") == 1
    index.execute("UPDATE message SET size = 3")
    assert store.repair("fixmsgsize") == 6
    assert list(store.fetch(store.mailbox("INBOX").id, 1, 99, ("uid", "size", "envelope", "bodystructure"))) == rows
    path = next(path for path in (tmp_path / f"data/accounts/{ALICE}/msg").rglob("1"))
    path.write_bytes(path.read_bytes() + b"more\r\n")
    assert store.repair("fixmsgsize") == 2  # the copy too
    assert index.execute("SELECT crc FROM content WHERE id = 1").fetchone() == (zlib.crc32(path.read_bytes()),)
    assert verify(Paths.home(tmp_path)) == []
    assert store.repair("reassignthreads") == 5
    assert set(REPAIRS) >= {"recalculate"}
    index.close()
    engine.close()
