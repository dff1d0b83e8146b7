"""`echomox mailbox`: the mailboxes of an account with their counts."""

from __future__ import annotations

import argparse

from echomox.cli.console import Commands, ask, pairs, rows, show

_HEADS = ("Name", "ID", "Total", "Unread", "Unseen", "Deleted", "Size", "UIDNext", "SpecialUse")


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    commands.add("list", run_list, "list the mailboxes of an account").add_argument("account")
    one = commands.add("show", run_show, "show one mailbox")
    one.add_argument("account")
    one.add_argument("mailbox", nargs="?", default="INBOX", help="default %(default)s")


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "mailbox.list", account=args.account)
    return show(args, answer, rows(_HEADS, ([item[head] for head in _HEADS] for item in answer["mailboxes"])))


def run_show(args: argparse.Namespace) -> int:
    answer = ask(args, "mailbox.show", account=args.account, mailbox=args.mailbox)
    return show(args, answer, pairs(answer))
