"""Membranes and rules in the form in which a `membrane.System` works with them: names are indexes, expressions are
functions, and what can be said of a rule before any object is there is said.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from echomox.reservoir.objects import IN, OUT, TOP, Expression, Membrane, Object, Product, Rule

SKIN = "skin"
ROUNDING = 1e-9
"""0.3 + 0.7 passes."""
Value = Callable[[Sequence[Object]], float]


def _evaluator(node: Expression) -> Value | float:
    """An expression as a function of the inputs; a number when it needs none. Not bounded yet."""
    if not isinstance(node, tuple):
        return float(node)
    if len(node) == 2:
        place = node[1]
        return lambda used: used[place].value
    work = _OPERATIONS[node[0]]
    left, right = _evaluator(node[1]), _evaluator(node[2])
    if isinstance(left, float):
        if isinstance(right, float):
            return work(left, right)
        known, open_ = left, right
        return lambda used: work(known, open_(used))
    if isinstance(right, float):
        first, last = left, right
        return lambda used: work(first(used), last)
    one, other = left, right
    return lambda used: work(one(used), other(used))


_OPERATIONS: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "min": min,
    "max": max,
}


def bounded(value: float) -> float:
    return 0.0 if not value > 0.0 else min(value, TOP)  # neither NaN nor -0.0 is greater


class Made(NamedTuple):
    """A product ready for work. fixed: the object itself when nothing of it depends on the inputs."""

    fixed: Object | None
    place: int
    """Of the input that is moved as it is; -1 for none."""
    product: Product
    value: Value | float
    into: int
    """Index of the membrane it goes to when it passes: the parent, an inner one, or -1 for here."""
    leaves: bool
    """It goes out, and is sure to pass."""


class Compiled(NamedTuple):
    rank: int
    rule: Rule
    first: str
    """Type of the first input."""
    single: bool
    """It is the only one, and any object of the type will do."""
    needs: float
    """Mobility that an object must have for a rule that only moves it; else 0."""
    distinct: bool
    """No two inputs are of one type."""
    alike: bool
    """All inputs are of one type, and any objects of it will do."""
    carries: bool
    """It does nothing but send its only input out."""
    made: tuple[Made, ...]


class Tree:
    """The membranes by index, leaves first. Raises ValueError for what is no tree."""

    def __init__(self, membranes: Sequence[Membrane]) -> None:
        self.membranes = tuple(_leaves_first(membranes))
        self.index = {membrane.name: at for at, membrane in enumerate(self.membranes)}
        self.parents = [self.index[m.parent] if m.parent else -1 for m in self.membranes]
        self.skin = self.index[SKIN]

    def passes(self, mobility: float, through: int) -> bool:
        return mobility > 0.0 and mobility + self.membranes[through].permeability >= 1.0 - ROUNDING


def _leaves_first(membranes: Sequence[Membrane]) -> list[Membrane]:
    """By depth, deepest first, then by name. Raises ValueError for a tree that is none."""
    known = {membrane.name: membrane for membrane in membranes}
    if len(known) != len(membranes) or SKIN not in known or known[SKIN].parent:
        raise ValueError("membranes need one skin, without parent, and names of their own")
    depths: dict[str, int] = {}
    for membrane in membranes:
        depth, at = 0, membrane
        while at.parent:
            depth += 1
            if at.parent not in known or depth > len(known):
                raise ValueError(f"membrane {membrane.name} is not inside the skin")
            at = known[at.parent]
        if at.name != SKIN:
            raise ValueError(f"membrane {membrane.name} is not inside the skin")
        depths[membrane.name] = depth
    return sorted(membranes, key=lambda membrane: (-depths[membrane.name], membrane.name))


def compile_rule(tree: Tree, rank: int, rule: Rule, home: int) -> Compiled:
    """A rule for the membrane `home`. rank: its place among all rules, by priority."""
    simple = len(rule.inputs) == 1 and rule.inputs[0].plain and not rule.present and not rule.absent
    made = tuple(_made(tree, product, home) for product in rule.products)
    needs = 0.0
    if simple and any(item.place == 0 and item.into >= 0 for item in made):
        needs = max(1.0 - ROUNDING - tree.membranes[home].permeability, ROUNDING)
    types = [pattern.type for pattern in rule.inputs]
    sends = len(rule.products) == 1 and not rule.products[0].type and rule.products[0].target == OUT
    carries = simple and sends and not rule.dissolves
    kinds = len(set(types))
    alike = kinds == 1 and all(pattern.plain for pattern in rule.inputs)
    return Compiled(rank, rule, types[0], simple, needs, kinds == len(types), alike, carries, made)


def _made(tree: Tree, product: Product, home: int) -> Made:
    into = -1
    if product.target == OUT:
        into = tree.parents[home] if home != tree.skin else home
    elif product.target == IN:
        if product.into not in tree.index:
            raise ValueError(f"no membrane {product.into}")
        into = tree.index[product.into]
    if not product.type:
        assert isinstance(product.value, int)
        return Made(None, product.value, product, 0.0, into, False)
    value = _evaluator(product.value)
    fixed = None
    if isinstance(value, float):
        fixed = Object(product.type, bounded(value), product.charge, product.mobility)
    leaves = product.target == OUT and tree.passes(product.mobility, home)
    return Made(fixed, -1, product, value, into, leaves)
