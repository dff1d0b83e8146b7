"""A worker process: what a body is given, and the life around it.

`main` is where a forked child begins. In this order: signals reset, foreign descriptors closed, body
imported, rights dropped and verified, tied to the supervisor's life, title, log; then a new loop with a
heartbeat, and the body. It ends by `os._exit` with one of:

    0    drained, or ended as told          71   the body returned without having been told to drain
    70   an exception left the body         72   the body could not be imported
                                            77   rights could not be dropped

Signals: TERM drains, USR1 reopens the log, ABRT (from the supervisor, when the heartbeat stops) writes
where every thread stands; INT, QUIT and HUP, which a terminal sends to the whole group, are for the
supervisor to answer.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from socket import socket
from typing import NoReturn

import uvloop
from setproctitle import setproctitle

from echomox.config.snapshot import Snapshot, load_snapshot
from echomox.errors import ConfigError
from echomox.log import SINK, Log, logger
from echomox.net import sessions
from echomox.net.blocks import Blocks
from echomox.sasl.derive import load_hash
from echomox.supervisor.memory import give_back, give_back_zeros, pss, trim
from echomox.supervisor.privileges import die_with_parent, drop
from echomox.supervisor.service import Launch
from shm.scoreboard import State

EXIT_OK = 0
EXIT_EXCEPTION = 70
EXIT_RETURNED = 71
EXIT_IMPORT = 72
EXIT_RIGHTS = 77
HEARTBEAT = 1.0  # seconds
MEMORY_EVERY = 10  # heartbeats
TRIM_AT = (1, 4, 15)  # heartbeats after the start
TRIM_EVERY = 60
DEFAULT_SIGNALS = (
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
    signal.SIGALRM,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGABRT,
)
CHECKS_PASSWORDS = ("control", "submission", "imap")
IGNORED_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE)

Body = Callable[["Worker"], Coroutine[object, object, None]]


class Worker:
    """One process of one service. Everything here belongs to this process alone, `listeners` excepted."""

    def __init__(self, launch: Launch) -> None:
        shared = launch.shared
        self.service = launch.service.name
        self.index = launch.index
        self.name = launch.name
        self.static = launch.static
        self.paths = launch.paths
        self.listeners: Mapping[str, list[socket]] = launch.listeners
        self.board = shared.board
        self.slot = shared.board.slots[launch.slot]
        self.limiter = shared.limiter if launch.slab is None else shared.limiter.writer(launch.slab)
        self.weights = shared.weights
        self.log: Log = logger(self.service)
        self.blocks = Blocks(self.paths, lambda: shared.board.blocks_generation, self.log)
        self.live: sessions.Live | None = None
        """Set by a body whose service has logged-in sessions."""
        self._sessions_asked = shared.board.sessions_asked
        self._drain = asyncio.Event()
        self._hurry = asyncio.Event()
        self._drain_began = 0.0
        self._config = launch.config
        self._snapshot: Snapshot | None = None
        self._refused = 0  # generation whose domains.toml was no good
        self.slot.set("config_generation", launch.config[0])
        self._log_generation = 0

    # configuration

    def snapshot(self) -> Snapshot:
        """The current picture of domains.toml: read again when the server's generation has changed. A file that
        cannot be used keeps the picture that there is, and is logged."""
        generation = self.board.config_generation
        current = self._snapshot
        if current is None:
            current = self._snapshot = Snapshot(self._config[1], self.static, self._config[0])
        if generation not in (current.generation, self._refused):
            try:
                current = self._snapshot = load_snapshot(self.paths, self.static, generation)
            except ConfigError as error:
                self._refused = generation
                self.log.error("domains.toml not taken over", error=error)
            self.slot.set("config_generation", generation)
        return current

    # life

    def ready(self) -> None:
        """To be called when the listeners are being accepted from."""
        if self.slot.state is State.STARTING:
            self.slot.state = State.READY
            self.log.info("ready", seconds=time.monotonic() - self.slot.time("started"))

    async def stopping(self, *tasks: asyncio.Task[None]) -> None:
        """Returns when this worker shall take no new connections and finish what it has. tasks: what it is of no use
        without; returns when one of them has ended too, and raises what that has raised."""
        drain = asyncio.ensure_future(self._drain.wait())
        try:
            done, _ = await asyncio.wait((drain, *tasks), return_when=asyncio.FIRST_COMPLETED)
        finally:
            drain.cancel()
        for task in done - {drain}:
            task.result()

    @property
    def draining(self) -> bool:
        return self._drain.is_set()

    def drain_time(self) -> float:
        """Seconds that sessions may go on once `stopping` has returned: drain_time after a reload,
        stop_time at a stop.
        """
        return self.slot.time("drain") if self.draining else self.static.workers.drain_time

    async def out_of_time(self) -> None:
        """Returns when the sessions must end: `drain_time` after `stopping` returned, or earlier when the
        server is
        stopped during the drain of a reload."""
        await self._drain.wait()
        while (left := self._drain_began + self.drain_time() - time.monotonic()) > 0:
            self._hurry.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), left)

    def drain(self) -> None:
        """Begins the drain, as TERM does; another TERM may shorten it."""
        self._hurry.set()
        if not self.draining:
            self._drain_began = time.monotonic()
            self.slot.state = State.DRAINING
            setproctitle(f"echomox: {self.name} (draining)")
            self._drain.set()
            self.log.info("draining", seconds=self.drain_time())

    # counts

    def count(self, counter: str, n: int = 1) -> None:
        """Adds to one of shm.scoreboard.COUNTERS."""
        self.slot.count(counter, n)

    def use_connections(self, n: int) -> None:
        """How many connections are open now."""
        self.slot.set("connections", n)

    # once a second

    async def heartbeat(self) -> None:
        """Says that the loop turns, and takes over what was changed for the whole server."""
        beats = 0
        while True:
            self.slot.set_time("heartbeat", time.monotonic())
            self._take_over()
            if beats % MEMORY_EVERY == 1:
                self.slot.set("memory", pss(os.getpid()) or 0)
            if beats == TRIM_AT[0]:
                give_back()
            if beats in TRIM_AT or beats % TRIM_EVERY == 0:
                trim()
            beats += 1
            await asyncio.sleep(HEARTBEAT)

    def _take_over(self) -> None:
        generation = self.board.log_generation
        if generation != self._log_generation:
            self._log_generation = generation
            levels = self.board.log_levels()
            if levels:
                SINK.set_levels(levels[1], levels[0])
        if self._snapshot is not None:
            self.snapshot()
        else:  # this body has not asked for it yet
            self.slot.set("config_generation", self.board.config_generation)
        asked = self.board.sessions_asked
        if asked != self._sessions_asked:
            self._sessions_asked = asked
            self._tell_sessions()

    def _tell_sessions(self) -> None:
        if self.live is None:
            return
        try:
            sessions.answer(self.paths.run, self.slot.number, self.live)
        except Exception:
            self.log.exception("sessions not told")
            self.count("exceptions")


def main(launch: Launch) -> NoReturn:
    """The forked child's whole life; see the module's text."""
    code = EXIT_EXCEPTION
    try:
        code = _live(launch)
    except BaseException:
        logger(launch.service.name).exception("worker failed")
    finally:
        os._exit(code)


def _live(launch: Launch) -> int:
    reset_signals()
    own = [sock.fileno() for group in launch.listeners.values() for sock in group]
    close_foreign(own)
    log = logger(launch.service.name)
    SINK.role = launch.name
    try:
        body = find(launch.service.body)
        if launch.service.name in CHECKS_PASSWORDS:
            load_hash(launch.static.auth.password_hash)
    except Exception:
        log.exception("body not imported", body=launch.service.body)
        return EXIT_IMPORT
    if not become(launch):
        return EXIT_RIGHTS
    setproctitle(f"echomox: {launch.name}")
    faulthandler.enable(SINK.descriptor)
    gc.enable()
    loop = uvloop.new_event_loop()
    # It has a buffer of 256,000 bytes within itself, which is hardly ever filled; Python has written zeros there.
    give_back_zeros(id(loop), type(loop).__basicsize__)
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(_run(launch, body))


async def _run(launch: Launch, body: Body) -> int:
    worker = Worker(launch)
    worker.slot.set("pid", os.getpid())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.drain)
    loop.add_signal_handler(signal.SIGUSR1, reopen_log)
    beat = loop.create_task(worker.heartbeat())
    try:
        await body(worker)
    except Exception:
        worker.log.exception("body failed", body=launch.service.body)
        worker.count("exceptions")
        return EXIT_EXCEPTION
    finally:
        beat.cancel()
    if not worker.draining:
        worker.log.error("body returned without being told to", body=launch.service.body)
        return EXIT_RETURNED
    worker.log.info("drained")
    return EXIT_OK


def reset_signals() -> None:
    """The supervisor's handlers and its self-pipe are not ours."""
    signal.set_wakeup_fd(-1)
    for number in DEFAULT_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_foreign(own: Iterable[int]) -> None:
    """Closes every descriptor but the standard ones, the log's and `own`."""
    keep = {0, 1, 2, SINK.descriptor, *own}
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in keep:
            try:
                os.close(number)
            except OSError:
                pass  # the descriptor of this very listing


def find(body: str) -> Body:
    """The function that "module:function" names. Raises ImportError, AttributeError."""
    module, _, function = body.partition(":")
    found: Body = getattr(importlib.import_module(module), function)
    return found


def become(launch: Launch) -> bool:
    """Weights read-only unless this service publishes them, rights dropped, life tied to the supervisor's."""
    if not launch.service.publishes:
        launch.shared.segments[2].protect()
    os.umask(0o077)
    try:
        drop(launch.user)
    except Exception:
        logger(launch.service.name).exception("rights not dropped", user=launch.user.name)
        return False
    # An orphan would serve on without anyone to restart or stop it; the store is safe against this kill.
    return die_with_parent(launch.supervisor, signal.SIGKILL)


def reopen_log() -> None:
    SINK.reopen()
    faulthandler.enable(SINK.descriptor)
