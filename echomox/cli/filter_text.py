"""What `echomox filter explain` prints for people, from the dictionary of `echomox.filter.tools.explain`."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from echomox.cli.console import pairs, rows


def explained(answer: dict[str, Any]) -> list[str]:
    """The decision, a line for each stage, the words, the three groups of features, and what more was asked for."""
    lines = [
        f"{answer['place']}: P(spam) {answer['probability']:.4f} for {answer['account']}, {answer['reason']}",
        f"trained with {answer['learned']} messages; stages: {answer['parts']}",
    ]
    then = answer.get("delivered")
    if then:
        lines.append(f"when it came: {then['place']}: P(spam) {then['probability']:.4f}, {then['reason']}")
    lines += ["", *map(_stage, answer["stages"])]
    if answer.get("checks"):
        checks = [f"{item['method']}={item['result']} {item['log_odds']:+.1f}" for item in answer["checks"]]
        lines += ["", "checks of the delivery, with their log-odds: " + ", ".join(checks)]
    words = answer["words"]
    lines += ["", f"words: {words['tokens']} in the message, {words['known']} known to this account"]
    for side in ("spam", "ham"):
        if words[side]:
            heads = list(words[side][0])
            table = rows(heads, ([_short(item[head]) for head in heads] for item in words[side]))
            lines += [f"  towards {side}:", *("    " + line for line in table)]
    for name, group in answer["features"].items():
        lines += ["", f"{name}:", *("  " + line for line in _group(group))]
    for name, told in (("membranes", membranes), ("esn", _esn), ("affect", _affect), ("timing", _timing)):
        if name in answer:
            lines += ["", *told(answer[name])]
    return lines


def _stage(stage: dict[str, Any]) -> str:
    reasons = "; ".join(stage["reasons"])
    return f"stage {stage['stage']:10}  P {stage['probability']:.4f}  weight {stage['weight']:.2f}  {reasons}".rstrip()


def membranes(found: dict[str, Any]) -> list[str]:
    """The tree, each membrane with its objects before and after; then the events, and the five signals."""
    ended = "came to rest" if found["halted"] else "was ended"
    lines = [f"membranes: P {found['probability']:.4f}; {ended} after {found['steps']} steps"]
    lines += _tree(found["membranes"], "", "  ")
    lines += ["  events, as step membrane: rule [priority] inputs -> outputs"]
    lines += [f"    {event['text']}" for event in found["events"]]
    return [*lines, "  signals", *("    " + line for line in pairs(_rounded(found["signals"])))]


def _tree(membranes: list[dict[str, Any]], parent: str, indent: str) -> list[str]:
    """Those within `parent`, each followed by what is within it, in the order of their titles, which have numbers."""
    lines = []
    for membrane in sorted(membranes, key=itemgetter("title")):
        if membrane["parent"] == parent:
            title = f" ({membrane['title']})" if membrane["title"] else ""
            lines.append(f"{indent}{membrane['name']}{title}: permeability {membrane['permeability']:g}")
            lines += [f"{indent}    {when}: {_objects(membrane[when])}" for when in ("begins", "ends")]
            lines += _tree(membranes, membrane["name"], indent + "  ")
    return lines


def _objects(items: list[dict[str, Any]]) -> str:
    signs = {1: "+", -1: "-"}
    texts = [f"{item['type']}{signs.get(item['charge'], '')}({item['value']:g})~{item['mobility']:g}" for item in items]
    return ", ".join(text.removesuffix("~1") for text in texts) or "nothing"


def _esn(found: dict[str, Any]) -> list[str]:
    """The inputs that are not 0 and the neurons' states, chunk by chunk."""
    reasons = "; ".join(found["reasons"])
    opinion = f"P {found['probability']:.4f}, weight {found['weight']:.2f}" if found["weight"] else "no opinion"
    lines = [f"esn: {opinion}: {reasons}", *("  " + line for line in pairs(found["reservoir"]))]
    for number, (inputs, states) in enumerate(zip(found["inputs"], found["states"]), 1):
        given = ", ".join(f"{name} {value:.4f}" for name, value in inputs.items() if value) or "nothing"
        lines += [f"  chunk {number} inputs: {given}", f"    states: {' '.join(f'{value:+.2f}' for value in states)}"]
    return lines


def _affect(found: dict[str, Any]) -> list[str]:
    """The ten fields and the scores, the matched terms by kind, the warning."""
    return ["affect:", *("  " + line for line in pairs({**found, "warning": found["warning"] or "none"}))]


def _timing(found: dict[str, float]) -> list[str]:
    """What a classifier saves by judging messages together is not in it."""
    return ["timing: microseconds for this message alone", *("  " + line for line in pairs(found))]


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _short(value) for name, value in values.items()}


def _group(group: Any) -> list[str]:
    return pairs(group) if isinstance(group, dict) else [str(group)]


def _short(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
