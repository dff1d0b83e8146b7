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

What one membrane does in one step depends on the objects in it alone, and messages have few and like objects in
most membranes. So a system remembers it (REMEMBERED times, up to REMEMBERED_OBJECTS objects) while its tree is whole.

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
from functools import lru_cache
from itertools import chain, islice
from math import exp, fsum, tanh
from sys import maxsize
from typing import NamedTuple

from echomox.reservoir.objects import (
    HERE,
    IN,
    OUT,
    TOP,
    Event,
    Expression,
    Membrane,
    Object,
    Pattern,
    Product,
    Rule,
)

__all__ = [
    "DISSOLVED", "HERE", "IN", "MAX_OBJECTS", "MAX_STEPS", "OUT", "ROUNDING", "SIGNALS", "SKIN", "TOP", "Event",
    "Expression", "Membrane", "Object", "Outcome", "Pattern", "Product", "Rule", "System",
]  # fmt: skip

MAX_STEPS = 24
MAX_OBJECTS = 512
"""In all membranes together; what a rule would make beyond is not made, and the step is the last one."""
SCALE = 3.0
SIGNALS = ("spam", "ham", "phishing", "auth", "reputation")
SIGNED = frozenset({"auth", "reputation"})
SKIN = "skin"
DISSOLVED = "dissolved"
ROUNDING = 1e-9
"""0.3 + 0.7 passes."""
REMEMBERED = 2048
REMEMBERED_OBJECTS = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """signals, amounts: by name, all of SIGNALS. held: what each membrane holds at the end, empty ones left out.
    halted: False when MAX_STEPS or MAX_OBJECTS ended it."""

    signals: dict[str, float]
    amounts: dict[str, float]
    trace: tuple[Event, ...]
    held: dict[str, list[Object]]
    steps: int
    halted: bool

    @property
    def contents(self) -> dict[str, tuple[Object, ...]]:
        """What each membrane holds, in the order in which it would be taken."""
        return {home: tuple(sorted(sorted(held, key=_first), key=_type)) for home, held in self.held.items()}


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
    return 0.0 if not value > 0.0 else min(value, TOP)  # neither NaN nor -0.0 is greater


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
    alike: bool
    """All inputs are of one type, and any objects of it will do."""
    carries: bool
    """It does nothing but send its only input out."""
    made: tuple[_Made, ...]


class _Work(NamedTuple):
    """What one membrane does in one step. left: what it holds afterwards, before anything arrives. sent: (index of a
    membrane, object) of what arrives at the end of the step. used: how many objects it consumes. dissolves: one of its
    rules dissolves it. peak: how many objects more there were at most than before. full: that was too much."""

    left: tuple[Object, ...]
    sent: tuple[tuple[int, Object], ...]
    events: tuple[Event, ...]
    used: int
    dissolves: bool
    peak: int
    full: bool


@dataclass(slots=True)
class _Run:
    """The state of one evolution. held: by membrane index, in the order in which the objects came."""

    held: list[list[Object]]
    parent: list[int]
    """-2 for a membrane that is dissolved, -1 above the skin."""
    active: set[int]
    """Membranes in which something has changed. In the others no rule can work that could not before."""
    trace: list[Event] = field(default_factory=list)
    total: int = 0
    whole: bool = True
    """No membrane is dissolved."""
    full: bool = False


class System:
    """Membranes and rules in indexed form, one for all messages; nothing of it changes but what it remembers. Order of
    the membranes: leaves first. Raises ValueError for a tree or a name that does not fit (`rules` finds these before,
    with lines)."""

    def __init__(self, membranes: Sequence[Membrane], rules: Sequence[Rule]) -> None:
        self.membranes = tuple(_leaves_first(membranes))
        self.rules = tuple(rules)
        self._index = {membrane.name: at for at, membrane in enumerate(self.membranes)}
        self._parents = [self._index[m.parent] if m.parent else -1 for m in self.membranes]
        self._skin = self._index[SKIN]
        self._names = [membrane.name for membrane in self.membranes]
        self._limits = [m.limit if m.parent else maxsize for m in self.membranes]
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
        self._remembered = lru_cache(REMEMBERED)(self._whole_work)

    def _compiled(self, rank: int, rule: Rule, home: int) -> _Compiled:
        simple = len(rule.inputs) == 1 and rule.inputs[0].plain and not rule.present and not rule.absent
        made = tuple(self._made(product, home) for product in rule.products)
        needs = 0.0
        if simple and any(item.place == 0 and item.into >= 0 for item in made):
            needs = max(1.0 - ROUNDING - self.membranes[home].permeability, ROUNDING)
        types = [pattern.type for pattern in rule.inputs]
        sends = len(rule.products) == 1 and not rule.products[0].type and rule.products[0].target == OUT
        carries = simple and sends and not rule.dissolves
        kinds = len(set(types))
        alike = kinds == 1 and all(pattern.plain for pattern in rule.inputs)
        return _Compiled(rank, rule, types[0], simple, needs, kinds == len(types), alike, carries, made)

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
        run = _Run([[] for _ in self.membranes], list(self._parents), set())
        for name in contents:
            at = self._index.get(name)
            if at is not None:
                run.held[at] = list(islice(contents[name], MAX_OBJECTS - run.total))
                run.total += len(run.held[at])
                run.active.add(at)
        step, halted = 0, False
        while step < MAX_STEPS and not run.full and not halted:
            step += 1
            halted = not self._step(run, step)
        return self._outcome(run, step - 1 if halted else step, halted)

    def _step(self, run: _Run, step: int) -> bool:
        """False when nothing happened any more."""
        before = len(run.trace)
        if run.total > self._least:
            self._overflow(run, step)
        held, active = run.held, sorted(run.active)
        run.active.clear()
        arriving: list[tuple[int, Object]] = []
        going: list[int] = []
        for at in active:
            if not held[at] or not self._rules[at]:
                continue
            left, sent, events, used, dissolves, _, full = self._work_of(run, step, at, len(arriving))
            if used:
                held[at] = list(left)
                arriving += sent
                run.trace += events
                run.active.add(at)
                run.total -= used
                run.full = run.full or full
                if dissolves:
                    going.append(at)
        for at, item in arriving:
            held[at].append(item)
            run.active.add(at)
        run.total += len(arriving)
        for at in going:
            if run.parent[at] >= 0:
                self._dissolve(run, step, at)
        return len(run.trace) > before

    def _overflow(self, run: _Run, step: int) -> None:
        """What holds more than its limit dissolves."""
        for at, limit in enumerate(self._limits):
            count = len(run.held[at])
            if count > limit:
                parent = run.parent[at]
                self._dissolve(run, step, at)
                run.held[parent].append(Object(DISSOLVED, float(count)))
                run.total += 1

    def _dissolve(self, run: _Run, step: int, at: int) -> None:
        """Objects and inner membranes go to the parent. What is sent out of an inner one arrives there."""
        parent = run.parent[at]
        moved = sorted(run.held[at], key=_type)
        run.held[parent] += moved
        run.held[at] = []
        run.active.add(parent)
        for inner, outer in enumerate(run.parent):
            if outer == at:
                run.parent[inner] = parent
        run.parent[at] = -2
        run.whole = False
        run.trace.append(Event(step, self.membranes[at].name, None, (), tuple(moved)))

    def _work_of(self, run: _Run, step: int, at: int, arriving: int) -> _Work:
        """What a membrane does now. arriving: number of objects that the others have sent in this step."""
        items, room = run.held[at], MAX_OBJECTS - run.total - arriving
        if run.whole and len(items) <= REMEMBERED_OBJECTS:
            work = self._remembered(step, at, tuple(items))
            if work.peak <= room:
                return work
        return self._work(step, at, items, run.parent, room)

    def _whole_work(self, step: int, at: int, items: tuple[Object, ...]) -> _Work:
        """What is remembered: of a tree that is whole, with room enough."""
        return self._work(step, at, items, self._parents, MAX_OBJECTS)

    def _work(self, step: int, at: int, items: Iterable[Object], parents: Sequence[int], room: int) -> _Work:
        """Rules in order until none fits. room: objects that may come to be beyond those there are."""
        known, held = self._rules[at], _by_type(items)
        before = {kind: tuple(found) for kind, found in held.items()} if self._looks[at] else {}
        waiting: list[_Compiled] = []
        for kind in held:
            if kind in known:
                waiting += known[kind]
        waiting.sort(key=_rank)
        name, strong, goal = self._names[at], self.membranes[at].strong, parents[at]
        sent: list[tuple[int, Object]] = []
        events: list[Event] = []
        used, peak, reached = 0, 0, 0
        dissolves = full = False
        for compiled in waiting:
            _, rule, first, single, needs, _, _, carries, made = compiled
            if first not in held:
                continue
            if full or (strong and rule.priority < reached):
                break
            uses = _take_single(first, needs, held) if single else self._uses(compiled, held, before)
            if not uses:
                continue
            reached = rule.priority
            used += len(uses) * len(rule.inputs)
            if carries and goal >= 0:  # the usual case, shorter
                for taken in uses:
                    sent.append((goal, taken[0]))
                    events.append(_new(Event, (step, name, rule, taken, taken, ())))
                continue
            for taken in uses:
                more = len(sent) + len(made) - used
                if more > peak:
                    peak = more
                if more > room:
                    full = True
                    break
                products, stopped = self._apply(parents, at, made, taken, sent)
                events.append(_new(Event, (step, name, rule, taken, products, stopped)))
            dissolves = dissolves or (rule.dissolves and not full)
        left = tuple(chain.from_iterable(held.values()))
        return _new(_Work, (left, tuple(sent), tuple(events), used, dissolves, peak, full))

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
        if compiled.alike:
            return _take_alike(rule.inputs[0].type, len(rule.inputs), held)
        return _take_all(rule.inputs, held) if compiled.distinct else _take_each(rule.inputs, held)

    def _apply(
        self, parents: Sequence[int], at: int, made: tuple[_Made, ...], used: tuple[Object, ...],
        sent: list[tuple[int, Object]],
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
                sent.append((at, item))
                continue
            goal = parents[at] if leaves else self._passage(parents, at, into, product.target, item)
            if goal >= 0:
                sent.append((goal, item))
                if goal == at:
                    stopped += (item,)
        return tuple(found), stopped

    def _passage(self, parents: Sequence[int], at: int, into: int, target: str, item: Object) -> int:
        """Where a product arrives: the goal, or `at` if it is held back; -1 outside of the skin."""
        if target == OUT:
            goal, through = parents[at], at
        else:
            goal = through = into
            if parents[into] != at:
                return at
        return goal if self._passes(item.mobility, through) else at

    def _outcome(self, run: _Run, steps: int, halted: bool) -> Outcome:
        skin = _by_type(run.held[self._skin])
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
_type = operator.itemgetter(0)


def _by_type(items: Iterable[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for item in items:
        kind = item[0]
        if kind in found:
            found[kind].append(item)
        else:
            found[kind] = [item]
    return found


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


def _take_alike(kind: str, number: int, held: dict[str, list[Object]]) -> list[tuple[Object, ...]]:
    """Takes `number` objects of one type as often as it goes."""
    items = sorted(held.pop(kind), key=_first)
    end = len(items) - len(items) % number
    if end < len(items):
        held[kind] = items[end:]
    return [tuple(items[at : at + number]) for at in range(0, end, number)]


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
