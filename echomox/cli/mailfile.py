"""A message file as the commands of `dkim` and `arc` read it, and a resolver to ask about it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from echomox.cli.console import CommandError, find
from echomox.errors import ConfigError

if TYPE_CHECKING:
    from echomox.config.schema import Dns
    from echomox.dns.types import Resolver
    from echomox.mailauth.mailtext import MailText

T = TypeVar("T")
HEADER = 1 << 20  # bytes
STDIN = 256 << 20


def read_mail(name: str) -> MailText:
    """A file, read in pieces however large it is, or "-" for standard input. Raises OSError, CommandError."""
    from functools import partial

    from echomox.mailauth.mailtext import PIECE, MailText, mail_text
    from echomox.message.header import end_of_header

    if name == "-":
        data = sys.stdin.buffer.read(STDIN + 1)
        if len(data) > STDIN:
            raise CommandError("what comes on standard input is too large; give a file")
        return mail_text(data)
    path = Path(name)
    if not path.is_file():
        raise CommandError(f"{name}: no such file")
    with path.open("rb") as file:
        start = file.read(HEADER)
    end = end_of_header(start)
    if end == HEADER:
        raise CommandError(f"{name}: the header is larger than 1 MB")
    return MailText(start[:end], partial(_pieces, path, end, PIECE), path.stat().st_size - end)


def _pieces(path: Path, start: int, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while piece := file.read(size):
            yield piece


def with_resolver(args: argparse.Namespace, ask: Callable[[Resolver], Coroutine[Any, Any, T]]) -> T:
    """Runs `ask` with the resolver of --resolver, of the configuration, or of this host."""
    from echomox.dns import open_resolver

    async def run() -> T:
        resolver = open_resolver(settings)
        try:
            return await ask(resolver)
        finally:
            await resolver.close()

    settings = _settings(args)
    try:
        return asyncio.run(run())
    except ValueError as error:
        raise CommandError(f"--resolver: {error}") from None


def _settings(args: argparse.Namespace) -> Dns:
    from dataclasses import replace

    from echomox.config.load import load_static
    from echomox.config.schema import Dns

    try:
        found = load_static(find(args).static).dns
    except ConfigError:
        if args.config or os.environ.get("ECHOMOX_CONFIG"):
            raise
        found = Dns()
    return replace(found, resolver=args.resolver) if args.resolver else found


def resolver_option(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--resolver", metavar="HOST:PORT", default="", help='ask this resolver; or "system"')
    return parser
