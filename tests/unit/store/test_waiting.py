"""Waiting for another process's transaction: it ends when that one does, and after BUSY_TIMEOUT at last."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from echomox.store import database
from echomox.store.database import Busy, Database, build, connect
from echomox.store.disk import Disk


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Database]:
    build(str(tmp_path), "a", 0)
    one = Database(str(tmp_path), "a", Disk())
    yield one
    connection = one.release()
    assert connection is not None
    connection.close()


def test_a_writer_goes_on_when_the_other_has_committed(opened: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(connect(opened.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE state SET modseq = modseq + 1")
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                other.execute("COMMIT")

        monkeypatch.setattr(time, "sleep", sleep)
        with opened.write() as write:
            assert write.bump() == 3
    assert len(waits) == 3 and waits == sorted(waits) and max(waits) <= database.LAST_PAUSE


def test_a_writer_gives_up_at_last_and_may_try_again(opened: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(connect(opened.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.0)
        with pytest.raises(Busy), opened.write():
            raise AssertionError("within another's transaction")
        other.execute("COMMIT")
    with opened.write() as write:
        assert write.bump() == 2
    assert opened.execute("PRAGMA busy_timeout").fetchone() == (5000,)
