"""Membrane computing: a P-system, the part of the filter that works untrained and explains itself (R20-R29).

A tree of membranes holds objects. An `Object` has a type, a value (0 to TOP), a charge (-1, 0, +1) and a
mobility (0 to 1). Objects change by rules, in steps, and pass through membranes until no rule can work any
more or MAX_STEPS are over. One step, for every membrane that holds something, leaves before their parents:

1. Dissolution. A membrane with more objects than its limit dissolves: its objects and its inner membranes
   go to the parent, its rules are gone, and one object `dissolved` whose value is the number of objects
   stays in the parent. The skin never dissolves.
2. Evolution, maximally parallel. Rules work by falling priority, then by name; each as often as objects are
   there for it. An input is consumed. Weak priority (the default): what a rule of higher priority leaves over
   is there for the lower ones. Strong priority: once a rule has worked, those of lower priority are barred
   from this membrane for this step. Of objects of one type the one with the greatest value is taken
   first, then by charge and mobility. Conditions "if" and "unless" look at what the membrane held when the
   step began, and consume nothing. Products are there from the next step on.
3. Communication. A product goes `here`, `out` to the parent or `in` to an inner membrane. It passes a
   membrane if it moves at all and mobility + permeability >= 1, with the permeability of the membrane that
   it goes through; else it stays where it was made. A rule that does nothing but send its only input on
   does not work on an object that would not pass. `out` of the skin is lost: nothing is listened to there.
   A product for a membrane that is dissolved, or not directly inside this one, stays here.
4. Rules that dissolve their membrane do so at the end of the step, as in 1 but without `dissolved`.

No randomness, no clock, no state between runs: the same objects give the same trace. Work is bounded by
MAX_STEPS steps and MAX_OBJECTS objects; `Outcome.halted` says whether the system came to rest by itself.

The result is read in the skin. The amount of a signal is the sum of the values of its objects there, those
of charge -1 taken negative:

    spam, ham, phishing   1 - exp(-max(0, amount) / SCALE)     0 to 1
    auth, reputation      tanh(amount / SCALE)                -1 to 1, positive speaks for the sender

Rules come from a file; its language is in `rules`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import exp, fsum, tanh
from typing import NamedTuple

MAX_STEPS = 24
MAX_OBJECTS = 512
"""In all membranes together; what a rule would make beyond is not made, and the step is the last one."""
TOP = 1000.0
SCALE = 3.0
SIGNALS = ("spam", "ham", "phishing", "auth", "reputation")
SIGNED = frozenset({"auth", "reputation"})
SKIN = "skin"
DISSOLVED = "dissolved"
HERE, OUT, IN = "here", "out", "in"
ROUNDING = 1e-9
"""0.3 + 0.7 passes."""


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """signals, amounts: by name, all of SIGNALS. held: what each membrane holds at the end by type, empty ones
    left out. halted: False when MAX_STEPS or MAX_OBJECTS ended it."""

    signals: dict[str, float]
    amounts: dict[str, float]
    trace: tuple[Event, ...]
    held: dict[str, dict[str, list[Object]]]
    steps: int
    halted: bool

    @property
    def contents(self) -> dict[str, tuple[Object, ...]]:
        """What each membrane holds, in the order in which it would be taken."""
        return {
            home: tuple(item for kind in sorted(held) for item in sorted(held[kind], key=_first))
            for home, held in self.held.items()
        }


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


def _bounded(value: float) -> float:
    return min(max(value, 0.0), TOP) if value == value else 0.0


# -- compiled form ---------------------------------------------------------------


class _Made(NamedTuple):
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


class _Compiled(NamedTuple):
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
    carries: bool
    """It does nothing but send its only input out."""
    made: tuple[_Made, ...]


@dataclass(slots=True)
class _Run:
    """The state of one evolution. held: by membrane index, then by type."""

    held: list[dict[str, list[Object]]]
    parent: list[int]
    """-2 for a membrane that is dissolved, -1 above the skin."""
    trace: list[Event] = field(default_factory=list)
    changed: list[bool] = field(default_factory=list)
    """By membrane: since it was last looked at. Where nothing has changed, no rule can work that could not before."""
    total: int = 0
    full: bool = False


class System:
    """Membranes and rules in indexed form; immutable, one for all messages. Order of the membranes: leaves
    first. Raises ValueError for a tree or a name that does not fit (`rules` finds these before, with lines)."""

    def __init__(self, membranes: Sequence[Membrane], rules: Sequence[Rule]) -> None:
        self.membranes = tuple(_leaves_first(membranes))
        self.rules = tuple(rules)
        self._index = {membrane.name: at for at, membrane in enumerate(self.membranes)}
        self._parents = [self._index[m.parent] if m.parent else -1 for m in self.membranes]
        self._skin = self._index[SKIN]
        self._names = [membrane.name for membrane in self.membranes]
        self._limits = [m.limit if m.parent else MAX_OBJECTS + 1 for m in self.membranes]
        self._least = min(self._limits)
        self._looks = [any(m.name in r.membranes and (r.present or r.absent) for r in rules) for m in self.membranes]
        self._rules: list[dict[str, list[_Compiled]]] = [{} for _ in self.membranes]
        ordered = sorted(rules, key=lambda rule: (-rule.priority, rule.name))
        for rank, rule in enumerate(ordered):
            for name in rule.membranes:
                if name not in self._index:
                    raise ValueError(f"rule {rule.name}: no membrane {name}")
                compiled = self._compiled(rank, rule, self._index[name])
                self._rules[self._index[name]].setdefault(rule.inputs[0].type, []).append(compiled)

    def _compiled(self, rank: int, rule: Rule, home: int) -> _Compiled:
        simple = len(rule.inputs) == 1 and rule.inputs[0].plain and not rule.present and not rule.absent
        made = tuple(self._made(product, home) for product in rule.products)
        needs = 0.0
        if simple and any(item.place == 0 and item.into >= 0 for item in made):
            needs = max(1.0 - ROUNDING - self.membranes[home].permeability, ROUNDING)
        types = [pattern.type for pattern in rule.inputs]
        sends = len(rule.products) == 1 and not rule.products[0].type and rule.products[0].target == OUT
        carries = simple and sends and not rule.dissolves
        distinct = len(set(types)) == len(types)
        return _Compiled(rank, rule, types[0], simple, needs, distinct, carries, made)

    def _made(self, product: Product, home: int) -> _Made:
        into = -1
        if product.target == OUT:
            into = self._parents[home] if home != self._skin else home
        elif product.target == IN:
            if product.into not in self._index:
                raise ValueError(f"no membrane {product.into}")
            into = self._index[product.into]
        if not product.type:
            assert isinstance(product.value, int)
            return _Made(None, product.value, product, 0.0, into, False)
        value = _evaluator(product.value)
        fixed = None
        if isinstance(value, float):
            fixed = Object(product.type, _bounded(value), product.charge, product.mobility)
        leaves = product.target == OUT and self._passes(product.mobility, home)
        return _Made(fixed, -1, product, value, into, leaves)

    def _passes(self, mobility: float, through: int) -> bool:
        return mobility > 0.0 and mobility + self.membranes[through].permeability >= 1.0 - ROUNDING

    def evolve(self, contents: Mapping[str, Iterable[Object]]) -> Outcome:
        """Runs the system from these objects, by membrane; those of a membrane that does not exist are left
        out, and so are those beyond MAX_OBJECTS."""
        run = _Run([{} for _ in self.membranes], list(self._parents), changed=[True] * len(self.membranes))
        for name in contents:
            at = self._index.get(name)
            if at is not None:
                items = list(islice(contents[name], MAX_OBJECTS - run.total))
                run.total += len(items)
                _put(items, run.held[at])
        step, halted = 0, False
        while step < MAX_STEPS and not run.full and not halted:
            step += 1
            halted = not self._step(run, step)
        return self._outcome(run, step - 1 if halted else step, halted)

    def _step(self, run: _Run, step: int) -> bool:
        """False when nothing happened any more."""
        before = len(run.trace)
        for at, held in enumerate(run.held if run.total > self._least else ()):
            if held and run.total > self._limits[at]:
                count = sum(map(len, held.values()))
                if count > self._limits[at]:
                    parent = run.parent[at]
                    self._dissolve(run, step, at)
                    run.held[parent].setdefault(DISSOLVED, []).append(Object(DISSOLVED, float(count)))
                    run.changed[parent] = True
                    run.total += 1
        arriving: list[tuple[int, Object]] = []
        going: list[int] = []
        changed = run.changed
        for at, held in enumerate(run.held):
            if held and changed[at] and self._rules[at]:
                worked = len(run.trace)
                self._evolve(run, step, at, arriving, going)
                changed[at] = len(run.trace) > worked
        for at, item in arriving:
            held, kind = run.held[at], item[0]
            if kind in held:
                held[kind].append(item)
            else:
                held[kind] = [item]
            changed[at] = True
        run.total += len(arriving)
        for at in going:
            if run.parent[at] >= 0:
                self._dissolve(run, step, at)
        return len(run.trace) > before

    def _dissolve(self, run: _Run, step: int, at: int) -> None:
        """Objects and inner membranes go to the parent. What is sent out of an inner one arrives there."""
        parent = run.parent[at]
        moved = [item for name in sorted(run.held[at]) for item in run.held[at][name]]
        _put(moved, run.held[parent])
        run.held[at] = {}
        run.changed[parent] = True
        for inner, outer in enumerate(run.parent):
            if outer == at:
                run.parent[inner] = parent
        run.parent[at] = -2
        run.trace.append(Event(step, self.membranes[at].name, None, (), tuple(moved)))

    def _evolve(self, run: _Run, step: int, at: int, arriving: list[tuple[int, Object]], going: list[int]) -> None:
        """One membrane, one step: rules in order until none fits."""
        held, known = run.held[at], self._rules[at]
        waiting: list[_Compiled] = []
        for name in held:
            if name in known:
                waiting += known[name]
        if not waiting:
            return
        if len(waiting) > 1:
            waiting.sort(key=_rank)
        before: dict[str, tuple[Object, ...]] = {}
        if self._looks[at]:
            before = {name: tuple(items) for name, items in held.items()}
        strong, reached = self.membranes[at].strong, 0
        goal, name, trace = run.parent[at], self._names[at], run.trace
        for compiled in waiting:
            _, rule, first, single, needs, _, carries, made = compiled
            if first not in held:
                continue
            if strong and rule.priority < reached:
                break
            uses = _take_single(first, needs, held) if single else self._uses(compiled, held, before)
            if not uses:
                continue
            reached = rule.priority
            if carries and goal >= 0:  # the usual case, shorter
                for used in uses:
                    arriving.append((goal, used[0]))
                    trace.append(_new(Event, (step, name, rule, used, used, ())))
                run.total -= len(uses)
                continue
            run.total -= len(uses) * len(rule.inputs)
            for used in uses:
                if run.total + len(arriving) + len(made) > MAX_OBJECTS:
                    run.full = True
                    return
                products, stopped = self._apply(run, at, made, used, arriving)
                trace.append(_new(Event, (step, name, rule, used, products, stopped)))
            if rule.dissolves and at not in going:
                going.append(at)

    def _uses(
        self, compiled: _Compiled, held: dict[str, list[Object]], before: Mapping[str, tuple[Object, ...]]
    ) -> list[tuple[Object, ...]]:
        """Takes the inputs out, for every time a rule can work that is not `single`."""
        rule = compiled.rule
        if rule.present and not all(_any(pattern, before) for pattern in rule.present):
            return []
        if rule.absent and any(_any(pattern, before) for pattern in rule.absent):
            return []
        if len(rule.inputs) == 1:
            items = held[rule.inputs[0].type]
            if len(items) == 1:  # the usual case, shorter
                if not rule.inputs[0].fits(items[0]):
                    return []
                del held[rule.inputs[0].type]
                return [(items[0],)]
        return _take_all(rule.inputs, held) if compiled.distinct else _take_each(rule.inputs, held)

    def _apply(
        self, run: _Run, at: int, made: tuple[_Made, ...], used: tuple[Object, ...],
        arriving: list[tuple[int, Object]],
    ) -> tuple[tuple[Object, ...], tuple[Object, ...]]:  # fmt: skip
        """Makes the products once: (all of them, those that were stopped)."""
        found: list[Object] = []
        stopped: tuple[Object, ...] = ()
        for fixed, place, product, value, into, leaves in made:
            if fixed is not None:
                item = fixed
            elif place >= 0:
                item = used[place]
            else:
                amount = value if isinstance(value, float) else value(used)
                item = _new(Object, (product.type, _bounded(amount), product.charge, product.mobility))
            found.append(item)
            if into < 0:
                arriving.append((at, item))
                continue
            goal = run.parent[at] if leaves else self._passage(run, at, into, product.target, item)
            if goal >= 0:
                arriving.append((goal, item))
                if goal == at:
                    stopped += (item,)
        return tuple(found), stopped

    def _passage(self, run: _Run, at: int, into: int, target: str, item: Object) -> int:
        """Where a product arrives: the goal, or `at` if it is held back; -1 outside of the skin."""
        if target == OUT:
            goal, through = run.parent[at], at
        else:
            goal = through = into
            if run.parent[into] != at:
                return at
        return goal if self._passes(item.mobility, through) else at

    def _outcome(self, run: _Run, steps: int, halted: bool) -> Outcome:
        skin = run.held[self._skin]
        amounts: dict[str, float] = {}
        signals: dict[str, float] = {}
        for name in SIGNALS:
            items = skin.get(name)
            amount = fsum([-i.value if i.charge < 0 else i.value for i in items]) if items else 0.0
            amounts[name] = amount
            if name in SIGNED:
                signals[name] = tanh(amount / SCALE)
            else:
                signals[name] = 1.0 - exp(-max(0.0, amount) / SCALE)
        left = {name: held for name, held in zip(self._names, run.held) if held}
        return Outcome(signals, amounts, tuple(run.trace), left, steps, halted)


_new = tuple.__new__
"""Makes Event and Object without the detour over keyword arguments; the hot path only."""


_rank = operator.itemgetter(0)


def _put(items: Iterable[Object], held: dict[str, list[Object]]) -> None:
    for item in items:
        kind = item[0]
        if kind in held:
            held[kind].append(item)
        else:
            held[kind] = [item]


def _first(item: Object) -> tuple[float, int, float]:
    """Which of several objects of one type is taken first: the greatest value, charge, mobility."""
    return -item[1], -item[2], -item[3]


def _any(pattern: Pattern, before: Mapping[str, tuple[Object, ...]]) -> bool:
    return any(pattern.fits(item) for item in before.get(pattern.type, ()))


def _take_single(kind: str, needs: float, held: dict[str, list[Object]]) -> list[tuple[Object, ...]]:
    """Takes all objects of a type that move enough."""
    items = held.pop(kind)
    if len(items) == 1 and items[0][3] >= needs:  # the usual case, shorter
        return [(items[0],)]
    blocked = [item for item in items if item.mobility < needs]
    if blocked:
        held[kind] = blocked
        items = [item for item in items if item.mobility >= needs]
    items.sort(key=_first)
    return [(item,) for item in items]


def _take_all(inputs: tuple[Pattern, ...], held: dict[str, list[Object]]) -> list[tuple[Object, ...]]:
    """Takes, as often as it goes, one object for each input; no two inputs are of one type."""
    columns = []
    for pattern in inputs:
        items = held.get(pattern.type)
        fitting = [item for item in items if pattern.fits(item)] if items else []
        if not fitting:
            return []
        columns.append(sorted(fitting, key=_first))
    uses = list(zip(*columns))
    for pattern, column in zip(inputs, columns):
        rest = [item for item in held[pattern.type] if not pattern.fits(item)] + column[len(uses) :]
        if rest:
            held[pattern.type] = rest
        else:
            del held[pattern.type]
    return uses


def _take_each(inputs: tuple[Pattern, ...], held: dict[str, list[Object]]) -> list[tuple[Object, ...]]:
    """The same where inputs compete for objects of one type: the first input chooses first."""
    uses: list[tuple[Object, ...]] = []
    names = dict.fromkeys(pattern.type for pattern in inputs)
    left = {name: sorted(held.get(name, ()), key=_first) for name in names}
    while True:
        taken: list[Object] = []
        for pattern in inputs:
            best = next((item for item in left[pattern.type] if pattern.fits(item)), None)
            if best is None:
                break
            left[pattern.type].remove(best)
            taken.append(best)
        if len(taken) < len(inputs):
            for item in taken:
                left[item.type].append(item)
            break
        uses.append(tuple(taken))
    for name, items in left.items():
        if items:
            held[name] = items
        else:
            held.pop(name, None)
    return uses


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
