"""Coroutines that run at once as far as they get: what ends makes no task, what waits goes on in one."""

import asyncio

import pytest

from echomox.dns.eager import Ended, begin, together


def run(work):
    return asyncio.run(work)


async def at_once(value):
    return value


async def fails(error):
    raise error


async def after(future, value):
    return await future, value


def test_what_need_not_wait_has_ended_without_a_task():
    async def main():
        before = asyncio.all_tasks()
        found = begin(at_once(7))
        assert isinstance(found, Ended)
        assert (found.done(), found.cancelled(), found.cancel(), found.exception()) == (True, False, False, None)
        assert asyncio.all_tasks() == before
        return found.result()

    assert run(main()) == 7


def test_an_exception_is_the_result():
    async def main():
        found = begin(fails(ValueError("no")))
        assert isinstance(found.exception(), ValueError)
        with pytest.raises(ValueError, match="no"):
            found.result()

    run(main())


@pytest.mark.parametrize("turns", [1, 3])
def test_what_waits_for_turns_goes_on(turns):
    async def waits():
        for _ in range(turns):
            await asyncio.sleep(0)
        return "late"

    async def main():
        task = begin(waits())
        assert not task.done()
        return await task

    assert run(main()) == "late"


def test_two_may_wait_for_one_future():
    """A future is marked while somebody is about to wait for it, and only one may be at a time."""

    async def main():
        future = asyncio.get_running_loop().create_future()
        tasks = [begin(after(future, number)) for number in range(3)]
        future.set_result("x")
        return [await task for task in tasks]

    assert run(main()) == [("x", 0), ("x", 1), ("x", 2)]


def test_the_exception_of_a_future_comes_where_it_is_awaited():
    async def catches(future):
        try:
            await future
        except OSError as error:
            await asyncio.sleep(0)
            return str(error)

    async def main():
        future = asyncio.get_running_loop().create_future()
        task = begin(catches(future))
        future.set_exception(OSError("gone"))
        return await task

    assert run(main()) == "gone"


def test_cancelling_reaches_what_waits_and_its_future():
    ended = []

    async def waits(future):
        try:
            await future
        finally:
            ended.append("here")

    async def main():
        future = asyncio.get_running_loop().create_future()
        task = begin(waits(future))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return future.cancelled()

    assert run(main())
    assert ended == ["here"]


def test_a_task_cancelled_before_it_began_ends_its_coroutine():
    ended = []

    async def waits():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("here")

    async def main():
        task = begin(waits())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert ended == ["here"]


def test_an_exception_that_nobody_asks_for_is_not_told(caplog):
    async def fails_late():
        await asyncio.sleep(0)
        raise ValueError("nobody cares")

    async def main():
        begin(fails_late())
        await asyncio.sleep(0.01)

    run(main())
    assert not caplog.records


def test_together_keeps_the_order_and_waits_at_the_same_time():
    async def main():
        future = asyncio.get_running_loop().create_future()

        async def frees():
            future.set_result("freed")
            return "second"

        return await together(after(future, 1), frees(), at_once("third"))

    assert run(main()) == [("freed", 1), "second", "third"]


def test_together_raises_and_leaves_nothing_running():
    async def main():
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(KeyError):
            await together(at_once(1), fails(KeyError("x")), after(future, 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert run(main()) == 1


def test_together_is_cancelled_as_a_whole():
    async def main():
        futures = [asyncio.get_running_loop().create_future() for _ in range(2)]
        task = asyncio.create_task(together(*(after(future, 0) for future in futures)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task.cancelled(), len(asyncio.all_tasks())

    assert run(main()) == (True, 1)
