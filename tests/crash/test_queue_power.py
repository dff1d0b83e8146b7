"""Power loss at many moments of a recorded run of the queue: what was answered is delivered, bounced, or there."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash import trace
from tests.crash.queueworld import Promises, check, prepare

CUTS = 30
ROOT = Path(__file__).parents[2]
Recording = tuple[Path, list[trace.Call], str]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    if shutil.which("strace") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("strace is missing (Debian package strace)")
        pytest.skip("strace is missing (Debian package strace)")
    directory = tmp_path_factory.mktemp("recording")
    root, before, output = directory / "root", directory / "before", directory / "trace"
    prepare(root)
    shutil.copytree(root, before)
    strace = ["strace", "-f", "-xx", "-s", "2000000", "-o", str(output), "-e", f"trace={trace.CALLS}"]
    subprocess.run(
        [*strace, sys.executable, "-m", "tests.crash.queuechild", str(root)],
        cwd=ROOT, check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    return before, list(trace.read_calls(output)), str(root)


def world_at(recording: Recording, cut: int) -> trace.World:
    before, calls, root = recording
    world = trace.World(before)
    world.root = root
    for call in calls[:cut]:
        world.feed(call)
    return world


def cuts(calls: list[trace.Call]) -> list[int]:
    """Just after each promise, around syncs, and some more."""
    telling = [n + 1 for n, call in enumerate(calls) if call.name == "write" and b"ACK" in b"".join(call.strings)]
    syncs = [n + d for n, call in enumerate(calls) if "sync" in call.name for d in (0, 1)]
    others = random.Random(1).sample(range(len(calls)), 10)
    rest = random.Random(2).sample(syncs, min(len(syncs), CUTS - len(telling)))
    return sorted({*telling, *rest, *others, len(calls)})


VARIANTS: dict[str, Callable[[int], Callable[[], bool]]] = {
    "nothing unsynced": lambda seed: trace.nothing,
    "everything": lambda seed: trace.everything,
    "some of it": trace.some,
}


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_every_promise_holds_after_power_loss(recording: Recording, tmp_path: Path, variant: str) -> None:
    """Deliveries whose outcome was not on disk yet may happen again; the child says DONE before it is."""
    acked = 0
    for cut in cuts(recording[1]):
        world = world_at(recording, cut)
        disk = tmp_path / str(cut)
        world.write_disk(disk, VARIANTS[variant](cut))
        acked += len(Promises().hear(world.said).acked)
        check(disk, world.said)
        shutil.rmtree(disk)
    assert acked > 50
