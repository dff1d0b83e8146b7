"""`echomox filter`: what an account's spam filter knows and why it judges as it does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from echomox.cli import filter_trials
from echomox.cli.console import CommandError, Commands, ask, find, pairs, rows, show
from echomox.cli.filter_text import explained

DETAILS = {
    "membranes": "the tree of membranes and every rule that fired",
    "esn": "what the network was given, chunk by chunk, and its states",
    "affect": "what the message feels like",
    "timing": "how long each part takes for it",
}
LARGEST = 100 * 1024 * 1024  # bytes of a file to explain


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    explain = commands.add("explain", run_explain, "judge a message and say why")
    explain.add_argument("message", metavar="FILE|MESSAGE", help="a file, - for standard input, or a message's id")
    explain.add_argument("--account", help="whose filter (default: the first account)")
    for name, text in DETAILS.items():
        explain.add_argument(f"--{name}", action="store_true", help=f"show {text} (--json has it always)")
    explain.add_argument("--plot", metavar="DIR", help="draw all of it, as SVG and PNG files there")
    commands.add("stats", run_stats, "show what an account's filter was trained with").add_argument("account")
    commands.add("state", run_state, "show an account's reservoir and the state of its neurons").add_argument("account")
    word = commands.add("word", run_word, "show how often a word was in ham and in spam")
    word.add_argument("account")
    word.add_argument("word")
    filter_trials.configure(commands)


def run_stats(args: argparse.Namespace) -> int:
    answer = ask(args, "filter.stats", account=args.account)
    return show(args, answer, pairs(answer))


def run_state(args: argparse.Namespace) -> int:
    answer = ask(args, "filter.state", account=args.account)
    heads = ("NeuronIndex", "State", "LastUpdate")
    table = rows(heads, ([_short(item[head]) for head in heads] for item in answer["states"]))
    states = table if answer["states"] else ["no states: nothing was trained since the reservoir came"]
    return show(args, answer, [*pairs(answer["reservoir"]), "", *states])


def _short(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value


def run_word(args: argparse.Namespace) -> int:
    answer = ask(args, "filter.word", account=args.account, word=args.word)
    return show(args, answer, pairs({name: _short(value) for name, value in answer.items()}))


def run_explain(args: argparse.Namespace) -> int:
    account = args.account or _first_account(args)
    shown = [name for name in DETAILS if args.json or getattr(args, name)]
    wanted = [*DETAILS] if args.plot else shown
    if args.message.isdigit() and not Path(args.message).exists():
        answer = ask(args, "filter.explain", account=account, id=int(args.message), **dict.fromkeys(wanted, True))
    else:
        answer = _explain_bytes(args, account, _content(args.message), wanted)
    if args.plot:
        from echomox.filter.tools import plots
        from echomox.filter.tools.drawings import drawings

        written = plots.write(Path(args.plot), drawings(answer))
        filter_trials.told_plots(Path(args.plot), written)
        for name in set(wanted) - set(shown):
            del answer[name]
    return show(args, answer, explained(answer))


def _first_account(args: argparse.Namespace) -> str:
    accounts = ask(args, "account.list")["accounts"]
    if not accounts:
        raise CommandError("there are no accounts; `echomox account add` makes one")
    return str(accounts[0]["name"])


def _content(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read(LARGEST)
    with open(name, "rb") as file:
        return file.read(LARGEST)


def _explain_bytes(args: argparse.Namespace, account: str, data: bytes, wanted: list[str]) -> dict[str, Any]:
    """In this process, as the owner of the data: a file may be larger than a request to the server."""
    from echomox.cli.control import own_site
    from echomox.filter.features import Envelope
    from echomox.filter.learning.ahead import Raw
    from workers.operations_filter import explain_message
    from workers.refused import Refused

    site = own_site(find(args))
    try:
        return explain_message(site, account, Raw(data, Envelope()), wanted)
    except Refused as error:
        raise CommandError(str(error)) from None
    finally:
        site.close()
