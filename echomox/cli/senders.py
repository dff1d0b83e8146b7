"""`echomox senders`: senders whose mail is never junk, or always, for an account, a domain or the whole server."""

from __future__ import annotations

import argparse

from echomox.cli.console import Commands, ask, show, table

SENDER = "friend@example.org, or @example.org for all of a domain and those below it"


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    _whose(commands.add("list", run_list, "list the entries: of one place, or without one of all"))
    for kind, text in (("allow", "never junk, unless DMARC fails"), ("block", "always junk")):
        command = commands.add(kind, run_add, f"mail of a sender is {text}")
        command.add_argument("sender", help=SENDER)
        command.set_defaults(list=kind)
        _whose(command)
    remove = commands.add("remove", run_remove, "take a sender off")
    remove.add_argument("sender", help=SENDER)
    remove.add_argument("--list", choices=("allow", "block"), help="from this list only")
    _whose(remove)
    test = commands.add("test", run_test, "tell which list decides of a sender")
    test.add_argument("account")
    test.add_argument("sender", help="an address")


def _whose(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--account", help="the lists of this account")
    group.add_argument("--domain", help="of the accounts whose first address is at this domain")
    group.add_argument("--server", action="store_true", help="of all accounts; so it is without any of the three")


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "senders.list", account=args.account, domain=args.domain)
    if args.server:
        answer["lists"] = [item for item in answer["lists"] if item["of"] == "the server"]
    heads = ("of", "list", "sender")
    entries = [[item[head] for head in heads] for item in answer["lists"]]
    return show(args, answer, table(heads, entries, "no entries"))


def run_add(args: argparse.Namespace) -> int:
    answer = ask(args, "senders.add", account=args.account, domain=args.domain, list=args.list, sender=args.sender)
    return show(args, answer, [f"{answer['of']}: {answer['sender']} is on the {answer['list']} list"])


def run_remove(args: argparse.Namespace) -> int:
    answer = ask(args, "senders.remove", account=args.account, domain=args.domain, list=args.list, sender=args.sender)
    lists = " and ".join(answer["lists"])
    return show(args, answer, [f"{answer['of']}: {answer['sender']} is off the {lists} list"])


def run_test(args: argparse.Namespace) -> int:
    """Exit code 1: no list has the sender."""
    answer = ask(args, "senders.test", account=args.account, sender=args.sender)
    said = f"on the {answer['list']} list of {answer['of']}" if answer["list"] else "on no list: the filter judges"
    show(args, answer, [f"{answer['sender']}: {said}"])
    return 0 if answer["list"] else 1
