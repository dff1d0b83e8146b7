"""The checker of rule files: what `rules.parse` understands but nobody can mean (R30).

Fatal are types that nobody makes. Warnings are rules that can never work, because an input never comes to their
membrane or a rule before takes all of it, and rules that can feed themselves without end. All by types and
places; what values and charges add is looked at only where one rule stands before another. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from echomox.reservoir.membrane import DISSOLVED, HERE, OUT, ROUNDING, SIGNALS, Rule, System
from echomox.reservoir.rules import Problem, RuleFile, RulesError, compile_rules, parse

Facts = Mapping[str, Collection[str]]
"""Membrane -> types of the objects that are put into it at the start."""


def check(file: RuleFile, facts: Facts) -> list[Problem]:
    """What cannot be meant, by line. Fatal: types that nobody makes. The others are warnings: rules that can
    never work, loops that only the limit of steps ends."""
    facts = all_facts(file, facts)
    there = _reachable(file, facts)
    made = {kind for _, kind in there} | {DISSOLVED}
    out = _unknown(file, facts, made)
    for rule in file.rules:
        if all(pattern.type in made for pattern in rule.inputs):
            out += _never(file, rule, there)
    out += _loops(file, there)
    return sorted(out)


def all_facts(file: RuleFile, facts: Facts) -> Facts:
    """The facts with those that the file's own words make."""
    out = {home: set(kinds) for home, kinds in facts.items()}
    for words in file.words:
        out.setdefault(words.membrane, set()).add(words.kind)
    return out


def load(text: str, facts: Facts) -> tuple[RuleFile, System, list[Problem]]:
    """A file parsed, checked and compiled, with the warnings. Raises RulesError."""
    file = parse(text)
    problems = check(file, facts)
    fatal = [problem for problem in problems if problem.fatal]
    if fatal:
        raise RulesError(fatal)
    return file, compile_rules(file), problems


Place = tuple[str, str]
"""(membrane, type)"""


def _goals(file: RuleFile, rule: Rule, home: str) -> list[Place]:
    """Where the products of a rule can be found after it worked in one of its membranes."""
    known = {membrane.name: membrane for membrane in file.membranes}
    out = []
    for product in rule.products:
        kind = product.type or rule.inputs[int(str(product.value))].type
        if product.target == HERE:
            out.append((home, kind))
            continue
        gate = known[home if product.target == OUT else product.into]
        goal = gate.parent if product.target == OUT else gate.name
        if not product.type or product.mobility + gate.permeability >= 1.0 - ROUNDING:
            out.append((goal, kind))
        elif product.type:
            out.append((home, kind))
    return [place for place in out if place[0]]


def _reachable(file: RuleFile, facts: Facts) -> set[Place]:
    """Every (membrane, type) that can come to be. A membrane can always dissolve by its limit."""
    there = {(home, kind) for home, kinds in facts.items() for kind in kinds}
    parents = {membrane.name: membrane.parent for membrane in file.membranes}
    there |= {(parent, DISSOLVED) for parent in parents.values() if parent}
    size = -1
    while size != len(there):
        size = len(there)
        for home, kind in sorted(there):
            if parents.get(home):
                there.add((parents[home], kind))
        for rule in file.rules:
            for home in rule.membranes:
                if all((home, pattern.type) in there for pattern in rule.inputs):
                    there.update(_goals(file, rule, home))
    return there


def _unknown(file: RuleFile, facts: Facts, made: set[str]) -> list[Problem]:
    out = []
    products = {product.type for rule in file.rules for product in rule.products}
    known = {kind for kinds in facts.values() for kind in kinds} | products | {DISSOLVED, *SIGNALS}
    for rule in file.rules:
        for pattern in (*rule.inputs, *rule.present, *rule.absent):
            if pattern.type not in known:
                near = [name for name in sorted(known) if name[:4] == pattern.type[:4]][:5]
                hint = f"; near it: {', '.join(near)}" if near else ""
                out.append(Problem(rule.line, f"rule {rule.name}: nobody makes objects of type {pattern.type!r}{hint}"))
            elif pattern.type not in made and pattern in rule.inputs:
                text = f"rule {rule.name} can never work: no {pattern.type} comes to be"
                out.append(Problem(rule.line, text, fatal=False))
    return out


def _never(file: RuleFile, rule: Rule, there: set[Place]) -> list[Problem]:
    """Rules whose inputs do not meet, or are always taken by a rule before."""
    out = []
    for home in rule.membranes:
        missing = [p.type for p in (*rule.inputs, *rule.present) if (home, p.type) not in there]
        if missing:
            text = f"rule {rule.name} can never work in {home}: no {missing[0]} comes there"
            out.append(Problem(rule.line, text, fatal=False))
            continue
        for other in file.rules:
            if home in other.membranes and _before(other, rule) and _takes_all(other, rule):
                text = f"rule {rule.name} can never work in {home}: {other.name} has priority and takes all"
                out.append(Problem(rule.line, text, fatal=False))
                break
    return out


def _before(one: Rule, other: Rule) -> bool:
    return (-one.priority, one.name) < (-other.priority, other.name)


def _takes_all(one: Rule, other: Rule) -> bool:
    """Whether nothing is left of some input of `other` when `one` has worked."""
    if len(one.inputs) != 1 or one.present or one.absent or any(not product.type for product in one.products):
        return False
    wide = one.inputs[0]
    return any(
        wide.type == narrow.type
        and (wide.charge is None or wide.charge == narrow.charge)
        and (wide.low < narrow.low or (wide.low == narrow.low and (not wide.above or narrow.above)))
        and (wide.high > narrow.high or (wide.high == narrow.high and (not wide.below or narrow.below)))
        for narrow in other.inputs
    )


def _loops(file: RuleFile, there: set[Place]) -> list[Problem]:
    """Rules that can feed themselves, over others too, without using anything up."""
    edges: dict[Place, set[Place]] = {}
    steps: list[tuple[Rule, str, list[Place], list[Place]]] = []
    for rule in file.rules:
        for home in rule.membranes:
            sources = [(home, pattern.type) for pattern in rule.inputs]
            if all(source in there for source in sources):
                goals = _goals(file, rule, home)
                steps.append((rule, home, sources, goals))
                for source in sources:
                    edges.setdefault(source, set()).update(goals)
    out = []
    for rule, home, sources, goals in steps:
        back = [goal for goal in goals if any(source in _after(edges, goal) for source in sources)]
        fed = [source for source in sources if any(source in _after(edges, goal) for goal in goals)]
        if back and len(back) >= len(fed) and not _shrinks(rule):
            text = f"rule {rule.name} in {home} can feed itself without end; only the limit of steps stops it"
            out.append(Problem(rule.line, text, fatal=False))
    return out


def _after(edges: Mapping[Place, set[Place]], start: Place) -> set[Place]:
    """All that can come of an object, itself included."""
    found, waiting = {start}, [start]
    while waiting:
        for place in edges.get(waiting.pop(), ()):
            if place not in found:
                found.add(place)
                waiting.append(place)
    return found


def _shrinks(rule: Rule) -> bool:
    """Every product is worth less, by a constant, than an input with a lower bound: it ends by itself."""
    for product in rule.products:
        value = product.value
        if not (isinstance(value, tuple) and len(value) == 3 and value[0] == "-"):
            return False
        left, right = value[1], value[2]
        if not (isinstance(left, tuple) and left[0] == "$" and isinstance(right, float) and right > 0):
            return False
        source = rule.inputs[int(str(left[1]))]
        if source.low <= 0.0 and not source.above:
            return False
    return bool(rule.products)
