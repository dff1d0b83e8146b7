"""What training changes: counts up for a new label, exactly those down again for the old one. Pure.

Each trained message is remembered with its label and the hashes of its words, so that taking it back removes what it
added, whatever the tokeniser or the account's settings have become since.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgpack
import numpy as np

from echomox.filter.wordmap import Counts, Hashes, Table, together

LABELS = ("ham", "spam")
UNPACKED_LIMIT = 4 << 20
_CRC = 4


class BadRecord(Exception):
    """A remembered set of words that cannot be read."""


class Delta:
    """A change of an account's counts. spelled: hash -> word, of words that may be new to the account."""

    def __init__(self) -> None:
        self.ham = self.spam = 0
        self.spelled: dict[int, str] = {}
        self._table = Table()

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
        self.spelled.update(other.spelled)

    def dump(self) -> bytes:
        """For `load`; only what concerns words, and how those are written of which that is known."""
        words, counts = self.changes()
        fields = [words.tobytes(), counts.tobytes(), self.spelled]
        data: bytes = msgpack.packb(fields)
        return zlib.crc32(data).to_bytes(_CRC, "little") + data

    @classmethod
    def load(cls, record: bytes) -> Delta:
        """What `dump` gave. Raises BadRecord."""
        made = cls()
        try:
            words, counts, made.spelled = msgpack.unpackb(_checked(record), strict_map_key=False)
            made._table.add(np.frombuffer(words, np.uint64), np.frombuffer(counts, np.int32).reshape(-1, 2))
        except (ValueError, TypeError, IndexError, zlib.error, msgpack.UnpackException) as error:
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
