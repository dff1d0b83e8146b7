"""`echomox filter eval`, `serve-json`, `replay` and `retrain`: how good the filter is, and teaching it anew."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echomox.cli.console import CommandError, Commands, find, show
from echomox.cli.parser import nearest

if TYPE_CHECKING:
    from echomox.config.paths import Paths
    from echomox.config.schema import JunkFilter
    from echomox.filter.context import Stage

BAR = 30
DELIVERY = ("strict", "reject_code")
"""Settings that change nothing of what the filter says."""
RETRAIN_SECONDS = 3600.0
MOST_PROBLEMS = 20
"""Lines of what is wrong with a file of rules."""


def configure(commands: Commands) -> None:
    evaluate = commands.add("eval", run_eval, "measure the filter on a corpus of labelled mail")
    evaluate.add_argument("corpus", metavar="CORPUS", help="directory with index.tsv, full/index, or spam and ham")
    evaluate.add_argument("--protocol", action="append", metavar="NAME", help="online, delayed, cold, drift, attack")
    evaluate.add_argument("--delay", type=int, default=100, metavar="N", help="delayed: messages until a label comes")
    evaluate.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as leak=0.2")
    evaluate.add_argument("--rules", default="", metavar="FILE", help="rules for the membranes in place of ours")
    evaluate.add_argument("--plots", metavar="DIR", help="write the curves as SVG and PNG files there")
    commands.add("serve-json", run_serve_json, "answer one JSON request a line, for your own evaluation")
    replay = commands.add("replay", run_replay, "show what an account's mail would have become under other settings")
    replay.add_argument("account")
    replay.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of junk_filter, as junk=0.4")
    replay.add_argument("--rules", default="", metavar="FILE", help="rules for the membranes in place of the server's")
    rules = commands.add("rules", run_rules, "check a file of rules for the membranes, and try it on a message")
    rules.add_argument("action", choices=("check",))
    rules.add_argument("file", metavar="FILE", help='"default": those that come with EchoMox')
    rules.add_argument("--message", metavar="FILE", help="show what the rules make of this message")
    commands.add("retrain", run_retrain, "learn anew from the messages an account was trained with").add_argument(
        "account"
    )


def run_eval(args: argparse.Namespace) -> int:
    from echomox.config.schema import JunkFilter
    from echomox.filter.tools import figures, plots, table
    from echomox.filter.tools.corpus import CorpusError, load
    from echomox.filter.tools.evaluate import PROTOCOLS, Evaluation, Plan

    protocols = tuple(args.protocol or PROTOCOLS)
    for name in protocols:
        if name not in PROTOCOLS:
            raise CommandError(f"no protocol {name}; {nearest(name, PROTOCOLS)}", 2)
    if args.delay < 0:
        raise CommandError("--delay: 0 or more", 2)
    settings, stages = _changed(JunkFilter(), args.set), _stages_of(args.rules)
    try:
        mails = load(Path(args.corpus))
    except CorpusError as error:
        raise CommandError(f"{error}; a corpus has index.tsv, full/index, or spam and ham (docs/filter.md)") from None
    plan = Plan(protocols, settings, args.delay, stages=stages)
    report = Evaluation(mails, plan).run(_bar)
    if args.plots:
        written = plots.write(Path(args.plots), plots.charts(report))
        told_plots(Path(args.plots), written)
    return show(args, figures.plain(report), table.lines(report))


def told_plots(directory: Path, written: list[str]) -> None:
    """What was drawn, on standard error: --json stays clean."""
    print(f"{len(written)} plots in {directory}", file=sys.stderr)
    if not any(name.endswith(".png") for name in written):
        print("no PNG: that needs Pillow (pip install echomox[plots])", file=sys.stderr)


def run_serve_json(args: argparse.Namespace) -> int:
    from echomox.config.schema import JunkFilter
    from echomox.filter.tools.servejson import lines_of, serve

    # To be told to end is no reason to leave the scratch account behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="echomox-filter-") as directory:
        serve(lines_of(sys.stdin.buffer), sys.stdout, Path(directory), JunkFilter())
    return 0


def _stages_of(file: str) -> tuple[Stage, ...]:
    """With the rules of that file for the membranes, "" for those that come with EchoMox."""
    from echomox.errors import ConfigError
    from echomox.filter.stages import membranes, with_own
    from echomox.filter.stages.membranes import rules_of

    try:
        rules = rules_of(file)
    except ConfigError as error:
        raise CommandError(str(error)) from None
    return with_own(membranes.stage(lambda: rules))


def run_rules(args: argparse.Namespace) -> int:
    """Prints every problem with its line; fails where the file cannot be used."""
    from echomox.cli.filter_text import membranes
    from echomox.filter.features import READ_BYTES, read
    from echomox.filter.stages import membranes as stage
    from echomox.reservoir.rules import RulesError

    try:
        text = None if args.file == "default" else Path(args.file).read_text("utf-8")
        rules = stage.default_rules() if text is None else stage.rules_from(text)
        data = Path(args.message).read_bytes()[:READ_BYTES] if args.message else None
    except UnicodeDecodeError as error:
        raise CommandError(f"{args.file}: {error}; rules are UTF-8 text") from None
    except RulesError as error:
        found = [f"{args.file}: {problem}" for problem in error.problems]
        more = [f"{args.file}: and {len(found) - MOST_PROBLEMS} more"] if len(found) > MOST_PROBLEMS else []
        raise CommandError("\n".join([*found[:MOST_PROBLEMS], *more])) from None
    warnings = list(rules.warnings)
    answer: dict[str, Any] = {"file": args.file, "warnings": warnings}
    lines = [f"{args.file}: {warning}" for warning in warnings] or [f"{args.file}: good"]
    if data is not None:
        answer["trial"] = stage.trace(read(data), rules)
        lines += ["", *membranes(answer["trial"])]
    return show(args, answer, lines)


def run_replay(args: argparse.Namespace) -> int:
    from echomox.cli.control import own_site
    from echomox.config.senderlists import filter_of
    from echomox.filter.tools import figures
    from echomox.filter.tools.replay import replay
    from echomox.log import logger
    from workers.refused import Refused

    site = own_site(find(args))
    try:
        site.account(args.account)
        now = filter_of(site.dynamic(), args.account)
        then = _changed(now, args.set)
        store = site.store(args.account)
        ours = site.static().filter.rules
        stages = _stages_of(ours), _stages_of(args.rules or ours)
        both, accounts = (now, then), site.paths.accounts
        found = replay(store, accounts, both, logger("filter"), lambda a, b: _bar("replay", a, b), stages)
    except Refused as error:
        raise CommandError(str(error)) from None
    finally:
        site.close()
    return show(args, figures.plain(found), _replay_text(found))


def _replay_text(found: dict[str, Any]) -> list[str]:
    out = [f"{found['messages']} messages, {found['moved']} would have gone elsewhere"]
    for name in ("now", "then"):
        for kind, places in found[name]["confusion"].items():
            out.append(f"{name:5}{kind:5}" + "  ".join(f"{place} {count}" for place, count in places.items()))
        figures = found[name]["figures"]
        out.append(f"{name:5}1-AUC {figures['auc_error']:.3f} %, log-loss {figures['log_loss']:.4f}")
    return out


def _changed(now: JunkFilter, changes: list[str]) -> JunkFilter:
    """The settings with NAME=VALUE put in, of the type each has; those that only a delivery knows are refused."""
    from dataclasses import fields, replace

    from echomox.config.checks import weight_trouble
    from echomox.config.load import allowed

    values: dict[str, Any] = {}
    known = {item.name: item for item in fields(now)}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in known:
            raise CommandError(f"no setting {name}; {nearest(name, known)}", 2)
        if name in DELIVERY:
            raise CommandError(f"{name} works at a delivery; what it would change is not to be seen here", 2)
        old = getattr(now, name)
        limits = known[name].metadata
        try:
            values[name] = _value(old, text)
        except ValueError:
            raise CommandError(f"{name}={text}: not allowed; {allowed(type(old), limits)}", 2) from None
        if text not in limits.get("choices", (text,)):
            raise CommandError(f"{name}={text}: not allowed; {allowed(type(old), limits)}", 2)
        number = values[name]
        if isinstance(number, int | float) and not (limits.get("low", number) <= number <= limits.get("high", number)):
            raise CommandError(f"{name}={text}: not allowed; {allowed(type(old), limits)}", 2)
    for weight in values.get("weights", ()):
        if trouble := weight_trouble(weight):
            raise CommandError(f"weights: {trouble}", 2)
    return replace(now, **values)


def _value(old: object, text: str) -> object:
    if isinstance(old, bool):
        if text not in ("true", "false"):
            raise ValueError(text)
        return text == "true"
    if isinstance(old, tuple):
        return tuple(part for part in text.split(",") if part)
    return type(old)(text)  # type: ignore[call-arg]


def run_retrain(args: argparse.Namespace) -> int:
    """By the trainer, which is the only writer; without a running server here."""
    paths = find(args)
    answer = asyncio.run(_ask_trainer(paths, args.account)) or _retrain_here(paths, args.account)
    return show(args, answer, [f"{answer['messages']} messages: {answer['ham']} ham, {answer['spam']} spam"])


async def _ask_trainer(paths: Paths, account: str) -> dict[str, Any] | None:
    """None when no trainer listens."""
    from echomox.ipc.channel import Client
    from echomox.ipc.schema import Failed, LearnState, Message, Retrain, Retraining
    from echomox.log import logger

    def told(message: Message) -> None:
        if isinstance(message, Retraining):
            _bar("retrain", message.done, message.of)

    socket = paths.socket("learn")
    if not socket.exists():
        return None
    client = Client(socket, "cli", logger("filter"), told)
    await client.start()
    try:
        if not client.connected:
            return None
        answer = await client.request(Retrain(account), RETRAIN_SECONDS)
    finally:
        await client.close()
    if isinstance(answer, LearnState):
        return {"account": account, "messages": answer.messages, "ham": answer.ham, "spam": answer.spam}
    if isinstance(answer, Failed):
        raise CommandError(f"account {account}: {answer.reason}")
    raise CommandError("the trainer did not answer; its log says why")


def _retrain_here(paths: Paths, account: str) -> dict[str, Any]:
    from echomox.cli.control import own_site
    from echomox.errors import ConfigError
    from echomox.filter.learning.desk import retrain
    from echomox.filter.learning.learners import Method
    from echomox.filter.stages import membranes, with_own
    from echomox.filter.stages.membranes import rules_of
    from echomox.log import logger
    from workers.refused import Refused

    site = own_site(paths)
    try:
        settings = site.account(account).junk_filter
        store = site.store(account)
        rules = rules_of(site.static().filter.rules)
        method = Method(stages=with_own(membranes.stage(lambda: rules)))
        accounts, log = site.paths.accounts, logger("filter")
        found = retrain(store, accounts, settings, log, lambda a, b: _bar("retrain", a, b), method)
    except (Refused, ConfigError) as error:
        raise CommandError(str(error)) from None
    finally:
        site.close()
    return {"account": account, "messages": found.messages, "ham": found.ham, "spam": found.spam}


def _bar(name: str, done: int, of: int) -> None:
    """On a terminal only, so that --json and pipes stay clean."""
    if sys.stderr.isatty():
        full = BAR * done // max(1, of)
        end = "\n" if done >= of else ""
        sys.stderr.write(f"\r{name:8} [{'#' * full}{'.' * (BAR - full)}] {done}/{of}{end}")
        sys.stderr.flush()
