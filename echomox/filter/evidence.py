"""What the echo state network reads of a message: the evidence along its tokens, in reading order (R01, R17).

The message is cut into chunks of about CHUNK tokens, which do not cross from one segment to the next:

    headers, subject, body, links, structure, hidden text

A chunk is one step of the network, described by the numbers of INPUTS. Those of the first group come from the
account's own word counts, as they are before this message is learnt: each token has the log-odds of `known`, cut at
LIMIT, 0 when it is not known; and in the subject and the text so has each pair of a word with the next. The other
groups are the same for all accounts and are computed once a message (`outline`).

Messages are worked on together (`inputs`). Every number is computed from exact sums and by itself, so it has the same
bits whatever it is computed with. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log1p
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echomox.filter.context import Question
from echomox.filter.features import Features
from echomox.filter.hashed import Hashed, Places
from echomox.filter.known import KEY, Known, look_up

Floats = NDArray[np.float32]

NAME = "evidence"
CHUNK = 12
STEPS = 32
HEADER_TOKENS = 240
BODY_TOKENS = 360
OTHER_TOKENS = 60
BODY_CHARS = 5000
LIMIT = 6.0
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


class Outline(NamedTuple):
    """What is the same for all accounts. words: the place of each in reading order; pairs: of the pair that each
    begins, the last place, of no token, where it begins none. starts: where each chunk begins among the words; sizes:
    (steps,) words of each; fixed: (steps, inputs) with the groups that do not depend on counts filled in.
    """

    words: Places
    pairs: Places
    starts: Places
    sizes: Floats
    fixed: Floats


def outline(features: Features, ngrams: int) -> Outline:
    """The message in chunks; remembered in `features.memo`."""
    made: Outline | None = features.memo.get((NAME, ngrams))
    if made is None:
        made = features.memo[NAME, ngrams] = _outline(features, features.places(ngrams), ngrams > 1)
    return made


def _outline(features: Features, tokens: Hashed, paired: bool) -> Outline:
    words: list[Places] = []
    pairs: list[Places] = []
    starts: list[int] = []
    places: list[int] = []
    body = slice(0, 0)
    none, base = len(tokens.hashes) - 1, 0
    for kind, every, ends in _segments(features, tokens):
        count = min(-(-len(every) // CHUNK), STEPS - len(starts))
        if count <= 0:
            continue
        own = every[: count * CHUNK]
        size = len(own)
        if SEGMENTS[kind] == "body":
            body = slice(len(starts), len(starts) + count)
        words.append(own)
        if ends and paired:
            joined = own + tokens.words
            for end in ends:
                if end < size:
                    joined[end] = none
            pairs.append(joined)
        else:
            pairs.append(np.full(size, none))
        starts += [base + size * at // count for at in range(count)]
        places += [_SEGMENT_AT + kind] * count
        base += size
    bounds = np.array([*starts, base], np.int64)
    begin, sizes = bounds[:-1], (bounds[1:] - bounds[:-1]).astype(np.float32)
    fixed = np.zeros((len(starts), len(INPUTS)), np.float32)
    if not starts:
        return Outline(begin, begin, begin, sizes, fixed)
    fixed[_ROWS[: len(starts)], places] = 1.0
    fixed[:, _POSITION_AT] = _POSITIONS[: len(starts)]
    fixed[:, _METADATA_AT:] = _metadata(features, base)
    _describe_text(features, fixed[body])
    return Outline(np.concatenate(words), np.concatenate(pairs), begin, sizes, fixed)


def _segments(features: Features, tokens: Hashed) -> Iterator[tuple[int, Places, list[int]]]:
    """(index in SEGMENTS, places of its words, which of them begin no pair; [] when none does) in order."""
    text = features.text
    runs: dict[int, tuple[list[Places], list[int]]] = {1: ([], []), 2: ([], []), 5: ([], [])}
    sizes = {1: 0, 2: 0, 5: 0}
    at = tokens.at
    for tag, run in text.runs:
        kind = 2 if not tag else 1 if tag == "subject:" else 5
        left = (BODY_TOKENS if kind == 2 else OTHER_TOKENS) - sizes[kind]
        if left > 0 and run:
            size = min(left, len(run))
            words, ends = runs[kind]
            words.append(np.arange(at, at + size))
            sizes[kind] += size
            ends.append(sizes[kind] - 1 if left >= len(run) else BODY_TOKENS)
        at += len(run)
    rest = range(text.head, len(text.singles))
    links = [place for place in rest if text.singles[place].startswith("url:")]
    others = sorted(set(rest).difference(links)) if links else rest
    yield 0, np.arange(min(text.head, HEADER_TOKENS)), []
    yield 1, *_joined(*runs[1])
    yield 2, *_joined(*runs[2])
    yield 3, np.array(links[:OTHER_TOKENS], np.int64), []
    yield 4, np.array(others[:OTHER_TOKENS], np.int64), []
    yield 5, *_joined(*runs[5])


def _joined(words: list[Places], ends: list[int]) -> tuple[Places, list[int]]:
    return (words[0] if len(words) == 1 else np.concatenate([_ROWS[:0], *words])), ends


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


def inputs(questions: Sequence[Question]) -> list[Floats]:
    """(steps, len(INPUTS)) for each message and account."""
    look_up(questions)
    found: list[Known] = [context.scratch[KEY] for _, context in questions]
    drawn = [outline(features, context.ngrams) for features, context in questions]
    steps = [len(one.starts) for one in drawn]
    u = np.concatenate([np.zeros((0, len(INPUTS)), np.float32), *[one.fixed for one in drawn]])
    if len(u):
        _fill(u, found, drawn)
    ends = np.cumsum(steps)
    return [u[end - count : end] for end, count in zip(ends.tolist(), steps)]


def _fill(u: Floats, found: Sequence[Known], drawn: Sequence[Outline]) -> None:
    """The group of evidence. Sums of `known`'s log-odds and of their squares are exact in doubles."""
    words = sum([len(one.words) for one in drawn])
    rows = np.empty((7, words))
    odds = rows[:2]
    starts = []
    at = 0
    for known, one in zip(found, drawn):
        end = at + len(one.words)
        known.odds.take(one.words, out=odds[0, at:end])
        known.odds.take(one.pairs, out=odds[1, at:end])
        starts.append(one.starts + at)
        at = end
    begin = np.concatenate(starts)
    np.clip(odds, -LIMIT, LIMIT, out=odds)
    word = odds[0]
    np.multiply(word, word, out=rows[2])
    np.greater(word, CLEAR, out=rows[3])
    np.less(word, -CLEAR, out=rows[4])
    np.not_equal(odds, 0.0, out=rows[5:])
    sums = np.add.reduceat(rows, begin, axis=1)
    means = sums / np.concatenate([one.sizes for one in drawn])
    made = np.empty((len(_EVIDENCE), len(u)))
    made[[1, 8]] = np.maximum.reduceat(odds, begin, axis=1)
    made[[2, 9]] = np.minimum.reduceat(odds, begin, axis=1)
    made[[0, 7]] = means[:2]
    np.sqrt(np.maximum(means[2] - means[0] * means[0], 0.0), out=made[3])
    made[4:7], made[10] = means[3:6], means[6]
    np.subtract(1.0, made[6], out=made[6])
    u[:, : len(_EVIDENCE)] = made.T * _SCALES
    u[:, _WEIGHT_AT] = np.tanh(sums[0] / 20.0)


def named(u: Floats) -> list[dict[str, float]]:
    """Each step's inputs by their names, for people."""
    return [dict(zip(INPUTS, (round(float(value), 4) for value in row))) for row in u]
