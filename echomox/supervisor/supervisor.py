"""The supervisor: one thread, no event loop. It opens the listeners, makes the shared segments, forks the
workers and keeps as many running as the configuration asks for. It handles no mail and reads no byte of a
peer.

Signals, each queued by a self-pipe and answered in `_answer`:

    HUP    reload                            USR1  reopen the log, here and in the workers
    TERM   stop: sessions get stop_time      USR2  write the state of all workers to the log
    INT    stop now; QUIT likewise           TTIN  one classifier more; TTOU one less

Reload. The files are checked first; a bad one changes nothing. If only domains.toml changed (or nothing),
the configuration's generation grows and workers read it within a second. If echomox.toml or the certificate
changed, every seat gets a new child on the same sockets; when it is READY the old one is told to drain.
Services that may not run twice end the old one first. The reload has taken effect when all new children are
READY.

Exit codes: see EXIT_*.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from socket import socket

from setproctitle import setproctitle

from echomox.config.load import load_all
from echomox.config.paths import Paths
from echomox.config.schema import Static
from echomox.errors import ConfigError
from echomox.log import SINK, logger
from echomox.supervisor.crew import Crew, Seat, describe_status
from echomox.supervisor.fork import TOLD, fork, freeze, one_thread, preload, preload_late, prepare, threads
from echomox.supervisor.holes import Holes
from echomox.supervisor.listen import ListenError, Listeners, Wanted, wanted
from echomox.supervisor.memory import give_back, pss
from echomox.supervisor.notify import Notifier, inherited_sockets
from echomox.supervisor.pidfile import PidFile
from echomox.supervisor.privileges import acting_as, find_user
from echomox.supervisor.service import Service, Shared, Table, User
from echomox.supervisor.shared import make_shared
from echomox.supervisor.status import describe
from shm.scoreboard import State

EXIT_OK = 0  # stopped as told
EXIT_ERROR = 1  # an error of our own, or of the system
EXIT_USAGE = 2  # wrong arguments
EXIT_CONFIG = 78  # the configuration is wrong, or a reload of it failed (EX_CONFIG of sysexits.h)
EXIT_RUNNING = 4  # a server runs already
EXIT_STOPPED = 5  # no server runs
EXIT_LISTEN = 6  # an address cannot be listened on
EXIT_UNREADY = 7  # a service did not become READY at the start

TICK = 1.0  # seconds between looks at heartbeats
STARTING_TICK = 0.004  # seconds between looks at states while something starts
MEMORY_EVERY = 30.0
START_ATTEMPTS = 4  # deaths before READY at the first start, before we give up
SIGNALS = ("HUP", "TERM", "INT", "QUIT", "USR1", "USR2", "TTIN", "TTOU", "CHLD")


class StartFailed(Exception):
    """The server could not be started; code is one of EXIT_*, str() is for people."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class Supervisor:
    """`Supervisor(table, paths).run(on_ready)` is the life of the server."""

    def __init__(self, table: Table, paths: Paths) -> None:
        """Raises ConfigError, and StartFailed when the workers' user cannot be found."""
        self.table = table
        self.paths = paths
        self.static, self._first_dynamic = load_all(paths)
        self._certificate = _fingerprint(self.static)
        self._pool_change = 0
        self._reload_began: float | None = None
        self._stopping: float | None = None
        self._was_ready = False
        self._log = logger("supervisor")
        self._notifier = Notifier()
        self._pulse = 0.0
        self._memory_due = 0.0
        self._holes = Holes()

    def run(self, on_ready: Callable[[], None]) -> int:
        """Serves until told to stop; returns an exit code. `on_ready` is called once, when all services are
        READY.
        Raises StartFailed, pidfile.AlreadyRunning, ListenError, OSError."""
        self._on_ready = on_ready
        os.umask(0o077)
        self.user = self._find_user()
        self._make_directories()
        with acting_as(self.user):
            self._pidfile = PidFile(self.paths.pidfile)
        try:
            self._open_log()
            self._listeners = Listeners(self.paths, self.user, inherited_sockets())
            try:
                return self._serve()
            finally:
                self._listeners.close()
        finally:
            with acting_as(self.user):
                self._pidfile.remove()

    # the start

    def _find_user(self) -> User:
        try:
            return find_user(self.static.user, self.paths.data)
        except OSError as error:
            text = f"data directory {self.paths.data}: {error.strerror}; `echomox quickstart` makes it"
            raise StartFailed(EXIT_CONFIG, text) from None

    def _make_directories(self) -> None:
        for directory in (self.paths.run, self.paths.logs, self.paths.tmp):
            if directory.is_dir():
                continue
            try:
                with acting_as(self.user):
                    directory.mkdir(0o700, parents=True)
            except PermissionError:  # as /run/echomox, whose parent is root's
                directory.mkdir(0o700)
                os.chown(directory, self.user.uid, self.user.gid)

    def _open_log(self) -> None:
        logs = self.static.logs
        path = str(self.paths.logs / "echomox.log") if logs.to_file else None
        with acting_as(self.user):
            SINK.configure(path, "supervisor", logs.levels, logs.level)

    def _serve(self) -> int:
        counts = self._counts(self.static)
        self._listeners.open(self._wanted(self.static))
        one_thread()
        self.table.warm(self.static, self.paths)  # first: imports fill the holes that reading tables leaves
        preload(self.table.preload)
        if self.user.uid != os.geteuid():
            preload_late(self.table.late)
        setproctitle("echomox: supervisor")
        people = sum(counts[service.name] for service in self.table.services if service.serves_people)
        shared = make_shared(2 * sum(counts.values()) + 32, 2 * people + 8)
        try:
            self.crew = Crew(self.table, shared, self.paths, self.user)
            self.crew.settle = lambda: freeze(self._holes)
            self._prepare_board(shared)
            self.crew.config = (shared.board.config_generation, self._first_dynamic)
            self._take_signals()
            if threads() != 1:
                self._log.error("more than one thread before the first fork", threads=threads())
            give_back()
            freeze(self._holes)
            self._prepare_store()
            if self._stopping is None:
                self.crew.plan(self._counts(self.static))
            return self._loop()
        finally:
            self._drop_signals()
            shared.close()

    def _prepare_board(self, shared: Shared) -> None:
        board = self.board = shared.board
        board.set("supervisor_pid", os.getpid())
        board.set_time("supervisor_started", time.monotonic())
        board.set("static_generation", 1)
        self._show_pool()

    def _prepare_store(self) -> None:
        """The short-lived child."""
        if not self.table.prepare:
            return
        body = self.table.prepare
        told, tell = os.pipe2(os.O_CLOEXEC)
        with open(told, "rb") as reasons:
            try:
                pid = fork(lambda: prepare(body, self.static, self.paths, self.user, tell))
            finally:
                os.close(tell)
            status = self._wait_for(pid)
            why = reasons.read(TOLD).decode("utf-8", "replace") or describe_status(status)
        if status and self._stopping is None:
            text = f"the store could not be made ready: {why}; the log says more: {self._log_place()}"
            raise StartFailed(EXIT_ERROR, text)

    def _wait_for(self, pid: int) -> int:
        """The status with which a child ends; a stop meanwhile ends it."""
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return status
            self._wait(TICK)
            if self._stopping is not None:
                os.kill(pid, signal.SIGTERM)

    def _log_place(self) -> str:
        return SINK.path or "standard error"

    def _counts(self, static: Static) -> dict[str, int]:
        counts = self.table.counts(static)
        for service in self.table.services:
            if service.pool:
                counts[service.name] = max(1, counts[service.name] + self._pool_change)
        return counts

    def _wanted(self, static: Static) -> Wanted:
        return wanted(static, self.table.services, self._counts(static))

    def _show_pool(self) -> None:
        counts = self._counts(self.static)
        self.board.set("pool", sum(counts[service.name] for service in self.table.services if service.pool))

    # signals

    def _take_signals(self) -> None:
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._pipe[0], select.POLLIN)
        for name in SIGNALS:
            signal.signal(signal.Signals[f"SIG{name}"], lambda number, frame: None)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)

    def _drop_signals(self) -> None:
        signal.set_wakeup_fd(-1)
        for name in SIGNALS:
            number = signal.Signals[f"SIG{name}"]
            signal.signal(number, signal.SIG_DFL if name == "CHLD" else signal.SIG_IGN)
        if hasattr(self, "_pipe"):
            for descriptor in self._pipe:
                os.close(descriptor)

    def _wait(self, seconds: float) -> None:
        """Until a signal comes, or so long; then answers what came."""
        if self._poll.poll(max(0, int(seconds * 1000 + 0.999))):
            for number in os.read(self._pipe[0], 4096):
                self._answer(signal.Signals(number))

    def _answer(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self.reload()
        elif number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self.stop(now=number is not signal.SIGTERM or self._stopping is not None)
        elif number is signal.SIGUSR1:
            with acting_as(self.user):
                SINK.reopen()
            self.crew.send_all(signal.SIGUSR1)
        elif number is signal.SIGUSR2:
            self._dump()
        elif number in (signal.SIGTTIN, signal.SIGTTOU):
            self._change_pool(1 if number is signal.SIGTTIN else -1)

    def _dump(self) -> None:
        state = describe(self.board)
        for worker in state.pop("workers"):
            self._log.info("state", **worker)
        state.pop("counters")
        self._log.info("state of all", leaving=len(self.crew.leaving), threads=threads(), **state)

    def _change_pool(self, change: int) -> None:
        counts = self._counts(self.static)
        self._pool_change += change
        if self._stopping is not None or self._counts(self.static) == counts:
            self._pool_change -= change  # one is the least
            return
        try:
            self._listeners.open(self._wanted(self.static))
        except ListenError as error:
            self._pool_change -= change
            self._log.error("pool not changed", error=error)
            return
        freeze(self._holes)
        self.crew.dismiss(self.crew.plan(self._counts(self.static)))
        self.crew.drain_leaving(self.static.workers.stop_time)
        self._show_pool()
        self._listeners.retire(self._wanted(self.static))
        self._log.info("pool changed", classifiers=self.board.get("pool"))

    # the loop

    def _loop(self) -> int:
        while True:
            self._reap()
            if self._stopping is None:
                self._advance()
            elif not self._advance_stop():
                self._log.info("stopped")
                return EXIT_OK
            self._pulse_all()
            self._wait(self._pause())

    def _pause(self) -> float:
        if any(seat.current and not seat.ready for seat in self.crew.seats.values()):
            return STARTING_TICK
        deadline = self.crew.next_deadline()
        pause = TICK if deadline is None else min(TICK, deadline - time.monotonic())
        return min(pause, self._notifier.watchdog or TICK)

    def _reap(self) -> None:
        for seat, _, status in self.crew.reap():
            if self._was_ready or self._stopping is not None or seat.record.failures < START_ATTEMPTS:
                continue
            text = (
                f"{seat.name} ended {seat.record.failures} times before it was ready "
                f"({describe_status(status)}); the log says why: {self._log_place()}"
            )
            self._give_up()
            raise StartFailed(EXIT_UNREADY, text)

    def _give_up(self) -> None:
        self.stop(now=True)
        while self._advance_stop():
            self.crew.reap()
            self._wait(0.05)

    def _advance(self) -> None:
        self.crew.start_due(self.static, self._share)
        if self.crew.notice_ready(self.static.workers.drain_time) or self._reload_began is not None:
            self._check_all_ready()

    def _share(self, service: Service, index: int) -> dict[str, list[socket]]:
        return self._listeners.share(service, index, self._counts(self.static)[service.name], self.static)

    def _check_all_ready(self) -> None:
        if not all(seat.ready for seat in self.crew.seats.values()):
            return
        if not self._was_ready:
            self._was_ready = True
            self.board.set("ready", 1)
            self._log.info("all services ready", workers=len(self.crew.seats))
            self._notifier.send("READY=1", f"MAINPID={os.getpid()}", f"STATUS={len(self.crew.seats)} workers")
            self._on_ready()
            give_back()
        if self._reload_began is not None:
            self._finish_reload(time.monotonic() - self._reload_began)

    def _pulse_all(self) -> None:
        now = time.monotonic()
        if now < self._pulse:
            return
        self._pulse = now + min(TICK, self._notifier.watchdog or TICK) * 0.9
        self._notifier.send("WATCHDOG=1")
        self.crew.look_after(self.static.workers.heartbeat_timeout)
        if now >= self._memory_due and self._was_ready:
            self._memory_due = now + MEMORY_EVERY
            self.board.set("supervisor_memory", pss(os.getpid()) or 0)

    # reload

    def reload(self) -> None:
        """Takes over what changed in the files, or says why not."""
        if self._stopping is not None:
            return
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        if self._reload_began is not None:
            self._reload_failed("overtaken by another reload before all new workers were ready")
        try:
            static, dynamic = load_all(self.paths)
            certificate = _fingerprint(static)
            if static != self.static or certificate != self._certificate:
                self._replace(static)
                self._certificate = certificate
        except (ConfigError, ListenError, OSError) as error:
            self._reload_failed(str(error))
            return
        generation = self.board.bump_config("supervisor")
        self.crew.config = (generation, dynamic)
        if self._reload_began is None:
            self._reload_done(f"domains.toml taken over, generation {generation}")

    def _replace(self, static: Static) -> None:
        """Begins to replace every worker. Raises ListenError, ConfigError; then nothing has changed."""
        user = find_user(static.user, self.paths.data)
        if user != self.user:
            raise ConfigError(f"{self.paths.static}: user: a change needs `echomox-supervisor restart`")
        self.table.warm(static, self.paths)
        self._listeners.open(self._wanted(static))
        self.static = static
        self._open_log()
        board = self.board
        board.set("static_generation", board.get("static_generation") + 1)
        freeze(self._holes)
        self.crew.dismiss(self.crew.plan(self._counts(static)))
        for seat in self.crew.seats.values():
            if seat.current or seat.throttled or seat.outgoing:
                self.crew.renew(seat, static.workers.stop_time)
        self._reload_began = time.monotonic()
        self._show_pool()

    def _finish_reload(self, seconds: float) -> None:
        self.crew.drain_leaving(self.static.workers.drain_time)
        self._listeners.retire(self._wanted(self.static))
        self._reload_began = None
        self._reload_done(f"echomox.toml taken over, all workers replaced in {seconds:.2f} s")

    def _reload_done(self, text: str) -> None:
        self.board.set_reload_message(text)
        self.board.set("reloads_done", self.board.get("reloads_done") + 1)
        self._log.info("reloaded", result=text)
        self._notifier.send("READY=1")

    def _reload_failed(self, text: str) -> None:
        self.board.set_reload_message(text)
        self.board.set("reloads_failed", self.board.get("reloads_failed") + 1)
        self._log.error("reload failed", error=text)
        self._notifier.send("READY=1")

    # stop

    def stop(self, now: bool) -> None:
        """Begins the end: those who serve people drain first, then those who serve them. now: no time for
        sessions.
        """
        first = self._stopping is None
        self._stopping = 0.0 if now else self.static.workers.stop_time
        if first:
            self._log.info("stopping", seconds=self._stopping)
            self._notifier.send("STOPPING=1")
            self._reload_began = None
        for seat in [*self.crew.seats.values(), *self.crew.leaving]:
            seat.due = None
            if seat.service.serves_people or now:
                self._end(seat)

    def _end(self, seat: Seat) -> None:
        if seat.current:
            seat.outgoing.append(seat.current)
            seat.current = None
        for child in seat.outgoing:
            if child.state is State.STARTING:
                self.crew.kill(child)
            else:
                self.crew.drain(child, self._stopping or 0.0)

    def _advance_stop(self) -> bool:
        """Whether anyone is still there."""
        everyone = list(self.crew.everyone())
        if not any(seat.service.serves_people for seat, _ in everyone):
            for seat in [*self.crew.seats.values(), *self.crew.leaving]:
                if seat.current:
                    self._end(seat)
        return bool(everyone)


def _fingerprint(static: Static) -> tuple[tuple[int, int, int], ...]:
    """What changes when certificate, key or the filter's rules are replaced under the same name."""
    found = []
    for name in (static.tls.certificate, static.tls.key, static.filter.rules):
        if name:
            entry = os.stat(name)
            found.append((entry.st_ino, entry.st_mtime_ns, entry.st_size))
    return tuple(found)
