"""The language of the rule file: what it takes, what it refuses and how it says so, what the checker finds."""

from __future__ import annotations

import pytest

from echomox.reservoir.membrane import Object, Pattern, Product
from echomox.reservoir.rulecheck import check, load
from echomox.reservoir.rules import RulesError, parse

SKIN = "membrane skin\n"
INNER = 'membrane skin "All"\nmembrane m in skin permeability 0.25 limit 7 strong "The inner"  # says #1\n'


def test_a_file_says_what_it_means():
    file = parse(
        INNER
        + '# a comment\nwords w in m: "Good  Day", "x"\nrule r in m, skin priority 3: a[+, >=2], b[<3]\n'
        + "    if c unless d[-]\n    -> e(1)[-] ~0.5 out, $2 out\n"
    )
    inner = file.membranes[1]
    assert (inner.permeability, inner.limit, inner.strong, inner.title) == (0.25, 7, True, "The inner")
    assert file.words[0][:3] == ("w", "m", ("good day", "x"))
    rule = file.rules[0]
    assert (rule.name, rule.membranes, rule.priority, rule.line) == ("r", ("m", "skin"), 3, 5)
    assert rule.inputs == (Pattern("a", 1, 2.0), Pattern("b", None, 0.0, 3.0, below=True))
    assert (rule.present, rule.absent) == ((Pattern("c"),), (Pattern("d", -1),))
    assert rule.products == (Product("e", 1.0, -1, 0.5, "out"), Product("", 1, 0, 1.0, "out"))


WRONG = [
    ("rul x", 2, "begins with 'membrane', 'words' or 'rule'"),
    ("rule r in skin priority 1 a -> b", 2, "expected ':'"),
    ("rule r in skin priority high: a -> b", 2, "priority: expected a number"),
    ("rule r in skin priority 1.5: a -> b", 2, "whole number"),
    ("rule r in skin priority 1000: a -> b", 2, "not between 0 and 999"),
    ("rule r in nowhere priority 1: a -> b", 2, "no membrane 'nowhere'; there are skin"),
    ("rule r in skin priority 1: a[?] -> b", 2, "cannot read '?]"),
    ("rule r in skin priority 1: a[b] -> b", 2, "conditions are + - 0"),
    ("rule r in skin priority 1: a[>3, <2] -> b", 2, "no value can be both"),
    ("rule r in skin priority 1: a[>3, <=3] -> b", 2, "no value can be both"),
    ("rule r in skin priority 1: a -> b($2)", 2, "the rule has 1 inputs"),
    ("rule r in skin priority 1: a -> b(__import__)", 2, "expected a number"),
    ("rule r in skin priority 1: a -> b(exec(1))", 2, "expected a number"),
    ("rule r in skin priority 1: a -> b(1 / 2)", 2, "cannot read '/"),
    ("rule r in skin priority 1: a -> b(" + "(" * 20 + "1" + ")" * 20 + ")", 2, "deeper than"),
    ("rule r in skin priority 1: a -> b(2000)", 2, "not between 0 and 1000"),
    ("rule r in skin priority 1: a -> b ~2", 2, "mobility: 2 is not between"),
    ("rule r in skin priority 1: a -> b[x]", 2, "a charge is + - or 0"),
    ("rule r in skin priority 1: a -> b c", 2, "'c' is too much"),
    ("rule r in skin priority 1: if -> b", 2, "expected a name"),
    ("rule r in skin priority 1: a -> b in elsewhere", 2, "no membrane 'elsewhere'"),
    ("rule r in skin priority 1: a, a, a, a, a, a, a -> b", 2, "more than 6 inputs"),
    ("membrane skin", 2, "there already, line 1"),
    ("rule r in skin priority 1: a -> b\nrule r in skin priority 1: a -> b", 3, "there already, line 2"),
    ("membrane m", 2, "only skin has none"),
    ("membrane m in x", 2, "not inside the skin"),
    ("membrane m in n\nmembrane n in m", 2, "not inside the skin"),
    ("membrane m in skin permeability 1.5", 2, "permeability: 1.5 is not between 0 and 1"),
    ("membrane m in skin limit 0", 2, "limit: 0 is not between"),
    ("membrane m in skin colour", 2, "allowed are permeability, limit, strong"),
    ("words w in skin: x", 2, 'expected a phrase in ""'),
    ('words w in m: "x"', 2, "no membrane 'm'"),
]


@pytest.mark.parametrize(("line", "number", "message"), WRONG)
def test_errors_name_the_line_and_what_is_allowed(line: str, number: int, message: str):
    with pytest.raises(RulesError) as caught:
        parse(SKIN + line + "\n")
    assert caught.value.problems[0].line == number
    assert message in caught.value.problems[0].text


def test_all_wrong_lines_are_named_at_once():
    with pytest.raises(RulesError) as caught:
        parse("rule\nmembrane\nnonsense\n")
    assert [problem.line for problem in caught.value.problems] == [0, 1, 2, 3]


@pytest.mark.parametrize("text", ["", "#\n", "x" * 300_000, "\0", 'membrane skin "', "membrane skin\n" * 100])
def test_anything_is_refused_with_a_problem(text: str):
    with pytest.raises(RulesError):
        parse(text)


FACTS = {"skin": ["a", "b", "c"], "m": ["a"]}
FOUND = [
    ("rule r in skin priority 1: zebra -> spam", True, "nobody makes objects of type 'zebra'"),
    ("rule r in skin priority 1: a unless zebra -> spam", True, "nobody makes objects of type 'zebra'"),
    ("rule r in m priority 1: b -> spam", False, "can never work in m: no b comes there"),
    ("rule r in m priority 1: a if b -> spam", False, "can never work in m: no b comes there"),
    ("rule r in skin priority 1: a[>=2] -> spam\nrule all in skin priority 2: a -> ham", False, "all has priority"),
    ("rule z in skin priority 1: a, b -> spam\nrule all in skin priority 1: a -> ham", False, "all has priority"),
    ("rule r in skin priority 1: d -> e\nrule s in skin priority 1: e -> d", False, "can never work: no d comes to be"),
    ("rule r in skin priority 1: a -> a", False, "can feed itself"),
    ("rule r in skin priority 1: a -> d\nrule s in skin priority 1: d -> a", False, "can feed itself"),
    ("rule r in skin priority 1: a, b -> a, b", False, "can feed itself"),
    ("rule r in m priority 1: a -> a ~0.2 out", False, "can feed itself"),
]


@pytest.mark.parametrize(("rules", "fatal", "message"), FOUND)
def test_the_checker_finds(rules: str, fatal: bool, message: str):
    problems = check(parse(INNER + rules + "\n"), FACTS)
    assert [problem for problem in problems if message in problem.text and problem.fatal is fatal]
    if fatal:
        with pytest.raises(RulesError):
            load(INNER + rules + "\n", FACTS)


SOUND = [
    "rule r in skin priority 1: a[<2] -> spam\nrule s in skin priority 2: a[>=2] -> ham",
    "rule r in skin priority 1: a, a -> a($1 + $2)",
    "rule r in skin priority 1: a[>=1] -> a($1 - 1)",
    "rule r in m priority 1: a -> $1 out\nrule s in skin priority 1: a -> spam",
    "rule r in m priority 1: a -> spam(1) ~0.75 out",
    "rule r in skin priority 1: dissolved -> spam",
    "rule r in skin priority 2: a if b -> spam\nrule s in skin priority 1: a -> ham",
]


@pytest.mark.parametrize("rules", SOUND)
def test_the_checker_is_silent_about_sound_rules(rules: str):
    assert check(parse(INNER + rules + "\n"), FACTS) == []


def test_words_make_facts_for_the_checker():
    text = SKIN + 'words w in skin: "x"\nrule r in skin priority 1: w -> spam($1)\n'
    file, system, problems = load(text, {})
    assert problems == [] and file.words[0].kind == "w"
    assert system.evolve({"skin": [Object("w", 2.0)]}).amounts["spam"] == 2.0
