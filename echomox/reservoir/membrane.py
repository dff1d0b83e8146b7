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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from math import exp, fsum, tanh
from sys import maxsize
from typing import NamedTuple

from echomox.reservoir.compiled import ROUNDING, SKIN, Compiled, Made, Tree, bounded, compile_rule
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
from echomox.reservoir.taking import by_type, by_worth, holds, take_alike, take_all, take_each, take_single, type_of

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
DISSOLVED = "dissolved"
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
        return {home: tuple(sorted(sorted(held, key=by_worth), key=type_of)) for home, held in self.held.items()}


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
        self._tree = Tree(membranes)
        self.membranes = self._tree.membranes
        self.rules = tuple(rules)
        self._index, self._parents = self._tree.index, self._tree.parents
        self._names = [membrane.name for membrane in self.membranes]
        self._limits = [m.limit if m.parent else maxsize for m in self.membranes]
        self._least = min(self._limits)
        self._looks = [any(m.name in r.membranes and (r.present or r.absent) for r in rules) for m in self.membranes]
        self._rules: list[dict[str, list[Compiled]]] = [{} for _ in self.membranes]
        ordered = sorted(rules, key=lambda rule: (-rule.priority, rule.name))
        for rank, rule in enumerate(ordered):
            for name in rule.membranes:
                if name not in self._index:
                    raise ValueError(f"rule {rule.name}: no membrane {name}")
                home = self._index[name]
                self._rules[home].setdefault(rule.inputs[0].type, []).append(compile_rule(self._tree, rank, rule, home))
        self._remembered = lru_cache(REMEMBERED)(self._whole_work)

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
        moved = sorted(run.held[at], key=type_of)
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
        known, held = self._rules[at], by_type(items)
        before = {kind: tuple(found) for kind, found in held.items()} if self._looks[at] else {}
        waiting: list[Compiled] = []
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
            uses = take_single(first, needs, held) if single else self._uses(compiled, held, before)
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
        self, compiled: Compiled, held: dict[str, list[Object]], before: Mapping[str, tuple[Object, ...]]
    ) -> list[tuple[Object, ...]]:
        """Takes the inputs out, for every time a rule can work that is not `single`."""
        rule = compiled.rule
        if rule.present and not all(holds(pattern, before) for pattern in rule.present):
            return []
        if rule.absent and any(holds(pattern, before) for pattern in rule.absent):
            return []
        if len(rule.inputs) == 1:
            items = held[rule.inputs[0].type]
            if len(items) == 1:  # the usual case, shorter
                if not rule.inputs[0].fits(items[0]):
                    return []
                del held[rule.inputs[0].type]
                return [(items[0],)]
        if compiled.alike:
            return take_alike(rule.inputs[0].type, len(rule.inputs), held)
        return take_all(rule.inputs, held) if compiled.distinct else take_each(rule.inputs, held)

    def _apply(
        self, parents: Sequence[int], at: int, made: tuple[Made, ...], used: tuple[Object, ...],
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
                item = _new(Object, (product.type, bounded(amount), product.charge, product.mobility))
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
        return goal if self._tree.passes(item.mobility, through) else at

    def _outcome(self, run: _Run, steps: int, halted: bool) -> Outcome:
        skin = by_type(run.held[self._tree.skin])
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


_rank = operator.itemgetter(0)
_new = tuple.__new__
"""Makes Event and Object without the detour over keyword arguments; the hot path only."""
