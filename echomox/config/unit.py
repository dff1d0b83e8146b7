"""The systemd unit of a configuration: text only, for `/etc/systemd/system`.

The supervisor begins as the server's own user with the one right to listen below port 1024, so that nothing of the
server is ever root's; what it may write is what its paths name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from echomox.config.paths import Paths

NAME = "echomox.service"
FILES = 1_048_576
"""LimitNOFILE: a connection is one; the largest that Linux gives without a changed fs.nr_open."""


def unit_text(paths: Paths, user: str, supervisor: Path, stop_time: float) -> str:
    """supervisor: the program `echomox-supervisor`. stop_time: seconds, as `workers.stop_time`."""
    written = [paths.config, paths.data, paths.tmp, paths.logs]
    places = (supervisor, paths.config, paths.data, paths.logs)
    runtime = ["RuntimeDirectory=echomox", "RuntimeDirectoryMode=0700"] if paths.run == Path("/run/echomox") else []
    if not runtime and not paths.run.is_relative_to(paths.data):
        written.append(paths.run)
    command, config = _word(supervisor), _word(paths.config)
    return "\n".join(
        [
            "# Copy this to /etc/systemd/system/echomox.service, then: systemctl enable --now echomox",
            "[Unit]",
            "Description=EchoMox mail server",
            "After=network-online.target nss-lookup.target",
            "Wants=network-online.target",
            "",
            "[Service]",
            "Type=notify",
            f"User={user}",
            f"ExecStart={command} start --config {config}",
            f"ExecReload={command} reload --config {config}",
            "Restart=on-failure",
            "RestartSec=5",
            "KillMode=mixed",
            f"TimeoutStopSec={stop_time + 20:.0f}",
            f"LimitNOFILE={FILES}",
            *runtime,
            "",
            "# What it may do",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
            "NoNewPrivileges=yes",
            "UMask=0077",
            "ProtectSystem=strict",
            f"ReadWritePaths={' '.join(map(_word, written))}",
            f"ProtectHome={_unless_below(places, '/home', '/root')}",
            f"PrivateTmp={_unless_below(places, '/tmp', '/var/tmp')}",  # noqa: S108 - nothing is made there
            "PrivateDevices=yes",
            "ProtectClock=yes",
            "ProtectControlGroups=yes",
            "ProtectHostname=yes",
            "ProtectKernelLogs=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelTunables=yes",
            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
            "RestrictNamespaces=yes",
            "RestrictRealtime=yes",
            "RestrictSUIDSGID=yes",
            "LockPersonality=yes",
            "SystemCallArchitectures=native",
            "SystemCallFilter=@system-service",
            "SystemCallErrorNumber=EPERM",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def _word(path: Path) -> str:
    """A path as systemd.syntax(7) and systemd.unit(5) read it as one word, itself."""
    text = str(path).replace("%", "%%")
    if not re.search(r"[\s\"'\\]", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unless_below(places: Sequence[Path], *roots: str) -> str:
    """ "no" where something of the server stands in what systemd would hide."""
    return "no" if any(place.is_relative_to(root) for place in places for root in roots) else "yes"
