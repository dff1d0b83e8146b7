"""The limiter's memory: how often a key was seen in a window of time, and how many of it are open now, over
all workers.

Each worker has a slab and writes only there; a count is the sum over all slabs. Keys are 64-bit numbers, 0
is taken for 1 (the caller hashes kind and net). A slab has two tables of buckets of eight entries; a key
lives in one bucket only, so that an operation touches one cache line or two. When a bucket is full, an
ended window goes first, then the entry that was touched least recently: memory is fixed, and what may be
lost is the count of someone who has not been seen for longest. The bucket of a key depends on a secret of
this start of the server: nobody can aim at a bucket.

Windows are fixed: the time line is cut into pieces of `window` seconds, and only the current piece counts.
Workers count on their own, so at most (workers - 1) attempts too many may pass.

Slabs outlive workers: what they counted stays. Their gauges (open connections) are cleared by the
supervisor when they die.
"""

from __future__ import annotations

import secrets

from shm.layout import CELL, PAGE, align

WAYS = 8
WINDOW_BUCKETS = 2048  # x 8 ways = 16,384 counts a worker
GAUGE_BUCKETS = 4096  # x 8 ways = 32,768 open keys a worker
MASK = (1 << 64) - 1
MIX = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: spreads neighbouring window lengths

# Of a bucket of windows: keys, ends, touched, counts, each WAYS cells. Of a bucket of gauges: keys, counts.
_WINDOW_CELLS = 4 * WAYS
_GAUGE_CELLS = 2 * WAYS
_WINDOWS_SIZE = WINDOW_BUCKETS * _WINDOW_CELLS * CELL
_GAUGES_SIZE = GAUGE_BUCKETS * _GAUGE_CELLS * CELL
_SLAB_SIZE = _WINDOWS_SIZE + _GAUGES_SIZE
_WINDOW_SHIFT = 64 - (WINDOW_BUCKETS.bit_length() - 1)
_GAUGE_SHIFT = 64 - (GAUGE_BUCKETS.bit_length() - 1)
_SECRET, _SLABS, _USED = range(3)


def limiter_size(slabs: int) -> int:
    """Bytes of memory for so many slabs; pages are taken from the system only when written."""
    return PAGE + slabs * align(_SLAB_SIZE, PAGE)


class LimiterSlabs:
    """`LimiterSlabs(segment.memory)` reads all slabs; `.writer(n)` is the same for the worker that owns
    slab n.
    """

    __slots__ = (
        "_cells",
        "_factor",
        "_floats",
        "_gauges",
        "_own_gauges",
        "_own_windows",
        "_windows",
        "slabs",
    )

    def __init__(self, memory: memoryview, own: int | None = None) -> None:
        """memory: `limiter_size(n)` bytes, zeroed when new."""
        self._cells = memory.cast("Q")
        self._floats = memory.cast("d")
        self.slabs = (len(memory) - PAGE) // _SLAB_SIZE
        if not self._cells[_SECRET]:
            self._cells[_SECRET] = secrets.randbits(64) | 1
            self._cells[_SLABS] = self.slabs
        self._factor = self._cells[_SECRET]
        bases = [(PAGE + n * _SLAB_SIZE) // CELL for n in range(self.slabs)]
        self._windows = bases
        self._gauges = [base + _WINDOWS_SIZE // CELL for base in bases]
        self._own_windows = -1 if own is None else bases[own]
        self._own_gauges = -1 if own is None else self._gauges[own]

    @classmethod
    def private(cls, slabs: int = 1, own: int = 0) -> LimiterSlabs:
        """In this process's own memory: for tests and tools."""
        memory = memoryview(bytearray(limiter_size(slabs)))
        limiter = cls(memory)
        for slab in range(slabs):
            limiter.use(slab)
        return limiter.writer(own)

    def writer(self, slab: int) -> LimiterSlabs:
        """The view of the worker that owns `slab`."""
        other = LimiterSlabs.__new__(LimiterSlabs)
        for name in ("_cells", "_floats", "slabs", "_factor", "_windows", "_gauges"):
            setattr(other, name, getattr(self, name))
        other._own_windows = self._windows[slab]
        other._own_gauges = self._gauges[slab]
        return other

    def use(self, slab: int) -> None:
        """The supervisor, before a worker gets the slab: readers look at slabs below the highest in use
        only.
        """
        self._cells[_USED] = max(self._cells[_USED], slab + 1)

    def clear_gauges(self, slab: int) -> None:
        """The supervisor, when the owner has died: its connections are gone."""
        start = self._gauges[slab]
        cells = _GAUGES_SIZE // CELL
        self._cells[start : start + cells] = memoryview(bytes(_GAUGES_SIZE)).cast("Q")

    # counts in windows

    def add(self, key: int, now: float, window: float, n: int = 1) -> None:
        """Counts n more of `key` in the current window of `window` seconds. `now`: seconds of one clock for
        all workers.
        """
        cells = self._cells
        key, base = self._place(key, window)
        base += self._own_windows
        keys = cells[base : base + WAYS].tolist()
        end = (now // window + 1) * window
        floats = self._floats
        if key in keys:
            way = base + keys.index(key)
            if floats[way + WAYS] == end:
                cells[way + 3 * WAYS] += n
                floats[way + 2 * WAYS] = now
                return
        else:
            way = base + self._victim(base, keys, now)
            cells[way] = 0  # a reader never sees the new key with the old count
        cells[way + 3 * WAYS] = 0
        floats[way + WAYS] = end
        floats[way + 2 * WAYS] = now
        cells[way + 3 * WAYS] = n
        cells[way] = key

    def count(self, key: int, now: float, window: float) -> int:
        """How many of `key` all workers counted in the current window."""
        cells, floats = self._cells, self._floats
        key, place = self._place(key, window)
        end = (now // window + 1) * window
        total = 0
        for base in self._windows[: cells[_USED]]:
            base += place
            keys = cells[base : base + WAYS].tolist()
            if key in keys:
                way = base + keys.index(key)
                if floats[way + WAYS] == end:
                    total += cells[way + 3 * WAYS]
        return total

    def _place(self, key: int, window: float) -> tuple[int, int]:
        """(the key as stored: one per window length and never 0, cells from the table's start to its
        bucket)
        """
        key = (key ^ (int(window * 1000) * MIX)) & MASK or 1
        return key, ((key * self._factor & MASK) >> _WINDOW_SHIFT) * _WINDOW_CELLS

    def _victim(self, base: int, keys: list[int], now: float) -> int:
        """Which way of the bucket a new key gets: an empty one, an ended window, or the one untouched for
        longest.
        """
        if 0 in keys:
            return keys.index(0)
        ends = self._floats[base + WAYS : base + 2 * WAYS].tolist()
        first = min(ends)
        if first <= now:
            return ends.index(first)
        touched = self._floats[base + 2 * WAYS : base + 3 * WAYS].tolist()
        return touched.index(min(touched))

    # gauges

    def gauge(self, key: int, delta: int) -> None:
        """Of `key`, delta more (or less) are open in this worker; never below 0."""
        cells = self._cells
        key = key & MASK or 1
        base = self._own_gauges + ((key * self._factor & MASK) >> _GAUGE_SHIFT) * _GAUGE_CELLS
        keys = cells[base : base + WAYS].tolist()
        if key in keys:
            way = base + keys.index(key)
            value = cells[way + WAYS] + delta
            cells[way + WAYS] = value if value > 0 else 0
            if value <= 0:
                cells[way] = 0
        elif delta > 0:
            if 0 in keys:
                way = base + keys.index(0)
            else:  # the smallest is the one that a limit can spare
                counts = cells[base + WAYS : base + 2 * WAYS].tolist()
                way = base + counts.index(min(counts))
                cells[way] = 0
            cells[way + WAYS] = delta
            cells[way] = key

    def gauge_total(self, key: int) -> int:
        """How many of `key` are open in all workers."""
        cells = self._cells
        key = key & MASK or 1
        place = ((key * self._factor & MASK) >> _GAUGE_SHIFT) * _GAUGE_CELLS
        total = 0
        for base in self._gauges[: cells[_USED]]:
            base += place
            keys = cells[base : base + WAYS].tolist()
            if key in keys:
                total += cells[base + keys.index(key) + WAYS]
        return total

    def release(self) -> None:
        """Lets go of the memory, before the segment is closed."""
        self._cells.release()
        self._floats.release()
