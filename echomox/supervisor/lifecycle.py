"""The life of a worker as a table, and how long a failing one has to wait. Pure.

STARTING -> READY -> DRAINING -> GONE        a good life
STARTING -> THROTTLED -> STARTING            it died before it was READY: 1 s, 2 s, 4 s … 60 s
READY -> GONE -> STARTING                    it died after a good while: at once
READY -> THROTTLED -> STARTING               it died soon after READY: at once the first time, then as
above
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from echomox.errors import Bug
from shm.scoreboard import State

FIRST_DELAY = 1.0  # seconds
LONGEST_DELAY = 60.0
STABLE = 10.0  # seconds of a READY life after which earlier failures are forgotten


class Event(Enum):
    START = "start"
    READY = "ready"
    DRAIN = "drain"
    EXITED = "exited"
    FAILED = "failed"
    """Exited before it was READY, or before it was stable."""


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.FREE, Event.START): State.STARTING,
    (State.GONE, Event.START): State.STARTING,
    (State.THROTTLED, Event.START): State.STARTING,
    (State.STARTING, Event.READY): State.READY,
    (State.STARTING, Event.DRAIN): State.DRAINING,
    (State.STARTING, Event.FAILED): State.THROTTLED,
    (State.READY, Event.DRAIN): State.DRAINING,
    (State.READY, Event.EXITED): State.GONE,
    (State.READY, Event.FAILED): State.THROTTLED,
    (State.DRAINING, Event.EXITED): State.GONE,
    (State.THROTTLED, Event.DRAIN): State.GONE,
}


def next_state(state: State, event: Event) -> State:
    """Raises Bug for what is not in the table."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise Bug(f"a worker in state {state.name} cannot be told {event.name}") from None


def delay_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 0, 1, 2, 4 … 60."""
    if failures < 1:
        return 0.0
    return float(min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - 1, 10)))


@dataclass(slots=True)
class Record:
    """How a seat's workers have fared: failures in a row, and restarts in all."""

    failures: int = 0
    restarts: int = 0

    def ended(self, state: State, lived: float) -> tuple[Event, float]:
        """A worker that was not told to end has ended in `state`, `lived` seconds after its start. Returns
        the event, and the
        seconds to wait before the next."""
        self.restarts += 1
        if state is State.READY and lived >= STABLE:
            self.failures = 0
            return Event.EXITED, 0.0
        if state is State.READY:
            wait = delay_after(self.failures)
            self.failures += 1
            return Event.FAILED, wait
        self.failures += 1
        return Event.FAILED, delay_after(self.failures)
