"""Coroutines that run at once as far as they get: most look-ups are answered by the cache, and a task for each would
cost more than the answer.

`begin` runs a coroutine until it has to wait. Where it ends before that, its result is there, without a task and a turn
of the event loop; otherwise a task goes on with it. This is what eager tasks of Python 3.12 do. Until it first waits a
coroutine runs within the caller's task: it must not ask which task it is in, as `asyncio.timeout` does.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Ended(Generic[T]):
    """What a coroutine has come to without waiting; asked like a task that is done."""

    __slots__ = ("_error", "_value")

    def __init__(self, value: T | None, error: BaseException | None = None) -> None:
        self._value = value
        self._error = error

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def cancel(self) -> bool:
        return False

    def exception(self) -> BaseException | None:
        return self._error

    def result(self) -> T:
        """Raises what the coroutine raised."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


def begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T] | Ended[T]:
    """Within a running loop. An Exception of the coroutine is its result's, and not told to anybody if that is never
    asked for; any other BaseException is raised."""
    try:
        waits_for = work.send(None)
    except StopIteration as end:
        return Ended(end.value)
    except Exception as error:
        return Ended(None, error)
    if waits_for is not None:
        # `await` has marked the future as waited for, which is true only when the task gives it to the loop.
        waits_for._asyncio_future_blocking = False
    task = asyncio.get_running_loop().create_task(_rest(work, waits_for))
    task.add_done_callback(_seen)
    return task


def _seen(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def _rest(work: Coroutine[Any, Any, T], waits_for: Any) -> T:
    return await _go_on(work, waits_for)


@types.coroutine
def _go_on(work: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """The rest of `work`, which waits for a future, or for the next turn (None)."""
    if waits_for is not None:
        waits_for._asyncio_future_blocking = True
    while True:
        try:
            value = yield waits_for
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:
            step: Callable[[Any], Any] = work.throw
            given: Any = error
        else:
            step, given = work.send, value
        try:
            waits_for = step(given)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


async def together(*works: Coroutine[Any, Any, T]) -> list[T]:
    """The results of all, in their order, those that wait at the same time. Raises the first's exception; the others
    are cancelled then, as all are when the caller is."""
    begun = [begin(work) for work in works]
    try:
        return [each.result() if each.done() else await each for each in begun]  # type: ignore[misc]
    finally:
        for each in begun:
            if not each.done():
                each.cancel()
