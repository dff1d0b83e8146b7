"""What the commands that look at other servers share: the configuration, a resolver, and steps as they are printed.

They ask DNS and other hosts themselves, as the server would, but keep nothing: policies go to a file that is thrown
away. Without a configuration the defaults hold, so that they also serve on a machine that has none yet.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from echomox.cli.console import CommandError, find, printable
from echomox.config.load import load_static
from echomox.config.paths import Paths
from echomox.config.schema import Static
from echomox.dns import Resolver, open_resolver
from echomox.errors import ConfigError
from echomox.log import Log, Sink
from echomox.message.address import normalise_domain
from echomox.outbound.remote import Means, Place, RemoteDelivery, policies_at
from echomox.outbound.security import Contexts
from echomox.tlspolicy.policies import Policies

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outside:
    """place: of the configuration. policies: empty at first."""

    place: Place
    resolver: Resolver
    policies: Policies
    contexts: Contexts
    log: Log

    @property
    def static(self) -> Static:
        return self.place.static

    def remote(self) -> RemoteDelivery:
        """Without a name of its own: to look at this very host is no loop here."""
        settings = dataclasses.replace(self.static.outbound, helo=self.helo)
        means = Means(settings, "", self.place.paths.config, self.resolver, self.policies, self.contexts)
        return RemoteDelivery(means, self.log, lambda _: None)

    @property
    def helo(self) -> str:
        return self.static.outbound.helo or self.static.hostname


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resolver", help='in place of dns.resolver: "system" or "HOST:PORT"')
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="for each step (default 30)")


def place_of(args: argparse.Namespace) -> Place:
    """The configuration that the command finds, the defaults without any."""
    try:
        paths = find(args)
    except ConfigError:
        if args.config:
            raise
        static = Static(hostname=normalise_domain(socket.getfqdn()) if "." in socket.getfqdn() else "localhost")
        return Place(_bounded(args, static), Paths.home(Path("/nonexistent")))
    return Place(_bounded(args, load_static(paths.static)), paths)


def _bounded(args: argparse.Namespace, static: Static) -> Static:
    """With the command's own resolver and times."""
    outbound, dns = static.outbound, static.dns
    limits = {
        item.name: min(getattr(outbound, item.name), args.timeout)
        for item in dataclasses.fields(outbound)
        if item.name.endswith("_timeout") and item.name != "attempt_timeout"
    }
    if args.resolver:
        dns = dataclasses.replace(dns, resolver=args.resolver)
    return dataclasses.replace(static, outbound=dataclasses.replace(outbound, **limits), dns=dns)


@contextlib.asynccontextmanager
async def outside(args: argparse.Namespace) -> AsyncIterator[Outside]:
    place = place_of(args)
    try:
        resolver = open_resolver(place.static.dns)
    except ValueError as error:
        raise CommandError(f"--resolver: {error}", 2) from None
    if place.static.dns.resolver == "none":
        print('echomox: dns.resolver is "none", so every name is unknown; --resolver system asks', file=sys.stderr)
    quiet = Sink()
    quiet.default = 100
    log = Log("cli", sink=quiet)
    ca_file = place.static.outbound.ca_file
    contexts = Contexts(place.paths.config / ca_file if ca_file else None)
    with tempfile.TemporaryDirectory(prefix="echomox-") as scratch:
        policies = policies_at(Path(scratch) / "index.db", place, resolver, log)
        try:
            yield Outside(place, resolver, policies, contexts, log)
        finally:
            await policies.close()
            await resolver.close()


def run(args: argparse.Namespace, body: Callable[[Outside], Coroutine[Any, Any, T]]) -> T:
    async def whole() -> T:
        async with outside(args) as found:
            return await body(found)

    return asyncio.run(whole())


def domain_name(text: str) -> str:
    """A domain as DNS has it. Raises CommandError."""
    try:
        name = normalise_domain(text)
    except ValueError as error:
        raise CommandError(f"{text}: {error}", 2) from None
    if not name:
        raise CommandError("give a domain", 2)
    return name


class Steps:
    """Lines printed as they come, and kept for --json."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.json = args.json
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)
        if not self.json:
            print(printable(line), flush=True)
