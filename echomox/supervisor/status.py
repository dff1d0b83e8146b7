"""The state of the server as people and programs see it, from the scoreboard; and as a table.

The control worker answers `{"op": "status"}` with `status(board)`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from echomox.supervisor.memory import pss
from shm.scoreboard import Scoreboard, Slot, State


def status(board: Scoreboard) -> dict[str, Any]:
    """Supervisor, generations, workers, totals, counters. Times in seconds, memory in bytes of PSS (0: not
    known yet).
    """
    return describe(board)


def describe(board: Scoreboard) -> dict[str, Any]:
    now = time.monotonic()
    live = board.live()
    services = list(dict.fromkeys(slot.service for slot in board.slots))  # in the order of their first start
    live.sort(key=lambda slot: (services.index(slot.service), slot.get("index"), slot.time("started")))
    workers = [_worker(slot, now) for slot in live]
    supervisor = board.get("supervisor_memory")
    return {
        "ready": bool(board.get("ready")),
        "pid": board.get("supervisor_pid"),
        "age": round(now - board.time("supervisor_started"), 1),
        "supervisor_memory": supervisor,
        "config_generation": board.config_generation,
        "static_generation": board.get("static_generation"),
        "reloads_done": board.get("reloads_done"),
        "reloads_failed": board.get("reloads_failed"),
        "reload_message": board.reload_message(),
        "classifiers": board.get("pool"),
        "connections": sum(worker["connections"] for worker in workers),
        "memory": supervisor + sum(worker["memory"] for worker in workers),
        "workers": workers,
        "counters": board.totals(),
    }


def _worker(slot: Slot, now: float) -> dict[str, Any]:
    pid = slot.get("pid")
    throttled = slot.state is State.THROTTLED
    return {
        "name": slot.name,
        "service": slot.service,
        "index": slot.get("index"),
        "pid": pid,
        "state": slot.state.name,
        "age": 0.0 if throttled else round(now - slot.time("started"), 1),
        "silent": 0.0 if throttled else round(now - slot.time("heartbeat"), 1),
        "connections": slot.get("connections"),
        "memory": (pss(pid) or slot.get("memory")) if pid else 0,
        "restarts": slot.get("restarts"),
        "static_generation": slot.get("static_generation"),
        "config_generation": slot.get("config_generation"),
    }


COLUMNS = ("worker", "pid", "state", "age", "connections", "memory", "restarts")


def table(state: Mapping[str, Any]) -> str:
    """The state for people, many lines."""
    rows = [COLUMNS]
    rows += [
        (
            worker["name"],
            str(worker["pid"] or "-"),
            worker["state"],
            _age(worker["age"]),
            str(worker["connections"]),
            _size(worker["memory"]),
            str(worker["restarts"]),
        )
        for worker in state["workers"]
    ]
    rows.append(("supervisor", str(state["pid"]), "", _age(state["age"]), "", _size(state["supervisor_memory"]), ""))
    rows.append(("total", "", "", "", str(state["connections"]), _size(state["memory"]), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(_cell(row, column, widths) for column in range(len(COLUMNS))).rstrip() for row in rows]
    lines.append(
        f"\nconfiguration {state['config_generation']}, reloads {state['reloads_done']}, "
        f"failed {state['reloads_failed']}"
    )
    if state["reload_message"]:
        lines.append(f"last reload: {state['reload_message']}")
    return "\n".join(lines)


def _cell(row: tuple[str, ...], column: int, widths: list[int]) -> str:
    """Words to the left, numbers to the right."""
    text = row[column]
    return text.ljust(widths[column]) if COLUMNS[column] in ("worker", "state") else text.rjust(widths[column])


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


def _size(octets: int) -> str:
    return f"{octets / 1048576:.1f} MiB" if octets else "-"
