"""What a tree of processes costs: CPU seconds and proportional set size, from /proc; and facts about the machine."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """Pids of root and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += parents.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the tree, with that of reaped children."""
    total = 0
    for pid in tree(root):
        try:
            fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / TICK


def pss_mib(root: int) -> float:
    """Memory of the tree in MiB; shared pages count once."""
    total = 0
    for pid in tree(root):
        try:
            lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return total / 1024


def fsync_ms(directory: Path, count: int = 50) -> float:
    """Median milliseconds of a 4 KiB append and fdatasync: what bounds durable mail."""
    times = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(count):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    libraries = " ".join(f"{name} {version(name)}" for name in ("uvloop", "aiosmtpd", "numpy", "msgpack", "bcrypt"))
    return (
        f"{os.cpu_count()} cores {model}, load {os.getloadavg()[0]:.1f}; Linux {platform.release()}, "
        f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, {libraries}"
    )


def bound(seconds: float, cpu_ms: float) -> str:
    """What a figure of one client that waits for its answers is bound by, of the server's processor time in it."""
    share = cpu_ms / (1000 * seconds)
    return "server CPU" if share > 0.75 else "CPU, and the client's" if share > 0.4 else "disk, or the client"
