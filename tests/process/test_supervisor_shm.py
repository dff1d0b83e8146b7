"""Shared memory between real processes: never a torn read, names that go, memory that is read-only for most."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Callable

import pytest

from shm.limiter import LimiterSlabs, limiter_size
from shm.scoreboard import Scoreboard, scoreboard_size
from shm.segment import Segment
from shm.weights import WeightBuffer, weights_size
from tests.process.harness import HANG, SHM, children_of, segments_of, wait_until

PUBLICATIONS = 5000
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
        end = time.monotonic() + HANG

        def read() -> bool:
            generations, last = set(), 0
            while last < PUBLICATIONS and time.monotonic() < end:
                generation, data = buffer.read()
                if generation and (generation < last or not whole(generation, data)):
                    return False
                last = generation
                generations.add(generation)
            return len(generations) > 10

        readers = [fork(read) for _ in range(2)]
        for number in range(1, PUBLICATIONS + 1):
            assert buffer.publish(block(number)) == number
            if number % 100 == 0:
                time.sleep(0.001)  # a reader has its turn, on one core too
        assert [exit_of(pid) for pid in readers] == [0, 0]
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


def test_segment_has_no_name_and_views_must_be_released_before_close():
    made = Segment(scoreboard_size(2))
    names = segments_of(os.getpid())
    assert names
    assert not [name for name in names if (SHM / name).exists()]
    board = Scoreboard(made.memory, 2)
    with pytest.raises(BufferError):
        made.close()
    board.release()


def test_close_gives_the_memory_back():
    before = segments_of(os.getpid())
    made = Segment(4096)
    assert len(segments_of(os.getpid())) == len(before) + 1
    made.close()
    assert segments_of(os.getpid()) == before


def test_close_in_a_child_does_nothing():
    with segment(4096) as shared:

        def close() -> bool:
            shared.close()
            shared.memory[0] = 7
            return True

        assert exit_of(fork(close)) == 0
        assert shared.memory[0] == 7


@pytest.mark.parametrize("size", [0, 1 << 62])
def test_segment_that_cannot_be_made_leaves_no_name(size, monkeypatch):
    monkeypatch.setattr("shm.segment.secrets.token_hex", lambda digits: "0123456789ab")
    with pytest.raises((OSError, ValueError)):
        Segment(size)
    assert not (SHM / "echomox-0123456789ab").exists()


def test_no_process_is_started_for_a_segment():
    before = children_of(os.getpid())
    with segment(4096):
        assert children_of(os.getpid()) == before


@pytest.mark.parametrize("size", [1, 4096, 1_000_000])
def test_new_segment_is_zeroed(size):
    with segment(size) as shared:
        assert bytes(shared.memory[:size]) == bytes(size)
