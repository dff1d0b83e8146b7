"""Who holds a lease: a process, known by its number and the moment it began, so that a number given again is another.

A lease whose process is gone ends as soon as anybody looks; its time is only for a machine whose /proc says nothing.
"""

from __future__ import annotations

import os
from pathlib import Path


def holder_name(worker: str) -> str:
    """As "queuerunner.0-4711-1234567-8f3a": worker, process, its start, the machine's."""
    pid = os.getpid()
    return f"{worker}-{pid}-{_began(pid)}-{_boot()}"


def is_gone(holder: str) -> bool:
    """Whether the process of that name is no more."""
    _, _, rest = holder.partition("-")
    pid, _, rest = rest.partition("-")
    began, _, boot = rest.partition("-")
    if not pid.isdigit():
        return True
    return boot != _boot() or began != _began(int(pid))


def _began(pid: int) -> str:
    """Clock ticks from the boot to the start of a process; "" when there is none, or it has ended and only waits to be
    noticed.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return ""
