"""Operations on the running server: its state, counters, log levels, a reload. See `workers.operations`."""

from __future__ import annotations

import os
import platform
import signal
import sqlite3
import ssl
from collections.abc import Mapping
from importlib.metadata import version as installed
from typing import Any

from echomox.config.load import load_all
from echomox.log import LEVELS
from echomox.supervisor.status import status as describe
from shm.scoreboard import GAUGES
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]

PACKAGES = (
    "aiosmtpd",
    "uvloop",
    "numpy",
    "dkimpy",
    "pyspf",
    "publicsuffixlist",
    "dnspython",
    "msgpack",
    "bottle",
    "waitress",
    "bcrypt",
    "argon2-cffi",
)


def status(site: Site, fields: Fields) -> Answer:
    return describe(site.running().board)


def counters(site: Site, fields: Fields) -> Answer:
    """Since the server's start, over all workers; `gauges` are what is now."""
    totals = site.running().board.totals()
    return {
        "counters": {name: value for name, value in totals.items() if name not in GAUGES},
        "gauges": {name: value for name, value in totals.items() if name in GAUGES},
    }


def reload(site: Site, fields: Fields) -> Answer:
    """Takes both files over: domains.toml at once, a changed echomox.toml through the supervisor (HUP)."""
    worker = site.running()
    static, _ = load_all(site.paths)
    site.publish()
    if static == worker.static:
        return {"reloaded": "domains.toml", "generation": worker.board.config_generation}
    try:
        os.kill(worker.board.get("supervisor_pid"), signal.SIGHUP)
    except PermissionError:
        raise Refused("echomox.toml has changed; run `echomox-supervisor reload` as root") from None
    return {"reloaded": "echomox.toml", "generation": worker.board.config_generation}


def loglevels(site: Site, fields: Fields) -> Answer:
    """Shows the levels; with `level` sets it, for `package` or for all that have none of their own."""
    worker = site.running()
    default, levels = worker.board.log_levels() or (worker.static.logs.level, dict(worker.static.logs.levels))
    if "level" in fields:
        if fields["level"] not in LEVELS:
            raise Refused(f"no level {fields['level']}; there are {', '.join(LEVELS)}")
        if package := fields.get("package", ""):
            if not package.isidentifier():
                raise Refused(f"{package!r} cannot be the name of a package, as smtpd or imapd")
            levels = {**levels, package: fields["level"]}
        else:
            default = fields["level"]
        try:
            worker.board.set_log_levels(default, levels)
        except ValueError as error:
            raise Refused(f"too many packages with a level of their own: {error}") from None
        worker.log.info("log levels changed", default=default, levels=str(levels))
    return {"default": default, "levels": levels}


def version(site: Site, fields: Fields) -> Answer:
    return versions()


def versions() -> Answer:
    """Of this program and of what it stands on."""
    return {
        "echomox": installed("echomox"),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION.split()[1],
        **{name: installed(name) for name in PACKAGES},
    }
