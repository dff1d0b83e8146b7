"""The n-grams stage: online logistic regression on hashed byte 4-grams and words.

A message is the set of its features: each run of four bytes (`folded`) of the decoded header fields its sender wrote
(lower-cased, HEAD_BYTES of them) and of its decoded text (BODY_BYTES), and each token the Bayes stage reads, hashed
to one table of 2 ** BITS weights; header and body have different hashes. With n features, all of size
x = 1 / sqrt(n) (binary features, the message normalised to length one):

    z = x * sum of the weights of the features
    P = 1 / (1 + exp(-SHARPEN * z))

Training moves each of its weights by the same step, the gradient of the log-loss with soft labels:

    step = RATE * (t - 1 / (1 + exp(-z))) * x         t = 1 - SOFT for spam, SOFT for ham

Soft labels bound how certain the model wants to be, so that a message it already knows pulls back what earlier
ones overdid; without them the model is ruled by the few hard messages, and what it learns lasts less: trained on
the first half of a corpus of 2002 and asked about the second, (1-AUC)% fell from 3.3 to 1.1. SHARPEN gives the
probability back what the soft labels take.

Weights and steps are integers of 1/SCALE, so that taking a step back restores the bits. A contribution is the
step and the features, which are numbers in ascending order, as gaps: about 2 KB for a usual message.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp, sqrt
from struct import Struct
from struct import error as StructError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echomox.filter.context import Context, Question, no_opinion
from echomox.filter.features import Features
from echomox.ipc.schema import Evidence
from echomox.message.encoded import decode_words

NAME = "ngrams"
GAPS = "ngrams.gaps"
BITS = 17
TABLE = 1 << BITS
HEAD_BYTES = 1500
FIELD_BYTES = 300
BODY_BYTES = 2000
REPEATED = 64
"""Bytes of a field's name that is remembered."""
RATE = 16.0
SOFT = 0.03
SCALE = 256
SHARPEN = 1.75
LEAST = 5
"""Messages before the stage has an opinion."""
YOUTH = 10.0
LIMIT = 15.0

Indices = NDArray[np.uint32]
Weights = NDArray[Any]

_MULTIPLIER = np.uint32(2654435761)  # Knuth's multiplicative hash: 2 ** 32 / golden ratio
_SHIFT = np.uint32(32 - BITS)
_HEAD_SALT = np.uint32(0x5BD1E995)
_TOP = np.uint64(64 - BITS)
_STEP = Struct("<i")
_GAP = 255


# -- features ------------------------------------------------------------------


def head_bytes(fields: Sequence[tuple[str, bytes]], limit: int = HEAD_BYTES) -> bytes:
    """The sender's header fields, decoded and lower-cased, one a line."""
    pieces: list[bytes] = []
    size = 0
    for name, value in fields:
        if len(value) > FIELD_BYTES:
            value = value[:FIELD_BYTES]
        if b"=?" in value:
            value = decode_words(value).encode("utf-8", "replace")
        if not value.isascii():
            value = folded(value)
        start = _known_start(name) if len(name) <= REPEATED else _start(name)
        pieces += (start, value)
        size += len(start) + len(value)
        if size >= limit:
            break
    return b"".join(pieces)[1 : limit + 1].lower()


def _start(name: str) -> bytes:
    """A field's name behind the end of the line before."""
    return b"\n%b:" % name.encode("utf-8", "replace")


_known_start = lru_cache(maxsize=1024)(_start)
"""Names come again."""


def body_bytes(features: Features, limit: int = BODY_BYTES) -> bytes:
    """The beginning of the text that is shown, UTF-8."""
    texts, size = [], 0
    for part, html in features.parts:
        text = (html.text if html else part.text)[:limit]
        texts.append(text)
        size += len(text) + 1
        if size >= limit:
            break
    return folded("\n".join(texts).encode("utf-8", "replace"))[:limit]


def folded(data: bytes) -> bytes:
    """UTF-8 as letters: a letter that it writes in two bytes becomes one, one that it writes in three or four becomes
    two. So a run of four bytes is four letters of Russian, Greek or Arabic, as it is of English, and two of Chinese,
    Japanese or Korean; some letters of different alphabets become the same bytes. What is no UTF-8 stays; a letter cut
    at the end is dropped.
    """
    if data.isascii():
        return data
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return data
        text = data[: error.start].decode()
    letters = np.frombuffer(text.encode("utf-32-le"), "<u4")
    wide = letters >= 0x800
    at = np.arange(len(letters)) + np.cumsum(wide)
    out = np.empty(len(letters) + np.count_nonzero(wide), np.uint8)
    out[at] = np.where(wide, letters & 0xFF, np.where(letters < 0x80, letters, 0x80 | letters & 0x7F))
    out[at[wide] - 1] = 0x80 | letters[wide] >> 8 & 0x7F
    return out.tobytes()


def _grams(data: bytes, out: NDArray[np.uint32]) -> None:
    """Fills in each run of four bytes as a number. out: as many as there are."""
    if len(out):
        out[:] = np.ndarray((len(out),), "<u4", data, 0, (1,))  # four bytes at every byte


def indices(features: Features, ngrams: int) -> Indices:
    """The message's features, ascending, each once; remembered in the message's memo."""
    found: Indices | None = features.memo.get((NAME, ngrams))
    if found is None:
        head, body, words = head_bytes(features.sender), body_bytes(features), features.hashed(ngrams)
        of_head = max(0, len(head) - 3)
        of_both = of_head + max(0, len(body) - 3)
        every = np.empty(of_both + len(words), np.uint32)
        _grams(head, every[:of_head])
        every[:of_head] ^= _HEAD_SALT
        _grams(body, every[of_head:of_both])
        grams = every[:of_both]
        grams *= _MULTIPLIER
        grams >>= _SHIFT
        every[of_both:] = words >> _TOP
        every.sort()
        first = np.empty(len(every), np.bool_)
        first[:1] = True
        np.not_equal(every[1:], every[:-1], out=first[1:])
        found = features.memo[NAME, ngrams] = every[first]
    return found


def gaps(features: Features, ngrams: int) -> bytes:
    """`indices` as a contribution has them; remembered too."""
    made: bytes | None = features.memo.get((GAPS, ngrams))
    if made is None:
        made = features.memo[GAPS, ngrams] = packed(indices(features, ngrams))
    return made


# -- the stage -----------------------------------------------------------------


def score(weights: Weights, found: Indices) -> float:
    """z of the message; an exact sum of integers, then two roundings."""
    total = int(np.add.reduce(weights.take(found), dtype=np.int64))
    return total / (SCALE * sqrt(max(1, len(found))))


def run(features: Features, context: Context) -> Evidence:
    """weight: how far the amount of training lets it be trusted, below 1."""
    weights = context.models(NAME)
    learned = context.ham + context.spam
    if weights is None or learned < LEAST:
        return no_opinion(NAME, f"untrained {context.ham}/{context.spam}")
    found = indices(features, context.ngrams)
    value = SHARPEN * score(weights, found)
    probability = 1.0 / (1.0 + exp(-max(-LIMIT, min(LIMIT, value))))
    return Evidence(NAME, probability, learned / (learned + YOUTH), (f"{len(found)} features",))


# -- the learner ---------------------------------------------------------------


def packed(found: Indices) -> bytes:
    """A gap g from the feature before is g // 255 bytes of 255 and one of g % 255."""
    distance = found.astype(np.int32)
    distance[1:] -= distance[:-1] + np.int32(1)
    many, rest = np.divmod(distance, np.int32(_GAP))
    many += 1
    ends = np.cumsum(many, dtype=np.int64)
    out = np.full(int(ends[-1]) if len(ends) else 0, _GAP, np.uint8)
    out[ends - 1] = rest
    return out.tobytes()


def pack(step: int, found: Indices) -> bytes:
    """A contribution."""
    return _STEP.pack(step) + packed(found)


def unpack(contribution: bytes) -> tuple[int, Indices]:
    """(step, features). Raises ValueError for what `pack` did not give."""
    try:
        (step,) = _STEP.unpack_from(contribution)
    except StructError:
        raise ValueError("cut short") from None
    gaps = np.frombuffer(contribution, np.uint8, offset=_STEP.size)
    ends = gaps != _GAP
    found = np.cumsum(gaps + ends, dtype=np.int64)[ends] - 1
    if len(gaps) and (not ends[-1] or found[-1] >= TABLE):
        raise ValueError("not features")
    return step, found.astype(np.uint32)


class NgramsLearner:
    """Weights as int32; what is published is int16, which a weight reaches only after hundreds of steps one way."""

    name = NAME
    version = 3  # 1: words had another hash; 2: letters of two bytes were two (`folded`)

    def fresh(self) -> Weights:
        return np.zeros(TABLE, np.int32)

    def load(self, data: bytes) -> Weights:
        if len(data) != 4 * TABLE:
            raise ValueError("not a table of weights")
        return np.frombuffer(data, "<i4").astype(np.int32)

    def dump(self, state: Weights) -> bytes:
        return state.astype("<i4").tobytes()

    def prepare(self, questions: Sequence[Question]) -> None:
        """Nothing: messages are looked at one by one."""

    def contribution(self, state: Weights, features: Features, context: Context, label: str) -> bytes:
        found = indices(features, context.ngrams)
        if not len(found):
            return b""
        target = 1.0 - SOFT if label == "spam" else SOFT
        value = max(-LIMIT, min(LIMIT, score(state, found)))
        error = target - 1.0 / (1.0 + exp(-value))
        return _STEP.pack(round(RATE * SCALE * error / sqrt(len(found)))) + gaps(features, context.ngrams)

    def add(self, state: Weights, label: str, contribution: bytes) -> None:
        step, found = unpack(contribution)
        state[found] += np.int32(step)

    def subtract(self, state: Weights, label: str, contribution: bytes) -> None:
        step, found = unpack(contribution)
        state[found] -= np.int32(step)

    def publish(self, state: Weights) -> bytes:
        return np.clip(state, -32768, 32767).astype("<i2").tobytes()

    def decode(self, data: bytes) -> Weights:
        if len(data) != 2 * TABLE:
            raise ValueError("not a table of weights")
        return np.frombuffer(data, "<i2")


LEARNER = NgramsLearner()
