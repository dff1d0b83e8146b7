"""Whose a file in the spool is: names carry the number of the process that writes it.

During a reload the old and the new worker of a slot live side by side under one name, and after kill -9 the next worker
of the slot takes over what its predecessor left. So a worker touches what belongs to itself or to nobody alive.
"""

from __future__ import annotations

import os


def owner_name(worker: str) -> str:
    """As "smtp.0-4711": this process in the seat of `worker`."""
    return f"{worker}-{os.getpid()}"


def is_left_over(name: str, worker: str) -> bool:
    """Whether `name`, as owner_name gives it, was of this seat, by a process that is gone. A number that this process
    has now was used by another one before."""
    seat, _, pid = name.rpartition("-")
    return seat == worker and pid.isdigit() and not alive(int(pid))


def alive(pid: int) -> bool:
    """Whether another process than this one has the number."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
