"""`echomox sessions`: who is logged in now, over IMAP and for submission, in all workers of the running server."""

from __future__ import annotations

import argparse

from echomox.cli.console import Commands, ask, show, table

HEADS = ("id", "account", "login", "protocol", "mechanism", "remote_ip", "tls", "since", "idle", "worker")


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    listing = commands.add("list", run_list, "list sessions that are logged in, newest first")
    listing.add_argument("account", nargs="?", help="of this account only")
    end = commands.add("end", run_end, "end a session; its client may log in again")
    end.add_argument("id", help="as the list has it; log lines have it as cid")


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "sessions.list", account=args.account)
    lines = table(HEADS, ([entry[head] for head in HEADS] for entry in answer["sessions"]), "nobody is logged in")
    late = [f"did not answer in time: {name}" for name in answer["silent"]]
    return show(args, answer, [*lines, *late])


def run_end(args: argparse.Namespace) -> int:
    answer = ask(args, "sessions.end", id=args.id)
    return show(args, answer, [f"session {answer['id']} has ended"])
