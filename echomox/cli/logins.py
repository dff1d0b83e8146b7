"""`echomox logins`: who tried to log in to an account, and how it went (30 days)."""

from __future__ import annotations

import argparse

from echomox.cli.console import Commands, ask, limited, show, table


def configure(parser: argparse.ArgumentParser) -> None:
    listing = Commands(parser).add("list", run_list, "list login attempts, newest first")
    listing.add_argument("account")
    listing.add_argument("--limit", type=int, default=100, help="at most so many (default %(default)s)")


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "logins.list", account=args.account, limit=args.limit)
    heads = ("time", "remote_ip", "protocol", "mechanism", "result", "address")
    found = answer["logins"]
    lines = table(heads, ([item[head] for head in heads] for item in found), "nobody tried in the last 30 days")
    return show(args, answer, [*lines, *limited(found, args.limit)])
