"""Spool ids: "<worker>/<name>", the only way in which a message names a file of another process.

The receiver resolves an id itself, to paths.spool/<worker>/<name> and nowhere else: both halves are of
letters, digits, dot and hyphen and do not begin with a dot, and a symbolic link is not followed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_ID = re.compile(r"([A-Za-z0-9-][A-Za-z0-9.-]{0,99})/([A-Za-z0-9-][A-Za-z0-9.-]{0,199})", re.ASCII)


class BadId(ValueError):
    """A name that is no spool id."""


def resolve(spool: Path, name: str) -> Path:
    """The file of a spool id below `spool`; raises BadId for anything that is not an id."""
    return Path(_file(spool, name))


def _file(spool: Path, name: str) -> str:
    if not _ID.fullmatch(name):
        raise BadId("not a spool id")
    return f"{spool}/{name}"


def read(spool: Path, name: str, limit: int) -> bytes:
    """At most `limit` first bytes of a spooled message. Raises BadId, OSError when it is
    gone.
    """
    descriptor = os.open(_file(spool, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:  # a file object costs as much again
        return os.read(descriptor, min(os.fstat(descriptor).st_size, limit))
    finally:
        os.close(descriptor)
