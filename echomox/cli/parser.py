"""The parser of all command lines. What it complains of has the form of every other message:

    echomox queue: no command lst; did you mean `list`?
    echomox queue list: no option --lmit; did you mean `--limit`?
    echomox message show: id: 'abc' is no whole number

A command that needs a command below it prints its help instead. The exit code of all of these is 2.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

EXIT_USAGE = 2
SYNONYMS = {
    "ls": ("list",), "ll": ("list",), "all": ("list",),
    "info": ("show", "print"), "get": ("show", "print"), "view": ("show", "print"), "cat": ("raw", "print", "dump"),
    "show": ("print", "list"), "print": ("show", "raw"), "status": ("show", "list"), "stat": ("show", "stats"),
    "create": ("add",), "new": ("add",), "insert": ("add",), "genkey": ("add",),
    "delete": ("remove", "drop"), "del": ("remove", "drop"), "rm": ("remove", "drop"), "purge": ("drop", "remove"),
    "edit": ("set",), "modify": ("set",), "update": ("set", "refresh"), "change": ("set",), "rename": ("set",),
    "passwd": ("set-password",), "password": ("set-password",), "setpassword": ("set-password",),
    "release": ("unhold", "allow"), "flush": ("schedule",), "retry": ("schedule",), "kick": ("schedule", "end"),
    "kill": ("end",), "logout": ("end",), "bounce": ("fail",), "requeue": ("schedule",), "freeze": ("hold",),
    "thaw": ("unhold",), "test": ("check", "eval"), "validate": ("check",), "verify": ("check",), "lint": ("check",),
    "records": ("dnsrecords",), "dns": ("dnsrecords",), "lock": ("disable",), "unlock": ("enable",),
    "train": ("retrain",), "learn": ("retrain",), "why": ("explain",), "whitelist": ("allow",), "ban": ("add",),
    "blacklist": ("block",), "unban": ("remove",), "share": ("acl",), "force-resync": ("recalculate",),
}  # fmt: skip
"""What the commands of other mail servers are called, and ours that do it."""
_KINDS = {"int": "whole number", "float": "number"}


class Parser(argparse.ArgumentParser):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", Formatter)
        super().__init__(*args, **kwargs)
        self.set_defaults(leaf=self)

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """As parse_args; of words that no one takes the command complains to which they were given."""
        args, rest = self.parse_known_args(argv)
        leaf: Parser = vars(args).pop("leaf")
        if rest:
            leaf.error(leaf.unknown(rest))
        return args

    def unknown(self, words: Sequence[str]) -> str:
        word = words[0]
        if not word.startswith("-") or not word.strip("-"):
            return f"too many words, from {word!r} on"
        known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        name = word.partition("=")[0]
        return f"no option {name}" + (f"; {near}" if (near := nearest(name, known, show_all=False)) else "")

    def error(self, message: str) -> NoReturn:
        if message.endswith("required: COMMAND"):
            self.print_help(sys.stderr)
            self.exit(EXIT_USAGE)
        self.print_usage(sys.stderr)
        said = in_words(message)
        said += " " if said.endswith("?") else "; "
        self.exit(EXIT_USAGE, f"{self.prog}: {said}`{self.prog} --help` tells more\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = list(map(str, action.choices))
        if isinstance(action, argparse._SubParsersAction):
            raise argparse.ArgumentError(None, f"no command {value}; {nearest(str(value), known)}")
        raise argparse.ArgumentError(action, f"{str(value)!r} is not one of {', '.join(known)}")


class Formatter(argparse.HelpFormatter):
    """Fills the description to the width; examples keep their lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


def in_words(message: str) -> str:
    """A complaint of argparse without its jargon."""
    message = re.sub(
        r"invalid (int|float) value: ('.*')$", lambda found: f"{found[2]} is no {_KINDS[found[1]]}", message, flags=re.S
    )
    message = message.replace("the following arguments are required:", "not given:")
    return message.removeprefix("argument ")


def nearest(name: str, known: Iterable[str], show_all: bool = True) -> str:
    """ "did you mean `list`?", or all that there is; show_all=False: or nothing."""
    known = list(known)
    meant = next((word for word in SYNONYMS.get(name.lower(), ()) if word in known), "")
    close = [meant] if meant else [word for word in known if len(name) > 2 and word.startswith(name)]
    close = close or difflib.get_close_matches(name, known, 1, 0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"there are {', '.join(known)}" if show_all else ""
