"""The membrane stage: what rules see in a message without any training (R20-R30, F19).

`facts` makes the objects, `reservoir.membrane` lets them evolve under the rules of `data/membranes.rules`, and
the amounts of the five signals in the skin become one probability:

    z = BIAS + sum of WEIGHTS[signal] * amount
    beyond BEND, z becomes BEND + SLOPE * ln(1 + z - BEND);  below -LIMIT, -LIMIT
    P = 1 / (1 + exp(-z))

Amounts are in units of log-odds by the convention of the rule file, so the weights are plain: evidence for ham,
authentication and reputation count against spam and phishing. BIAS makes a message of which nothing can be
said a probable ham, and so one that is merely careless (without a date, without a Message-ID). The bend makes
the way to P > 0.8, where mail is refused, long: newsletters that somebody wants look much like advertising to
rules, and only what a reader says can tell them apart.

The first of the reasons holds the five signals, the others are the rules that moved most, strongest first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from math import exp, log
from pathlib import Path
from typing import Any, NamedTuple

from echomox.errors import ConfigError
from echomox.filter.context import Context, Stage
from echomox.filter.facts import FACTS, NOTHING, Outside, WordTable, facts, head_of, word_table
from echomox.filter.features import Envelope, Features
from echomox.ipc.schema import Evidence
from echomox.reservoir.membrane import SIGNALS, Outcome, System
from echomox.reservoir.rulecheck import load
from echomox.reservoir.rules import RulesError

NAME = "membranes"
WEIGHT = 1.0
COST = 0.02
BIAS = -4.75
WEIGHTS: Mapping[str, float] = {"spam": 0.7, "ham": -1.0, "phishing": 1.0, "auth": -0.8, "reputation": -1.0}
LIMIT = 8.0
BEND = 0.5
SLOPE = 0.795
"""P is 0.8 where z would be 2.55."""
REASONS = 6


class Rules(NamedTuple):
    """A rule file ready for work. warnings: of the checker."""

    system: System
    table: WordTable
    warnings: tuple[str, ...]


def rules_from(text: str) -> Rules:
    """Of a rule file. Raises RulesError naming the lines."""
    file, system, problems = load(text, FACTS)
    return Rules(system, word_table(file.words), tuple(map(str, problems)))


@cache
def default_rules() -> Rules:
    """Those that come with EchoMox; read once in a process."""
    return rules_from(files("echomox.filter").joinpath("data/membranes.rules").read_text("utf-8"))


@cache
def rules_of(path: str) -> Rules:
    """Of the file of `filter.rules`, read once in a process, or those that come with EchoMox for "". Raises
    ConfigError naming file and line."""
    if not path:
        return default_rules()
    try:
        return rules_from(Path(path).read_text("utf-8"))
    except RulesError as error:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in error.problems)) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None


def reload_rules(path: str) -> Rules:
    """`rules_of` for a file that may have changed. Raises ConfigError; then the old ones stay."""
    rules_of.__wrapped__(path)
    rules_of.cache_clear()
    return rules_of(path)


def outcome(features: Features, rules: Rules, outside: Outside = NOTHING) -> Outcome:
    """The evolution of a message's facts."""
    return rules.system.evolve(facts(features, head_of(features.sender), rules.table, outside))


def outside_of(envelope: Envelope) -> Outside:
    """What the checks of the delivery say, as `facts` wants it; of several DKIM results the best."""
    results: dict[str, str | float | bool] = {}
    for method, result in envelope.auth:
        if method == "correspondent":
            results["known"] = True
        elif result == "pass" or method not in results:
            results[method] = result
    if results.get("dmarc") == "fail":
        results.pop("known", None)  # anybody can write a friend's name
    return results


def log_odds(amounts: Mapping[str, float]) -> float:
    """z of the module's text."""
    z = BIAS
    for name in SIGNALS:
        z += WEIGHTS[name] * amounts[name]
    if z > BEND:
        return BEND + SLOPE * log(1.0 + z - BEND)
    return max(-LIMIT, z)


def evidence(found: Outcome, brief: bool = False) -> Evidence:
    """The probability, and why."""
    z = log_odds(found.amounts)
    reasons = () if brief else (_signals(found), *_moved(found))
    return Evidence(NAME, 1.0 / (1.0 + exp(-z)), WEIGHT, reasons)


def stage(rules: Callable[[], Rules]) -> Stage:
    """The row of `STAGES`. rules: those of the server, asked for each message; one process has only one set of them."""

    def run(features: Features, context: Context) -> Evidence:
        """P(spam) by the rules alone; the same for every account."""
        known = features.memo.get(NAME)
        if known is None:
            outside = outside_of(features.envelope)
            known = features.memo[NAME] = evidence(outcome(features, rules(), outside), context.brief)
        assert isinstance(known, Evidence)
        return known

    return Stage(NAME, run, COST, learned=False)


def _signals(found: Outcome) -> str:
    """The five signals in one word (R28)."""
    return _FORM % tuple([found.signals[name] for name in SIGNALS])


_FORM = "/".join([f"{name}=%.2f" for name in SIGNALS])


def _moved(found: Outcome) -> list[str]:
    """Names of the rules that made signals, strongest first."""
    shares: dict[str, float] = {}
    for _, _, rule, used, made, _ in found.trace:
        if rule is None or used == made:  # what is only carried on
            continue
        for kind, value, charge, _ in made:
            weight = WEIGHTS.get(kind)
            if weight is not None:
                shares[rule.name] = shares.get(rule.name, 0.0) + (-weight * value if charge < 0 else weight * value)
    ranked = sorted([(-abs(share), name) for name, share in shares.items()])[:REASONS]
    return [f"{name}{shares[name]:+.1f}" for _, name in ranked]


def trace(features: Features, rules: Rules | None = None) -> dict[str, Any]:
    """Everything for `echomox filter explain`: the tree of membranes with the objects each began and ended
    with, every rule that fired, the five signals, and the probability."""
    rules = rules or default_rules()
    outside = outside_of(features.envelope)
    first = facts(features, head_of(features.sender), rules.table, outside)
    found = rules.system.evolve(first)
    return {
        "membranes": [
            {
                "name": membrane.name,
                "parent": membrane.parent,
                "title": membrane.title,
                "permeability": membrane.permeability,
                "limit": membrane.limit,
                "begins": [item._asdict() for item in first.get(membrane.name, ())],
                "ends": [item._asdict() for item in found.contents.get(membrane.name, ())],
            }
            for membrane in reversed(rules.system.membranes)
        ],
        "events": [
            {
                "step": event.step,
                "membrane": event.membrane,
                "rule": event.rule.name if event.rule else "",
                "priority": event.rule.priority if event.rule else 0,
                "inputs": [item._asdict() for item in event.used],
                "outputs": [item._asdict() for item in event.made],
                "stopped": [item._asdict() for item in event.stopped],
                "text": str(event),
            }
            for event in found.trace
        ],
        "signals": found.signals,
        "amounts": found.amounts,
        "steps": found.steps,
        "halted": found.halted,
        "probability": evidence(found).probability,
        "warnings": list(rules.warnings),
    }
