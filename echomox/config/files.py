"""Files of the configuration as they are written: whole or not at all, durable, with tight modes.

A new content goes to a temporary file beside the old one, is synced, renamed over it, and the directory is
synced (the order that survives a power cut). Directories are 0700, files 0600, and belong to the service's
user.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from echomox.config.names import domain_key
from echomox.config.paths import Paths
from echomox.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Owner:
    """Numbers of a user; `of` takes a name, `current` is this process's."""

    uid: int
    gid: int

    @classmethod
    def of(cls, name: str) -> Owner:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise ConfigError(f'no user "{name}" on this machine; make it first: useradd -r -M {name}') from None
        return cls(entry.pw_uid, entry.pw_gid)

    @classmethod
    def current(cls) -> Owner:
        return cls(os.geteuid(), os.getegid())


def directories(paths: Paths) -> list[Path]:
    """All directories of a layout, parents first."""
    data = ("accounts", "spool", "queue", "queue/msg", "acme", "acme/keycerts", "reservoir")
    top = [paths.config, paths.data, *(paths.data / name for name in data), paths.tmp, paths.logs, paths.run]
    return [*top, paths.config / "tls", paths.config / "dkim"]


def make_directories(paths: Paths, owner: Owner) -> None:
    """Makes what is missing, 0700 and the owner's; parents above our own get the usual mode."""
    for directory in directories(paths):
        directory.parent.mkdir(parents=True, exist_ok=True)
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            pass
        os.chmod(directory, 0o700)
        give(directory, owner)


def give(path: Path, owner: Owner) -> None:
    """Makes a file or directory the owner's, where it is not yet."""
    state = os.stat(path)
    if (state.st_uid, state.st_gid) != (owner.uid, owner.gid):
        os.chown(path, owner.uid, owner.gid)


def write_atomic(path: Path, data: bytes, mode: int = 0o600, owner: Owner | None = None) -> None:
    """Replaces or makes a file. A file that exists keeps its owner and mode. Raises OSError; then the old
    one stands.
    """
    try:
        before = os.stat(path)
        mode, owner = before.st_mode & 0o7777, owner or Owner(before.st_uid, before.st_gid)
    except FileNotFoundError:
        pass
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            if owner and (owner.uid, owner.gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), owner.uid, owner.gid)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writers_lock(directory: Path) -> Iterator[None]:
    """One writer of a configuration directory at a time, over all processes; others wait. Falls with the
    process.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def become(owner: Owner) -> None:
    """A process of root takes the owner's rights for good; any other does nothing.

    The owner may not be able to read where Python stands, so what it would import later comes first.
    """
    if os.geteuid() != 0 or owner.uid == 0:
        return
    for codec in ("ascii", "latin-1", "idna"):
        codecs.lookup(codec)
    domain_key("\u00fc.example")  # brings idna's tables and the punycode codec
    try:
        name = pwd.getpwuid(owner.uid).pw_name
        os.initgroups(name, owner.gid)
    except KeyError:
        os.setgroups([])
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)


def owner_of(path: Path) -> Owner:
    """Raises ConfigError when it is not there."""
    try:
        state = os.stat(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; `echomox quickstart` makes it") from None
    return Owner(state.st_uid, state.st_gid)
