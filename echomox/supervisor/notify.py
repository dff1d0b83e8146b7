"""What systemd is told, and what it hands over: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3).
Without systemd nothing
happens."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START


class Notifier:
    """Takes the variables out of the environment, so that no child believes they are meant for it."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        pid = environment.pop("WATCHDOG_PID", "")
        usec = environment.pop("WATCHDOG_USEC", "")
        ours = not pid or pid == str(os.getpid())
        self.watchdog = int(usec) / 2_000_000 if ours and usec.isdigit() and int(usec) else None
        """Seconds between two signs of life: half of what is allowed; None: nobody watches."""

    def send(self, *lines: str) -> None:
        """One datagram, as "READY=1"; lost when nobody reads it."""
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass  # systemd's absence is no trouble of ours


def inherited_sockets(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Listening stream sockets that systemd opened for us (LISTEN_FDS, LISTEN_PID); the variables are
    removed.
    """
    pid = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if not count.isdigit() or pid not in ("", str(os.getpid())):
        return []
    found = []
    for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)):
        os.set_inheritable(descriptor, False)
        found.append(socket.socket(fileno=descriptor))
    return found
