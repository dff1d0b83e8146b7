"""Several processes at work on one account at once: no lock trouble, modseqs grow, no UID is given twice, all adds
up.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.store.engine import FlagOp
from echomox.store.sqlite import SqliteEngine
from echomox.store.verify import verify
from tests.crash.world import addition, prepare

ADDS = 40


async def adder(engine: SqliteEngine, number: int, out: list[str]) -> None:
    committer = engine.committer(f"test.{number}")
    last = 0
    for n in range(ADDS):
        (added,) = await committer.add(addition(1000 * number + n, ("alice",)))
        assert added.modseq > last, "modseq went back"
        last = added.modseq
        out.append(f"UID {added.uid}")
        if n % 10 == 9:
            committer._rotate = True
    await committer.close()


def flagger(engine: SqliteEngine, number: int) -> None:
    store = engine.open("alice")
    inbox, archive = store.mailbox("INBOX").id, store.mailbox("Archive").id
    last = 0
    for n in range(ADDS * 3):
        uids = store.select(inbox, n % 2 == 0).uids
        if not uids:
            continue
        result = store.store_flags(
            inbox, [uids[n % len(uids)]], FlagOp.ADD if n % 3 else FlagOp.REMOVE, 1 << number, ()
        )
        assert result.modseq >= last, "modseq went back"
        last = result.modseq
        changes = store.changes(inbox, last - 5)
        assert changes.modseq >= last
        if n % 20 == 0:
            store.move(store.copy(inbox, uids[:2], archive).target and archive, [1], archive)


def run(root: Path, number: int, path: Path) -> None:
    """In a child: even numbers add, odd ones flag."""
    engine = SqliteEngine(Paths.home(root))
    out: list[str] = []
    try:
        if number % 2:
            flagger(engine, number)
        else:
            asyncio.run(adder(engine, number, out))
        engine.close()
    except BaseException:
        out.append(traceback.format_exc())
    path.write_text("\n".join([*out, "END"]))


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_an_account(tmp_path: Path, processes: int) -> None:
    prepare(tmp_path)
    children = {}
    for number in range(processes):
        child = os.fork()
        if child == 0:
            run(tmp_path, number, tmp_path / f"out{number}")
            os._exit(0)
        children[child] = tmp_path / f"out{number}"
    for child in children:
        os.waitpid(child, 0)
    lines = [line for path in children.values() for line in path.read_text().splitlines()]
    assert [line for line in lines if not line.startswith(("UID", "END"))] == []
    uids = [line for line in lines if line.startswith("UID")]
    assert len(uids) == len(set(uids)) == ADDS * processes // 2
    assert verify(Paths.home(tmp_path)) == []


def test_a_fork_starts_with_no_connection_of_its_parent(tmp_path: Path) -> None:
    prepare(tmp_path)
    engine = SqliteEngine(Paths.home(tmp_path))
    parent = engine.open("alice")
    parent.create_mailbox("before")
    child = os.fork()
    if child == 0:
        store = engine.open("alice")
        store.create_mailbox("within")
        engine.close()
        os._exit(0 if store is not parent else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert {"before", "within"} <= {one.name for one in parent.mailboxes()}
    engine.close()


def test_target_is_kept_when_many_workers_deliver_to_many(tmp_path: Path) -> None:
    """Two committers, each with messages for both accounts in turn: no deadlock."""
    prepare(tmp_path)
    engine = SqliteEngine(Paths.home(tmp_path))

    async def deliver() -> None:
        committers = [engine.committer(f"test.{n}") for n in range(2)]
        made = []
        for n in range(20):
            one = addition(n, ("alice", "bob") if n % 2 else ("bob", "alice"))
            made.append(committers[n % 2].add(one))
        for added in await asyncio.gather(*made):
            assert {one.account for one in added} == {"alice", "bob"}
        for committer in committers:
            await committer.close()

    asyncio.run(deliver())
    assert {engine.open(name).mailbox("INBOX").total for name in ("alice", "bob")} == {20}
    engine.close()
