"""Who is logged in: what a worker tells of its sessions, and the file by which it is asked and answers.

The control worker writes a question to the run directory and raises a cell of the scoreboard. Each worker's
heartbeat sees the cell within a second, ends the session that the question names if it is its own, and puts a
file of its sessions beside it, which the control worker takes away. While nobody asks, nothing is done: what a
session has to remember of its login is one `Entry`.

    sessions.ask      {"number": n, "end": id or ""}
    sessions.<slot>   {"number": n, "ended": bool, "sessions": [...]}

A slot is one process's, also while an old worker of the same name drains.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

ASK = "sessions.ask"
ANSWER = "sessions."


class Entry(NamedTuple):
    """How a session logged in. name: as it was given. since: seconds since 1970."""

    name: str
    mechanism: str
    since: float


@dataclass(frozen=True, slots=True)
class LiveSession:
    """id: the cid of its log lines. tls: version and cipher, "" without. since: seconds since 1970. idle: seconds
    since the client last said something."""

    id: str
    account: str
    login: str
    protocol: str
    mechanism: str
    remote_ip: str
    tls: str
    since: float
    idle: float


class Live(Protocol):
    """A service that has logged-in sessions."""

    def live_sessions(self) -> Iterable[LiveSession]: ...

    def end_session(self, cid: str) -> bool:
        """Ends it and says so to its client. False when there is no such session."""
        ...


# -- the control worker's side ---------------------------------------------------------


def ask(run: Path, number: int, end: str) -> None:
    """To be written before the cell is raised to `number`. end: id of a session that shall end, "" for none."""
    _replace(run / ASK, {"number": number, "end": end})


def take_answer(run: Path, slot: int, number: int) -> dict[str, Any] | None:
    """The answer of a slot to question `number`, taken away; None when it is not there yet."""
    path = run / f"{ANSWER}{slot}"
    try:
        answer = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(answer, dict) or answer.get("number") != number:
        return None  # of an earlier question; the one that is asked for replaces it
    path.unlink(missing_ok=True)
    return answer


def clear(run: Path) -> None:
    """Takes away the question and what was answered too late."""
    for name in os.listdir(run):
        if name.startswith(ANSWER) and (name == ASK or name.removeprefix(ANSWER).isdigit()):
            (run / name).unlink(missing_ok=True)


# -- a worker's side -------------------------------------------------------------------


def answer(run: Path, slot: int, live: Live) -> None:
    """Does what is asked and answers. Raises OSError, ValueError; a question that was taken back is none."""
    try:
        question = json.loads((run / ASK).read_bytes())
    except FileNotFoundError:
        return
    end = str(question.get("end", ""))
    ended = bool(end) and live.end_session(end)
    sessions = [] if end else [asdict(session) for session in live.live_sessions()]
    _replace(run / f"{ANSWER}{slot}", {"number": question.get("number"), "ended": ended, "sessions": sessions})


def _replace(path: Path, data: object) -> None:
    """Whole or not at all; not synced, it is worth nothing after a restart."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(data), encoding="utf-8")
    scratch.rename(path)
