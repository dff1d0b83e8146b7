"""A worker's world in memory, for logins and deliveries: snapshot, secrets, counters."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from echomox.clock import SYSTEM, Clock
from echomox.config.paths import Paths
from echomox.config.schema import Account, Auth, Domain, Dynamic, Limits, Static
from echomox.config.snapshot import Snapshot
from echomox.net.blocks import Blocks
from echomox.net.login import Authenticator
from echomox.sasl import derive
from echomox.store.engine import Login, NoSuchAccount
from shm.limiter import LimiterSlabs
from tests.unit.smtpd.support import QUIET

CHEAP = Auth(bcrypt_cost=4)
DYNAMIC = Dynamic(
    domains={"example.org": Domain(), "paused.example": Domain(disabled=True)},
    accounts={
        "mjl": Account(addresses=("mjl@example.org", "second@example.org", "x@paused.example")),
        "off": Account(addresses=("off@example.org",), disabled=True),
        "small": Account(addresses=("small@example.org",), quota=1000),
        "rest": Account(addresses=("@example.org",)),
    },
)


class Host:
    """What a worker gives to the parts that run in it."""

    def __init__(self, root: Path, auth: Auth = CHEAP, limits: Limits | None = None) -> None:
        self.static = Static(hostname="mx.example.org", auth=auth, limits=limits or Limits())
        self.paths = Paths.home(root)
        self.paths.run.mkdir(parents=True, exist_ok=True)
        self.limiter = LimiterSlabs.private()
        self.log = QUIET
        self.blocks = Blocks(self.paths, lambda: 0, QUIET)
        self.counts: dict[str, int] = {}
        self._snapshot = Snapshot(DYNAMIC, self.static, 1)

    def snapshot(self) -> Snapshot:
        return self._snapshot

    def count(self, counter: str, n: int = 1) -> None:
        self.counts[counter] = self.counts.get(counter, 0) + n


@cache
def secrets_of(password: str, kind: str = "bcrypt") -> dict[str, str]:
    return {**derive(password, 4, kind), "generation": "1"}


class Secrets:
    """An engine that has secrets and lists of logins only."""

    def __init__(self) -> None:
        self.kept = {name: secrets_of("secret") for name in ("mjl", "off", "small", "rest")}
        self.listed: list[tuple[str, Login]] = []
        self.name = ""

    def open(self, account: str) -> Any:
        if account not in self.kept:
            raise NoSuchAccount(account)
        other = Secrets.__new__(Secrets)
        other.kept, other.listed, other.name = self.kept, self.listed, account
        return other

    def secrets(self) -> dict[str, str]:
        return self.kept[self.name]

    def log_login(self, login: Login) -> None:
        self.listed.append((self.name, login))


def authenticator(
    auth: Auth | None = None, logins: int = 0, clock: Clock = SYSTEM, per_day: int = 0
) -> Authenticator:
    """logins: failed ones allowed per minute; 0: any number. per_day: likewise."""
    limits = replace(Limits(), logins_per_minute=logins, logins_per_day=per_day)
    host = Host(Path(tempfile.mkdtemp()), auth or CHEAP, limits)
    return Authenticator(host, Secrets(), "submission", clock)
