"""`echomox queue`: what waits to leave, what became of it, and everything that may be done with it.

Which messages: ids, or a filter by --account, --from, --to …; a change without either wants --all.
"""

from __future__ import annotations

import argparse
import base64
import re
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from echomox.cli.block import UNITS
from echomox.cli.console import CommandError, Commands, ask, counted, limited, pairs, show, table

PIECE = 512 * 1024
LIST = ("ID", "Queued", "Sender", "RcptTo", "Size", "Attempts", "NextAttempt", "Status", "LastError")
RETIRED = ("ID", "Queued", "Retired", "Sender", "RcptTo", "Attempts", "Status")
RULES = ("ID", "Account", "SenderDomain", "RecipientDomain", "Created")
SUPPRESSED = ("Account", "Address", "Manual", "Active", "Reason", "Created")
RESULTS = ("when", "kind", "code", "enhanced", "text", "remote_mta", "remote_ip", "tls", "policy")
_STEP = re.compile(r"([+-]?)(\d{1,9})([smhdw])")


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    listing = commands.add("list", run_list, "list what waits, the oldest first")
    _take_filter(listing)
    listing.add_argument("--limit", type=int, default=1000, help="at most so many (default %(default)s)")
    commands.add("count", run_count, "how many messages wait, by state")
    one = commands.add("print", run_print, "show all that is known of a message, its tries included")
    one.add_argument("id", type=int)
    dump = commands.add("dump", run_dump, "print a message as it will be sent")
    dump.add_argument("id", type=int)
    _changes(commands)
    _retired(commands)
    _rules(commands)
    _suppression(commands)


def _changes(commands: Commands) -> None:
    _take_change(commands.add("hold", run_change, "keep messages back until `unhold`"))
    _take_change(commands.add("unhold", run_change, "let held messages go"))
    schedule = commands.add("schedule", run_schedule, "set the time of the next try")
    schedule.add_argument("when", help="now, +90m (later than planned), -90m (earlier), 2026-11-30T08:00")
    _take_change(schedule)
    transport = commands.add("transport", run_transport, "send messages by a transport, or by the routes again")
    transport.add_argument("name", help='its name, "" for the routes')
    _take_change(transport)
    tls = commands.add("requiretls", run_requiretls, "require verified TLS, switch it off, or leave it to policy")
    tls.add_argument("value", choices=("yes", "no", "default"))
    _take_change(tls)
    fail = commands.add("fail", run_fail, "give messages up, with a report to their senders")
    fail.add_argument("--reason", help="what the senders are told")
    _take_change(fail)
    _take_change(commands.add("drop", run_change, "remove messages without a word"))


def _take_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", type=int, nargs="*", metavar="ID")
    parser.add_argument("--account", help='of this account; "" for mail of the server itself')
    parser.add_argument("--from", dest="sender", metavar="TEXT", help="in the sender's address")
    parser.add_argument("--from-domain", dest="sender_domain", metavar="DOMAIN")
    parser.add_argument("--to", dest="recipient", metavar="TEXT", help="in the recipient's address")
    parser.add_argument("--to-domain", dest="recipient_domain", metavar="DOMAIN")
    parser.add_argument("--subject", metavar="TEXT")
    parser.add_argument("--state", choices=("queued", "leased", "held"))
    parser.add_argument("--by", dest="transport", metavar="TRANSPORT", help="set by hand, or when it was submitted")
    parser.add_argument("--kind", choices=("submission", "dsn", "report", "forward"))
    parser.add_argument("--older", type=_seconds, metavar="TIME", help="waiting for longer, as 90m")


def _take_change(parser: argparse.ArgumentParser) -> None:
    _take_filter(parser)
    parser.add_argument("--all", action="store_true", default=None, help="all messages")
    parser.set_defaults(verb=parser.prog.rpartition(" ")[2])


def _seconds(text: str) -> float:
    found = _STEP.fullmatch(text)
    if found is None or found[1]:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number and s, m, h, d or w, as 90m")
    return float(found[2]) * UNITS[found[3]]


_BY_NAME = (
    "account", "sender", "sender_domain", "recipient", "recipient_domain", "subject", "state", "transport", "kind",
)  # fmt: skip


def _filter(args: argparse.Namespace) -> dict[str, Any]:
    return {
        **{name: getattr(args, name) for name in _BY_NAME},
        "ids": args.ids or None,
        "before": time.time() - args.older if args.older is not None else None,
        "all": getattr(args, "all", None),
    }


def when_of(text: str) -> dict[str, float]:
    """The fields of queue.schedule; raises ArgumentTypeError."""
    if text == "now":
        return {"at": 0.0}
    found = _STEP.fullmatch(text)
    if found is not None and found[1]:
        seconds = float(found[2]) * UNITS[found[3]]
        return {"by": -seconds if found[1] == "-" else seconds}
    try:
        return {"at": datetime.fromisoformat(text).timestamp()}
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{text!r}: give now, +90m, -90m or a time as 2026-11-30T08:00") from None


# -- what waits --------------------------------------------------------------------------


def _table(heads: Sequence[str], found: list[dict[str, Any]], nothing: str) -> list[str]:
    return table(heads, ([one[head] for head in heads] for one in found), nothing)


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "queue.list", limit=args.limit, **{k: v for k, v in _filter(args).items() if k != "all"})
    found = answer["messages"]
    return show(args, answer, [*_table(LIST, found, "nothing waits"), *limited(found, args.limit)])


def run_count(args: argparse.Namespace) -> int:
    answer = ask(args, "queue.count")
    return show(args, answer, pairs(answer))


def run_print(args: argparse.Namespace) -> int:
    answer = ask(args, "queue.print", id=args.id)
    return show(args, answer, _whole(answer))


def _whole(answer: dict[str, Any]) -> list[str]:
    results = answer["Results"]
    lines = list(pairs({name: value for name, value in answer.items() if name != "Results"}))
    lines += ["", *_table(RESULTS, results, "no try yet")]
    for number, result in enumerate(results, 1):
        if result.get("steps"):
            lines += ["", f"try {number}:", *(f"  {step}" for step in result["steps"])]
    return lines


def run_dump(args: argparse.Namespace) -> int:
    offset, size = 0, 1
    while offset < size:
        answer = ask(args, "queue.dump", id=args.id, offset=offset, length=PIECE)
        piece, size = base64.b64decode(answer["data"]), answer["size"]
        if not piece:
            break
        sys.stdout.buffer.write(piece)
        offset += len(piece)
    sys.stdout.buffer.flush()
    return 0


def _said(args: argparse.Namespace, answer: dict[str, Any]) -> int:
    count = answer["changed"]
    lines = [f"{counted(count, 'message')} changed"]
    if answer.get("reports"):
        lines.append(f"{counted(answer['reports'], 'report')} to senders queued")
    show(args, answer, lines)
    left = sorted(set(args.ids) - set(answer["ids"]))
    for number in left:
        print(f"echomox: message {number} is not in the queue, or its state does not let this be done", file=sys.stderr)
    return 1 if left else 0


def run_change(args: argparse.Namespace) -> int:
    return _said(args, ask(args, f"queue.{args.verb}", **_filter(args)))


def run_schedule(args: argparse.Namespace) -> int:
    try:
        when = when_of(args.when)
    except argparse.ArgumentTypeError as error:
        raise CommandError(str(error), 2) from None
    return _said(args, ask(args, "queue.schedule", **when, **_filter(args)))


def run_transport(args: argparse.Namespace) -> int:
    return _said(args, ask(args, "queue.transport", name=args.name, **_filter(args)))


def run_requiretls(args: argparse.Namespace) -> int:
    return _said(args, ask(args, "queue.requiretls", value=args.value, **_filter(args)))


def run_fail(args: argparse.Namespace) -> int:
    return _said(args, ask(args, "queue.fail", reason=args.reason, **_filter(args)))


# -- what is over, rules, suppression ------------------------------------------------------


def _retired(commands: Commands) -> None:
    below = commands.below("retired", "list | print messages that are over")
    listing = below.add("list", run_retired_list, "list what is over, the newest first")
    listing.add_argument("--account")
    listing.add_argument("--status", choices=("delivered", "relayed", "failed", "suppressed", "dropped", "bounced"))
    listing.add_argument("--to", dest="recipient", metavar="TEXT", help="in the recipient's address")
    listing.add_argument("--limit", type=int, default=100, help="at most so many (default %(default)s)")
    one = below.add("print", run_retired_print, "show a message that is over, with all its tries")
    one.add_argument("id", type=int)


def run_retired_list(args: argparse.Namespace) -> int:
    answer = ask(
        args, "queue.retired.list",
        account=args.account, status=args.status, recipient=args.recipient, limit=args.limit,
    )  # fmt: skip
    found = answer["messages"]
    return show(args, answer, [*_table(RETIRED, found, "nothing is kept"), *limited(found, args.limit)])


def run_retired_print(args: argparse.Namespace) -> int:
    answer = ask(args, "queue.retired.print", id=args.id)
    return show(args, answer, _whole(answer))


def _rules(commands: Commands) -> None:
    below = commands.below("holdrules", "list | add | remove rules that keep new mail back")
    below.add("list", run_rule_list, "list the rules")
    add = below.add("add", run_rule_add, "keep mail back that fits all of what is given")
    add.add_argument("--account", help="of this account")
    add.add_argument("--from-domain", dest="sender_domain", metavar="DOMAIN")
    add.add_argument("--to-domain", dest="recipient_domain", metavar="DOMAIN")
    add.add_argument("--all", action="store_true", help="keep all mail back")
    remove = below.add("remove", run_rule_remove, "remove a rule; what it holds stays held")
    remove.add_argument("id", type=int)


def run_rule_list(args: argparse.Namespace) -> int:
    answer = ask(args, "queue.holdrules.list")
    return show(args, answer, _table(RULES, answer["rules"], "there are no rules"))


def run_rule_add(args: argparse.Namespace) -> int:
    if not (args.account or args.sender_domain or args.recipient_domain or args.all):
        raise CommandError("say which mail: --account, --from-domain or --to-domain; --all for all of it", 2)
    answer = ask(
        args, "queue.holdrules.add",
        account=args.account, sender_domain=args.sender_domain, recipient_domain=args.recipient_domain,
    )  # fmt: skip
    return show(args, answer, [f"rule {answer['id']} holds {counted(answer['held'], 'message')}, and new ones"])


def run_rule_remove(args: argparse.Namespace) -> int:
    answer = ask(args, "queue.holdrules.remove", id=args.id)
    return show(args, answer, [f"rule {answer['id']} is gone; `echomox queue unhold` lets its messages go"])


def _suppression(commands: Commands) -> None:
    below = commands.below("suppression", "list | add | remove | lookup recipients that get no more mail")
    listing = below.add("list", run_suppression_list, "list them")
    listing.add_argument("account", nargs="?")
    for name, run, text in (
        ("add", run_suppression_add, "send no more mail of an account to an address"),
        ("remove", run_suppression_remove, "let mail to an address go again"),
        ("lookup", run_suppression_lookup, "whether an address is suppressed"),
    ):
        parser = below.add(name, run, text)
        parser.add_argument("account")
        parser.add_argument("address")
        if name == "add":
            parser.add_argument("--reason")


def run_suppression_list(args: argparse.Namespace) -> int:
    answer = ask(args, "queue.suppression.list", account=args.account)
    return show(args, answer, _table(SUPPRESSED, answer["suppressed"], "nobody is suppressed"))


def run_suppression_add(args: argparse.Namespace) -> int:
    answer = ask(args, "queue.suppression.add", account=args.account, address=args.address, reason=args.reason)
    return show(args, answer, [f"no more mail of {answer['Account']} goes to {answer['Address']}"])


def run_suppression_remove(args: argparse.Namespace) -> int:
    answer = ask(args, "queue.suppression.remove", account=args.account, address=args.address)
    return show(args, answer, [f"mail of {answer['account']} goes to {answer['address']} again"])


def run_suppression_lookup(args: argparse.Namespace) -> int:
    answer = ask(args, "queue.suppression.lookup", account=args.account, address=args.address)
    return show(args, answer, pairs(answer))
