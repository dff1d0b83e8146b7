"""kill -9 of the queue at every step: the child ends at the N-th call of the disk, commits of leases, outcomes and
reports among them, or at the N-th statement of SQLite; the next process must keep every promise.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from echomox.queue import commit, database
from tests.crash.queueworld import Promises, check, prepare, work
from tests.crash.world import Killed

STEPS = 90
"""More than `work` makes; the last ones run to its end."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    shutil.rmtree(root)
    prepare(root)
    return root


def killed(root: Path, at: int, statements: int = 0) -> tuple[int, str]:
    """(exit code, what it said)"""
    out = root / "said"
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if statements:
                kill_at_statement(statements)
            disk = Killed(at)
            asyncio.run(work(root, lambda line: os.write(descriptor, f"{line}\n".encode()) and None, disk))
            code = 0
        finally:
            os._exit(code)
    os.close(descriptor)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), out.read_text()


def kill_at_statement(left: int) -> None:
    """Within transactions too."""
    count = [left]

    def step(statement: str) -> None:
        count[0] -= 1
        if count[0] <= 0:
            os._exit(99)

    def connect(directory: Path, **more: bool):
        connection = database.connect(directory, **more)
        connection.set_trace_callback(step)
        return connection

    commit.connect = connect  # in the child alone


@pytest.mark.parametrize("fifth", range(5))
def test_every_promise_holds_after_kill_at_any_call(template: Path, tmp_path: Path, fifth: int) -> None:
    codes = set()
    for at in range(fifth + 1, STEPS, 5):
        root = tmp_path / str(at)
        shutil.copytree(template, root)
        code, said = killed(root, at)
        assert code in (0, 99), said
        codes.add(code)
        check(root, said)
        shutil.rmtree(root)
    assert 99 in codes


def test_every_promise_holds_after_kill_at_any_statement(template: Path, tmp_path: Path) -> None:
    codes = set()
    at = 1
    while 0 not in codes:
        root = tmp_path / str(at)
        shutil.copytree(template, root)
        code, said = killed(root, 0, at)
        assert code in (0, 99), said
        codes.add(code)
        check(root, said)
        shutil.rmtree(root)
        at += 7
    assert at > 200


def test_without_a_kill_everything_happens_once(template: Path, tmp_path: Path) -> None:
    root = tmp_path / "whole"
    shutil.copytree(template, root)
    code, said = killed(root, 0)
    assert code == 0
    promises = Promises().hear(said)
    assert len(promises.acked) == 9
    assert set(promises.done.values()) == {1}
    assert sum(name.startswith("report:") for name in promises.done) == 3
    check(root, said)
