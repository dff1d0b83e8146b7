"""The way of a command to what it asks: control.sock of the running server, else the files themselves.

The socket is tried first, as whoever calls. Without a server a process of root becomes the data's owner
before it touches anything, so that no file of root's is left behind.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from echomox.config.files import become, owner_of
from echomox.config.paths import Paths
from echomox.errors import ConfigError
from echomox.ipc.unix import short_name
from workers.refused import Refused

if TYPE_CHECKING:
    from workers.site import Site

TIMEOUT = 60.0  # seconds for an answer
ANSWER = 256 * 1024 * 1024  # bytes


def perform(paths: Paths, op: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The answer to an operation, without "ok". Raises Refused, ConfigError, OSError."""
    peer = connect(paths)
    if peer is None:
        return directly(paths, op, fields)
    with peer:
        return _asked(peer, op, fields)


def connect(paths: Paths) -> socket.socket | None:
    """A connection to the running server; None when none runs. Raises Refused for one that is not ours to
    ask.
    """
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        peer.settimeout(TIMEOUT)
        with short_name(paths.socket("control")) as name:
            peer.connect(name)
        return peer
    except PermissionError:
        peer.close()
        raise Refused(f"{paths.socket('control')}: only root and the server's own user may ask; use sudo") from None
    except OSError:
        peer.close()
        return None


def _asked(peer: socket.socket, op: str, fields: dict[str, Any]) -> dict[str, Any]:
    try:
        peer.sendall(json.dumps({**fields, "op": op}).encode() + b"\n")
        with peer.makefile("rb") as lines:
            line = lines.readline(ANSWER)
        answer = json.loads(line)
    except TimeoutError:
        raise Refused(f"no answer within {TIMEOUT:.0f} s; `echomox-supervisor status` shows the server") from None
    except (OSError, ValueError):
        raise Refused("the server ended the connection; its log says why") from None
    if not isinstance(answer, dict) or not answer.pop("ok", False):
        raise Refused(str(answer.get("error", answer) if isinstance(answer, dict) else answer))
    return answer


def directly(paths: Paths, op: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The operation done by this process, as the owner of the data."""
    site = own_site(paths)
    try:
        from workers.operations import execute

        return execute(site, op, fields)
    finally:
        site.close()


def own_site(paths: Paths) -> Site:
    """The files, as the owner of the data; the caller closes it.

    All modules are imported before: the owner may not be able to read where they stand.
    """
    from echomox.config.load import load_static
    from echomox.sasl.derive import load_hash
    from workers.operations import Site

    with suppress(ConfigError, ImportError):  # whoever needs either says so
        load_hash(load_static(paths.static).auth.password_hash)
    become(owner_of(paths.data))
    return Site(paths)
