"""`echomox status | reload | loglevels | counters | version`: single commands about the running server."""

from __future__ import annotations

import argparse
import pkgutil

from echomox.cli.console import CommandError, ask, find, pairs, show
from echomox.cli.parser import nearest


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
    if package is not None and package not in (known := packages()):
        raise CommandError(f"no package {package}; {nearest(package, known)}", 2)
    answer = ask(args, "loglevels", package=package, level=level)
    lines = pairs({"(all others)": answer["default"], **dict(sorted(answer["levels"].items()))})
    return show(args, answer, lines)


def packages() -> list[str]:
    """What may stand in a log line as the package: the parts of EchoMox and its processes."""
    import echomox
    import workers

    found = {module.name for path in (echomox.__path__, workers.__path__) for module in pkgutil.iter_modules(path)}
    return sorted(name for name in found if not name.startswith("operations"))


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
