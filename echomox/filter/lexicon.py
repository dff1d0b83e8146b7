"""Terms of emotion, haste, request and doubt in several languages, and how a message is counted by them (R40).

The terms stand in `data/affect.tsv`, our own list; its head says how it is written. A term is looked up as
`tokens.words_of` gives the words of a message, so that a Chinese or Japanese term, which is found anywhere in a
run of its script, and a phrase of two words are one thing: words that follow each other. All languages are
looked up at once; which one a message is written in need not be known, and a word that means other things in
two of them was left out or is weak.

What stands before a term changes it, in the same language and within two words:

    more ("very")       weight times 1.5            the word before
    less ("slightly")   weight times 0.5            the word before
    not ("never")       joy becomes half as much sadness, anything else says nothing

Only what the reader sees is counted: the subject, twice, and the first WORDS words of the text; hidden text is
not. One pass over the words, in C. The table is read once, by `lexicon`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import compress
from pathlib import Path
from typing import NamedTuple

from echomox.filter.features import Features
from echomox.filter.tokens import words_of
from echomox.reservoir.affect import KINDS, Counts

DATA = Path(__file__).with_name("data") / "affect.tsv"
WORDS = 400
SAMPLE = 100
"""Words whose distinct ones are counted."""
SUBJECT_WORDS = 40
SUBJECT_WEIGHT = 2.0
MARK_CHARS = 2000
"""Of the first text part so many characters are searched for ends of sentences and questions."""
MORE, LESS = 1.5, 0.5
NEGATED_JOY = 0.5
MOST_SENTENCE = 100.0
"""Words; where no mark ends a sentence."""
MOST_MATCHES = 200
_STOPS = "\u2026\u3002\uff01\uff1f"
"""Ends of sentences beside those of ASCII."""
_ELIDED = {"fr": ("l'", "d'", "j'", "m'", "t'", "s'", "qu'"), "it": ("l'", "un'", "dell'", "all'", "nell'")}
_VOWELS = "aeiouyhàâéèêëîïôùûœ"
_JOY, _SADNESS = KINDS.index("joy"), KINDS.index("sadness")


class Term(NamedTuple):
    """rest: the words that follow the first one. senses: (index in KINDS, weight). languages: bits."""

    rest: tuple[str, ...]
    senses: tuple[tuple[int, float], ...]
    languages: int
    shown: str


class Lexicon(NamedTuple):
    """terms: by first word, longest first. negations: word -> languages; strength: word -> (factor, languages)."""

    terms: Mapping[str, tuple[Term, ...]]
    negations: Mapping[str, int]
    strength: Mapping[str, tuple[float, int]]


class Match(NamedTuple):
    """A term found. kind: index in KINDS; weight: with what stood before it and where it stood."""

    kind: int
    weight: float
    term: str


class Reading(NamedTuple):
    """matches: in reading order, subject first."""

    counts: Counts
    matches: tuple[Match, ...]

    def by_kind(self) -> dict[str, tuple[str, ...]]:
        """Distinct terms by kind, heaviest first."""
        found: dict[int, dict[str, float]] = {}
        for kind, weight, term in self.matches:
            weights = found.setdefault(kind, {})
            weights[term] = weights.get(term, 0.0) - weight
        return {
            KINDS[kind]: tuple([term for _, term in sorted(zip(terms.values(), terms))])
            for kind, terms in found.items()
        }


# -- the table -----------------------------------------------------------------


def spelled(term: str) -> list[str]:
    """The forms of a term as it is written in the table: "happ[y,ily]" is happy and happily."""
    head, bracket, rest = term.partition("[")
    if not bracket:
        return [term.replace("_", " ")]
    endings, _, tail = rest.partition("]")
    return [form for ending in endings.split(",") for form in spelled(head + ending + tail)]


class _Builder:
    def __init__(self) -> None:
        self.senses: dict[tuple[str, ...], dict[int, float]] = {}
        self.languages: dict[tuple[str, ...], int] = {}
        self.shown: dict[tuple[str, ...], str] = {}
        self.negations: dict[str, int] = {}
        self.strength: dict[str, tuple[float, int]] = {}
        self._bits: dict[str, int] = {}

    def line(self, language: str, kind: str, weight: float, forms: Sequence[str]) -> None:
        bit = self._bits.setdefault(language, 1 << len(self._bits))
        for form in forms:
            if kind == "not":
                self.negations[form] = self.negations.get(form, 0) | bit
            elif kind in ("more", "less"):
                bits = self.strength.get(form, (0.0, 0))[1]
                self.strength[form] = (MORE if kind == "more" else LESS, bits | bit)
            else:
                for written in self._variants(language, form):
                    self._term(written, form, bit, (KINDS.index(kind), weight))

    def _variants(self, language: str, form: str) -> list[str]:
        """With the article that French and Italian write onto a word."""
        if form[0] not in _VOWELS or " " in form:
            return [form]
        return [form, *(prefix + form for prefix in _ELIDED.get(language, ()))]

    def _term(self, written: str, shown: str, bit: int, sense: tuple[int, float]) -> None:
        words = tuple(words_of(written))
        kind, weight = sense
        senses = self.senses.setdefault(words, {})
        senses[kind] = max(weight, senses.get(kind, 0.0))
        self.languages[words] = self.languages.get(words, 0) | bit
        self.shown.setdefault(words, shown)

    def build(self) -> Lexicon:
        terms: dict[str, list[Term]] = {}
        # Few are different: in memory once.
        same: dict[tuple[tuple[int, float], ...], tuple[tuple[int, float], ...]] = {}
        for words in sorted(self.senses, key=lambda words: (-len(words), words)):
            senses = tuple(self.senses[words].items())
            senses = same.setdefault(senses, senses)
            shown = words[0] if self.shown[words] == words[0] else self.shown[words]
            terms.setdefault(words[0], []).append(Term(words[1:], senses, self.languages[words], shown))
        return Lexicon({word: tuple(found) for word, found in terms.items()}, self.negations, self.strength)


def load(text: str) -> Lexicon:
    """The table. Raises ValueError with the number of a line that cannot be read."""
    builder = _Builder()
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        try:
            language, kind, weight, terms = line.split("\t")
            builder.line(language, kind, float(weight), [form for term in terms.split() for form in spelled(term)])
        except ValueError as error:
            raise ValueError(f"{DATA.name}:{number}: {error}") from error
    return builder.build()


@cache
def lexicon() -> Lexicon:
    """The table that comes with the program."""
    return load(DATA.read_text(encoding="utf-8"))


# -- a message -----------------------------------------------------------------


def read(features: Features) -> Reading:
    """The counts of a message and the terms they come from."""
    subject, body = _shown_words(features)
    matches: list[Match] = []
    _match(subject, SUBJECT_WEIGHT, matches)
    _match(body, 1.0, matches)
    terms = [0.0] * len(KINDS)
    for kind, weight, _ in matches:
        terms[kind] += weight
    return Reading(_counts(features, tuple(terms), subject, body), tuple(matches))


def _shown_words(features: Features) -> tuple[Sequence[str], Sequence[str]]:
    """(words of the subject, words of the text)"""
    subject: list[str] = []
    body: list[str] = []
    for tag, words in features.text.runs:
        if not tag:
            body = body + words if body else words
            if len(body) >= WORDS:
                break
        elif tag == "subject:" and not subject:
            subject = words
    subject, body = subject[:SUBJECT_WORDS], body[:WORDS]
    odd = "".join(features.vocabulary().odd)
    if "!" in odd or "\u2019" in odd:
        return _plain(subject), _plain(body)
    return subject, body


def _plain(words: Sequence[str]) -> Sequence[str]:
    """Words without the marks of exclamation that they may end in, and with plain apostrophes."""
    joined = "\n".join(words)
    if "!" in joined or "\u2019" in joined:
        return joined.replace("!", "").replace("\u2019", "'").split("\n")
    return words


def _match(words: Sequence[str], weight: float, matches: list[Match]) -> None:
    """Adds what is found in `words`; of terms that begin at one word the longest counts, and what lies within it
    does not. Written for speed: most of the time of this module is spent here."""
    table = lexicon()
    terms, strength, negations = table.terms, table.strength, table.negations
    end = 0
    for at in compress(range(len(words)), map(terms.__contains__, words)):
        if at < end:
            continue
        following = words[at + 1] if at + 1 < len(words) else ""
        for rest, senses, languages, shown in terms[words[at]]:
            if rest and (rest[0] != following or tuple(words[at + 1 : at + 1 + len(rest)]) != rest):
                continue
            end = at + 1 + len(rest)
            factor, negated = weight, 0
            if at:
                before = words[at - 1]
                if before in strength and strength[before][1] & languages:
                    factor *= strength[before][0]
                negated = negations.get(before, 0) & languages
            if at > 1 and not negated:
                negated = negations.get(words[at - 2], 0) & languages
            if negated:
                matches += [Match(_SADNESS, w * factor * NEGATED_JOY, f"not {shown}") for k, w in senses if k == _JOY]
            else:
                matches += [Match(kind, own * factor, shown) for kind, own in senses]
            break
        if len(matches) >= MOST_MATCHES:
            return


def _counts(features: Features, terms: tuple[float, ...], subject: Sequence[str], body: Sequence[str]) -> Counts:
    words = len(subject) + len(body)
    if not words:
        return Counts(terms, 0, 0, 0, 0.0, 0.0, 0)
    part, html = features.parts[0] if features.parts else (None, None)
    text = (html.text if html else part.text if part else features.structure.subject)[:MARK_CHARS]
    sample = (body or subject)[:SAMPLE]
    length = len("".join(sample)) / len(sample)
    questions = text.count("?")
    stops = questions + text.count(".") + text.count("!")
    if not text.isascii():
        stops += sum([text.count(mark) for mark in _STOPS])
    sentence = min(len(text) / (length + 1.0) / max(1, stops), MOST_SENTENCE)
    return Counts(terms, words, len(sample), len(set(sample)), length, sentence, questions)
