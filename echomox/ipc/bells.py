"""Bells: telling other processes that an account has changed, and hearing it (change.sock, the notifier).

A bell is a hint, "account A is at modseq M", and may be lost: who hears it reads the store. The first ring goes out
at once; those of the next GAP seconds wait and go out as one per account. After each new connection every listener is
called with 0, because bells may have been missed meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from echomox.ipc.channel import Client
from echomox.ipc.frame import encode
from echomox.ipc.schema import EVERY, Changed, Listen, Message, Ring, Unlisten
from echomox.log import Log

Callback = Callable[[int], None]
GAP = 0.002


class Bells:
    """One per process. `ring` may be called from any thread, all else from the loop."""

    def __init__(self, path: Path, log: Log, name: str = "") -> None:
        self._log = log
        self._client = Client(path, name or log.sink.role, log, self._message, self._connected)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._rung: dict[str, int] = {}
        self._flush_due = False
        self._next_flush = 0.0
        self._listeners: dict[str, list[Callback]] = {}
        self._listeners_of_all: list[Callable[[str, int], None]] = []

    @property
    def connected(self) -> bool:
        return self._client.connected

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        await self._client.start()

    async def close(self) -> None:
        """Sends what was rung and ends."""
        self._flush()
        self._loop = None
        await self._client.close()

    def ring(self, account: str, modseq: int) -> None:
        """Never blocks, never raises; dropped when the notifier is gone."""
        if self._loop is None:
            return
        if threading.get_ident() == self._thread:
            self._ring(account, modseq)
            return
        try:
            self._loop.call_soon_threadsafe(self._ring, account, modseq)
        except RuntimeError:
            pass  # the loop has ended: the process is on its way out

    def listen(self, account: str, callback: Callback) -> Callable[[], None]:
        """callback(modseq) in the loop on a bell, callback(0) after a new connection. Returns what ends
        it.
        """
        callbacks = self._listeners.setdefault(account, [])
        callbacks.append(callback)
        if len(callbacks) == 1:
            self._client.send(Listen(account))
        return partial(self._unlisten, account, callback)

    def listen_to_all(self, callback: Callable[[str, int], None]) -> None:
        """callback(account, modseq) on every bell, callback("", 0) after a new connection; for the
        trainer.
        """
        self._listeners_of_all.append(callback)
        if len(self._listeners_of_all) == 1:
            self._client.send(Listen(EVERY))

    def _unlisten(self, account: str, callback: Callback) -> None:
        callbacks = self._listeners.get(account, [])
        if callback in callbacks:
            callbacks.remove(callback)
            if not callbacks:
                del self._listeners[account]
                self._client.send(Unlisten(account))

    def _ring(self, account: str, modseq: int) -> None:
        self._rung[account] = max(modseq, self._rung.get(account, 0))
        if not self._flush_due and self._loop is not None:
            self._flush_due = True
            wait = self._next_flush - self._loop.time()
            if wait > 0:
                self._loop.call_later(wait, self._flush)
            else:
                self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        rung, self._rung = self._rung, {}
        if rung and self._loop is not None:
            self._next_flush = self._loop.time() + GAP
            self._client.write(b"".join([encode(Ring(*item)) for item in rung.items()]))

    def _connected(self) -> None:
        wanted = [*self._listeners, *([EVERY] if self._listeners_of_all else [])]
        self._client.write(b"".join([encode(Listen(account)) for account in wanted]))
        for account in list(self._listeners):
            self._call(account, 0)
        for callback in list(self._listeners_of_all):
            self._guard(partial(callback, "", 0))

    def _message(self, message: Message) -> None:
        if isinstance(message, Changed):
            self._call(message.account, message.modseq)
            for callback in list(self._listeners_of_all):
                self._guard(partial(callback, message.account, message.modseq))

    def _call(self, account: str, modseq: int) -> None:
        for callback in list(self._listeners.get(account, ())):
            self._guard(partial(callback, modseq))

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            self._log.exception("listener failed")
