"""What the supervisor is told: the table of services, and what a new process is given.

The rows stand in `workers.table`; tests bring their own. Worker bodies are strings, "module:function", so
that neither the table nor the supervisor imports anything heavy.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from echomox.config.paths import Paths
from echomox.config.schema import Dynamic, Static
from shm.limiter import LimiterSlabs
from shm.scoreboard import Scoreboard
from shm.segment import Segment
from shm.weights import WeightBuffer

TCP_LISTENERS = ("smtp", "submission", "submissions", "imap", "imaps")
"""Fields of config.schema.Listeners."""


def one(static: Static, cores: int) -> int:
    """The count of a service that exists once."""
    return 1


@dataclass(frozen=True, slots=True)
class Service:
    """One kind of process. listeners: names of TCP_LISTENERS, or of a Unix socket in paths.run.

    per_slot: each process has Unix sockets of its own, `<listener>.<index>.sock`. alone: two of it never
    run at once; a reload ends the old one first, and who connects meanwhile waits in the socket's queue.
    """

    name: str
    body: str
    listeners: tuple[str, ...] = ()
    count: Callable[[Static, int], int] = one
    per_slot: bool = False
    alone: bool = False
    publishes: bool = False
    """It may write the weights; all others have them read-only."""
    pool: bool = False
    """TTIN and TTOU change how many there are."""

    @property
    def serves_people(self) -> bool:
        """Whether it has TCP listeners: it counts in the limiter, and at a stop it goes before the others."""
        return any(name in TCP_LISTENERS for name in self.listeners)


@dataclass(slots=True)
class Shared:
    """The segments and what stands in them."""

    board: Scoreboard
    limiter: LimiterSlabs
    weights: WeightBuffer
    segments: tuple[Segment, Segment, Segment]
    """In the order of the fields above."""

    def close(self) -> None:
        """Gives the segments back, in the process that made them."""
        self.board.release()
        self.limiter.release()
        self.weights.release()
        for segment in self.segments:
            segment.close()


@dataclass(frozen=True, slots=True)
class User:
    """Whose rights workers have. name: for messages and initgroups."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True, slots=True)
class Launch:
    """What a new worker process gets; it is inherited by the fork, nothing is sent."""

    service: Service
    index: int
    static: Static
    paths: Paths
    listeners: Mapping[str, list[socket.socket]]
    shared: Shared
    slot: int
    slab: int | None
    """Its place in the limiter; None: it only reads."""
    user: User
    supervisor: int
    """The supervisor's process id."""
    config: tuple[int, Dynamic]
    """The last domains.toml that the supervisor found good, and the server's generation then."""

    @property
    def name(self) -> str:
        return f"{self.service.name}.{self.index}"


def _nothing_to_warm(static: Static, paths: Paths) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Table:
    """All that the supervisor runs.

    entry: the child's main function, which never returns. prepare: "module:function", called as f(static,
    paths) in a short-lived child with the workers' rights before any worker starts; "" for none. preload:
    modules imported before the first fork. warm: called as f(static, paths) in the supervisor, with its rights,
    before a round of forks with new settings: what it makes is shared by all workers. Raises ConfigError.
    """

    services: tuple[Service, ...]
    entry: Callable[[Launch], NoReturn]
    prepare: str = ""
    warm: Callable[[Static, Paths], None] = _nothing_to_warm
    preload: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    """Modules that Python or we import when first used. They are preloaded too when workers become another user, who
    may not be able to read the place where the code stands."""
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    def counts(self, static: Static) -> dict[str, int]:
        """How many processes of each service."""
        return {service.name: service.count(static, self.cores) for service in self.services}
