"""Forking: everything that a child must not meet half-way is arranged here, on both sides of the fork."""

from __future__ import annotations

import codecs
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from encodings.aliases import aliases
from typing import NoReturn, TypeVar

from echomox.config.paths import Paths
from echomox.config.schema import Static
from echomox.log import logger
from echomox.supervisor.holes import Holes
from echomox.supervisor.memory import trim
from echomox.supervisor.privileges import drop
from echomox.supervisor.service import User

T = TypeVar("T")
TOLD = 1024
"""Bytes that `prepare` tells at most: fewer than a pipe holds."""
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def one_thread() -> None:
    """Tells BLAS, before it is imported, to start no threads: a process that forks has one."""
    for name in ONE_THREAD:
        os.environ[name] = "1"


def preload(modules: tuple[str, ...]) -> None:
    """Imports what the workers need, once, so that they share its memory. Raises ImportError."""
    for module in modules:
        importlib.import_module(module)


def preload_late(modules: tuple[str, ...]) -> None:
    """Imports what would otherwise be imported at first use: `modules`, and every text codec of Python (3
    MB, shared).
    """
    preload(modules)
    for name in sorted(set(aliases.values())):
        with suppress(LookupError):  # mbcs is for another system
            codecs.lookup(name)


def freeze(holes: Holes) -> None:
    """Before a round of forks, so that pages stay shared: what lives now is never looked at by a child's garbage
    collector; Python's cache of attributes is emptied, since whoever takes a place in it writes to the name that was
    there; what the C library has free is given back, and what is free between the living is taken.
    """
    holes.open()
    gc.collect()
    sys.path_importer_cache.clear()  # names of files, for imports to come: there are hardly any
    clear = getattr(sys, "_clear_type_cache", None)
    if clear is not None:
        clear()
    trim()
    holes.fill()
    gc.freeze()


def threads() -> int:
    """How many threads this process has."""
    return len(os.listdir("/proc/self/task"))


def fork_all(entry: Callable[[T], NoReturn], starts: Sequence[T]) -> list[int | OSError]:
    """Runs `entry(start)` in a new process for each of `starts`; it never comes back here. Returns the process ids, or
    why there is none. Signals wait on both sides until a child has reset its handlers (it unblocks them) and we know
    its number.
    """
    found: list[int | OSError] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        for start in starts:
            try:
                pid = os.fork()
            except OSError as error:
                found.append(error)
                continue
            if pid == 0:
                try:
                    entry(start)
                finally:
                    os._exit(70)
            found.append(pid)
        return found
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def fork(child: Callable[[], NoReturn]) -> int:
    """`fork_all` for one. Raises OSError."""
    (pid,) = fork_all(lambda body: body(), (child,))
    if isinstance(pid, OSError):
        raise pid
    return pid


def prepare(body: str, static: Static, paths: Paths, user: User, tell: int) -> NoReturn:
    """A short-lived child's life: `body` ("module:function") with the workers' rights. Ends with 0, or with 70 and one
    line, in the pipe `tell`, of what was wrong."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(0o077)
        drop(user)
        module, _, function = body.partition(":")
        getattr(importlib.import_module(module), function)(static, paths)
        code = 0
    except BaseException as error:
        logger("supervisor").exception("preparation failed", body=body)
        line = " ".join(f"{type(error).__name__}: {error}".split())
        os.write(tell, line.encode("utf-8", "backslashreplace")[:TOLD])
    finally:
        os._exit(code)
