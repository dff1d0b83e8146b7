"""What the echo state network reads of a message: the evidence along its tokens, in reading order (R01, R17).

The message is cut into chunks of about CHUNK tokens, which do not cross from one segment to the next:

    headers, subject, body, links, structure, hidden text

A chunk is one step of the network, described by the numbers of INPUTS. Those of the first group come from the
account's own word counts, as they are before this message is learnt: each token has the log-odds ln f / (1 - f) of
the Bayes stage's f(w), cut at LIMIT, 0 when it is not known; and in the subject and the text so has each pair of a
word with the next. The other groups are the same for all accounts and are computed once a message (`outline`).

Pure. Counts are those that the Bayes stage has looked up already.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, repeat
from math import log, log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echomox.filter.context import Context, Counts
from echomox.filter.features import Features

Floats = NDArray[np.float32]

CHUNK = 12
STEPS = 32
HEADER_TOKENS = 240
BODY_TOKENS = 360
OTHER_TOKENS = 60
BODY_CHARS = 5000
STRENGTH = 0.1
PRIOR = 0.45
"""Of f(w), as in the Bayes stage (which cannot be imported from here; a test holds the two together)."""
LIMIT = 6.0
MOST_ODDS = 4096
CLEAR = 2.0
"""Log-odds from which a token counts as spammy, and below whose negative as hammy."""

SEGMENTS = ("header", "subject", "body", "link", "structure", "hidden")
_EVIDENCE = (
    "word_mean", "word_max", "word_min", "word_spread", "spammy", "hammy", "unknown",
    "pair_mean", "pair_max", "pair_min", "pair_known",
)  # fmt: skip
_HEADER = ("in_header", "in_subject")
_BODY = ("in_body", "in_link", "in_structure", "in_hidden", "capitals", "digits", "marks", "not_ascii")
_COURSE = ("weight", "position")
_METADATA = ("tokens", "html", "links", "images", "hidden_text", "size", "one")
GROUPS = {
    "evidence": _EVIDENCE,
    "header": _HEADER,
    "body": _BODY,
    "course": _COURSE,
    "metadata": _METADATA,
}
"""Group -> names. evidence: what the counts say of the chunk, in words and pairs of words: mean, largest, smallest and
spread of the log-odds, shares of tokens clearly spammy, clearly hammy, not known. header, body: the segment, 1 or 0;
shares of letters in capitals, digits, punctuation of the kind that shouts or links, and of characters past ASCII, in
the stretch of text of a body's chunk. course: tanh of the chunk's summed log-odds, and how far the message is.
metadata: the same for all chunks of a message; one: always 1."""
INPUTS = tuple(name for names in GROUPS.values() for name in names)
PLACE = {name: at for at, name in enumerate(INPUTS)}

_SEGMENT_AT = PLACE["in_header"]
_TEXT_AT = PLACE["capitals"]
_METADATA_AT = PLACE["tokens"]
_WEIGHT_AT = PLACE["weight"]
_POSITION_AT = PLACE["position"]
_ROWS = np.arange(STEPS)
_POSITIONS = (np.arange(1, STEPS + 1) / STEPS).astype(np.float32)
_SCALES = np.array([1 / 2, 1 / LIMIT, 1 / LIMIT, 1 / 3, 1, 1, 1, 1 / 2, 1 / LIMIT, 1 / LIMIT, 1], np.float32)
_NONE = (0, 0)
_SHOUTING = "!?$%*#=_<>|~+&@"


_FIELD = 16  # bits; no stretch has 2^16 characters


def _classes() -> NDArray[np.uint64]:
    """For each code unit up to 255, and 255 for all above, a 1 in the field of 16 bits that counts its kind:
    capitals, digits, marks, past ASCII; 0 for the rest."""
    table = np.full(256, 1 << 3 * _FIELD, np.uint64)
    for code in range(128):
        char = chr(code)
        kind = 0 if char.isupper() else 1 if char.isdigit() else 2 if char in _SHOUTING else None
        table[code] = 0 if kind is None else 1 << kind * _FIELD
    return table


_CLASS = _classes()
_FIELDS = np.arange(4, dtype=np.uint64)[:, None] * np.uint64(_FIELD)


@dataclass(frozen=True, slots=True)
class Outline:
    """What is the same for all accounts. tokens: the words in reading order, then, for the stretch `pairs` of them,
    the pair that each begins, "" where it begins none. starts: where each chunk begins among the words; sizes: (steps,)
    words of each; fixed: (steps, inputs) with the groups that do not depend on counts filled in.
    """

    tokens: list[str]
    words: int
    pairs: slice
    starts: NDArray[np.int64]
    sizes: Floats
    fixed: Floats


def outline(features: Features) -> Outline:
    """The message in chunks; remembered in `features.memo`."""
    made: Outline | None = features.memo.get("evidence")
    if made is None:
        made = features.memo["evidence"] = _outline(features)
    return made


def _outline(features: Features) -> Outline:
    words: list[str] = []
    pairs: list[str] = []
    starts: list[int] = []
    places: list[int] = []
    body = slice(0, 0)
    before = 0
    for kind, own, joined in _segments(features):
        count = min(-(-len(own) // CHUNK), STEPS - len(starts))
        if count <= 0:
            continue
        base, size = len(words), min(len(own), count * CHUNK)
        if joined:
            before = before if pairs else base
            pairs += [""] * (base - before - len(pairs))
            pairs += joined[:size]
        if SEGMENTS[kind] == "body":
            body = slice(len(starts), len(starts) + count)
        starts += [base + size * at // count for at in range(count)]
        places += [_SEGMENT_AT + kind] * count
        words += own if size == len(own) else own[:size]
    bounds = np.array([*starts, len(words)], np.int64)
    begin = bounds[:-1]
    sizes = (bounds[1:] - begin).astype(np.float32)
    fixed = np.zeros((len(starts), len(INPUTS)), np.float32)
    if starts:
        fixed[_ROWS[: len(starts)], places] = 1.0
        fixed[:, _POSITION_AT] = _POSITIONS[: len(starts)]
        fixed[:, _METADATA_AT:] = _metadata(features, len(words))
        _describe_text(features, fixed[body])
    return Outline(words + pairs, len(words), slice(before, before + len(pairs)), begin, sizes, fixed)


def _segments(features: Features) -> Iterator[tuple[int, list[str], list[str]]]:
    """(index in SEGMENTS, words, pairs beginning with each) of those that are not empty, in order."""
    singles = features.text.singles
    parts = features.structure.parts
    first = f"part:{parts[0].content_type}" if parts else ""
    cut = singles.index(first) if first in singles else len(singles)
    rest = singles[cut:]
    yield 0, singles[: min(cut, HEADER_TOKENS)], []
    runs: dict[int, tuple[list[str], list[str]]] = {1: ([], []), 2: ([], []), 5: ([], [])}
    for tag, run in features.text.runs:
        kind = 2 if not tag else 1 if tag == "subject:" else 5
        words, pairs = runs[kind]
        left = (BODY_TOKENS if kind == 2 else OTHER_TOKENS) - len(words)
        if left <= 0:
            continue
        cut_run = run[: left + 1]
        words += [tag + word for word in run[:left]] if tag else run[:left]
        pairs += [f"{tag}{a} {b}" for a, b in pairwise(cut_run)]
        pairs += [""] * (len(words) - len(pairs))
    yield 1, *runs[1]
    yield 2, *runs[2]
    yield 3, [token for token in rest if token.startswith("url:")][:OTHER_TOKENS], []
    yield 4, [token for token in rest if not token.startswith("url:")][:OTHER_TOKENS], []
    yield 5, *runs[5]


def _metadata(features: Features, tokens: int) -> tuple[float, ...]:
    pages = [page for _, page in features.parts if page]
    return (
        log1p(tokens) / 6.0,
        1.0 if pages else 0.0,
        min(sum(len(page.links) for page in pages), 20) / 20.0,
        min(sum(page.images for page in pages), 10) / 10.0,
        log1p(sum(len(page.hidden) for page in pages)) / 6.0,
        log1p(features.size) / 12.0,
        1.0,
    )


def _describe_text(features: Features, body: Floats) -> None:
    """Fills in what the characters of the text look like. body: the rows of its chunks. Words are as good as evenly
    spread over the text, so chunk i of n is described by stretch i of n of the characters."""
    steps = len(body)
    visible = "\n".join(page.text if page else part.text for part, page in features.parts)[:BODY_CHARS]
    words = sum(len(run) for tag, run in features.text.runs if not tag)
    if not steps or not words:
        return
    visible = visible[: max(1, len(visible) * BODY_TOKENS // words)] if words > BODY_TOKENS else visible
    if visible.isascii():
        codes: NDArray[Any] = np.frombuffer(visible.encode("ascii"), np.uint8)
    else:
        codes = np.minimum(np.frombuffer(visible.encode("utf-16-le", "surrogatepass"), "<u2"), 255)
    if len(codes) < steps:
        return
    ends = np.arange(steps + 1) * len(codes) // steps
    found = np.add.reduceat(_CLASS[codes], ends[:-1]) >> _FIELDS & np.uint64((1 << _FIELD) - 1)
    body[:, _TEXT_AT : _TEXT_AT + 4] = (found * (3.0 / (ends[1:] - ends[:-1]))).T


class Odds(dict[tuple[int, int], float]):
    """(messages of ham, of spam that held a token) -> its log-odds of spam, 0.0 for (0, 0); made as they are asked for,
    which is seldom: a few hundred pairs stand for most tokens."""

    def __init__(self, ham: int, spam: int) -> None:
        """ham, spam: messages learnt."""
        super().__init__({_NONE: 0.0})
        self._ham, self._spam = max(1, ham), max(1, spam)

    def __missing__(self, counts: tuple[int, int]) -> float:
        if len(self) >= MOST_ODDS:
            self.clear()
            self[_NONE] = 0.0
        ham, spam = counts
        in_ham, in_spam = ham / self._ham, spam / self._spam
        f = (STRENGTH * PRIOR + (ham + spam) * in_spam / (in_ham + in_spam)) / (STRENGTH + ham + spam)
        found = self[counts] = max(-LIMIT, min(LIMIT, log(f / (1.0 - f))))
        return found


odds_of = lru_cache(maxsize=16)(Odds)
"""The table for so many messages learnt; only a memory of what is computed."""


def inputs(features: Features, context: Context) -> Floats:
    """(steps, len(INPUTS)) for one message and account."""
    drawn = outline(features)
    u = drawn.fixed.copy()
    if not len(u):
        return u
    get, table = counts_of(features, context).get, odds_of(context.ham, context.spam)
    found = map(table.__getitem__, map(get, drawn.tokens, repeat(_NONE)))
    odds = np.zeros((2, drawn.words), np.float32)
    given = np.fromiter(found, np.float32, len(drawn.tokens))
    odds[0] = given[: drawn.words]
    odds[1, drawn.pairs] = given[drawn.words :]
    word = odds[0]
    rows = np.empty((7, drawn.words), np.float32)
    rows[:2] = odds
    np.multiply(word, word, out=rows[2])
    np.greater(word, CLEAR, out=rows[3])
    np.less(word, -CLEAR, out=rows[4])
    np.not_equal(odds, 0.0, out=rows[5:])
    sums = np.add.reduceat(rows, drawn.starts, axis=1)
    means = sums / drawn.sizes
    highest = np.maximum.reduceat(odds, drawn.starts, axis=1)
    lowest = np.minimum.reduceat(odds, drawn.starts, axis=1)
    made = np.empty((len(_EVIDENCE), len(u)), np.float32)
    made[0], made[1], made[2] = means[0], highest[0], lowest[0]
    made[7], made[8], made[9] = means[1], highest[1], lowest[1]
    np.sqrt(np.maximum(means[2] - means[0] * means[0], 0.0), out=made[3])
    made[4:7], made[10] = means[3:6], means[6]
    np.subtract(1.0, made[6], out=made[6])
    np.multiply(made.T, _SCALES, out=u[:, : len(_EVIDENCE)])
    np.tanh(sums[0] * np.float32(1 / 20), out=u[:, _WEIGHT_AT])
    return u


COUNTS = "counts"
"""Under this name the Bayes stage leaves in Context.scratch what it has looked up."""


def counts_of(features: Features, context: Context) -> Counts:
    """The counts of the message's words: those the Bayes stage left, else looked up."""
    found: Counts | None = context.scratch.get(COUNTS)
    if found is None:
        found = context.scratch[COUNTS] = context.counts(features.words(context.ngrams))
    return found


def named(u: Floats) -> list[dict[str, float]]:
    """Each step's inputs by their names, for people."""
    return [dict(zip(INPUTS, (round(float(value), 4) for value in row))) for row in u]
