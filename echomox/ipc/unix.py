"""Unix sockets whose paths may be long.

The kernel takes at most 107 bytes of path (unix(7)); a run directory can be deeper. Then the name goes
through /proc/self/fd/<descriptor of the directory>/<name>, which is short however deep the directory
stands.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATH_LIMIT = 107


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name of this path that the kernel takes, good within the `with`."""
    if len(os.fsencode(path)) <= PATH_LIMIT:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def dial(path: Path) -> socket.socket:
    """A connected, non-blocking stream socket. Raises OSError: nobody listens, or the backlog is full."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        peer.setblocking(False)
        with short_name(path) as name:
            peer.connect(name)
    except BaseException:
        peer.close()
        raise
    return peer


def listen(path: Path, mode: int = 0o600, backlog: int = 512) -> socket.socket:
    """A listening socket at this path, replacing one that was left there; non-blocking."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        server.setblocking(False)
        path.unlink(missing_ok=True)
        with short_name(path) as name:
            server.bind(name)
        os.chmod(path, mode)
        server.listen(backlog)
    except BaseException:
        server.close()
        raise
    return server
