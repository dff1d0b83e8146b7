"""What the commands share: options, output as text or JSON, and the way to the server or, without one, the
files.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echomox.config.paths import Paths


EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h


class CommandError(Exception):
    """A command that was refused: one line that says what to do next. code: the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        self.code = code
        super().__init__(text)


def common_options() -> argparse.ArgumentParser:
    """--config and --json, for every command at any place. SUPPRESS: what was given further left stays."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--config",
        default=argparse.SUPPRESS,
        help="directory of the configuration (default: $ECHOMOX_CONFIG, ./config, /etc/echomox)",
    )
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print data as JSON")
    return parser


class Commands:
    """The commands below a family: `Commands(parser).add("list", run, "help")` returns the command's
    parser.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(self, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = self.parsers.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", parents=[common_options()]
        )
        parser.set_defaults(run=run)
        return parser


def find(args: argparse.Namespace) -> Paths:
    from echomox.config.load import find_config

    return find_config(args.config)


def ask(args: argparse.Namespace, op: str, **fields: Any) -> dict[str, Any]:
    """An operation's answer, from the running server or else done here. Raises CommandError with its
    refusal.
    """
    from echomox.cli.control import perform
    from workers.refused import Refused

    try:
        return perform(find(args), op, {name: value for name, value in fields.items() if value is not None})
    except Refused as error:
        raise CommandError(str(error)) from None


def show(args: argparse.Namespace, data: Any, text: Iterable[str]) -> int:
    """Prints JSON with --json, else the lines of text. Returns 0, the exit code."""
    if args.json:
        print(json.dumps(data, ensure_ascii=False, indent=2))
    else:
        for line in text:
            print(printable(line))
    return 0


def printable(text: str) -> str:
    """Without what could steer a terminal: subjects come from strangers."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def rows(heads: Sequence[str], entries: Iterable[Sequence[Any]]) -> list[str]:
    """A table in columns: numbers to the right, the rest to the left."""
    cells = [[_cell(value) for value in entry] for entry in entries]
    right = [bool(cells) and all(_numeric(row[n]) for row in cells) for n in range(len(heads))]
    widths = [max(len(heads[n]), *(len(row[n]) for row in cells), 0) for n in range(len(heads))]
    lines = [list(heads), *cells]
    return [
        "  ".join(
            value.rjust(width) if to_right else value.ljust(width)
            for value, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]


def counted(things: Sized, noun: str) -> str:
    """As "1 domain" or "2 domains"."""
    return f"{len(things)} {noun}" if len(things) == 1 else f"{len(things)} {noun}s"


def pairs(data: Mapping[str, Any], prefix: str = "") -> list[str]:
    """A line for each value of nested tables: `junk_filter.mode  bands`."""
    flat = list(_flatten(data, prefix))
    width = max((len(name) for name, _ in flat), default=0)
    return [f"{name:{width}}  {_cell(value)}" for name, value in flat]


def _flatten(data: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + str(name), value


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_cell, value)) or "-"
    return str(value) if value not in ("", None) else "-"


def _numeric(text: str) -> bool:
    return text.replace(".", "", 1).lstrip("-").isdigit() or text == "-"


def read_password(args: argparse.Namespace) -> str | None:
    """The password that --password or --password-stdin gives; None for neither."""
    if getattr(args, "password_stdin", False):
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            raise CommandError("--password-stdin: no line came on standard input")
        return line
    password: str | None = getattr(args, "password", None)
    return password


def add_password_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password", help="the password (other users of this machine can see it while the command runs)"
    )
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")


def confirm(args: argparse.Namespace, question: str) -> None:
    """Asks before something is lost, unless --yes was given. Raises CommandError for anything but yes."""
    if args.yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Repeat the command with --yes")
    if input(f"{question} Type yes to go on: ").strip().lower() != "yes":
        raise CommandError("nothing was changed")
