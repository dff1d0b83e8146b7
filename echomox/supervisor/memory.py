"""How much memory a process uses: PSS, its private pages and its share of the shared ones, from
/proc/<pid>/smaps_rollup. And giving back what it read of program files and needs no more.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

MADV_PAGEOUT = 21  # Linux 5.4, madvise(2)


def pss(pid: int) -> int | None:
    """Bytes; None when there is no such process, or it may not be looked at (its memory is another user's,
    or it has
    given up rights; a process may always look at itself)."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None


def give_back() -> None:
    """Unmaps the pages of program files that only imports have touched: what is needed again is read again. Nothing
    that differs from its file is given up. The supervisor imports every library and uses hardly any of them.
    """
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, rights, _, _, _, *name = line.split(maxsplit=5)
            if name and name[0].startswith("/") and rights[1] == "-":
                start, end = (int(part, 16) for part in span.split("-"))
                madvise(start, end - start, MADV_PAGEOUT)
