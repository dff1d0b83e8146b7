"""How much memory a process uses: PSS, its private pages and its share of the shared ones, from
/proc/<pid>/smaps_rollup. And giving back what it read of program files and needs no more.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

MADV_DONTNEED = 4
PAGE = os.sysconf("SC_PAGESIZE")
LIBC = ctypes.CDLL(None, use_errno=True)  # opened before the fork, for all workers
LIBC.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
TRIM = getattr(LIBC, "malloc_trim", None)  # of glibc


def pss(pid: int) -> int | None:
    """Bytes; None when there is no such process, or it may not be looked at (its memory is another user's,
    or it has
    given up rights; a process may always look at itself)."""
    try:
        handle = os.open(f"/proc/{pid}/smaps_rollup", os.O_RDONLY | os.O_CLOEXEC)  # with no object that is not needed
    except OSError:
        return None
    try:
        text = os.read(handle, 4096)
    except OSError:
        return None
    finally:
        os.close(handle)
    _before, found, rest = text.partition(b"\nPss:")
    return int(rest.split(None, 1)[0]) * 1024 if found else None


def give_back() -> None:
    """Unmaps the pages of program files that only imports have touched: what is needed again is mapped again, from
    the system's cache. Nothing that differs from its file is given up, so spans are left alone that may be written, or
    that hold a page of their own (what the loader has filled in and then protected).
    """
    with suppress(OSError), open("/proc/self/smaps", "rb") as smaps:  # half a megabyte: not read as a whole
        for start, end in unchanged(smaps):
            LIBC.madvise(start, end - start, MADV_DONTNEED)


def unchanged(smaps: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """Of /proc/<pid>/smaps, proc(5): the spans that are private, not writable, of a file, and as the file is."""
    start = end = 0
    for line in smaps:
        first, *rest = line.split(maxsplit=5)
        if first == b"Anonymous:" and rest[0] != b"0":
            end = 0
        elif first == b"Swap:":  # comes later; a page of its own may be there instead
            if end and rest[0] == b"0":
                yield start, end
            end = 0
        elif not first.endswith(b":"):
            rights, name = rest[0], rest[4:]
            if rights[1:2] == b"-" and rights[3:4] == b"p" and name and name[0].startswith(b"/"):
                start, end = (int(part, 16) for part in first.split(b"-"))


def trim() -> None:
    """Gives back what the C library has free, where it can (glibc)."""
    if TRIM is not None:
        TRIM(0)


def give_back_zeros(address: int, size: int) -> int:
    """Unmaps the whole pages of a span of private memory that hold nothing but zeros, which they still do when they are
    looked at again. No other thread may be writing there. Returns the number of bytes."""
    empty = bytes(PAGE)
    given = 0
    for page in range(-(-address // PAGE) * PAGE, address + size - PAGE + 1, PAGE):
        if ctypes.string_at(page, PAGE) == empty and LIBC.madvise(page, PAGE, MADV_DONTNEED) == 0:
            given += PAGE
    return given
