"""`echomox address`: which addresses belong to which account."""

from __future__ import annotations

import argparse

from echomox.cli.console import Commands, ask, show, table


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    listing = commands.add("list", run_list, "list addresses")
    listing.add_argument("--account", help="of this account only")
    listing.add_argument("--domain", help="of this domain only")
    add = commands.add("add", run_add, "give an account one more address")
    add.add_argument("address", help="you@example.com, or @example.com for all else of the domain")
    add.add_argument("account")
    commands.add("remove", run_remove, "take an address away").add_argument("address")


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "address.list", account=args.account, domain=args.domain)
    entries = [(item["address"], item["account"]) for item in answer["addresses"]]
    return show(args, answer, table(("address", "account"), entries, "no addresses"))


def run_add(args: argparse.Namespace) -> int:
    answer = ask(args, "address.add", address=args.address, account=args.account)
    return show(args, answer, [f"{args.address} now reaches account {args.account}"])


def run_remove(args: argparse.Namespace) -> int:
    answer = ask(args, "address.remove", address=args.address)
    return show(args, answer, [f"{answer['address']} no longer reaches account {answer['account']}"])
