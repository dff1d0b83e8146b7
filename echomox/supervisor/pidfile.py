"""The PID file: its lock says that a server runs, its line is the PID.

The lock is a POSIX record lock: it is not inherited by workers, ends with the process however it ends, and
the kernel tells who holds it. So `running_pid` does not believe what is written in a file that the workers'
user could change.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

_FLOCK = "hhqqi"  # struct flock: type, whence, start, length, pid


class AlreadyRunning(Exception):
    """Another supervisor holds the lock; `pid` is its process id, 0 if unknown."""

    def __init__(self, path: Path, pid: int) -> None:
        self.pid = pid
        super().__init__(
            f"already running with process id {pid} ({path}). `echomox-supervisor status` shows it, "
            "`echomox-supervisor reload` takes over a changed configuration, `echomox-supervisor stop` ends "
            "it"
        )


class PidFile:
    """The held lock."""

    def __init__(self, path: Path) -> None:
        """Raises AlreadyRunning, or OSError."""
        self.path = path
        self._descriptor = self._lock()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def _lock(self) -> int:
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                here, there = os.fstat(descriptor), os.stat(self.path)
                if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                    return descriptor
            except FileNotFoundError:
                pass  # a supervisor that stops has just removed it
            except BlockingIOError:
                pid = _holder(descriptor)
                os.close(descriptor)
                raise AlreadyRunning(self.path, pid) from None
            os.close(descriptor)

    def remove(self) -> None:
        """At the end: the file goes, and with it the lock."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def _holder(descriptor: int) -> int:
    question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    return pid if kind != fcntl.F_UNLCK else 0


def running_pid(path: Path) -> int:
    """Process id of the supervisor that holds this file; 0 if none runs. Raises PermissionError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    try:
        return _holder(descriptor)
    finally:
        os.close(descriptor)
