"""A literal too large for memory on its way to a file of the worker's spool (APPEND, RFC 9051 6.3.12).

The octets of a non-synchronising literal cannot be refused: when the disk is full they are read over, and the
command gets its NO at the end. The file is in place when the committer is called and gone when the command is
over."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from echomox.store.owners import alive


class Upload:
    """One streamed literal. index: its number in the command. error: why it could not be kept, None if it
    is."""

    __slots__ = ("_descriptor", "error", "index", "path", "size")

    def __init__(self, path: Path, index: int, descriptor: int, error: OSError | None = None) -> None:
        self.path = path
        self.index = index
        self.size = 0
        self.error = error
        self._descriptor = descriptor

    @staticmethod
    def clear(directory: Path) -> None:
        """Makes the directory, and removes what processes that are gone left in it."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in os.listdir(directory):
            kind, _, rest = name.partition("-")
            pid = rest.partition("-")[0]
            if kind == "append" and pid.isdigit() and not alive(int(pid)):
                (directory / name).unlink(missing_ok=True)

    @classmethod
    def start(cls, directory: Path, index: int) -> Upload:
        """directory: the worker's own, paths.spool/<worker>."""
        path = directory / f"append-{os.getpid()}-{secrets.token_hex(12)}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            return cls(path, index, os.open(path, flags, 0o600))
        except OSError as error:
            return cls(path, index, -1, error)

    def write(self, data: bytes) -> None:
        if self.error is not None:
            return
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
            self.size += len(data)
        except OSError as error:
            self.error = error
            self.discard()

    def end(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def discard(self) -> None:
        """Closes and unlinks; nothing when that was done."""
        self.end()
        with suppress(FileNotFoundError):
            self.path.unlink()

    @property
    def id(self) -> str:
        """The spool id: "<worker>/<name>"."""
        return f"{self.path.parent.name}/{self.path.name}"
