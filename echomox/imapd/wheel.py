"""Deadlines of many sessions on one timer: a lazy wheel.

A session moves its deadline by setting an attribute, at no cost; the wheel looks only when the bucket comes
round in which the session was last put, and puts it further on when the deadline has moved. So 2,000 idle
sessions cost one timer for the worker and nothing in between."""

from __future__ import annotations

from typing import Protocol

TICK = 2.0  # seconds: how late a deadline may be noticed


class Waiting(Protocol):
    deadline: float
    """Monotonic seconds."""
    bucket: int
    """Of the wheel, for the wheel."""

    def overdue(self) -> None: ...


class Wheel:
    """`tick` is to be called every TICK seconds with the time."""

    def __init__(self, now: float) -> None:
        self._buckets: dict[int, set[Waiting]] = {}
        self._done = int(now / TICK)

    def add(self, waiting: Waiting) -> None:
        waiting.bucket = max(int(waiting.deadline / TICK), self._done) + 1
        self._buckets.setdefault(waiting.bucket, set()).add(waiting)

    def remove(self, waiting: Waiting) -> None:
        bucket = self._buckets.get(waiting.bucket)
        if bucket is not None:
            bucket.discard(waiting)
            if not bucket:
                del self._buckets[waiting.bucket]

    def tick(self, now: float) -> None:
        current = int(now / TICK)
        for place in range(self._done + 1, current + 1):
            self._done = place
            for waiting in self._buckets.pop(place, ()):
                if waiting.deadline <= now:
                    waiting.overdue()
                else:
                    self.add(waiting)

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))
