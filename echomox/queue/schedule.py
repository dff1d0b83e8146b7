"""When the next try is. Pure: the clock and chance come from the caller.

RFC 5321 4.5.4.1: the first retries after some minutes, and trying for days. The default is mox's: at once, 7.5, 15, 30
minutes, 1, 2, 4, 8, 16 hours, in all a day and eight hours.
"""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT = (0.0, 450.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 57600.0)


def next_attempt(
    attempts: int, schedule: Sequence[float], now: float, *, jitter: float = 0.0, chance: float = 0.5
) -> float | None:
    """The time of try number attempts + 1; None when there is none.

    attempts: made so far. jitter: part of the pause by which it may differ; chance: [0, 1), 0.5 changes nothing.
    """
    if attempts >= len(schedule):
        return None
    return now + schedule[attempts] * (1 + jitter * (2 * chance - 1))


def give_up_time(attempts: int, schedule: Sequence[float], now: float) -> float:
    """When the last try will be, should all before it fail: Will-Retry-Until of a report (RFC 3464 2.3.9)."""
    return now + sum(schedule[attempts:])


def is_delay_due(attempts: int, age: float, at_attempt: int, after: float) -> bool:
    """Whether the sender is to hear of a delay, if he has not yet. attempts: failed so far; age: seconds in the queue.
    at_attempt, after: 0 for never.
    """
    return bool((at_attempt and attempts >= at_attempt) or (after and age >= after))
