"""Where everything stands on disk: the `home` layout (one root) and the `fhs` layout (/etc, /var/lib,
/var/log).

    config/  echomox.toml domains.toml dkim/    data/  accounts/<a>/{index.db,junk.db,msg/} spool/ queue/
    tmp/     scratch                                   acme/keycerts/ reservoir/{state.db,weights.dat}
    logs/    echomox.log                        run/   *.sock supervisor.pid (home: data/run, fhs:
    /run/echomox)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    config: Path
    data: Path
    tmp: Path
    logs: Path
    run: Path

    @classmethod
    def home(cls, root: Path) -> Paths:
        return cls(root / "config", root / "data", root / "tmp", root / "logs", root / "data" / "run")

    @classmethod
    def fhs(cls, prefix: Path = Path("/")) -> Paths:
        return cls(
            prefix / "etc/echomox",
            prefix / "var/lib/echomox",
            prefix / "var/lib/echomox/tmp",
            prefix / "var/log/echomox",
            prefix / "run/echomox",
        )

    @property
    def static(self) -> Path:
        return self.config / "echomox.toml"

    @property
    def dynamic(self) -> Path:
        return self.config / "domains.toml"

    @property
    def accounts(self) -> Path:
        return self.data / "accounts"

    @property
    def spool(self) -> Path:
        return self.data / "spool"

    @property
    def pidfile(self) -> Path:
        return self.run / "supervisor.pid"

    def socket(self, name: str) -> Path:
        """The Unix socket of a service: change, learn, control, classify.<i>."""
        return self.run / f"{name}.sock"
