"""The bytes of one message while it comes in: in memory up to 64 KiB, in a file of the worker's spool beyond.

Files are `data/spool/<worker>/<pid>-<number>`; the id that other processes are told is
"<worker>/<pid>-<number>". No more is kept than `limit` bytes, however much comes. Trouble with the disk
does not raise here: the client has to be read to the end of its message first, then `trouble` is answered.
"""

from __future__ import annotations

import os
from pathlib import Path

from echomox.errors import Reply
from echomox.store.owners import alive

IN_MEMORY = 64 * 1024
TOO_BIG = Reply(552, "5.3.4", "The message is larger than this server takes")
NO_SPACE = Reply(452, "4.3.1", "Insufficient system storage, try again later")


class Spool:
    """Makes the files of one worker. directory: paths.spool / worker."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._number = 0

    def prepare(self) -> None:
        """Makes the directory, and removes what processes that are gone left half received."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for entry in self.directory.iterdir():
            pid, _, number = entry.name.partition("-")
            if pid.isdigit() and number.isdigit() and not alive(int(pid)):
                entry.unlink(missing_ok=True)

    def create(self) -> tuple[str, int]:
        """(name, open descriptor) of a new file; raises OSError."""
        self._number += 1
        name = f"{os.getpid()}-{self._number}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return name, os.open(self.directory / name, flags, 0o600)


class Body:
    """One message. size: bytes received so far, counted beyond the limit too."""

    __slots__ = ("_chunks", "_descriptor", "_limit", "_name", "_spool", "size", "trouble")

    def __init__(self, spool: Spool, limit: int) -> None:
        self._spool = spool
        self._limit = limit
        self._chunks: list[bytes] = []
        self._descriptor = -1
        self._name = ""
        self.size = 0
        self.trouble: Reply | None = None

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.trouble is not None or not data:
            return
        if self.size > self._limit:
            self.refuse(TOO_BIG)
            return
        if self._descriptor < 0 and self.size <= IN_MEMORY:
            self._chunks.append(data)
            return
        try:
            self._write_file(data)
        except OSError:
            self.refuse(NO_SPACE)

    def _write_file(self, data: bytes) -> None:
        if self._descriptor < 0:
            self._name, self._descriptor = self._spool.create()
            data = self._joined() + data
            self._chunks = []
        _write_all(self._descriptor, data)

    def refuse(self, reply: Reply) -> None:
        """The message will not be accepted: what was kept is dropped, what follows is only counted."""
        self.trouble = reply
        self.discard()

    @property
    def source(self) -> bytes | None:
        """The whole message if it is in memory."""
        return self._joined() if self._descriptor < 0 else None

    def _joined(self) -> bytes:
        if len(self._chunks) != 1:
            self._chunks = [b"".join(self._chunks)]
        return self._chunks[0]

    @property
    def spool_id(self) -> str:
        """As "<worker>/<name>" of the file; "" if the message is in memory."""
        return f"{self._spool.directory.name}/{self._name}" if self._descriptor >= 0 else ""

    def read(self, length: int | None = None) -> bytes:
        """The first `length` bytes, or all; raises OSError."""
        if self._descriptor < 0:
            whole = self._joined()
            return whole if length is None else whole[:length]
        wanted = self.size if length is None else min(length, self.size)
        parts = []
        offset = 0
        while offset < wanted:
            part = os.pread(self._descriptor, wanted - offset, offset)
            if not part:
                raise OSError("spool file is shorter than what was written")
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def file(self) -> str:
        """The path of the file; "" if the message is in memory."""
        return str(self._spool.directory / self._name) if self._descriptor >= 0 else ""

    def replace_start(self, length: int, start: bytes) -> None:
        """Puts `start` in the place of the first `length` bytes. A file is written anew, which takes its time; raises
        OSError, and then the body is as it was."""
        if self._descriptor < 0:
            whole = self._joined()
            self._chunks = [start + whole[length:]]
        else:
            name, descriptor = self._spool.create()
            try:
                _write_all(descriptor, start)
                place = length
                while place < self.size:
                    place += os.sendfile(descriptor, self._descriptor, place, self.size - place) or _shorter()
            except OSError:
                os.close(descriptor)
                (self._spool.directory / name).unlink(missing_ok=True)
                raise
            old = self._spool.directory / self._name
            os.close(self._descriptor)
            old.unlink(missing_ok=True)
            self._name, self._descriptor = name, descriptor
        self.size += len(start) - length

    def discard(self) -> None:
        """Frees memory and file; a store that took the message has a link or copy of its own."""
        self._chunks = []
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            (self._spool.directory / self._name).unlink(missing_ok=True)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _shorter() -> int:
    raise OSError("spool file is shorter than what was written")
