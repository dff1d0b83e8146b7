"""How many transactions each next hop may have at once, and which hops are left alone for now.

After Postfix's queue manager (SCHEDULER_README): a destination begins with INITIAL, gains one with every success up to
the configured number, and loses half when it could not be reached. One that could not be reached, with no success in
between, is dead for a while, which doubles with every time; then one try finds out. So ten thousand messages to a dead
host cost a handful of connections, and nobody else's turn.

Only trouble of the destination as a whole counts (Outcome.unreachable); a refused recipient or a greylisting does not.
State: in this process. Of several runners each has its equal part of a destination's limit, at least one, so that they
keep to it together; which destinations are dead each finds out by itself. Who moves messages by hand wants a try and no
guess: the time of the file `retry` in the queue's directory says when that was last, and every runner then forgets what
is dead.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RETRY = "retry"
INITIAL = 5
KEPT = 10_000
FORGET = 3600.0  # seconds without news


def ask_to_retry(directory: Path) -> None:
    """Before messages are made due by hand."""
    path = directory / RETRY
    with suppress(OSError):  # on a full disk, say: then dead destinations stay so for their time
        path.touch()
        now = max(time.time_ns(), asked_to_retry(directory) + 1)  # the kernel's own stamps are 4 ms apart
        os.utime(path, ns=(now, now))


def asked_to_retry(directory: Path) -> int:
    """Another value than before when somebody has asked meanwhile."""
    try:
        return os.stat(directory / RETRY).st_mtime_ns
    except OSError:
        return 0


@dataclass(slots=True)
class Hop:
    limit: int
    active: int = 0
    deaths: int = 0
    dead_until: float = 0.0
    news: float = 0.0
    reason: str = ""


class Destinations:
    """most: highest limit of all runners together. dead_time, dead_most: seconds, see the module's text."""

    def __init__(self, most: int = 20, dead_time: float = 60.0, dead_most: float = 900.0, runners: int = 1) -> None:
        self._most = max(1, most // runners)
        self._initial = min(max(1, INITIAL // runners), self._most)
        self._dead_time = dead_time
        self._dead_most = dead_most
        self._hops: dict[str, Hop] = {}

    @property
    def initial(self) -> int:
        return self._initial

    def take(self, hop: str, now: float) -> None:
        """A transaction begins."""
        found = self._hops.get(hop)
        if found is None:
            if len(self._hops) >= KEPT:
                self._forget(now)
            found = self._hops[hop] = Hop(self._initial, news=now)
        found.active += 1

    def succeeded(self, hop: str, now: float) -> None:
        """The destination answered, whatever it said of the recipients."""
        found = self._hops[hop]
        found.active -= 1
        found.limit = min(self._most, found.limit + 1)
        found.deaths, found.dead_until, found.news, found.reason = 0, 0.0, now, ""

    def failed(self, hop: str, now: float, reason: str) -> bool:
        """It could not be reached. Returns whether it is newly dead."""
        found = self._hops[hop]
        found.active -= 1
        found.limit = max(1, found.limit // 2)
        found.news, found.reason = now, reason
        if now < found.dead_until:
            return False  # another one of the same moment
        found.dead_until = now + min(self._dead_most, self._dead_time * 2.0**found.deaths)
        found.deaths = min(found.deaths + 1, 30)
        return True

    def abandoned(self, hop: str) -> None:
        """A transaction ended without telling anything of the destination."""
        self._hops[hop].active -= 1

    def room(self, now: float) -> tuple[set[str], dict[str, int]]:
        """(hops that get nothing now, how many more the other known ones may have). A hop that was dead gets one try
        at first."""
        full: set[str] = set()
        room: dict[str, int] = {}
        for name, hop in self._hops.items():
            limit = 1 if hop.deaths else hop.limit
            left = limit - hop.active
            if left <= 0 or now < hop.dead_until:
                full.add(name)
            else:
                room[name] = left
        return full, room

    def dead(self, now: float) -> dict[str, str]:
        """Why, by hop."""
        return {name: hop.reason for name, hop in self._hops.items() if now < hop.dead_until}

    def revival(self, now: float) -> float | None:
        """When the next dead hop may be tried again."""
        return min((hop.dead_until for hop in self._hops.values() if hop.dead_until > now), default=None)

    def shown(self, now: float) -> list[dict[str, object]]:
        """For people."""
        return [
            {
                "hop": name,
                "limit": hop.limit,
                "active": hop.active,
                "dead_for": max(0.0, hop.dead_until - now),
                "why": hop.reason,
            }
            for name, hop in sorted(self._hops.items())
        ]

    def forget_all(self) -> None:
        """Lets every dead hop be tried at once."""
        for hop in self._hops.values():
            hop.deaths, hop.dead_until = 0, 0.0

    def _forget(self, now: float) -> None:
        idle = [name for name, hop in self._hops.items() if not hop.active and now >= hop.dead_until]
        old = [name for name in idle if now - self._hops[name].news > FORGET]
        for name in old or sorted(idle, key=lambda name: self._hops[name].news)[: KEPT // 10]:
            del self._hops[name]
