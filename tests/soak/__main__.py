"""`make soak`: a month of a small organisation in minutes, and an accounting at the end.

    python -m tests.soak [--minutes 15] [--calm 0.4] [--rate 8] [--directory DIR] [--seed N] [--keep]

Twenty accounts get mail of a corpus, send mail to a host that is not always well, and use IMAP in every way; their
operator asks, changes and retrains; and for the first part of the time workers are killed and stopped, the log is
rotated, the configuration is reloaded, the supervisor is killed and the server is restarted (tests/soak/faults.py).
With --directory on a file system smaller than 4 GiB, the disk is full for a while too: one of 1500 MB is enough, as
`truncate -s 1500M soak.img && mkfs.ext4 -m 0 soak.img && mount -o loop soak.img DIR` makes it. --calm is the part of
the time without faults at the end, in which memory and descriptors must not grow.

Exit code 0: all that was promised is there, and nothing else was found (tests/soak/audit.py).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from tests.soak import audit, chores, faults, smtp, users, watch
from tests.soak.ledger import Ledger
from tests.soak.letters import Letters
from tests.soak.sink import Sink
from tests.soak.site import Site
from tests.soak.world import World

WARM = 20.0


def loads(world: World, sink: Sink) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
    people = [(who.__name__, partial(who, world, number)) for who, number in users.PEOPLE]
    return [
        *people,
        ("arrivals", partial(smtp.arrivals, world)),
        ("submissions", partial(smtp.submissions, world)),
        ("submissions", partial(smtp.submissions, world)),
        ("sink", sink.change),
        ("chores", partial(chores.work, world)),
    ]


async def run(world: World, minutes: float, calm: float) -> watch.Samples:
    """The whole of it; what was found is in the world."""
    sink, samples = Sink(world), watch.Samples()
    await sink.be("well")
    await users.settle_in(world)
    tasks = [asyncio.create_task(world.again(name, play)) for name, play in loads(world, sink)]
    sampling = asyncio.create_task(watch.sample(world, samples))
    await asyncio.sleep(WARM)
    seconds = 60 * minutes
    await faults.play(world, seconds * (1 - calm))
    await faults.serving(world)
    print("    no more faults", flush=True)
    await asyncio.sleep(seconds * calm)
    world.over.set()
    await sampling
    print("    no more loads", flush=True)
    await audit.drain(world, sink)
    await audit.counters(world)
    world.quiet.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 300)
    await audit.mail(world)
    audit.outside(world, sink)
    audit.lessons(world)
    await audit.moves(world)
    await audit.retrained(world)
    await sink.close()
    return samples


async def soak(options: argparse.Namespace, directory: Path) -> bool:
    site, dice = Site(directory), random.Random(options.seed)
    site.start()
    world = World(site, Ledger(), Letters(dice), dice, options.rate)
    try:
        samples = await run(world, options.minutes, options.calm)
    finally:
        if site.pid:
            code = site.end()
            if code:
                world.trouble(f"exit code {code} at the end")
    await audit.leftovers(world)
    calm = 60 * options.minutes * (1 - options.calm) + WARM
    end = samples.places[-1][0]
    lines, grown = watch.table(samples, (calm + 45, calm + 105), (end - 60, end))
    for line in grown:
        world.trouble(f"grown: {line}")
    events = audit.log_lines(world)
    print_all(world, [*lines, "", "private MiB by the minute", *watch.minutes(samples)], events)
    return not world.troubles


def print_all(world: World, memory: list[str], events: list[str]) -> None:
    print("\nwhat was done")
    for name, count in sorted(world.counts.items()):
        print(f"{count:9} {name}")
    ledger = world.ledger
    print(f"{ledger.sure():9} copies promised, and {ledger.unsure()} of which nobody knows")
    print("\nthe last minute without faults beside the first")
    print("\n".join(memory))
    print("\nwarnings and errors in the log")
    print("\n".join(events))
    print(f"\n{len(world.troubles)} troubles" + "".join(f"\n    {line}" for line in world.troubles))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=15.0, help="how long (default 15)")
    parser.add_argument("--calm", type=float, default=0.4, help="part of it without faults, at the end (default 0.4)")
    parser.add_argument("--rate", type=float, default=8.0, help="mails a second from outside (default 8)")
    parser.add_argument("--directory", type=Path, help="where the server stands; default: a scratch directory")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="leave the server's files for a look")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="soak-", dir=options.directory))
    clean = False
    try:
        clean = asyncio.run(soak(options, directory))
    finally:
        if not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"kept: {directory}")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
