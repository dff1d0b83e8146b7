"""What the server uses, every ten seconds: of each kind of process, and of its directories."""

from __future__ import annotations

import re
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.process.harness import segments_of
from tests.soak.site import ACCOUNTS
from tests.soak.world import World

EVERY = 10.0
ACCOUNT_MIB, ACCOUNT_FILES = 1.25, 4
"""Of an account that a process has open: SQLite's cache of its index alone may fill 1 MiB."""
MIB = 1 << 20
KIB_OF = re.compile(r"^(Rss|Pss|Private_Clean|Private_Dirty):\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Process:
    """private, rss, pss: KiB. descriptors: open ones."""

    kind: str
    age: float
    private: int
    rss: int
    pss: int
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Places:
    """wal: bytes of write-ahead logs. spooled, scratch: files that are no journals. segments: of shared memory, by
    name, that are still to be seen."""

    wal: int
    spooled: int
    scratch: int
    segments: int


@dataclass
class Samples:
    began: float = field(default_factory=time.monotonic)
    processes: list[tuple[float, Process]] = field(default_factory=list)
    places: list[tuple[float, Places]] = field(default_factory=list)


async def sample(world: World, samples: Samples) -> None:
    """A load: takes samples until all is over."""
    first: dict[int, float] = {}
    while True:
        now = time.monotonic() - samples.began
        for name, pid in {**world.site.workers(), "supervisor": world.site.pid}.items():
            age = now - first.setdefault(pid, now)
            if found := look(name.partition(".")[0], pid, age):
                samples.processes.append((now, found))
        samples.places.append((now, places(world.site.root, world.site.pid)))
        if not await world.sleep(EVERY):
            return


def look(kind: str, pid: int, age: float) -> Process | None:
    proc = Path(f"/proc/{pid}")
    try:
        memory = {name: int(kib) for name, kib in KIB_OF.findall((proc / "smaps_rollup").read_text())}
        descriptors = sum(1 for _ in (proc / "fd").iterdir())
        threads = sum(1 for _ in (proc / "task").iterdir())
    except OSError:
        return None
    if not memory:
        return None
    private = memory["Private_Clean"] + memory["Private_Dirty"]
    return Process(kind, age, private, memory["Rss"], memory["Pss"], descriptors, threads)


def places(root: Path, pid: int) -> Places:
    wal = sum(size(path) for path in (root / "data").rglob("*-wal"))
    spooled = sum(1 for path in spooled_files(root))
    scratch = sum(1 for path in (root / "tmp").rglob("*") if path.is_file())
    try:
        shown = sum(1 for name in segments_of(pid) if Path("/dev/shm", name).exists())
    except OSError:
        shown = 0
    return Places(wal, spooled, scratch, shown)


def spooled_files(root: Path) -> Iterator[Path]:
    for path in (root / "data/spool").rglob("*"):
        if path.is_file() and path.suffix != ".journal" and path.name != "boot":
            yield path


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def table(samples: Samples, early: tuple[float, float], late: tuple[float, float]) -> tuple[list[str], list[str]]:
    """The lines of it, and what has grown. early, late: seconds from the start that are compared. A process counts when
    it is 30 seconds old. Files of accounts that are kept open, and what belongs to them, are no growth."""
    by_kind: dict[str, dict[str, list[Process]]] = defaultdict(lambda: {"early": [], "late": []})
    for at, process in samples.processes:
        for name, (low, high) in (("early", early), ("late", late)):
            if low <= at <= high and process.age >= 30:
                by_kind[process.kind][name].append(process)
    head = f"{'':14}{'private MiB':>20}{'RSS MiB':>18}{'descriptors':>18}{'threads':>14}"
    lines, grown = [head], []
    for kind, both in by_kind.items():
        if not (both["early"] and both["late"]):
            continue
        values = {name: medians(found) for name, found in both.items()}
        a, b = values["early"], values["late"]
        lines.append(
            f"{kind:14}{a[0]:10.1f} {b[0]:9.1f}{a[1]:9.1f}{b[1]:9.1f}{a[2]:9.0f}{b[2]:9.0f}{a[3]:7.0f}{b[3]:7.0f}"
        )
        if b[0] > a[0] * 1.3 + ACCOUNTS * ACCOUNT_MIB:
            grown.append(f"{kind}: private memory from {a[0]:.1f} to {b[0]:.1f} MiB")
        if b[2] > a[2] * 1.1 + ACCOUNTS * ACCOUNT_FILES:
            grown.append(f"{kind}: descriptors from {a[2]:.0f} to {b[2]:.0f}")
    largest = max((one.wal for _, one in samples.places), default=0)
    last = samples.places[-1][1]
    lines.append(f"write-ahead logs {last.wal / MIB:.1f} MiB at the end, {largest / MIB:.1f} at most")
    lines.append(f"spooled files {last.spooled}, scratch files {last.scratch}, segments with a name {last.segments}")
    return lines, grown


def minutes(samples: Samples) -> list[str]:
    """Private MiB of each kind, minute by minute: what grows for ever is told from what fills once."""
    found: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for at, process in samples.processes:
        found[process.kind][int(at // 60)].append(process.private)
    return [
        f"{kind:14}" + "".join(f"{statistics.median(values) / 1024:7.1f}" for _, values in sorted(by_minute.items()))
        for kind, by_minute in found.items()
    ]


def medians(found: list[Process]) -> tuple[float, float, float, float]:
    return (
        statistics.median(one.private for one in found) / 1024,
        statistics.median(one.rss for one in found) / 1024,
        statistics.median(one.descriptors for one in found),
        statistics.median(one.threads for one in found),
    )
