"""Shared memory segments: made by the supervisor before its first fork, inherited by every worker, never
attached by name.

A segment is `multiprocessing.shared_memory`, named `echomox-<12 hex digits>`. Python starts a tracker
process with the first one, which removes the names when the supervisor is gone, even after kill -9. Should
the tracker be killed too, the next start removes them by the list in the PID file (`remove_leftovers`).

Measured on CPython 3.11: `close()` raises BufferError while any view of the memory lives (and a numpy array
made by `np.ndarray(buffer=…)` would crash instead), so whoever makes views releases them before; a worker
never closes at all, it ends by `os._exit`. A worker calls `forget_tracker`, since its copy of the tracker's
pipe is closed with all other foreign descriptors.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
from collections.abc import Iterable
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

NAME = re.compile(r"echomox-[0-9a-f]{12}")
DIRECTORY = Path("/dev/shm")  # noqa: S108 - where glibc's shm_open keeps them
PROT_READ = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Segment:
    """Zeroed shared memory of `size` bytes. `memory` is all of it."""

    def __init__(self, size: int) -> None:
        """Raises OSError when the system gives no shared memory."""
        self._owner = os.getpid()
        self._shared = shared_memory.SharedMemory(f"echomox-{secrets.token_hex(6)}", create=True, size=size)
        self.name = self._shared.name
        memory = self._shared.buf
        assert memory is not None  # None only after close
        self.memory: memoryview = memory

    def close(self) -> None:
        """Removes the segment; only in the process that made it, once. All views must have been released
        (BufferError else).
        """
        if os.getpid() != self._owner:
            return
        self._owner = -1
        self._shared.unlink()
        self._shared.close()

    def protect(self) -> None:
        """Makes the segment read-only for this process: a write is SIGSEGV from now on. Raises OSError."""
        anchor = ctypes.c_char.from_buffer(self.memory)
        address = ctypes.addressof(anchor)
        size = len(self.memory)
        del anchor
        if LIBC.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), PROT_READ) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"mprotect: {os.strerror(number)}")


def forget_tracker() -> None:
    """In a forked worker: the tracker's pipe is no longer ours, and its number will soon be another
    file's.
    """
    tracker = vars(resource_tracker)["_resource_tracker"]
    tracker._fd = None
    tracker._pid = None


def tracker_pid() -> int | None:
    """Process id of the tracker, if one was started by this process."""
    pid = vars(resource_tracker)["_resource_tracker"]._pid
    return pid if isinstance(pid, int) else None


def remove_leftovers(names: Iterable[str]) -> list[str]:
    """Removes segments of an earlier life by name; names of another form are ignored. Returns what was
    there.
    """
    removed = []
    for name in names:
        if NAME.fullmatch(name):
            try:
                (DIRECTORY / name).unlink()
                removed.append(name)
            except OSError:
                pass  # gone already, as it should be, or another user's
    return removed
