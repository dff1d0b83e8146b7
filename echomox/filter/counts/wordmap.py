"""Counts of words by hash: a table of NumPy arrays that is asked for thousands of words at once, in memory or mapped
from the file words.map beside an account's junk.db (F04).

A word's home is a bucket of WIDTH slots, by the first bits of its hash; a full bucket flows over into the next. A slot
is a hash (0: free) and the messages of ham and of spam that held the word. Slots are not freed: a count that is back
at 0, 0 says the same as no slot. A table that is FULL is made twice as large.

    words.map    header (HEAD), redo (`redo_size` entries), hashes (8 bytes a slot), counts (8 bytes a slot); byte order
                 of the machine

junk.db is the truth and words.map only its copy: `stamp` says of which of its commits. The trainer alone writes it:
a small change where it stands, a large one as a new file that takes the place of the old. Readers never see half of a
change: the generation is odd while one is written, and then its end state lies in `redo` already, with a checksum; so
a reader that finds it odd, also for ever because the trainer was killed there, takes the words of the change from it.
`digest` is a sum over all slots that a change keeps up to date and `check` computes again.
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Counts = NDArray[np.int32]
"""(n, 2): messages of ham, of spam."""
Flags = NDArray[np.bool_]
Slots = NDArray[np.int64]

FILE = "words.map"
WIDTH = 8
_WIDTH_BITS = 3
NEXT = 4
"""Buckets that are looked into at once for a word whose home is full and does not hold it."""
_BEHIND = np.arange(WIDTH, WIDTH * (NEXT + 1))
FULL = 0.6
LEAST_BITS = 9
"""Of the number of slots."""
MOST_BITS = 27
LEAST_REDO, MOST_REDO = 2048, 1 << 16
HEAD = np.dtype(
    [
        ("magic", "S8"), ("bits", "u4"), ("crc", "u4"), ("generation", "u8"), ("stamp", "u8"), ("used", "u8"),
        ("digest", "u8"), ("ham", "u4"), ("spam", "u4"), ("threshold", "f8"), ("redo", "u4"), ("redo_crc", "u4"),
    ]
)  # fmt: skip
MAGIC = b"EMWORDS1"
_ENTRY = np.dtype([("hash", "u8"), ("ham", "i4"), ("spam", "i4")])
_START = 4096
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_STIR = np.uint64(0xBF58476D1CE4E5B9)
_PATIENCE = 1000
"""So often a reader starts again when changes keep coming."""


class Damaged(ValueError):
    """A file that is no words.map, or not a whole one."""


class Totals(NamedTuple):
    """The row of JUNKFILTER."""

    total: int
    ham: int
    spam: int
    threshold: float


NOTHING = Totals(0, 0, 0, 0.3)


class Table:
    """Counts of words by their hashes, which are never 0."""

    def __init__(self, hashes: Hashes | None = None, counts: Counts | None = None, bits: int = LEAST_BITS) -> None:
        """hashes, counts: arrays of 2 ** bits to be used as they stand; new ones without them."""
        self.used = 0
        """Slots that are not free; whoever hands in arrays sets it."""
        self._take(
            bits,
            np.zeros(1 << bits, np.uint64) if hashes is None else hashes,
            np.zeros((1 << bits, 2), np.int32) if counts is None else counts,
        )

    def _take(self, bits: int, hashes: Hashes, counts: Counts) -> None:
        self.bits, self.hashes, self.counts = bits, hashes, counts
        self._rows = hashes.reshape(-1, WIDTH)
        self._pairs: Slots = counts.view(np.int64).reshape(-1)
        """The two counts of a slot as one number: fetched at once."""
        self._shift = np.uint64(64 - bits + WIDTH.bit_length() - 1)

    def find(self, hashes: Hashes) -> Slots:
        """The slot of each, -1 for those without one."""
        slots = np.full(len(hashes), -1, np.int64)
        for place, found in self._search(hashes):
            slots[place] = found % len(self.hashes)
        return slots

    def lookup(self, hashes: Hashes) -> Counts:
        """(n, 2), zeros for unknown words."""
        counts = np.zeros(len(hashes), np.int64)
        for place, found in self._search(hashes):
            counts[place] = self._pairs.take(found, mode="wrap")
        return counts.view(np.int32).reshape(-1, 2)

    def _search(self, hashes: Hashes) -> Iterator[tuple[Slots, Slots]]:
        """(which were found, their slots), those behind the last slot being the first again: in their home, then NEXT
        buckets at a time. The hash 0 is found in free slots."""
        home = (hashes * _MULTIPLIER >> self._shift).view(np.int64)
        bucket = self._rows.take(home, axis=0)
        hits = (bucket == hashes[:, None]).reshape(-1).nonzero()[0]
        place = hits >> _WIDTH_BITS
        found = home.take(place)
        found <<= _WIDTH_BITS
        found += hits & WIDTH - 1
        yield place, found
        full = bucket[:, -1] != 0
        full[place] = False
        left = full.nonzero()[0]
        behind = _BEHIND
        while len(left):
            slots = (home.take(left) << _WIDTH_BITS)[:, None] + behind
            window = self.hashes.take(slots, mode="wrap")
            hits = (window == hashes.take(left)[:, None]).reshape(-1).nonzero()[0]
            place = hits // len(behind)
            yield left.take(place), slots.reshape(-1).take(hits)
            full = window[:, WIDTH - 1 :: WIDTH].all(axis=1)
            full[place] = False
            left, behind = left[full], behind + len(behind)

    def fits(self, more: int) -> bool:
        """Whether the table takes so many further words."""
        return self.used + more <= FULL * len(self.hashes)

    def put(self, hashes: Hashes, counts: Counts) -> None:
        """Sets the counts of words, each of which is named once. The table must be large enough (`fits`)."""
        slots = self.find(hashes)
        fresh = np.flatnonzero(slots < 0)
        if len(fresh):
            slots[fresh] = self._slots(hashes[fresh])
            self.used += len(fresh)
        self.counts[slots] = counts

    def _slots(self, hashes: Hashes) -> Slots:
        """Gives slots to words that have none; their counts are 0."""
        rows = self._rows
        out = np.empty(len(hashes), np.int64)
        home = (hashes * _MULTIPLIER >> self._shift).astype(np.int64)
        left = np.arange(len(hashes))
        while len(left):
            order = np.argsort(home, kind="stable")
            left, home = left[order], home[order]
            starts = np.flatnonzero(np.diff(home, prepend=-1))
            rank = np.arange(len(home)) - np.repeat(starts, np.diff(starts, append=len(home)))
            place = (rows[home] != 0).sum(axis=1) + rank
            fit = place < WIDTH
            slots = home[fit] * WIDTH + place[fit]
            out[left[fit]] = slots
            self.hashes[slots] = hashes[left[fit]]
            left, home = left[~fit], (home[~fit] + 1) % len(rows)
        return out

    def add(self, hashes: Hashes, counts: Counts) -> None:
        """Adds to the counts of words, each of which is named once. Grows, in memory."""
        slots = self.find(hashes)
        fresh = np.flatnonzero(slots < 0)
        if len(fresh):
            if not self.fits(len(fresh)):
                self._grow(len(hashes))
                slots = self.find(hashes)
                fresh = np.flatnonzero(slots < 0)  # words that did not count any more have lost their slots
            slots[fresh] = self._slots(hashes[fresh])
            self.used += len(fresh)
        self.counts[slots] += counts

    def _grow(self, more: int) -> None:
        """To at least twice as many slots, with room for so many further words."""
        hashes, counts = self.items()
        bits = self.bits + 1
        while len(hashes) + more > FULL * (1 << bits):
            bits += 1
        self._take(bits, np.zeros(1 << bits, np.uint64), np.zeros((1 << bits, 2), np.int32))
        self.used = 0
        self.put(hashes, counts)

    def copy(self) -> Table:
        """In memory."""
        made = Table(self.hashes.copy(), self.counts.copy(), self.bits)
        made.used = self.used
        return made

    def items(self) -> tuple[Hashes, Counts]:
        """The words that count, and how."""
        slots = np.flatnonzero((self.hashes != 0) & self.counts.any(axis=1))
        return self.hashes[slots], self.counts[slots]


def table_of(hashes: Hashes, counts: Counts) -> Table:
    """A table of words, each named once."""
    bits = LEAST_BITS
    while len(hashes) > FULL * (1 << bits) * 0.75:
        bits += 1
    if bits > MOST_BITS:
        raise Damaged(f"{len(hashes)} words are too many")
    made = Table(bits=bits)
    made.put(hashes, counts)
    return made


def together(words: Sequence[Hashes], counts: Sequence[tuple[int, int]]) -> tuple[Hashes, Counts]:
    """The words of several messages, each once, and the sums of what each message adds to its words' counts."""
    every = np.concatenate(words)
    found, place = np.unique(every, return_inverse=True)
    sizes = [len(one) for one in words]
    out = np.empty((len(found), 2), np.int32)
    for kind in (0, 1):
        weights = np.repeat([float(pair[kind]) for pair in counts], sizes)
        out[:, kind] = np.bincount(place, weights, len(found))
    return found, out


def digest(hashes: Hashes, counts: Counts) -> int:
    """A sum over words that count, the same in any order."""
    values = np.ascontiguousarray(counts, np.int32).view(np.uint64).reshape(-1)
    mixed = (hashes ^ values * _MULTIPLIER) * _STIR
    mixed ^= mixed >> np.uint64(29)
    mixed *= values != 0
    return int(mixed.sum(dtype=np.uint64))


# -- the file ------------------------------------------------------------------


def redo_size(bits: int) -> int:
    """Words of a change that is written in place, at most."""
    return max(LEAST_REDO, min(MOST_REDO, 1 << bits - 3))


def _table_at(bits: int) -> int:
    return _START + redo_size(bits) * _ENTRY.itemsize


def file_size(bits: int) -> int:
    return _table_at(bits) + 16 * (1 << bits)


class WordMap:
    """One words.map, mapped. writable: of the trainer."""

    def __init__(self, path: Path, writable: bool = False) -> None:
        """Raises FileNotFoundError, OSError, Damaged."""
        handle = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            found = os.fstat(handle)
            self.inode = found.st_ino
            if found.st_size < file_size(LEAST_BITS):
                raise Damaged("too short")
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(handle, found.st_size, access=access)
        finally:
            os.close(handle)
        head = self.head = np.ndarray((), HEAD, self._map)
        bits = int(head["bits"])
        if bytes(head["magic"]) != MAGIC or not LEAST_BITS <= bits <= MOST_BITS or int(head["crc"]) != _crc(bits):
            raise Damaged("not a table of words")
        if found.st_size != file_size(bits):
            raise Damaged("of the wrong size")
        slots = 1 << bits
        self.table = Table(
            np.ndarray((slots,), np.uint64, self._map, _table_at(bits)),
            np.ndarray((slots, 2), np.int32, self._map, _table_at(bits) + 8 * slots),
            bits,
        )
        self.table.used = int(head["used"])
        self._redo = np.ndarray((redo_size(bits),), _ENTRY, self._map, _START)
        self._generation = np.ndarray((), np.uint64, self._map, HEAD.fields["generation"][1])  # type: ignore[index]

    @property
    def stamp(self) -> int:
        """Of which commit this is the copy; -1 while a change is under way, or was when the trainer was killed."""
        return -1 if int(self._generation) & 1 else int(self.head["stamp"])

    def lookup(self, hashes: Hashes) -> Counts:
        """(n, 2) of one state of the table."""
        for _ in range(_PATIENCE):
            before = int(self._generation)
            found = self.table.lookup(hashes)
            if before & 1:
                whole = self._overlay(hashes, found)
                if whole and before == int(self._generation):
                    return found
            elif before == int(self._generation):
                return found
        raise Damaged("changes without end")

    def totals(self) -> Totals:
        """Of the same state as the words."""
        head = self.head
        for _ in range(_PATIENCE):
            before = int(self._generation)
            ham, spam, threshold = int(head["ham"]), int(head["spam"]), float(head["threshold"])
            if before == int(self._generation):
                return Totals(ham + spam, ham, spam, threshold)
        raise Damaged("changes without end")

    def _overlay(self, hashes: Hashes, found: Counts) -> bool:
        """Puts the end state of the change that is under way into `found`. False: not the whole of it is there."""
        number = int(self.head["redo"])
        if number > len(self._redo):
            return False
        redo = self._redo[:number].copy()
        if zlib.crc32(redo.tobytes()) != int(self.head["redo_crc"]):
            return False
        if number:  # in the order of their hashes
            at = np.minimum(np.searchsorted(redo["hash"], hashes), number - 1)
            same = redo["hash"][at] == hashes
            found[same, 0], found[same, 1] = redo["ham"][at[same]], redo["spam"][at[same]]
        return True

    def check(self) -> bool:
        """Whether the words are what was written, but for a change that comes meanwhile."""
        for _ in range(_PATIENCE):
            before = int(self._generation)
            same = digest(self.table.hashes, self.table.counts) == int(self.head["digest"])
            if before == int(self._generation):
                return same or bool(before & 1)
        return True

    # -- of the trainer

    def change(self, hashes: Hashes, counts: Counts, totals: Totals, stamp: int) -> bool:
        """Sets counts of words, each named once, where the file stands. False: too many, make a new file."""
        if len(hashes) > len(self._redo) or not self.table.fits(len(hashes)):
            return False
        old = self.table.lookup(hashes)
        order = np.argsort(hashes)
        redo = self._redo[: len(hashes)]
        redo["hash"], redo["ham"], redo["spam"] = hashes[order], counts[order, 0], counts[order, 1]
        head = self.head
        head["redo"], head["redo_crc"] = len(hashes), zlib.crc32(redo.tobytes())
        moved = digest(hashes, counts) - digest(hashes, old)
        self._generation += np.uint64(1)
        self.table.put(hashes, counts)
        head["used"] = self.table.used
        head["digest"] = (int(head["digest"]) + moved) & (1 << 64) - 1
        head["ham"], head["spam"], head["threshold"] = totals.ham, totals.spam, totals.threshold
        head["stamp"] = stamp
        self._generation += np.uint64(1)
        return True


def _crc(bits: int) -> int:
    return zlib.crc32(MAGIC + bytes([bits]))


def write(path: Path, table: Table, totals: Totals, stamp: int) -> None:
    """A words.map with these words, in the place of the one that was. Raises OSError; then the old one is there."""
    size = file_size(table.bits)
    fresh = path.with_name(path.name + ".new")
    handle = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)  # a full disk is an error here, not a signal later
        with mmap.mmap(handle, size) as whole:
            head = np.zeros((), HEAD)
            head["magic"], head["bits"], head["crc"] = MAGIC, table.bits, _crc(table.bits)
            head["stamp"], head["used"] = stamp, table.used
            head["digest"] = digest(table.hashes, table.counts)
            head["ham"], head["spam"], head["threshold"] = totals.ham, totals.spam, totals.threshold
            data = head.tobytes()
            whole[: len(data)] = data
            start = _table_at(table.bits)
            middle = start + 8 * len(table.hashes)
            whole[start:middle] = table.hashes.tobytes()
            whole[middle:] = table.counts.tobytes()
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    fresh.replace(path)


def opened(path: Path, writable: bool = False, stamp: Callable[[], int] | None = None) -> WordMap | None:
    """The file as it stands; None when there is none that will do. stamp: of the commit that is asked for."""
    try:
        found = WordMap(path, writable)
    except (OSError, Damaged):
        return None
    return None if stamp is not None and found.stamp != stamp() else found
