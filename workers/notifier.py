"""The notifier: carries bells from the workers that change accounts to those that show them (change.sock).

`Ring(account, modseq)` from any worker becomes `Changed` to every peer that listens to this account. Bells
that wait for the same peer are put together, the highest modseq counts; a peer that does not read keeps at
most one waiting bell per account it listens to, and is dropped after a while. A peer that listens to all accounts works
in the background: it is told of what was rung within LATER seconds at once. A peer that begins to listen
is told what was rung in the last seconds, so that a change between its look at the store and its `Listen`
is not missed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from echomox.ipc.channel import LIMITS, Limits, Link, Server
from echomox.ipc.frame import Frame, encode
from echomox.ipc.schema import EVERY, Changed, Failed, Listen, Ring, Unlisten
from echomox.log import Log, logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.base import Worker

LATER = 0.1
RECENT_ACCOUNTS = 4096
RECENT_SECONDS = 10.0
MOST_LISTENED = 100_000


class Listener:
    """A peer that listens, and the bells that wait for it."""

    __slots__ = ("accounts", "due", "link", "waiting")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.accounts: set[str] = set()
        self.waiting: dict[str, int] = {}
        self.due = False

    def flush(self) -> None:
        """Sends what waits, in one write, unless the peer is behind with reading: then when it has read."""
        self.due = False
        if self.waiting and self.link.writable:
            waiting, self.waiting = self.waiting, {}
            self.link.write(b"".join([encode(Changed(*item)) for item in waiting.items()]))


class Notifier:
    """The bells' exchange, without its sockets. sent(n): n bells were handed to peers; rung(): one came
    in.
    """

    def __init__(
        self,
        log: Log,
        count: Callable[[str, int], None] = lambda name, n: None,
        limits: Limits = LIMITS,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._count = count
        self._listeners: dict[Link, Listener] = {}
        self._by_account: dict[str, set[Listener]] = {}
        self._recent: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self.server = Server(self._frame, log, self._gone, lambda: count("ipc_dropped", 1), limits)

    def _frame(self, link: Link, frame: Frame) -> None:
        message = frame.message
        if isinstance(message, Ring):
            self._ring(message.account, message.modseq)
        elif isinstance(message, Listen):
            self._listen(link, message.account)
        elif isinstance(message, Unlisten):
            self._unlisten(link, message.account)
        else:
            link.send(Failed("not for the notifier"), frame.request)

    def _ring(self, account: str, modseq: int) -> None:
        self._count("bells_rung", 1)
        known = self._recent.pop(account, (0, 0.0))[0]
        self._recent[account] = (max(known, modseq), self._loop.time())
        if len(self._recent) > RECENT_ACCOUNTS:
            self._recent.popitem(last=False)
        listeners = [*self._by_account.get(account, ()), *self._by_account.get(EVERY, ())]
        for listener in listeners:
            self._tell(listener, account, modseq)
        if listeners:
            self._count("bells_sent", len(listeners))

    def _tell(self, listener: Listener, account: str, modseq: int) -> None:
        listener.waiting[account] = max(modseq, listener.waiting.get(account, 0))
        if not listener.due:
            listener.due = True
            if EVERY in listener.accounts:
                self._loop.call_later(LATER, listener.flush)
            else:
                self._loop.call_soon(listener.flush)

    def _listen(self, link: Link, account: str) -> None:
        listener = self._listeners.get(link)
        if listener is None:
            listener = self._listeners[link] = Listener(link)
            link.on_writable = listener.flush
        if len(listener.accounts) >= MOST_LISTENED:
            link.drop("listens to too many accounts")
            return
        listener.accounts.add(account)
        self._by_account.setdefault(account, set()).add(listener)
        modseq, when = self._recent.get(account, (0, 0.0))
        if modseq and self._loop.time() - when < RECENT_SECONDS:
            self._tell(listener, account, modseq)

    def _unlisten(self, link: Link, account: str) -> None:
        listener = self._listeners.get(link)
        if listener is None:
            return
        listener.accounts.discard(account)
        listener.waiting.pop(account, None)
        self._forget(listener, account)

    def _forget(self, listener: Listener, account: str) -> None:
        others = self._by_account.get(account, set())
        others.discard(listener)
        if not others:
            self._by_account.pop(account, None)

    def _gone(self, link: Link) -> None:
        listener = self._listeners.pop(link, None)
        if listener:
            for account in listener.accounts:
                self._forget(listener, account)


async def run(worker: Worker) -> None:
    """The body of the process."""
    notifier = Notifier(logger("notifier"), worker.count)
    await notifier.server.serve(worker.listeners["change"])
    worker.ready()
    await worker.stopping()
    await notifier.server.close()
