"""What membrane computing is about: objects, membranes, the parts of rules, and what happens to objects.

All are values; `membrane` says what they mean and lets them evolve, `rules` reads them from a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

TOP = 1000.0
HERE, OUT, IN = "here", "out", "in"


class Object(NamedTuple):
    """value: 0 to TOP. charge: -1, 0 or 1. mobility: 0 (fixed) to 1."""

    type: str
    value: float = 1.0
    charge: int = 0
    mobility: float = 1.0

    def __str__(self) -> str:
        sign = {1: "+", -1: "-"}.get(self.charge, "")
        return f"{self.type}{sign}({self.value:g}){'' if self.mobility == 1.0 else f'~{self.mobility:g}'}"


Expression = float | int | tuple[str, "Expression", "Expression"] | tuple[str, int]
"""A number, ("$", n) for the value of the n-th input from 0, or (one of + - * min max, left, right)."""


@dataclass(frozen=True, slots=True)
class Membrane:
    """parent: its name, "" for the skin. permeability: 0 (closed) to 1. limit: objects it can hold. strong:
    priority of its rules. title: for people."""

    name: str
    parent: str = ""
    permeability: float = 0.5
    limit: int = 64
    strong: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Objects a rule asks for: of a type, of a charge (None: any), low <= value <= high; the bounds belong
    to it unless the flags say otherwise."""

    type: str
    charge: int | None = None
    low: float = 0.0
    high: float = TOP
    above: bool = False
    """value > low"""
    below: bool = False
    """value < high"""

    @property
    def plain(self) -> bool:
        """Any object of the type fits."""
        return self.charge is None and self.low <= 0.0 and not self.above and self.high >= TOP and not self.below

    def fits(self, item: Object) -> bool:
        if self.charge is not None and item.charge != self.charge:
            return False
        if item.value < self.low or (self.above and item.value <= self.low):
            return False
        return not (item.value > self.high or (self.below and item.value >= self.high))


@dataclass(frozen=True, slots=True)
class Product:
    """type "" : the n-th input itself, n is `value`. target: HERE, OUT or IN; into: the inner membrane."""

    type: str
    value: Expression = 1.0
    charge: int = 0
    mobility: float = 1.0
    target: str = HERE
    into: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """dissolves: the membrane, after a step in which it worked. line: of the file, 0 for none."""

    name: str
    membranes: tuple[str, ...]
    priority: int
    inputs: tuple[Pattern, ...]
    products: tuple[Product, ...]
    present: tuple[Pattern, ...] = ()
    absent: tuple[Pattern, ...] = ()
    dissolves: bool = False
    line: int = 0


class Event(NamedTuple):
    """What happened: rule None means that the membrane dissolved and `made` went to its parent. step: from
    1. stopped: products that did not get through the membrane and stayed."""

    step: int
    membrane: str
    rule: Rule | None
    used: tuple[Object, ...]
    made: tuple[Object, ...]
    stopped: tuple[Object, ...] = ()

    def __str__(self) -> str:
        if self.rule is None:
            return f"{self.step} {self.membrane}: dissolves, {len(self.made)} objects to its parent"
        made = ", ".join(map(str, self.made)) or "nothing"
        kept = f"; not through the membrane: {', '.join(map(str, self.stopped))}" if self.stopped else ""
        used = ", ".join(map(str, self.used))
        return f"{self.step} {self.membrane}: {self.rule.name} [{self.rule.priority}] {used} -> {made}{kept}"
