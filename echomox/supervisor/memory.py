"""How much memory a process uses: PSS, its private pages and its share of the shared ones, from
/proc/<pid>/smaps_rollup.
"""

from __future__ import annotations

from pathlib import Path


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
