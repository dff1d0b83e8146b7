"""The P-system against traces worked out by hand."""

from __future__ import annotations

import random
from math import exp, tanh

import pytest

from echomox.reservoir.membrane import (
    MAX_OBJECTS,
    MAX_STEPS,
    TOP,
    Membrane,
    Object,
    Pattern,
    Product,
    Rule,
    System,
)
from echomox.reservoir.rules import compile_rules, parse

HAND = """
membrane skin
membrane room in skin permeability 0.5 limit 4
membrane box in room permeability 0.5
rule pair in box priority 90: a, b[>=2] -> c($1 + $2) out
rule rest in box priority 10: a -> d($1 * 2)[-] ~0.4 out
rule up in room priority 5: c -> spam(min($1, 4)) out
"""


def system(text: str) -> System:
    return compile_rules(parse(text))


def lines(text: str, contents: dict[str, list[Object]]) -> list[str]:
    return [str(event) for event in system(text).evolve(contents).trace]


def test_trace_equals_the_one_worked_by_hand():
    """Step 1: pair takes the greatest a (3) and the only b that is large enough (2), once; the a that is left (1)
    goes to rest, whose product has mobility 0.4 and does not pass permeability 0.5. Step 2: c passes on."""
    box = [Object("a", 1.0), Object("a", 3.0), Object("b", 2.0), Object("b", 1.0)]
    outcome = system(HAND).evolve({"box": box})
    assert [str(event) for event in outcome.trace] == [
        "1 box: pair [90] a(3), b(2) -> c(5)",
        "1 box: rest [10] a(1) -> d-(2)~0.4; not through the membrane: d-(2)~0.4",
        "2 room: up [5] c(5) -> spam(4)",
    ]
    assert outcome.contents == {
        "box": (Object("b", 1.0), Object("d", 2.0, -1, 0.4)),
        "skin": (Object("spam", 4.0),),
    }
    assert (outcome.steps, outcome.halted) == (2, True)
    assert outcome.amounts["spam"] == 4.0
    assert outcome.signals["spam"] == 1.0 - exp(-4.0 / 3.0)


def test_rules_work_as_often_as_objects_are_there():
    rules = "membrane skin\nrule two in skin priority 1: a, a -> b($1 + $2)\n"
    assert lines(rules, {"skin": [Object("a", v) for v in (1.0, 2.0, 3.0, 4.0, 5.0)]}) == [
        "1 skin: two [1] a(5), a(4) -> b(9)",
        "1 skin: two [1] a(3), a(2) -> b(5)",
    ]


def test_products_are_there_from_the_next_step_on():
    rules = "membrane skin\nrule one in skin priority 9: a -> b\nrule two in skin priority 1: b -> c\n"
    assert lines(rules, {"skin": [Object("a"), Object("b")]}) == [
        "1 skin: one [9] a(1) -> b(1)",
        "1 skin: two [1] b(1) -> c(1)",
        "2 skin: two [1] b(1) -> c(1)",
    ]


@pytest.mark.parametrize(("strong", "steps"), [("", [1, 1, 1]), ("strong", [1, 2, 2])])
def test_strong_priority_bars_lower_rules_for_a_step_and_weak_leaves_them_the_rest(strong: str, steps: list[int]):
    rules = (
        f"membrane skin {strong}\nrule high in skin priority 9: a, b -> nothing\nrule low in skin priority 1: a -> c\n"
    )
    outcome = system(rules).evolve({"skin": [Object("a"), Object("a"), Object("a"), Object("b")]})
    assert [event.rule.name for event in outcome.trace if event.rule] == ["high", "low", "low"]
    assert [event.step for event in outcome.trace] == steps


@pytest.mark.parametrize(
    ("condition", "fires"),
    [("[+]", [1]), ("[-]", [-1]), ("[0]", [0]), ("", [1, 0, -1]), ("[>=2]", []), ("[+, <2]", [1]), ("[>1]", [])],
)
def test_inputs_ask_for_charge_and_value(condition: str, fires: list[int]):
    rules = f"membrane skin\nrule r in skin priority 1: a{condition} -> nothing\n"
    outcome = system(rules).evolve({"skin": [Object("a", 1.0, charge) for charge in (-1, 0, 1)]})
    assert [event.used[0].charge for event in outcome.trace] == fires


@pytest.mark.parametrize(("there", "fires"), [("b", True), ("c", False), ("", False)])
def test_conditions_look_and_do_not_take(there: str, fires: bool):
    rules = "membrane skin\nrule r in skin priority 1: a if b unless c -> spam\n"
    objects = [Object("a"), *([Object(there)] if there else [])]
    outcome = system(rules).evolve({"skin": objects})
    assert bool(outcome.trace) is fires
    assert not there or Object(there) in outcome.contents["skin"]


@pytest.mark.parametrize(
    ("permeability", "mobility", "passes"),
    [(0.5, 0.5, True), (0.4, 0.5, False), (1.0, 0.1, True), (1.0, 0.0, False), (0.0, 1.0, True), (0.3, 0.7, True)],
)
def test_permeability_decides_what_passes(permeability: float, mobility: float, passes: bool):
    membranes = f"membrane skin\nmembrane m in skin permeability {permeability}\n"
    rules = f"{membranes}rule r in m priority 1: a -> b ~{mobility} out\n"
    outcome = system(rules).evolve({"m": [Object("a")]})
    assert ("skin" in outcome.contents) is passes
    assert outcome.trace[0].stopped == (() if passes else (Object("b", 1.0, 0, mobility),))


def test_what_cannot_pass_is_not_carried_again_and_again():
    rules = "membrane skin\nmembrane m in skin permeability 0.5\nrule carry in m priority 1: a -> $1 out\n"
    outcome = system(rules).evolve({"m": [Object("a", 1.0, 0, 0.2), Object("a", 2.0)]})
    assert [str(event) for event in outcome.trace] == ["1 m: carry [1] a(2) -> a(2)"]
    assert outcome.halted and outcome.contents["m"] == (Object("a", 1.0, 0, 0.2),)


def test_products_go_into_inner_membranes():
    membranes = "membrane skin\nmembrane m in skin\n"
    rules = membranes + "rule r in skin priority 1: a -> b in m\nrule s in m priority 1: b -> ham out\n"
    assert system(rules).evolve({"skin": [Object("a")]}).amounts["ham"] == 1.0


def test_a_membrane_over_its_limit_dissolves():
    """Objects and inner membranes go to the parent, the rules of the membrane are gone."""
    rules = """
membrane skin
membrane m in skin limit 2
membrane leaf in m
rule lost in m priority 9: a -> spam out
rule found in skin priority 9: a -> ham
rule burst in skin priority 9: dissolved -> phishing($1)
rule up in leaf priority 9: x -> reputation(1)[-] out
"""
    outcome = system(rules).evolve({"m": [Object("a")] * 3, "leaf": [Object("x")]})
    assert str(outcome.trace[0]) == "1 m: dissolves, 3 objects to its parent"
    assert outcome.amounts == {"spam": 0.0, "ham": 3.0, "phishing": 3.0, "auth": 0.0, "reputation": -1.0}
    assert outcome.signals["reputation"] == tanh(-1.0 / 3.0)
    assert system(rules).evolve({"m": [Object("a")] * 2}).amounts["spam"] == 2.0


def test_a_rule_can_dissolve_its_membrane_at_the_end_of_the_step():
    rules = "membrane skin\nmembrane m in skin\nrule r in m priority 9: a -> dissolve\nrule s in m priority 1: b -> c\n"
    assert lines(rules, {"m": [Object("a"), Object("b"), Object("z")]}) == [
        "1 m: r [9] a(1) -> nothing",
        "1 m: s [1] b(1) -> c(1)",
        "1 m: dissolves, 2 objects to its parent",
    ]


def test_the_skin_never_dissolves_and_what_leaves_it_is_lost():
    rules = "membrane skin limit 1\nrule r in skin priority 1: a -> spam out\n"
    outcome = system(rules).evolve({"skin": [Object("a")] * 3})
    assert len(outcome.trace) == 3 and outcome.contents == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$1 * 2 + 1", 7.0), ("1 - $1", 0.0), ("1 - 2 + $1", 2.0), ("min($1, 2)", 2.0), ("max($1 * 0.1, 1)", 1.0),
        ("($1 + 1) * ($1 - 1)", 8.0), ("1000 * 1000", TOP), ("$1 * 1000", TOP), ("0.5", 0.5),
    ],
)  # fmt: skip
def test_expressions(text: str, value: float):
    outcome = system(f"membrane skin\nrule r in skin priority 1: a -> b({text})\n").evolve({"skin": [Object("a", 3.0)]})
    assert outcome.contents["skin"] == (Object("b", value),)


HOSTILE = [
    "rule r in skin priority 1: a -> a\n",
    "rule r in skin priority 1: a -> a, a, a, a, a, a, a, a\n",
    "rule r in skin priority 1: a -> b\nrule s in skin priority 1: b -> a\n",
    "membrane m in skin\nrule r in skin priority 1: a -> $1 in m\nrule s in m priority 1: a -> $1 out\n",
    "rule r in skin priority 1: a -> a($1 * 1000)\n",
    "membrane m in skin permeability 0\nrule r in m priority 1: a -> a ~0.5 out, a out\n",
]


@pytest.mark.parametrize("rules", HOSTILE)
def test_hostile_rules_end(rules: str):
    outcome = system("membrane skin\n" + rules).evolve({"skin": [Object("a")] * 3, "m": [Object("a")]})
    assert outcome.steps <= MAX_STEPS and not outcome.halted
    assert sum(map(len, outcome.contents.values())) <= MAX_OBJECTS
    assert len(outcome.trace) <= MAX_STEPS * MAX_OBJECTS


def test_more_objects_than_the_system_holds_are_left_out():
    outcome = system("membrane skin\n").evolve({"skin": [Object("a")] * (MAX_OBJECTS + 5)})
    assert len(outcome.contents["skin"]) == MAX_OBJECTS


def test_the_order_of_objects_and_membranes_changes_nothing():
    box = [Object("a", 1.0), Object("a", 3.0), Object("b", 2.0), Object("b", 1.0), Object("q")]
    first = system(HAND).evolve({"box": box, "room": [Object("c"), Object("c", 2.0)]})
    again = system(HAND).evolve({"room": [Object("c", 2.0), Object("c")], "box": box[::-1]})
    assert (first.trace, first.contents, first.signals) == (again.trace, again.contents, again.signals)


def test_a_system_without_one_skin_is_refused():
    for membranes in (
        [],
        [Membrane("m")],
        [Membrane("skin"), Membrane("m", "n")],
        [Membrane("skin"), Membrane("skin")],
    ):
        with pytest.raises(ValueError):
            System(membranes, [])
    with pytest.raises(ValueError, match="no membrane x"):
        System([Membrane("skin")], [Rule("r", ("x",), 1, (Pattern("a"),), (Product("b"),))])


def test_the_skin_never_dissolves():
    """Each membrane on the way out adds one object, so that the skin comes to hold more than the system began with."""
    chain = "membrane skin\nmembrane a in skin limit 9\nmembrane b in a limit 9\nmembrane c in b limit 9\n"
    outcome = system(chain).evolve({"c": [Object("spam")] * MAX_OBJECTS})
    assert len(outcome.contents["skin"]) == MAX_OBJECTS + 3
    assert outcome.amounts["spam"] == MAX_OBJECTS


@pytest.mark.parametrize("seed", range(20))
def test_what_is_remembered_is_what_would_be_done_again(seed):
    """One system for many messages, against a new one for each."""
    draw = random.Random(seed)
    remembering = system(HAND)
    for _ in range(40):
        contents = {
            home: [
                Object(draw.choice("abcd"), float(draw.randrange(4)), draw.choice((-1, 0, 1)), draw.choice((0.4, 1.0)))
                for _ in range(draw.randrange(6))
            ]
            for home in ("box", "room", "skin")
        }
        found, fresh = remembering.evolve(contents), system(HAND).evolve(contents)
        assert found == fresh and found.contents == fresh.contents


def test_what_is_remembered_is_not_for_a_membrane_whose_parent_is_gone():
    """An object of box goes to room, and to the skin once room is dissolved."""
    one = system(HAND)
    box = [Object("b", 2.0), Object("a", 1.0)]
    assert str(one.evolve({"box": box}).trace[1]) == "2 room: up [5] c(3) -> spam(3)"
    outcome = one.evolve({"box": box, "room": [Object("q")] * 5})
    assert [str(event) for event in outcome.trace] == [
        "1 room: dissolves, 5 objects to its parent",
        "1 box: pair [90] a(1), b(2) -> c(3)",
    ]
    assert Object("c", 3.0) in outcome.contents["skin"]
