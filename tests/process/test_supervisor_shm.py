"""Shared memory between real processes: never a torn read, names that go, memory that is read-only for most."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from shm.limiter import LimiterSlabs, limiter_size
from shm.scoreboard import Scoreboard, scoreboard_size
from shm.segment import Segment, remove_leftovers
from shm.weights import WeightBuffer, weights_size
from tests.process.harness import ROOT, SHM, wait_until

STRESS_SECONDS = 1.5
LENGTHS = (0, 1, 7, 47_000, 100_000)


@contextlib.contextmanager
def segment(size: int):
    made = Segment(size)
    try:
        yield made
    finally:
        made.close()


def fork(body: Callable[[], bool]) -> int:
    """Runs `body` in a child, which exits 0 when it returns True."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = 0 if body() else 1
        finally:
            os._exit(code)
    return pid


def exit_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def block(n: int) -> bytes:
    """A block that is recognised as whole: one byte value, of a length that follows from it."""
    return bytes([n % 251]) * LENGTHS[n % len(LENGTHS)]


def whole(generation: int, data: bytes) -> bool:
    return data == block(generation)


def test_reader_never_sees_a_torn_publication():
    with segment(weights_size(100_000)) as shared:
        buffer = WeightBuffer(shared.memory)
        end = time.monotonic() + STRESS_SECONDS

        def read() -> bool:
            generations, last = set(), 0
            while time.monotonic() < end:
                generation, data = buffer.read()
                if generation and (generation < last or not whole(generation, data)):
                    return False
                last = generation
                generations.add(generation)
            return len(generations) > 10

        readers = [fork(read) for _ in range(2)]
        published = 0
        while time.monotonic() < end:
            published = buffer.publish(block(published + 1))
        assert [exit_of(pid) for pid in readers] == [0, 0]
        assert published > 1000
        buffer.release()


def test_writer_killed_anywhere_leaves_a_whole_generation():
    with segment(weights_size(100_000)) as shared:
        buffer = WeightBuffer(shared.memory)

        def write() -> bool:
            while True:
                buffer.publish(block(buffer.generation + 1))

        for _ in range(20):
            before = buffer.generation
            pid = fork(write)
            wait_until(lambda before=before: buffer.generation > before + 3)
            os.kill(pid, signal.SIGKILL)
            assert exit_of(pid) == -signal.SIGKILL
            assert whole(*buffer.read())
        buffer.release()


def test_protected_segment_cannot_be_written_by_that_process_and_still_read():
    with segment(weights_size(1000)) as shared:
        buffer = WeightBuffer(shared.memory)
        buffer.publish(b"weights")

        def write() -> bool:
            faulthandler.disable()  # pytest's would print the expected crash
            shared.protect()
            assert buffer.read() == (1, b"weights")
            buffer.publish(b"other weights")
            return True

        assert exit_of(fork(write)) == -signal.SIGSEGV
        assert buffer.read() == (1, b"weights")
        buffer.publish(b"new weights")
        assert buffer.read() == (2, b"new weights")
        buffer.release()


def test_counters_of_many_processes_add_up():
    with segment(scoreboard_size(4)) as shared:
        board = Scoreboard(shared.memory, 4)

        def count(number: int) -> bool:
            for _ in range(5000):
                board.slots[number].count("imap_commands")
            return True

        assert [exit_of(pid) for pid in [fork(lambda n=n: count(n)) for n in range(4)]] == [0] * 4
        assert board.total("imap_commands") == 20_000
        board.release()


def test_limiter_counts_attempts_of_all_processes_and_lets_at_most_workers_minus_one_too_many_pass():
    workers, limit = 4, 25
    with segment(limiter_size(workers)) as shared, segment(scoreboard_size(workers)) as other:
        limiter, board = LimiterSlabs(shared.memory), Scoreboard(other.memory, workers)
        for slab in range(workers):
            limiter.use(slab)

        def attempt(number: int) -> bool:
            own = limiter.writer(number)
            for _ in range(200):
                if own.count(7, 1000.0, 60.0) < limit:
                    own.add(7, 1000.0, 60.0)
                    board.slots[number].count("logins_limited")
            return True

        assert [exit_of(pid) for pid in [fork(lambda n=n: attempt(n)) for n in range(workers)]] == [0] * workers
        passed = board.total("logins_limited")
        assert limit <= passed <= limit + workers - 1
        assert limiter.count(7, 1000.0, 60.0) == passed
        limiter.release()
        board.release()


def test_close_removes_the_name_and_views_must_be_released_before():
    made = Segment(scoreboard_size(2))
    assert (SHM / made.name).exists()
    assert (SHM / made.name).stat().st_mode & 0o777 == 0o600
    board = Scoreboard(made.memory, 2)
    board.release()
    made.close()
    assert not (SHM / made.name).exists()


def test_child_does_not_remove_the_segment():
    with segment(4096) as shared:

        def close() -> bool:
            shared.close()
            return True

        assert exit_of(fork(close)) == 0
        assert (SHM / shared.name).exists()


KILLED = """
import os, sys
from shm.segment import Segment
print(Segment(4096).name, flush=True)
sys.stdin.read()
"""


def test_tracker_removes_the_name_after_kill_9():
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    name = child.stdout.readline().strip()
    assert (SHM / name).exists()
    child.kill()
    child.communicate()
    wait_until(lambda: not (SHM / name).exists())


def test_leftovers_are_removed_by_name_and_nothing_else_is(tmp_path, monkeypatch):
    monkeypatch.setattr("shm.segment.DIRECTORY", tmp_path)
    for name in ("echomox-0123456789ab", "echomox-x", "other"):
        (tmp_path / name).touch()
    names = [
        "echomox-0123456789ab",
        "echomox-ffffffffffff",
        "echomox-x",
        "other",
        "../other",
        "echomox-0123456789ab/..",
    ]
    assert remove_leftovers(names) == ["echomox-0123456789ab"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["echomox-x", "other"]


@pytest.mark.parametrize("size", [1, 4096, 1_000_000])
def test_new_segment_is_zeroed(size):
    with segment(size) as shared:
        assert bytes(shared.memory[:size]) == bytes(size)
