"""The calls on which durability stands, all in one place: create, write, reserve, link, rename, unlink, mkdir, sync.

Every call first tells the hook its name and path, so that a test can fail it (raise OSError) or end the process there.
SQLite makes its own calls; around its COMMIT the store calls `step`, which does nothing but tell the hook.

What Linux promises and we use: a file's data is on disk after fsync or fdatasync of it; a name is on disk after
fsync of its directory; everything written before it is on disk after syncfs of the filesystem (the kernel's syncfs
waits, since 2.6.39).
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress

Hook = Callable[[str, str], None]
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
NO_HARD_LINK = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP})


def _nothing(call: str, path: str) -> None:
    """The hook outside of tests."""


class Disk:
    """hook(call, path): called before each call; it may raise OSError."""

    def __init__(self, hook: Hook = _nothing) -> None:
        self.step = hook
        library = ctypes.CDLL(None, use_errno=True)
        self._syncfs = getattr(library, "syncfs", None)

    def create(self, path: str, data: bytes) -> None:
        """A new file with `data`. What stands there already is unlinked first, never written to: it may be the
        leftover of a transaction that did not commit, and share its inode with somebody's message."""
        self.step("create", path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, FILE_MODE)
        except FileExistsError:
            os.unlink(path)
            descriptor = os.open(path, flags, FILE_MODE)
        try:
            self.write(descriptor, data, path)
        finally:
            os.close(descriptor)

    def write(self, descriptor: int, data: bytes, path: str) -> None:
        """All of `data` at the descriptor's position."""
        self.step("write", path)
        done = os.write(descriptor, data)
        view = memoryview(data)
        while done < len(data):
            done += os.write(descriptor, view[done:])

    def reserve(self, descriptor: int, place: tuple[int, int], path: str) -> None:
        """Zeros, really written, at place (offset, count); the descriptor's position stays."""
        self.step("reserve", path)
        offset, count = place
        while count > 0:
            done = os.pwrite(descriptor, bytes(count), offset)
            offset, count = offset + done, count - done

    def open_new(self, path: str) -> int:
        """A new, empty file to write to; fails when there is one."""
        self.step("create", path)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)

    def truncate(self, descriptor: int, size: int, path: str) -> None:
        self.step("truncate", path)
        os.ftruncate(descriptor, size)
        os.lseek(descriptor, size, os.SEEK_SET)

    def link(self, source: str, target: str) -> None:
        """A second name for a file; replaces a leftover of that name; copies where the filesystem cannot link."""
        self.step("link", target)
        try:
            os.link(source, target)
        except FileExistsError:
            os.unlink(target)
            os.link(source, target)
        except OSError as error:
            if error.errno not in NO_HARD_LINK:
                raise
            with open(source, "rb") as file:
                self.create(target, file.read())

    def replace(self, path: str, data: bytes) -> None:
        """The file, durably and in one step with new content."""
        temporary = f"{path}.new"
        self.create(temporary, data)
        self.sync_file(temporary)
        self.rename(temporary, path)
        self.sync_directory(os.path.dirname(path))

    def rename(self, source: str, target: str) -> None:
        self.step("rename", target)
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """Removes a name; does nothing when there is none."""
        self.step("unlink", path)
        with suppress(FileNotFoundError):
            os.unlink(path)

    def make_directory(self, path: str) -> None:
        """With those above it; does nothing when it is there."""
        if not path or os.path.isdir(path):
            return
        self.make_directory(os.path.dirname(path))
        self.step("mkdir", path)
        with suppress(FileExistsError):
            os.mkdir(path, DIRECTORY_MODE)

    def remove_tree(self, path: str) -> None:
        self.step("rmtree", path)
        shutil.rmtree(path)

    def datasync(self, descriptor: int, path: str) -> None:
        self.step("fdatasync", path)
        os.fdatasync(descriptor)

    def sync_file(self, path: str) -> None:
        self._sync(path, os.O_RDONLY)

    def sync_directory(self, path: str) -> None:
        self._sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def _sync(self, path: str, flags: int) -> None:
        self.step("fsync", path)
        descriptor = os.open(path, flags | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_filesystem(self, path: str) -> None:
        """Everything written so far in the filesystem of the directory `path`; raises OSError when a write was lost."""
        self.step("syncfs", path)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if self._syncfs is None:
                os.sync()
            elif self._syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), path)
        finally:
            os.close(descriptor)
