"""What training changes: counts up for a new label, exactly those down again for the old one. Pure.

Each trained message is remembered with its label and its tokens, packed, so that taking it back removes
what it added, whatever the tokeniser or the account's settings have become since.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgpack

LABELS = ("ham", "spam")
UNPACKED_LIMIT = 4 << 20


class BadRecord(Exception):
    """A remembered token set that cannot be read."""


@dataclass(slots=True)
class Delta:
    """A change of an account's counts. words: word -> [ham, spam] to be added."""

    words: dict[str, list[int]] = field(default_factory=dict)
    ham: int = 0
    spam: int = 0

    def add(self, label: str, tokens: Sequence[str], sign: int) -> None:
        """One message of this label, learnt (sign 1) or unlearnt (-1)."""
        place = LABELS.index(label)
        if place:
            self.spam += sign
        else:
            self.ham += sign
        words = self.words
        for token in tokens:
            counts = words.get(token)
            if counts is None:
                counts = words[token] = [0, 0]
            counts[place] += sign

    def rows(self) -> list[tuple[str, int, int]]:
        """(word, ham, spam) of the words that change, in the order in which the table keeps them."""
        return sorted((word, ham, spam) for word, (ham, spam) in self.words.items() if ham or spam)


def pack(tokens: Sequence[str]) -> bytes:
    return zlib.compress(msgpack.packb(list(tokens)), 1)


def unpack(record: bytes) -> list[str]:
    """The tokens that `pack` was given; raises BadRecord."""
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(record, UNPACKED_LIMIT)
        if not unpacker.eof:
            raise BadRecord("cut short")
        tokens = msgpack.unpackb(data)
    except (ValueError, zlib.error, msgpack.UnpackException) as error:
        raise BadRecord(str(error)) from None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise BadRecord("not a list of words")
    return tokens
