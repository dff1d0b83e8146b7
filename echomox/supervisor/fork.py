"""Forking: everything that a child must not meet half-way is arranged here, on both sides of the fork."""

from __future__ import annotations

import codecs
import ctypes
import gc
import importlib
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from encodings.aliases import aliases
from typing import NoReturn

from echomox.config.paths import Paths
from echomox.config.schema import Static
from echomox.log import logger
from echomox.supervisor.privileges import drop
from echomox.supervisor.service import User

ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def preload(modules: tuple[str, ...]) -> None:
    """Imports what the workers need, once, so that they share its memory. BLAS is told to start no threads
    first: a process that forks has one thread. Raises ImportError.
    """
    for name in ONE_THREAD:
        os.environ[name] = "1"
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


def freeze() -> None:
    """Before a round of forks: what lives now is never looked at by a child's garbage collector, so its pages stay
    shared; what the C library has free is given back.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


def threads() -> int:
    """How many threads this process has."""
    return len(os.listdir("/proc/self/task"))


def fork(child: Callable[[], NoReturn]) -> int:
    """Runs `child` in a new process, which never comes back here; returns its process id. Signals wait on
    both sides until
    the child has reset its handlers (it unblocks them) and we know its number. Raises OSError."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            try:
                child()
            finally:
                os._exit(70)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare(body: str, static: Static, paths: Paths, user: User) -> NoReturn:
    """A short-lived child's life: `body` ("module:function") with the workers' rights. Ends with 0, or 70."""
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
    except BaseException:
        logger("supervisor").exception("preparation failed", body=body)
    finally:
        os._exit(code)
