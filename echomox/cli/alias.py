"""`echomox alias`: addresses that stand for others, and small lists; members may be elsewhere."""

from __future__ import annotations

import argparse

from echomox.cli.console import Commands, ask, counted, pairs, show, table
from echomox.cli.settings import parse_settings
from echomox.config.schema import Alias

SETTINGS = "as post=members own_posts=false allow_send_as=true; `echomox config describe dynamic` tells of each"


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    commands.add("list", run_list, "list all aliases")
    commands.add("show", run_show, "show one alias").add_argument("address")
    add = commands.add("add", run_add, "add an alias")
    add.add_argument("address", help="team@example.com")
    add.add_argument("member", nargs="+", help="addresses here or elsewhere")
    add.add_argument("--set", nargs="+", default=[], metavar="OPTION=VALUE", help=SETTINGS)
    commands.add("remove", run_remove, "remove an alias").add_argument("address")
    change = commands.add("set", run_set, "change options of an alias")
    change.add_argument("address")
    change.add_argument("option", nargs="+", metavar="OPTION=VALUE", help=SETTINGS)
    members = commands.add("members", run_members, "show who gets its mail; add or remove members")
    members.add_argument("address")
    members.add_argument("--add", nargs="+", default=[], metavar="ADDRESS")
    members.add_argument("--remove", nargs="+", default=[], metavar="ADDRESS")


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "alias.list")
    heads = ("address", "members", "post", "description")
    entries = [(item["address"], len(item["members"]), item["post"], item["description"]) for item in answer["aliases"]]
    return show(args, answer, table(heads, entries, "no aliases"))


def run_show(args: argparse.Namespace) -> int:
    answer = ask(args, "alias.show", address=args.address)
    reached = [f"{item['address']} ({item['account'] or 'elsewhere'})" for item in answer["reached"]]
    return show(args, answer, pairs({**answer, "reached": reached}))


def run_add(args: argparse.Namespace) -> int:
    settings = parse_settings(Alias, args.set)
    answer = ask(args, "alias.add", address=args.address, members=args.member, settings=settings or None)
    return show(args, answer, [f"alias {answer['address']} added, {counted(answer['members'], 'member')}"])


def run_remove(args: argparse.Namespace) -> int:
    answer = ask(args, "alias.remove", address=args.address)
    return show(args, answer, [f"alias {answer['address']} removed"])


def run_set(args: argparse.Namespace) -> int:
    answer = ask(args, "alias.set", address=args.address, settings=parse_settings(Alias, args.option))
    return show(args, answer, pairs(answer))


def run_members(args: argparse.Namespace) -> int:
    answer = ask(args, "alias.members", address=args.address, add=args.add or None, remove=args.remove or None)
    entries = [(item["address"], item["account"] or "elsewhere") for item in answer["reached"]]
    return show(args, answer, table(("address", "account"), entries, "no members"))
