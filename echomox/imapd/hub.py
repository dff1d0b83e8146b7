"""What the sessions of one account share within a worker: its store, its bell, and the changes just read.

A bell says "account A is at modseq M" and may be lost; the truth is in the store. Only idling sessions
listen: all others look at `store.modseq()` with every command. One look at the store serves all sessions that
wait for the same: the net change of a mailbox since a modseq is kept until all have been poked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from echomox.imapd.box import Box

if TYPE_CHECKING:
    import asyncio

    from echomox.store.engine import AccountStore, Changes

SLICE = 50  # sessions poked before others have their turn
KEPT = 64  # changes remembered per account between two modseqs


class Idler(Protocol):
    def poke(self, modseq: int) -> None:
        """The account is at this modseq: there may be news in the store."""
        ...


class Ringer(Protocol):
    """The part of `echomox.ipc.bells.Bells` that is used here."""

    def listen(self, account: str, callback: Callable[[int], None]) -> Callable[[], None]: ...


class Hub:
    """One per account with a logged-in session; `users` counts these."""

    __slots__ = (
        "_bells", "_loop", "_scheduled", "_unlisten", "account", "box", "idlers", "kept", "modseq", "store", "users",
    )  # fmt: skip

    def __init__(self, account: str, store: AccountStore, bells: Ringer, loop: asyncio.AbstractEventLoop) -> None:
        self.account = account
        self.store = store
        self.box = Box(self)
        """For the account's own sessions."""
        self.users = 0
        self.idlers: dict[Idler, None] = {}
        """In the order in which they began to wait."""
        self.modseq = 0
        """The highest modseq that all idlers have been poked for."""
        self.kept: dict[tuple[int, int], Changes] | None = None
        self._bells = bells
        self._loop = loop
        self._unlisten: Callable[[], None] | None = None
        self._scheduled = False

    def changes(self, mailbox_id: int, since: int, modseq: int) -> Changes:
        """The store's changes; modseq: what `store.modseq()` has just said. Remembered while idlers are being poked."""
        if self.kept is None:
            return self.store.changes(mailbox_id, since)
        known = self.kept.get((mailbox_id, since))
        if known is None or known.modseq < modseq:
            if len(self.kept) >= KEPT:
                self.kept.clear()
            known = self.kept[mailbox_id, since] = self.store.changes(mailbox_id, since)
        return known

    def join(self, idler: Idler) -> None:
        """From now on the session is poked at a bell. It has told all news up to now itself."""
        if not self.idlers:
            self.modseq = self.store.modseq()
            self._unlisten = self._bells.listen(self.account, self.bell)
        self.idlers[idler] = None

    def leave(self, idler: Idler) -> None:
        self.idlers.pop(idler, None)
        if not self.idlers and self._unlisten:
            self._unlisten()
            self._unlisten = None

    def bell(self, modseq: int) -> None:
        """A bell, or 0 when one may have been lost. The look is taken from the loop, never within a
        transaction."""
        if self.idlers and not self._scheduled and (modseq == 0 or modseq > self.modseq):
            self._scheduled = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._scheduled = False
        if not self.idlers:
            return
        now = self.store.modseq()
        if now <= self.modseq:
            return
        self.modseq = now
        self.kept = {}
        self._poke(list(self.idlers), now)

    def look_again(self) -> None:
        """An idler could not be told: the next bell, or the poll, is to find everything new."""
        self.modseq = 0

    def _poke(self, idlers: list[Idler], modseq: int) -> None:
        """Some of them, then the loop has its turn, then the others."""
        for idler in idlers[:SLICE]:
            if idler in self.idlers:
                idler.poke(modseq)
        if len(idlers) > SLICE:
            self._loop.call_soon(self._poke, idlers[SLICE:], modseq)
        else:
            self.kept = None
