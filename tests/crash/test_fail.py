"""A disk that fails at the N-th call, for every N: what fails is refused, what was answered stays, nothing is half
there.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.store.disk import Disk
from echomox.store.engine import StoreError
from echomox.store.sqlite import SqliteEngine
from tests.crash.world import ACCOUNTS, Promises, add, addition, check, prepare

CALLS = 26
"""More than the work below makes."""


class Failing(Disk):
    """The `at`-th call fails as on a full disk, and `more` calls after it."""

    def __init__(self, at: int, more: int) -> None:
        super().__init__(self._count)
        self.left = at
        self.more = more

    def _count(self, call: str, path: str) -> None:
        if call == "committed":
            return  # it is done: nothing to fail any more
        self.left -= 1
        if -self.more <= self.left <= 0:
            raise OSError(errno.ENOSPC, "no space left on device", path)


async def tolerant(engine: SqliteEngine, said: list[str], refused: list[str]) -> None:
    committer = engine.committer("test.0")

    async def one(number: int, accounts: tuple[str, ...], size: int = 300) -> None:
        try:
            await add(committer, said.append, addition(number, accounts, size))
        except (OSError, StoreError):
            refused.append(f"d{number}")

    await one(0, ACCOUNTS)
    await asyncio.gather(one(1, ("alice",)), one(2, ACCOUNTS), one(3, ("bob",), 1_200_000))
    await one(4, ("alice",))
    await committer.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    prepare(root)
    return root


@pytest.mark.parametrize("more", [0, 3])
def test_a_failing_call_harms_only_what_it_must(template: Path, tmp_path: Path, more: int) -> None:
    troubled = 0
    for at in range(2, CALLS):  # the first makes the journal itself
        root = tmp_path / str(at)
        shutil.copytree(template, root)
        said: list[str] = []
        refused: list[str] = []
        engine = SqliteEngine(Paths.home(root), disk=Failing(at, more))
        try:
            asyncio.run(tolerant(engine, said, refused))
        except OSError:
            troubled += 1  # the second journal file could not be made
        engine.close()
        troubled += bool(refused)
        promises = Promises().hear("\n".join(said))
        assert not {delivery for delivery, _ in promises.acked} & set(refused)
        promises.tried -= set(refused)
        check(root, promises)
        shutil.rmtree(root)
    assert troubled
