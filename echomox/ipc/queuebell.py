"""The bell of the queue: tells a queue runner that there is something new (queue.sock).

One byte a bell; what it says is "look". Bells may be lost, and a runner looks by itself every second; truth is in the
queue. Bells of one turn of the loop go out as one. Whoever accepts the connection hears it: with several runners, one.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

from echomox.ipc.unix import dial

STALE = 200  # bells after which another runner may get the connection


class QueueBell:
    """One per process; `ring` from its loop only. path: paths.socket("queue")."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._peer: socket.socket | None = None
        self._rung = 0
        self._due = False

    def ring(self) -> None:
        """Never blocks, never raises; dropped when no runner is there."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._due = False
        for _ in range(2):  # a runner that was replaced meanwhile closed its end
            try:
                if self._peer is None or self._rung >= STALE:
                    self.close()
                    self._peer = dial(self._path)
                    self._rung = 0
                self._peer.send(b"!")
                self._rung += 1
                return
            except BlockingIOError:
                return  # the runner has bells enough
            except OSError:
                self.close()

    def close(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None


def ring_once(path: Path) -> None:
    """For a process without a loop."""
    with suppress(OSError), dial(path) as peer:
        peer.send(b"!")
