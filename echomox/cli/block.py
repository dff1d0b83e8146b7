"""`echomox block`: addresses and nets that are refused as soon as they connect, until the entry ends by itself."""

from __future__ import annotations

import argparse

from echomox.cli.console import Commands, ask, show, table

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
HEADS = ("address", "since", "until", "count", "why")


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    commands.add("list", run_list, "list what is blocked, what ends first at the top")
    add = commands.add("add", run_add, "block an address or net at submission and IMAP")
    add.add_argument("address", help="as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/64")
    add.add_argument("--for", dest="seconds", type=duration, default=UNITS["d"], metavar="TIME", help=FOR)
    add.add_argument("--why", metavar="TEXT", help="for people who look at the list")
    remove = commands.add("remove", run_remove, "let an address or net in again, its failed logins forgotten")
    remove.add_argument("address", help="as the list has it")


FOR = "how long: a number and s, m, h, d or w, as 90m (default 1d)"


def duration(text: str) -> int:
    """Seconds; raises ArgumentTypeError."""
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not number.isascii() or not number.isdigit() or len(number) > 9:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number and s, m, h, d or w, as 90m")
    return int(number) * UNITS[unit]


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "block.list")
    entries = ([entry[head] for head in HEADS] for entry in answer["blocks"])
    return show(args, answer, table(HEADS, entries, "nothing is blocked"))


def run_add(args: argparse.Namespace) -> int:
    answer = ask(args, "block.add", net=args.address, seconds=args.seconds, why=args.why)
    return show(args, answer, [f"{answer['address']} is blocked until {answer['until']}"])


def run_remove(args: argparse.Namespace) -> int:
    answer = ask(args, "block.remove", net=args.address)
    return show(args, answer, [f"{answer['address']} may connect again"])
