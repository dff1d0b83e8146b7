"""`echomox config`: check the files, describe every option, show what is in force."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from echomox.cli.console import EXIT_CONFIG, CommandError, Commands, counted, find, pairs, show


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    commands.add("check", run_check, "say whether the files are good, and all that is wrong with them")
    describe = commands.add("describe", run_describe, "print a commented sample of every option")
    describe.add_argument("file", nargs="?", choices=("static", "dynamic"), default="static")
    commands.add("show", run_show, "show the configuration with its defaults filled in")


def run_check(args: argparse.Namespace) -> int:
    """Beyond what loading checks: DKIM keys are keys of their kind, the filter's rules are rules."""
    from echomox.config.load import ConfigProblems, load_all
    from echomox.errors import ConfigError
    from echomox.filter.stages.membranes import rules_of

    paths = find(args)
    try:
        static, dynamic = load_all(paths)
        problems = _dkim_problems(str(paths.dynamic), paths.dynamic.read_text(encoding="utf-8"), asdict(dynamic))
        rules_of(static.filter.rules)
    except ConfigProblems as error:
        problems = error.problems
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    if problems and args.json:
        names = ("file", "line", "key", "problem")
        print(json.dumps({"ok": False, "problems": [dict(zip(names, item, strict=True)) for item in problems]}))
    elif problems:
        print(ConfigProblems(problems), file=sys.stderr)
    if problems:
        return EXIT_CONFIG
    summary = {
        "ok": True,
        "config": str(paths.config),
        "domains": len(dynamic.domains),
        "accounts": len(dynamic.accounts),
    }
    counts = f"{counted(dynamic.domains, 'domain')}, {counted(dynamic.accounts, 'account')}"
    return show(args, summary, [f"{paths.config} is good: {static.hostname}, {counts}"])


def _dkim_problems(file: str, text: str, dynamic: dict[str, object]) -> list[tuple[str, int, str, str]]:
    """Keys that are no keys, or not of the kind that the file says."""
    from echomox.config.keys import dkim_public
    from echomox.config.load import key_text
    from echomox.config.positions import line_of, positions

    lines, problems = positions(text), []
    domains = dynamic["domains"]
    assert isinstance(domains, dict)
    for name, domain in domains.items():
        for place, row in enumerate(domain["dkim"]):
            path = ("domains", name, "dkim", place, "key")
            try:
                with open(row["key"], "rb") as key:
                    algorithm = dkim_public(key.read())[0]
                trouble = "" if algorithm == row["algorithm"] else f"is an {algorithm} key, not {row['algorithm']}"
            except (OSError, ValueError, TypeError) as error:
                trouble = f"{row['key']}: {error}"
            if trouble:
                problems.append((file, line_of(lines, path), key_text(path), trouble))
    return problems


def run_describe(args: argparse.Namespace) -> int:
    from echomox.config.describe import sample_dynamic, sample_static

    sys.stdout.write(sample_static() if args.file == "static" else sample_dynamic())
    return 0


def run_show(args: argparse.Namespace) -> int:
    from echomox.config.load import ConfigProblems, load_all

    paths = find(args)
    try:
        static, dynamic = load_all(paths)
    except ConfigProblems as error:
        raise CommandError(str(error), EXIT_CONFIG) from None
    data = {"config": str(paths.config), "static": asdict(static), "dynamic": asdict(dynamic)}
    return show(args, data, pairs(data))
