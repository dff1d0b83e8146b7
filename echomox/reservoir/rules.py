"""The rule file of the membranes: its language, parser, checker and compiler (R30).

Lines of text; `#` begins a comment; a line that begins with white space goes on with the one before. Three
kinds of lines:

    membrane NAME [in PARENT] [permeability 0..1] [limit 1..512] [strong] ["title"]
    words TYPE in MEMBRANE: "word or phrase", ...
    rule NAME in MEMBRANE, ... priority 0..999: INPUT, ... [if INPUT, ...] [unless INPUT, ...] -> PRODUCT, ...

    INPUT    type  or  type[CONDITION, ...]      conditions: + - 0 (charge)  >= > <= < NUMBER (value)
    PRODUCT  type [(VALUE)] [[+] or [-] or [0]] [~ MOBILITY] [here | out | in MEMBRANE]
             $1 [here | out | in MEMBRANE]       the first input itself, with all that it is
             dissolve                            the membrane, after this step
             nothing                             the inputs are used up
    VALUE    numbers, $1 (the value of the first input), + - *, min(a, b), max(a, b), brackets

`words` makes objects: a message that holds n of the phrases puts one object of that type and value n into the
membrane. A type may have several such lines. A product without value is worth 1, without charge is neutral,
without mobility moves freely (1). Values are held between 0 and 1000. Nothing in a file can run code: an
expression is a tree of those five operations.

`parse` raises RulesError with every line that it does not understand and what is allowed there;
`compile_rules` makes the indexed form. What is understood but cannot be meant is found by `rulecheck`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from echomox.reservoir.membrane import (
    HERE,
    IN,
    MAX_OBJECTS,
    OUT,
    SKIN,
    TOP,
    Expression,
    Membrane,
    Pattern,
    Product,
    Rule,
    System,
)

MAX_BYTES = 256 * 1024
MAX_RULES = 2000
MAX_MEMBRANES = 64
MAX_INPUTS = 6
MAX_PRODUCTS = 8
MAX_DEPTH = 12
MAX_PRIORITY = 999


class Problem(NamedTuple):
    """line: 0 for the file as a whole. fatal: the file cannot be used."""

    line: int
    text: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}" if self.line else self.text


class RulesError(ValueError):
    """A rule file that cannot be used. problems: all that were found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class Words(NamedTuple):
    """Phrases, lower case, of which a message makes an object of type `kind` in `membrane`."""

    kind: str
    membrane: str
    phrases: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class RuleFile:
    """What a file says. membrane_lines: name -> line."""

    membranes: tuple[Membrane, ...]
    rules: tuple[Rule, ...]
    membrane_lines: Mapping[str, int]
    words: tuple[Words, ...] = ()


class _Wrong(Exception):
    """What is wrong in the line being read."""


_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<text>\"[^\"]*\")"
    r"|(?P<input>\$\d+)|(?P<mark>->|>=|<=|[\[\](),:~<>+*-]))"
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_WORDS = frozenset({"in", "priority", "if", "unless", "here", "out", "dissolve", "nothing", "min", "max"})


def _scan(line: str) -> list[str]:
    out, at, line = [], 0, line.rstrip()
    while at < len(line):
        match = _TOKEN.match(line, at)
        if match is None:
            raise _Wrong(
                f"cannot read {line[at:].strip()[:20]!r}; allowed are names, numbers, $1 and -> [ ] ( ) , : ~ + - *"
            )
        out.append(match[0].strip())
        at = match.end()
    return out


class _Line:
    """The words of one line, taken from the left."""

    def __init__(self, text: str) -> None:
        self._words = _scan(text)
        self._at = 0

    @property
    def next(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def take(self) -> str:
        word = self.next
        self._at += 1
        return word

    def accept(self, word: str) -> bool:
        if self.next == word:
            self._at += 1
            return True
        return False

    def expect(self, word: str, where: str) -> None:
        if not self.accept(word):
            raise _Wrong(f"{where}: expected {word!r}, found {self.next or 'the end of the line'!r}")

    def name(self, what: str) -> str:
        word = self.take()
        if not _NAME.fullmatch(word) or word in _WORDS:
            found = word or "the end of the line"
            raise _Wrong(f"{what}: expected a name (a-z, 0-9, _; not a word of the language), found {found!r}")
        return word

    def number(self, what: str, low: float, high: float) -> float:
        word = self.take()
        try:
            value = float(word)
        except ValueError:
            raise _Wrong(f"{what}: expected a number, found {word or 'the end of the line'!r}") from None
        if not low <= value <= high:
            raise _Wrong(f"{what}: {word} is not between {low:g} and {high:g}")
        return value

    def whole(self, what: str, low: int, high: int) -> int:
        value = self.number(what, low, high)
        if value != int(value):
            raise _Wrong(f"{what}: must be a whole number")
        return int(value)


# -- parser ----------------------------------------------------------------------


def parse(text: str) -> RuleFile:
    """A rule file. Raises RulesError with the problem of every line that is wrong."""
    if len(text) > MAX_BYTES:
        raise RulesError([Problem(0, f"the file is longer than {MAX_BYTES} characters")])
    membranes: list[Membrane] = []
    lines: dict[str, int] = {}
    rules: dict[str, Rule] = {}
    words: list[Words] = []
    problems: list[Problem] = []
    for number, content in _logical(text):
        try:
            line = _Line(content)
            kind = line.take()
            if kind == "membrane":
                membrane = _membrane(line)
                if membrane.name in lines:
                    raise _Wrong(f"membrane {membrane.name} is there already, line {lines[membrane.name]}")
                lines[membrane.name] = number
                membranes.append(membrane)
            elif kind == "rule":
                rule = _rule(line, number)
                if rule.name in rules:
                    raise _Wrong(f"rule {rule.name} is there already, line {rules[rule.name].line}")
                rules[rule.name] = rule
            elif kind == "words":
                words.append(_words(line, number))
            else:
                raise _Wrong(f"a line begins with 'membrane', 'words' or 'rule', not {kind!r}")
        except _Wrong as error:
            problems.append(Problem(number, str(error)))
    file = RuleFile(tuple(membranes), tuple(rules.values()), lines, tuple(words))
    problems += _tree_problems(file)
    if problems:
        raise RulesError(sorted(problems))
    return file


def _logical(text: str) -> list[tuple[int, str]]:
    """(number of the first line, content) without comments, continued lines joined."""
    out: list[tuple[int, str]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"#.*", "", raw) if '"' not in raw else re.sub(r"^((?:[^\"#]|\"[^\"]*\")*)#.*", r"\1", raw)
        if not line.strip():
            continue
        if line[0] in " \t" and out:
            out[-1] = (out[-1][0], f"{out[-1][1]} {line.strip()}")
        else:
            out.append((number, line.strip()))
    return out


def _membrane(line: _Line) -> Membrane:
    name = line.name("membrane")
    parent = line.name("parent of the membrane") if line.accept("in") else ""
    permeability, limit, strong, title = 0.5, 64, False, ""
    while word := line.take():
        if word == "permeability":
            permeability = line.number(word, 0.0, 1.0)
        elif word == "limit":
            limit = line.whole(word, 1, MAX_OBJECTS)
        elif word == "strong":
            strong = True
        elif word.startswith('"'):
            title = word[1:-1]
        else:
            raise _Wrong(f'membrane {name}: allowed are permeability, limit, strong and a "title", not {word!r}')
    if bool(parent) == (name == SKIN):
        raise _Wrong(
            "the membrane 'skin' has no parent" if parent else f"membrane {name}: say 'in PARENT'; only skin has none"
        )
    return Membrane(name, parent, permeability, limit, strong, title)


def _words(line: _Line, number: int) -> Words:
    kind = line.name("words")
    line.expect("in", f"words {kind}")
    membrane = line.name("membrane of the words")
    line.expect(":", f"words {kind}")
    phrases = []
    while True:
        word = line.take()
        if len(word) < 3 or not word.startswith('"') or not word.strip('" '):
            raise _Wrong(f'words {kind}: expected a phrase in "", found {word or "the end of the line"!r}')
        phrases.append(" ".join(word[1:-1].lower().split()))
        if not line.accept(","):
            break
    if line.next:
        raise _Wrong(f"words {kind}: {line.next!r} is too much; phrases are parted by ','")
    return Words(kind, membrane, tuple(dict.fromkeys(phrases)), number)


def _rule(line: _Line, number: int) -> Rule:
    name = line.name("rule")
    line.expect("in", f"rule {name}")
    membranes = [line.name("membrane of the rule")]
    while line.accept(","):
        membranes.append(line.name("membrane of the rule"))
    line.expect("priority", f"rule {name}")
    priority = line.whole("priority", 0, MAX_PRIORITY)
    line.expect(":", f"rule {name}")
    inputs = _patterns(line)
    present = _patterns(line) if line.accept("if") else ()
    absent = _patterns(line) if line.accept("unless") else ()
    line.expect("->", f"rule {name}")
    products, dissolves = _products(line, len(inputs))
    if line.next:
        raise _Wrong(f"rule {name}: {line.next!r} is too much; products are parted by ','")
    return Rule(name, tuple(dict.fromkeys(membranes)), priority, inputs, products, present, absent, dissolves, number)


def _patterns(line: _Line) -> tuple[Pattern, ...]:
    out = [_pattern(line)]
    while line.accept(","):
        out.append(_pattern(line))
    if len(out) > MAX_INPUTS:
        raise _Wrong(f"more than {MAX_INPUTS} inputs")
    return tuple(out)


def _pattern(line: _Line) -> Pattern:
    kind = line.name("input")
    charge: int | None = None
    low, high, above, below = 0.0, TOP, False, False
    if line.accept("["):
        while True:
            word = line.take()
            if word in ("+", "-", "0"):
                charge = {"+": 1, "-": -1, "0": 0}[word]
            elif word in (">", ">="):
                low, above = line.number(f"value of {kind}", 0.0, TOP), word == ">"
            elif word in ("<", "<="):
                high, below = line.number(f"value of {kind}", 0.0, TOP), word == "<"
            else:
                raise _Wrong(f"input {kind}: conditions are + - 0 (charge) and >= > <= < with a number, not {word!r}")
            if not line.accept(","):
                break
        line.expect("]", f"input {kind}")
    if low > high or (low == high and (above or below)):
        raise _Wrong(f"input {kind}: no value can be both above {low:g} and below {high:g}")
    return Pattern(kind, charge, low, high, above, below)


def _products(line: _Line, inputs: int) -> tuple[tuple[Product, ...], bool]:
    if line.accept("nothing"):
        return (), False
    out: list[Product] = []
    dissolves = False
    while True:
        if line.accept("dissolve"):
            dissolves = True
        else:
            out.append(_product(line, inputs))
        if not line.accept(","):
            break
    if len(out) > MAX_PRODUCTS:
        raise _Wrong(f"more than {MAX_PRODUCTS} products")
    return tuple(out), dissolves


def _product(line: _Line, inputs: int) -> Product:
    if line.next.startswith("$"):
        place = _place(line.take(), inputs)
        target, into = _target(line)
        return Product("", place, 0, 1.0, target, into)
    kind = line.name("product (or 'dissolve', 'nothing', $1)")
    value: Expression = 1.0
    charge, mobility = 0, 1.0
    if line.accept("("):
        value = _sum(line, inputs, 0)
        line.expect(")", f"value of {kind}")
    if line.accept("["):
        word = line.take()
        if word not in ("+", "-", "0"):
            raise _Wrong(f"product {kind}: a charge is + - or 0, not {word!r}")
        charge = {"+": 1, "-": -1, "0": 0}[word]
        line.expect("]", f"product {kind}")
    if line.accept("~"):
        mobility = line.number("mobility", 0.0, 1.0)
    target, into = _target(line)
    return Product(kind, value, charge, mobility, target, into)


def _target(line: _Line) -> tuple[str, str]:
    if line.accept("out"):
        return OUT, ""
    if line.accept("in"):
        return IN, line.name("membrane the product goes into")
    line.accept("here")
    return HERE, ""


def _place(word: str, inputs: int) -> int:
    place = int(word[1:3])
    if not 1 <= place <= inputs or len(word) > 3:
        raise _Wrong(f"{word}: the rule has {inputs} inputs, $1 is the first")
    return place - 1


def _sum(line: _Line, inputs: int, depth: int) -> Expression:
    if depth > MAX_DEPTH:
        raise _Wrong(f"value: brackets deeper than {MAX_DEPTH}")
    left = _term(line, inputs, depth)
    for _ in range(MAX_DEPTH):
        if line.next not in ("+", "-"):
            return left
        left = (line.take(), left, _term(line, inputs, depth))
    raise _Wrong(f"value: more than {MAX_DEPTH} terms")


def _term(line: _Line, inputs: int, depth: int) -> Expression:
    left = _factor(line, inputs, depth)
    for _ in range(MAX_DEPTH):
        if not line.accept("*"):
            return left
        left = ("*", left, _factor(line, inputs, depth))
    raise _Wrong(f"value: more than {MAX_DEPTH} factors")


def _factor(line: _Line, inputs: int, depth: int) -> Expression:
    if line.next.startswith("$"):
        return ("$", _place(line.take(), inputs))
    if line.accept("("):
        inner = _sum(line, inputs, depth + 1)
        line.expect(")", "value")
        return inner
    if line.next in ("min", "max"):
        work = line.take()
        line.expect("(", work)
        left = _sum(line, inputs, depth + 1)
        line.expect(",", work)
        right = _sum(line, inputs, depth + 1)
        line.expect(")", work)
        return (work, left, right)
    return line.number("value (a number, $1, min, max or brackets)", 0.0, TOP)


def _tree_problems(file: RuleFile) -> list[Problem]:
    """Names that lead nowhere, and sizes."""
    out: list[Problem] = []
    known = {membrane.name: membrane for membrane in file.membranes}
    if SKIN not in known:
        out.append(Problem(0, "there is no membrane 'skin'"))
    if len(known) > MAX_MEMBRANES or len(file.rules) > MAX_RULES:
        out.append(Problem(0, f"more than {MAX_MEMBRANES} membranes or {MAX_RULES} rules"))
    for membrane in file.membranes:
        path, at = {membrane.name}, membrane
        while at.parent in known and at.parent not in path:
            at = known[at.parent]
            path.add(at.name)
        if at.name != SKIN:
            out.append(Problem(file.membrane_lines[membrane.name], f"membrane {membrane.name} is not inside the skin"))
    names = ", ".join(sorted(known))
    for words in file.words:
        if words.membrane not in known:
            out.append(Problem(words.line, f"words {words.kind}: no membrane {words.membrane!r}; there are {names}"))
    for rule in file.rules:
        for name in (*rule.membranes, *(p.into for p in rule.products if p.target == IN)):
            if name not in known:
                out.append(Problem(rule.line, f"rule {rule.name}: no membrane {name!r}; there are {names}"))
        for product in rule.products:
            inner = known.get(product.into)
            if inner and any(inner.parent != name for name in rule.membranes):
                out.append(Problem(rule.line, f"rule {rule.name}: {product.into} is not directly inside its membrane"))
    return out


def compile_rules(file: RuleFile) -> System:
    """The indexed form, for a file that parsed."""
    return System(file.membranes, file.rules)
