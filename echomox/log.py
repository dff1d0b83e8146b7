"""Structured logs: one line an event, `key=value`, to a file that every process appends to, or to standard error.

    2026-11-22T07:40:46.123Z info smtpd[smtp.0/4711] event="message accepted" cid=k3v9x2a account=mjl size=8123

`cid` is the connection's id; it follows a mail through all processes (IPC frames carry it). Values under names
in `SECRET` are never written. Levels are per package and change at run time. A line goes out in one write(2) on
a descriptor opened O_APPEND, so that lines of several processes do not mix; a full disk loses log lines, never mail.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import time
import traceback
from collections.abc import Mapping

TRACE, DEBUG, INFO, WARN, ERROR = 5, 10, 20, 30, 40
LEVELS = {"trace": TRACE, "debug": DEBUG, "info": INFO, "warn": WARN, "error": ERROR}
NAMES = {value: name for name, value in LEVELS.items()}
SECRET = frozenset({"password", "secret", "token", "credential", "response", "cookie", "authorization"})
VALUE_LIMIT = 2000  # characters of one value
_BARE = re.compile(r"[A-Za-z0-9_.:/@+<>\[\],-]+")
_ALPHABET = "0123456789abcdefghijkmnpqrstuvwxyz"


def new_cid() -> str:
    """A connection id: 10 characters, unique enough to find one mail in a year of logs."""
    number = secrets.randbits(50)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(0, 50, 5))


def quote(value: object) -> str:
    """A value as it stands in a line: bare if simple, else quoted with control characters escaped."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    elif isinstance(value, float):
        value = f"{value:.6g}"
    text = str(value)
    if len(text) > VALUE_LIMIT:
        text = text[:VALUE_LIMIT] + "…"
    if _BARE.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in escaped) + '"'


class Sink:
    """Where lines go; one per process, replaced by `configure`, reopened on USR1."""

    def __init__(self) -> None:
        self.path: str | None = None
        self.descriptor = 2
        self.role = "echomox"
        self.default = INFO
        self.levels: dict[str, int] = {}
        self._torn = False

    def configure(self, path: str | None, role: str, levels: Mapping[str, str], default: str = "info") -> None:
        """path None: standard error. levels: package -> level name."""
        self.role = role
        self.set_levels(levels, default)
        if path != self.path:
            self.path = path
            self.reopen()

    def set_levels(self, levels: Mapping[str, str], default: str = "info") -> None:
        self.default = LEVELS[default]
        self.levels = {package: LEVELS[name] for package, name in levels.items()}

    def reopen(self) -> None:
        """Opens the file anew, after a rotation; keeps the old one when that fails."""
        if self.path is None:
            self.descriptor = 2
            return
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self.write(f"log file not opened: {error}\n")
            return
        previous, self.descriptor = self.descriptor, descriptor
        if previous > 2:
            os.close(previous)

    def write(self, line: str) -> None:
        data = line.encode("utf-8", "backslashreplace")
        if self._torn:  # the disk was full: what stands at the end may be half a line
            data = b"\n" + data
        try:
            self._torn = os.write(self.descriptor, data) < len(data)
        except OSError:
            self._torn = True  # a log that cannot be written must not stop the mail


SINK = Sink()


class Log:
    """A logger of one package with bound fields; `bind` gives one with more fields."""

    __slots__ = ("fields", "package", "sink")

    def __init__(self, package: str, fields: str = "", sink: Sink = SINK) -> None:
        self.package = package
        self.fields = fields
        self.sink = sink

    def bind(self, **fields: object) -> Log:
        return Log(self.package, self.fields + _format(fields), self.sink)

    def enabled(self, level: int) -> bool:
        return level >= self.sink.levels.get(self.package, self.sink.default)

    def _emit(self, level: int, event: str, fields: Mapping[str, object]) -> None:
        if not self.enabled(level):
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        head = f"{stamp} {NAMES[level]} {self.package}[{self.sink.role}/{os.getpid()}] event={quote(event)}"
        self.sink.write(f"{head}{self.fields}{_format(fields)}\n")

    def trace(self, event: str, **fields: object) -> None:
        self._emit(TRACE, event, fields)

    def debug(self, event: str, **fields: object) -> None:
        self._emit(DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._emit(INFO, event, fields)

    def warn(self, event: str, **fields: object) -> None:
        self._emit(WARN, event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._emit(ERROR, event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """An error with the traceback of the exception being handled."""
        kind, value, _ = sys.exc_info()
        trouble = f"{kind.__name__ if kind else None}: {value}"
        self._emit(ERROR, event, {**fields, "error": trouble, "traceback": traceback.format_exc(limit=-8)})


def _format(fields: Mapping[str, object]) -> str:
    return "".join(
        f" {name}={'***' if name in SECRET else quote(value)}" for name, value in fields.items() if value is not None
    )


def logger(package: str) -> Log:
    return Log(package)
