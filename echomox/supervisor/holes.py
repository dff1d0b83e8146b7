"""The holes of the heap, filled before a fork, so that what a child allocates stands close together.

Importing and reading tables leaves thousands of small free blocks between what lives. A child takes them first, and
each costs it a page of its own, of which it uses a few words. With the holes taken, its first block is on a page that
nobody has written. Measured on CPython 3.11 with glibc: 0.4 to 1.2 MB less in each worker.

Two allocators have holes. Python's own has a pool of 16 KiB for blocks of one size up to 512 bytes: objects of
that size are made until they come out one behind the other, which is so in a new pool. The C library's has the rest:
blocks are taken from the largest size down until they come from the end of the heap. On other systems this
does less, or nothing; it is never wrong.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from itertools import repeat

POOL = 16 * 1024 - 48
"""Bytes of a pool behind its head."""
STEP = 16
SMALL = 512
"""The largest block of Python's allocator."""
BYTES_HEAD = 33
"""Of a bytes object, with the zero at its end."""
FLOAT = 32
"""The block of a float; a bytes object is larger."""
MOST = 8 << 20
"""Bytes that are taken at most; the holes are a quarter of it."""
SIZES = (65536, 32768, 16384, 8192, 4096, *range(3072, 1032, -64), *range(1032, 16, -STEP))
HEAD = 32
"""Two blocks of the C library that touch are not further apart than their size and this."""
IN_ROW = 9
"""So many blocks that touch are no hole: whatever could hold two of them was taken before."""
MOST_BLOCKS = 100_000


class Holes:
    """Those of this process; empty until `fill`."""

    def __init__(self) -> None:
        self._objects: list[list[object]] = []
        self._blocks: list[int] = []
        self._libc = ctypes.CDLL(None)
        self._libc.malloc.restype = ctypes.c_void_p
        self._libc.malloc.argtypes = (ctypes.c_size_t,)
        self._libc.free.argtypes = (ctypes.c_void_p,)

    def open(self) -> None:
        """What was taken is free again."""
        self._objects.clear()
        for block in self._blocks:
            self._libc.free(block)
        self._blocks.clear()

    def fill(self) -> None:
        self._fill_pools()
        if hasattr(self._libc, "malloc_trim"):  # glibc, whose ways these are
            self._fill_heap()

    def _fill_pools(self) -> None:
        taken = 0
        for size in range(FLOAT, SMALL + 1, STEP):
            number = POOL // size
            fresh = False
            while not fresh and taken < MOST:
                made = self._objects_of(size, number)
                fresh = in_row(list(map(id, made)), size, size) > number * 3 // 4
                self._objects.append(made)
                taken += number * size

    @staticmethod
    def _objects_of(size: int, number: int) -> list[object]:
        if size == FLOAT:
            return list(map(float, repeat("1", number)))
        return list(map(bytes, repeat(size - BYTES_HEAD, number)))

    def _fill_heap(self) -> None:
        for size in SIZES:
            run: list[int] = []
            while len(run) < IN_ROW and len(self._blocks) < MOST_BLOCKS:
                block = self._libc.malloc(size)
                if block is None:
                    return
                if run and not size <= block - run[-1] <= size + HEAD:
                    self._blocks += run
                    run.clear()
                run.append(block)
            for block in run:
                self._libc.free(block)


def in_row(addresses: Iterable[int], least: int, most: int) -> int:
    """How many of the addresses are between `least` and `most` behind the one before."""
    found, last = 0, None
    for address in addresses:
        if last is not None and least <= address - last <= most:
            found += 1
        last = address
    return found
