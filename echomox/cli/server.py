"""`echomox status | reload | loglevels | counters | version`: single commands about the running server."""

from __future__ import annotations

import argparse

from echomox.cli.console import ask, find, pairs, show


def configure(parser: argparse.ArgumentParser) -> None:
    family = parser.get_default("family")
    if family == "loglevels":
        parser.add_argument(
            "package", nargs="?", help="as smtpd; without it the level of all that have none of their own"
        )
        parser.add_argument("level", nargs="?", help="trace, debug, info, warn or error")
    parser.set_defaults(run=RUN[family])


def run_status(args: argparse.Namespace) -> int:
    from echomox.supervisor.status import table

    answer = ask(args, "status")
    return show(args, answer, table(answer).split("\n"))


def run_reload(args: argparse.Namespace) -> int:
    from echomox.cli.supervisor import main

    return main(["--config", str(find(args).config), "reload"])


def run_loglevels(args: argparse.Namespace) -> int:
    package, level = (args.package, args.level) if args.level else (None, args.package)
    answer = ask(args, "loglevels", package=package, level=level)
    lines = pairs({"(all others)": answer["default"], **dict(sorted(answer["levels"].items()))})
    return show(args, answer, lines)


def run_counters(args: argparse.Namespace) -> int:
    answer = ask(args, "counters")
    return show(args, answer, pairs({**answer["counters"], **answer["gauges"]}))


def run_version(args: argparse.Namespace) -> int:
    from workers.operations_server import versions

    answer = versions()
    return show(args, answer, pairs(answer))


RUN = {
    "status": run_status,
    "reload": run_reload,
    "loglevels": run_loglevels,
    "counters": run_counters,
    "version": run_version,
}
