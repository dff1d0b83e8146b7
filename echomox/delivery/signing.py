"""DKIM for mail that the server itself writes: delivery status notifications and reports.

It is signed by the domain of the host's name, or else by the nearest domain above it that is ours and has a key; both
align with mailer-daemon@hostname (RFC 7489 3.1.1). Trouble with a key costs the signature, not the report.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from echomox.config.snapshot import Snapshot
from echomox.log import Log
from echomox.mailauth.dkim import sign
from echomox.mailauth.dkimkeys import KeyRing
from echomox.mailauth.rsa import BadKey


class HostSigner:
    """For a process, any thread of it. snapshot: gives the configuration of the moment."""

    def __init__(self, hostname: str, snapshot: Callable[[], Snapshot], log: Log) -> None:
        self._hostname = hostname
        self._snapshot = snapshot
        self._log = log
        self._keys = KeyRing()
        self._lock = threading.Lock()

    def __call__(self, source: bytes, now: float) -> bytes:
        """The DKIM-Signature fields of a message, with their line ends; b"" when there is no key."""
        snapshot = self._snapshot()
        name = self._hostname.lower()
        while "." in name:
            domain = snapshot.domain(name)
            if domain is not None and any(row.sign for row in domain.dkim):
                try:
                    with self._lock:
                        keys = self._keys.keys(name, domain.dkim)
                    return sign(source, keys, now)
                except (OSError, BadKey, ValueError) as error:
                    self._log.error("report not signed, the DKIM key cannot be used", domain=name, error=error)
                    return b""
            name = name.partition(".")[2]
        return b""
