"""What the commands share: options, output as text or JSON, and the way to the server or, without one, the
files.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any

from echomox.cli.parser import Parser

if TYPE_CHECKING:
    from echomox.config.paths import Paths


EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
GAP = "  "
LEAST = 20  # characters of a column that are never cut: times, addresses of IPv4, states


class CommandError(Exception):
    """A command that was refused: one line that says what to do next. code: the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        self.code = code
        super().__init__(text)


def common_options() -> Parser:
    """--config and --json, for every command at any place. SUPPRESS: what was given further left stays."""
    parser = Parser(add_help=False)
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
        parser.epilog = f"`{parser.prog} COMMAND --help` tells more of a command, with examples."
        self.parsers = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    def add(self, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        parser = self._parser(name, text)
        parser.epilog = examples_of(parser.prog)
        parser.set_defaults(run=run)
        return parser

    def below(self, name: str, text: str) -> Commands:
        """Commands of a command, as `queue holdrules list`."""
        return Commands(self._parser(name, text))

    def _parser(self, name: str, text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = self.parsers.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", parents=[common_options()]
        )
        return parser


def examples_of(prog: str) -> str:
    """The end of a command's help; "" for a command without examples."""
    from echomox.cli.examples import EXAMPLES

    lines = EXAMPLES.get(prog.removeprefix("echomox "), ())
    return "\n".join(["examples:" if len(lines) > 1 else "example:", *(f"  {line}" for line in lines)]) if lines else ""


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


def table(heads: Sequence[str], entries: Iterable[Sequence[Any]], nothing: str) -> list[str]:
    """As rows; without entries the one line `nothing`."""
    found = list(entries)
    return rows(heads, found) if found else [nothing]


def rows(heads: Sequence[str], entries: Iterable[Sequence[Any]]) -> list[str]:
    """A table in columns: numbers to the right, the rest to the left. On a terminal the widest columns of text are
    cut so that a line is a line; pipes and --json have all.
    """
    cells = [[_cell(value) for value in entry] for entry in entries]
    right = [_all_numeric([row[n] for row in cells]) for n in range(len(heads))]
    widths = [max(len(heads[n]), *(len(row[n]) for row in cells), 0) for n in range(len(heads))]
    if sys.stdout.isatty():
        widths = fitted(widths, [max(len(head), LEAST) for head in heads], shutil.get_terminal_size().columns)
    lines = [list(heads), *cells]
    return [
        GAP.join(
            value.rjust(width) if to_right else cut(value, width).ljust(width)
            for value, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]


def fitted(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """The widths of columns, the widest narrowed until all fit into `room`; none below its least."""
    fits = list(widths)
    while sum(fits) + len(GAP) * (len(fits) - 1) > room:
        able = [n for n, width in enumerate(fits) if width > least[n]]
        if not able:
            break
        fits[max(able, key=lambda n: fits[n])] -= 1
    return fits


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "\u2026"


def limited(shown: Sized, limit: int) -> list[str]:
    """A last line for a list that may have been cut."""
    return [f"at most {limit} are shown; `--limit N` shows more"] if len(shown) >= limit > 0 else []


def counted(things: Sized | int, noun: str) -> str:
    """As "1 domain" or "2 domains"."""
    count = things if isinstance(things, int) else len(things)
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


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


def _all_numeric(texts: Sequence[str]) -> bool:
    return any(text != "-" for text in texts) and all(map(_numeric, texts))


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
