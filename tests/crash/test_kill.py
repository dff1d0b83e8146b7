"""kill -9 at every step: the child ends at the N-th disk call of a bit of everything; then recovery must find all
promises kept.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.store.sqlite import SqliteEngine
from tests.crash.world import Killed, Promises, again, check, prepare, work

STEPS = 130
"""More than `work` makes; the last ones run to its end."""


def run_child(root: Path, at: int) -> tuple[int, str]:
    """(exit code, what it said)"""
    out = root / "said"
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            engine = SqliteEngine(Paths.home(root), disk=Killed(at))
            asyncio.run(work(engine, lambda line: os.write(descriptor, f"{line}\n".encode()) and None))
            engine.close()
            code = 0
        finally:
            os._exit(code)
    os.close(descriptor)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), out.read_text()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    prepare(root)
    return root


@pytest.mark.parametrize("tenth", range(10))
def test_every_promise_holds_after_kill_at_any_step(template: Path, tmp_path: Path, tenth: int) -> None:
    codes = set()
    for at in range(tenth + 1, STEPS, 10):
        root = tmp_path / str(at)
        shutil.copytree(template, root)
        code, said = run_child(root, at)
        codes.add(code)
        assert code in (0, 99), said
        check(root, Promises().hear(said))
        if at % 7 == 0:
            more = again(root, 100)
            check(root, Promises().hear(said + "\n".join(f"TRY {delivery}" for delivery in more.tried)))
        shutil.rmtree(root)
    assert 99 in codes


def test_steps_reach_beyond_the_end(template: Path, tmp_path: Path) -> None:
    root = tmp_path / "whole"
    shutil.copytree(template, root)
    code, said = run_child(root, STEPS)
    assert code == 0
    assert len(Promises().hear(said).acked) == 11
    check(root, Promises().hear(said))
