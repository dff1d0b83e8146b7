"""The worker processes: starting, reaping, draining, killing. What ought to run is the supervisor's
decision; this is the doing.

A *seat* is a place of the plan, as smtp.0. It has at most one current child, and any number of outgoing
ones which finish their sessions after a reload. Each child has a slot of the scoreboard of its own, and a
slab of the limiter if it serves people.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from socket import socket

from echomox.clock import SYSTEM, Clock
from echomox.config.paths import Paths
from echomox.config.schema import Dynamic, Static
from echomox.log import logger
from echomox.supervisor.fork import fork_all
from echomox.supervisor.lifecycle import Event, Record, next_state
from echomox.supervisor.service import Launch, Service, Shared, Table, User
from shm.scoreboard import Slot, State

KILL_GRACE = 3.0  # seconds a worker has after its drain time, before it is killed
NOW_GRACE = 1.0  # the same, when it was given no drain time
ABORT_GRACE = 2.0  # seconds a hung worker has to write where it hangs

Share = Callable[[Service, int], Mapping[str, list[socket]]]


@dataclass(slots=True, eq=False)
class Child:
    """One process."""

    pid: int
    slot: Slot
    slab: int | None
    started: float
    state: State = State.STARTING
    kill_at: float | None = None
    aborted: bool = False


@dataclass(slots=True, eq=False)
class Seat:
    """One place of the plan. due: when its next child is to start; None: it has one, or is to have none."""

    service: Service
    index: int
    due: float | None
    current: Child | None = None
    outgoing: list[Child] = field(default_factory=list)
    record: Record = field(default_factory=Record)
    throttled: Slot | None = None
    """The slot that shows THROTTLED meanwhile."""

    @property
    def name(self) -> str:
        return f"{self.service.name}.{self.index}"

    @property
    def ready(self) -> bool:
        return self.current is not None and self.current.state is State.READY

    @property
    def waits(self) -> bool:
        """For its old child's end, since two of it may not run at once."""
        return self.service.alone and bool(self.outgoing)

    def children(self) -> list[Child]:
        return ([self.current] if self.current else []) + self.outgoing


def _nothing() -> None:
    pass


class Full(RuntimeError):
    """No slot of the scoreboard is free: too many old workers still drain."""


class Crew:
    """All seats, those of the plan and those that only drain."""

    def __init__(self, table: Table, shared: Shared, paths: Paths, user: User, clock: Clock = SYSTEM) -> None:
        self.table = table
        self.shared = shared
        self.seats: dict[tuple[str, int], Seat] = {}
        self.leaving: list[Seat] = []
        self.config: tuple[int, Dynamic] = (0, Dynamic())
        self.settle: Callable[[], None] = _nothing
        """Called right before a round of forks, when all is made that the new children are given."""
        self._paths = paths
        self._user = user
        self._clock = clock
        self._slabs: set[int] = set()
        self._log = logger("supervisor")

    # the plan

    def plan(self, counts: Mapping[str, int]) -> list[Seat]:
        """Makes seats as many as `counts` says; the seats that are too many are taken out and returned."""
        wanted = [(service, index) for service in self.table.services for index in range(counts[service.name])]
        before = self.seats
        now = self._clock.monotonic()
        self.seats = {
            (service.name, index): before.get((service.name, index)) or Seat(service, index, now)
            for service, index in wanted
        }
        return [seat for key, seat in before.items() if key not in self.seats]

    def renew(self, seat: Seat, stop_time: float) -> None:
        """A new child shall take over: the current one becomes outgoing (drained when the new one is READY,
        or now if two may
        not run at once)."""
        child, seat.current = seat.current, None
        seat.due = self._clock.monotonic()
        self._forget_throttle(seat)
        if child is None:
            return
        seat.outgoing.append(child)
        if child.state is State.STARTING:
            self.kill(child)
        elif seat.service.alone:
            self.drain(child, stop_time)

    def dismiss(self, seats: Iterable[Seat]) -> None:
        """Seats that are no longer in the plan: they serve on until `drain_leaving`."""
        for seat in seats:
            seat.due = None
            self._forget_throttle(seat)
            child, seat.current = seat.current, None
            if child:
                seat.outgoing.append(child)
                if child.state is State.STARTING:
                    self.kill(child)
            if seat.outgoing:
                self.leaving.append(seat)

    def drain_leaving(self, seconds: float) -> None:
        for seat in self.leaving:
            for child in seat.outgoing:
                self.drain(child, seconds)

    def everyone(self) -> Iterator[tuple[Seat, Child]]:
        for seat in [*self.seats.values(), *self.leaving]:
            for child in seat.children():
                yield seat, child

    # starting

    def start_due(self, static: Static, share: Share) -> None:
        """Starts the children that are due, in the table's order. All is made ready before the first fork: a page that
        the supervisor writes between two of them is one more of each child's own. For one alone the heap is left as
        it is: to tidy it up would cost the supervisor more than the child saves."""
        made: list[tuple[Seat, Child, Launch]] = []
        for seat in self.seats.values():
            if seat.due is not None and seat.due <= self._clock.monotonic() and not seat.waits:
                try:
                    made.append((seat, *self._make(seat, static, share(seat.service, seat.index))))
                except (OSError, Full) as error:
                    self._not_started(seat, error)
        if not made:
            return
        if len(made) > 1:
            self.settle()
        forked = fork_all(self.table.entry, [launch for _, _, launch in made])
        for (seat, child, _), pid in zip(made, forked):
            if isinstance(pid, OSError):
                child.slot.state = State.GONE
                self._slabs.discard(-1 if child.slab is None else child.slab)
                self._not_started(seat, pid)
                continue
            child.pid = pid
            seat.current = child
            seat.due = None
            self._log.debug("worker started", worker=seat.name, pid=pid)

    def _not_started(self, seat: Seat, error: Exception) -> None:
        _, wait = seat.record.ended(State.STARTING, 0.0)
        seat.due = self._clock.monotonic() + wait
        self._log.error("worker not started", worker=seat.name, error=error, retry=wait)

    def _make(self, seat: Seat, static: Static, listeners: Mapping[str, list[socket]]) -> tuple[Child, Launch]:
        """A child that has no process yet, with its slot and slab, and what it will be given."""
        self._forget_throttle(seat)
        slot = self.shared.board.take(seat.service.name, seat.index)
        if slot is None:
            raise Full("all slots of the scoreboard are in use; `restart` makes room")
        try:
            slab = self._take_slab() if seat.service.serves_people else None
        except Full:
            slot.state = State.GONE
            raise
        now = self._clock.monotonic()
        slot.set_time("started", now)
        slot.set_time("heartbeat", now)
        slot.set("restarts", seat.record.restarts)
        slot.set("static_generation", self.shared.board.get("static_generation"))
        launch = Launch(
            seat.service,
            seat.index,
            static,
            self._paths,
            listeners,
            self.shared,
            slot.number,
            slab,
            self._user,
            os.getpid(),
            self.config,
        )
        return Child(0, slot, slab, now), launch

    def _take_slab(self) -> int:
        limiter = self.shared.limiter
        free = set(range(limiter.slabs)) - self._slabs
        if not free:
            raise Full("all slabs of the limiter are in use; `restart` makes room")
        slab = min(free)
        self._slabs.add(slab)
        limiter.use(slab)
        return slab

    def _forget_throttle(self, seat: Seat) -> None:
        if seat.throttled:
            seat.throttled.state = State.GONE
            seat.throttled = None

    def notice_ready(self, drain_time: float) -> list[Seat]:
        """Looks at the states of starting children. Where a new one is READY, the outgoing ones are
        drained. Returns the seats
        that became READY."""
        became = []
        for seat in self.seats.values():
            child = seat.current
            if child and child.state is State.STARTING and child.slot.state is State.READY:
                child.state = next_state(child.state, Event.READY)
                became.append(seat)
                for old in seat.outgoing:
                    self.drain(old, drain_time)
        return became

    # ending

    def drain(self, child: Child, seconds: float) -> None:
        """TERM: finish within `seconds`. A child that drains already may only be given less time."""
        grace = KILL_GRACE if seconds else NOW_GRACE
        kill_at = self._clock.monotonic() + seconds + grace
        if child.state is State.DRAINING:
            child.kill_at = min(kill_at, child.kill_at or kill_at)
            if seconds >= child.slot.time("drain"):
                return
        else:
            child.state = next_state(child.state, Event.DRAIN)
            child.kill_at = kill_at
        child.slot.set_time("drain", seconds)
        self.send(child, signal.SIGTERM)

    def kill(self, child: Child) -> None:
        if child.state is not State.DRAINING:
            child.state = next_state(child.state, Event.DRAIN)
        self.send(child, signal.SIGKILL)

    def send(self, child: Child, number: signal.Signals) -> None:
        """To a process that has not been waited for, so its number is nobody else's."""
        os.kill(child.pid, number)

    def send_all(self, number: signal.Signals) -> None:
        for _, child in self.everyone():
            self.send(child, number)

    def look_after(self, heartbeat_timeout: float) -> None:
        """Kills those whose time is over; those whose heart has stopped write where they hang first."""
        now = self._clock.monotonic()
        for seat, child in self.everyone():
            silent = now - child.slot.time("heartbeat")
            if child.kill_at is not None and now >= child.kill_at:
                self._log.warn("worker killed", worker=seat.name, pid=child.pid, hung=child.aborted)
                child.kill_at = None
                self.send(child, signal.SIGKILL)
            elif silent > heartbeat_timeout and not child.aborted:
                self._log.error("worker hangs", worker=seat.name, pid=child.pid, silent=silent)
                child.aborted = True
                child.kill_at = now + ABORT_GRACE
                self.send(child, signal.SIGABRT)

    def reap(self) -> list[tuple[Seat, Child, int]]:
        """Waits for all that have ended. Returns those that were not told to, with their wait status."""
        ended = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            found = next(((s, c) for s, c in self.everyone() if c.pid == pid), None)
            if found is None:
                self._log.warn("unknown child ended", pid=pid, status=describe_status(status))
                continue
            if self._ended(*found, status):
                ended.append((*found, status))
        self.leaving = [seat for seat in self.leaving if seat.outgoing]
        return ended

    def _ended(self, seat: Seat, child: Child, status: int) -> bool:
        child.slot.clear_gauges()
        child.slot.set("pid", 0)
        if child.slab is not None:
            self.shared.limiter.clear_gauges(child.slab)
            self._slabs.discard(child.slab)
        if child is not seat.current:
            child.slot.state = next_state(child.state, Event.EXITED)
            seat.outgoing.remove(child)
            self._log.debug("old worker ended", worker=seat.name, pid=child.pid, status=describe_status(status))
            return False
        now = self._clock.monotonic()
        if child.slot.state is State.READY or child.slot.state is State.DRAINING:
            child.state = State.READY if child.state is State.STARTING else child.state
        event, wait = seat.record.ended(child.state, now - child.started)
        child.slot.state = next_state(child.state, event)
        seat.throttled = child.slot if child.slot.state is State.THROTTLED else None
        seat.current = None
        seat.due = now + wait
        say = self._log.error if status else self._log.info
        say("worker ended", worker=seat.name, pid=child.pid, status=describe_status(status), restart_in=wait)
        return True

    def next_deadline(self) -> float | None:
        """When the next start or kill is due, on the monotonic clock."""
        seats = [seat for seat in self.seats.values() if not seat.waits]
        times = [seat.due for seat in seats if seat.due is not None]
        times += [child.kill_at for _, child in self.everyone() if child.kill_at is not None]
        return min(times, default=None)


def describe_status(status: int) -> str:
    """Of waitpid: "exit 70", "SIGKILL"."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
