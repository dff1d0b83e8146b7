"""Shared memory segments: made by the supervisor before its first fork, inherited by every worker, never
attached by name.

A segment is `multiprocessing.shared_memory`, named `echomox-<12 hex digits>` for as long as it takes to map it: the
name is removed at once, since a fork needs none, so that nothing is left however the processes end; the memory goes
with the last of them. Nobody need watch over names then, and the tracker process that Python would start for that
(6.5 MB) is not started.

Measured on CPython 3.11: `close()` raises BufferError while any view of the memory lives (and a numpy array
made by `np.ndarray(buffer=…)` would crash instead), so whoever makes views releases them before; a worker
never closes at all, it ends by `os._exit`.
"""

from __future__ import annotations

import ctypes
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import shared_memory
from pathlib import Path
from types import SimpleNamespace

DIRECTORY = Path("/dev/shm")  # noqa: S108 - where glibc's shm_open keeps them
PROT_READ = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Segment:
    """Zeroed shared memory of `size` bytes. `memory` is all of it."""

    def __init__(self, size: int) -> None:
        """Raises OSError when the system gives no shared memory."""
        self._owner = os.getpid()
        name = f"echomox-{secrets.token_hex(6)}"
        try:
            with _untracked():
                self._shared = shared_memory.SharedMemory(name, create=True, size=size)
        finally:
            (DIRECTORY / name).unlink(missing_ok=True)
        memory = self._shared.buf
        assert memory is not None  # None only after close
        self.memory: memoryview = memory
        anchor = ctypes.c_char.from_buffer(memory)
        self._place = ctypes.c_void_p(ctypes.addressof(anchor)), ctypes.c_size_t(len(memory))

    def close(self) -> None:
        """Gives the memory back; only in the process that made it, once. All views must have been released
        (BufferError else).
        """
        if os.getpid() != self._owner:
            return
        self._owner = -1
        self._shared.close()

    def protect(self) -> None:
        """Makes the segment read-only for this process: a write is SIGSEGV from now on. Raises OSError."""
        if LIBC.mprotect(*self._place, PROT_READ) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"mprotect: {os.strerror(number)}")


@contextmanager
def _untracked() -> Iterator[None]:
    """What Python 3.13 calls `track=False`: a segment made within is not made known to the tracker."""
    module = vars(shared_memory)
    tracker = module["resource_tracker"]
    module["resource_tracker"] = SimpleNamespace(register=_nothing, unregister=_nothing)
    try:
        yield
    finally:
        module["resource_tracker"] = tracker


def _nothing(name: str, kind: str) -> None:
    pass
