"""What the echo state network reads of a message: the evidence along its tokens, in reading order (R01, R17).

The message is cut into chunks of about CHUNK tokens, which do not cross from one segment to the next:

    headers, subject, body, links, structure, hidden text

A chunk is one step of the network, described by the numbers of INPUTS. Those of the first group come from the
account's own word counts, as they are before this message is learnt: each token has the log-odds of `known`, cut at
LIMIT, 0 when it is not known; and in the subject and the text so has each pair of a word with the next. The other
groups are the same for all accounts and are computed once a message (`outline`).

Messages are worked on together (`inputs`). Every number is computed from exact sums and by itself, so it has the same
bits whatever it is computed with. For a message alone it is the number of NumPy's calls that costs. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import log1p
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echomox.filter.context import Question
from echomox.filter.counts.known import KEY, Odds, look_up
from echomox.filter.features import Features
from echomox.filter.hashed import Hashed, Places
from echomox.filter.tokens import Text

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

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
_OF_HEADER = ("in_header", "in_subject")
_OF_BODY = ("in_body", "in_link", "in_structure", "in_hidden", "capitals", "digits", "marks", "not_ascii")
_COURSE = ("weight", "position")
_METADATA = ("tokens", "html", "links", "images", "hidden_text", "size", "one")
GROUPS = {
    "evidence": _EVIDENCE,
    "header": _OF_HEADER,
    "body": _OF_BODY,
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

_TEXT_AT = PLACE["capitals"]
_METADATA_AT = PLACE["tokens"]
_WEIGHT_AT = PLACE["weight"]
_POSITION_AT = PLACE["position"]
_POSITIONS = (np.arange(1, STEPS + 1) / STEPS).astype(np.float32)
_KINDS = np.eye(len(SEGMENTS), len(INPUTS), PLACE["in_header"], np.float32)
"""The inputs of a chunk of each of SEGMENTS, of which nothing else is known."""
_MOST = (HEADER_TOKENS, OTHER_TOKENS, BODY_TOKENS, OTHER_TOKENS, OTHER_TOKENS, OTHER_TOKENS)
"""Tokens of each of SEGMENTS."""
_HEADER, _SUBJECT, _BODY, _LINK, _STRUCTURE, _HIDDEN = range(len(SEGMENTS))
_RUNS = (_SUBJECT, _BODY, _HIDDEN)
"""Those of SEGMENTS that are runs of words."""
_PLACES = np.arange(8192)
_NO_CHUNKS = np.zeros((0, len(INPUTS)), np.float32)
_SHOUTING = "!?$%*#=_<>|~+&@"

_FOUND = (
    "word_mean", "pair_mean", "spammy", "hammy", "word_known", "pair_known", "word_spread",
    "word_max", "pair_max", "word_min", "pair_min", "one",
)  # fmt: skip
"""What `_fill` computes of a chunk, in its order; the first _MEANS are means over its tokens, the spread's of squares
at first."""
_MEANS = 7
_SCALES = {
    "word_mean": 1 / 2, "word_max": 1 / LIMIT, "word_min": 1 / LIMIT, "word_spread": 1 / 3, "spammy": 1, "hammy": 1,
    "pair_mean": 1 / 2, "pair_max": 1 / LIMIT, "pair_min": 1 / LIMIT, "pair_known": 1,
}  # fmt: skip
# Arrays, for NumPy takes longer to make them of numbers than to compare a hundred of those.
_LOWEST, _HIGHEST, _SPAMMY, _HAMMY, _ZERO, _TWENTY = (
    np.array(number) for number in (-LIMIT, LIMIT, CLEAR, -CLEAR, 0.0, 20.0)
)


def _mix() -> Doubles:
    """(_FOUND, _EVIDENCE), by which what is found is multiplied: scaled, and unknown = 1 - known. Of each sum only one
    product is not 0, or it is 1 - known, so that it is rounded once, in whatever order it is summed."""
    mix = np.zeros((len(_FOUND), len(_EVIDENCE)))
    for name, scale in _SCALES.items():
        mix[_FOUND.index(name), PLACE[name]] = np.float32(scale)
    mix[_FOUND.index("one"), PLACE["unknown"]] = 1.0
    mix[_FOUND.index("word_known"), PLACE["unknown"]] = -1.0
    return mix


_MIX = _mix()


def _classes() -> NDArray[Any]:
    """For each code unit up to 255, and 255 for all above, four fields of 16 bits as one number, with a 1 in that of
    its kind: capitals, digits, marks, past ASCII. No stretch has 2^16 characters, so a sum counts all four."""
    table = np.zeros((256, 4), "<u2")
    table[128:, 3] = 1
    for code in range(128):
        char = chr(code)
        table[code, :3] = char.isupper(), char.isdigit(), char in _SHOUTING
    return table.view("<u8")[:, 0]


_CLASS = _classes()


Segment = tuple[int, list[Places], list[int]]
"""How many words, their places, in parts, which of them begin no pair though they are of a run."""


class Outline(NamedTuple):
    """What is the same for all accounts. places: (2, words), of each word in reading order its own and that of the pair
    that it begins, which is the last, of no token, where it begins none. starts: where each chunk begins among the
    words; sizes: (steps,) words of each; fixed: (steps, inputs) with the groups that do not depend on counts filled in.
    """

    places: Places
    starts: Places
    sizes: Doubles
    fixed: Floats


def outline(features: Features, ngrams: int) -> Outline:
    """The message in chunks; remembered in `features.memo`."""
    made: Outline | None = features.memo.get((NAME, ngrams))
    if made is None:
        made = features.memo[NAME, ngrams] = _outline(features, features.places(ngrams), ngrams > 1)
    return made


def _outline(features: Features, tokens: Hashed, paired: bool) -> Outline:
    words: list[Places] = []
    starts: list[int] = []
    chunks = [0] * len(SEGMENTS)
    spans: list[tuple[int, int]] = []
    lone: list[int] = []
    base = 0
    for kind, (size, places, ends) in enumerate(_segments(features.text, tokens.at)):
        count = min(-(-size // CHUNK), STEPS - len(starts))
        if count <= 0:
            continue
        if size > count * CHUNK:
            size = count * CHUNK
            places = [np.concatenate(places)[:size]]
        words += places
        if paired and kind in _RUNS:
            spans.append((base, base + size))
            lone += [base + end for end in ends if end < size]
        starts += [base + size * at // count for at in range(count)]
        chunks[kind] = count
        base += size
    bounds = np.array([*starts, base], np.int64)
    begin = bounds[:-1]
    fixed = _KINDS.repeat(chunks, 0)
    fixed[:, _POSITION_AT] = _POSITIONS[: len(starts)]
    fixed[:, _METADATA_AT:] = _metadata(features, base)
    first = sum(chunks[:_BODY])
    _describe_text(features, fixed[first : first + chunks[_BODY]])
    both = _with_pairs(words, base, spans, tokens)
    for at in lone:
        both[1, at] = len(tokens.hashes) - 1
    return Outline(both, begin, np.subtract(bounds[1:], begin, dtype=np.float64), fixed)


def _with_pairs(words: list[Places], number: int, spans: list[tuple[int, int]], tokens: Hashed) -> Places:
    """As Outline.places. words: in parts, so many in all; spans: (first, past the last) of those that begin pairs."""
    both = np.empty((2, number), np.int64)
    if words:
        np.concatenate(words, out=both[0])
    both[1] = len(tokens.hashes) - 1
    for start, end in spans:
        np.add(both[0, start:end], tokens.words, both[1, start:end])
    return both


def _segments(text: Text, at: int) -> list[Segment]:
    """Of all SEGMENTS. at: the place of the first word of the runs."""
    sizes = [0] * len(SEGMENTS)
    places: list[list[Places]] = [[] for _ in SEGMENTS]
    ends: list[list[int]] = [[] for _ in SEGMENTS]
    for tag, run in text.runs:
        kind = _BODY if not tag else _SUBJECT if tag == "subject:" else _HIDDEN
        length = len(run)
        size = min(length, _MOST[kind] - sizes[kind])
        if size > 0:
            places[kind].append(_range(at, at + size))
            sizes[kind] += size
            if size == length:
                ends[kind].append(sizes[kind] - 1)
        at += length
    head, last = text.head, len(text.singles)
    rest = range(head, last)
    links = [place for place in rest if text.singles[place].startswith("url:")]
    others = sorted(set(rest).difference(links)) if links else rest
    for kind, found in ((_HEADER, range(head)), (_LINK, links), (_STRUCTURE, others)):
        size = sizes[kind] = min(len(found), _MOST[kind])
        if isinstance(found, range):
            places[kind] = [_range(found.start, found.start + size)]
        elif size:
            places[kind] = [np.array(found[:size], np.int64)]
    return list(zip(sizes, places, ends))


def _range(start: int, end: int) -> Places:
    """As np.arange, of what there is if there can be."""
    return _PLACES[start:end] if end <= len(_PLACES) else np.arange(start, end)


def _metadata(features: Features, tokens: int) -> tuple[float, ...]:
    pages = [page for _, page in features.parts if page]
    of_pages = (0.0, 0.0, 0.0, 0.0)
    if pages:
        of_pages = (
            1.0,
            min(sum([len(page.links) for page in pages]), 20) / 20.0,
            min(sum([page.images for page in pages]), 10) / 10.0,
            log1p(sum([len(page.hidden) for page in pages])) / 6.0,
        )
    return log1p(tokens) / 6.0, *of_pages, log1p(features.size) / 12.0, 1.0


def _describe_text(features: Features, body: Floats) -> None:
    """Fills in what the characters of the text look like. body: the rows of its chunks. Words are as good as evenly
    spread over the text, so chunk i of n is described by stretch i of n of the characters."""
    steps = len(body)
    words = sum([len(run) for tag, run in features.text.runs if not tag])
    if not steps or not words:
        return
    visible = "\n".join([page.text if page else part.text for part, page in features.parts])[:BODY_CHARS]
    visible = visible[: max(1, len(visible) * BODY_TOKENS // words)] if words > BODY_TOKENS else visible
    if visible.isascii():
        codes: NDArray[Any] = np.frombuffer(visible.encode("ascii"), np.uint8)
    else:
        codes = np.minimum(np.frombuffer(visible.encode("utf-16-le", "surrogatepass"), "<u2"), 255)
    if len(codes) < steps:
        return
    ends = _PLACES[: steps + 1] * len(codes) // steps
    begin = ends[:-1]
    fields = np.add.reduceat(_CLASS.take(codes), begin).astype("<u8", copy=False).view("<u2").reshape(steps, 4)
    body[:, _TEXT_AT : _TEXT_AT + 4] = fields * (3.0 / (ends[1:] - begin))[:, None]


def inputs(questions: Sequence[Question]) -> list[Floats]:
    """(steps, len(INPUTS)) for each message and account."""
    look_up(questions)
    drawn = [outline(features, context.ngrams) for features, context in questions]
    known: list[Odds] = [context.scratch[KEY].odds for _, context in questions]
    odds = [own.take(one.places) for own, one in zip(known, drawn)]
    if len(drawn) == 1:
        (one,) = drawn
        u = one.fixed.copy()
        _fill(u, odds[0], one.starts, one.sizes)
        return [u]
    u = np.concatenate([_NO_CHUNKS, *[one.fixed for one in drawn]])
    if drawn:
        before = accumulate([own.shape[1] for own in odds], initial=0)
        starts = np.concatenate([one.starts + base for one, base in zip(drawn, before)])
        _fill(u, np.concatenate(odds, axis=1), starts, np.concatenate([one.sizes for one in drawn]))
    ends = accumulate([len(one.starts) for one in drawn])
    return [u[end - len(one.starts) : end] for one, end in zip(drawn, ends)]


def _fill(u: Floats, odds: Odds, begin: Places, sizes: Doubles) -> None:
    """The group of evidence. odds: (2, words), of the words and of the pairs that they begin, as `known` has them, so
    that sums of them and of their squares are exact; begin: where chunks begin among them; sizes: of chunks."""
    if not len(u):
        return
    rows = np.empty((_MEANS, odds.shape[1]))
    kinds = np.empty((4, odds.shape[1]), np.bool_)
    both, word = rows[:2], rows[0]
    np.maximum(odds, _LOWEST, out=both)
    np.minimum(both, _HIGHEST, out=both)
    np.greater(word, _SPAMMY, kinds[0])
    np.less(word, _HAMMY, kinds[1])
    np.not_equal(both, _ZERO, kinds[2:])
    rows[2:6] = kinds
    np.multiply(word, word, rows[6])
    sums = np.add.reduceat(rows, begin, 1)
    found = np.empty((len(_FOUND), len(u)))
    np.divide(sums, sizes, found[:_MEANS])
    spread = found[6]
    spread -= found[0] * found[0]
    np.maximum(spread, _ZERO, out=spread)
    np.sqrt(spread, spread)
    np.maximum.reduceat(both, begin, 1, None, found[7:9])
    np.minimum.reduceat(both, begin, 1, None, found[9:11])
    found[11] = 1.0
    u[:, : len(_EVIDENCE)] = found.T.dot(_MIX)
    u[:, _WEIGHT_AT] = np.tanh(sums[0] / _TWENTY)


def named(u: Floats) -> list[dict[str, float]]:
    """Each step's inputs by their names, for people."""
    return [dict(zip(INPUTS, (round(float(value), 4) for value in row))) for row in u]
