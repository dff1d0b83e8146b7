"""What an operation of `workers.operations` works on: one configured server, running or not.

In the control worker `worker` is there: a change of domains.toml is published to all workers at once. In a
command that found no server there is none, and the files are all there is. Everything here is used from one
thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from echomox.config.load import load_dynamic, load_static
from echomox.config.paths import Paths
from echomox.config.schema import Account, Dynamic, Static
from echomox.config.snapshot import accept
from echomox.store import open_engine
from echomox.store.engine import AccountStore, Engine, NoSuchAccount
from workers.refused import Refused

if TYPE_CHECKING:
    from workers.base import Worker


__all__ = ["Refused", "Site"]


class Site:
    def __init__(self, paths: Paths, worker: Worker | None = None) -> None:
        self.paths = paths
        self.worker = worker
        self.rung: Callable[[str, int], None] | None = None
        """Called with (account, modseq) after each change of an account's mail here."""
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The store, opened at first use."""
        if self._engine is None:
            self._engine = open_engine(self.paths)
            if self.rung is not None:
                self._engine.on_change = self.rung
        return self._engine

    def static(self) -> Static:
        """What the running server has; without one, what the file says."""
        return self.worker.static if self.worker else load_static(self.paths.static)

    def dynamic(self) -> Dynamic:
        """domains.toml as it stands on disk."""
        return load_dynamic(self.paths.dynamic)

    def account(self, name: str) -> Account:
        """A configured account; raises Refused."""
        account = self.dynamic().accounts.get(name)
        if account is None:
            raise Refused(f"no account {name}; `echomox account list` shows what there is")
        return account

    def store(self, name: str) -> AccountStore:
        """The mail of an account, also of one that is no longer configured; raises Refused."""
        try:
            return self.engine.open(name)
        except NoSuchAccount:
            raise Refused(f"no mail of an account {name}; `echomox account list` shows what there is") from None

    def publish(self) -> None:
        """domains.toml was replaced by a good one: running workers read it at their next look. Raises ConfigProblems
        when it is broken again."""
        if self.worker is not None:
            accept(self.paths, self.worker.static)
            self.worker.board.bump_config("control")

    def running(self) -> Worker:
        """The control worker; raises Refused without a server."""
        if self.worker is None:
            raise Refused("no server runs here; `echomox-supervisor start` starts it")
        return self.worker

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None
