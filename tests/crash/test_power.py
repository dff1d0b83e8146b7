"""Power loss at many moments of a recorded run: nothing but what was synced is left, or all, or some; every promise
must hold.
"""

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
from tests.crash.world import Promises, again, check, prepare

CUTS = 40
ROOT = Path(__file__).parents[2]


def record(directory: Path) -> tuple[Path, Path]:
    """(the tree before the run, the trace)"""
    root, before, output = directory / "root", directory / "before", directory / "trace"
    prepare(root)
    shutil.copytree(root, before)
    command = ["strace", "-f", "-xx", "-s", "2000000", "-o", str(output), "-e", f"trace={trace.CALLS}"]
    subprocess.run(
        [*command, sys.executable, "-m", "tests.crash.child", str(root)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=600,
    )
    return before, output


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[trace.Call], str]:
    if shutil.which("strace") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("strace is missing (Debian package strace)")
        pytest.skip("strace is missing (Debian package strace)")
    directory = tmp_path_factory.mktemp("recording")
    before, output = record(directory)
    return before, list(trace.read_calls(output)), str(directory / "root")


def world_at(recording: tuple[Path, list[trace.Call], str], cut: int) -> trace.World:
    before, calls, root = recording
    world = trace.World(before)
    world.root = root  # the recorded paths
    for call in calls[:cut]:
        world.feed(call)
    return world


def cuts(calls: list[trace.Call]) -> list[int]:
    """Just after each promise, just before and after each sync, and some more."""
    telling = [n + 1 for n, call in enumerate(calls) if call.name == "write" and b"ACK" in b"".join(call.strings)]
    syncs = [n + d for n, call in enumerate(calls) if "sync" in call.name for d in (0, 1)]
    others = random.Random(1).sample(range(len(calls)), 20)
    rest = random.Random(2).sample(syncs, min(len(syncs), max(0, CUTS - len(telling) - len(others))))
    return sorted({*telling, *rest, *others, len(calls)})


VARIANTS: dict[str, Callable[[int], Callable[[], bool]]] = {
    "nothing unsynced": lambda seed: trace.nothing,
    "everything": lambda seed: trace.everything,
    "some of it": trace.some,
    "another part": lambda seed: trace.some(seed + 1000),
}


def test_the_model_ends_as_the_disk_did(recording: tuple[Path, list[trace.Call], str], tmp_path: Path) -> None:
    world = world_at(recording, len(recording[1]))
    world.write_disk(tmp_path / "disk", trace.everything)
    real = Path(recording[2])
    for path in sorted(real.rglob("*")):
        copy = tmp_path / "disk" / path.relative_to(real)
        if path.is_file():
            assert copy.read_bytes() == path.read_bytes(), path
    assert len(Promises().hear(world.said).acked) == 11


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_every_promise_holds_after_power_loss(
    recording: tuple[Path, list[trace.Call], str], tmp_path: Path, variant: str
) -> None:
    replayed = 0
    for cut in cuts(recording[1]):
        world = world_at(recording, cut)
        disk = tmp_path / str(cut)
        world.write_disk(disk, VARIANTS[variant](cut))
        promises = Promises().hear(world.said)
        replayed += check(disk, promises, boot_id="another")["replayed"]
        if cut % 5 == 0:
            more = again(disk, 100)
            check(disk, Promises().hear(world.said + "\n".join(f"TRY {delivery}" for delivery in more.tried)))
        shutil.rmtree(disk)
    if variant == "nothing unsynced":
        assert replayed > 50
