"""`echomox imapserve`: IMAP for one account on standard input and output, without a login."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from echomox.cli.console import CommandError
from echomox.errors import ConfigError

if TYPE_CHECKING:
    from echomox.config.paths import Paths
    from workers.site import Site


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("account")
    parser.description = (
        "IMAP for one account on standard input and output, for programs that start it themselves, as over ssh. "
        "Whoever may read the data may use it; the server may run or not."
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from echomox.cli.control import own_site
    from echomox.config.load import find_config
    from workers.pipe import serve_account
    from workers.refused import Refused

    paths: Paths = find_config(args.config)
    site: Site = own_site(paths)
    try:
        site.account(args.account)
        site.store(args.account)
    except Refused as error:
        raise CommandError(str(error)) from None
    finally:
        site.close()
    if os.isatty(0):
        print("type IMAP commands, as: a SELECT INBOX; a LOGOUT ends it", file=sys.stderr)
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve_account(paths, args.account))
    except ValueError:
        raise CommandError("standard input and output have to be pipes, sockets or a terminal") from None
    except ConfigError as error:
        raise CommandError(str(error)) from None
    return 0
