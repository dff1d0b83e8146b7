"""The job that sends reports, killed (SIGKILL) again and again at moments of chance: in the end each report is in the
queue once."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from echomox.queue.spool import QueueSpool
from tests.unit.reports.samples import DAY, result
from tests.unit.reports.test_sending import World

DOMAINS = 40
ROOT = Path(__file__).parents[2]


def names():
    return [f"d{n}.example" for n in range(DOMAINS)]


def open_world(root: Path, first: bool) -> World:
    world = World(root, rate=100_000, again=not first)
    for name in names():
        world.resolver.tables[f"_dmarc.{name}", "TXT"] = f"v=DMARC1; p=none; rua=mailto:rua@{name}"
    return world


def child(root: str) -> None:
    """Tells each report that is in the queue."""
    add = QueueSpool.add

    async def telling(self: QueueSpool, *what: Any, **how: Any) -> Any:
        found = await add(self, *what, **how)
        print("sent", flush=True)
        return found

    QueueSpool.add = telling  # in this process alone
    open_world(Path(root), first=False).run()
    print("done", flush=True)


def run_child(root: Path, reports: int, seconds: float) -> bool:
    """Whether it came to its end; it is killed so many seconds after so many reports."""
    code = f"from tests.crash.test_reports_kill import child; child({str(root)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    said = b"".join(process.stdout.readline() for _ in range(reports))
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(signal.SIGKILL)
    return b"done" in said + process.communicate()[0]


def test_killed_at_any_moment_each_report_goes_out_once(tmp_path):
    world = open_world(tmp_path, first=True)
    for name in names():
        world.results(result(policy_domain=name, header_from=name))
    chance = random.Random(7)
    killed = 0
    while not run_child(tmp_path, chance.randrange(2, 16), chance.uniform(0.0, 0.02)):
        killed += 1
    assert killed >= 2
    world.run()
    sent = [recipients for _, recipients, _, _ in world.mails()]
    assert sorted(sent) == sorted([f"rua@{name}"] for name in names())
    assert {state for _, state, _ in world.state()} == {"sent"}
    assert {one.day for one in world.database.outgoing("dmarc")} == {DAY}
