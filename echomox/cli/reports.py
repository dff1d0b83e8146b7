"""`echomox dmarc reports` and `echomox tlsrpt reports`: reports about our domains that came in, and those about others
that we sent.
"""

from __future__ import annotations

import argparse
from typing import Any

from echomox.cli.console import Commands, ask, pairs, show, table

DMARC_LIST = ("id", "domain", "organisation", "begin", "end", "passed", "failed")
TLS_LIST = ("id", "domain", "organisation", "begin", "end", "successes", "failures")
RECORD = ("source_ip", "count", "disposition", "dkim", "spf", "header_from", "envelope_from")
SOURCE = ("source_ip", "messages", "passed", "failed", "dkim", "spf", "quarantined", "rejected")
RESULT = ("domain", "result", "mx", "sessions")
FAILURE = ("result", "count", "mx", "receiving_ip", "sending_ip", "detail")
SENT = ("day", "domain", "state", "due", "tries", "recipients", "note")
SUPPRESSED = ("Address", "Manual", "Active", "Reason", "Created")


def add(commands: Commands, kind: str) -> None:
    """The command `reports` of a family. kind: "dmarc" or "tls"."""
    of = "DMARC aggregate" if kind == "dmarc" else "TLS"
    parser = commands.add("reports", _nothing, f"{of} reports that came in and that were sent")
    parser.set_defaults(kind=kind)
    below = Commands(parser)
    _span(below.add("list", run_list, "list the reports about our domains, the latest first"))
    one = below.add("show", run_show, "show one of them")
    one.add_argument("id", type=int, metavar="ID")
    text = "add them up by source address" if kind == "dmarc" else "add them up by kind of failure"
    _span(below.add("summary", run_summary, text))
    sent = below.add("sent", run_sent, "list the reports to other domains, the latest first")
    sent.add_argument("--domain", help="only those about it")
    sent.add_argument("--all", action="store_true", default=None, help="with those that nobody wants")
    sent.add_argument("--limit", type=int, help="at most so many")
    _suppression(below)


def _span(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--domain", help="only those about it")
    parser.add_argument("--since", metavar="DAY", help="about this day, as 2026-11-22, or later ones")
    parser.add_argument("--until", metavar="DAY", help="about this day or earlier ones")
    parser.add_argument("--limit", type=int, help="at most so many lines")


def _suppression(commands: Commands) -> None:
    parser = commands.add("suppression", _nothing, "addresses that get no more reports, of either kind")
    below = Commands(parser)
    below.add("list", run_suppression_list, "list them").add_argument("--limit", type=int)
    adding = below.add("add", run_suppression_add, "send no more reports to an address")
    adding.add_argument("address")
    adding.add_argument("--reason")
    below.add("remove", run_suppression_remove, "send reports to an address again").add_argument("address")


def _nothing(args: argparse.Namespace) -> int:
    raise AssertionError("a command below is required")


def _asked(args: argparse.Namespace, operation: str) -> dict[str, Any]:
    return ask(
        args, operation, kind=args.kind, domain=args.domain, since=args.since, until=args.until, limit=args.limit
    )


def _table(heads: tuple[str, ...], found: list[dict[str, Any]], nothing: str) -> list[str]:
    return table(heads, ([one[head] for head in heads] for one in found), nothing)


def run_list(args: argparse.Namespace) -> int:
    answer = _asked(args, "reports.list")
    heads = DMARC_LIST if args.kind == "dmarc" else TLS_LIST
    return show(args, answer, _table(heads, answer["reports"], "no reports came in"))


def run_show(args: argparse.Namespace) -> int:
    answer = ask(args, "reports.show", kind=args.kind, id=args.id)
    if args.kind == "dmarc":
        head = {name: value for name, value in answer.items() if name not in ("records", "rows")}
        return show(args, answer, [*pairs(head), "", *_table(RECORD, answer["records"], "no records")])
    lines = pairs({name: value for name, value in answer.items() if name not in ("policies", "rows")})
    for policy in answer["policies"]:
        about = {name: value for name, value in policy.items() if name != "details"}
        lines += ["", *pairs(about)]
        if policy["details"]:
            lines += _table(FAILURE, policy["details"], "")
    return show(args, answer, lines)


def run_summary(args: argparse.Namespace) -> int:
    answer = _asked(args, "reports.summary")
    name, heads = ("sources", SOURCE) if args.kind == "dmarc" else ("results", RESULT)
    head = {key: value for key, value in answer.items() if key != name}
    nothing = "no mail" if args.kind == "dmarc" else "no failures"
    return show(args, answer, [*pairs(head), "", *_table(heads, answer[name], nothing)])


def run_sent(args: argparse.Namespace) -> int:
    answer = ask(args, "reports.sent", kind=args.kind, domain=args.domain, all=args.all, limit=args.limit)
    return show(args, answer, _table(SENT, answer["reports"], "no reports were sent"))


def run_suppression_list(args: argparse.Namespace) -> int:
    answer = ask(args, "reports.suppression.list", limit=args.limit)
    return show(args, answer, _table(SUPPRESSED, answer["suppressed"], "all addresses get reports"))


def run_suppression_add(args: argparse.Namespace) -> int:
    answer = ask(args, "reports.suppression.add", address=args.address, reason=args.reason)
    return show(args, answer, [f"{answer['Address']} gets no more reports"])


def run_suppression_remove(args: argparse.Namespace) -> int:
    answer = ask(args, "reports.suppression.remove", address=args.address)
    return show(args, answer, [f"{answer['address']} gets reports again"])
