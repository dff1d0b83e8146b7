"""`echomox ruleset`: rules of an account for its mail. They are numbered from 1; the first that fits a mail holds."""

from __future__ import annotations

import argparse

from echomox.cli.console import CommandError, Commands, ask, show, table
from echomox.cli.settings import parse_settings
from echomox.config.schema import Ruleset

SETTINGS = "as message_from='@lists[.]example$' verified_domain=lists.example mailbox=Lists/dev"
HEADER = "NAME=VALUE: expressions for a header field's whole name and for its value; may be given again"


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    commands.add("list", run_list, "list the rules of an account").add_argument("account")
    add = commands.add("add", run_add, "add a rule")
    add.add_argument("account")
    add.add_argument("option", nargs="+", metavar="OPTION=VALUE", help=SETTINGS)
    add.add_argument("--header", action="append", default=[], metavar="NAME=VALUE", help=HEADER)
    add.add_argument("--at", type=int, metavar="NUMBER", help="before this rule; without, at the end")
    remove = commands.add("remove", run_remove, "remove a rule")
    remove.add_argument("account")
    remove.add_argument("number", type=int)
    test = commands.add("test", run_test, "which rule fits a message file; nothing is taken as proved but --verified")
    test.add_argument("account")
    test.add_argument("file")
    test.add_argument("--mail-from", default="", help="the envelope's sender")
    test.add_argument("--to", default="", help="the address it came to; without, the account's first")
    test.add_argument("--verified", nargs="+", default=[], metavar="DOMAIN", help="domains that SPF or DKIM prove")


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "ruleset.list", account=args.account)
    entries = [(item["number"], item["when"], item["then"], item["comment"]) for item in answer["rulesets"]]
    return show(args, answer, table(("number", "when", "then", "comment"), entries, "no rules"))


def run_add(args: argparse.Namespace) -> int:
    settings = parse_settings(Ruleset, args.option)
    headers = {}
    for text in args.header:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CommandError(f"--header {text}: give NAME=VALUE", 2)
        headers[name] = value
    if headers:
        settings["headers"] = headers
    answer = ask(args, "ruleset.add", account=args.account, settings=settings, at=args.at)
    return show(args, answer, [f"account {args.account}: rule {answer['number']} added"])


def run_remove(args: argparse.Namespace) -> int:
    answer = ask(args, "ruleset.remove", account=args.account, number=args.number)
    return show(args, answer, [f"account {args.account}: rule {answer['number']} removed"])


def run_test(args: argparse.Namespace) -> int:
    try:
        with open(args.file, "rb") as file:
            source = file.read(1 << 18)
    except OSError as error:
        raise CommandError(f"{args.file}: {error.strerror}", 1) from None
    answer = ask(
        args, "ruleset.test", account=args.account, header=source.decode("latin-1"), mail_from=args.mail_from,
        to=args.to, verified=args.verified,
    )  # fmt: skip
    number = answer["number"]
    return show(args, answer, [f"rule {number} fits: {answer['then']}" if number else "no rule fits"])
