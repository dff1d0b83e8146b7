"""Deadlines on the wheel."""

from __future__ import annotations

from echomox.imapd.wheel import TICK, Wheel


class Waiter:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.bucket = 0
        self.calls = 0

    def overdue(self) -> None:
        self.calls += 1


def run(wheel: Wheel, start: float, end: float) -> None:
    now = start
    while now <= end:
        wheel.tick(now)
        now += TICK


def test_a_deadline_is_noticed_once_and_not_early() -> None:
    wheel, waiter = Wheel(1000.0), Waiter(1060.0)
    wheel.add(waiter)
    run(wheel, 1000, 1059)
    assert waiter.calls == 0
    run(wheel, 1060, 1100)
    assert waiter.calls == 1
    assert len(wheel) == 0


def test_a_deadline_that_moves_on_is_followed_without_a_call() -> None:
    wheel, waiter = Wheel(1000.0), Waiter(1060.0)
    wheel.add(waiter)
    waiter.deadline = 1500.0
    run(wheel, 1000, 1490)
    assert waiter.calls == 0
    run(wheel, 1492, 1510)
    assert waiter.calls == 1


def test_what_was_removed_is_not_called() -> None:
    wheel, waiter = Wheel(1000.0), Waiter(1010.0)
    wheel.add(waiter)
    wheel.remove(waiter)
    run(wheel, 1000, 1100)
    assert waiter.calls == 0 and len(wheel) == 0


def test_a_long_pause_misses_nobody() -> None:
    wheel, waiters = Wheel(1000.0), [Waiter(1000.0 + n) for n in range(100)]
    for waiter in waiters:
        wheel.add(waiter)
    wheel.tick(5000.0)
    assert all(waiter.calls == 1 for waiter in waiters)
