"""Which objects a rule takes out of a membrane. Held objects are lists by type; what is taken is gone from them.

Of several objects of one type the one with the greatest value is taken first, then by charge and mobility (`by_worth`).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping

from echomox.reservoir.objects import Object, Pattern

type_of = operator.itemgetter(0)


def by_type(items: Iterable[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for item in items:
        kind = item[0]
        if kind in found:
            found[kind].append(item)
        else:
            found[kind] = [item]
    return found


def by_worth(item: Object) -> tuple[float, int, float]:
    """Key for sorting objects of one type: the greatest value comes first, then charge, mobility."""
    return -item[1], -item[2], -item[3]


def holds(pattern: Pattern, before: Mapping[str, tuple[Object, ...]]) -> bool:
    return any(pattern.fits(item) for item in before.get(pattern.type, ()))


def take_single(kind: str, needs: float, held: dict[str, list[Object]]) -> list[tuple[Object, ...]]:
    """Takes all objects of a type that move enough."""
    items = held.pop(kind)
    if len(items) == 1 and items[0][3] >= needs:  # the usual case, shorter
        return [(items[0],)]
    blocked = [item for item in items if item.mobility < needs]
    if blocked:
        held[kind] = blocked
        items = [item for item in items if item.mobility >= needs]
    items.sort(key=by_worth)
    return [(item,) for item in items]


def take_alike(kind: str, number: int, held: dict[str, list[Object]]) -> list[tuple[Object, ...]]:
    """Takes `number` objects of one type as often as it goes."""
    items = sorted(held.pop(kind), key=by_worth)
    end = len(items) - len(items) % number
    if end < len(items):
        held[kind] = items[end:]
    return [tuple(items[at : at + number]) for at in range(0, end, number)]


def take_all(inputs: tuple[Pattern, ...], held: dict[str, list[Object]]) -> list[tuple[Object, ...]]:
    """Takes, as often as it goes, one object for each input; no two inputs are of one type."""
    columns = []
    for pattern in inputs:
        items = held.get(pattern.type)
        fitting = [item for item in items if pattern.fits(item)] if items else []
        if not fitting:
            return []
        columns.append(sorted(fitting, key=by_worth))
    uses = list(zip(*columns))
    for pattern, column in zip(inputs, columns):
        rest = [item for item in held[pattern.type] if not pattern.fits(item)] + column[len(uses) :]
        if rest:
            held[pattern.type] = rest
        else:
            del held[pattern.type]
    return uses


def take_each(inputs: tuple[Pattern, ...], held: dict[str, list[Object]]) -> list[tuple[Object, ...]]:
    """The same where inputs compete for objects of one type: the first input chooses first."""
    uses: list[tuple[Object, ...]] = []
    names = dict.fromkeys(pattern.type for pattern in inputs)
    left = {name: sorted(held.get(name, ()), key=by_worth) for name in names}
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
