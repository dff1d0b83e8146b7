"""Whose rights: finding the workers' user, acting as that user for a moment, and giving rights up for good.

`static.user` names the user; empty means the owner of the data directory. A supervisor that is not root
stays who it is. What is given up: user and group ids (real, effective, saved), supplementary groups, all
capabilities, and by no_new_privs the power of set-user-ID programs; `drop` then tries to get them back and
fails the worker if it can.

`acting_as` is for the single-threaded supervisor: files in directories that the user owns are opened with
that user's rights, so that nothing planted there can turn root's hand.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echomox.errors import ConfigError
from echomox.supervisor.service import User

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522
LIBC = ctypes.CDLL(None, use_errno=True)  # opened before the fork, for all workers


class NotDropped(RuntimeError):
    """Rights that should be gone are still there; str() says which. The process must end."""


def find_user(name: str, data: Path) -> User:
    """The workers' user; raises ConfigError when it does not exist or cannot be become."""
    uid = os.geteuid()
    if name:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise ConfigError(f"echomox.toml: user: there is no user {name!r} on this system") from None
        if uid not in (0, entry.pw_uid):
            raise ConfigError(
                f"echomox.toml: user: only root can start workers as {name!r}; start as root or as {name!r}, "
                "or leave `user` empty"
            )
        return User(entry.pw_uid, entry.pw_gid, name)
    if uid != 0:
        return User(uid, os.getegid(), _name_of(uid))
    owner = data.stat()
    return User(owner.st_uid, owner.st_gid, _name_of(owner.st_uid))


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


@contextmanager
def acting_as(user: User) -> Iterator[None]:
    """Effective ids of `user` for file access within the `with`; nothing changes unless we are root."""
    if os.geteuid() != 0 or user.uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(user.gid)
    try:
        os.seteuid(user.uid)
        try:
            yield
        finally:
            os.seteuid(0)
    finally:
        os.setegid(group)


def drop(user: User) -> None:
    """Becomes `user` for good and verifies it. Raises NotDropped, or OSError."""
    if os.geteuid() == 0 and user.uid != 0:
        if user.name.startswith("#"):
            os.setgroups([])
        else:
            os.initgroups(user.name, user.gid)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    if user.uid != 0:
        _drop_capabilities()
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _verify(user)


def _verify(user: User) -> None:
    if os.getresuid() != (user.uid,) * 3:
        raise NotDropped(f"user ids are {os.getresuid()}, not {user.uid}")
    if user.uid == 0:
        return  # the data directory is root's: there is nobody else to become
    for regain in (os.setuid, os.setgid):
        try:
            regain(0)
        except PermissionError:
            continue
        if regain is os.setuid or user.gid != 0:
            raise NotDropped(f"{regain.__name__}(0) still works")
    status = Path("/proc/self/status").read_text()
    held = [line for line in status.splitlines() if line.startswith(("CapEff", "CapPrm", "CapInh", "CapAmb"))]
    if any(int(line.split()[1], 16) for line in held):
        raise NotDropped("capabilities are left: " + ", ".join(held))


def _drop_capabilities() -> None:
    """capset(2) with nothing in any set; glibc has no name for the structures."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    if LIBC.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def die_with_parent(parent: int, number: int) -> bool:
    """Signal `number` is sent to us when `parent` ends; False when it has ended already. To be called after
    `drop`:
    the kernel forgets it when ids change."""
    _prctl(PR_SET_PDEATHSIG, number)
    return os.getppid() == parent


def _prctl(option: int, argument: int) -> None:
    zero = ctypes.c_ulong(0)
    if LIBC.prctl(option, ctypes.c_ulong(argument), zero, zero, zero) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")
