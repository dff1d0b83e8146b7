"""Time as an argument: the system's clock, and one for tests that jumps when told."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since 1970, UTC; may jump when the system's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, never going back; the same for all processes of the machine."""
        ...


class SystemClock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class FakeClock:
    """Stands still until `advance`; `now` and `monotonic` move together."""

    def __init__(self, now: float = 1_000_000_000.0) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds


SYSTEM = SystemClock()
