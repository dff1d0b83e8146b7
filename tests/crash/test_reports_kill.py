"""The job that sends reports, killed (SIGKILL) again and again at moments of chance: in the end each report is in the
queue once."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.unit.reports.samples import DAY, result
from tests.unit.reports.test_sending import World

DOMAINS = 40
ROUNDS = 40
ROOT = Path(__file__).parents[2]


def names():
    return [f"d{n}.example" for n in range(DOMAINS)]


def open_world(root: Path, first: bool) -> World:
    world = World(root, rate=100_000, again=not first)
    for name in names():
        world.resolver.tables[f"_dmarc.{name}", "TXT"] = f"v=DMARC1; p=none; rua=mailto:rua@{name}"
    return world


def child(root: str) -> None:
    print("ready", flush=True)
    open_world(Path(root), first=False).run()
    print("done", flush=True)


def run_child(root: Path, seconds: float) -> bool:
    """Whether it came to its end within so many seconds after its start."""
    code = f"from tests.crash.test_reports_kill import child; child({str(root)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(signal.SIGKILL)
    return b"done" in process.communicate()[0]


def test_killed_at_any_moment_each_report_goes_out_once(tmp_path):
    world = open_world(tmp_path, first=True)
    for name in names():
        world.results(result(policy_domain=name, header_from=name))
    chance = random.Random(7)
    killed, ended = 0, time.monotonic() + 25
    for _ in range(ROUNDS):
        if run_child(tmp_path, chance.uniform(0.0, 0.25)) or time.monotonic() > ended:
            break
        killed += 1
    assert killed >= 3
    world.run()
    sent = [recipients for _, recipients, _, _ in world.mails()]
    assert sorted(sent) == sorted([f"rua@{name}"] for name in names())
    assert {state for _, state, _ in world.state()} == {"sent"}
    assert {one.day for one in world.database.outgoing("dmarc")} == {DAY}
