"""The scoreboard: one slot a worker process, with its state, heartbeat and counters, and a few cells for
the whole server.

Who writes what: a slot belongs to one process. The supervisor fills it before the fork and after the
worker's end; in between the worker is its only writer, except for `drain`, which is the supervisor's. In
the header, `config_control`, `blocks`, `sessions_asked` and the log levels are the control worker's,
everything else is the supervisor's. Readers add up: no locks.

Counters stay when a slot goes from a dead worker to its successor, so totals never go backwards; gauges
start at 0. Times are `time.monotonic()`, the same for all processes of the machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from shm.layout import CELL, TwoSlot, align, cells_of, offsets, publication_size

MAGIC = 0x4543484F4D4F5831  # "ECHOMOX1"
TEXT = 2000  # bytes of the log levels, and of the message of the last reload

HEADER = (
    "magic",
    "slots",
    "supervisor_pid",
    "supervisor_started",
    "supervisor_memory",
    "ready",
    "config_supervisor",
    "config_control",
    "blocks",
    "sessions_asked",
    "static_generation",
    "reloads_done",
    "reloads_failed",
    "pool",
)
SLOT = (
    "state",
    "pid",
    "service:3",
    "index",
    "started",
    "heartbeat",
    "static_generation",
    "config_generation",
    "connections",
    "restarts",
    "memory",
    "drain",
)
COUNTERS = (
    "smtp_connections",
    "smtp_refused_connections",
    "smtp_messages_accepted",
    "smtp_messages_refused",
    "smtp_early_talkers",
    "submitted_recipients",
    "smtp_bytes",
    "messages_limited",
    "messages_delayed",
    "messages_forwarded",
    "dnsbl_listed",
    "reports_matched",
    "delivered_inbox",
    "delivered_junk",
    "delivered_rejects",
    "dmarc_refused",
    "dmarc_quarantined",
    "outbound_connections",
    "outbound_connections_failed",
    "outbound_reused",
    "outbound_tls",
    "outbound_tls_fallback",
    "classify_requests",
    "classify_batches",
    "classify_timeouts",
    "classify_fallbacks",
    "classify_full",
    "verdicts_full",
    "verdicts_fallback",
    "imap_connections",
    "imap_commands",
    "imap_bad_commands",
    "imap_idle",
    "logins_ok_plain",
    "logins_ok_login",
    "logins_ok_cram_md5",
    "logins_ok_scram_sha_256",
    "logins_ok_scram_sha_1",
    "logins_ok_scram_sha_256_plus",
    "logins_ok_scram_sha_1_plus",
    "logins_ok_external",
    "logins_ok_imap_login",
    "logins_failed_plain",
    "logins_failed_login",
    "logins_failed_cram_md5",
    "logins_failed_scram_sha_256",
    "logins_failed_scram_sha_1",
    "logins_failed_scram_sha_256_plus",
    "logins_failed_scram_sha_1_plus",
    "logins_failed_external",
    "logins_failed_imap_login",
    "logins_limited",
    "connections_blocked",
    "learned_spam",
    "learned_ham",
    "unlearned",
    "filter_alarms",
    "texts_indexed",
    "queue_delivered",
    "queue_deferred",
    "queue_failed",
    "queue_reports",
    "reports_received",
    "reports_refused",
    "bells_rung",
    "bells_sent",
    "ipc_dropped",
    "exceptions",
)
GAUGES = frozenset({"imap_idle"})
"""Of COUNTERS: what goes down again; 0 in a fresh worker."""

_HEADER = offsets(HEADER)
_SLOT = offsets(SLOT)
_COUNTER = {name: place for place, name in enumerate(COUNTERS)}
_SERVICE_BYTES = 3 * CELL
_FIELDS_SIZE = cells_of(SLOT) * CELL
_SLOT_SIZE = align(_FIELDS_SIZE + len(COUNTERS) * CELL, 64)
_HEADER_SIZE = align(cells_of(HEADER) * CELL, 64)
_TEXT_SIZE = align(publication_size(TEXT), 64)


class State(IntEnum):
    """Of a slot. FREE: nobody yet. See echomox.supervisor.lifecycle for the transitions."""

    FREE = 0
    STARTING = 1
    READY = 2
    DRAINING = 3
    GONE = 4
    THROTTLED = 5


def scoreboard_size(slots: int) -> int:
    """Bytes of memory that a Scoreboard of so many slots needs."""
    return _HEADER_SIZE + 2 * _TEXT_SIZE + slots * _SLOT_SIZE


class Slot:
    """One process's place: numbers by name of SLOT, counters by name of COUNTERS."""

    __slots__ = ("_cells", "_counters", "_floats", "_service", "number")

    def __init__(self, memory: memoryview, number: int) -> None:
        fields = memory[:_FIELDS_SIZE]
        self.number = number
        self._cells = fields.cast("Q")
        self._floats = fields.cast("d")
        start = _SLOT["service"] * CELL
        self._service = fields[start : start + _SERVICE_BYTES]
        self._counters = memory[_FIELDS_SIZE : _FIELDS_SIZE + len(COUNTERS) * CELL].cast("Q")
        fields.release()

    def get(self, field: str) -> int:
        return self._cells[_SLOT[field]]

    def set(self, field: str, value: int) -> None:
        self._cells[_SLOT[field]] = value

    def time(self, field: str) -> float:
        """Of started, heartbeat, drain: seconds."""
        return self._floats[_SLOT[field]]

    def set_time(self, field: str, value: float) -> None:
        self._floats[_SLOT[field]] = value

    @property
    def state(self) -> State:
        return State(self.get("state"))

    @state.setter
    def state(self, value: State) -> None:
        self.set("state", value)

    @property
    def service(self) -> str:
        return bytes(self._service).rstrip(b"\0").decode("ascii")

    @property
    def name(self) -> str:
        return f"{self.service}.{self.get('index')}"

    def assign(self, service: str, index: int) -> None:
        """A new owner: state STARTING, no process yet, gauges 0, counters as they were."""
        name = service.encode("ascii")
        if len(name) > _SERVICE_BYTES:
            raise ValueError(f"service name {service!r} is longer than {_SERVICE_BYTES} characters")
        for field in ("pid", "connections", "memory", "config_generation", "drain"):
            self.set(field, 0)
        for gauge in GAUGES:
            self._counters[_COUNTER[gauge]] = 0
        self._service[:] = name.ljust(_SERVICE_BYTES, b"\0")
        self.set("index", index)
        self.state = State.STARTING

    def clear_gauges(self) -> None:
        """After the owner's death."""
        self.set("connections", 0)
        for gauge in GAUGES:
            self._counters[_COUNTER[gauge]] = 0

    def count(self, counter: str, n: int = 1) -> None:
        """Adds n, which is negative only for gauges; a gauge does not go below 0. KeyError for an unknown
        name.
        """
        place = _COUNTER[counter]
        value = self._counters[place] + n
        self._counters[place] = value if value > 0 else 0

    def counter(self, counter: str) -> int:
        return self._counters[_COUNTER[counter]]

    def release(self) -> None:
        for view in (self._cells, self._floats, self._service, self._counters):
            view.release()


class Scoreboard:
    """All slots and the header. `Scoreboard(segment.memory, slots)`, or over a bytearray for one process."""

    def __init__(self, memory: memoryview, slots: int) -> None:
        """memory: `scoreboard_size(slots)` bytes, zeroed when new; a fresh one starts at config generation
        1.
        """
        head = memory[:_HEADER_SIZE]
        self._cells = head.cast("Q")
        self._floats = head.cast("d")
        head.release()
        place = _HEADER_SIZE
        self._levels = TwoSlot(memory[place : place + _TEXT_SIZE])
        self._message = TwoSlot(memory[place + _TEXT_SIZE : place + 2 * _TEXT_SIZE])
        place += 2 * _TEXT_SIZE
        self.slots = [Slot(memory[place + n * _SLOT_SIZE : place + (n + 1) * _SLOT_SIZE], n) for n in range(slots)]
        if self.get("magic") != MAGIC:
            self.set("magic", MAGIC)
            self.set("slots", slots)
            self.set("config_supervisor", 1)

    @classmethod
    def private(cls, slots: int = 4) -> Scoreboard:
        """In this process's own memory: for tests and tools."""
        return cls(memoryview(bytearray(scoreboard_size(slots))), slots)

    def get(self, field: str) -> int:
        """A cell of HEADER."""
        return self._cells[_HEADER[field]]

    def set(self, field: str, value: int) -> None:
        self._cells[_HEADER[field]] = value

    def time(self, field: str) -> float:
        return self._floats[_HEADER[field]]

    def set_time(self, field: str, value: float) -> None:
        self._floats[_HEADER[field]] = value

    # the configuration's generation

    @property
    def config_generation(self) -> int:
        """Grows whenever workers shall read domains.toml again."""
        cells = self._cells
        return cells[_CONFIG_SUPERVISOR] + cells[_CONFIG_CONTROL]

    def bump_config(self, by: str) -> int:
        """by: "supervisor" or "control", each the one writer of its cell. Returns the new generation."""
        self.set(f"config_{by}", self.get(f"config_{by}") + 1)
        return self.config_generation

    # the blocks, and who is logged in

    @property
    def blocks_generation(self) -> int:
        """Grows whenever workers shall read the blocked addresses again."""
        return self._cells[_BLOCKS]

    @property
    def sessions_asked(self) -> int:
        """Grows whenever workers shall say which sessions they have."""
        return self._cells[_SESSIONS]

    # log levels

    @property
    def log_generation(self) -> int:
        """0 until the levels were changed at run time."""
        return self._levels.generation

    def log_levels(self) -> tuple[str, dict[str, str]] | None:
        """(default level, level per package) set at run time; None when they never were."""
        generation, text = self._levels.read()
        if not generation:
            return None
        default, levels = json.loads(text)
        return default, levels

    def set_log_levels(self, default: str, levels: Mapping[str, str]) -> None:
        """The control worker only. Workers take it over within a second. Raises layout.TooLarge."""
        self._levels.publish(json.dumps([default, dict(levels)]).encode())

    # the last reload's outcome

    def reload_message(self) -> str:
        """What the supervisor said of the last reload; "" before the first."""
        return self._message.read()[1].decode("utf-8", "replace")

    def set_reload_message(self, text: str) -> None:
        self._message.publish(text.encode("utf-8")[: self._message.capacity])

    # slots

    def take(self, service: str, index: int) -> Slot | None:
        """A free slot, assigned: the one that this service and index had, else a fresh one, else any; None
        if all are in use.
        """
        gone = [slot for slot in self.slots if slot.state is State.GONE]
        own = [slot for slot in gone if slot.service == service and slot.get("index") == index]
        fresh = [slot for slot in self.slots if slot.state is State.FREE]
        for slot in [*own, *fresh, *gone][:1]:
            slot.assign(service, index)
            return slot
        return None

    def live(self) -> list[Slot]:
        """Slots with a worker, or with one that is to come back."""
        return [slot for slot in self.slots if slot.state not in (State.FREE, State.GONE)]

    def total(self, counter: str) -> int:
        place = _COUNTER[counter]
        return sum(slot._counters[place] for slot in self.slots)

    def totals(self) -> dict[str, int]:
        """Every counter of COUNTERS, summed over all slots, dead ones included."""
        sums = [sum(column) for column in zip(*(slot._counters for slot in self.slots), strict=True)]
        return dict(zip(COUNTERS, sums, strict=True))

    def connections(self) -> int:
        return sum(slot.get("connections") for slot in self.live())

    def describe(self) -> dict[str, Any]:
        """The header's cells that people may want to see."""
        return {name: self.get(name) for name in ("static_generation", "reloads_done", "reloads_failed", "pool")}

    def release(self) -> None:
        """Lets go of the memory, before the segment is closed."""
        self._levels.release()
        self._message.release()
        for slot in self.slots:
            slot.release()
        self._cells.release()
        self._floats.release()


_CONFIG_SUPERVISOR = _HEADER["config_supervisor"]
_CONFIG_CONTROL = _HEADER["config_control"]
_BLOCKS = _HEADER["blocks"]
_SESSIONS = _HEADER["sessions_asked"]
