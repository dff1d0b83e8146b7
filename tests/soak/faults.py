"""What goes wrong in a month: workers are killed and stopped, the log is rotated, the configuration is reloaded, the
disk is full, the supervisor is killed or restarted. Each function is one fault, and ends when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.soak.world import World

SMALL_DISK = 4 << 30
FULL = 45.0
READY = re.compile(r'"state": "(STARTING|THROTTLED)"')


async def kill_worker(world: World) -> None:
    workers = world.site.workers()
    kind = world.dice.choice(sorted({name.partition(".")[0] for name in workers}))
    name = world.dice.choice([name for name in workers if name.startswith(kind + ".")])
    with contextlib.suppress(ProcessLookupError):
        os.kill(workers[name], signal.SIGKILL)
    world.counts[f"killed: {kind}"] += 1


async def stop_worker(world: World) -> None:
    """Stopped for a while; when that is long, the supervisor replaces it."""
    workers = world.site.workers()
    name = world.dice.choice(sorted(workers))
    with contextlib.suppress(ProcessLookupError):
        os.kill(workers[name], signal.SIGSTOP)
        await asyncio.sleep(world.dice.choice((1.0, 3.0, 14.0)))
        os.kill(workers[name], signal.SIGCONT)
    world.counts[f"stopped for a while: {name.partition('.')[0]}"] += 1


async def rotate_log(world: World) -> None:
    world.site.log.rename(world.site.log.with_suffix(f".{time.monotonic_ns()}"))
    world.site.tell(signal.SIGUSR1)
    await asyncio.sleep(3)
    if not world.site.log.exists():
        world.trouble("no new log after USR1")
    world.counts["log rotated"] += 1


async def reload(world: World) -> None:
    """With another number of processes, or another limit: all workers are replaced."""
    path = world.site.config / "echomox.toml"
    text = re.sub(r"\n(?:imap|smtp|classifier) = \d+(?=\n)", "", path.read_text())
    more = f"\nimap = {world.dice.randrange(1, 4)}\nsmtp = {world.dice.randrange(1, 4)}\n"
    path.write_text(text.replace("[workers]\n", "[workers]" + more, 1))
    world.site.tell(signal.SIGHUP)
    await asyncio.sleep(5)
    world.counts["reloads"] += 1


async def fill_disk(world: World) -> None:
    """Only where the server's directory is a small file system of its own."""
    disk = os.statvfs(world.site.root)
    if disk.f_frsize * disk.f_blocks > SMALL_DISK:
        return
    filler = world.site.root / "filler"
    world.counts["disk full"] += 1
    world.full = True
    try:
        end = time.monotonic() + FULL
        with filler.open("ab", buffering=0) as file:
            while time.monotonic() < end:
                await asyncio.to_thread(fill, file.fileno(), world.site.root)
                await asyncio.sleep(0.3)
    finally:
        filler.unlink()
    await asyncio.sleep(2)
    world.full, world.harmed = False, time.monotonic()


def fill(descriptor: int, root: Path) -> None:
    with contextlib.suppress(OSError):
        while (free := os.statvfs(root).f_bavail * os.statvfs(root).f_frsize) > 0:
            os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, min(free, 1 << 28))


async def restart(world: World, number: signal.Signals = signal.SIGTERM) -> None:
    code = await asyncio.to_thread(world.site.end, number)
    if number == signal.SIGTERM and code:
        world.trouble(f"exit code {code} after TERM")
    await asyncio.sleep(world.dice.uniform(0, 2))
    await asyncio.to_thread(world.site.start)
    world.counts[f"whole server: {number.name}"] += 1


async def kill_all(world: World) -> None:
    await restart(world, signal.SIGKILL)


Fault = Callable[[World], Awaitable[None]]
USUAL: tuple[Fault, ...] = (kill_worker, kill_worker, kill_worker, stop_worker, rotate_log, reload)
RARE: tuple[Fault, ...] = (restart, kill_all, fill_disk, kill_all, restart)
PAUSE = (6.0, 16.0)


async def play(world: World, seconds: float) -> None:
    """The usual ones at random, the rare ones in their order, evenly over the time."""
    end = time.monotonic() + seconds
    rare = list(RARE)
    gap = seconds / (len(rare) + 1)
    while time.monotonic() < end and not world.over.is_set():
        due = end - seconds + gap * (len(RARE) - len(rare) + 1)
        fault = rare.pop(0) if rare and time.monotonic() > due else world.dice.choice(USUAL)
        world.harmed = time.monotonic()
        print(f"    {time.strftime('%H:%M:%S', time.gmtime())} {fault.__name__}", flush=True)
        await fault(world)
        await world.sleep(world.dice.uniform(*PAUSE))


async def serving(world: World, limit: float = 60.0) -> None:
    """Returns when every worker is there and ready again."""

    async def ready() -> bool:
        code, out, _ = await world.site.ask("--json", "status")
        return not code and not READY.search(out)

    end = time.monotonic() + limit
    while not await ready():
        if time.monotonic() > end:
            world.trouble("not all workers are ready again")
            return
        await asyncio.sleep(0.5)
