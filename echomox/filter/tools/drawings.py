"""What `echomox filter explain --plot` draws of one message, from the dictionary that it prints.

parts     what each part pulls, in log-odds
words     the words that pull most, by the account's counts; not drawn when it knows none of them
emotions  what the message feels like
inputs    what the network reads, chunk by chunk
states    the state of each neuron after each chunk
tree      the membranes, with the objects that each begins and ends with
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from echomox.filter.combine import logit
from echomox.filter.tools.plots import Chart, trace

SHOWN = 8
"""Words of each side."""
OBJECTS = 60
"""Characters of a membrane's objects."""
SIGNS = {1: "+", -1: "-"}


def drawings(answer: Mapping[str, Any]) -> dict[str, Chart]:
    """Name -> chart; of what stands in the answer."""
    out = {"parts": _parts(answer)}
    if answer["words"]["spam"] or answer["words"]["ham"]:
        out["words"] = _words(answer["words"])
    if "affect" in answer:
        out["emotions"] = _emotions(answer["affect"])
    if "esn" in answer:
        out |= trace(answer["esn"])
    if "membranes" in answer:
        out["tree"] = _tree(answer["membranes"])
    return out


def _parts(answer: Mapping[str, Any]) -> Chart:
    pulls = {item["stage"]: item["weight"] * logit(item["probability"]) for item in answer["stages"]}
    title = f"{answer['place']}: P(spam) {answer['probability']:.4f}, {answer['reason']}"
    return _bars(title, "weight x log-odds: right of 0 for spam", pulls)


def _words(words: Mapping[str, Any]) -> Chart:
    rows = [*words["spam"][:SHOWN], *reversed(words["ham"][:SHOWN])]
    return _bars("Words, by the account's counts", "log-odds", {row["word"]: logit(row["probability"]) for row in rows})


def _emotions(affect: Mapping[str, Any]) -> Chart:
    names = ("attention", "complexity", "uncertainty", "pressure", "ask", "engagement", "spam")
    values = {**affect["profile"], **{name: affect[name] for name in names}}
    return Chart("What it feels like", "intensity", "", bars=values, x=(-1.0, 1.0))


def _bars(title: str, label: str, values: Mapping[str, float]) -> Chart:
    most = max([1.0, *map(abs, values.values())])
    return Chart(title, label, "", bars=values, x=(-most, most))


def _tree(found: Mapping[str, Any]) -> Chart:
    title = f"Membranes: P {found['probability']:.4f} after {found['steps']} steps"
    return Chart(title, "", "", outline=_within(found["membranes"], "", 0))


def _within(membranes: Sequence[Mapping[str, Any]], parent: str, depth: int) -> list[tuple[int, str]]:
    """(depth, text) of those within `parent`, each followed by what is within it."""
    rows: list[tuple[int, str]] = []
    for membrane in sorted(membranes, key=itemgetter("title")):
        if membrane["parent"] == parent:
            rows.append((depth, f"{membrane['title'] or membrane['name']}: {_change(membrane)}"))
            rows += _within(membranes, membrane["name"], depth + 1)
    return rows


def _change(membrane: Mapping[str, Any]) -> str:
    begins, ends = (_objects(membrane[when]) for when in ("begins", "ends"))
    return begins if begins == ends else f"{begins} -> {ends}"


def _objects(items: Sequence[Mapping[str, Any]]) -> str:
    text = " ".join(f"{item['type']}{SIGNS.get(item['charge'], '')}({item['value']:g})" for item in items)
    text = text or "nothing"
    return text if len(text) <= OBJECTS else text[: OBJECTS - 1] + "…"
