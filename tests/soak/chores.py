"""What the operator does by command: looks, changes accounts and limits, trains anew, holds mail back, lets it go."""

from __future__ import annotations

import time

from tests.soak.site import ACCOUNTS, SECOND
from tests.soak.world import World

GUEST = "guest"


async def look(world: World) -> None:
    words = world.dice.choice(LOOKS)
    await do(world, *(word.replace("ACCOUNT", f"u{world.dice.randrange(ACCOUNTS)}") for word in words))


LOOKS = (
    ("status",), ("counters",), ("stats", "memory"), ("stats", "storage"), ("account", "list"), ("queue", "count"),
    ("queue", "list"), ("queue", "retired", "list"), ("mailbox", "list", "ACCOUNT"), ("filter", "stats", "ACCOUNT"),
    ("filter", "replay", "ACCOUNT"), ("filter", "state", "ACCOUNT"), ("message", "list", "ACCOUNT", "INBOX"),
    ("sessions", "list"), ("block", "list"), ("config", "check"), ("logins", "list", "ACCOUNT"),
    ("account", "show", "ACCOUNT"), ("domain", "dnsrecords", SECOND), ("verifydata", "--account", "ACCOUNT"),
)  # fmt: skip


async def do(world: World, *words: str) -> bool:
    """Whether it went well. A failure is trouble, unless a fault was made a moment before, or while it ran."""
    began = time.monotonic()
    code, out, err = await world.site.ask(*words)
    name = " ".join(words[:2])
    world.counts[f"command: {name}"] += 1
    if code and not world.full and world.harmed + 20 < began:
        world.trouble(f"echomox {' '.join(words)}: exit {code}: {err[-300:]} {out[-300:]}")
    return not code


async def retrain(world: World) -> None:
    await do(world, "filter", "retrain", f"u{world.dice.randrange(5)}")


async def guest(world: World) -> None:
    """An account comes and goes. One that a fault has left is taken away."""
    await world.site.ask("account", "remove", GUEST, "--yes")
    words = ("account", "add", GUEST, f"{GUEST}@{SECOND}", "--password", world.site.password)
    if not await do(world, *words):
        return
    await world.sleep(3)
    await do(world, "account", "set", GUEST, f"quota={world.dice.randrange(1, 9) * 1_000_000}")
    await world.sleep(3)
    await do(world, "account", "remove", GUEST, "--yes")


async def limits(world: World) -> None:
    name = f"u{world.dice.randrange(ACCOUNTS)}"
    option = world.dice.choice(("junk_filter.junk=0.4", "junk_filter.junk=0.3", "full_name=Somebody", "quota=0"))
    await do(world, "account", "set", name, option)


async def hold(world: World) -> None:
    """Keeps some mail back, and lets it go."""
    account = f"u{world.dice.randrange(ACCOUNTS)}"
    await do(world, "queue", "hold", "--account", account)
    await world.sleep(4)
    await do(world, "queue", "unhold", "--all")
    await do(world, "queue", "schedule", "now", "--account", account)


CHORES = (look, look, look, look, retrain, guest, limits, hold)


async def work(world: World) -> None:
    await world.dice.choice(CHORES)(world)
    await world.sleep(world.dice.uniform(1, 6))
