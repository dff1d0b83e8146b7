"""FUZZY (RFC 6203): words that are nearly there, and how relevant a message is.

What is asked for is cut into words (words.py); a message matches if it has most of them, each as it is, as the
beginning of a longer word, or with a slip of the pen: a letter too much, too little, wrong, or two letters changed
round, but not the first one. All keys within FUZZY that are not about texts are exact. A score is 1 to 100: the mean
over the words of how near they are and of where they stand (a subject is worth more than a body); AND takes the mean of
its keys, OR the best.

The full-text index gives all of it; messages that are not in it yet are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from echomox.imap.search import And, Body, Fuzzy, Header, Key, Or, Text
from echomox.store.engine import StoreError
from echomox.store.text.fulltext import Reader, Section, Segment
from echomox.store.text.match import body_texts, field_values
from echomox.store.text.matching import Message, messages
from echomox.store.text.words import Folded, fold, octets, words
from echomox.store.translate import SECTIONS, View

Scores = dict[int, float]
"""By UID, above 0 to 1."""
Steps = Generator[None, None, Scores]
Exact = Callable[[View, Key, set[int]], Generator[None, None, set[int]]]
Weights = npt.NDArray[np.float32]
MOST = 8
"""Words of one key that are looked at."""
LONGEST = 40
FEW = 100  # messages that are sooner read than looked up
EXACT, BEGINS, NEAR = 1.0, 0.85, 0.65
_LETTER = rb"[0-9a-z_\x80-\xff]"
_BODY = ((Section.BODY, 0.8),)
_TEXT = ((Section.SUBJECT, 1.0), (Section.FROM, 0.9), (Section.TO, 0.8), (Section.CC, 0.8), *_BODY)
"""Not the whole header: the names of fields are near to too many words."""
_FIELDS = (("subject", 1.0), ("from", 0.9), ("to", 0.8), ("cc", 0.8))


class Word(NamedTuple):
    """pattern: finds it, and what is near, in folded texts and in the terms of a block."""

    text: bytes
    pattern: re.Pattern[bytes]

    def nearness(self, found: bytes) -> float:
        if found == self.text:
            return EXACT
        return BEGINS if found.startswith(self.text) else NEAR


@lru_cache(maxsize=64)
def word(text: bytes, paired: bool) -> Word:
    """paired: of a script without spaces between words; it has no slips."""
    if paired:
        return Word(text, re.compile(re.escape(text)))
    forms = [re.escape(text) + _LETTER + b"*" if len(text) > 2 else re.escape(text)]
    if 4 <= len(text) <= LONGEST:
        forms += _slips(text)
    return Word(text, re.compile(rb"(?<!%b)%b(?:%b)(?!%b)" % (
        _LETTER, b"(?=%b)" % re.escape(text[:1]), b"|".join(forms), _LETTER,
    )))  # fmt: skip


def _slips(text: bytes) -> list[bytes]:
    escaped = [re.escape(text[place : place + 1]) for place in range(len(text))]
    forms = []
    for place in range(1, len(text)):
        before, here, after = b"".join(escaped[:place]), escaped[place], b"".join(escaped[place + 1 :])
        forms += [before + after, before + _LETTER + after, before + _LETTER + here + after]
        if after:
            forms.append(before + escaped[place + 1] + here + b"".join(escaped[place + 2 :]))
    return [*forms, text + _LETTER]


def asked_words(value: str) -> list[Word]:
    found = {word(octets(run)[:LONGEST], paired): None for run, paired in words(fold(value))}
    return list(found)[:MOST]


def enough(count: int) -> int:
    """Words that a message must have of so many."""
    return count if count < 3 else -(-count * 2 // 3)


def evaluate(view: View, key: Key, among: set[int], exact: Exact) -> Steps:
    """The scores of those of `among` that match; key: what stands in FUZZY. exact: evaluates what is not fuzzy."""
    if isinstance(key, Fuzzy):
        return (yield from evaluate(view, key.key, among, exact))
    if isinstance(key, And):
        found: Scores = dict.fromkeys(among, 0.0)
        for part in key.keys:
            scores = yield from evaluate(view, part, set(found), exact)
            found = {uid: found[uid] + score / len(key.keys) for uid, score in scores.items()}
        return found
    if isinstance(key, Or):
        left = yield from evaluate(view, key.left, among, exact)
        right = yield from evaluate(view, key.right, among, exact)
        return {uid: max(left.get(uid, 0.0), right.get(uid, 0.0)) for uid in left.keys() | right.keys()}
    if isinstance(key, Body | Text) or (isinstance(key, Header) and key.name in SECTIONS and key.value):
        asked = asked_words(key.value)
        if asked:
            return (yield from _texts(view, key, asked, among))
    return dict.fromkeys((yield from exact(view, key, among)), 1.0)


def scores_of(view: View, key: Key, among: set[int], exact: Exact) -> Steps:
    """Of a whole program: the mean over its FUZZY keys that match."""
    totals: dict[int, list[float]] = {}
    for part in _fuzzy_keys(key):
        for uid, score in (yield from evaluate(view, part, among, exact)).items():
            totals.setdefault(uid, []).append(score)
    return {uid: sum(scores) / len(scores) for uid, scores in totals.items()}


def _fuzzy_keys(key: Key) -> list[Key]:
    if isinstance(key, And):
        return [one for part in key.keys for one in _fuzzy_keys(part)]
    if isinstance(key, Or):
        return _fuzzy_keys(key.left) + _fuzzy_keys(key.right)
    return [key.key] if isinstance(key, Fuzzy) else []


def _places(key: Key) -> Sequence[tuple[Section, float]]:
    if isinstance(key, Header):
        return ((SECTIONS[key.name], 1.0),)
    return _BODY if isinstance(key, Body) else _TEXT


def _texts(view: View, key: Key, asked: Sequence[Word], among: set[int]) -> Steps:
    found: Scores = {}
    unread = among
    reader = view.reader
    if reader is not None and len(among) >= FEW:
        uids, contents = view.listed()
        unread = among & view.newer(reader.watermark)
        for segment in reader.segments:
            ids = reader.contents(segment)
            weights = yield from _segment(reader, segment, _places(key), asked)
            hits = np.flatnonzero(weights > 0)
            places = np.searchsorted(ids[hits], contents)
            places[places == len(hits)] = 0
            matching = ids[hits][places] == contents if len(hits) else np.zeros(len(contents), np.bool_)
            for uid, weight in zip(uids[matching].tolist(), weights[hits][places[matching]].tolist()):
                if uid in among:
                    found[uid] = weight
            yield
    found.update((yield from _read(view, key, asked, unread)))
    return found


def _segment(
    reader: Reader, segment: Segment, places: Sequence[tuple[Section, float]], asked: Sequence[Word]
) -> Generator[None, None, Weights]:
    """The score of each document of a segment."""
    total = np.zeros(segment.documents, np.float32)
    count = np.zeros(segment.documents, np.int32)
    for one in asked:
        best = np.zeros(segment.documents, np.float32)
        for section, weight in places:
            found = yield from reader.near(segment, section, one.pattern, one.text[:1], one.nearness)
            np.maximum(best, found * weight, out=best)
        total += best
        count += best > 0
    return np.where(count >= enough(len(asked)), total / len(asked), 0).astype(np.float32)


def _read(view: View, key: Key, asked: Sequence[Word], uids: set[int]) -> Steps:
    found: Scores = {}
    for uid, message in messages(view, uids):
        try:
            texts = list(_message_texts(key, message))
        except StoreError:
            texts = []  # the file is gone or damaged: for verifydata to find; a search goes on
        best = [max((_best(one, text) * weight for text, weight in texts), default=0.0) for one in asked]
        if sum(score > 0 for score in best) >= enough(len(asked)):
            found[uid] = sum(best) / len(best)
        if view.is_tired():
            yield from view.rest()
    return found


def _message_texts(key: Key, message: Message) -> list[tuple[Folded, float]]:
    """(folded text, weight)"""
    header = message.header()
    if isinstance(key, Header):
        return [(fold(value), 1.0) for value in field_values(header, key.name)]
    texts = [(text, 0.8) for text in body_texts(message.list_parts(), message.reader())]
    if isinstance(key, Text):
        texts += [(fold(value), weight) for name, weight in _FIELDS for value in field_values(header, name)]
    return texts


def _best(one: Word, text: Folded) -> float:
    data = text if isinstance(text, bytes) else octets(text)
    best = 0.0
    for match in one.pattern.finditer(data):
        best = max(best, one.nearness(match[0]))
        if best == EXACT:
            break
    return best
