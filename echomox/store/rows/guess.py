"""What the trace headers of a message say of the filter's verdict, as the JSON of the verdict would say it.

The packed verdict (packing.py) is what this is wrong in: most of it stands in X-EchoMox-Verdict and X-EchoMox-Rule,
with fewer digits, fewer reasons, and marks instead of blanks. Any octets may come in; what is strange gives a poor
guess. As packed rows were made with it, nothing here may ever change: another guess is another form. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

_FIELD = re.compile(rb"^X-EchoMox-Verdict: ([^\r]*(?:\r\n[ \t][^\r]*)*)", re.MULTILINE)
_RULE = re.compile(rb"^X-EchoMox-Rule: ([^\s;]*);\s+reason=([^\s;]*)", re.MULTILINE)
_HEAD = re.compile(r"([^ ;]*); p=([0-9.]+); reason=([^;]*); parts=([^ ;]*);(?: by=[^ ;]*; learned=([0-9]+);)?")
_PART = re.compile(r"(\w+)=([0-9.]+)\*([0-9.]+)(?: \(([^)]*)\))?;")
_WEIGHT = re.compile(rb'"weight": ([0-9]+\.[0-9]{3,4})[,}]')
_ACCOUNT = re.compile(rb'"account": "([^"\\]+)", "')


class Facts(NamedTuple):
    """What a header does not say. account: its name in the JSON; weights: with all their digits, by how the header
    has them."""

    account: str
    weights: Mapping[str, str]


NOTHING = Facts("", {})


def facts(texts: bytes) -> Facts:
    """Of those in pieces of verdicts; the last one counts."""
    accounts = _ACCOUNT.findall(texts)
    weights = [weight.decode() for weight in _WEIGHT.findall(texts)]
    account = accounts[-1].decode("latin-1") if accounts else ""
    return Facts(account, {f"{float(weight):.2f}": weight for weight in weights})


def verdict(prefix: bytes, known: Facts = NOTHING) -> bytes:
    """b"" where there is no such header."""
    found = _FIELD.search(prefix)
    text = found[1].decode("latin-1").replace("\r\n\t", " ") if found else ""
    head = _HEAD.match(text)
    if head is None:
        return b""
    place, probability, reason, parts, learned = head.groups()
    rule = _RULE.search(prefix)
    if rule is not None:
        place, reason = rule[1].decode("latin-1"), rule[2].decode("latin-1")
    number = _number(probability)
    parts_said = [
        _evidence(stage, chance, known.weights.get(weight, weight), reasons)
        for stage, chance, weight, reasons in _PART.findall(text, head.end())
    ]
    evidence = "}, ".join(parts_said)
    return (
        f'{{"place": "{place}", "reason": "{reason}", "account": "{known.account}", "probability": {number}, '
        f'"evidence": [{evidence}}}], "parts": "{parts}", "learned": {learned}, "acts": {number}'
    ).encode("latin-1", "replace")


@lru_cache(maxsize=256)
def _evidence(stage: str, probability: str, weight: str, reasons: str) -> str:
    said = '", "'.join([_reason(stage, reason) for reason in reasons.split(",")])
    numbers = f'"probability": {_number(probability)}, "weight": {_number(weight)}'
    return f'{{"stage": "{stage}", {numbers}, "reasons": ["{said}"]'


def _number(digits: str) -> str:
    """As JSON has it: without the noughts at the end."""
    short = digits.rstrip("0")
    return f"{short}0" if short.endswith(".") else short


def _reason(stage: str, word: str) -> str:
    if stage == "membranes":  # rules, whose names have such marks of their own
        return word
    head, gap, tail = word.partition("__")
    head = head.replace("_", " ")
    return f"{head} ({tail.rstrip('_').replace('__', ', ').replace('_', ' ')})" if gap else head
