"""The housekeeper: what becomes of the process when a part of it fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from workers import housekeeper
from workers.base import Worker


def worker() -> Any:
    """A Worker of which only the life is looked at."""
    made = Worker.__new__(Worker)
    made._drain = asyncio.Event()
    made.ready = lambda: None  # type: ignore[method-assign]
    return made


def part(closed: list[str], name: str, end: BaseException | None) -> Callable[[Any], Any]:
    """In place of `indexing` or `scheduling`. end: None runs until the process stops."""

    async def work() -> None:
        if end is None:
            await asyncio.Event().wait()
        else:
            raise end

    @contextlib.asynccontextmanager
    async def running(_: Any) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(work())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            closed.append(name)

    return running


@pytest.mark.parametrize("failing", ["indexing", "scheduling"])
def test_a_part_that_fails_ends_the_process_at_once_and_the_other_part_in_order(monkeypatch, failing):
    closed: list[str] = []
    monkeypatch.setattr(os, "nice", lambda n: n)
    for name in ("indexing", "scheduling"):
        end = OSError("too many open files") if name == failing else None
        monkeypatch.setattr(housekeeper, name, part(closed, name, end))
    with pytest.raises(OSError, match="too many open files"):
        asyncio.run(asyncio.wait_for(housekeeper.run(worker()), 60))
    assert sorted(closed) == ["indexing", "scheduling"]


def test_a_stop_ends_both_parts(monkeypatch):
    closed: list[str] = []
    monkeypatch.setattr(os, "nice", lambda n: n)
    for name in ("indexing", "scheduling"):
        monkeypatch.setattr(housekeeper, name, part(closed, name, None))

    async def main() -> None:
        one = worker()
        running = asyncio.create_task(housekeeper.run(one))
        await asyncio.sleep(0)
        one._drain.set()
        await asyncio.wait_for(running, 60)

    asyncio.run(main())
    assert sorted(closed) == ["indexing", "scheduling"]


def test_a_task_that_has_ended_is_noticed_before_the_stop():
    async def ended() -> None:
        return

    async def main() -> None:
        await asyncio.wait_for(worker().stopping(asyncio.create_task(ended())), 60)

    asyncio.run(main())
