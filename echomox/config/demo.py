"""The throwaway configuration: loopback, high ports, self-signed certificate, accounts that share one
password.

It is what `make run`, the tests, the benches and other people's scripts start from. Port N+25 stands for 25
and so on. Logins without TLS are allowed from 127.0.0.0/8. The work factor of its password hashes is the
lowest there is (`auth.bcrypt_cost`), because its passwords are thrown away with it, and nobody is made to wait
(`limits.first_time_delay` and the like); nothing else is weaker than in a real server.
"""

from __future__ import annotations

import datetime
import json
import shutil
import socket
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from echomox.config.describe import dynamic_text, static_text
from echomox.config.files import Owner, make_directories, write_atomic
from echomox.config.keys import new_dkim_key, self_signed
from echomox.config.names import domain_key
from echomox.config.paths import Paths
from echomox.config.schema import (
    Account,
    Auth,
    Dkim,
    Dns,
    Domain,
    Dynamic,
    JunkFilter,
    Limits,
    Listeners,
    Route,
    Static,
    Tls,
    Transport,
)
from echomox.errors import ConfigError

PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993}
MARK = "demo.json"
"""This file in the configuration directory says that all of it may be thrown away; it has what was announced."""
BCRYPT_COST = 4


@dataclass(frozen=True, slots=True)
class Demo:
    """What was asked for. mode: of the accounts' junk filter. resolver: as dns.resolver. next_hop: "HOST:PORT" that all
    mail to others goes to; empty: to their own hosts."""

    directory: Path
    base_port: int
    domain: str = "example.test"
    accounts: int = 2
    mode: str = "bands"
    resolver: str = "none"
    no_limits: bool = False
    force: bool = False
    next_hop: str = ""

    @property
    def paths(self) -> Paths:
        return Paths.home(self.directory)

    @property
    def ports(self) -> dict[str, int]:
        return {name: self.base_port + port for name, port in PORTS.items()}

    def addresses(self) -> list[str]:
        return [f"u{number}@{self.domain}" for number in range(self.accounts)]


def write_demo(demo: Demo) -> Demo:
    """Writes directories, certificate and both files; returns `demo` with its domain normalised.

    Raises ConfigError when the arguments make no sense or when something stands there already that is not a
    demo, or that is one and `force` is not given.
    """
    try:
        demo = replace(demo, domain=domain_key(demo.domain))
    except ValueError as error:
        raise ConfigError(f"--domain {demo.domain}: {error}") from None
    if not 1 <= demo.base_port <= 65535 - max(PORTS.values()):
        raise ConfigError(f"--base-port {demo.base_port}: allowed are 1 to {65535 - max(PORTS.values())}")
    if not 1 <= demo.accounts <= 100_000:
        raise ConfigError(f"--accounts {demo.accounts}: allowed are 1 to 100000")
    if demo.next_hop:
        next_hop(demo.next_hop)
    _clear(demo)
    paths, owner = demo.paths, Owner.current()
    make_directories(paths, owner)
    write_atomic(paths.config / MARK, b"{}\n")
    names = [f"mail.{demo.domain}", "localhost", "127.0.0.1", "::1"]
    certificate, key = self_signed(names, datetime.datetime.now(datetime.UTC))
    write_atomic(paths.config / "tls/demo.crt", certificate)
    write_atomic(paths.config / "tls/demo.key", key)
    write_atomic(paths.config / "dkim/demo.pem", new_dkim_key("ed25519"))
    write_atomic(paths.static, static_text(_static(demo), full=False).encode())
    write_atomic(paths.dynamic, dynamic_text(_dynamic(demo)).encode())
    return demo


def announce(demo: Demo, password: str) -> dict[str, Any]:
    """Ports, accounts and the command that starts it; kept beside the configuration for `announced`."""
    facts = {
        "ports": demo.ports,
        "accounts": [{"address": address, "password": password} for address in demo.addresses()],
        "start": ["echomox-supervisor", "start", "--config", str(demo.paths.config)],
    }
    write_atomic(demo.paths.config / MARK, json.dumps(facts).encode() + b"\n")
    return facts


def announced(directory: Path) -> dict[str, Any] | None:
    """What was announced of the demo that stands there; None if none does."""
    try:
        facts = json.loads((Paths.home(directory).config / MARK).read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and "ports" in facts else None


def _clear(demo: Demo) -> None:
    """Takes an old demo away, if that was asked for."""
    paths = demo.paths
    if not paths.config.exists():
        return
    if not (paths.config / MARK).exists():
        raise ConfigError(f"{demo.directory}: has a configuration that is no demo; give another --dir")
    if not demo.force:
        raise ConfigError(f"{demo.directory}: has a demo already; start it, or replace it and its mail with --force")
    if _answers(paths):
        raise ConfigError(f"{demo.directory}: is running; `echomox-supervisor stop --config {paths.config}` first")
    for directory in (paths.config, paths.data, paths.tmp, paths.logs):
        shutil.rmtree(directory, ignore_errors=True)


def _answers(paths: Paths) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(2)
            peer.connect(str(paths.socket("control")))
        return True
    except OSError:
        return False


def _static(demo: Demo) -> Static:
    ports = demo.ports
    listeners = Listeners(**{item.name: (f"127.0.0.1:{ports[item.name]}",) for item in fields(Listeners)})
    unlimited = Limits(
        connections_per_ip=0,
        connection_rate_per_ip=0,
        logins_per_minute=0,
        logins_per_day=0,
        idle_per_ip=0,
        connections=1_000_000,
        messages_per_minute=0,
        messages_per_day=0,
        bytes_per_minute=0,
        bytes_per_day=0,
        first_time_delay=0.0,
        unknown_delay=0.0,
        login_delay=0.0,
        slow_answers=False,
    )
    # All of a demo's clients have one address, and nobody wants to wait in a trial.
    limited = Limits(first_time_delay=0.0, unknown_delay=0.0, login_delay=0.0, slow_answers=False)
    return Static(
        hostname=f"mail.{demo.domain}",
        postmaster="u0",
        listeners=listeners,
        tls=Tls("tls/demo.crt", "tls/demo.key"),
        limits=unlimited if demo.no_limits else limited,
        auth=Auth(plaintext_from=("127.0.0.0/8",), bcrypt_cost=BCRYPT_COST),
        dns=Dns(demo.resolver),
    )


def _dynamic(demo: Demo) -> Dynamic:
    junk_filter = JunkFilter(mode=demo.mode)
    usual = Account(addresses=(), junk_filter=junk_filter)
    if demo.no_limits:
        usual = replace(usual, max_outgoing_messages_per_day=0, max_first_time_recipients_per_day=0)
    accounts = {
        f"u{number}": replace(usual, addresses=(address,)) for number, address in enumerate(demo.addresses())
    }
    domain = Domain(description="A demo.", dkim=(Dkim("demo", "ed25519", "dkim/demo.pem"),))
    if not demo.next_hop:
        return Dynamic({demo.domain: domain}, accounts)
    host, port = next_hop(demo.next_hop)
    return Dynamic(
        {demo.domain: domain},
        accounts,
        transports={"next-hop": Transport("smtp", host, port)},
        routes=(Route(transport="next-hop"),),
    )


def next_hop(text: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT", IPv6 in brackets. Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"--next-hop {text}: give HOST:PORT")
    return host.strip("[]"), int(port)
