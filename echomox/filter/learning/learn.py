"""What training changes: counts up for a new label, exactly those down again for the old one. Pure.

Each trained message is remembered with its label and the hashes of its words, so that taking it back removes what it
added, whatever the tokeniser or the account's settings have become since.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgpack
import numpy as np

from echomox.filter.counts.wordmap import FULL, LEAST_BITS, Counts, Hashes, Table, together

LABELS = ("ham", "spam")
UNPACKED_LIMIT = 4 << 20
MOST_ROOM = 20
"""Bits of the number of slots of which there is room from the beginning, at most."""
_CRC = 4


class BadRecord(Exception):
    """A remembered set of words that cannot be read."""


class Spelling:
    """How words are written, by their hashes."""

    def __init__(self) -> None:
        self._keys: list[Hashes] = []
        self._words: list[str] = []

    def __len__(self) -> int:
        """How often a word was added."""
        return len(self._words)

    def add(self, keys: Hashes, words: Sequence[str]) -> None:
        """Words by their hashes; one may come again."""
        if len(keys) != len(words):
            raise ValueError("not a hash for every word")
        self._keys.append(keys)
        self._words += words

    def merge(self, other: Spelling) -> None:
        self._keys += other._keys
        self._words += other._words

    def keys(self) -> Hashes:
        """The hash of each word that was added, in that order."""
        return np.concatenate([_NO_WORDS, *self._keys])

    def of(self, keys: Hashes) -> list[str | None]:
        """How each is written, None where that is not known."""
        own = self.keys()
        if not len(own):
            return [None] * len(keys)
        order = np.argsort(own, kind="stable")
        ascending = own[order]
        place = np.searchsorted(ascending, keys, "right") - 1  # what was said last
        known = ascending[place] == keys
        words = self._words
        found: list[str | None] = [words[at] for at in order[place].tolist()]
        for at in np.flatnonzero(~known).tolist():
            found[at] = None
        return found

    def dump(self) -> list[bytes]:
        """For `load`. NUL does not count, and half a surrogate pair counts as "?", as for their hashes."""
        written = "\0".join(self._words)
        if self._words and written.count("\0") != len(self._words) - 1:
            written = "\0".join([word.replace("\0", "") for word in self._words])
        return [self.keys().tobytes(), written.encode("utf-8", "replace")]

    @classmethod
    def load(cls, keys: bytes, words: bytes) -> Spelling:
        """What `dump` gave. Raises ValueError."""
        made = cls()
        hashes = np.frombuffer(keys, np.uint64)
        made.add(hashes, words.decode().split("\0") if len(hashes) else [])
        return made


_NO_WORDS: Hashes = np.zeros(0, np.uint64)


class Delta:
    """A change of an account's counts. spelled: of words that may be new to the account."""

    def __init__(self) -> None:
        self.ham = self.spam = 0
        self.spelled = Spelling()
        self._table = Table()

    def reserve(self, words: int) -> None:
        """Makes room for about so many words at once, rather than to grow often. Before there are any."""
        bits = LEAST_BITS
        while words > FULL * (1 << bits) and bits < MOST_ROOM:
            bits += 1
        if bits > self._table.bits and not self._table.used:
            self._table = Table(bits=bits)

    @property
    def words(self) -> int:
        """How many words it is about, at most."""
        return self._table.used

    def add(self, label: str, words: Hashes, sign: int) -> None:
        """One message of this label, learnt (sign 1) or unlearnt (-1); each word once."""
        self.add_many([(label, words)], sign)

    def add_many(self, messages: Sequence[tuple[str, Hashes]], sign: int = 1) -> None:
        """Several messages; each word once a message."""
        if not messages:
            return
        spam = sum(LABELS.index(label) for label, _ in messages)
        self.spam += sign * spam
        self.ham += sign * (len(messages) - spam)
        counts = [(0, sign) if label == "spam" else (sign, 0) for label, _ in messages]
        self._table.add(*together([words for _, words in messages], counts))

    def merge(self, other: Delta) -> None:
        """Adds another change."""
        self.ham, self.spam = self.ham + other.ham, self.spam + other.spam
        self._table.add(*other.changes())
        self.spelled.merge(other.spelled)

    def dump(self, changes: tuple[Hashes, Counts] | None = None) -> bytes:
        """For `load`; only what concerns words, and how those are written of which that is known. changes: those, when
        they are at hand."""
        words, counts = changes or self.changes()
        fields = [words.tobytes(), counts.tobytes(), *self.spelled.dump()]
        data: bytes = msgpack.packb(fields)
        return zlib.crc32(data).to_bytes(_CRC, "little") + data

    @classmethod
    def load(cls, record: bytes) -> Delta:
        """What `dump` gave, of this program or of one that wrote the spelling as a map. Raises BadRecord."""
        try:
            words, counts, *spelled = msgpack.unpackb(_checked(record), strict_map_key=False)
            made = cls()
            made.reserve(len(words) // 8)
            made._table.add(np.frombuffer(words, np.uint64), np.frombuffer(counts, np.int32).reshape(-1, 2))
            if len(spelled) == 1:
                made.spelled.add(np.fromiter(spelled[0], np.uint64, len(spelled[0])), list(spelled[0].values()))
            else:
                made.spelled = Spelling.load(*spelled)
        except (ValueError, TypeError, AttributeError, OverflowError, msgpack.UnpackException) as error:
            raise BadRecord(str(error)) from None
        return made

    def lookup(self, words: Hashes) -> Counts:
        """(n, 2): what is added to the counts of ham and of spam."""
        return self._table.lookup(words)

    def changes(self) -> tuple[Hashes, Counts]:
        """The words whose counts change, each once, and by how much."""
        return self._table.items()


def pack(words: Hashes) -> bytes:
    data = words.astype("<u8", copy=False).tobytes()
    return zlib.crc32(data).to_bytes(_CRC, "little") + data


def unpack(record: bytes) -> Hashes:
    """What `pack` was given; raises BadRecord."""
    data = _checked(record)
    if len(data) % 8 or len(data) > UNPACKED_LIMIT:
        raise BadRecord("not hashes")
    return np.frombuffer(data, "<u8").astype(np.uint64)


def _checked(record: bytes) -> bytes:
    """What stands behind the checksum."""
    data = record[_CRC:]
    if len(record) < _CRC or zlib.crc32(data) != int.from_bytes(record[:_CRC], "little"):
        raise BadRecord("wrong checksum")
    return data


def unpack_strings(record: bytes) -> list[str]:
    """The words of a message as files before version 3 kept them; raises BadRecord."""
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
